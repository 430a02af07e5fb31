package tokenizer

// template is what the post-processor makes of a text's ids: ids to put before
// and behind, and the text itself, usually once.
type template []templatePart

// templatePart is the text's ids, or special ones.
type templatePart struct {
	text bool
	ids  []int32
}

// maxTemplate bounds the parts of a template, each of which may repeat the text.
const maxTemplate = 32

// textOnly is the template of a file without a post-processor.
var textOnly = template{{text: true}}

// apply builds the ids of a text; without special, the special parts are left out.
func (t template) apply(special bool, text func(dst []int32) []int32) []int32 {
	var dst []int32
	start, end := -1, -1
	for _, p := range t {
		switch {
		case !p.text:
			if special {
				dst = append(dst, p.ids...)
			}
		case start < 0:
			start = len(dst)
			dst = text(dst)
			end = len(dst)
		default:
			dst = append(dst, dst[start:end]...)
		}
	}
	return dst
}

// readTemplate reads "post_processor". The ids it gives must be below limit.
func readTemplate(n *node, limit int) (template, error) {
	if n.isNull() {
		return textOnly, nil
	}
	r, kind := kindOf(n)
	if r.err != nil {
		return nil, r.err
	}
	switch kind {
	case "Sequence":
		return readTemplates(r, limit)
	case "ByteLevel": // about offsets, which we do not give
		r.flag("add_prefix_space")
		r.flag("trim_offsets")
		r.flagOr("use_regex", true)
		return textOnly, r.done()
	case "RobertaProcessing", "BertProcessing":
		if kind == "RobertaProcessing" {
			r.flag("trim_offsets")
			r.flag("add_prefix_space")
		}
		cls, sep := readNamedID(r, "cls", limit), readNamedID(r, "sep", limit)
		return template{{ids: cls}, {text: true}, {ids: sep}}, r.done()
	case "TemplateProcessing":
		return readPieces(r, limit)
	}
	return nil, n.errorf("type %q is not known to us", clip(kind))
}

// readTemplates reads a Sequence, of which at most one may add tokens: the
// reference has no meaning for two.
func readTemplates(r *reader, limit int) (template, error) {
	found := textOnly
	for _, child := range r.list("processors") {
		t, err := readTemplate(&child, limit)
		if err != nil {
			return nil, err
		}
		if len(t) == 1 && t[0].text {
			continue
		}
		if len(found) != 1 || !found[0].text {
			return nil, child.errorf("a second processor that adds tokens")
		}
		found = t
	}
	return found, r.done()
}

// readNamedID reads ["[CLS]", 101].
func readNamedID(r *reader, key string, limit int) []int32 {
	v := r.list(key)
	if r.err == nil && (len(v) != 2 || v[0].kind != "a string") {
		r.err = r.n.errorf("%s: want a token's text and id", key)
	}
	if r.err != nil {
		return nil
	}
	return readIDs(r, v[1:], limit)
}

// readIDs reads token ids.
func readIDs(r *reader, list []node, limit int) []int32 {
	var ids []int32
	for i := range list {
		v := &list[i]
		if !r.typed(v, "a number") {
			return nil
		}
		if v.number < 0 || v.number >= float64(limit) || v.number != float64(int32(v.number)) {
			r.err = v.errorf("got %v, want a token id from 0 to %d", v.number, limit-1)
			return nil
		}
		ids = append(ids, int32(v.number))
	}
	return ids
}

// readPieces reads TemplateProcessing. We encode one text at a time, so that
// "pair" says nothing; its form is checked by the reader of the tree only.
func readPieces(r *reader, limit int) (template, error) {
	r.list("pair")
	special := map[string][]int32{}
	if v := r.required("special_tokens", "an object"); r.typed(v, "an object") {
		for i := range v.fields {
			f := &v.fields[i]
			s := open(&f.value)
			s.str("id")
			tokens, ids := s.list("tokens"), s.list("ids")
			special[f.key] = readIDs(s, ids, limit)
			if s.err == nil && len(tokens) != len(ids) {
				s.err = s.n.errorf("got %d ids for %d tokens", len(ids), len(tokens))
			}
			if err := s.done(); err != nil {
				return nil, err
			}
		}
	}
	var out template
	list := r.list("single")
	if len(list) > maxTemplate {
		return nil, r.n.errorf("single: got %d parts, want at most %d", len(list), maxTemplate)
	}
	for i := range list {
		part, err := readPiece(&list[i], special)
		if err != nil {
			return nil, err
		}
		out = append(out, part)
	}
	return out, r.done()
}

// readPiece reads {"Sequence": {"id": "A", …}} or {"SpecialToken": {"id": …, …}}.
func readPiece(n *node, special map[string][]int32) (templatePart, error) {
	r := open(n)
	text := r.optional("Sequence")
	v := text
	if text == nil {
		v = r.required("SpecialToken", "an object")
	}
	if err := r.done(); err != nil {
		return templatePart{}, err
	}
	p := open(v)
	id := p.str("id")
	p.count("type_id", 1<<31)
	if err := p.done(); err != nil {
		return templatePart{}, err
	}
	if text != nil {
		if id != "A" {
			return templatePart{}, v.errorf("id: got %q, want A in a template for one text", clip(id))
		}
		return templatePart{text: true}, nil
	}
	ids, ok := special[id]
	if !ok {
		return templatePart{}, v.errorf("id: %q is not in special_tokens", clip(id))
	}
	return templatePart{ids: ids}, nil
}
