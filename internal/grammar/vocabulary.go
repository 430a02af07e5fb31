package grammar

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// Vocabulary holds the tokens of a tokenizer as a tree of bytes. It does not
// change, and is safe for concurrent use.
type Vocabulary struct {
	size     int
	bytes    [][]byte          // of each id, nil where it is never allowed
	special  map[string]int32  // special tokens by text
	twins    map[int32][]int32 // other ids with the same bytes
	all      trie
	rest     trie       // without the plain tokens
	plain    [][]uint32 // [n] masks of the tokens of 1 to n characters that a string holds as they are
	writable *[256]bool // bytes that are tokens; nil: all that UTF-8 has
	longest  int32      // bytes
}

const (
	maxToken = 255 // bytes of a token; longer ones are never chosen
	maxPlain = 32  // characters of the tokens in plain
)

// Token is what a vocabulary has to know about an id.
type Token struct {
	Bytes   []byte // what the token stands for in the middle of a text; nil: it is never chosen
	Special bool   // it marks something, and its text is not part of the output; only Marker stands for it
}

// NewVocabulary arranges the tokens with the ids from 0.
func NewVocabulary(tokens []Token) *Vocabulary {
	v := &Vocabulary{size: len(tokens), bytes: make([][]byte, len(tokens)), special: map[string]int32{}, twins: map[int32][]int32{}}
	var ids []int32
	single := [256]bool{}
	for i, t := range tokens {
		switch {
		case len(t.Bytes) == 0 || len(t.Bytes) >= maxToken || !t.Special && bytes.IndexByte(t.Bytes, markerByte) >= 0:
			continue
		case t.Special:
			v.special[string(t.Bytes)] = int32(i)
			v.bytes[i] = markerBytes(string(t.Bytes))
		default:
			v.bytes[i] = t.Bytes
			if len(t.Bytes) == 1 {
				single[t.Bytes[0]] = true
			}
		}
		v.longest = max(v.longest, int32(len(v.bytes[i])))
		ids = append(ids, int32(i))
	}
	v.setWritable(&single)
	ids = v.arrange(ids)
	v.all = newTrie(ids, v.bytes)
	v.rest = newTrie(v.sortPlain(ids), v.bytes)
	return v
}

// markerByte begins the bytes that stand for a special token; no UTF-8 text
// has it, so that texts never lead to one.
const markerByte = 0xFF

func markerBytes(text string) []byte { return append([]byte{markerByte}, text...) }

// setWritable compares with the bytes that UTF-8 texts consist of. Where some
// are no tokens on their own, grammars have to do without them: whatever has
// been written can then be continued byte by byte.
func (v *Vocabulary) setWritable(single *[256]bool) {
	for b := range 256 {
		control := b < ' ' && b != '\n' && b != '\t'
		if !single[b] && !control && b != 0x7F && b != 0xC0 && b != 0xC1 && b < 0xF5 {
			v.writable = single
		}
	}
}

// arrange sorts ids by their bytes and sets twins apart.
func (v *Vocabulary) arrange(ids []int32) []int32 {
	slices.SortStableFunc(ids, func(a, b int32) int { return bytes.Compare(v.bytes[a], v.bytes[b]) })
	kept := ids[:0]
	for _, id := range ids {
		if n := len(kept); n > 0 && bytes.Equal(v.bytes[kept[n-1]], v.bytes[id]) {
			v.twins[kept[n-1]] = append(v.twins[kept[n-1]], id)
			continue
		}
		kept = append(kept, id)
	}
	return kept
}

// sortPlain fills plain and returns the other ids.
func (v *Vocabulary) sortPlain(ids []int32) (rest []int32) {
	for range maxPlain + 1 {
		v.plain = append(v.plain, make([]uint32, v.Words()))
	}
	for _, id := range ids {
		n := plainLength(v.bytes[id])
		if n == 0 || n > maxPlain {
			rest = append(rest, id)
			continue
		}
		for ; n <= maxPlain; n++ {
			v.set(v.plain[n], id)
		}
	}
	return rest
}

// plainLength returns the number of characters of a token that a JSON string
// holds as they are, else 0.
func plainLength(b []byte) (n int) {
	if !utf8.Valid(b) {
		return 0
	}
	for _, r := range string(b) {
		if r < ' ' || r == '"' || r == '\\' {
			return 0
		}
		n++
	}
	return n
}

// set marks an id and its twins.
func (v *Vocabulary) set(mask []uint32, id int32) {
	mask[id/32] |= 1 << (id % 32)
	if len(v.twins) > 0 {
		for _, twin := range v.twins[id] {
			mask[twin/32] |= 1 << (twin % 32)
		}
	}
}

// Size returns the number of ids.
func (v *Vocabulary) Size() int { return v.size }

// Words returns the length of a mask: a bit for each id.
func (v *Vocabulary) Words() int { return (v.size + 31) / 32 }

// trie holds tokens by their bytes, in depth-first order.
type trie struct {
	nodes []trieNode
	first [256]int32 // where the tokens that begin with a byte are, -1 for none
}

type trieNode struct {
	token int32 // that ends here, -1 for none
	skip  int32 // the first node that is not below
	label byte
	depth uint8
}

// newTrie takes ids sorted by their bytes, all different.
func newTrie(ids []int32, texts [][]byte) trie {
	var t trie
	for b := range t.first {
		t.first[b] = -1
	}
	var path []int32 // nodes of the text before
	var last []byte
	for _, id := range ids {
		text := texts[id]
		common := 0
		for common < min(len(last), len(text)) && last[common] == text[common] {
			common++
		}
		t.leave(path[common:])
		path = path[:common]
		for i := common; i < len(text); i++ {
			if i == 0 {
				t.first[text[0]] = int32(len(t.nodes))
			}
			path = append(path, int32(len(t.nodes)))
			t.nodes = append(t.nodes, trieNode{token: -1, label: text[i], depth: uint8(i)})
		}
		t.nodes[len(t.nodes)-1].token = id
		last = text
	}
	t.leave(path)
	return t
}

// leave notes where the nodes below some nodes end.
func (t *trie) leave(path []int32) {
	for _, at := range path {
		t.nodes[at].skip = int32(len(t.nodes))
	}
}
