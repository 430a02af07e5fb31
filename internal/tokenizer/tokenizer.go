// Package tokenizer turns text into token ids and ids back into text, as a
// tokenizer.json file (the format of Hugging Face's fast tokenizers) says.
//
// It gives the same ids and the same text as the reference implementation, of
// which it knows: BPE (byte-level or with byte fallback) and Unigram models;
// the normalizers, pre-tokenizers, post-processors and decoders of published
// language models; added tokens with all their flags. What it does not know it
// refuses by name when the file is read: WordPiece and WordLevel models, the
// UnicodeScripts pre-tokenizer, the CTC decoder, dropout, and fields that the
// format does not have. It also refuses "truncation", which would cut prompts
// silently, and "padding", unless that only makes the texts of a batch equal
// in length: texts are encoded one at a time here.
//
// It knows nothing of chat templates or of models, and reads no files. It
// gives ids only, no offsets into the text, and encodes single texts, no pairs.
package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Tokenizer encodes and decodes. It does not change once it is parsed, and is
// safe for concurrent use.
type Tokenizer struct {
	vocab      *vocab
	model      model
	normalizer normalizers
	splitters  []splitter
	words      *splitRule // if not nil, cuts text into words instead of splitters
	prefix     byteLevel  // comes before words
	template   template
	decoders   []decoder

	added           map[string]addedToken // by content
	addedByID       map[int32]addedToken
	raw, normalized *addedSet
	size            int
}

// Parse reads the bytes of a tokenizer.json. Errors name the field, what it
// holds and what it should hold.
func Parse(data []byte) (*Tokenizer, error) {
	f, err := readFile(data)
	if err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	limit := max(len(data), minIDs)
	t := &Tokenizer{vocab: f.model.vocab}
	added, err := readAdded(f.parts["added_tokens"], limit)
	if err != nil {
		return nil, err
	}
	if t.normalizer, err = readNormalizers(f.parts["normalizer"]); err != nil {
		return nil, err
	}
	bytes := false
	if t.splitters, bytes, err = readSplitters(f.parts["pre_tokenizer"]); err != nil {
		return nil, err
	}
	if t.model, err = f.model.build(bytes); err != nil {
		return nil, err
	}
	if t.template, err = readTemplate(f.parts["post_processor"], limit); err != nil {
		return nil, err
	}
	if t.decoders, err = readDecoders(f.parts["decoder"]); err != nil {
		return nil, err
	}
	if bytes {
		t.findWords()
	}
	return t, t.add(added)
}

// check looks at the fields that are only ever one value.
func (f *file) check() error {
	if v := f.parts["version"]; !v.isNull() && v.text != "1.0" {
		return v.errorf("got %s %q, want \"1.0\"", v.kind, clip(v.text))
	}
	if v := f.parts["truncation"]; !v.isNull() {
		return v.errorf("got %s, want null: it would cut prompts without a word", v.kind)
	}
	if v := f.parts["padding"]; !v.isNull() {
		for _, field := range v.fields {
			switch {
			case field.key == "strategy" && field.value.text != "BatchLongest":
				return field.value.errorf("want BatchLongest: texts are not padded here")
			case field.key == "pad_to_multiple_of" && !field.value.isNull():
				return field.value.errorf("got %s, want null: texts are not padded here", field.value.kind)
			}
		}
		if v.kind != "an object" {
			return v.errorf("got %s, want an object or null", v.kind)
		}
	}
	return nil
}

// findWords takes the way of most byte-level models, one known pattern over
// the text, out of the splitters, so that no list of pieces is needed.
func (t *Tokenizer) findWords() {
	last := t.splitters[len(t.splitters)-1].(byteLevel)
	switch {
	case len(t.splitters) == 1 && last.rule != nil:
		t.words, t.prefix = last.rule, byteLevel{prefixSpace: last.prefixSpace}
	case len(t.splitters) == 2 && last.rule == nil && !last.prefixSpace:
		if p, ok := t.splitters[0].(pattern); ok && p.behavior == isolated {
			t.words, _ = p.matcher.(*splitRule)
		}
	}
}

