package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// normalizer rewrites text before it is cut into words. cut reports that the
// text's start was taken away, which Metaspace asks for.
type normalizer interface {
	normalize(s string) (out string, cut bool)
}

// normalizers applies several, one after the other.
type normalizers []normalizer

func (n normalizers) normalize(s string) (string, bool) {
	cut := false
	for _, step := range n {
		var c bool
		if s, c = step.normalize(s); c {
			cut = true
		}
	}
	return s, cut
}

// rewrite is a normalizer that never takes away the start alone.
type rewrite func(string) string

func (f rewrite) normalize(s string) (string, bool) { return f(s), false }

// filter is a normalizer that deletes the characters it returns -1 for and
// maps the others to its result.
type filter func(rune) rune

func (f filter) normalize(s string) (string, bool) {
	first, _ := utf8.DecodeRuneInString(s)
	return strings.Map(f, s), s != "" && f(first) < 0
}

// strip takes away white space at the ends.
type strip struct{ left, right bool }

func (n strip) normalize(s string) (string, bool) {
	cut := false
	if n.left {
		out := strings.TrimLeftFunc(s, unicode.IsSpace)
		s, cut = out, len(out) < len(s)
	}
	if n.right {
		s = strings.TrimRightFunc(s, unicode.IsSpace)
	}
	return s, cut
}

// prepend puts a text before any text that is not empty.
type prepend string

func (n prepend) normalize(s string) (string, bool) {
	if s == "" {
		return s, false
	}
	return string(n) + s, false
}

// replace puts content in the place of every match. It is a normalizer and,
// for every token, a decoder.
type replace struct {
	matcher matcher
	content string
	limit   int // a text that would grow beyond this many bytes stays as it is
}

const (
	maxText  = 1 << 28 // to which replacements may make a text grow, in bytes
	maxToken = 1 << 22 // … and a token that is decoded
)

func (n replace) normalize(s string) (string, bool) {
	if l, ok := n.matcher.(literal); ok && l != "" {
		if len(n.content) > len(l) && n.tooLong(s, strings.Count(s, string(l))) {
			return s, false
		}
		_, size := utf8.DecodeRuneInString(string(l))
		cut := strings.HasPrefix(s, string(l)) && (n.content == "" || size < len(l))
		return strings.ReplaceAll(s, string(l), n.content), cut
	}
	if s == "" {
		return s, false
	}
	spans := n.matcher.matches(s, nil)
	if len(spans) == 0 || n.tooLong(s, len(spans)) {
		return s, false
	}
	var b strings.Builder
	at := uint32(0)
	for _, m := range spans {
		b.WriteString(s[at:m.start])
		b.WriteString(n.content)
		at = m.end
	}
	b.WriteString(s[at:])
	_, size := utf8.DecodeRuneInString(s)
	first := spans[0]
	return b.String(), first.start == 0 && first.end > 0 && (n.content == "" || size < int(first.end))
}

// tooLong reports whether a number of replacements could make s too long.
func (n replace) tooLong(s string, count int) bool {
	return len(n.content) > 0 && count > (n.limit-min(n.limit, len(s)))/len(n.content)
}

// nmt maps and deletes control characters as the NMT rules have it.
func nmt(r rune) rune {
	switch {
	case r >= 0x01 && r <= 0x08, r == 0x0B, r >= 0x0E && r <= 0x1F, r == 0x7F, r == 0x8F, r == 0x9F:
		return -1
	case r == '\t', r == '\n', r == '\f', r == '\r', r == 0x1680, r >= 0x200B && r <= 0x200F,
		r == 0x2028, r == 0x2029, r == 0x2581, r == 0xFEFF, r == 0xFFFD:
		return ' '
	}
	return r
}

// deleting returns a filter that deletes the characters of a class.
func deleting(class uint32) filter {
	c := classes()
	return func(r rune) rune {
		if c.of(r)&class != 0 {
			return -1
		}
		return r
	}
}

