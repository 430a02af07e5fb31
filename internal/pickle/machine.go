package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Machine runs pickles. Its functions say what the pickle's names mean.
type Machine struct {
	// Global returns the value of an imported name, often a Function.
	Global func(module, name string) (any, error)
	// Persistent returns what an id refers to that lies outside of the pickle;
	// nil if there are no such ids.
	Persistent func(id any) (any, error)
}

// Error is a pickle that is broken or that asks for what is not allowed.
type Error struct {
	Offset int // of the opcode in the pickle
	Err    error
}

// Error names the opcode's place.
func (e *Error) Error() string { return fmt.Sprintf("pickle: byte %d: %v", e.Offset, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// maxSteps bounds the time and the memory that a pickle can take: a state
// dictionary has about 40 opcodes for each tensor.
const maxSteps = 8 << 20

// Load runs the pickle at the beginning of data. It returns the value and the
// number of bytes that the pickle has.
func (m Machine) Load(data []byte) (value any, n int, err error) {
	r := &run{Machine: m, data: data, memo: map[uint64]any{}}
	for step := 0; ; step++ {
		start := r.at
		if step == maxSteps {
			return nil, start, &Error{start, fmt.Errorf("more than %d opcodes", maxSteps)}
		}
		done, err := r.step()
		if err != nil {
			return nil, start, &Error{start, err}
		}
		if done {
			return r.stack[0], r.at, nil
		}
	}
}

// run is a pickle that is running.
type run struct {
	Machine
	data  []byte
	at    int
	stack []any
	marks []int // places in stack
	memo  map[uint64]any
}

// step runs one opcode.
func (r *run) step() (done bool, err error) {
	code, err := r.take(1)
	if err != nil {
		return false, err
	}
	op := operations[code[0]]
	switch {
	case op.name == "":
		return false, fmt.Errorf("got %#x, want an opcode", code[0])
	case op.name == "STOP":
		if len(r.stack) != 1 || len(r.marks) > 0 {
			return false, fmt.Errorf("STOP with %d values, want one", len(r.stack))
		}
		return true, nil
	case op.run == nil:
		return false, fmt.Errorf("the opcode %s is not allowed", op.name)
	}
	if err := op.run(r); err != nil {
		return false, fmt.Errorf("%s: %w", op.name, err)
	}
	return false, nil
}

var errEnd = errors.New("the pickle ends here")

// take returns the next n bytes.
func (r *run) take(n uint64) ([]byte, error) {
	if n > uint64(len(r.data)-r.at) {
		return nil, errEnd
	}
	part := r.data[r.at : r.at+int(n)]
	r.at += int(n)
	return part, nil
}

// number reads a little-endian unsigned number of 1 to 8 bytes.
func (r *run) number(size uint64) (uint64, error) {
	var wide [8]byte
	part, err := r.take(size)
	copy(wide[:], part)
	return binary.LittleEndian.Uint64(wide[:]), err
}

// counted reads a length of size bytes and then as many bytes.
func (r *run) counted(size uint64) ([]byte, error) {
	n, err := r.number(size)
	if err != nil {
		return nil, err
	}
	part, err := r.take(n)
	if err != nil {
		return nil, fmt.Errorf("%d bytes of content, of which there are %d", n, len(r.data)-r.at)
	}
	return part, nil
}

// line reads up to the end of a line.
func (r *run) line() (string, error) {
	for i := r.at; i < len(r.data); i++ {
		if r.data[i] == '\n' {
			text := string(r.data[r.at:i])
			r.at = i + 1
			return text, nil
		}
	}
	return "", errEnd
}

func (r *run) push(v any) { r.stack = append(r.stack, v) }

// bottom is the first place in the stack that belongs to the last mark.
func (r *run) bottom() int {
	if len(r.marks) == 0 {
		return 0
	}
	return r.marks[len(r.marks)-1]
}

func (r *run) pop() (any, error) {
	if len(r.stack) <= r.bottom() {
		return nil, errors.New("the stack is empty")
	}
	v := r.stack[len(r.stack)-1]
	r.stack = r.stack[:len(r.stack)-1]
	return v, nil
}

// top returns the last value without taking it.
func (r *run) top() (any, error) {
	v, err := r.pop()
	if err == nil {
		r.push(v)
	}
	return v, err
}

// popMark takes the mark and the values above it.
func (r *run) popMark() ([]any, error) {
	if len(r.marks) == 0 {
		return nil, errors.New("no mark is set")
	}
	from := r.bottom()
	r.marks = r.marks[:len(r.marks)-1]
	values := append([]any(nil), r.stack[from:]...)
	r.stack = r.stack[:from]
	return values, nil
}

func (r *run) float() (float64, error) {
	part, err := r.take(8)
	if err != nil {
		return 0, err
	}
	return math.Float64frombits(binary.BigEndian.Uint64(part)), nil
}
