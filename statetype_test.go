package godwit

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// TestStateType: states in 16 bits take half the memory, are named where the
// model is, and hardly change a text.
func TestStateType(t *testing.T) {
	texts := map[string][]int32{}
	state := map[string]int64{}
	for _, kept := range []string{"", "float32", "float16"} {
		said := ""
		m, err := OpenBuiltin(Options{Device: "cpu", StateType: kept, MaxSequences: 2, Context: 128, OnEvent: func(e Event) {
			if e.Kind == Info {
				said = e.Message
			}
		}})
		if err != nil {
			t.Fatalf("%q: %v", kept, err)
		}
		defer m.Close()
		want := kept
		if kept == "" {
			want = "float32"
		}
		if m.StateType() != want {
			t.Errorf("%q: states are in %s", kept, m.StateType())
		}
		if named := strings.HasSuffix(said, ", in float32, states in float16"); named != (kept == "float16") {
			t.Errorf("%q: it says %q", kept, said)
		}
		r, err := m.Generate(t.Context(), Request{Prompt: "Once upon a time", Sampling: greedy, MaxTokens: 40, IgnoreEOS: true})
		if err != nil {
			t.Fatal(err)
		}
		texts[kept], state[kept] = r.IDs, m.Plan().State
	}
	if !slices.Equal(texts[""], texts["float32"]) || !slices.Equal(texts[""][:8], texts["float16"][:8]) {
		t.Errorf("got the texts %v", texts)
	}
	if whole, half := state["float32"], state["float16"]; state[""] != whole || !(half < whole*6/10 && 2*half > whole) {
		t.Errorf("states take %v", state) // the windows of convolutions stay float32
	}
}

// TestStateTypeRefused: other types, with the names of those that there are.
func TestStateTypeRefused(t *testing.T) {
	for _, name := range []string{"bfloat16", "auto", "f16"} {
		_, err := OpenBuiltin(Options{Device: "cpu", StateType: name})
		if want := `type of states "` + name + `", want float32 or float16`; !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an ErrRequest with %q", err, want)
		}
	}
}

// TestStateTypePlanned: Inspect and the traffic of a step count the type, and
// host memory holds twice the states.
func TestStateTypePlanned(t *testing.T) {
	dir := "testdata/goldens/nemotron-h-base"
	var state [2]int64
	var rows [2]int
	for i, kept := range []string{"float32", "float16"} {
		r, err := Inspect(dir, InspectOptions{StateType: kept})
		if err != nil {
			t.Fatal(err)
		}
		m, err := Open(dir, Options{Device: "cpu", StateType: kept, HostMemory: 1 << 20, SnapshotMemory: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		state[i], rows[i] = r.StatePerRequest, m.plan.limits.HostSnapshots
		if got := m.plan.limits.StateType; got != []ops.DType{ops.F32, ops.F16}[i] {
			t.Errorf("%s: states are allocated as %s", kept, got)
		}
		if want := m.account.StateTraffic() * 3; m.StepTraffic(3, 10).State != want {
			t.Errorf("%s: a step moves states of %d bytes, want %d", kept, m.StepTraffic(3, 10).State, want)
		}
	}
	if state[1] >= state[0] || rows[1] <= rows[0] {
		t.Errorf("a sequence's state takes %v bytes, host memory holds %v", state, rows)
	}
	if _, err := Inspect(dir, InspectOptions{StateType: "int8"}); !errors.Is(err, ErrRequest) {
		t.Errorf("got %v, want an ErrRequest", err)
	}
}
