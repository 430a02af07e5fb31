package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/godwit-llm/godwit"
)

// Report is what was measured. Times are in seconds, sizes in bytes, rates in
// one of them, tokens or operations per second. Shares are parts of 1; 0 stands
// for one that is not known.
type Report struct {
	Subject

	Prompt  int     `json:"prompt_tokens"` // of a request
	Decode  int     `json:"decode_tokens"`
	Repeat  int     `json:"runs"` // of each batch
	Batches []Batch `json:"batches"`

	Course
}

// Subject is a model, and the device that it runs on.
type Subject struct {
	Version string `json:"version"` // of this program; the caller's to set, as is Model
	Model   string `json:"model"`
	Random  bool   `json:"random_weights"` // the caller's to set

	Architecture  string  `json:"architecture"`
	Parameters    int64   `json:"parameters"`
	WeightBytes   int64   `json:"weight_bytes"`
	Device        string  `json:"device"`
	DType         string  `json:"dtype"`                   // of activations and cache, on a GPU of the weights, too
	StateType     string  `json:"state_dtype,omitempty"`   // of the states of recurrences
	LoadSeconds   float64 `json:"load_seconds"`            // from nothing to a model that is ready
	WeightSeconds float64 `json:"weight_seconds"`          // of that, for the weights
	WeightRate    float64 `json:"weight_bytes_per_second"` // as stored

	ReadRate    float64 `json:"read_bytes_per_second"` // a plain reader's, in the same run
	ProductRate float64 `json:"product_operations_per_second"`
	ProductBy   string  `json:"product_by"`
}

// Course is how the measurement went.
type Course struct {
	Memory   Memory   `json:"memory"`
	Notes    []string `json:"notes"`    // what could not be measured, and why
	Complete bool     `json:"complete"` // nothing is missing
}

// Memory is what was planned, and what was seen while the batches ran.
type Memory struct {
	Planned int64  `json:"planned_bytes"`
	Peak    int64  `json:"peak_bytes"`
	Mean    int64  `json:"mean_bytes"`
	Of      string `json:"of"`
	Over    int64  `json:"over_plan_bytes"` // of the peak, what the driver and the kernels take on a GPU; 0: not known
}

func (m *Memory) take(use godwit.MemoryUse) {
	m.Peak, m.Mean, m.Of = use.Peak, use.Mean, use.Of
	if use.Own {
		m.Over = max(0, use.Peak-m.Planned)
	}
}

// Batch is what so many requests at a time showed.
type Batch struct {
	Requests int `json:"requests"`

	FirstToken       Spread  `json:"first_token_seconds"`      // of a run's median request
	LastFirstToken   Spread  `json:"last_first_token_seconds"` // until all requests have their first token
	PromptRate       Spread  `json:"prompt_tokens_per_second"` // all prompts in that time
	PromptOperations float64 `json:"prompt_operations"`
	PromptBytes      int64   `json:"prompt_bytes"` // of weights, once
	PromptFloor      float64 `json:"prompt_floor_seconds"`
	PromptShare      float64 `json:"prompt_share_of_floor"`

	DecodeRate Spread         `json:"decode_tokens_per_second"` // all requests together
	Context    float64        `json:"context"`                  // mean positions of a sequence
	Step       float64        `json:"step_seconds"`
	Traffic    godwit.Traffic `json:"step_bytes"`
	ByteRate   float64        `json:"bytes_per_second"` // the step's bytes in the step's time
	FloorRate  float64        `json:"floor_tokens_per_second"`
	FloorShare float64        `json:"share_of_floor"`
}

// Spread is the median of some runs, and the range of all.
type Spread struct {
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
}

// spread of at least one value. It sorts them.
func spread(values []float64) Spread {
	slices.Sort(values)
	n := len(values)
	return Spread{(values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]}
}

// spreadOf takes one figure of each sample.
func spreadOf(samples []sample, figure func(sample) float64) Spread {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = figure(s)
	}
	return spread(values)
}

