package draft

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func randomIDs(rng *rand.Rand, n, vocabulary int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(rng.IntN(vocabulary))
	}
	return out
}

// TestLookup drafts what followed the newest ids when they came before.
func TestLookup(t *testing.T) {
	for _, c := range []struct {
		name      string
		ids, want []int32
	}{
		{"nothing came before", []int32{1, 2, 3, 4, 5}, nil},
		{"a single id is not enough", []int32{1, 2, 3, 1}, nil},
		{"two", []int32{1, 2, 3, 4, 9, 1, 2}, []int32{3, 4, 9, 1, 2, 3}},
		{"the newest of two places", []int32{1, 2, 3, 1, 2, 4, 7, 1, 2}, []int32{4, 7, 1, 2, 4, 7}},
		{"the longer run, though older", []int32{5, 6, 1, 2, 3, 8, 1, 2, 4, 7, 5, 6, 1, 2}, []int32{3, 8, 1, 2, 4, 7}},
		{"circles", []int32{1, 2, 1, 2}, []int32{1, 2, 1, 2, 1, 2}},
		{"one id again and again", []int32{4, 4, 4}, []int32{4, 4, 4, 4, 4, 4}},
		{"empty", nil, nil},
	} {
		if got := NewLookup(c.ids, nil).Draft(6); !slices.Equal(got.IDs, c.want) || len(got.Accepted) != len(c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got.IDs, c.want)
		}
		added := NewLookup(nil, nil)
		added.Add(c.ids...)
		if got := added.Draft(6); len(c.ids) < 8 && !slices.Equal(got.IDs, c.want) {
			t.Errorf("%s, added: got %v, want %v", c.name, got.IDs, c.want)
		}
	}
}

// TestLookupFinds compares with a search through everything: on texts of few
// ids, what is drafted came behind a run that is as long as can be.
func TestLookupFinds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		vocabulary := 2 + rng.IntN(30)
		ids := randomIDs(rng, rng.IntN(200), vocabulary)
		l := NewLookup(ids, nil)
		longest := 0
		for place := 1; place < len(ids); place++ {
			longest = max(longest, equal(ids, place))
		}
		got := l.Draft(3)
		if (longest >= shortRun) != (len(got.IDs) == 3) {
			t.Fatalf("%v: got %v, the longest run has %d ids", ids, got, longest)
		}
		if len(got.IDs) == 0 {
			continue
		}
		if l.length > longest || l.length < min(longest, shortRun) || longest >= longRun && l.length < longRun {
			t.Fatalf("%v: found a run of %d, want up to %d", ids, l.length, longest)
		}
		if vocabulary > 20 && l.length != longest { // no more places than are looked at
			t.Fatalf("%v: found a run of %d, want %d", ids, l.length, longest)
		}
		if n := equal(ids, l.source); n != l.length || got.IDs[0] != ids[l.source] {
			t.Fatalf("%v: got %v behind a run of %d, which has %d ids", ids, got, l.length, n)
		}
	}
}

// TestLookupGrows: a text is found in a long one, whichever way it came there.
func TestLookupGrows(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	ids := randomIDs(rng, 50000, 100000)
	l := NewLookup(ids[:20000], nil)
	l.Add(ids[20000:]...)
	for at := 100; at < len(ids)-50; at += 777 {
		l.Add(ids[at-4 : at]...)
		if got := l.Draft(10); !slices.Equal(got.IDs, ids[at:at+10]) {
			t.Fatalf("at %d: got %v, want %v", at, got.IDs, ids[at:at+10])
		}
		l.Add(-1)
	}
}

// TestLookupKnows how likely its drafts are: from what came, with no draft
// having been asked for.
func TestLookupKnows(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	passage := randomIDs(rng, 300, 5000)
	copied := NewLookup(passage, nil)
	copied.Add(passage[:40]...)
	d := copied.Draft(8)
	if !slices.Equal(d.IDs, passage[40:48]) || d.Accepted[0] < 0.9 || d.Accepted[7] < 0.5 {
		t.Errorf("in a copy: got %+v", d)
	}
	if !slices.IsSortedFunc(d.Accepted, func(a, b float32) int { return int(1e6 * (b - a)) }) {
		t.Errorf("got %v, want likelihoods that do not grow", d.Accepted)
	}

	// Pairs of ids come again, followed by something new each time.
	e := new(Experience)
	misled := NewLookup(nil, e)
	for range 300 {
		misled.Add(1, 2, int32(rng.IntN(1e6)), int32(rng.IntN(1e6)))
	}
	misled.Add(1, 2)
	if d := misled.Draft(4); len(d.IDs) != 4 || d.Accepted[0] > 0.05 {
		t.Errorf("where guesses were wrong: got %+v", d)
	}
	// The next sequence knows of it.
	if d := NewLookup([]int32{1, 2, 3, 1, 2}, e).Draft(4); d.Accepted[0] > 0.05 {
		t.Errorf("with the experience of others: got %+v", d)
	}
}

// TestDraftCut keeps the first ids.
func TestDraftCut(t *testing.T) {
	d := Draft{IDs: []int32{1, 2, 3}, Accepted: []float32{0.9, 0.8, 0.7}}.Cut(2)
	if !slices.Equal(d.IDs, []int32{1, 2}) || len(d.Accepted) != 2 {
		t.Errorf("got %+v", d)
	}
}

func BenchmarkLookup(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	ids := randomIDs(rng, 1<<20, 3000)
	b.Run("index", func(b *testing.B) {
		for b.Loop() {
			NewLookup(ids[:1<<15], nil)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(1<<15), "ns/id")
	})
	b.Run("add", func(b *testing.B) {
		l, at := NewLookup(ids[:1<<15], nil), 1<<15
		for b.Loop() {
			l.Add(ids[at%len(ids)])
			l.Draft(Longest)
			at++
		}
	})
}
