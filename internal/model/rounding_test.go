package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/vec"
)

// rounding is what computing in 16 bits costs transformers, by type, see
// tools/goldens/rounding.py.
type rounding struct {
	Stored   string `json:"stored"`
	BFloat16 cost   `json:"bfloat16"`
	Float16  cost   `json:"float16"`
}

// cost is the difference of log-probabilities from those in float32: of each
// position the largest, and of these the median and the largest.
type cost struct {
	Median  float64 `json:"median"`
	Largest float64 `json:"largest"`
}

// TestRounding computes the golden checkpoints with weights, activations and
// caches rounded to 16 bits, as a GPU rounds them: that must cost no more than
// it costs transformers, which rounds the residual stream as well. A GPU is
// held to the same limits, see TestCUDAGolden.
func TestRounding(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(goldens, "rounding.json"))
	if err != nil {
		t.Fatal(err)
	}
	var table struct{ Checkpoints map[string]rounding }
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
	for _, dir := range variants(t) {
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			want, ok := table.Checkpoints[name]
			if !ok {
				t.Fatal("rounding.json does not have it; run tools/goldens/rounding.py")
			}
			compareRounded(t, dir, ops.BF16, want.BFloat16)
			compareRounded(t, dir, ops.F16, want.Float16)
		})
	}
}

func compareRounded(t *testing.T, dir string, act ops.DType, limit cost) {
	t.Helper()
	m := loadRounded(t, dir, act)
	var worst []float64
	for _, c := range readGolden(t, dir).Cases {
		rows := logits(t, m, piece{tokens: c.IDs})
		for p, want := range c.LogProbs {
			worst = append(worst, largestDifference(t, logSoftmax(rows[p]), want))
		}
	}
	slices.Sort(worst)
	got := cost{worst[len(worst)/2], worst[len(worst)-1]}
	if !(got.Median <= limit.Median && got.Largest <= limit.Largest) {
		t.Errorf("%s: log-probabilities differ by %.3g in the median position and by at most %.3g, want no more than %.3g and %.3g", act, got.Median, got.Largest, limit.Median, limit.Largest)
	}
	if got.Median < limit.Median/4 {
		t.Errorf("%s: log-probabilities differ by %.3g in the median position, transformers' by %.3g: is anything rounded?", act, got.Median, limit.Median)
	}
}

func largestDifference(t *testing.T, got, want []float32) float64 {
	t.Helper()
	largest := 0.0
	for k, v := range got {
		d := math.Abs(float64(v - want[k]))
		if math.IsNaN(d) {
			t.Fatalf("the log-probability of token %d is %g, want %g", k, v, want[k])
		}
		largest = max(largest, d)
	}
	return largest
}

// loadRounded loads a checkpoint on a CPU that rounds.
func loadRounded(t *testing.T, dir string, act ops.DType) *Model {
	t.Helper()
	cpu := ops.NewCPU(1)
	t.Cleanup(func() { cpu.Close() })
	return loadOn(t, dir, &rounder{CPU: cpu, act: act}, testLimits)
}

// rounder is a CPU whose weights, activations and caches hold numbers of 16
// bits. What an operation does inside stays float32.
type rounder struct {
	*ops.CPU
	act         ops.DType
	activations []span
}

// span is memory from one address to another.
type span struct{ from, to uintptr }

func (r *rounder) Weights(parts []ops.Stored) ([]ops.Tensor, error) {
	for i, p := range parts {
		if p.Type != r.act {
			parts[i].Data, parts[i].Type = r.converted(p), ops.F32
		}
	}
	return r.CPU.Weights(parts)
}

// converted returns a matrix as float32 numbers of the type.
func (r *rounder) converted(p ops.Stored) []byte {
	n := p.Rows * p.Cols
	data := unsafe.Pointer(unsafe.SliceData(p.Data))
	values := make([]float32, n)
	switch p.Type {
	case ops.BF16:
		vec.BF16ToF32(values, unsafe.Slice((*uint16)(data), n))
	case ops.F16:
		vec.F16ToF32(values, unsafe.Slice((*uint16)(data), n))
	default:
		copy(values, unsafe.Slice((*float32)(data), n))
	}
	r.round(values)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*n)
}

func (r *rounder) round(values []float32) {
	half := make([]uint16, len(values))
	if r.act == ops.BF16 {
		vec.F32ToBF16(half, values)
		vec.BF16ToF32(values, half)
	} else {
		vec.F32ToF16(half, values)
		vec.F16ToF32(values, half)
	}
}

func (r *rounder) Activation(rows, cols int) (ops.Tensor, error) {
	t, err := r.CPU.Activation(rows, cols)
	at := uintptr(t.Addr)
	r.activations = append(r.activations, span{at, at + uintptr(4*rows*cols)})
	return t, err
}

// written rounds a result, if it is an activation.
func (r *rounder) written(t ops.Tensor) {
	at := uintptr(t.Addr)
	if !slices.ContainsFunc(r.activations, func(s span) bool { return s.from <= at && at < s.to }) {
		return
	}
	for row := range t.Rows {
		r.round(unsafe.Slice((*float32)(t.From(row).Addr), t.Cols))
	}
}

func (r *rounder) Norm(out, x ops.Tensor, n *ops.Norm) {
	r.CPU.Norm(out, x, n)
	r.written(out)
}

func (r *rounder) Linear(out, x ops.Tensor, w *ops.Linear, e ops.Epilogue) {
	r.CPU.Linear(out, x, w, e)
	r.written(out)
}

func (r *rounder) Multiply(out, gate, up ops.Tensor, act ops.Activation) {
	r.CPU.Multiply(out, gate, up, act)
	r.written(out)
}

func (r *rounder) Append(q, k, v ops.Tensor, a *ops.Attention, c ops.Cache) {
	r.CPU.Append(q, k, v, a, c)
	r.written(q)
	for _, t := range []ops.Tensor{c.K, c.V} {
		r.round(unsafe.Slice((*float32)(t.Addr), t.Rows*t.Cols))
	}
}

func (r *rounder) Attend(out, q ops.Tensor, a *ops.Attention, c ops.Cache) {
	r.CPU.Attend(out, q, a, c)
	r.written(out)
}

func (r *rounder) Mamba(out, p ops.Tensor, m *ops.Mamba, state ops.MambaState, mixed, y ops.Tensor) {
	r.CPU.Mamba(out, p, m, state, mixed, y)
	r.written(out)
}

func (r *rounder) MoE(out, x ops.Tensor, m *ops.MoE, routes ops.Routes, hidden ops.Tensor) {
	m.Separately(r, out, x, routes, hidden)
}

func (r *rounder) Experts(out, x ops.Tensor, routes ops.Routes, e *ops.Experts, set bool) {
	r.CPU.Experts(out, x, routes, e, set)
	r.written(out)
}
