package model

import (
	"math"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/ops"
)

// rotaryOf decodes the rotary encoding of heads of 128 columns.
func rotaryOf(t testing.TB, context, rope string) *ops.Rotary {
	t.Helper()
	family := "llama"
	if strings.Contains(rope, "partial") || strings.Contains(rope, "percent") {
		family = "nemotron" // others rotate whole heads
	}
	config := `{"model_type": "` + family + `", ` + least + `, "max_position_embeddings": ` + context + `, ` + rope + `}`
	return decode(t, []byte(config)).(*dense).rotary
}

// TestRotary compares inverse frequencies with the formulas of transformers'
// modeling_rope_utils, computed apart from this package in float64.
func TestRotary(t *testing.T) {
	const llama3 = `"low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 8192, "rope_type": "llama3"`
	for _, c := range []struct {
		name, context, rope string
		scale               float64
		want                map[int]float64
	}{
		{
			"half of the columns", "4096", `"rope_theta": 10000, "partial_rotary_factor": 0.5`, 1,
			map[int]float64{0: 1, 1: 0.749894209, 15: 0.0133352143, 31: 0.000133352143},
		},
		{
			"linear", "4096", `"rope_theta": 10000, "partial_rotary_factor": 0.5, "rope_scaling": {"type": "linear", "factor": 4}`, 1,
			map[int]float64{0: 0.25, 1: 0.749894209 / 4, 31: 0.000133352143 / 4},
		},
		{
			"Llama 3.1", "131072", `"rope_theta": 500000, "rope_scaling": {"factor": 8, ` + llama3 + `}`, 1,
			map[int]float64{0: 1, 20: 0.0165604401, 28: 0.00321144599, 29: 0.00216657076, 32: 0.000524846161, 34: 0.000178507813, 35: 9.55621235e-05, 40: 3.4281022e-05, 63: 3.06892599e-07},
		},
		{
			"an odd theta", "131072", `"rope_theta": 3565775107.26, "rope_scaling": {"factor": 4, ` + llama3 + `}`, 1,
			map[int]float64{0: 1, 18: 0.00138058607, 20: 0.000349183622, 22: 0.000130132894, 63: 9.88640654e-11},
		},
		{
			"yarn", "16384", `"rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 4096}`, 1.138629436111989,
			map[int]float64{0: 1, 15: 0.115478198, 20: 0.0562341325, 21: 0.0472920385, 30: 0.00948851788, 46: 0.000333380358, 47: 0.000288695496, 63: 2.88695496e-05},
		},
		{
			"yarn without truncation", "16384", `"rope_scaling": {"type": "yarn", "factor": 4, "truncate": false}, "original_max_position_embeddings": 4096`, 1.138629436111989,
			map[int]float64{0: 1, 15: 0.115478198, 20: 0.0562341325, 21: 0.0486125552, 30: 0.00957446124, 63: 2.88695496e-05},
		},
		{
			"yarn, the factor from the contexts", "16384", `"rope_parameters": {"rope_type": "yarn", "beta_fast": 16, "beta_slow": 2, "original_max_position_embeddings": 4096, "attention_factor": 0.5}`, 0.5,
			map[int]float64{0: 1, 25: 0.0273841963, 30: 0.0102097735, 40: 0.00093880118, 63: 2.88695496e-05},
		},
		{
			"yarn with mscale", "163840", `"rope_scaling": {"type": "yarn", "factor": 40, "mscale": 0.707, "mscale_all_dim": 1, "original_max_position_embeddings": 4096}`, 0.9210423553163399,
			map[int]float64{0: 1},
		},
		{
			"the parameters' own theta and share", "4096", `"rope_theta": 77, "rope_parameters": {"rope_theta": 10000, "partial_rotary_factor": 0.5, "rope_type": "default"}`, 1,
			map[int]float64{0: 1, 1: 0.749894209, 31: 0.000133352143},
		},
	} {
		r := rotaryOf(t, c.context, c.rope)
		if math.Abs(float64(r.Scale)-c.scale) > 1e-6 || r.Dynamic != nil {
			t.Errorf("%s: got scale %g, want %g", c.name, r.Scale, c.scale)
		}
		for i, want := range c.want {
			if got := float64(r.InvFreq[i]); math.Abs(got/want-1) > 1e-6 {
				t.Errorf("%s: frequency %d is %.9g, want %.9g", c.name, i, got, want)
			}
		}
	}
}

func TestRotaryWidths(t *testing.T) {
	for rope, want := range map[string]int{
		`"rope_theta": 10000`:                          64,
		`"partial_rotary_factor": 0.5`:                 32,
		`"rope_percent": 0.25`:                         16,
		`"rope_percentage": 0.75`:                      48,
		`"rope_scaling": {}`:                           64,
		`"head_dim": 12, "partial_rotary_factor": 0.5`: 3,
		`"rope_scaling": null, "rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.125}`: 8,
	} {
		if got := len(rotaryOf(t, "4096", rope).InvFreq); got != want {
			t.Errorf("%s: got %d frequencies, want %d", rope, got, want)
		}
	}
	if r := rotaryOf(t, "4096", `"partial_rotary_factor": 0`); r != nil {
		t.Errorf("no columns to rotate: got %+v, want none", r)
	}
	r := rotaryOf(t, "4096", `"rope_theta": 500, "rope_scaling": {"type": "dynamic", "factor": 3}`)
	if want := (ops.Dynamic{Theta: 500, Factor: 3, Context: 4096}); *r.Dynamic != want || r.InvFreq[0] != 1 {
		t.Errorf("dynamic: got %+v, want %+v", *r.Dynamic, want)
	}
}
