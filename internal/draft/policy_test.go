package draft

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// world is a device and texts as a policy meets them: step times by size, and
// sequences whose drafts are right with a likelihood that they know or not.
type world struct {
	rng       *rand.Rand
	sequences int
	cost      func(tokens int) float64 // of a step
	right     float64                  // likelihood of the next id
	believed  float32
	noise     float64
	spikes    float64 // share of steps that take ten times as long
	recurrent bool
}

// outcome is how fast tokens came, next to a world without drafts.
type outcome struct {
	tokens, seconds, plain float64
	drafted, accepted      int
}

func (o outcome) speedup() float64 { return o.plain / o.seconds }

func (w *world) draft() Draft {
	var d Draft
	a := float32(1)
	for range Longest {
		a *= w.believed
		d.IDs, d.Accepted = append(d.IDs, 0), append(d.Accepted, a)
	}
	return d
}

// run makes steps until every sequence has so many tokens on average.
func (w *world) run(tokens int) outcome {
	p := Policy{Recurrent: w.recurrent}
	again := make([]int, w.sequences)
	drafts := make([]Draft, w.sequences)
	var o outcome
	for o.tokens < float64(tokens*w.sequences) {
		base := w.sequences
		for i := range drafts {
			drafts[i] = w.draft().Cut(max(0, Longest-again[i]))
			base += again[i]
		}
		s := Step{Sequences: w.sequences, Tokens: base}
		for i, n := range p.Choose(w.sequences, base, drafts) {
			s.Tokens += n
			got := 1
			for range n {
				if w.rng.Float64() >= w.right {
					break
				}
				got++
			}
			o.drafted, o.accepted = o.drafted+n, o.accepted+got-1
			if s.Got += got; w.recurrent && got <= n {
				again[i] += got
			} else {
				again[i] = 0
			}
		}
		s.Seconds = w.cost(s.Tokens) * (1 + w.noise*w.rng.Float64())
		if w.rng.Float64() < w.spikes {
			s.Seconds *= 10
		}
		p.Measured(s)
		o.tokens += float64(s.Got)
		o.seconds += s.Seconds
		o.plain += float64(s.Got) / float64(w.sequences) * w.cost(w.sequences) * (1 + w.noise/2) * (1 + 9*w.spikes)
	}
	return o
}

// Costs of steps: of a device that waits for weights up to some tokens, of one
// that computes, and of one that has a bit of both.
func waiting(free int, each float64) func(int) float64 {
	return func(n int) float64 { return 0.002 * (1 + 0.01*float64(n) + each*float64(max(0, n-free))) }
}

// TestPolicy: drafts bring what they can, and where they bring nothing they cost
// next to nothing, though they are believed in.
func TestPolicy(t *testing.T) {
	for _, c := range []struct {
		name     string
		world    world
		tokens   int
		from, to float64 // of the speed without drafts
	}{
		{"a copy, weights", world{sequences: 1, cost: waiting(64, 0.02), right: 0.99, believed: 0.98}, 400, 5, 16},
		{"a copy, recurrent", world{sequences: 1, cost: waiting(64, 0.02), right: 0.97, believed: 0.97, recurrent: true}, 400, 4, 16},
		{"a copy, dear tokens", world{sequences: 1, cost: waiting(1, 0.2), right: 0.99, believed: 0.98}, 400, 1.8, 5},
		{"half right", world{sequences: 1, cost: waiting(64, 0.02), right: 0.5, believed: 0.5}, 400, 1.5, 2.1},
		{"a few right, dear tokens", world{sequences: 1, cost: waiting(1, 0.5), right: 0.3, believed: 0.3}, 400, 0.99, 1.01},
		{"computing", world{sequences: 1, cost: waiting(1, 1), right: 0.99, believed: 0.98}, 400, 0.97, 1.01},
		{"many sequences, computing", world{sequences: 64, cost: waiting(64, 0.05), right: 0.99, believed: 0.95}, 100, 0.97, 1.03},
		{"many sequences, weights", world{sequences: 16, cost: waiting(200, 0.1), right: 0.95, believed: 0.95}, 200, 3, 12},
		{"a copy, a loaded machine", world{sequences: 1, cost: waiting(64, 0.02), right: 0.99, believed: 0.98, spikes: 0.1}, 400, 4, 16},
		{"a copy, recurrent, dear tokens, a loaded machine", world{sequences: 1, cost: waiting(1, 0.15), right: 0.97, believed: 0.97, recurrent: true, spikes: 0.2}, 2000, 1.5, 6},
		{"always wrong, a loaded machine", world{sequences: 1, cost: waiting(8, 0.05), right: 0, believed: 0.9, spikes: 0.1}, 1000, 0.85, 1.15},
		{"always wrong, and believed", world{sequences: 1, cost: waiting(8, 0.05), right: 0, believed: 0.9}, 256, 0.97, 1},
		{"always wrong, recurrent", world{sequences: 1, cost: waiting(8, 0.05), right: 0, believed: 0.9, recurrent: true}, 256, 0.97, 1},
		{"always wrong, many", world{sequences: 32, cost: waiting(40, 0.05), right: 0, believed: 0.9}, 256, 0.97, 1},
		{"always wrong, dear tokens", world{sequences: 1, cost: waiting(1, 1), right: 0, believed: 0.9}, 256, 0.97, 1},
	} {
		for _, noise := range []float64{0, 0.3} {
			t.Run(fmt.Sprint(c.name, noise), func(t *testing.T) {
				w := c.world
				w.rng, w.noise = rand.New(rand.NewPCG(1, 1)), noise
				o := w.run(c.tokens)
				t.Logf("%.3f times as fast, %d drafted, %d accepted", o.speedup(), o.drafted, o.accepted)
				if got := o.speedup(); got < c.from-0.05*noise || got > c.to+0.1*noise {
					t.Errorf("got %.3f times the speed, want %.2f to %.2f", got, c.from, c.to)
				}
			})
		}
	}
}

