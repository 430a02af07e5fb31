package tokenizer

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

const (
	cacheSlots = 1 << 15 // words kept; one slot each, the newest word wins
	cacheWord  = 64      // longest word kept, in bytes
)

// cache keeps the ids of words seen lately. It is of fixed size and needs no
// lock: a slot holds a finished word or none, and losing one costs time only.
type cache struct {
	seed  maphash.Seed
	slots [cacheSlots]atomic.Pointer[cachedWord]
}

// cachedWord holds up to four ids in place: most words need no more.
type cachedWord struct {
	word string
	n    int
	few  [4]int32
	many []int32
}

func newCache() *cache { return &cache{seed: maphash.MakeSeed()} }

// append appends the ids of word, from the cache or else from encode.
func (c *cache) append(dst []int32, word string, encode func([]int32, string) []int32) []int32 {
	if len(word) > cacheWord {
		return encode(dst, word)
	}
	slot := &c.slots[maphash.String(c.seed, word)%cacheSlots]
	if w := slot.Load(); w != nil && w.word == word {
		if w.many != nil {
			return append(dst, w.many...)
		}
		return append(dst, w.few[:w.n]...)
	}
	start := len(dst)
	dst = encode(dst, word)
	// The word is a part of the caller's text: keeping it as it is would keep all of that.
	w := &cachedWord{word: strings.Clone(word), n: len(dst) - start}
	if w.n > len(w.few) {
		w.many = append([]int32(nil), dst[start:]...)
	} else {
		copy(w.few[:], dst[start:])
	}
	slot.Store(w)
	return dst
}
