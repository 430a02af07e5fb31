package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"unicode/utf8"
)

// operation is what an opcode does; run is nil for those that are refused.
type operation struct {
	name string
	run  func(*run) error
}

// operations are Python's opcodes. Those without a function belong to protocols
// 0 and 1, create objects, or refer to what is outside of the pickle.
var operations = [256]operation{
	'(': {"MARK", (*run).mark}, '.': {"STOP", nil}, '0': {"POP", (*run).drop}, '1': {"POP_MARK", (*run).dropMark}, '2': {"DUP", (*run).dup},
	'N': {"NONE", push(nil)}, 0x88: {"NEWTRUE", push(true)}, 0x89: {"NEWFALSE", push(false)},
	'J': {"BININT", (*run).int32}, 'K': {"BININT1", unsigned(1)}, 'M': {"BININT2", unsigned(2)},
	0x8a: {"LONG1", long(1)}, 0x8b: {"LONG4", long(4)}, 'G': {"BINFLOAT", (*run).binFloat},
	'U': {"SHORT_BINSTRING", text(1)}, 'T': {"BINSTRING", text(4)},
	0x8c: {"SHORT_BINUNICODE", text(1)}, 'X': {"BINUNICODE", text(4)}, 0x8d: {"BINUNICODE8", text(8)},
	'C': {"SHORT_BINBYTES", binaryOf(1)}, 'B': {"BINBYTES", binaryOf(4)}, 0x8e: {"BINBYTES8", binaryOf(8)},
	')': {"EMPTY_TUPLE", tuple(0)}, 0x85: {"TUPLE1", tuple(1)}, 0x86: {"TUPLE2", tuple(2)}, 0x87: {"TUPLE3", tuple(3)}, 't': {"TUPLE", (*run).markedTuple},
	']': {"EMPTY_LIST", (*run).emptyList}, 'a': {"APPEND", (*run).append1}, 'e': {"APPENDS", (*run).appends},
	'}': {"EMPTY_DICT", (*run).emptyDict}, 's': {"SETITEM", (*run).setItem}, 'u': {"SETITEMS", (*run).setItems},
	'c': {"GLOBAL", (*run).global}, 0x93: {"STACK_GLOBAL", (*run).stackGlobal}, 'R': {"REDUCE", (*run).reduce}, 'b': {"BUILD", (*run).build},
	'Q': {"BINPERSID", (*run).persistent},
	'q': {"BINPUT", put(1)}, 'r': {"LONG_BINPUT", put(4)}, 0x94: {"MEMOIZE", (*run).memoize}, 'h': {"BINGET", get(1)}, 'j': {"LONG_BINGET", get(4)},
	0x80: {"PROTO", (*run).proto}, 0x95: {"FRAME", (*run).frame},

	'F': {"FLOAT", nil}, 'I': {"INT", nil}, 'L': {"LONG", nil}, 'S': {"STRING", nil}, 'V': {"UNICODE", nil},
	'd': {"DICT", nil}, 'l': {"LIST", nil}, 'g': {"GET", nil}, 'p': {"PUT", nil}, 'P': {"PERSID", nil},
	'i': {"INST", nil}, 'o': {"OBJ", nil}, 0x81: {"NEWOBJ", nil}, 0x92: {"NEWOBJ_EX", nil},
	0x82: {"EXT1", nil}, 0x83: {"EXT2", nil}, 0x84: {"EXT4", nil},
	0x8f: {"EMPTY_SET", nil}, 0x90: {"ADDITEMS", nil}, 0x91: {"FROZENSET", nil},
	0x96: {"BYTEARRAY8", nil}, 0x97: {"NEXT_BUFFER", nil}, 0x98: {"READONLY_BUFFER", nil},
}

func push(v any) func(*run) error {
	return func(r *run) error { r.push(v); return nil }
}

func (r *run) mark() error {
	r.marks = append(r.marks, len(r.stack))
	return nil
}

func (r *run) drop() error {
	_, err := r.pop()
	return err
}

func (r *run) dropMark() error {
	_, err := r.popMark()
	return err
}

func (r *run) dup() error {
	v, err := r.top()
	if err == nil {
		r.push(v)
	}
	return err
}

func unsigned(size uint64) func(*run) error {
	return func(r *run) error {
		n, err := r.number(size)
		r.push(int64(n))
		return err
	}
}

func (r *run) int32() error {
	n, err := r.number(4)
	r.push(int64(int32(uint32(n))))
	return err
}

// long reads a number in two's complement of any length.
func long(size uint64) func(*run) error {
	return func(r *run) error {
		part, err := r.counted(size)
		if err != nil {
			return err
		}
		if len(part) > 64 {
			return fmt.Errorf("a number of %d bytes, want at most 64", len(part))
		}
		r.push(signed(part))
		return nil
	}
}

// signed reads little-endian two's complement.
func signed(part []byte) any {
	reversed := slices.Clone(part)
	slices.Reverse(reversed)
	n := new(big.Int).SetBytes(reversed)
	if len(part) > 0 && part[len(part)-1]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(part))))
	}
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

func (r *run) binFloat() error {
	f, err := r.float()
	r.push(f)
	return err
}

func text(size uint64) func(*run) error {
	return func(r *run) error {
		part, err := r.counted(size)
		if err != nil {
			return err
		}
		if !utf8.Valid(part) {
			return errors.New("the text is not UTF-8")
		}
		r.push(string(part))
		return nil
	}
}

