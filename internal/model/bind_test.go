package model

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/ops"
	"github.com/godwit-llm/godwit/internal/safetensors"
)

// shapes returns a golden's tensors without their data.
func shapes(t testing.TB, name string) *headers {
	t.Helper()
	ck, err := safetensors.Open(filepath.Join(goldens, name))
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	h := &headers{}
	for _, tensor := range ck.Tensors() {
		h.add(tensor.DType, tensor.Name, tensor.Shape...)
	}
	return h
}

// edit returns the headers with one tensor changed; with the zero DType it is
// taken out.
func (h *headers) edit(name string, d safetensors.DType, shape ...int) *headers {
	out := &headers{}
	for _, t := range h.list {
		if t.Name != name {
			out.add(t.DType, t.Name, t.Shape...)
		}
	}
	if d != 0 {
		out.add(d, name, shape...)
	}
	return out
}

// TestBindingFaults changes one tensor and looks at the message.
func TestBindingFaults(t *testing.T) {
	const absent safetensors.DType = 0
	const q = "model.layers.1.self_attn.q_proj.weight"
	for _, c := range []struct {
		golden, tensor string
		dtype          safetensors.DType
		shape          []int
		class          error
		want           string
	}{
		{"llama-base", "model.norm.weight", absent, nil, ErrInvalid, "tensor model.norm.weight is missing from the checkpoint, want shape [32]"},
		{"llama-base", "lm_head.weight", absent, nil, ErrInvalid, "tensor lm_head.weight is missing from the checkpoint, want shape [96, 32]"},
		{"llama-base", q, safetensors.F32, []int{32, 31}, ErrInvalid, "tensor " + q + " is F32[32, 31], want shape [32, 32]"},
		{"llama-base", q, safetensors.F32, []int{1024}, ErrInvalid, "tensor " + q + " is F32[1024], want shape [32, 32]"},
		{"llama-base", q, safetensors.F32, nil, ErrInvalid, "tensor " + q + " is F32[], want shape [32, 32]"},
		{"llama-base", q, safetensors.F8_E4M3, []int{32, 32}, ErrUnsupported, "tensor " + q + " is F8_E4M3[32, 32], want BF16, F16 or F32 of shape [32, 32]; quantised checkpoints are not supported"},
		{"llama-base", q, safetensors.U8, []int{32, 16}, ErrUnsupported, "tensor " + q + " is U8[32, 16], want BF16, F16 or F32 of shape [32, 32]; quantised checkpoints are not supported"},
		{"llama-base", q, safetensors.I32, []int{32, 32}, ErrUnsupported, "tensor " + q + " is I32[32, 32], want BF16, F16 or F32 of shape [32, 32]"},
		{"llama-base", "model.norm.weight", safetensors.F64, []int{32}, ErrUnsupported, "tensor model.norm.weight is F64[32], want BF16, F16 or F32 of shape [32]"},
		{"llama-base", "model.layers.3.mlp.up_proj.weight", safetensors.F32, []int{32, 32}, ErrInvalid, "config.json describes a model without these tensors of the checkpoint, 1 in all: model.layers.3.mlp.up_proj.weight"},
		{"llama-base", strings.Repeat("x", 200), safetensors.F32, []int{1}, ErrInvalid, "config.json describes a model without these tensors of the checkpoint, 1 in all: " + strings.Repeat("x", 128)},
		{"nemotron-h-moe", "backbone.layers.1.mixer.experts.7.up_proj.weight", absent, nil, ErrInvalid, "tensor backbone.layers.1.mixer.experts.7.up_proj.weight is missing from the checkpoint, want shape [24, 32]"},
		{"nemotron-h-moe", "backbone.layers.0.mixer.conv1d.weight", safetensors.F32, []int{64, 4}, ErrInvalid, "tensor backbone.layers.0.mixer.conv1d.weight is F32[64, 4], want shape [64, 1, 4]"},
		{"nemotron-h-moe-fused", "model.layers.1.mixer.experts.up_proj", safetensors.F32, []int{8, 32, 24}, ErrInvalid, "tensor model.layers.1.mixer.experts.up_proj is F32[8, 32, 24], want shape [8, 24, 32]"},
	} {
		d := Definition{decode(t, changed(t, c.golden, "{}"))}
		_, err := d.Account(shapes(t, c.golden).edit(c.tensor, c.dtype, c.shape...), testLimits, Types{})
		if err == nil || err.Error() != c.want || !errors.Is(err, c.class) {
			t.Errorf("%s: got  %v,\nwant %s (%v)", c.golden, err, c.want, c.class)
		}
	}
}

