package ops_test

import (
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// TestMisuse: what does not fit is refused with both sizes.
func TestMisuse(t *testing.T) {
	b := ops.NewCPU(1)
	defer b.Close()
	m, _ := b.Activation(3, 4)
	_, short := b.Weights([]ops.Stored{{Name: "w", Type: ops.BF16, Rows: 2, Cols: 3, Data: make([]byte, 10)}})
	for _, c := range []struct {
		want string
		got  any
	}{
		{"ops: w: got 10 bytes, want 12 for BF16[2, 3]", short},
		{"ops: read: got room for 11 values, want 12", b.Read(make([]float32, 11), m)},
		{"ops: 4 rows of a tensor with 3", recovered(func() { m.Top(4) })},
		{"ops: columns [2:5) of a tensor with 4", recovered(func() { m.Columns(2, 5) })},
		{"ops: columns [-1:2) of a tensor with 4", recovered(func() { m.Columns(-1, 2) })},
	} {
		if err, ok := c.got.(error); ok {
			c.got = err.Error()
		}
		if c.got != c.want {
			t.Errorf("got %v, want %s", c.got, c.want)
		}
	}
}

func recovered(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

func TestDTypes(t *testing.T) {
	for d, want := range map[ops.DType]string{ops.F32: "F32", ops.BF16: "BF16", ops.F16: "F16", ops.I32: "I32", 9: "DType(9)"} {
		if d.String() != want {
			t.Errorf("got %s, want %s", d, want)
		}
	}
	if got := (ops.Tensor{Type: ops.F16, Rows: 2, Cols: 5}).String(); got != "F16[2, 5]" {
		t.Errorf("got %s", got)
	}
	if (ops.Tensor{}).Present() {
		t.Error("the zero tensor is present")
	}
}

// TestStateTypes: states are float32 or float16, in host memory too.
func TestStateTypes(t *testing.T) {
	cpu := ops.NewCPU(1)
	defer cpu.Close()
	for kept, want := range map[ops.DType]string{
		ops.F32: "", ops.F16: "", ops.BF16: "ops: a state of type BF16, want F32 or F16", ops.I32: "ops: a state of type I32, want F32 or F16",
	} {
		for _, of := range []func(ops.DType, int, int) (ops.Tensor, error){cpu.State, cpu.HostState} {
			x, err := of(kept, 3, 5)
			if want == "" && (err != nil || x.Type != kept || x.Rows != 3 || x.Cols != 5 || x.Stride != 5) || want != "" && (err == nil || err.Error() != want) {
				t.Errorf("%s: got %s, %v, want %q", kept, x, err, want)
			}
		}
	}
}
