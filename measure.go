package godwit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// Traffic is what one decode step must move, in bytes. Activations, logits and
// the windows of convolutions, a few percent together, are left out: no step
// can do with less.
type Traffic struct {
	Weights int64 `json:"weights"` // read once; of routed experts those that the batch is expected to choose
	Cache   int64 `json:"cache"`   // keys and values, read
	State   int64 `json:"state"`   // of Mamba-2's recurrences, read and written
}

// Total returns the sum.
func (t Traffic) Total() int64 { return t.Weights + t.Cache + t.State }

// StepTraffic returns what a decode step must move with a batch of sequences of
// a mean context. The experts are those of a batch that finds all of them
// equally likely.
func (m *Model) StepTraffic(batch int, context float64) Traffic {
	n := int64(batch)
	return Traffic{
		Weights: m.account.WeightTraffic(batch),
		Cache:   n * m.account.CacheTraffic(context),
		State:   n * m.account.StateTraffic(),
	}
}

// PromptOperations returns the multiplications and additions that a prompt of
// so many tokens takes.
func (m *Model) PromptOperations(tokens int) float64 { return m.account.Operations(tokens) }

// StartTogether is Start for several requests of which none begins before all
// are queued. They wait for a moment in which no other request runs. If one is
// refused, none begins.
func (m *Model) StartTogether(ctx context.Context, requests []Request) ([]*Generation, error) {
	held, queued, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- m.engine.Do(ctx, func(ops.Backend) error {
			close(held)
			<-queued
			return nil
		})
	}()
	select {
	case <-held:
		defer close(queued)
		return m.startAll(ctx, requests)
	case err := <-ended:
		close(queued)
		return nil, &Error{Op: "generate", Class: classOf(err), Err: err}
	}
}

// startAll starts all requests or none.
func (m *Model) startAll(ctx context.Context, requests []Request) ([]*Generation, error) {
	started := make([]*Generation, 0, len(requests))
	for _, r := range requests {
		g, err := m.Start(ctx, r)
		if err != nil {
			for _, g := range started {
				g.Cancel()
			}
			return nil, err
		}
		started = append(started, g)
	}
	return started, nil
}

// Rates are what a device reached in short tests.
type Rates struct {
	Read      float64 // bytes/s, by a plain reader of memory larger than its caches
	Product   float64 // operations/s of a large matrix product, two for each multiplication
	ProductBy string  // whose product that was
}

// MeasureRates tests the device of the model while no request runs. It takes
// memory beside the model's for that time: up to 8 GB on a GPU, 0.5 GB on the
// CPU.
func (m *Model) MeasureRates(ctx context.Context) (Rates, error) {
	var r Rates
	err := m.engine.Do(ctx, func(b ops.Backend) (err error) {
		t, err := newTest(b)
		if err != nil {
			return err
		}
		if r.Read, err = t.Bandwidth(t.read); err != nil {
			return err
		}
		r.Product, r.ProductBy, err = t.ProductRate(t.product)
		if m.device.busID == "" {
			debug.FreeOSMemory() // what was read would count as the model's memory
		}
		return err
	})
	var known *Error
	if err != nil && !errors.As(err, &known) {
		known = &Error{Class: classOf(err), Err: err}
	}
	if err != nil {
		known.Op = "measure the device"
		return Rates{}, known
	}
	return r, nil
}

// tester is a backend that can be tested.
type tester interface {
	Bandwidth(n int) (float64, error)
	ProductRate(n int) (float64, string, error)
}

// test is a backend with what there is room to test it with.
type test struct {
	tester
	read    int // bytes
	product int // rows and columns of a matrix
}

// leastRead is what a reader must read for caches not to matter.
const leastRead = 128 << 20

func newTest(b ops.Backend) (test, error) {
	var t test
	var free int64
	switch b := b.(type) {
	case gpu:
		n, _, err := b.device.Memory()
		if err != nil {
			return t, err
		}
		free = int64(n)
		t = test{b, int(min(8<<30, free/4*3)), 8192}
	case *ops.CPU:
		if free = freeMemory(); free == 0 {
			free = unknownFree
		}
		t = test{b, int(min(512<<20, free/4)), 2048}
	default:
		return t, fmt.Errorf("%T has no tests", b)
	}
	if t.read < leastRead {
		return t, &Error{Class: ErrOutOfMemory, Err: fmt.Errorf("%s of memory are free, want four times %s to read", Bytes(free), Bytes(leastRead))}
	}
	for int64(t.product)*int64(t.product)*4*3 > free/4*3 {
		t.product /= 2
	}
	return t, nil
}

// MemoryUse is the memory in use over some time, in bytes.
type MemoryUse struct {
	Peak, Mean int64
	Samples    int
	Of         string // what was looked at
	Own        bool   // it was the GPU memory of this process: what is over the plan is the driver's and the kernels'
}

// WatchMemory looks at the memory in use again and again until stop is called,
// which returns what it saw: on a GPU that of this process there, or that of
// all processes where the system does not tell them apart; on the CPU the
// resident set of this process, mapped weights included. It fails with
// ErrUnsupported where the system does not tell.
func (m *Model) WatchMemory(every time.Duration) (stop func() MemoryUse, err error) {
	g, err := m.device.gauge()
	if err != nil {
		return nil, &Error{Op: "watch the memory", Class: ErrUnsupported, Err: err}
	}
	end, seen := make(chan struct{}), make(chan MemoryUse)
	go func() {
		defer g.close()
		seen <- g.watch(every, end)
	}()
	return func() MemoryUse { close(end); return <-seen }, nil
}

// gauge looks at the memory in use.
type gauge struct {
	of    string
	own   bool // memory of a GPU that this process has
	read  func() (int64, error)
	close func() error
}

func (g *gauge) watch(every time.Duration, end <-chan struct{}) MemoryUse {
	use, sum := MemoryUse{Of: g.of, Own: g.own}, 0.0
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if n, err := g.read(); err == nil {
			use.Samples++
			sum += float64(n)
			use.Peak = max(use.Peak, n)
			use.Mean = int64(sum / float64(use.Samples))
		}
		select {
		case <-tick.C:
		case <-end:
			return use
		}
	}
}

func (d deviceInfo) gauge() (*gauge, error) {
	if d.busID == "" {
		_, err := residentMemory()
		return &gauge{of: "this process", read: residentMemory, close: func() error { return nil }}, err
	}
	nvml, err := cuda.LoadNVML(d.libraries)
	if err != nil {
		return nil, err
	}
	monitor, err := nvml.Find(d.busID)
	if err != nil {
		return nil, errors.Join(err, nvml.Close())
	}
	own := func() (int64, error) {
		n, err := monitor.ProcessMemory(os.Getpid())
		return int64(n), err
	}
	if _, err := own(); err == nil {
		return &gauge{of: "this process on the GPU", own: true, read: own, close: nvml.Close}, nil
	}
	all := func() (int64, error) {
		u, err := monitor.Memory()
		return int64(u.Used), err
	}
	return &gauge{of: "all processes on the GPU", read: all, close: nvml.Close}, nil
}
