package godwit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/engine"
	"github.com/godwit-llm/godwit/internal/kernels"
	"github.com/godwit-llm/godwit/internal/mmap"
	"github.com/godwit-llm/godwit/internal/model"
	"github.com/godwit-llm/godwit/internal/ops"
)

// cutDevice splits "cuda:1" into kind and number. Kind is "" where the name
// has no meaning.
func cutDevice(name string) (kind string, number int) {
	kind, index, numbered := strings.Cut(name, ":")
	switch {
	case name == "" || name == "auto":
		return "auto", 0
	case name == "cpu":
		return "cpu", 0
	case kind != "cuda":
		return "", 0
	case !numbered:
		return "cuda", 0
	}
	n, err := strconv.Atoi(index)
	if err != nil || n < 0 {
		return "", 0
	}
	return "cuda", n
}

// place puts the model on the device that the options name. "auto" is the
// first GPU, or the CPU where CUDA cannot be used. It runs on the engine's
// goroutine.
func (m *Model) place(d *model.Definition, opts Options) (engine.Loaded, error) {
	kind, number := cutDevice(opts.Device)
	if kind == "cpu" {
		return m.placeCPU(d, opts, nil)
	}
	loaded, err := m.placeCUDA(d, opts, number)
	if why := (*unavailable)(nil); errors.As(err, &why) {
		if kind == "auto" {
			return m.placeCPU(d, opts, why)
		}
		err = &Error{Class: ErrNoDevice, Err: err}
	}
	return loaded, err
}

// placeCPU uses the weights where they are mapped. Why says why it is the CPU,
// unless that was asked for.
func (m *Model) placeCPU(d *model.Definition, opts Options, why *unavailable) (engine.Loaded, error) {
	because := ""
	if why != nil {
		because = ": " + why.Error()
	}
	if t := opts.DType; t != autoType && t != "" && t != float32Type {
		return engine.Loaded{}, &Error{Class: ErrRequest, Err: fmt.Errorf("the CPU computes in float32, got type %s, want auto or float32%s", t, because)}
	}
	if err := m.makePlan(d, m.mainMemory(), opts); err != nil {
		return engine.Loaded{}, err
	}
	cpu := ops.NewCPU(opts.Threads)
	m.device = deviceInfo{name: fmt.Sprintf("CPU, %d threads, %s", cpu.Threads(), cpu.Features()), act: ops.F32}
	opts.event(Event{Kind: Info, Message: fmt.Sprintf("running on the %s, in %s%s", m.device.name, m.types(), because)})
	start := time.Now()
	loaded, err := m.bind(d, cpu)
	if err != nil {
		cpu.Close()
		return engine.Loaded{}, err
	}
	if err := touch(m.account, m.plan, cpu.Threads(), opts); err != nil {
		cpu.Close()
		return engine.Loaded{}, err
	}
	m.readSeconds = time.Since(start).Seconds()
	return m.sharing(opts, engine.Loaded{Model: loaded, Backend: cpu}), nil
}

// bind places the model's weights and buffers on a backend. Small weights are
// read here, from files that may be cut off meanwhile.
func (m *Model) bind(d *model.Definition, on ops.Backend) (loaded *model.Model, err error) {
	if fault := mmap.Guard(func() { loaded, err = d.Load(m.weights, on, m.plan.limits) }); fault != nil {
		return nil, fault
	}
	return loaded, err
}

// unavailable says why CUDA cannot be used on this machine.
type unavailable struct{ cause error }

func (u *unavailable) Error() string { return "CUDA is not available: " + unprefixed(u.cause) }

func (u *unavailable) Unwrap() error { return u.cause }

// unprefixed returns an error's text without the names of our packages.
func unprefixed(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "cuda: "), "kernels: ")
}

// gpu is a backend that closes its device after itself.
type gpu struct {
	*kernels.Backend
	device *cuda.Device
}

func (g gpu) Close() error { return errors.Join(g.Backend.Close(), g.device.Close()) }

