package kernels

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// decode makes steps of single tokens and returns what each chose. With ahead,
// each is given to the device before the results of the one before are looked at:
// its tokens are those that the rows of that one choose, sequence by sequence or,
// now and then, crosswise.
func (m *tiny) decode(steps int, ahead bool) (all [][]ops.Sampled) {
	m.Helper()
	sequences := len(m.ids)
	take := func() {
		results := make([]ops.Sampled, sequences)
		m.must(m.Collect(results))
		all = append(all, results)
	}
	for i := range steps {
		from := func(s int) int { return s }
		if i%4 == 3 {
			from = func(s int) int { return sequences - 1 - s }
		}
		for s := range m.ids {
			switch {
			case i == 0:
			case ahead:
				m.ids[s] = ops.Chosen(from(s))
			default:
				m.ids[s] = all[i-1][from(s)].ID
			}
		}
		m.begin(sequences, 1)
		logits := m.forward()
		m.Launch()
		if ahead && i > 0 {
			take()
		}
		for s := range m.params {
			m.params[s].Step = uint64(i)
		}
		m.must(m.Sample(logits, m.params))
		if !ahead {
			take()
		}
	}
	if ahead {
		take()
	}
	return all
}

// TestStepsAheadComputeTheSame: steps that begin with ids the host has not seen
// choose, to the last bit, what they choose one by one, with graphs and without.
// Some rows are drawn, some list tokens, on the device and on the host.
func TestStepsAheadComputeTheSame(t *testing.T) {
	for _, act := range activationTypes {
		hybrid := act != ops.F16
		t.Run(fmt.Sprintf("%s,hybrid=%v", act, hybrid), func(t *testing.T) {
			var want [][]ops.Sampled
			for _, c := range []struct{ eager, ahead bool }{{true, false}, {true, true}, {false, true}} {
				m := newTiny(t, onDevice(t, Options{Act: act, Eager: c.eager}).Backend, 3)
				if hybrid {
					m.addMamba(8, 16, 1, 128)
				}
				m.params[0].Top = 3
				m.params[1].Top = listed + 6
				got := m.decode(7, c.ahead)
				if want == nil {
					want = got
				}
				for i := range want {
					if !reflect.DeepEqual(got[i], want[i]) {
						t.Fatalf("%+v, step %d: got %v, want %v", c, i, got[i], want[i])
					}
				}
				if m.graphs.err != nil {
					t.Error(m.graphs.err)
				}
			}
		})
	}
}

// TestPiecesAheadComputeTheSame: so do steps of more and more rows, for which
// memory is replaced while others run, and pieces of prompts without any.
func TestPiecesAheadComputeTheSame(t *testing.T) {
	const most = listed + 6
	var want [][]ops.Sampled
	for _, ahead := range []bool{false, true} {
		m := newTiny(t, onDevice(t, Options{Act: ops.F32}).Backend, most)
		var all [][]ops.Sampled
		rows := 0 // of the step under way
		take := func() {
			results := make([]ops.Sampled, rows)
			m.must(m.Collect(results))
			all = append(all, results)
		}
		for i, sequences := range []int{3, 0, most, most, most, 2, 2, 0, 5} {
			for s := range m.ids {
				switch m.ids[s] = int32(s + i); {
				case rows == 0:
				case ahead:
					m.ids[s] = ops.Chosen(s % rows)
				default:
					m.ids[s] = all[i-1][s%rows].ID
				}
			}
			m.begin(max(sequences, 1), 1)
			if sequences == 0 {
				m.batch.Outputs = nil
				m.must(m.Begin(&m.batch))
			}
			logits := m.forward()
			m.Launch()
			if ahead && i > 0 {
				take()
			}
			rows = sequences
			m.must(m.Sample(logits, m.params[:rows]))
			if !ahead {
				take()
			}
		}
		if ahead {
			take()
		}
		if want == nil {
			want = all
		}
		for i := range want {
			if !reflect.DeepEqual(all[i], want[i]) {
				t.Fatalf("ahead=%v, step %d: got %v, want %v", ahead, i, all[i], want[i])
			}
		}
	}
}