func newSubject(m *godwit.Model) Subject {
	s := Subject{
		Architecture: m.Architecture(), Parameters: m.Parameters(), WeightBytes: m.Plan().Weights, Device: m.Device(), DType: m.DType(), StateType: m.StateType(),
		LoadSeconds: m.LoadSeconds(), WeightSeconds: m.WeightSeconds(),
	}
	if s.WeightSeconds > 0 {
		s.WeightRate = float64(m.Plan().Stored) / s.WeightSeconds
	}
	return s
}

func newCourse(m *godwit.Model) Course {
	p := m.Plan()
	return Course{Notes: []string{}, Memory: Memory{Planned: p.Weights + p.Constants + p.Scratch + p.Cache + p.State + p.Snapshots}}
}

// around measures the device before and after some work, and the memory
// meanwhile. measure is the model's if it is nil.
func (s *Subject) around(ctx context.Context, m *godwit.Model, c *Course, measure func(context.Context) (godwit.Rates, error), work func() error) error {
	if measure == nil {
		measure = m.MeasureRates
	}
	if err := s.measureRates(ctx, c, measure); err != nil {
		return err
	}
	stop, err := m.WatchMemory(watchEvery)
	if err != nil {
		c.Notes = append(c.Notes, err.Error())
		stop = func() godwit.MemoryUse { return godwit.MemoryUse{} }
	}
	err = work()
	c.Memory.take(stop())
	if err == nil {
		err = s.measureRates(ctx, c, measure)
		c.Complete = err == nil
	}
	return err
}

// watchEvery is the time between two looks at the memory in use.
const watchEvery = 20 * time.Millisecond

// measureRates keeps the best rates so far. Without room for the tests there
// are no floors, and a note.
func (s *Subject) measureRates(ctx context.Context, c *Course, measure func(context.Context) (godwit.Rates, error)) error {
	rates, err := measure(ctx)
	if errors.Is(err, godwit.ErrOutOfMemory) {
		if note := fmt.Sprintf("no floors: %v", err); s.ReadRate == 0 && !slices.Contains(c.Notes, note) {
			c.Notes = append(c.Notes, note)
		}
		return nil
	}
	if err != nil {
		return err
	}
	s.ReadRate = max(s.ReadRate, rates.Read)
	if rates.Product > s.ProductRate {
		s.ProductRate, s.ProductBy = rates.Product, rates.ProductBy
	}
	return nil
}

// newBatch sums up the runs of n requests.
func newBatch(m *godwit.Model, n, prompt int, samples []sample) Batch {
	b := Batch{
		Requests:         n,
		FirstToken:       spreadOf(samples, func(s sample) float64 { return s.first }),
		LastFirstToken:   spreadOf(samples, func(s sample) float64 { return s.last }),
		PromptRate:       spreadOf(samples, func(s sample) float64 { return s.prompt }),
		DecodeRate:       spreadOf(samples, func(s sample) float64 { return s.decode }),
		Context:          spreadOf(samples, func(s sample) float64 { return s.context }).Median,
		PromptOperations: float64(n) * m.PromptOperations(prompt),
		PromptBytes:      m.StepTraffic(n*prompt, 0).Weights,
	}
	b.Traffic = m.StepTraffic(n, b.Context)
	b.Step = float64(n) / b.DecodeRate.Median
	b.ByteRate = float64(b.Traffic.Total()) / b.Step
	return b
}

// hold holds the batches against the device's rates.
func (r *Report) hold() {
	for i := range r.Batches {
		b := &r.Batches[i]
		if r.ReadRate > 0 {
			b.FloorRate = float64(b.Requests) * r.ReadRate / float64(b.Traffic.Total())
			b.FloorShare = b.DecodeRate.Median / b.FloorRate
		}
		if r.ReadRate > 0 && r.ProductRate > 0 {
			b.PromptFloor = max(b.PromptOperations/r.ProductRate, float64(b.PromptBytes)/r.ReadRate)
			b.PromptShare = b.PromptFloor / b.LastFirstToken.Median
		}
	}
}