// TestLeftOver counts tensors that a model does not know, and lets those pass
// that generating text does not need.
func TestLeftOver(t *testing.T) {
	d := Definition{decode(t, changed(t, "nemotron-h-moe", "{}"))}
	h := shapes(t, "nemotron-h-moe")
	h.bf16("mtp.layers.0.", "enorm.weight hnorm.weight", 32)
	a, err := d.Account(h, testLimits, Types{})
	if want := []string{"mtp.layers.0.enorm.weight", "mtp.layers.0.hnorm.weight"}; err != nil || !slices.Equal(a.NotUsed, want) {
		t.Errorf("got %v not used (%v), want %v", a.NotUsed, err, want)
	}
	if a.ActiveExperts != 0.25 {
		t.Errorf("got %g of the experts active, want 2 of 8", a.ActiveExperts)
	}
	h.bf16("more.", "0 1 2 3 4 5 6", 32)
	_, err = d.Account(h, testLimits, Types{})
	if want := "config.json describes a model without these tensors of the checkpoint, 7 in all: more.0, more.1, more.2, more.3, more.4 and 2 more"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// failing is a memory that has no room.
type failing struct {
	ops.Backend
	vectors bool
}

func (f failing) Weights(parts []ops.Stored) ([]ops.Tensor, error) {
	if f.vectors {
		return make([]ops.Tensor, len(parts)), nil
	}
	return nil, errors.New("full")
}

func (f failing) Vector([]float32) (ops.Tensor, error) { return ops.Tensor{}, errors.New("full") }

func (f failing) Activation(int, int) (ops.Tensor, error) { return ops.Tensor{}, errors.New("full") }

// TestMemoryFaults loads into memories without room.
func TestMemoryFaults(t *testing.T) {
	d := Definition{decode(t, changed(t, "llama-base", "{}"))}
	ck, err := safetensors.Open(filepath.Join(goldens, "llama-base"))
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	if _, err := d.Load(ck, failing{}, testLimits); err == nil || err.Error() != "place model.embed_tokens.weight: full" {
		t.Errorf("got %v, want the first tensor's name and the cause", err)
	}
	if _, err := d.Load(ck, failing{vectors: true}, testLimits); err == nil || err.Error() != "full" {
		t.Errorf("got %v, want the cause", err)
	}
	a := &allocator{to: failing{}, limits: testLimits}
	if a.activation(1, 1); a.err == nil {
		t.Error("no fault where there is no room")
	}
}

// TestUnaligned loads a checkpoint whose tensors begin at odd addresses, and
// compares what it computes.
func TestUnaligned(t *testing.T) {
	const name = "llama-bf16"
	ck, err := safetensors.Open(filepath.Join(goldens, name))
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	var file bytes.Buffer
	if err := safetensors.Write(&file, ck.Tensors(), nil); err != nil {
		t.Fatal(err)
	}
	moved := append(make([]byte, 1, file.Len()+1), file.Bytes()...)[1:]
	unaligned, err := safetensors.Parse("model.safetensors", moved)
	if err != nil {
		t.Fatal(err)
	}
	if unaligned.Tensors()[0].Aligned() {
		t.Fatal("the bytes lie at an even address")
	}
	d := Definition{decode(t, changed(t, name, "{}"))}
	cpu := ops.NewCPU(1)
	defer cpu.Close()
	m, err := d.Load(unaligned, cpu, testLimits)
	if err != nil {
		t.Fatal(err)
	}
	ids := piece{tokens: []int32{1, 5, 9}}
	got, want := logits(t, m, ids), logits(t, load(t, filepath.Join(goldens, name), testLimits), ids)
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("row %d: the logits differ", i)
		}
	}
}

// bounded runs f and fails if it takes long or allocates much.
func bounded(t testing.TB, most uint64, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	f()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > most || took > 5*time.Second {
		t.Errorf("took %v and allocated %d bytes, want at most 5 s and %d bytes", took, n, most)
	}
}

// TestHostileSizes decodes the largest sizes that a config.json may have, and
// binds them to checkpoints that lack their tensors, from the first one on or
// in the middle.
func TestHostileSizes(t *testing.T) {
	many := `{"hybrid_override_pattern": "` + strings.Repeat("E", maxLayers) + `", "num_hidden_layers": 4096, "n_routed_experts": 65536, "num_experts_per_tok": 65536}`
	wide := `{"num_hidden_layers": 4096, "hidden_size": 134217728, "vocab_size": 134217728, "intermediate_size": 134217728, "num_attention_heads": 2048, "num_key_value_heads": 1, "max_position_embeddings": 134217728}`
	first := &headers{}
	first.bf16("backbone.", "embeddings.weight", 96, 32)
	first.bf16("", "lm_head.weight", 96, 32)
	first.bf16("backbone.layers.0.", "norm.weight", 32)
	first.bf16("backbone.layers.0.mixer.", "gate.weight", 65536, 32)
	first.bf16("backbone.layers.0.mixer.", "gate.e_score_correction_bias", 65536)
	for e := range 65535 {
		first.bf16(fmt.Sprintf("backbone.layers.0.mixer.experts.%d.", e), "up_proj.weight", 24, 32)
	}
	for _, c := range []struct {
		name, golden, change string
		from                 Weights
		want                 string
	}{
		{"nothing there", "nemotron-h-moe", many, &headers{}, "tensor backbone.embeddings.weight is missing from the checkpoint, want shape [96, 32]"},
		{"one expert missing", "nemotron-h-moe", many, first, "tensor backbone.layers.0.mixer.experts.65535.up_proj.weight is missing from the checkpoint, want shape [24, 32]"},
		{"dense", "llama-base", wide, &headers{}, "tensor model.embed_tokens.weight is missing from the checkpoint, want shape [134217728, 134217728]"},
		{"nemotron", "nemotron-base", wide, &headers{}, "tensor model.embed_tokens.weight is missing from the checkpoint, want shape [134217728, 134217728]"},
	} {
		data := changed(t, c.golden, c.change)
		bounded(t, 64<<20, func() {
			d, err := Decode(data)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				return
			}
			if _, err := d.Account(c.from, testLimits, Types{}); err == nil || err.Error() != c.want {
				t.Errorf("%s: got %v, want %s", c.name, err, c.want)
			}
		})
	}
}
