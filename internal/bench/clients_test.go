package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-llm/godwit"
)

// slow takes a second for a first token and one for each further token.
type slow struct {
	mu      sync.Mutex
	prompts [][]int32
	fail    map[int]error // of requests for so many tokens, when they have them
}

func (s *slow) serve(ctx context.Context, prompt []int32, decode int) (answer, error) {
	s.mu.Lock()
	s.prompts = append(s.prompts, slices.Clone(prompt))
	s.mu.Unlock()
	var a answer
	for i := range decode {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return a, fmt.Errorf("%w: %w", godwit.ErrCancelled, ctx.Err())
		}
		a.ids = append(a.ids, int32(1000+i))
		a.tokens = append(a.tokens, time.Now())
	}
	return a, s.fail[decode]
}

// talk has clients send conversations of so many new tokens, each turn of which
// has a prompt of one id, and returns what was seen in seconds from the start:
// arrived, sent, first and last token.
func talk(t *testing.T, limit int, at []time.Duration, fail map[int]error, decodes ...[]int) (times [][4]int, l load, s *slow, err error) {
	t.Helper()
	w := workload{arrivals: at, vocabulary: 10, prefix: []int32{7, 8}}
	for _, turns := range decodes {
		var c []turn
		for _, n := range turns {
			c = append(c, turn{1, n})
		}
		w.conversations = append(w.conversations, c)
	}
	s = &slow{fail: fail}
	c := clients{work: w, serve: s.serve, limit: limit}
	l, err = c.run(t.Context())
	for _, o := range l.outcomes {
		row := [4]int{whole(l.start, o.arrived), whole(l.start, o.sent), -1, -1}
		if len(o.tokens) > 0 {
			row[2], row[3] = whole(l.start, o.tokens[0]), whole(l.start, o.tokens[len(o.tokens)-1])
		}
		times = append(times, row)
	}
	slices.SortFunc(times, func(a, b [4]int) int { return slices.Compare(a[:], b[:]) })
	return times, l, s, err
}

func whole(start, t time.Time) int { return int(t.Sub(start) / time.Second) }

// TestClosedLoop keeps two in flight: the next one is sent when one ends.
func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, l, _, err := talk(t, 2, nil, nil, []int{5}, []int{2}, []int{2}, []int{3})
		want := [][4]int{{0, 0, 1, 2}, {0, 0, 1, 5}, {2, 2, 3, 4}, {4, 4, 5, 7}}
		if err != nil || !slices.Equal(got, want) || l.peak != 2 {
			t.Errorf("got %v, %d in flight (%v), want %v and 2", got, l.peak, err, want)
		}
	})
}

// TestOpenLoop does not wait for those before, unless there is a limit; then the
// time until there is a place counts.
func TestOpenLoop(t *testing.T) {
	at := []time.Duration{0, time.Second, 3 * time.Second}
	for limit, want := range map[int][][4]int{
		0: {{0, 0, 1, 4}, {1, 1, 2, 3}, {3, 3, 4, 5}},
		1: {{0, 0, 1, 4}, {1, 4, 5, 6}, {3, 6, 7, 8}},
		2: {{0, 0, 1, 4}, {1, 1, 2, 3}, {3, 3, 4, 5}},
	} {
		synctest.Test(t, func(t *testing.T) {
			got, l, _, err := talk(t, limit, at, nil, []int{4}, []int{2}, []int{2})
			peak := 2 // the third comes when the second ends, or just after
			if limit == 1 {
				peak = 1
			}
			if err != nil || !slices.Equal(got, want) || l.peak < peak || limit > 0 && l.peak > limit {
				t.Errorf("limit %d: got %v, %d in flight (%v), want %v", limit, got, l.peak, err, want)
			}
		})
	}
}

// TestConversation: each turn begins with the prefix, the turns before it and
// what they led to, and keeps its place.
func TestConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, _, s, err := talk(t, 1, nil, nil, []int{2, 1, 1}, []int{1})
		want := [][4]int{{0, 0, 1, 2}, {2, 2, 3, 3}, {3, 3, 4, 4}, {4, 4, 5, 5}}
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("got %v (%v), want %v", got, err, want)
		}
		p := s.prompts
		second := slices.Concat(p[0], []int32{1000, 1001}, p[1][len(p[1])-1:])
		third := slices.Concat(second, []int32{1000}, p[2][len(p[2])-1:])
		if !slices.Equal(p[0][:2], []int32{7, 8}) || len(p[0]) != 3 || !slices.Equal(p[1], second) || !slices.Equal(p[2], third) || len(p[3]) != 3 {
			t.Errorf("got prompts %v, want each to begin with the one before it", p)
		}
	})
}

// TestFailedRequests count, and end their conversation alone.
func TestFailedRequests(t *testing.T) {
	bad := errors.New("bad luck")
	synctest.Test(t, func(t *testing.T) {
		_, l, s, err := talk(t, 1, nil, map[int]error{2: bad}, []int{1, 2, 1}, []int{1})
		if err != nil || len(s.prompts) != 3 || len(l.outcomes) != 3 || !errors.Is(l.outcomes[1].err, bad) || l.outcomes[2].err != nil {
			t.Errorf("got %+v (%v), want that the second of three failed", l.outcomes, err)
		}
	})
}

// TestFatalFault ends all: a device that failed will not come back.
func TestFatalFault(t *testing.T) {
	broken := fmt.Errorf("%w: on fire", godwit.ErrDevice)
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		_, l, s, err := talk(t, 2, nil, map[int]error{2: broken}, []int{2}, []int{50}, []int{50})
		if !errors.Is(err, broken) || len(l.outcomes) != 0 || len(s.prompts) > 3 || time.Since(begin) > 3*time.Second {
			t.Errorf("got %v after %v with %d requests, want the fault at once", err, time.Since(begin), len(s.prompts))
		}
	})
}

// TestClientsCancelled stop at once, wherever they wait.
func TestClientsCancelled(t *testing.T) {
	for name, c := range map[string]*clients{
		"closed":          {limit: 1},
		"arrivals":        {work: workload{arrivals: []time.Duration{0, 0, time.Hour}}},
		"limited":         {work: workload{arrivals: []time.Duration{0, 0, 0}}, limit: 1},
		"before it began": {},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if name == "before it began" {
				cancel()
			}
			defer cancel()
			begin, s := time.Now(), slow{}
			c.work.conversations, c.work.vocabulary, c.serve = [][]turn{{{1, 900}}, {{1, 900}}, {{1, 900}}}, 5, s.serve
			l, err := c.run(ctx)
			if took := time.Since(begin); err == nil || !errors.Is(err, ctx.Err()) || took > 5*time.Second || len(l.outcomes) > 0 {
				t.Errorf("%s: got %v after %v, want the end of the context", name, err, took)
			}
		})
	}
}
