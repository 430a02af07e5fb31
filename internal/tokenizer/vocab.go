package tokenizer

import (
	"hash/maphash"
	"math/bits"
)

// minIDs is the number of ids that any file may use; beyond it, an id must be
// smaller than the file, so that a short file cannot ask for a huge table.
const minIDs = 1 << 20

// vocab maps token texts to ids and back. It is filled once, then only read.
type vocab struct {
	seed  maphash.Seed
	arena []byte // the texts, back to back in the order of add
	spans []span // by id; an end of 0 marks an id without a token
	slots []slot // hash table with open addressing
	count int
}

// span is a range of bytes: [start, end).
type span struct{ start, end uint32 }

// slot is an entry of the hash table. It holds all that a look-up needs but
// the text itself, since every other place to look is a cache miss.
type slot struct {
	hash uint32
	id   int32 // plus one; 0 for empty
	span
}

// newVocab returns a vocabulary with room for n tokens.
func newVocab(n int) *vocab {
	size := 1 << 8
	for size < 2*n {
		size *= 2
	}
	// The first byte is unused, so that a span's end is never 0.
	return &vocab{seed: maphash.MakeSeed(), arena: make([]byte, 1, 1<<12), slots: make([]slot, size)}
}

// slot returns where a text is in the table, or the empty place where it belongs.
func (v *vocab) slot(text []byte) (place *slot, hash uint32) {
	sum := maphash.Bytes(v.seed, text)
	hash = uint32(sum >> 32)
	mask := uint64(len(v.slots) - 1)
	for i := sum & mask; ; i = (i + 1) & mask {
		s := &v.slots[i]
		if s.id == 0 || s.hash == hash && string(v.arena[s.start:s.end]) == string(text) {
			return s, hash
		}
	}
}

// text returns the text of an id that has one.
func (v *vocab) text(id int32) []byte {
	at := v.spans[id]
	return v.arena[at.start:at.end]
}

// has reports whether an id has a token.
func (v *vocab) has(id int32) bool {
	return id >= 0 && int(id) < len(v.spans) && v.spans[id].end != 0
}

// find returns the id of a text, -1 if it has none.
func (v *vocab) find(text []byte) int32 {
	s, _ := v.slot(text)
	return s.id - 1
}

// add enters a token. It returns false, and enters nothing, if the text or the
// id is taken.
func (v *vocab) add(text []byte, id int32) bool {
	if v.has(id) {
		return false
	}
	if 2*v.count >= len(v.slots) {
		v.grow()
	}
	s, hash := v.slot(text)
	if s.id != 0 {
		return false
	}
	start := len(v.arena)
	v.arena = append(v.arena, text...)
	*s = slot{hash, id + 1, span{uint32(start), uint32(len(v.arena))}}
	v.place(id, s.span)
	return true
}

// place enters where an id's text is.
func (v *vocab) place(id int32, at span) {
	for int(id) >= len(v.spans) {
		v.spans = append(v.spans, make([]span, 1+int(id)-len(v.spans))...)
	}
	v.spans[id] = at
	v.count++
}

// alias enters a token whose text may be taken: the text then finds the new id.
// It returns false if the id is taken.
func (v *vocab) alias(text []byte, id int32) bool {
	if v.has(id) {
		return false
	}
	if v.add(text, id) {
		return true
	}
	s, _ := v.slot(text)
	s.id = id + 1
	v.place(id, s.span)
	return true
}

// grow doubles the table.
func (v *vocab) grow() {
	v.slots = make([]slot, 2*len(v.slots))
	for id := range v.spans { // in order, so that of equal texts the last id stays
		if v.has(int32(id)) {
			s, hash := v.slot(v.text(int32(id)))
			*s = slot{hash, int32(id) + 1, v.spans[id]}
		}
	}
}

// merge is what two neighbouring tokens become, and when: the lowest rank of a
// word is merged first.
type merge struct {
	pair uint64 // left id and right id
	rank uint32
	id   uint32
}

func pairOf(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// merges is a hash table from pairs of ids to what they become. An unused
// entry has the pair noPair, which no two ids form.
type merges struct {
	slots []merge
	seed  uint64 // keeps a file from choosing pairs that collide
}

const noPair = 1<<64 - 1

// newMerges returns a table for n pairs.
func newMerges(n int) *merges {
	size := 16
	for size < 2*n {
		size *= 2
	}
	m := &merges{slots: make([]merge, size), seed: maphash.String(maphash.MakeSeed(), "merges") | 1}
	for i := range m.slots {
		m.slots[i].pair = noPair
	}
	return m
}

// at returns the entry of a pair, or the unused one where it belongs.
func (m *merges) at(pair uint64) *merge {
	hi, lo := bits.Mul64(pair^m.seed, 0x9E3779B97F4A7C15)
	mask := uint64(len(m.slots) - 1)
	for i := (hi ^ lo) & mask; ; i = (i + 1) & mask {
		if e := &m.slots[i]; e.pair == pair || e.pair == noPair {
			return e
		}
	}
}

// set enters a pair; a later rank replaces an earlier one.
func (m *merges) set(pair uint64, rank, id uint32) {
	*m.at(pair) = merge{pair: pair, rank: rank, id: id}
}
