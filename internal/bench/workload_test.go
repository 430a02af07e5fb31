package bench

import (
	"slices"
	"testing"
	"time"
)

// loadOf has prompts of 1 to 50 tokens, and 1 to 9 new ones.
func loadOf(t *testing.T) LoadOptions {
	return LoadOptions{Prompt: lengths(t, "1-50"), Decode: lengths(t, "1-9"), Requests: 7, Seed: 3, Concurrency: []int{2, 3}}
}

// TestArrivals: exact by seed, the first at once, and as many a second as were
// asked for.
func TestArrivals(t *testing.T) {
	o := loadOf(t)
	o.Rate = 10
	o.Requests = 4
	got := o.measured(0, 100).arrivals
	if want := []time.Duration{0, 9569437, 122871491, 194517386}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	o.Requests = 20000
	all := o.measured(1, 100).arrivals
	if !slices.Equal(all[:4], got) || !slices.IsSorted(all) {
		t.Errorf("got %v, want ascending times that begin as fewer do", all[:4])
	}
	if last := all[len(all)-1].Seconds(); last < 1960 || last > 2040 {
		t.Errorf("20000 arrivals take %g s, want about 2000", last)
	}
}

// TestWorkload: lengths are the same at each level, ids are not.
func TestWorkload(t *testing.T) {
	o := loadOf(t)
	o.SharedPrefix, o.Turns, o.Warmup = 5, 3, 4
	a, b, warm := o.measured(0, 1000), o.measured(1, 1000), o.warmUp(0, 1000)
	if len(a.conversations) != 3 || len(a.conversations[0]) != 3 || len(a.conversations[2]) != 1 || a.requests() != 7 {
		t.Errorf("got %v, want conversations of 3, 3 and 1 turns", a.conversations)
	}
	if len(warm.conversations) != 4 || warm.requests() != 4 || warm.arrivals != nil {
		t.Errorf("got %v, want four single requests", warm.conversations)
	}
	for i, c := range a.conversations {
		if !slices.Equal(c, b.conversations[i]) {
			t.Errorf("conversation %d: got %v and %v, want the same", i, c, b.conversations[i])
		}
	}
	if !slices.Equal(a.prefix, b.prefix) || !slices.Equal(a.prefix, warm.prefix) || len(a.prefix) != 5 {
		t.Errorf("got prefixes %v, %v and %v, want the same 5 ids", a.prefix, b.prefix, warm.prefix)
	}
	seen := map[[4]int32]bool{}
	for _, w := range []workload{a, b, warm} {
		for i := range w.conversations {
			seen[[4]int32(randomIDs(w.ids(i), 4, w.vocabulary))] = true
		}
	}
	if len(seen) != 3+3+4 {
		t.Errorf("got %d beginnings of 10 conversations", len(seen))
	}
	o.Seed++
	if c := o.measured(0, 1000); slices.Equal(c.prefix, a.prefix) || slices.Equal(c.conversations[0], a.conversations[0]) {
		t.Errorf("another seed gives the same: %v", c.conversations[0])
	}
}

// TestLoadModel opens the model with the room that the load needs.
func TestLoadModel(t *testing.T) {
	o := LoadOptions{Prompt: lengths(t, "30"), Decode: lengths(t, "10"), SharedPrefix: 100, Concurrency: []int{2, 6}, Turns: 3}
	if got := o.Model(); got.Context != 100+3*40 || got.MaxSequences != 6 || got.QueueLimit != 48 {
		t.Errorf("got %+v, want a context of 220, 6 sequences and room for 48 to wait", got)
	}
	o.MaxSequences, o.Requests = 4, 20
	if got := o.Model(); got.MaxSequences != 4 || got.QueueLimit != 20 {
		t.Errorf("got %+v, want 4 sequences and room for 20 to wait", got)
	}
	open := LoadOptions{Prompt: lengths(t, "30"), Decode: lengths(t, "10"), Rate: 1, Concurrency: []int{0}}
	if got := open.Model(); got.Context != 40 || got.MaxSequences != 256 || got.QueueLimit != 256 || open.total() != 512 {
		t.Errorf("got %+v and %d requests, want 256 of everything", got, open.total())
	}
	open.Requests = 10
	if got := open.Model(); got.MaxSequences != 10 || open.total() != 20 {
		t.Errorf("got %+v and %d requests, want 10 sequences", got, open.total())
	}
	open.Warmup = -1
	if open.total() != 10 {
		t.Errorf("got %d requests without a warm-up, want 10", open.total())
	}
}