// placeCUDA copies the weights to a GPU.
func (m *Model) placeCUDA(d *model.Definition, opts Options, ordinal int) (_ engine.Loaded, err error) {
	driver, err := cuda.LoadDriver(opts.libraries())
	if err != nil {
		return engine.Loaded{}, &unavailable{err}
	}
	act, err := m.computeType(d, opts) // before the device is opened, which takes a while
	if err != nil {
		return engine.Loaded{}, err
	}
	device, err := driver.Open(ordinal)
	if errors.Is(err, cuda.ErrOutOfMemory) {
		return engine.Loaded{}, &Error{Class: ErrOutOfMemory, Err: fmt.Errorf("not enough memory: GPU %d has none left for the driver itself: %w", ordinal, err)}
	}
	if err != nil {
		return engine.Loaded{}, &unavailable{err}
	}
	close := device.Close
	defer func() {
		if err != nil {
			close()
		}
	}()
	if err := m.makePlan(d, gpuMemory(device, act), opts); err != nil {
		return engine.Loaded{}, err
	}
	p := m.plan
	backend, err := kernels.New(device, kernels.Options{
		Act: act, CublasDirs: opts.LibraryDirs, NoLibrary: opts.NoCUBLASLt, Readers: opts.Threads,
		ArenaBytes: p.Weights + p.Constants + p.Scratch + p.Cache + p.State + p.Snapshots,
	})
	if err != nil {
		return engine.Loaded{}, err
	}
	close = gpu{backend, device}.Close
	m.device = deviceInfo{name: device.Info().Name, busID: device.Info().BusID, libraries: opts.libraries(), act: act}
	opts.event(Event{Kind: Info, Message: fmt.Sprintf("running on GPU %d, %s, in %s", ordinal, m.device.name, m.types())})
	if _, missing := backend.Library(); missing != nil {
		opts.event(Event{Kind: Info, Message: "prompts are multiplied by the built-in kernels: " + unprefixed(missing)})
	}
	start := time.Now()
	loaded, err := m.bind(d, backend)
	if err != nil {
		return engine.Loaded{}, err
	}
	err = backend.Flush(func(done int64) { opts.event(Event{Kind: Progress, Done: done, Total: p.Stored}) })
	m.readSeconds = time.Since(start).Seconds()
	return m.sharing(opts, engine.Loaded{Model: loaded, Backend: gpu{backend, device}, Ahead: !opts.NoAhead}), err
}

// sharing says how requests share a model that is loaded.
func (m *Model) sharing(opts Options, l engine.Loaded) engine.Loaded {
	l.Context, l.Budget, l.Spacing = m.plan.Context, m.plan.stepTokens, m.plan.spacing
	l.Queue, l.NoPrefixes, l.Speculate = opts.QueueLimit, opts.NoPrefixCache, opts.Speculation == speculate
	return l
}

// deviceInfo is what is known of a model's device.
type deviceInfo struct {
	name      string
	act       ops.DType    // that it computes in
	busID     string       // of a GPU; "" for the CPU
	libraries cuda.Options // of a GPU
}

// mainMemory is where the CPU's models live: mapped, but for made-up weights.
func (m *Model) mainMemory() machine {
	on := mainMemory()
	if _, made := m.weights.(*made); made {
		on.resident, on.share = true, 0.8
	}
	return on
}

// gpuMemory describes a GPU for the plan.
func gpuMemory(device *cuda.Device, act ops.DType) machine {
	free, _, err := device.Memory()
	if err != nil {
		free = 0 // the allocation will say what is wrong
	}
	on := gpuMachine(act)
	on.name, on.free = device.Info().Name, int64(free)
	return on
}

// gpuMachine is a GPU whose memory is not known. It holds matrices in the type
// that it computes in.
func gpuMachine(act ops.DType) machine {
	return machine{name: "the GPU's memory", share: 0.9, tokens: 2048, beside: 1024, spacing: 1024, types: model.Types{Act: act, Converted: true}, resident: true}
}

// The names of the types in Options and reports.
const (
	autoType    = "auto"
	float32Type = "float32"
)

// typeNames name the types that a GPU can compute in.
var typeNames = map[ops.DType]string{ops.F32: float32Type, ops.BF16: "bfloat16", ops.F16: "float16"}

// typeNamed finds a type by its name. It is false for a name that leaves the
// choice to the model, or that has no meaning.
func typeNamed(name string) (ops.DType, bool) {
	for t, n := range typeNames {
		if n == name {
			return t, true
		}
	}
	return 0, false
}

// types names the type that is computed in, and that of states where it is
// another one than usual.
func (m *Model) types() string {
	if m.StateType() == typeNames[ops.F16] {
		return m.DType() + ", states in " + m.StateType()
	}
	return m.DType()
}

// stateTypeNamed finds the type of states by its name. It is false for what
// states are not kept in.
func stateTypeNamed(name string) (ops.DType, bool) {
	if name == "" {
		return ops.F32, true
	}
	t, ok := typeNamed(name)
	return t, ok && t != ops.BF16
}

// computeType returns the type that a GPU computes in: the one in the options,
// or that which most of the weights are stored in.
func (m *Model) computeType(d *model.Definition, opts Options) (ops.DType, error) {
	if t, ok := typeNamed(opts.DType); ok {
		return t, nil
	}
	if err := m.accountFor(d, model.Limits{PageSize: pageSize}, model.Types{}); err != nil {
		return 0, err
	}
	return m.account.WeightType(), nil
}
