package model

import (
	"math"
	"os"
	"testing"
)

func (g *geometry) account(t *testing.T) *Account {
	t.Helper()
	a, err := g.definition(t).Account(g.checkpoint(), Limits{Tokens: 256, Outputs: 64, PageSize: 16}, publishedTypes)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func published(t *testing.T, name string) *geometry {
	t.Helper()
	for i := range geometries {
		if geometries[i].name == name {
			return &geometries[i]
		}
	}
	t.Fatalf("no geometry %s", name)
	return nil
}

// within reports whether got is want up to a share.
func within(got, want, share float64) bool { return math.Abs(got-want) <= share*math.Abs(want) }

// TestTraffic: what a step moves, in GB, as worked out by hand from the
// published sizes: weights at batch 1, state, cache at 512 tokens, and weights
// of a batch.
func TestTraffic(t *testing.T) {
	for _, c := range []struct {
		name                 string
		weights, state, kv   float64
		batch                int
		batchWeights, states float64
	}{
		{"Nemotron-Mini-4B", 6.808, 0, 0.0671, 64, 6.809, 0},
		{"Nemotron-4-15B", 28.112, 0, 0.0671, 64, 28.113, 0},
		{"Nano-9B-v2", 16.602, 0.2831, 0.00839, 64, 16.603, 18.12},
		{"3-Nano-30B-A3B", 6.456, 0.0965, 0.00315, 64, 59.73, 6.174},
		{"3-Nano-30B-A3B", 6.456, 0.0965, 0.00315, 256, 62.45, 24.70},
	} {
		a := published(t, c.name).account(t)
		for _, v := range []struct {
			name string
			got  int64
			want float64
		}{
			{"weights", a.WeightTraffic(1), c.weights},
			{"state", a.StateTraffic(), c.state},
			{"cache", a.CacheTraffic(512), c.kv},
			{"weights of the batch", a.WeightTraffic(c.batch), c.batchWeights},
			{"states of the batch", int64(c.batch) * a.StateTraffic(), c.states},
		} {
			if !within(float64(v.got)/1e9, v.want, 2e-3) {
				t.Errorf("%s, batch %d: %s: got %.4f GB, want %.4f", c.name, c.batch, v.name, float64(v.got)/1e9, v.want)
			}
		}
		if a.BytesPerToken() != a.WeightTraffic(1) {
			t.Errorf("%s: %d bytes per token, and %d in a step of one", c.name, a.BytesPerToken(), a.WeightTraffic(1))
		}
	}
}

// TestFloors: the rates at the floor that the table of limits has, at
// 4,547 GB/s without a cache.
func TestFloors(t *testing.T) {
	for name, want := range map[string]float64{
		"Nemotron-Mini-4B": 668, "Nemotron-4-15B": 162, "Nano-9B-v2": 269, "3-Nano-30B-A3B": 694,
	} {
		a := published(t, name).account(t)
		got := 4547e9 / float64(a.WeightTraffic(1)+a.StateTraffic())
		if !within(got, want, 3e-3) {
			t.Errorf("%s: got %.1f tokens/s at the floor, want %g", name, got, want)
		}
	}
}

// TestBenchGeometries: the configurations to measure with are those of the
// published models.
func TestBenchGeometries(t *testing.T) {
	for file, name := range map[string]string{
		"mini-4b": "Nemotron-Mini-4B", "15b": "Nemotron-4-15B", "nano-9b-v2": "Nano-9B-v2", "3-nano-30b-a3b": "3-Nano-30B-A3B",
	} {
		data, err := os.ReadFile("../../bench/geometries/" + file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		d, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		r, err := d.Random(1)
		if err != nil {
			t.Fatal(err)
		}
		a, err := d.Account(r, Limits{PageSize: 16}, publishedTypes)
		if err != nil {
			t.Fatal(err)
		}
		want := published(t, name)
		if !within(float64(a.BytesPerToken())/1e9, want.read, 1e-4) || a.WeightBytes() != publishedBytes*want.parameters || a.PageBytes != 16*want.cache {
			t.Errorf("%s: got %d bytes, %d a token, %d a page; want those of %s", file, a.WeightBytes(), a.BytesPerToken(), a.PageBytes, name)
		}
	}
}

// TestOperations counts those of prompts: twice the parameters of the layers
// for each token and of the head once, and attention's pairs.
func TestOperations(t *testing.T) {
	const layers, hidden, head = 2617245696, 3072, 786432000
	for _, n := range []int{1, 512, 2048} {
		a := published(t, "Nemotron-Mini-4B").account(t)
		pairs := float64(n) * float64(n+1) / 2
		want := 2*layers*float64(n) + 2*head + 4*32*hidden*pairs
		if got := a.Operations(n); !within(got, want, 1e-9) {
			t.Errorf("%d tokens: got %.4g operations, want %.4g", n, got, want)
		}
	}
	// Of a mixture, six of 128 experts; the recurrence besides the products;
	// and one position more for attention to look at.
	const read, head3, row = 3227757504, 352321536, 2688
	const state, pairs = 64 * 64 * 128 * 23, 4 * 6 * 4096 * 2
	a := published(t, "3-Nano-30B-A3B").account(t)
	got := a.Operations(2) - a.Operations(1)
	if want := float64(2*(read-head3-row) + 5*state + pairs); !within(got, want, 1e-3) {
		t.Errorf("got %.5g operations for the second token, want %.5g", got, want)
	}
}

// TestWindows: beyond its window a layer costs no more.
func TestWindows(t *testing.T) {
	l := attentionWork{position: 10, widths: 1, window: 8}
	a := &Account{work: work{attention: []attentionWork{l, {position: 1, widths: 1}}}}
	for context, want := range map[float64]int64{4: 44, 8: 88, 100: 180} {
		if got := a.CacheTraffic(context); got != want {
			t.Errorf("context %g: got %d bytes, want %d", context, got, want)
		}
	}
	for n := range 30 {
		pairs := 0.0
		for p := range n {
			pairs += float64(min(p+1, 8))
		}
		if got := l.pairs(float64(n)); got != pairs {
			t.Errorf("%d tokens: got %g pairs, want %g", n, got, pairs)
		}
	}
}
