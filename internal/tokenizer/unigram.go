package tokenizer

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// unknownPenalty is how much worse an unknown character scores than the worst piece.
const unknownPenalty = 10

// maxPiece bounds the pieces of a Unigram model and the added tokens, in bytes:
// looking for them costs up to this many steps for every byte of the text.
const maxPiece = 1 << 10

// unigram chooses the pieces of a word whose scores sum up highest.
type unigram struct {
	vocab        *vocab
	scores       []float64 // by id
	trie         *trie
	cache        *cache
	unk          int32
	unkScore     float64
	byteFallback bool
	fallback     [256]int32 // of "<0x00>" … "<0xFF>", -1 for none
}

// prepare fills the tables that follow from vocabulary and options.
func (m *unigram) prepare() {
	m.cache = newCache()
	lowest := math.Inf(1)
	keys := make([]trieKey, 0, len(m.scores))
	for id, score := range m.scores {
		lowest = min(lowest, score)
		if text := m.vocab.text(int32(id)); len(text) > 0 && m.vocab.find(text) == int32(id) {
			keys = append(keys, trieKey{text, int32(id)})
		}
	}
	m.unkScore = lowest - unknownPenalty
	m.trie = newTrie(keys)
	for b := range 256 {
		m.fallback[b] = m.vocab.find(fmt.Appendf(nil, "<0x%02X>", b))
	}
}

func (m *unigram) encode(dst []int32, word string) []int32 {
	return m.cache.append(dst, word, m.encodeWord)
}

// arrival is the best way to a place of the word: its last piece and its score.
type arrival struct {
	score float64
	start int32 // where the last piece starts, -1 if nothing leads here yet
	id    int32
}

// encodeWord encodes without the cache.
func (m *unigram) encodeWord(dst []int32, word string) []int32 {
	best := m.paths(word)
	type piece struct{ start, end int32 }
	var pieces []piece // from the last to the first; neighbouring unknown ones are one
	wasUnknown := false
	for end := int32(len(word)); end > 0; {
		a := best[end]
		if a.id == m.unk && wasUnknown {
			pieces[len(pieces)-1].start = a.start
		} else {
			pieces = append(pieces, piece{a.start, end})
		}
		wasUnknown = a.id == m.unk
		end = a.start
	}
	for i := len(pieces) - 1; i >= 0; i-- {
		dst = m.appendPiece(dst, word[pieces[i].start:pieces[i].end])
	}
	return dst
}

// paths fills the best arrival for every place from left to right. Of equal
// scores the first found stays: shorter pieces come first at each place.
func (m *unigram) paths(word string) []arrival {
	best := make([]arrival, len(word)+1)
	for i := range best {
		best[i].start = -1
	}
	n := 0
	for i := 0; i < len(word); i += n {
		_, n = utf8.DecodeRuneInString(word[i:])
		here, known := best[i].score, false
		reach := func(end int, score float64, id int32) {
			if b := &best[end]; b.start < 0 || here+score > b.score {
				*b = arrival{score: here + score, start: int32(i), id: id}
			}
		}
		node := int32(0)
		for j := i; j < len(word); j++ {
			if node = m.trie.step(node, word[j]); node == 0 {
				break
			}
			if id := m.trie.nodes[node].value; id >= 0 {
				reach(j+1, m.scores[id], id)
				known = known || j+1-i == n
			}
		}
		if !known {
			reach(i+n, m.unkScore, m.unk)
		}
	}
	return best
}

// appendPiece looks a piece up by its text; unknown ones become bytes or unk.
func (m *unigram) appendPiece(dst []int32, text string) []int32 {
	if id := m.vocab.find([]byte(text)); id >= 0 {
		return append(dst, id)
	}
	if m.byteFallback {
		start := len(dst)
		for i := range len(text) {
			id := m.fallback[text[i]]
			if id < 0 {
				return append(dst[:start], m.unk)
			}
			dst = append(dst, id)
		}
		return dst
	}
	return append(dst, m.unk)
}
