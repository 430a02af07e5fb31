package engine

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/model"
	"github.com/godwit-llm/godwit/internal/ops"
)

// idle is a device that computes nothing, beside the program: each step takes it
// the same time, from when it was queued or the step before has ended.
type idle struct {
	*ops.CPU
	took    time.Duration
	chosen  []int32
	free    time.Time // when all that it was given will have ended
	results time.Time // when what was chosen last will be there
}

// Launch queues a step.
func (d *idle) Launch() {
	if now := time.Now(); d.free.Before(now) {
		d.free = now
	}
	d.free = d.free.Add(d.took)
}

func (*idle) Begin(*ops.Batch) error                                                 { return nil }
func (*idle) Embed(_, _ ops.Tensor)                                                  {}
func (*idle) Norm(_, _ ops.Tensor, _ *ops.Norm)                                      {}
func (*idle) Linear(_, _ ops.Tensor, _ *ops.Linear, _ ops.Epilogue)                  {}
func (*idle) Multiply(_, _, _ ops.Tensor, _ ops.Activation)                          {}
func (*idle) Angles(*ops.Rotary)                                                     {}
func (*idle) Append(_, _, _ ops.Tensor, _ *ops.Attention, _ ops.Cache)               {}
func (*idle) Attend(_, _ ops.Tensor, _ *ops.Attention, _ ops.Cache)                  {}
func (*idle) Convolve(_, _ ops.Tensor, _ *ops.Conv, _ ops.Tensor)                    {}
func (*idle) Scan(_, _, _ ops.Tensor, _ *ops.SSM, _ ops.Tensor)                      {}
func (*idle) Mamba(_, _ ops.Tensor, _ *ops.Mamba, _ ops.MambaState, _, _ ops.Tensor) {}
func (*idle) GatedNorm(_, _, _ ops.Tensor, _ *ops.GatedNorm)                         {}
func (*idle) Gather(_, _ ops.Tensor)                                                 {}
func (*idle) Copy(_ ops.Tensor, _ int, _ ops.Tensor, _, _ int)                       {}
func (d *idle) Sample(_ ops.Tensor, params []ops.Sampling) error {
	d.chosen = d.chosen[:0]
	for i := range params {
		d.chosen = append(d.chosen, int32(params[i].Step%24))
	}
	d.results = d.free
	return nil
}

func (d *idle) Collect(r []ops.Sampled) error {
	time.Sleep(time.Until(d.results))
	for i, id := range d.chosen {
		r[i] = ops.Sampled{ID: id}
	}
	return nil
}

// BenchmarkHost decodes 256 requests with 1,000 to some thousand tokens each on
// a device that takes no time: what is left is the host's part of a step. Each
// request has a reader, as in a server.
func BenchmarkHost(b *testing.B) { benchmarkHost(b, 256, 0, false) }

// BenchmarkAhead decodes on a device that takes 2 ms a step, with the host's part
// of it before each step, and behind the step before.
func BenchmarkAhead(b *testing.B) {
	for _, requests := range []int{1, 64} {
		for _, ahead := range []bool{false, true} {
			b.Run(fmt.Sprintf("requests=%d,ahead=%v", requests, ahead), func(b *testing.B) {
				benchmarkHost(b, requests, 2*time.Millisecond, ahead)
			})
		}
	}
}

func benchmarkHost(b *testing.B, requests int, took time.Duration, ahead bool) {
	m := newTiny(b, tinyHybrid("M*"))
	weights, err := m.Random(3)
	if err != nil {
		b.Fatal(err)
	}
	limits := model.Limits{Tokens: 2048, Outputs: requests, Sequences: requests, Pages: 600 * requests, PageSize: 16, Snapshots: 16}
	e, err := Start(func() (Loaded, error) {
		device := &idle{CPU: ops.NewCPU(1), took: took}
		loaded, err := m.Load(weights, device, limits)
		return Loaded{Model: loaded, Backend: device, Context: 9600, Ahead: ahead}, err
	})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	ctx, cancel := context.WithCancel(b.Context())
	var readers sync.WaitGroup
	for i := range requests {
		ids := make([]int32, 1000)
		ids[0], ids[1] = int32(i%24), int32(i/24)
		s, err := e.Submit(ctx, Request{IDs: ids, MaxTokens: 8600, Sampling: Sampling{Temperature: 1, RepetitionPenalty: 1.1}})
		if err != nil {
			b.Fatal(err)
		}
		readers.Go(func() {
			for ok := true; ok; {
				_, ok, _ = s.Next()
			}
		})
	}
	for at := e.Metrics(); at.PromptTokens+at.ReusedTokens < uint64(requests*1000); at = e.Metrics() {
		time.Sleep(time.Millisecond)
	}
	b.ReportAllocs()
	before := e.Metrics()
	for b.Loop() {
		for at := e.Metrics().Steps; e.Metrics().Steps < at+100; {
			time.Sleep(50 * time.Microsecond)
		}
	}
	after := e.Metrics()
	steps := float64(after.Steps - before.Steps)
	b.ReportMetric(b.Elapsed().Seconds()*1e6/steps, "µs/step")
	b.ReportMetric(float64(after.OutputTokens-before.OutputTokens)/steps, "tokens/step")
	cancel()
	readers.Wait()
}