// cleanText deletes control characters and makes all white space a space.
func cleanText() filter {
	c := classes()
	return func(r rune) rune {
		switch class := c.of(r); {
		case class&clsJunk != 0:
			return -1
		case class&clsSpace != 0:
			return ' '
		}
		return r
	}
}

// spaceIdeographs puts spaces around Chinese characters.
func spaceIdeographs(s string) string {
	var b strings.Builder
	for _, r := range s {
		if ideograph(r) {
			b.WriteString(" " + string(r) + " ")
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// ideograph reports whether BERT takes a character for Chinese.
func ideograph(r rune) bool {
	return r >= 0x4E00 && r <= 0x9FFF || r >= 0x3400 && r <= 0x4DBF ||
		r >= 0x20000 && r <= 0x2A6DF || r >= 0x2A700 && r <= 0x2B73F ||
		r >= 0x2B740 && r <= 0x2B81F || r >= 0x2B920 && r <= 0x2CEAF ||
		r >= 0xF900 && r <= 0xFAFF || r >= 0x2F800 && r <= 0x2FA1F
}

// readNormalizers reads "normalizer", flattened; nil for none.
func readNormalizers(n *node) (normalizers, error) {
	if n.isNull() {
		return nil, nil
	}
	return readNormalizer(n, nil)
}

// plainNormalizers are the normalizers without options.
var plainNormalizers = map[string]func() normalizer{
	"NFC":          func() normalizer { return rewrite(nfc) },
	"NFD":          func() normalizer { return rewrite(nfd) },
	"NFKC":         func() normalizer { return rewrite(nfkc) },
	"NFKD":         func() normalizer { return rewrite(nfkd) },
	"Lowercase":    func() normalizer { return rewrite(lowercase) },
	"Nmt":          func() normalizer { return filter(nmt) },
	"StripAccents": func() normalizer { return deleting(clsMark) },
	"ByteLevel": func() normalizer {
		return rewrite(func(s string) string { return string(appendByteChars(nil, s)) })
	},
}

// maxSteps bounds the steps of each part of the file, when flattened.
const maxSteps = 64

// readNormalizer reads one normalizer and appends its steps.
func readNormalizer(n *node, out normalizers) (normalizers, error) {
	r, kind := kindOf(n)
	if r.err != nil {
		return nil, r.err
	}
	if len(out) > maxSteps {
		return nil, n.errorf("more than %d steps", maxSteps)
	}
	if plain := plainNormalizers[kind]; plain != nil {
		return append(out, plain()), r.done()
	}
	switch kind {
	case "Sequence":
		for _, child := range r.list("normalizers") {
			var err error
			if out, err = readNormalizer(&child, out); err != nil {
				return nil, err
			}
		}
	case "Replace":
		out = append(out, replace{readPattern(r, "pattern"), r.str("content"), maxText})
	case "Prepend":
		text := r.str("prepend")
		if len(text) > maxPiece {
			return nil, n.errorf("prepend: got %d bytes, want at most %d", len(text), maxPiece)
		}
		out = append(out, prepend(text))
	case "Strip":
		out = append(out, strip{r.flag("strip_left"), r.flag("strip_right")})
	case "BertNormalizer":
		out = append(out, readBert(r)...)
	case "Precompiled":
		p, err := newCharsmap(r.str("precompiled_charsmap"))
		if err != nil && r.err == nil {
			r.err = n.errorf("precompiled_charsmap: %v", err)
		}
		out = append(out, p)
	default:
		return nil, n.errorf("type %q is not known to us", clip(kind))
	}
	return out, r.done()
}

// readBert reads BertNormalizer as the steps it stands for.
func readBert(r *reader) normalizers {
	var out normalizers
	if r.flag("clean_text") {
		out = append(out, cleanText())
	}
	if r.flag("handle_chinese_chars") {
		out = append(out, rewrite(spaceIdeographs))
	}
	lower := r.flag("lowercase")
	if r.flagOr("strip_accents", lower) {
		out = append(out, rewrite(nfd), deleting(clsAccent))
	}
	if lower {
		out = append(out, rewrite(lowercase))
	}
	return out
}
