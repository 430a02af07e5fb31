package tokenizer

import (
	"bytes"
	"slices"
)

// trie finds all keys that start at a place of a text. It is built once from
// all keys; a node's children stand side by side, sorted by byte.
type trie struct {
	nodes []trieNode
	first [256]int32 // children of the root by byte, 0 for none
}

type trieNode struct {
	child    int32 // index of the first child
	children uint16
	label    byte
	value    int32 // of the key that ends here, -1 for none
}

// trieKey is a key and what it stands for.
type trieKey struct {
	text  []byte
	value int32
}

// newTrie builds a trie. Of equal keys the first counts; empty keys must not be.
func newTrie(keys []trieKey) *trie {
	keys = slices.Clone(keys)
	slices.SortStableFunc(keys, func(a, b trieKey) int { return bytes.Compare(a.text, b.text) })
	t := &trie{nodes: []trieNode{{value: -1}}}
	type job struct{ node, lo, hi, depth int } // the keys [lo, hi) pass through node
	jobs := []job{{0, 0, len(keys), 0}}
	for len(jobs) > 0 {
		j := jobs[len(jobs)-1]
		jobs = jobs[:len(jobs)-1]
		for j.lo < j.hi && len(keys[j.lo].text) == j.depth {
			if t.nodes[j.node].value < 0 {
				t.nodes[j.node].value = keys[j.lo].value
			}
			j.lo++
		}
		t.nodes[j.node].child = int32(len(t.nodes))
		for j.lo < j.hi {
			label, lo := keys[j.lo].text[j.depth], j.lo
			for j.lo < j.hi && keys[j.lo].text[j.depth] == label {
				j.lo++
			}
			jobs = append(jobs, job{len(t.nodes), lo, j.lo, j.depth + 1})
			t.nodes = append(t.nodes, trieNode{label: label, value: -1})
			t.nodes[j.node].children++
		}
	}
	for i := range t.nodes[0].children {
		at := t.nodes[0].child + int32(i)
		t.first[t.nodes[at].label] = at
	}
	return t
}

// step goes from a node to its child; 0 means that there is none.
func (t *trie) step(node int32, label byte) int32 {
	if node == 0 {
		return t.first[label]
	}
	n := &t.nodes[node]
	lo, hi := n.child, n.child+int32(n.children)
	for lo < hi {
		mid := (lo + hi) / 2
		if t.nodes[mid].label < label {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < n.child+int32(n.children) && t.nodes[lo].label == label {
		return lo
	}
	return 0
}

// longest returns the value and length of the longest key at text[i:], -1 for none.
func (t *trie) longest(text string, i int) (value int32, length int) {
	value = -1
	node := int32(0)
	for j := i; j < len(text); j++ {
		if node = t.step(node, text[j]); node == 0 {
			break
		}
		if t.nodes[node].value >= 0 {
			value, length = t.nodes[node].value, j+1-i
		}
	}
	return value, length
}
