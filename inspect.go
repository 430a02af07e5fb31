package godwit

import (
	"io/fs"
	"os"

	"github.com/godwit-llm/godwit/internal/model"
	"github.com/godwit-llm/godwit/internal/safetensors"
)

// Report describes a checkpoint without running it. Sizes are in bytes.
type Report struct {
	Architecture    string         `json:"architecture"`
	Layers          int            `json:"layers"`
	Hidden          int            `json:"hidden_size"`
	Vocabulary      int            `json:"vocab_size"`
	Context         int            `json:"max_position_embeddings"`
	Parameters      int64          `json:"parameters"`
	Parts           []PartReport   `json:"parts"`
	DTypes          map[string]int `json:"tensors_per_dtype"`
	Files           int            `json:"files"`
	Bytes           int64          `json:"bytes"`
	GPUType         string         `json:"gpu_dtype"` // that a GPU computes in unless Options.DType says otherwise
	BytesPerToken   int64          `json:"bytes_read_per_decoded_token"`
	CachePerToken   int64          `json:"cache_bytes_per_token"`
	StatePerRequest int64          `json:"state_bytes_per_sequence"`
	NotUsed         []string       `json:"tensors_not_used"`
	Plan            PlanReport     `json:"memory_plan"`
	Tensors         []TensorReport `json:"tensors,omitempty"`
}

// PartReport counts the parameters of one part of a model.
type PartReport struct {
	Name       string `json:"name"`
	Parameters int64  `json:"parameters"`
	Bytes      int64  `json:"bytes"`
}

// PlanReport is the memory that a number of sequences of a given context needs
// on a device.
type PlanReport struct {
	Device    string `json:"device"` // "cpu" or "cuda"
	DType     string `json:"dtype"`  // of activations and cache, on a GPU of weights, too
	Context   int    `json:"context"`
	Sequences int    `json:"sequences"`
	Weights   int64  `json:"weights_bytes"`
	Cache     int64  `json:"cache_bytes"`
	State     int64  `json:"state_bytes"`
	Scratch   int64  `json:"scratch_bytes"`
	Driver    int64  `json:"driver_bytes"` // on a GPU: what the driver takes for itself and the kernels, about
	Total     int64  `json:"total_bytes"`
	Free      int64  `json:"free_bytes"` // 0: not known, as on a GPU
}

// TensorReport describes one tensor.
type TensorReport struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
	Part  string `json:"part"` // "" for one that is not used
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

// InspectOptions says what to plan for.
type InspectOptions struct {
	Context   int    // 0 means max_position_embeddings
	Sequences int    // 0 means 1
	DType     string // that a GPU computes in, as in Options: plan for one; "" plans for the CPU
	StateType string // of recurrent states, as in Options
}

// Inspect describes the checkpoint in a directory from config.json and the
// headers of the safetensors files. It finds the faults that Open would find
// in them.
func Inspect(dir string, opts InspectOptions) (*Report, error) {
	ck, err := safetensors.Open(dir)
	if err != nil {
		return nil, openError(dir, err)
	}
	defer ck.Close()
	return inspect(dir, os.DirFS(dir), ck, opts)
}

func inspect(name string, fsys fs.FS, ck *safetensors.Checkpoint, opts InspectOptions) (*Report, error) {
	d, err := readDefinition(fsys)
	if err != nil {
		return nil, openError(name, err)
	}
	if err := (Options{Context: opts.Context, MaxSequences: opts.Sequences, DType: opts.DType, StateType: opts.StateType}).check(); err != nil {
		return nil, openError(name, err)
	}
	sequences := max(opts.Sequences, 1)
	a, m, err := accountOn(d, ck, Options{MaxSequences: sequences, DType: opts.DType, StateType: opts.StateType})
	if err != nil {
		return nil, openError(name, err)
	}
	c := a.Config
	r := &Report{
		Architecture: c.Architecture, Layers: c.Layers, Hidden: c.Hidden, Vocabulary: c.Vocab, Context: c.Context,
		DTypes: map[string]int{}, Files: len(ck.Files()), Bytes: a.StoredBytes(), GPUType: typeNames[a.WeightType()], NotUsed: append([]string{}, a.NotUsed...),
		BytesPerToken: a.BytesPerToken(), CachePerToken: a.PageBytes / pageSize, StatePerRequest: a.SequenceBytes,
	}
	r.count(a, ck)
	r.Plan = planReport(a, sequences, opts.Context, m)
	return r, nil
}

// accountOn accounts for the model on the CPU, or on a GPU where the options name
// the type that it computes in.
func accountOn(d *model.Definition, from model.Weights, opts Options) (*model.Account, machine, error) {
	m := mainMemory()
	a, err := d.Account(from, m.stepLimits(opts), m.types)
	if err != nil || opts.DType == "" {
		return a, m, err
	}
	act, ok := typeNamed(opts.DType)
	if !ok {
		act = a.WeightType()
	}
	m = gpuMachine(act)
	return a, m, a.Measure(m.stepLimits(opts), m.types)
}

// count fills in the parts and the tensors.
func (r *Report) count(a *model.Account, ck *safetensors.Checkpoint) {
	part := map[string]model.Part{}
	bytes := map[model.Part]int64{}
	for _, u := range a.Usage {
		part[u.Tensor.Name] = u.Part
		bytes[u.Part] += u.Tensor.Len()
	}
	for _, p := range model.Parts() {
		if n := a.Parameters(p); n > 0 {
			r.Parts = append(r.Parts, PartReport{string(p), n, bytes[p]})
			r.Parameters += n
		}
	}
	for _, t := range ck.Tensors() {
		r.DTypes[t.DType.String()]++
		r.Tensors = append(r.Tensors, TensorReport{t.Name, t.DType.String(), t.Shape, string(part[t.Name]), t.File(), t.Len()})
	}
}

// driverBytes is what a process was seen to take on an H200 beside its arena:
// the driver's context, code, the workspace of cuBLASLt, graphs. It depends on
// the device and the driver.
const driverBytes = 600e6

func planReport(a *model.Account, sequences, context int, m machine) PlanReport {
	if context <= 0 {
		context = a.Config.Context
	}
	p := PlanReport{
		Device: "cpu", DType: typeNames[m.types.Act], Context: context, Sequences: sequences, Weights: a.WeightBytes() + a.Constants,
		Cache: int64(sequences*pagesFor(context, pageSize)) * a.PageBytes, State: int64(sequences) * a.SequenceBytes,
		Scratch: a.ScratchBytes, Free: m.free,
	}
	if m.resident {
		p.Device, p.Driver = "cuda", driverBytes
	}
	p.Total = p.Weights + p.Cache + p.State + p.Scratch + p.Driver
	return p
}
