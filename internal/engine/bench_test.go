package engine

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/model"
	"github.com/godwit-llm/godwit/internal/ops"
)

// instant is a device that computes nothing and takes no time.
type instant struct{ *ops.CPU }

func (instant) Begin(*ops.Batch) error                                                 { return nil }
func (instant) Embed(_, _ ops.Tensor)                                                  {}
func (instant) Norm(_, _ ops.Tensor, _ *ops.Norm)                                      {}
func (instant) Linear(_, _ ops.Tensor, _ *ops.Linear, _ ops.Epilogue)                  {}
func (instant) Multiply(_, _, _ ops.Tensor, _ ops.Activation)                          {}
func (instant) Angles(*ops.Rotary)                                                     {}
func (instant) Append(_, _, _ ops.Tensor, _ *ops.Attention, _ ops.Cache)               {}
func (instant) Attend(_, _ ops.Tensor, _ *ops.Attention, _ ops.Cache)                  {}
func (instant) Convolve(_, _ ops.Tensor, _ *ops.Conv, _ ops.Tensor)                    {}
func (instant) Scan(_, _, _ ops.Tensor, _ *ops.SSM, _ ops.Tensor)                      {}
func (instant) Mamba(_, _ ops.Tensor, _ *ops.Mamba, _ ops.MambaState, _, _ ops.Tensor) {}
func (instant) GatedNorm(_, _, _ ops.Tensor, _ *ops.GatedNorm)                         {}
func (instant) Gather(_, _ ops.Tensor)                                                 {}
func (instant) Copy(_ ops.Tensor, _ int, _ ops.Tensor, _, _ int)                       {}
func (instant) Sample(r []ops.Sampled, _ ops.Tensor, params []ops.Sampling) error {
	for i := range params {
		r[i] = ops.Sampled{ID: int32(params[i].Step % 24)}
	}
	return nil
}

// BenchmarkHost decodes 256 requests with 1,000 to some thousand tokens each on
// a device that takes no time: what is left is the host's part of a step. Each
// request has a reader, as in a server.
func BenchmarkHost(b *testing.B) {
	const requests = 256
	m := newTiny(b, tinyHybrid("M*"))
	weights, err := m.Random(3)
	if err != nil {
		b.Fatal(err)
	}
	limits := model.Limits{Tokens: 2048, Outputs: requests, Sequences: requests, Pages: 600 * requests, PageSize: 16, Snapshots: 16}
	e, err := Start(func() (Loaded, error) {
		device := instant{ops.NewCPU(1)}
		loaded, err := m.Load(weights, device, limits)
		return Loaded{Model: loaded, Backend: device, Context: 9600}, err
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
	for at := e.Metrics(); at.PromptTokens+at.ReusedTokens < requests*1000; at = e.Metrics() {
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
