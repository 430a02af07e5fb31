package bench

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-llm/godwit"
)

// TestRunLoad puts load on a small model: figures that follow from each other
// do.
func TestRunLoad(t *testing.T) {
	var done []int
	o := LoadOptions{
		Prompt: lengths(t, "20-30"), Decode: lengths(t, "1-9"), SharedPrefix: 40, Turns: 2,
		Concurrency: []int{1, 3}, Requests: 12, rates: rates(), Progress: func(n, total int) {
			if done = append(done, n); total != 1+12+3+12 {
				t.Errorf("got a total of %d, want 28", total)
			}
		},
	}
	m := open(t, o.Model())
	r, err := RunLoad(t.Context(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Complete || len(r.Levels) != 2 || len(done) != 28 || done[27] != 28 || r.ReadRate != 2e9 || r.ProductRate != 3e9 {
		t.Fatalf("got %+v after %v", r, done)
	}
	for i, v := range r.Levels {
		c := o.Concurrency[i]
		if v.Concurrency != c || v.PeakFlight < 1 || v.PeakFlight > c || v.Batch != c || v.Warmup != c || v.Requests != 12 || v.Failed != 0 {
			t.Errorf("level %d: got %+v", c, v)
		}
		checkLevel(t, m, r, v)
	}
	if a, b := r.Levels[0], r.Levels[1]; a.OutputTokens != b.OutputTokens || a.PromptTokens != b.PromptTokens {
		t.Errorf("got %d and %d new tokens, %d and %d of prompts, want the same at each level", a.OutputTokens, b.OutputTokens, a.PromptTokens, b.PromptTokens)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func checkLevel(t *testing.T, m *godwit.Model, r *LoadReport, v Level) {
	t.Helper()
	for name, p := range map[string]Percentiles{"first token": v.FirstToken, "between": v.InterToken, "per token": v.PerToken, "end to end": v.EndToEnd} {
		if !(p.P50 > 0 && p.P50 <= p.P90 && p.P90 <= p.P99 && p.P99 <= p.Most && p.Mean <= p.Most) {
			t.Errorf("level %d: %s: got %+v", v.Concurrency, name, p)
		}
	}
	l := v.Lookups
	if got := l.Hit + l.Partial + l.NoSnapshot + l.Evicted + l.TooShort + l.Miss; got != uint64(v.Requests) || l.Hit == 0 {
		t.Errorf("level %d: got lookups %+v, want one a request", v.Concurrency, l)
	}
	if v.ReusedTokens < 11*40 || v.ReusedShare <= 0 || v.ReusedShare >= 1 || v.PeakPages > v.Pages {
		t.Errorf("level %d: got %d tokens reused (%g), %d of %d pages", v.Concurrency, v.ReusedTokens, v.ReusedShare, v.PeakPages, v.Pages)
	}
	if v.MeanFlight > float64(v.Concurrency)+1e-9 || v.MeanFlight < v.Decoding || v.EndToEnd.Most > v.Seconds+1e-9 {
		t.Errorf("level %d: got %g in flight, %g decoding, %g s of %g", v.Concurrency, v.MeanFlight, v.Decoding, v.EndToEnd.Most, v.Seconds)
	}
	near(t, "output", v.OutputRate*v.Seconds, float64(v.OutputTokens))
	near(t, "floor", v.FloorRate*float64(m.StepTraffic(v.Batch, v.Context).Total()), float64(v.Batch)*r.ReadRate)
	near(t, "share", v.FloorShare*v.FloorRate, v.OutputRate)
}

// TestRunLoadOpen takes the requests as they come.
func TestRunLoadOpen(t *testing.T) {
	o := LoadOptions{Prompt: lengths(t, "20"), Decode: lengths(t, "10"), Rate: 200, Concurrency: []int{0, 1}, Requests: 30, rates: rates()}
	m := open(t, o.Model())
	r, err := RunLoad(t.Context(), m, o)
	if err != nil || len(r.Levels) != 2 {
		t.Fatalf("got %+v (%v), want two levels", r, err)
	}
	last := o.measured(0, 10).arrivals[29].Seconds()
	for _, v := range r.Levels {
		if v.Requests != 30 || v.Seconds < last || v.OutputTokens != 300 || v.Lookups.Hit != 0 {
			t.Errorf("got %+v, want 30 requests in more than %g s", v, last)
		}
	}
	if free, held := r.Levels[0], r.Levels[1]; held.PeakFlight != 1 || free.Queue.Most < free.Held.Most || held.Queue.Most < held.Held.Most {
		t.Errorf("got %+v and %+v, want one in flight at the second, and waits for a place within those in the queue", free, held)
	}
}

// TestRunLoadCancelled keeps the levels that were measured before.
func TestRunLoadCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := LoadOptions{Prompt: lengths(t, "5"), Decode: lengths(t, "8"), Concurrency: []int{2, 3}, Requests: 6, rates: rates(), Progress: func(n, _ int) {
		if n == 2+6+3+1 {
			cancel()
		}
	}}
	r, err := RunLoad(ctx, open(t, o.Model()), o)
	if err == nil || r == nil || len(r.Levels) != 1 || r.Complete || r.Levels[0].FloorRate <= 0 {
		t.Errorf("got %+v (%v), want one level and that it was cancelled", r, err)
	}
}

// TestRunLoadRefuses what the model has no room for.
func TestRunLoadRefuses(t *testing.T) {
	o := LoadOptions{Prompt: lengths(t, "30"), Decode: lengths(t, "20"), Concurrency: []int{1}}
	_, err := RunLoad(t.Context(), open(t, godwit.Options{Context: 40}), o)
	if want := "the longest conversation needs a context of 50, the model was opened with 40"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestCheckLoad refuses what has no meaning.
func TestCheckLoad(t *testing.T) {
	good := LoadOptions{Prompt: lengths(t, "1"), Decode: lengths(t, "1"), Concurrency: []int{1, 4}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for want, edit := range map[string]func(*LoadOptions){
		"there are no lengths":                                func(o *LoadOptions) { o.Decode = Lengths{} },
		"the number of requests is -1, want 1 to":             func(o *LoadOptions) { o.Requests = -1 },
		"requests to warm up is 2000000, want":                func(o *LoadOptions) { o.Warmup = 2e6 },
		"the shared prefix has -1 tokens":                     func(o *LoadOptions) { o.SharedPrefix = -1 },
		"a conversation has -2 turns":                         func(o *LoadOptions) { o.Turns = -2 },
		"the rate is -1 requests/s":                           func(o *LoadOptions) { o.Rate = -1 },
		"the rate is NaN requests/s":                          func(o *LoadOptions) { o.Rate = math.NaN() },
		"the rate is +Inf requests/s":                         func(o *LoadOptions) { o.Rate = math.Inf(1) },
		"the number of sequences is -1":                       func(o *LoadOptions) { o.MaxSequences = -1 },
		"there is no concurrency":                             func(o *LoadOptions) { o.Concurrency = nil },
		"a concurrency is 0, want 1 to 65536":                 func(o *LoadOptions) { o.Concurrency = []int{0} },
		"a concurrency is -1, want 0 to 65536":                func(o *LoadOptions) { o.Rate, o.Concurrency = 1, []int{-1} },
		"concurrency 4 is there twice":                        func(o *LoadOptions) { o.Concurrency = []int{4, 4} },
		"3 requests do not keep 4 in flight":                  func(o *LoadOptions) { o.Requests = 3 },
		"6 requests do not keep 4 in flight, want at least 8": func(o *LoadOptions) { o.Requests, o.Turns = 6, 2 },
	} {
		o := good
		edit(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestPercentiles works them out by hand, as numpy.percentile does.
func TestPercentiles(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Percentiles
	}{
		{nil, Percentiles{}},
		{[]float64{3}, Percentiles{P50: 3, P90: 3, P99: 3, Mean: 3, Most: 3}},
		{[]float64{4, 1, 3, 2}, Percentiles{P50: 2.5, P90: 3.7, P99: 3.97, Mean: 2.5, Most: 4}},
		{[]float64{10, 0, 20, 40, 30}, Percentiles{P50: 20, P90: 36, P99: 39.6, Mean: 20, Most: 40}},
	} {
		got := percentiles(slices.Clone(c.values))
		for _, v := range [][2]float64{{got.P50, c.want.P50}, {got.P90, c.want.P90}, {got.P99, c.want.P99}, {got.Mean, c.want.Mean}, {got.Most, c.want.Most}} {
			if math.Abs(v[0]-v[1]) > 1e-12 {
				t.Errorf("%v: got %+v, want %+v", c.values, got, c.want)
			}
		}
	}
}

// outcomeOf has times in milliseconds after a start.
func outcomeOf(prompt, arrived, sent int, tokens ...int) outcome {
	t := traceOf(arrived, tokens...)
	return outcome{arrived: t.start, sent: traceOf(sent).start, prompt: prompt, answer: answer{tokens: t.tokens}}
}

// TestNewLevel works a level out by hand: three requests of which one fails.
func TestNewLevel(t *testing.T) {
	m := open(t, godwit.Options{})
	seen := load{start: traceOf(0).start, peak: 2, outcomes: []outcome{
		outcomeOf(10, 0, 0, 100, 200, 400),
		outcomeOf(20, 50, 150, 300, 500),
		{err: errors.New("bad luck")},
	}}
	seen.outcomes[1].stats = godwit.Stats{QueueSeconds: 0.05, ReusedTokens: 16}
	v, err := newLevel(m, seen, 4, 0)
	if err != nil {
		t.Fatal(err)
	}
	if v.Requests != 2 || v.Failed != 2 || v.Errors["bad luck"] != 1 || v.OutputTokens != 5 || v.PromptTokens != 30 || v.ReusedTokens != 16 || v.Batch != 1 {
		t.Errorf("got %+v", v)
	}
	for name, c := range map[string][2]float64{
		"seconds": {v.Seconds, 0.5}, "requests/s": {v.RequestRate, 4}, "output": {v.OutputRate, 10}, "prompt": {v.PromptRate, 60},
		"first token": {v.FirstToken.P50, 0.175}, "first token, most": {v.FirstToken.Most, 0.25},
		"between tokens": {v.InterToken.P50, 0.2}, "between tokens, mean": {v.InterToken.Mean, 0.5 / 3},
		"per token": {v.PerToken.P50, 0.175}, "end to end": {v.EndToEnd.P50, 0.425},
		"held": {v.Held.Most, 0.1}, "queue": {v.Queue.Most, 0.15},
		"in flight": {v.MeanFlight, (0.4 + 0.35) / 0.5}, "decoding": {v.Decoding, (0.3 + 0.2) / 0.5},
		"context": {v.Context, (11.0 + 12 + 21) / 3}, "reused": {v.ReusedShare, 16.0 / 30},
		"operations": {v.Operations, m.PromptOperations(10) + m.PromptOperations(20) - m.PromptOperations(16) + m.PromptOperations(0)},
	} {
		near(t, name, c[0], c[1])
	}
	s := Subject{ReadRate: 1e9, ProductRate: 1e9}
	v.hold(&s)
	step := float64(m.StepTraffic(1, v.Context).Total()) / 1e9
	near(t, "floor", v.FloorRate, 1/step)
	near(t, "share", v.FloorShare, 10*step)
	near(t, "with prompts", v.WorkShare, (3*step+v.Operations/1e9)/0.5)
}

// TestNewLevelFailed: a level without any answer is an error with its cause.
func TestNewLevelFailed(t *testing.T) {
	seen := load{start: time.Now(), outcomes: []outcome{{err: errors.New("bad luck")}}}
	if _, err := newLevel(nil, seen, 1, 1); err == nil || err.Error() != "no request ended well: bad luck" {
		t.Errorf("got %v, want the cause", err)
	}
}

// TestCount takes differences of counters.
func TestCount(t *testing.T) {
	before := godwit.Metrics{Preempted: 3, Prefixes: godwit.PrefixLookups{Hit: 1, Partial: 2, NoSnapshot: 3, Evicted: 4, TooShort: 5, Miss: 6}}
	after := godwit.Metrics{Preempted: 5, Pages: 9, Prefixes: godwit.PrefixLookups{Hit: 2, Partial: 4, NoSnapshot: 6, Evicted: 8, TooShort: 10, Miss: 12}}
	var v Level
	v.count(before, after)
	if want := (Lookups{1, 2, 3, 4, 5, 6}); v.Lookups != want || v.Preempted != 2 || v.Pages != 9 {
		t.Errorf("got %+v, want %+v", v, want)
	}
}

// TestGauge: pages that a request holds are seen, and remembered when it has
// given them back. Requests of a small model end sooner than a gauge looks.
func TestGauge(t *testing.T) {
	m := open(t, godwit.Options{Context: 128})
	g := gauge{m: m}
	stop := g.watch()
	for r := range 200 {
		q := godwit.Request{IDs: []int32{int32(r % 40), 2, 3}, MaxTokens: 100, IgnoreEOS: true, Sampling: &godwit.Sampling{}}
		if _, err := m.Generate(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		g.mu.Lock()
		most := g.most
		g.mu.Unlock()
		if most > 0 {
			break
		}
	}
	if most := stop(); most < 1 || most > m.Metrics().Pages {
		t.Errorf("got %d pages at most, want 1 to %d", most, m.Metrics().Pages)
	}
}
