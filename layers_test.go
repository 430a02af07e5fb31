package godwit

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/kernels"
	"github.com/godwit-llm/godwit/internal/model"
	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/safetensors"
)

// layersLimit bounds the difference of a value of the residual stream from that
// of transformers, as a share of 1 + the value, in float32.
const layersLimit = 5e-4

// cuts are ways to bring a prompt of n tokens to a model: whole, cut at random
// places, and token by token, as a continuation is generated.
var cuts = map[string]func(rng *rand.Rand, n int) []int{
	"whole": func(_ *rand.Rand, n int) []int { return []int{n} },
	"cut": func(rng *rand.Rand, n int) (pieces []int) {
		for n > 0 {
			piece := 1 + rng.IntN(min(n, 7))
			pieces = append(pieces, piece)
			n -= piece
		}
		return pieces
	},
	"token by token": func(_ *rand.Rand, n int) (pieces []int) {
		for range n {
			pieces = append(pieces, 1)
		}
		return pieces
	},
}

// TestLayers compares the residual stream after each layer with transformers',
// in float32, so that the first wrong layer is named: on the CPU and on a GPU.
func TestLayers(t *testing.T) {
	t.Run("CPU", func(t *testing.T) {
		cpu := ops.NewCPU(2)
		t.Cleanup(func() { cpu.Close() })
		goldenLayers(t, cpu)
	})
	t.Run("CUDA", func(t *testing.T) { goldenLayers(t, layersOnCUDA(t)) })
}

// layersOnCUDA returns a backend of float32 on the first GPU.
func layersOnCUDA(t *testing.T) ops.Backend {
	t.Helper()
	driver, err := cuda.LoadDriver(cuda.Options{})
	if errors.Is(err, cuda.ErrNoLibrary) || errors.Is(err, cuda.ErrNoDevice) {
		t.Skipf("needs a GPU: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dev, err := driver.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := kernels.New(dev, kernels.Options{Act: ops.F32})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := (gpu{b, dev}).Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// goldenLayers runs every golden checkpoint that has layers.
func goldenLayers(t *testing.T, to ops.Backend) {
	t.Helper()
	paths, err := filepath.Glob("testdata/goldens/*/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	families := map[string]bool{}
	for _, path := range paths {
		var g struct {
			Cases  []goldenCase
			Layers [][][]float32 // [1+layers][position][hidden]
		}
		readJSON(t, path, &g)
		if g.Layers == nil {
			continue
		}
		m := loadOn(t, filepath.Dir(path), to)
		families[m.Architecture] = true
		for way, cut := range cuts {
			name := filepath.Base(filepath.Dir(path)) + ", " + way
			rng := rand.New(rand.NewPCG(5, uint64(len(path))))
			compareLayers(t, name, m, to, g.Cases[0].IDs, cut(rng, len(g.Cases[0].IDs)), g.Layers)
		}
	}
	if len(families) < len(model.Architectures()) {
		t.Errorf("layers of %v are covered, want all of %v", families, model.Architectures())
	}
}

// loadOn loads a checkpoint on a backend.
func loadOn(t *testing.T, dir string, to ops.Backend) *model.Model {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := model.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	ck, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() }) // the CPU computes with what is mapped
	m, err := d.Load(ck, to, model.Limits{Tokens: 64, Outputs: 64, Sequences: 1, Pages: 16, PageSize: 8})
	if err != nil {
		t.Fatal(err)
	}
	if b, ok := to.(*kernels.Backend); ok {
		if err := b.Flush(nil); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// compareLayers runs a prompt in pieces and compares each layer of each.
func compareLayers(t *testing.T, name string, m *model.Model, on ops.Backend, ids []int32, pieces []int, want [][][]float32) {
	t.Helper()
	at := 0
	for _, n := range pieces {
		streams := make([][]float32, len(want)) // the last sublayer of a layer counts
		_, err := m.Observe(pieceOf(ids, at, n, m.Limits.Pages), func(layer int, x ops.Tensor) {
			streams[layer+1] = make([]float32, x.Rows*x.Cols)
			if err := on.Read(streams[layer+1], x); err != nil {
				t.Fatal(err)
			}
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, stream := range streams {
			for k, v := range stream {
				cols := len(stream) / n
				w := float64(want[i][at+k/cols][k%cols])
				if d := math.Abs(float64(v) - w); !(d <= layersLimit*(1+math.Abs(w))) {
					t.Fatalf("%s: layer %d, position %d, column %d: got %g, want %g", name, i-1, at+k/cols, k%cols, v, w)
				}
			}
		}
		at += n
	}
}

// pieceOf is a batch of n tokens of one sequence, from position at on.
func pieceOf(ids []int32, at, n, pages int) *ops.Batch {
	b := &ops.Batch{Tokens: ids[at : at+n], Start: []int32{0, int32(n)}, MaxPages: pages, Slots: []int32{0}, Outputs: []int32{int32(n - 1)}}
	for i := range n {
		b.Positions = append(b.Positions, int32(at+i))
	}
	for i := range pages {
		b.Pages = append(b.Pages, int32(i))
	}
	return b
}
