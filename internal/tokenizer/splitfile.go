package tokenizer

// maxAdding bounds the pre-tokenizers that add characters, of which each may
// double the text.
const maxAdding = 4

// readSplitters reads "pre_tokenizer", flattened; bytes reports that words stay
// plain bytes since the last step is byte-level, which the model then does.
func readSplitters(n *node) (steps []splitter, bytes bool, err error) {
	if n.isNull() {
		return nil, false, nil
	}
	if steps, err = readSplitter(n, nil); err != nil || len(steps) == 0 {
		return nil, false, err
	}
	adding := 0
	for _, s := range steps {
		switch s.(type) {
		case byteLevel, metaspace:
			adding++
		}
	}
	if adding > maxAdding {
		return nil, false, n.errorf("got %d steps that add characters, want at most %d", adding, maxAdding)
	}
	if last, ok := steps[len(steps)-1].(byteLevel); ok {
		last.change = false
		steps[len(steps)-1] = last
		return steps, true, nil
	}
	return steps, false, nil
}

// readSplitter reads one pre-tokenizer and appends its steps.
func readSplitter(n *node, out []splitter) ([]splitter, error) {
	r, kind := kindOf(n)
	if r.err != nil {
		return nil, r.err
	}
	if len(out) > maxSteps {
		return nil, n.errorf("more than %d steps", maxSteps)
	}
	var step splitter
	switch kind {
	case "Sequence":
		for _, child := range r.list("pretokenizers") {
			var err error
			if out, err = readSplitter(&child, out); err != nil {
				return nil, err
			}
		}
		return out, r.done()
	case "Split":
		step = readSplit(r)
	case "ByteLevel":
		b := byteLevel{prefixSpace: r.flag("add_prefix_space"), change: true}
		r.flag("trim_offsets") // about offsets, which we do not give
		if r.flagOr("use_regex", true) {
			b.rule = splitRules[gpt2Pattern]
		}
		step = b
	case "Metaspace":
		step = readMetaspace(r)
	case "Digits":
		step = pattern{matcher: oneOf(is(clsDigit)), behavior: map[bool]behavior{true: isolated, false: contiguous}[r.flag("individual_digits")]}
	case "Punctuation":
		step = pattern{matcher: oneOf(is(clsPunct)), behavior: readBehavior(r, r.strOr("behavior", "Isolated"))}
	case "Whitespace":
		step = words{}
	case "WhitespaceSplit":
		step = pattern{matcher: oneOf(is(clsSpace)), behavior: removed}
	case "BertPreTokenizer":
		out = append(out, pattern{matcher: oneOf(is(clsSpace)), behavior: removed})
		step = pattern{matcher: oneOf(is(clsPunct)), behavior: isolated}
	case "CharDelimiterSplit":
		step = pattern{matcher: literal(string(r.char("delimiter"))), behavior: removed}
	case "FixedLength":
		step = fixedLength(max(1, r.count("length", 1<<20)))
	default:
		return nil, n.errorf("type %q is not known to us", clip(kind))
	}
	return append(out, step), r.done()
}

// readSplit reads the fields of Split.
func readSplit(r *reader) splitter {
	p := pattern{invert: r.flag("invert"), behavior: readBehavior(r, r.str("behavior"))}
	p.matcher = readPattern(r, "pattern")
	return p
}

// readBehavior looks the name of a behavior up.
func readBehavior(r *reader, name string) behavior {
	b, ok := behaviors[name]
	if !ok && r.err == nil {
		r.err = r.n.errorf("behavior: got %q, want Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous", clip(name))
	}
	return b
}

// readPattern reads {"String": …} or {"Regex": …}.
func readPattern(r *reader, key string) matcher {
	v := r.required(key, "an object")
	if !r.typed(v, "an object") {
		return nil
	}
	p := open(v)
	var found matcher
	if text := p.optional("String"); text != nil {
		found = literal(p.str("String"))
	} else {
		text := p.str("Regex")
		if rule := splitRules[text]; rule != nil {
			found = rule
		} else if p.err == nil {
			re, err := newRegex(text)
			if err != nil {
				p.err = v.errorf("Regex: %v", err)
			}
			found = re
		}
	}
	if err := p.done(); err != nil && r.err == nil {
		r.err = err
	}
	return found
}

// readMetaspace reads the fields of Metaspace, in its present and older forms.
func readMetaspace(r *reader) metaspace {
	m := metaspace{replacement: string(r.char("replacement")), cut: r.flagOr("split", true)}
	r.strOr("str_rep", "") // the replacement again
	switch scheme := r.strOr("prepend_scheme", "always"); scheme {
	case "always":
		m.prepend = prependAlways
	case "first":
		m.prepend = prependFirst
	case "never":
		m.prepend = prependNever
	default:
		if r.err == nil {
			r.err = r.n.errorf("prepend_scheme: got %q, want always, first or never", clip(scheme))
		}
	}
	if !r.flagOr("add_prefix_space", true) {
		if r.optional("prepend_scheme") != nil && m.prepend != prependNever && r.err == nil {
			r.err = r.n.errorf("add_prefix_space: got false, want what prepend_scheme says")
		}
		m.prepend = prependNever
	}
	return m
}
