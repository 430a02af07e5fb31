package model

// decodeNAS reads nemotron-nas (DeciLM) models: Llama layers whose attention
// and MLP were searched layer by layer.
func decodeNAS(f *fields) family {
	if !f.has("block_configs") {
		f.fail(invalid("%sblock_configs is missing", f.path))
	}
	d := decodeLlama(f).(*dense)
	blocks := f.subs("block_configs")
	if len(blocks) != d.Layers {
		f.fail(invalid("%sblock_configs has %d entries, num_hidden_layers is %d", f.path, len(blocks), d.Layers))
		return d
	}
	for i, b := range blocks {
		d.blocks[i] = b.block(d.heads, d.Hidden)
		f.take(b)
	}
	return d
}

// block reads one entry of block_configs.
func (f *fields) block(heads, hidden int) block {
	var b block
	if a := f.sub("attention"); a != nil {
		b.attention = a.replacement()
		if b.attention == regular {
			group := a.size("n_heads_in_group")
			if heads%group != 0 {
				a.fail(invalid("%sn_heads_in_group is %d, want a divisor of num_attention_heads %d", a.path, group, heads))
			}
			b.kvHeads = max(1, heads/group)
		}
		f.take(a)
	} else {
		f.fail(invalid("%sattention is missing", f.path))
	}
	if m := f.sub("ffn"); m != nil {
		b.feed = m.replacement()
		if b.feed == regular {
			b.ffn = m.ffnWidth(hidden)
		}
		f.take(m)
	} else {
		f.fail(invalid("%sffn is missing", f.path))
	}
	return b
}

func (f *fields) replacement() kind {
	f.require("sparsify", "null")
	f.require("window_length", "null")
	f.require("num_sink_tokens", "null")
	switch {
	case f.boolean(false, "no_op"):
		return noOp
	case f.boolean(false, "replace_with_linear"):
		return asLinear
	}
	return regular
}

// ffnWidth follows the published rule: two thirds of ffn_mult times the hidden
// size, for the gate's sake, rounded up to a multiple of 256.
func (f *fields) ffnWidth(hidden int) int {
	if f.has("intermediate_size") {
		return f.size("intermediate_size")
	}
	if !f.has("ffn_mult") {
		f.fail(invalid("%sffn_mult is missing", f.path))
		return 1
	}
	mult := f.within(0, 1000, 1, "ffn_mult")
	width := max(1, (int(2*mult*float64(hidden)/3)+255)/256*256)
	if width > maxSize {
		f.fail(invalid("%sffn_mult is %g, which makes the MLP %d wide, want at most %d", f.path, mult, width, maxSize))
	}
	return width
}
