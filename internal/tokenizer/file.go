package tokenizer

import (
	"bytes"
	"fmt"
)

// maxFile bounds a tokenizer.json; the largest published ones have 35 MB.
const maxFile = 1 << 30

// file is a tokenizer.json as read, before its parts are put together.
type file struct {
	parts map[string]*node // everything but the model
	model modelFile
}

// modelFile is the "model" object as read.
type modelFile struct {
	options node // everything but vocab and merges
	vocab   *vocab
	scores  []float64 // of a vocabulary with scores, by id; else nil
	merges  []mergePair
	hasList bool // there is a "merges"
}

// mergePair is an entry of "merges" with its tokens looked up.
type mergePair struct{ left, right int32 }

// readFile reads the whole file. The big parts go straight to their tables.
func readFile(data []byte) (*file, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("tokenizer.json: got %d bytes, want at most %d", len(data), maxFile)
	}
	f := &file{parts: map[string]*node{}}
	s := &scanner{data: data}
	known := []string{"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model"}
	s.object(func(key []byte) {
		k := string(key)
		if f.parts[k] != nil {
			s.fail("appears twice")
			return
		}
		for _, name := range known {
			switch {
			case name != k:
			case k == "model":
				f.parts[k] = &node{kind: "an object"}
				f.model.read(s)
				return
			default:
				n := s.node()
				f.parts[k] = &n
				return
			}
		}
		s.fail("this field is not known to us")
	})
	if s.err == nil && s.next() != 0 || s.err == nil && s.pos < len(data) {
		s.fail("more follows the end of the object")
	}
	if s.err == nil && f.parts["model"] == nil {
		s.fail("model is missing, want an object")
	}
	return f, s.err
}

// read reads the "model" object.
func (m *modelFile) read(s *scanner) {
	m.options = node{path: s.where(), kind: "an object"}
	mergesAt := -1
	var mergesPath []step
	s.object(func(key []byte) {
		for _, f := range m.options.fields {
			if f.key == string(key) {
				s.fail("appears twice")
			}
		}
		switch {
		case string(key) == "vocab" && m.vocab == nil:
			m.readVocab(s)
		case string(key) == "merges" && !m.hasList:
			m.hasList = true
			if m.vocab != nil {
				m.readMerges(s)
				return
			}
			s.next()
			mergesAt, mergesPath = s.pos, append([]step(nil), s.path...)
			mergesPath[len(mergesPath)-1].key = []byte("merges")
			s.skip()
		case string(key) == "vocab" || string(key) == "merges":
			s.fail("appears twice")
		default:
			if len(m.options.fields) == maxFields {
				s.fail("the object has more than %d fields", maxFields)
			}
			m.options.fields = append(m.options.fields, field{key: string(key), value: s.node()})
		}
	})
	if s.err == nil && m.vocab == nil {
		s.fail("model: vocab is missing, want an object or an array")
	}
	if s.err == nil && mergesAt >= 0 {
		again := &scanner{data: s.data, pos: mergesAt, path: mergesPath}
		m.readMerges(again)
		s.err = again.err
	}
}

// readVocab reads {"token": id, …} or [["token", score], …].
func (m *modelFile) readVocab(s *scanner) {
	m.vocab = newVocab(len(s.data) / 64) // about right for published files
	limit := max(len(s.data), minIDs)
	if s.next() == '[' {
		m.readScores(s)
		return
	}
	s.object(func(text []byte) {
		id := s.id(limit)
		if s.err == nil && !m.vocab.add(text, id) {
			if m.vocab.has(id) {
				s.fail("id %d is taken by %q", id, clip(string(m.vocab.text(id))))
			} else {
				s.fail("this token appears twice")
			}
		}
	})
}

// readScores reads [["token", score], …]; a token's index is its id.
func (m *modelFile) readScores(s *scanner) {
	m.scores = []float64{}
	s.array(func(id int) {
		n := 0
		s.array(func(i int) {
			n++
			switch i {
			case 0:
				text := s.bytes()
				if len(text) > maxPiece {
					s.fail("got %d bytes, want at most %d", len(text), maxPiece)
				}
				if s.err == nil && !m.vocab.alias(text, int32(id)) {
					s.fail("id %d is taken", id)
				}
			case 1:
				m.scores = append(m.scores, s.float())
			}
		})
		if s.err == nil && n != 2 {
			s.fail("got an array of %d, want a token and its score", n)
		}
	})
}

