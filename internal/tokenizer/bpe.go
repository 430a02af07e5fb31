package tokenizer

import (
	"fmt"
	"unicode/utf8"
)

// model turns one pre-tokenized word into ids. Implementations are safe for
// concurrent use.
type model interface {
	encode(dst []int32, word string) []int32
}

// bpe merges neighbouring tokens in the order of rank. A word arrives in the
// form of the vocabulary, or as plain bytes if bytes is set (byte-level).
type bpe struct {
	vocab        *vocab
	merges       *merges
	cache        *cache
	bytes        bool
	byteID       [256]int32 // of the character of a byte (byte-level), -1 for none
	fallback     [256]int32 // of "<0x00>" … "<0xFF>", -1 for none
	byteFallback bool
	ignoreMerges bool // a word that is a token is that token
	fuseUnk      bool
	unk          int32  // -1 for none: unknown characters vanish
	prefix       string // continuing_subword_prefix
	suffix       string // end_of_word_suffix
}

// prepare fills the tables that follow from the options.
func (m *bpe) prepare(bytes bool) {
	m.bytes = bytes
	m.cache = newCache()
	for b := range 256 {
		m.byteID[b] = m.vocab.find(utf8.AppendRune(nil, byteChars[b]))
		m.fallback[b] = m.vocab.find(fmt.Appendf(nil, "<0x%02X>", b))
	}
}

func (m *bpe) encode(dst []int32, word string) []int32 {
	return m.cache.append(dst, word, m.encodeWord)
}

// encodeWord encodes without the cache.
func (m *bpe) encodeWord(dst []int32, word string) []int32 {
	var space [256]byte
	if m.ignoreMerges {
		text := space[:0]
		if m.bytes {
			text = appendByteChars(text, word)
		} else {
			text = append(text, word...)
		}
		if id := m.vocab.find(text); id >= 0 {
			return append(dst, id)
		}
	}
	var few [shortWord]int32
	var symbols []int32
	if m.bytes && m.plainBytes() {
		symbols = m.byteSymbols(few[:0], word)
	} else {
		if m.bytes {
			word = string(appendByteChars(space[:0], word))
		}
		symbols = m.symbols(few[:0], word)
	}
	if len(symbols) <= shortWord {
		return m.mergeShort(dst, symbols)
	}
	return m.mergeLong(dst, symbols)
}

// plainBytes reports whether a byte of a byte-level word is a token or nothing,
// without regard to its place.
func (m *bpe) plainBytes() bool {
	return m.unk < 0 && !m.byteFallback && m.prefix == "" && m.suffix == ""
}

// byteSymbols looks every byte up; one without a token vanishes.
func (m *bpe) byteSymbols(dst []int32, word string) []int32 {
	for i := range len(word) {
		if id := m.byteID[word[i]]; id >= 0 {
			dst = append(dst, id)
		}
	}
	return dst
}

// symbols looks every character up: with its affixes, else as bytes, else as
// the unknown token, which waits for the next known character if unknown ones
// are fused. Bytes do not end such a wait.
func (m *bpe) symbols(dst []int32, word string) []int32 {
	var text []byte
	unknown := false // one is waiting
	for i, n := 0, 0; i < len(word); i += n {
		_, n = utf8.DecodeRuneInString(word[i:])
		text = text[:0]
		if i > 0 {
			text = append(text, m.prefix...)
		}
		text = append(text, word[i:i+n]...)
		if i+n == len(word) {
			text = append(text, m.suffix...)
		}
		if id := m.vocab.find(text); id >= 0 {
			if unknown {
				dst = append(dst, m.unk)
				unknown = false
			}
			dst = append(dst, id)
			continue
		}
		if m.byteFallback && m.allBytes(text) {
			for _, b := range text {
				dst = append(dst, m.fallback[b])
			}
			continue
		}
		if m.unk >= 0 {
			if unknown && !m.fuseUnk {
				dst = append(dst, m.unk)
			}
			unknown = true
		}
	}
	if unknown {
		dst = append(dst, m.unk)
	}
	return dst
}

