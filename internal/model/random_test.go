package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/ops"
)

// TestRandomNames: the made-up tensors of the published models are those of
// their checkpoints.
func TestRandomNames(t *testing.T) {
	for i := range geometries {
		g := &geometries[i]
		t.Run(g.name, func(t *testing.T) {
			r, err := g.definition(t).Random(1)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{}
			for _, tensor := range g.checkpoint().list {
				want[tensor.Name] = tensor.String()
			}
			got := map[string]string{}
			for _, tensor := range r.Tensors() {
				got[tensor.Name] = tensor.String()
			}
			if !maps.Equal(got, want) {
				t.Errorf("got %d tensors, want %d", len(got), len(want))
				for name := range got {
					if got[name] != want[name] {
						t.Fatalf("%s is %q, want %q", name, got[name], want[name])
					}
				}
			}
			a, err := g.definition(t).Account(r, Limits{PageSize: 16}, publishedTypes)
			if err != nil || a.WeightBytes() != 2*g.parameters {
				t.Errorf("got an account of %v (%v), want %d bytes", a, err, 2*g.parameters)
			}
		})
	}
}

// random loads a definition with made-up weights on the CPU.
func random(t testing.TB, d *Definition, limits Limits, on ops.Backend) *Model {
	t.Helper()
	r, err := d.Random(7)
	if err != nil {
		t.Fatal(err)
	}
	m, err := d.Load(r, on, limits)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestRandomRuns: with made-up weights every architecture of the golden
// checkpoints computes logits of order one that differ from token to token.
func TestRandomRuns(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(goldens, "*", "config.json"))
	if err != nil || len(paths) < 50 {
		t.Fatal(len(paths), err)
	}
	cpu := ops.NewCPU(2)
	defer cpu.Close()
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(path))
		limits := Limits{Tokens: 16, Outputs: 16, Sequences: 1, Pages: 4, PageSize: 8}
		m := random(t, d, limits, cpu)
		rows := logits(t, m, piece{tokens: randomIDs(rand.New(rand.NewPCG(1, 2)), m.Vocab, 16)})
		if slices.Equal(rows[3], rows[4]) {
			t.Errorf("%s: two tokens have the same logits", name)
		}
		for _, row := range rows {
			if dev := deviation(row); !(dev > 0.1 && dev < 100) {
				t.Errorf("%s: logits deviate by %g, want some 1", name, dev)
				break
			}
		}
	}
}

func deviation(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(len(x)))
}

// routeCounter counts the experts that are chosen in each layer.
type routeCounter struct {
	*ops.CPU
	chosen []int // distinct ones, of each call
}

func (c *routeCounter) Route(out ops.Routes, x ops.Tensor, r *ops.Router) {
	c.CPU.Route(out, x, r)
	seen := map[int32]bool{}
	for _, id := range unsafe.Slice((*int32)(out.IDs.Addr), out.IDs.Rows*out.IDs.Cols) {
		seen[id] = true
	}
	c.chosen = append(c.chosen, len(seen))
}

func (c *routeCounter) MoE(out, x ops.Tensor, m *ops.MoE, routes ops.Routes, hidden ops.Tensor) {
	m.Separately(c, out, x, routes, hidden)
}

// TestRandomSpreads: the tokens of a batch choose about as many experts as
// they would if all experts were equally likely.
func TestRandomSpreads(t *testing.T) {
	const experts, topK, batch = 128, 6, 48
	config := mixture(nemotronH("M*E-ME*E-EME", 128, 256, 4, 32, 4, 2), experts, topK, 64, 96, 0)
	config["vocab_size"], config["ssm_state_size"], config["n_groups"], config["head_dim"] = 4096, 16, 2, 32
	g := &geometry{config: config}
	c := &routeCounter{CPU: ops.NewCPU(2)}
	defer c.Close()
	m := random(t, g.definition(t), Limits{Tokens: batch, Outputs: 1, Sequences: batch, Pages: batch, PageSize: 4}, c)
	rng := rand.New(rand.NewPCG(3, 4))
	b := &ops.Batch{Tokens: randomIDs(rng, m.Vocab, batch), Positions: make([]int32, batch), MaxPages: 1, Outputs: []int32{0}}
	for i := range int32(batch + 1) {
		b.Start = append(b.Start, i)
	}
	for i := range int32(batch) {
		b.Slots, b.Pages = append(b.Slots, i), append(b.Pages, i)
	}
	if _, err := m.Forward(b); err != nil {
		t.Fatal(err)
	}
	want := experts * (1 - math.Pow(1-float64(topK)/experts, batch))
	for layer, n := range c.chosen {
		if !within(float64(n), want, 0.1) {
			t.Errorf("mixture %d: %d experts are chosen, want about %.0f", layer, n, want)
		}
	}
	if len(c.chosen) != 5 {
		t.Errorf("got %d mixtures, want 5", len(c.chosen))
	}
}

// TestRandomSeeds: a seed makes the same weights each time, another one others,
// and no two tensors are alike.
func TestRandomSeeds(t *testing.T) {
	d := published(t, "Nemotron-Mini-4B").definition(t)
	made := func(seed uint64) []ops.Random {
		r, err := d.Random(seed)
		if err != nil {
			t.Fatal(err)
		}
		return r.values
	}
	if !slices.Equal(made(1), made(1)) || slices.Equal(made(1), made(2)) {
		t.Error("values do not follow from the seed")
	}
	seeds := map[uint64]bool{}
	for _, v := range made(1) {
		seeds[v.Seed] = true
	}
	if len(seeds) != len(made(1)) {
		t.Errorf("%d tensors have %d seeds", len(made(1)), len(seeds))
	}
}

// TestRandomType follows torch_dtype.
func TestRandomType(t *testing.T) {
	for name, want := range map[string]string{"bfloat16": "BF16", "float16": "F16", "float32": "F32", "": "BF16", "int4": ""} {
		g := &geometry{config: nemotron(64, 128, 1, 2, 1, 32)}
		g.config["torch_dtype"] = name
		data, err := json.Marshal(g.config)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		r, err := d.Random(1)
		if want == "" {
			if text := fmt.Sprint(err); !errors.Is(err, ErrUnsupported) || !strings.Contains(text, `torch_dtype is "int4", want bfloat16, float16 or float32`) {
				t.Errorf("%s: got %v", name, err)
			}
			continue
		}
		if err != nil || r.Tensors()[0].DType.String() != want {
			t.Errorf("%q: got %v (%v), want %s", name, r.Tensors()[0], err, want)
		}
	}
}