func binaryOf(size uint64) func(*run) error {
	return func(r *run) error {
		part, err := r.counted(size)
		r.push(Bytes(part))
		return err
	}
}

func tuple(n int) func(*run) error {
	return func(r *run) error {
		values := make(Tuple, n)
		for i := n - 1; i >= 0; i-- {
			v, err := r.pop()
			if err != nil {
				return err
			}
			values[i] = v
		}
		r.push(values)
		return nil
	}
}

func (r *run) markedTuple() error {
	values, err := r.popMark()
	r.push(Tuple(values))
	return err
}

func (r *run) emptyList() error {
	r.push(&List{})
	return nil
}

func (r *run) append1() error {
	v, err := r.pop()
	if err != nil {
		return err
	}
	return r.extend([]any{v})
}

func (r *run) appends() error {
	values, err := r.popMark()
	if err != nil {
		return err
	}
	return r.extend(values)
}

func (r *run) extend(values []any) error {
	v, err := r.top()
	if err != nil {
		return err
	}
	list, ok := v.(*List)
	if !ok {
		return fmt.Errorf("got a %s, want a list", TypeName(v))
	}
	list.Items = append(list.Items, values...)
	return nil
}

func (r *run) emptyDict() error {
	r.push(&Dict{})
	return nil
}

func (r *run) setItem() error {
	value, err := r.pop()
	if err != nil {
		return err
	}
	key, err := r.pop()
	if err != nil {
		return err
	}
	return r.update([]any{key, value})
}

func (r *run) setItems() error {
	values, err := r.popMark()
	if err != nil {
		return err
	}
	return r.update(values)
}

func (r *run) update(values []any) error {
	v, err := r.top()
	if err != nil {
		return err
	}
	dict, ok := v.(*Dict)
	if !ok {
		return fmt.Errorf("got a %s, want a dict", TypeName(v))
	}
	if len(values)%2 != 0 {
		return errors.New("a key without a value")
	}
	for i := 0; i < len(values); i += 2 {
		if err := dict.set(values[i], values[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) global() error {
	module, err := r.line()
	if err != nil {
		return err
	}
	name, err := r.line()
	if err != nil {
		return err
	}
	return r.find(module, name)
}

func (r *run) stackGlobal() error {
	name, err := r.pop()
	if err != nil {
		return err
	}
	module, err := r.pop()
	if err != nil {
		return err
	}
	nameText, ok1 := name.(string)
	moduleText, ok2 := module.(string)
	if !ok1 || !ok2 {
		return fmt.Errorf("got a %s and a %s, want two texts", TypeName(module), TypeName(name))
	}
	return r.find(moduleText, nameText)
}

func (r *run) find(module, name string) error {
	if r.Global == nil {
		return fmt.Errorf("the name %.100q of %.100q, want none", name, module)
	}
	v, err := r.Global(module, name)
	if err != nil {
		return err
	}
	r.push(v)
	return nil
}

// reduce calls a function that Global has given.
func (r *run) reduce() error {
	args, err := r.pop()
	if err != nil {
		return err
	}
	callee, err := r.pop()
	if err != nil {
		return err
	}
	tuple, ok := args.(Tuple)
	if !ok {
		return fmt.Errorf("got the arguments as a %s, want a tuple", TypeName(args))
	}
	function, ok := callee.(Function)
	if !ok {
		return fmt.Errorf("a call of a %s", TypeName(callee))
	}
	v, err := function(tuple)
	if err != nil {
		return err
	}
	r.push(v)
	return nil
}

// build gives attributes to an object. Dictionaries of PyTorch have some, which
// say nothing about the tensors; nothing else may have any.
func (r *run) build() error {
	state, err := r.pop()
	if err != nil {
		return err
	}
	v, err := r.top()
	if err != nil {
		return err
	}
	_, isDict := v.(*Dict)
	if _, ok := state.(*Dict); !ok || !isDict {
		return fmt.Errorf("attributes of a %s from a %s", TypeName(v), TypeName(state))
	}
	return nil
}

func (r *run) persistent() error {
	id, err := r.pop()
	if err != nil {
		return err
	}
	if r.Persistent == nil {
		return errors.New("an id of something outside, want none")
	}
	v, err := r.Persistent(id)
	if err != nil {
		return err
	}
	r.push(v)
	return nil
}

func put(size uint64) func(*run) error {
	return func(r *run) error {
		n, err := r.number(size)
		if err != nil {
			return err
		}
		v, err := r.top()
		r.memo[n] = v
		return err
	}
}

func (r *run) memoize() error {
	v, err := r.top()
	r.memo[uint64(len(r.memo))] = v
	return err
}

func get(size uint64) func(*run) error {
	return func(r *run) error {
		n, err := r.number(size)
		if err != nil {
			return err
		}
		v, ok := r.memo[n]
		if !ok {
			return fmt.Errorf("nothing is remembered as %d", n)
		}
		r.push(v)
		return nil
	}
}

func (r *run) proto() error {
	n, err := r.number(1)
	if err == nil && (n < 2 || n > 5) {
		return fmt.Errorf("protocol %d, want 2 to 5", n)
	}
	return err
}

// frame skips the length of what follows, which is for readers of streams.
func (r *run) frame() error {
	part, err := r.take(8)
	if err == nil && binary.LittleEndian.Uint64(part) > uint64(len(r.data)-r.at) {
		return errEnd
	}
	return err
}