// TestAheadOfCollect: the launches of the next step are in the stream before the
// results of the step before are waited for, and waiting is for an event, not for
// the stream.
func TestAheadOfCollect(t *testing.T) {
	f := roomy(t)
	m := newTiny(t, onFake(t, f, Options{Act: ops.BF16}), 2)
	m.decode(4, false)
	for range 3 {
		before := f.Calls("cuGraphLaunch")
		m.begin(2, 1)
		logits := m.forward()
		if n := f.Calls("cuGraphLaunch"); n != before {
			t.Fatal("the graph was launched before Launch")
		}
		m.Launch()
		if n := f.Calls("cuGraphLaunch"); n != before+1 {
			t.Fatalf("Launch launched %d graphs, want 1", n-before)
		}
		waits := f.Calls("cuStreamSynchronize")
		m.must(m.Collect(m.results))
		m.must(m.Sample(logits, m.params))
		if n := f.Calls("cuStreamSynchronize"); n != waits {
			t.Error("the stream was waited for")
		}
	}
	m.must(m.Collect(m.results))
}

// TestFaultsAhead: a device that fails while a step runs ahead reports it with
// the next call that can, and Collect hands out nothing.
func TestFaultsAhead(t *testing.T) {
	for _, c := range []struct {
		call  string
		after int
	}{
		{"cuEventSynchronize", 0},
		{"cuGraphLaunch", 0},
		{"cuEventRecord", 0},
		{"cuLaunchKernelEx", 0}, // of the batch
		{"cuLaunchKernelEx", 1}, // of the choice behind the graph
	} {
		t.Run(fmt.Sprint(c.call, c.after), func(t *testing.T) {
			f := roomy(t)
			f.AllowLeaks()
			m := newTiny(t, onFake(t, f, Options{Act: ops.BF16}), 2)
			m.decode(4, true)
			m.begin(2, 1)
			m.must(m.Sample(m.forward(), m.params))
			f.Fail(c.call, c.after, 700)
			if err := m.another(); !errors.Is(err, cuda.ErrSticky) {
				t.Errorf("got %v, want a fault of the device", err)
			}
			if err := m.Collect(m.results); !errors.Is(err, cuda.ErrSticky) {
				t.Errorf("Collect after the fault: got %v, want the fault", err)
			}
		})
	}
}

// another makes a step behind one that is under way, until something fails.
func (m *tiny) another() error {
	if err := m.Begin(&m.batch); err != nil {
		return err
	}
	logits := m.forward()
	m.Launch()
	if err := m.Collect(m.results); err != nil {
		return err
	}
	if err := m.Sample(logits, m.params); err != nil {
		return err
	}
	return m.Collect(m.results)
}

// TestShortageWhileSampling: where there is no room for the results, Sample says
// so, and the next step can be made.
func TestShortageWhileSampling(t *testing.T) {
	f := roomy(t)
	m := newTiny(t, onFake(t, f, Options{Act: ops.BF16}), 70)
	m.step(3)
	f.Fail("cuMemAlloc_v2", 0, 2)
	m.begin(70, 1)
	if err := m.Sample(m.forward(), m.params); !errors.Is(err, cuda.ErrOutOfMemory) {
		t.Errorf("got %v, want out of memory", err)
	}
	m.step(3)
	m.step(70)
}

// TestCollectNeedsRoom: results that do not fit are refused.
func TestCollectNeedsRoom(t *testing.T) {
	m := newTiny(t, onFake(t, roomy(t), Options{Act: ops.BF16}), 2)
	m.begin(2, 1)
	m.must(m.Sample(m.forward(), m.params))
	if err := m.Collect(m.results[:1]); err == nil || err.Error() != "kernels: collect: got room for 1 results, want 2" {
		t.Errorf("got %v", err)
	}
}
