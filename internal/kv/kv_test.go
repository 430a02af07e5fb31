package kv

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func ids(text string) []int32 {
	var out []int32
	for _, c := range text {
		out = append(out, c)
	}
	return out
}

// compute admits a sequence, computes all its ids and releases it, with a
// snapshot at its end. It returns where it started.
func compute(t testing.TB, c *Cache, text string) int {
	t.Helper()
	var s Sequence
	start, _, ok := c.Admit(&s, ids(text), len(text)-1, 0)
	if !ok {
		t.Fatalf("no room for %q: %+v", text, c.Usage())
	}
	c.Computed(&s, ids(text))
	c.Save(&s, ids(text), true)
	c.Release(&s, ids(text))
	if err := c.Check(nil); err != nil {
		t.Fatal(err)
	}
	return start
}

// TestReasons makes each reason happen.
func TestReasons(t *testing.T) {
	small := Config{Pages: 5, PageSize: 4, Slots: 2, Prefixes: true}
	hybrid := Config{Pages: 50, PageSize: 4, Slots: 2, Prefixes: true, Recurrent: true, Snapshots: 1}
	for _, c := range []struct {
		name   string
		config Config
		texts  []string // the last one is looked at
		start  int
		want   Reason
	}{
		{"nothing there", small, []string{"abcdefgh"}, 0, Miss},
		{"other content", small, []string{"abcdefgh", "xbcdefgh"}, 0, Miss},
		{"too short", small, []string{"abcdefgh", "abcd"}, 0, TooShort},
		{"too little in common", small, []string{"abcdefgh", "abcxefgh"}, 0, Miss},
		{"all", small, []string{"abcdefgh", "abcdefgh"}, 7, Hit},
		{"a part of a page", small, []string{"abcdefgh", "abcdefxy"}, 6, Hit},
		{"a page that somebody went on in", small, []string{"abcdef", "abcdefgh", "abcdefxy"}, 6, Hit},
		{"evicted", small, []string{"abcdefghij", "01234567890123456", "abcdefghij"}, 0, Evicted},
		{"evicted at the end", small, []string{"abcdefghijkl", "0123456789ab", "abcdefghijklm"}, 8, Evicted},
		{"state at the end", hybrid, []string{"abcdefg", "abcdefgh"}, 7, Hit},
		{"state too far", hybrid, []string{"abcdefgh", "abcdefgx"}, 0, NoSnapshot},
		{"state in the middle", Config{Pages: 50, PageSize: 4, Slots: 2, Prefixes: true, Recurrent: true, Snapshots: 9}, []string{"abcde", "abcdefghij", "abcdefgh"}, 5, Partial},
		{"state lost", hybrid, []string{"abcdef", "uvwxyz", "abcdefgh"}, 0, Evicted},
	} {
		k := New(c.config)
		for _, text := range c.texts[:len(c.texts)-1] {
			compute(t, k, text)
		}
		before := k.Lookups()
		start := compute(t, k, c.texts[len(c.texts)-1])
		after := k.Lookups()
		for r := range after.Reasons {
			want := uint64(0)
			if Reason(r) == c.want {
				want = 1
			}
			if got := after.Reasons[r] - before.Reasons[r]; got != want {
				t.Errorf("%s: counted %q %d times, want %d", c.name, Reason(r), got, want)
			}
		}
		if start != c.start || after.Reused-before.Reused != uint64(start) {
			t.Errorf("%s: starts behind %d ids, counted %d, want %d", c.name, start, after.Reused-before.Reused, c.start)
		}
	}
}

// TestTiers follows a snapshot to host memory and back.
func TestTiers(t *testing.T) {
	k := New(Config{Pages: 50, PageSize: 4, Slots: 1, Prefixes: true, Recurrent: true, Snapshots: 1, HostSnapshots: 1})
	for _, c := range []struct {
		text string
		want []Move
	}{
		{"aaaa", []Move{{CopyState, 0, 1}}},
		{"bbbb", []Move{{SaveState, 1, 0}, {CopyState, 0, 1}}}, // the one before moves to the host
		{"aaaaa", []Move{{LoadState, 0, 1}, {CopyState, 1, 0}, {SaveState, 1, 0}, {CopyState, 0, 1}}},
	} {
		compute(t, k, c.text)
		if got := k.Moves(); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.text, got, c.want)
		}
	}
	if u := k.Usage(); u.Snapshots != 1 || u.HostSaved != 1 {
		t.Errorf("got %+v, want a snapshot in each tier", u)
	}
}

// TestLongestPrefix compares lookups with all that was computed so far, as long
// as nothing is evicted.
func TestLongestPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 5).Draw(t, "page")
		k := New(Config{Pages: 2000, PageSize: size, Slots: 1, Prefixes: true, Least: 1})
		var all [][]int32
		for range rapid.IntRange(1, 25).Draw(t, "sequences") {
			text := rapid.SliceOfN(rapid.Int32Range(0, 2), 2, 20).Draw(t, "ids")
			if len(all) > 0 && rapid.Bool().Draw(t, "goes on") {
				stem := rapid.SampledFrom(all).Draw(t, "stem")
				text = append(slices.Clone(stem[:rapid.IntRange(0, len(stem)).Draw(t, "length")]), text...)
			}
			want := 0
			for _, other := range all {
				want = max(want, common(other, text))
			}
			want = min(want, len(text)-1)
			var s Sequence
			start, _, ok := k.Admit(&s, text, len(text)-1, 0)
			if !ok || start != want {
				t.Fatalf("%v starts behind %d ids (%v), want %d", text, start, ok, want)
			}
			for at := start; at < len(text); { // in steps
				at = min(len(text), at+rapid.IntRange(1, 6).Draw(t, "step"))
				k.Computed(&s, text[:at])
				if err := k.Check([]*Sequence{&s}); err != nil {
					t.Fatal(err)
				}
			}
			k.Release(&s, text)
			all = append(all, text)
		}
	})
}

func TestGhosts(t *testing.T) {
	g := newGhosts(3)
	for _, h := range []uint64{1, 2, 1, 3} { // the first 1 is forgotten
		g.add(h)
	}
	for h, want := range map[uint64]bool{1: true, 2: true, 3: true, 4: false} {
		if g.has(h) != want {
			t.Errorf("%d is remembered: %v, want %v", h, !want, want)
		}
	}
	g.add(4)
	g.add(5)
	if g.has(1) || g.has(2) || len(g.set) != 3 {
		t.Errorf("got %v, want the newest three", g.set)
	}
}