// TestPolicyLearns: a step that was slow once is tried again.
func TestPolicyLearns(t *testing.T) {
	var p Policy
	d := Draft{IDs: make([]int32, 3), Accepted: []float32{0.95, 0.9, 0.85}}
	if n := p.Choose(1, 1, []Draft{d})[0]; n != 0 {
		t.Errorf("before anything was measured: got %d", n)
	}
	for range 3 {
		p.Measured(Step{Sequences: 1, Tokens: 1, Got: 1, Seconds: 1})
	}
	for _, want := range []int{1, 3} { // small ones come first
		if n := p.Choose(1, 1, []Draft{d})[0]; n != want || !p.Hopeful(1, d) {
			t.Fatalf("got %d, want %d", n, want)
		}
		p.Measured(Step{Sequences: 1, Tokens: 1 + want, Got: 1 + want, Seconds: 1.1})
	}
	for range 9 {
		p.Measured(Step{Sequences: 1, Tokens: 4, Got: 1, Seconds: 5})
	}
	if p.Hopeful(1, d) {
		t.Error("the account is overdrawn, and more is tried")
	}
	plain := 0
	for ; !p.Hopeful(1, d); plain++ {
		p.Measured(Step{Sequences: 1, Tokens: 1, Got: 1, Seconds: 1})
	}
	if plain < 100 || plain > 1000 {
		t.Errorf("tried again after %d steps, want some hundreds", plain)
	}
	for range 9 {
		p.Measured(Step{Sequences: 1, Tokens: 4, Got: 4, Seconds: 1.1})
	}
	if n := p.Choose(1, 1, []Draft{d})[0]; n != 3 {
		t.Errorf("got %d, want all of the draft", n)
	}
	// Waiting for a draft that did not come costs, too.
	for range 100 {
		p.Measured(Step{Sequences: 1, Tokens: 1, Got: 1, Waited: true, Seconds: 1.2})
	}
	if p.Hopeful(1, d) {
		t.Error("waiting in vain did not count")
	}
	if n := p.Choose(1, 1, nil); len(n) != 0 {
		t.Errorf("got %v for no drafts", n)
	}
}

// TestSizes: places of sizes and their least numbers agree.
func TestSizes(t *testing.T) {
	for n := 1; n < 1<<15; n++ {
		size := sizeOf(n)
		if size < 0 || size >= sizes || numberOf(size) > n || size+1 < sizes && sizeOf(n+1) < size {
			t.Fatalf("%d is at %d, which begins with %d", n, size, numberOf(size))
		}
		if size+1 < sizes && numberOf(size+1) <= n {
			t.Fatalf("%d is at %d, but %d begins with %d", n, size, size+1, numberOf(size+1))
		}
	}
}