// readMerges reads ["a b", …] or [["a", "b"], …].
func (m *modelFile) readMerges(s *scanner) {
	s.array(func(int) {
		if s.next() == '"' {
			line := s.bytes()
			if bytes.HasPrefix(line, []byte("#version")) {
				return
			}
			left, right, ok := bytes.Cut(line, []byte(" "))
			if s.err == nil && (!ok || bytes.IndexByte(right, ' ') >= 0) {
				s.fail("got %q, want two tokens with a space between", clip(string(line)))
				return
			}
			m.addMerge(s, m.lookup(s, left), m.lookup(s, right))
			return
		}
		pair, n := [2]int32{}, 0
		s.array(func(i int) {
			if text := s.bytes(); i < 2 {
				pair[i] = m.lookup(s, text)
			}
			n++
		})
		if s.err == nil && n != 2 {
			s.fail("got an array of %d, want two tokens", n)
		}
		m.addMerge(s, pair[0], pair[1])
	})
}

func (m *modelFile) addMerge(s *scanner, left, right int32) {
	if s.err == nil {
		m.merges = append(m.merges, mergePair{left, right})
	}
}

// lookup finds a token that a merge names.
func (m *modelFile) lookup(s *scanner, text []byte) int32 {
	if s.err != nil {
		return -1
	}
	id := m.vocab.find(text)
	if id < 0 {
		s.fail("the token %q is not in model.vocab", clip(string(text)))
	}
	return id
}

// build makes the model; bytes says that words reach it as plain bytes.
func (m *modelFile) build(bytes bool) (model, error) {
	r := open(&m.options)
	kind := r.str("type")
	switch {
	case r.err != nil:
		return nil, r.err
	case kind == "BPE" && m.scores == nil:
		return m.buildBPE(r, bytes)
	case kind == "Unigram" && m.scores != nil:
		return m.buildUnigram(r, bytes)
	case kind == "BPE" || kind == "Unigram":
		return nil, m.options.errorf("vocab: got %s, want that of a %s model",
			map[bool]string{true: "an object", false: "an array"}[m.scores == nil], kind)
	}
	return nil, m.options.errorf("type %q is not known to us, want BPE or Unigram", clip(kind))
}

// buildBPE reads the options of a BPE model and ranks its merges.
func (m *modelFile) buildBPE(r *reader, bytes bool) (model, error) {
	if d := r.optional("dropout"); r.typed(d, "a number") && d.number != 0 {
		return nil, d.errorf("got %v, want null: chance has no place here", d.number)
	}
	b := &bpe{
		vocab:        m.vocab,
		byteFallback: r.flagOr("byte_fallback", false),
		ignoreMerges: r.flagOr("ignore_merges", false),
		fuseUnk:      r.flagOr("fuse_unk", false),
		prefix:       r.strOr("continuing_subword_prefix", ""),
		suffix:       r.strOr("end_of_word_suffix", ""),
		unk:          -1,
	}
	if unk := r.optional("unk_token"); r.typed(unk, "a string") {
		if b.unk = m.vocab.find([]byte(unk.text)); b.unk < 0 {
			return nil, unk.errorf("%q is not in model.vocab", clip(unk.text))
		}
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	if !m.hasList {
		return nil, m.options.errorf("merges is missing, want an array")
	}
	b.merges = newMerges(len(m.merges))
	text, id := []byte(nil), int32(-1)
	for rank, p := range m.merges {
		right := m.vocab.text(p.right)
		if len(right) < len(b.prefix) {
			return nil, m.options.errorf("merges[%d]: %q is shorter than continuing_subword_prefix", rank, clip(string(right)))
		}
		text = append(append(text[:0], m.vocab.text(p.left)...), right[len(b.prefix):]...)
		if id++; !m.vocab.has(id) || string(m.vocab.text(id)) != string(text) { // tokens mostly stand in the order of merges
			id = m.vocab.find(text)
		}
		if id < 0 {
			return nil, m.options.errorf("merges[%d]: the token %q is not in model.vocab", rank, clip(string(text)))
		}
		b.merges.set(pairOf(p.left, p.right), uint32(rank), uint32(id))
	}
	b.prepare(bytes)
	return b, nil
}

// buildUnigram reads the options of a Unigram model.
func (m *modelFile) buildUnigram(r *reader, bytes bool) (model, error) {
	u := &unigram{
		vocab:        m.vocab,
		scores:       m.scores,
		byteFallback: r.flagOr("byte_fallback", false),
		unk:          int32(r.count("unk_id", max(1, len(m.scores)))),
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	if m.hasList || len(m.scores) == 0 {
		return nil, m.options.errorf("want a Unigram model with a vocab that is not empty and without merges")
	}
	u.prepare()
	if bytes {
		return changed{u}, nil
	}
	return u, nil
}

// changed puts the change of bytes into characters before a model that does
// not do it itself.
type changed struct{ model }

func (c changed) encode(dst []int32, word string) []int32 {
	return c.model.encode(dst, string(appendByteChars(nil, word)))
}