// add enters the added tokens, once everything else is in place.
func (t *Tokenizer) add(tokens []addedToken) error {
	t.added, t.addedByID = map[string]addedToken{}, map[int32]addedToken{}
	t.size = len(t.vocab.spans)
	var sets [2][]addedToken // raw, normalized
	var keys [2][]string
	for _, a := range tokens {
		id := t.vocab.find([]byte(a.content))
		other, taken := t.Token(a.id)
		switch {
		case id >= 0 && id != a.id:
			return fmt.Errorf("tokenizer.json: added_tokens: %q has id %d, and %d in model.vocab", clip(a.content), a.id, id)
		case taken && other != a.content:
			return fmt.Errorf("tokenizer.json: added_tokens: %q has id %d, which is taken by %q", clip(a.content), a.id, clip(other))
		}
		t.added[a.content], t.addedByID[a.id] = a, a
		t.size = max(t.size, int(a.id)+1)
		which, key := 0, a.content
		if a.normalized {
			which = 1
			if key, _ = t.normalizer.normalize(key); key == "" {
				return fmt.Errorf("tokenizer.json: added_tokens: %q is nothing when normalized", clip(a.content))
			}
			if len(key) > maxPiece {
				return fmt.Errorf("tokenizer.json: added_tokens: %q has %d bytes when normalized, want at most %d", clip(a.content), len(key), maxPiece)
			}
		}
		sets[which], keys[which] = append(sets[which], a), append(keys[which], key)
	}
	for i := range sets { // of equal keys, special tokens come first
		sets[i], keys[i] = specialFirst(sets[i], keys[i])
	}
	t.raw, t.normalized = newAddedSet(sets[0], keys[0]), newAddedSet(sets[1], keys[1])
	return nil
}

// specialFirst puts special tokens before the others and keeps the order else.
func specialFirst(tokens []addedToken, keys []string) ([]addedToken, []string) {
	var outTokens []addedToken
	var outKeys []string
	for _, special := range []bool{true, false} {
		for i, t := range tokens {
			if t.special == special {
				outTokens, outKeys = append(outTokens, t), append(outKeys, keys[i])
			}
		}
	}
	return outTokens, outKeys
}

// Encode returns the ids of a text. special says whether the post-processor
// adds its special tokens, such as a beginning of text; added tokens in the
// text itself are always recognised. Bytes that are not UTF-8 count as U+FFFD.
func (t *Tokenizer) Encode(text string, special bool) []int32 {
	if !utf8.ValidString(text) {
		text = lossy([]byte(text))
	}
	return t.template.apply(special, func(dst []int32) []int32 {
		if dst == nil {
			dst = make([]int32, 0, 16+len(text)/3)
		}
		return t.appendText(dst, text)
	})
}

// appendText appends the ids of a text: it takes the added tokens out, first
// from the text as it is and then from what is normalized of the rest.
func (t *Tokenizer) appendText(dst []int32, text string) []int32 {
	token := func(id int32) { dst = append(dst, id) }
	t.raw.split(text, token, func(part string, at int) {
		part, cut := t.normalizer.normalize(part)
		first := at == 0 && !cut
		t.normalized.split(part, token, func(part string, at int) {
			dst = t.appendPiece(dst, piece{part, first && at == 0})
		})
	})
	return dst
}

// appendPiece appends the ids of a text without added tokens.
func (t *Tokenizer) appendPiece(dst []int32, p piece) []int32 {
	if t.words != nil {
		text, c := t.prefix.prefixed(p).text, classes()
		for i := 0; i < len(text); {
			end := t.words.scan(c, text, i)
			dst = t.model.encode(dst, text[i:end])
			i = end
		}
		return dst
	}
	pieces := []piece{p}
	for _, s := range t.splitters {
		var next []piece
		for _, p := range pieces {
			if p.text != "" {
				next = s.split(p, next)
			}
		}
		pieces = next
	}
	for _, p := range pieces {
		if p.text != "" {
			dst = t.model.encode(dst, p.text)
		}
	}
	return dst
}