// allBytes reports whether every byte has its fallback token.
func (m *bpe) allBytes(text []byte) bool {
	for _, b := range text {
		if m.fallback[b] < 0 {
			return false
		}
	}
	return true
}

// shortWord is the number of symbols up to which looking through all ranks
// beats a heap.
const shortWord = 48

const noRank = 1<<32 - 1

// mergeShort merges in place: the lowest rank first, of equal ones the leftmost.
func (m *bpe) mergeShort(dst, ids []int32) []int32 {
	var ranks, into [shortWord]uint32 // of the pair that starts at each symbol
	n := len(ids)
	look := func(i int) {
		ranks[i] = noRank
		if i+1 < n {
			if e := m.merges.at(pairOf(ids[i], ids[i+1])); e.pair != noPair {
				ranks[i], into[i] = e.rank, e.id
			}
		}
	}
	for i := range n {
		look(i)
	}
	for {
		best, at := uint32(noRank), -1
		for i, rank := range ranks[:n] {
			if rank < best {
				best, at = rank, i
			}
		}
		if at < 0 {
			return append(dst, ids[:n]...)
		}
		ids[at] = int32(into[at])
		n--
		copy(ids[at+1:n], ids[at+2:])
		copy(ranks[at+1:n], ranks[at+2:])
		copy(into[at+1:n], into[at+2:])
		look(at)
		if at > 0 {
			look(at - 1)
		}
	}
}

// symbol is a link of the list that mergeLong works on.
type symbol struct {
	id         int32 // -1 once merged into its left neighbour
	prev, next int32 // -1 at the ends
}

// candidate is a pair to merge: order is its rank, then its place.
type candidate struct {
	order uint64
	id    uint32
}

// mergeLong merges with a heap, in n log n steps for n symbols. A candidate
// whose symbols have changed since is passed over.
func (m *bpe) mergeLong(dst, ids []int32) []int32 {
	list := make([]symbol, len(ids))
	heap := make(candidates, 0, len(ids))
	for i, id := range ids {
		list[i] = symbol{id: id, prev: int32(i) - 1, next: int32(i) + 1}
	}
	list[len(ids)-1].next = -1
	consider := func(i int32) {
		if next := list[i].next; next >= 0 {
			if e := m.merges.at(pairOf(list[i].id, list[next].id)); e.pair != noPair {
				heap.push(candidate{uint64(e.rank)<<32 | uint64(uint32(i)), e.id})
			}
		}
	}
	for i := range list {
		consider(int32(i))
	}
	for len(heap) > 0 {
		top := heap.pop()
		i := int32(uint32(top.order))
		s := &list[i]
		if s.id < 0 || s.next < 0 {
			continue
		}
		right := list[s.next]
		if e := m.merges.at(pairOf(s.id, right.id)); e.pair == noPair || e.id != top.id {
			continue
		}
		list[s.next].id = -1
		s.id, s.next = int32(top.id), right.next
		if right.next >= 0 {
			list[right.next].prev = i
		}
		if s.prev >= 0 {
			consider(s.prev)
		}
		consider(i)
	}
	for i := range list {
		if list[i].id >= 0 {
			dst = append(dst, list[i].id)
		}
	}
	return dst
}

// candidates is a binary heap, the lowest order on top.
type candidates []candidate

func (h *candidates) push(c candidate) {
	*h = append(*h, c)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if s[up].order <= s[i].order {
			return
		}
		s[up], s[i] = s[i], s[up]
		i = up
	}
}

func (h *candidates) pop() candidate {
	s := *h
	top := s[0]
	last := len(s) - 1
	s[0] = s[last]
	s = s[:last]
	*h = s
	for i := 0; ; {
		low := 2*i + 1
		if low >= last {
			return top
		}
		if low+1 < last && s[low+1].order < s[low].order {
			low++
		}
		if s[i].order <= s[low].order {
			return top
		}
		s[i], s[low] = s[low], s[i]
		i = low
	}
}
