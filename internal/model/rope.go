package model

import (
	"math"

	"github.com/godwit-llm/godwit/internal/ops"
)

// rotary reads the rotary position encoding of heads of the given width from
// rope_scaling, or else rope_parameters (the spelling of transformers 5), and
// the top-level fields. The formulas are those of transformers'
// modeling_rope_utils.
func (f *fields) rotary(headDim, context int, theta, partial float64) *ops.Rotary {
	partial = f.within(0, 1, partial, "partial_rotary_factor", "rope_percent", "rope_percentage")
	theta = f.within(1, 1e30, theta, "rope_theta")
	s := f.sub("rope_scaling", "rope_parameters")
	if s == nil {
		s = &fields{path: f.path, raw: nil}
	}
	defer func() { f.take(s) }()
	theta = s.within(1, 1e30, theta, "rope_theta")
	partial = s.within(0, 1, partial, "partial_rotary_factor")
	dim := int(float64(headDim) * partial)
	if dim%2 != 0 {
		s.fail(invalid("%shead_dim %d with partial_rotary_factor %g rotates %d columns, want an even number", f.path, headDim, partial, dim))
	}
	if dim < 2 {
		return nil
	}
	r := &ops.Rotary{InvFreq: ops.InverseFrequencies(theta, dim), Scale: 1}
	old := f.positive(s.positive(context, "original_max_position_embeddings"), "original_max_position_embeddings")
	s.require("full_attention", "null") // parameters by kind of layer
	switch kind := s.text("default", "rope_type", "type"); kind {
	case "default":
	case "linear":
		s.interpolate(r)
	case "dynamic":
		r.Dynamic = s.dynamic(theta, context, dim)
	case "llama3":
		s.need(f, "original_max_position_embeddings")
		s.llama3(r, float64(old))
	case "yarn":
		s.yarn(r, theta, float64(old), float64(context))
	default:
		s.fail(unsupported("%srope_type is %q, want default, linear, dynamic, llama3 or yarn", s.path, kind))
	}
	return r
}

// need fails unless the field is there, here or in the outer object.
func (f *fields) need(outer *fields, name string) {
	if !f.has(name) && !outer.has(name) {
		f.fail(invalid("%s%s is missing", f.path, name))
	}
}

// factor returns the scaling factor, which must be there.
func (f *fields) factor() float64 {
	f.need(f, "factor")
	return f.within(1, 1e6, 1, "factor")
}

func (f *fields) interpolate(r *ops.Rotary) {
	factor := float32(f.factor())
	for i := range r.InvFreq {
		r.InvFreq[i] /= factor
	}
}

func (f *fields) dynamic(theta float64, context, dim int) *ops.Dynamic {
	if dim <= 2 {
		f.fail(invalid("%srope_type is dynamic for %d rotated columns, want more than 2", f.path, dim))
	}
	return &ops.Dynamic{Theta: theta, Factor: f.factor(), Context: context}
}

// llama3 stretches long wavelengths and leaves short ones.
func (f *fields) llama3(r *ops.Rotary, old float64) {
	factor := f.factor()
	f.need(f, "low_freq_factor")
	f.need(f, "high_freq_factor")
	low := f.within(1e-6, 1e6, 1, "low_freq_factor")
	high := f.within(1e-6, 1e6, 4, "high_freq_factor")
	if high <= low {
		f.fail(invalid("%shigh_freq_factor is %g, want more than low_freq_factor %g", f.path, high, low))
		return
	}
	for i, v := range r.InvFreq {
		freq := float64(v)
		wavelength := 2 * math.Pi / freq
		switch {
		case wavelength < old/high:
		case wavelength > old/low:
			r.InvFreq[i] = float32(freq / factor)
		default:
			smooth := (old/wavelength - low) / (high - low)
			r.InvFreq[i] = float32((1-smooth)*freq/factor + smooth*freq)
		}
	}
}

// yarn blends interpolated and original frequencies along a ramp over the
// dimensions and scales the attention. Old is the context the model was first
// trained with.
func (f *fields) yarn(r *ops.Rotary, theta, old, context float64) {
	if theta == 1 {
		f.fail(invalid("%srope_type is yarn for rope_theta 1, want more than 1", f.path))
		return
	}
	factor := max(context/old, 1)
	if f.has("factor") || context == old {
		factor = f.factor()
	}
	r.Scale = float32(f.attentionFactor(factor))
	dim := float64(2 * len(r.InvFreq))
	at := func(rotations float64) float64 {
		return dim * math.Log(old/(rotations*2*math.Pi)) / (2 * math.Log(theta))
	}
	low := at(f.within(1e-6, 1e6, 32, "beta_fast"))
	high := at(f.within(1e-6, 1e6, 1, "beta_slow"))
	if f.boolean(true, "truncate") {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, dim-1)
	if low == high {
		high += 0.001
	}
	for i, v := range r.InvFreq {
		ramp := min(max((float64(i)-low)/(high-low), 0), 1)
		r.InvFreq[i] = float32(float64(v) * (ramp/factor + (1 - ramp)))
	}
}

func (f *fields) attentionFactor(factor float64) float64 {
	if f.has("attention_factor") {
		return f.within(0, 1e3, 1, "attention_factor")
	}
	scale := func(m float64) float64 { return 0.1*m*math.Log(factor) + 1 }
	m, all := f.within(0, 1e3, 0, "mscale"), f.within(0, 1e3, 0, "mscale_all_dim")
	if m != 0 && all != 0 {
		return scale(m) / scale(all)
	}
	return scale(1)
}