// Decode returns the text of ids; unknown ids count for nothing. skipSpecial
// leaves special tokens out. The result is UTF-8: broken characters are U+FFFD.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	s := t.NewStream(skipSpecial)
	for _, id := range ids {
		s.push(id)
	}
	return s.Flush()
}

// Stream decodes ids one by one. It is for one goroutine.
type Stream struct {
	t           *Tokenizer
	skipSpecial bool
	keep        map[string]bool // special tokens that are not skipped
	first       stage
	sink        *sink
}

// NewStream returns a Stream. Its texts in a row are what Decode gives for all
// of the ids. The special tokens in keep are not skipped.
func (t *Tokenizer) NewStream(skipSpecial bool, keep ...string) *Stream {
	s := &Stream{t: t, skipSpecial: skipSpecial, keep: map[string]bool{}}
	for _, token := range keep {
		s.keep[token] = true
	}
	s.reset()
	return s
}

func (s *Stream) reset() {
	s.sink = &sink{}
	s.first = s.sink
	for i := len(s.t.decoders) - 1; i >= 0; i-- {
		s.first = s.t.decoders[i].build(s.first)
	}
}

// Next returns the text that is certain with this id and was not before: the
// text of the token, as a rule; "" as long as a character is not complete, or
// where the decoder must see more. It never splits a character.
func (s *Stream) Next(id int32) string {
	s.push(id)
	return s.sink.take()
}

func (s *Stream) push(id int32) {
	text, ok := s.t.Token(id)
	if !ok || s.skipSpecial && s.t.IsSpecial(id) && !s.keep[text] {
		return
	}
	s.first.write(text)
	s.first.end()
}

// Flush ends the text and returns what was held back. The Stream can then be
// used for another text.
func (s *Stream) Flush() string {
	s.first.flush()
	text := s.sink.take()
	s.reset()
	return text
}

// Size returns the highest id plus one; not every id below has a token.
func (t *Tokenizer) Size() int { return t.size }

// ID returns the id of a token, written as in the file.
func (t *Tokenizer) ID(token string) (int32, bool) {
	if a, ok := t.added[token]; ok {
		return a.id, true
	}
	id := t.vocab.find([]byte(token))
	return id, id >= 0
}

// Token returns the token of an id, written as in the file.
func (t *Tokenizer) Token(id int32) (string, bool) {
	if a, ok := t.addedByID[id]; ok {
		return a.content, true
	}
	if !t.vocab.has(id) {
		return "", false
	}
	return string(t.vocab.text(id)), true
}

// Bytes returns the bytes that a token stands for in the middle of a text, nil
// for an id without a token: what Decode makes of it, but that the bytes of a
// broken character stay as they are, and that a space is there which Decode
// drops at the start of a text.
func (t *Tokenizer) Bytes(id int32) []byte {
	text, ok := t.Token(id)
	if !ok {
		return nil
	}
	b := []byte(text)
	for _, d := range t.decoders {
		var done bool
		if b, done = d.bytes(b); done {
			break
		}
	}
	return b
}

// IsSpecial reports whether an id is a special token's, which decoding can skip.
func (t *Tokenizer) IsSpecial(id int32) bool {
	text, ok := t.Token(id)
	return ok && t.added[text].special
}

// String says what the tokenizer consists of, for logs.
func (t *Tokenizer) String() string {
	kind := strings.TrimPrefix(fmt.Sprintf("%T", t.model), "*tokenizer.")
	return fmt.Sprintf("%s tokenizer of %d ids, %d of them added", kind, t.size, len(t.added))
}
