package pickle

import (
	"fmt"
	"math/big"
)

// Values are nil for None, bool, int64, *big.Int for what an int64 cannot
// hold, float64, string, Bytes, Tuple, *List, *Dict, and whatever the
// functions of Machine return.
type (
	// Bytes is a bytes object.
	Bytes []byte
	// Tuple is a tuple.
	Tuple []any
	// List is a list. It may be a part of itself.
	List struct{ Items []any }
	// Function stands for a global that may be called.
	Function func(args Tuple) (any, error)
)

// Dict is a dictionary, in the order in which its keys were set. It may be a
// part of itself.
type Dict struct {
	Pairs []Pair
	index map[any]int // key to place in Pairs
}

// Pair is an entry of a Dict. Its key is nil, a bool, an int64, a float64 or a
// string.
type Pair struct{ Key, Value any }

// Get returns the value of a key.
func (d *Dict) Get(key any) (value any, ok bool) {
	i, ok := d.index[key]
	if !ok {
		return nil, false
	}
	return d.Pairs[i].Value, true
}

// set sets the value of a key, which keeps its place if it is there.
func (d *Dict) set(key, value any) error {
	switch key.(type) {
	case nil, bool, int64, float64, string:
	default:
		return fmt.Errorf("a %s as the key of a dictionary", TypeName(key))
	}
	if i, ok := d.index[key]; ok {
		d.Pairs[i].Value = value
		return nil
	}
	if d.index == nil {
		d.index = map[any]int{}
	}
	d.index[key] = len(d.Pairs)
	d.Pairs = append(d.Pairs, Pair{key, value})
	return nil
}

// TypeName returns what Python calls a value's type.
func TypeName(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case Bytes:
		return "bytes"
	case Tuple:
		return "tuple"
	case *List:
		return "list"
	case *Dict:
		return "dict"
	case Function:
		return "function"
	}
	return "object"
}
