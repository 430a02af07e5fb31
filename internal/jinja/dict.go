package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Dict is a dictionary that keeps the order of insertion, with keys as Python
// compares them: 1, 1.0 and True are one key.
type Dict struct {
	entries []entry
	index   map[any]int // by hash key; nil while the dictionary is small
}

type entry struct {
	hash any
	key  Value
	val  Value
}

// smallDict is the size up to which a linear search is used.
const smallDict = 8

// NewDict returns an empty dictionary.
func NewDict() *Dict { return &Dict{} }

// Len returns the number of entries.
func (d *Dict) Len() int { return len(d.entries) }

// Set stores val under a string key, in place if the key exists.
func (d *Dict) Set(key string, val Value) { d.put(key, key, val) }

// Get returns the value under a string key.
func (d *Dict) Get(key string) (Value, bool) {
	if i := d.find(key); i >= 0 {
		return d.entries[i].val, true
	}
	return nil, false
}

// Keys returns the keys in order; those that are not strings are printed.
func (d *Dict) Keys() []string {
	keys := make([]string, len(d.entries))
	for i, e := range d.entries {
		keys[i], _ = (*run)(nil).toStr(e.key)
	}
	return keys
}

func (d *Dict) find(hash any) int {
	if d.index != nil {
		if i, ok := d.index[hash]; ok {
			return i
		}
		return -1
	}
	for i := range d.entries {
		if d.entries[i].hash == hash {
			return i
		}
	}
	return -1
}

func (d *Dict) put(hash any, key, val Value) {
	if i := d.find(hash); i >= 0 {
		d.entries[i].val = val
		return
	}
	d.entries = append(d.entries, entry{hash, key, val})
	switch {
	case d.index != nil:
		d.index[hash] = len(d.entries) - 1
	case len(d.entries) > smallDict:
		d.index = make(map[any]int, 2*len(d.entries))
		for i, e := range d.entries {
			d.index[e.hash] = i
		}
	}
}

// setValue stores under any hashable key.
func (d *Dict) setValue(r *run, key, val Value) error {
	h, err := r.hashKey(key)
	if err == nil {
		d.put(h, key, val)
	}
	return err
}

// lookup finds a value under any key; an unhashable key is an error.
func (d *Dict) lookup(r *run, key Value) (Value, bool, error) {
	h, err := r.hashKey(key)
	if err != nil {
		return nil, false, err
	}
	if i := d.find(h); i >= 0 {
		return d.entries[i].val, true, nil
	}
	return nil, false, nil
}

// copyFrom adds the entries of other.
func (d *Dict) copyFrom(other *Dict) {
	for _, e := range other.entries {
		d.put(e.hash, e.key, e.val)
	}
}

// Kinds of hash keys that must not meet strings.
type (
	noneKey struct{}
	bigKey  string
	seqKey  string
)

// maxKey bounds the length of a tuple's hash key.
const maxKey = 1 << 20

// hashKey returns a comparable Go value that is equal for keys that Python
// takes as equal.
func (r *run) hashKey(v Value) (any, error) {
	switch x := v.(type) {
	case nil:
		return noneKey{}, nil
	case string:
		return x, nil
	case markup:
		return string(x), nil
	case int64:
		return x, nil
	case bool:
		i, _ := asInt(x)
		return i, nil
	case *big.Int:
		return bigKey(x.String()), nil
	case float64:
		return hashFloat(x), nil
	case *Tuple:
		return r.hashTuple(x)
	case *List, *Dict, *dictView:
		return nil, typeErrorf("unhashable type: '%s'", typeName(v))
	case *Undefined:
		return missing, nil
	case *rangeValue:
		return *x, nil
	}
	return v, nil // by identity
}

func hashFloat(f float64) any {
	if f == math.Trunc(f) && math.Abs(f) < 1<<62 {
		return int64(f)
	}
	if math.IsInf(f, 0) || f != math.Trunc(f) {
		return f
	}
	i, _ := new(big.Float).SetFloat64(f).Int(nil)
	return bigKey(i.String())
}

// hashTuple writes the hash keys of the items one after the other, each with
// its kind and length.
func (r *run) hashTuple(t *Tuple) (any, error) {
	var b strings.Builder
	for _, v := range t.items {
		h, err := r.hashKey(v)
		if err != nil {
			return nil, err
		}
		s := hashText(h)
		if err := r.work(len(s)); err != nil {
			return nil, err
		}
		if b.Len()+len(s) > maxKey {
			return nil, limitErrorf("tuple used as a key is longer than %d bytes", maxKey)
		}
		b.WriteString(strconv.Itoa(len(s)) + ":" + s)
	}
	return seqKey(b.String()), nil
}

// hashText writes a hash key with its kind; what has identity only, as its
// address.
func hashText(h any) string {
	switch h.(type) {
	case string, int64, float64, noneKey, bigKey, seqKey, rangeValue:
		return fmt.Sprintf("%T %v", h, h)
	}
	return fmt.Sprintf("%p", h)
}
