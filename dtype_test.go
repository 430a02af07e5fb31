package godwit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// TestTypeOnCPU: it computes in float32 and says so, and refuses anything else.
func TestTypeOnCPU(t *testing.T) {
	for _, name := range []string{"", "auto", "float32"} {
		said := ""
		m, err := OpenBuiltin(Options{Device: "cpu", DType: name, OnEvent: func(e Event) {
			if e.Kind == Info {
				said = e.Message
			}
		}})
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if m.DType() != "float32" || !strings.HasSuffix(said, ", in float32") {
			t.Errorf("%q: it computes in %s and says %q, want float32", name, m.DType(), said)
		}
		m.Close()
	}
	for name, want := range map[string]string{
		"bfloat16": "open model: the CPU computes in float32, got type bfloat16, want auto or float32",
		"float16":  "open model: the CPU computes in float32, got type float16, want auto or float32",
		"bf16":     `open model: type "bf16", want auto, float32, bfloat16 or float16`,
	} {
		if _, err := OpenBuiltin(Options{Device: "cpu", DType: name}); !errors.Is(err, ErrRequest) || err.Error() != want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

// TestTypeWithoutGPU: where the choice of the device falls on the CPU, the
// message says why.
func TestTypeWithoutGPU(t *testing.T) {
	m, err := OpenBuiltin(Options{DType: "float16"})
	if err == nil {
		defer m.Close()
		if m.DType() != "float16" {
			t.Errorf("it computes in %s, want float16", m.DType())
		}
		return
	}
	if want := "want auto or float32: CUDA is not available: "; !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an ErrRequest with %q", err, want)
	}
}

// TestTypeOnGPU: the type in the options, or that of most weights.
func TestTypeOnGPU(t *testing.T) {
	for _, c := range []struct {
		golden, name string
		want         ops.DType
	}{
		{"llama-base", "auto", ops.F32},
		{"nemotron-h-moe-gate-f32", "", ops.BF16},
		{"nemotron-h-moe-gate-f32", "float32", ops.F32},
		{"llama-base", "bfloat16", ops.BF16},
		{"llama-base", "float16", ops.F16},
	} {
		m, err := Open(filepath.Join("testdata", "goldens", c.golden), Options{Device: "cpu"})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		d, err := readDefinition(goldenFS(c.golden))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.computeType(d, Options{DType: c.name}); err != nil || got != c.want {
			t.Errorf("%s, %q: got %s (%v), want %s", c.golden, c.name, got, err, c.want)
		}
	}
}

// TestPlanOnGPU counts weights in the type that they have there, and constants
// in float32 beside them.
func TestPlanOnGPU(t *testing.T) {
	dir := filepath.Join("testdata", "goldens", "nemotron-h-moe-gate-f32")
	reports := map[string]*Report{}
	for _, dtype := range []string{"", "auto", "float32", "bfloat16", "float16"} {
		r, err := Inspect(dir, InspectOptions{DType: dtype, Context: 64})
		if err != nil {
			t.Fatal(err)
		}
		reports[dtype] = r
		device, want := "cuda", dtype
		switch dtype {
		case "":
			device, want = "cpu", "float32"
		case "auto":
			want = "bfloat16"
		}
		if p := r.Plan; p.Device != device || p.DType != want || r.GPUType != "bfloat16" || device == "cuda" && p.Free != 0 {
			t.Errorf("%q: got a plan for %s in %s, %d bytes free, and %s for GPUs; want one for %s in %s, and bfloat16", dtype, p.Device, p.DType, p.Free, r.GPUType, device, want)
		}
	}
	low, high := reports["bfloat16"], reports["float32"]
	if low.Plan.Weights != reports["auto"].Plan.Weights || low.Plan.Weights != reports["float16"].Plan.Weights {
		t.Errorf("got plans of %d, %d and %d bytes in types of one size", low.Plan.Weights, reports["auto"].Plan.Weights, reports["float16"].Plan.Weights)
	}
	constants := 2*low.Plan.Weights - high.Plan.Weights // w+c and 2w+c
	if gates := int64(4 * 8 * 32); constants < gates || constants > low.Plan.Weights || 2*low.CachePerToken != high.CachePerToken {
		t.Errorf("got %d bytes of weights in bfloat16 and %d in float32, with caches of %d and %d", low.Plan.Weights, high.Plan.Weights, low.CachePerToken, high.CachePerToken)
	}
	if low.Bytes != high.Bytes || low.BytesPerToken >= high.BytesPerToken || 2*low.BytesPerToken < high.BytesPerToken {
		t.Errorf("got %d and %d bytes stored, %d and %d read for a token", low.Bytes, high.Bytes, low.BytesPerToken, high.BytesPerToken)
	}
}

// TestPlanDoubles plans a model of two bytes a weight in float32: it takes
// twice the memory, and no longer fits where it just did.
func TestPlanDoubles(t *testing.T) {
	d, err := readDefinition(goldenFS("llama-rope-linear-parameters"))
	if err != nil {
		t.Fatal(err)
	}
	from, err := d.Random(1)
	if err != nil {
		t.Fatal(err)
	}
	plan := func(act ops.DType, free int64) (Plan, error) {
		on := gpuMachine(act)
		on.free = free
		a, err := d.Account(from, on.stepLimits(Options{}), on.types)
		if err != nil {
			t.Fatal(err)
		}
		return newPlan(a, Options{Context: 64, MaxSequences: 1}, on)
	}
	low, err := plan(ops.BF16, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	high, err := plan(ops.F32, 1<<30)
	if err != nil || high.Weights != 2*low.Weights || high.Constants != low.Constants || high.Cache != 2*low.Cache || high.Stored != low.Stored {
		t.Errorf("got %+v in float32 (%v), want twice %+v", high, err, low)
	}
	need := low.Weights + low.Constants + low.Scratch + low.Cache
	if _, err := plan(ops.BF16, need*10/8); err != nil {
		t.Errorf("in bfloat16: %v", err)
	}
	if _, err := plan(ops.F32, need*10/8); !errors.Is(err, ErrOutOfMemory) {
		t.Errorf("in float32: got %v, want ErrOutOfMemory", err)
	}
}

func goldenFS(name string) fs.FS { return os.DirFS(filepath.Join("testdata", "goldens", name)) }
