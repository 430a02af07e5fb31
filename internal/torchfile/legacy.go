package torchfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/godwit-llm/godwit/internal/pickle"
)

// legacy is a file of PyTorch before 1.6: five pickles one after the other (a
// magic number, a version, facts about the machine, the dictionary, the keys of
// the storages), and then each storage's length and bytes.
type legacy struct {
	rest  []byte
	known map[string]*storage
}

var magic, _ = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)

const legacyVersion = 1001

func parseLegacy(data []byte) ([]Tensor, error) {
	l := &legacy{rest: data, known: map[string]*storage{}}
	if err := l.preamble(); err != nil {
		return nil, err
	}
	value, err := l.next(pickle.Machine{Global: global, Persistent: l.storage})
	if err != nil {
		return nil, err
	}
	keys, err := l.next(pickle.Machine{})
	if err != nil {
		return nil, fmt.Errorf("the keys of the storages: %w", err)
	}
	list, ok := keys.(*pickle.List)
	if !ok {
		return nil, fmt.Errorf("the keys of the storages are a %s, want a list", pickle.TypeName(keys))
	}
	for _, key := range list.Items {
		if err := l.contents(key); err != nil {
			return nil, err
		}
	}
	return flatten(value)
}

// next runs the pickle that comes next.
func (l *legacy) next(m pickle.Machine) (any, error) {
	value, n, err := m.Load(l.rest[:min(len(l.rest), maxPickle)])
	l.rest = l.rest[n:]
	return value, err
}

func (l *legacy) preamble() error {
	number, err := l.next(pickle.Machine{})
	if err != nil {
		return err
	}
	if n, ok := number.(*big.Int); !ok || n.Cmp(magic) != 0 {
		return errors.New("the file does not begin with PyTorch's magic number")
	}
	version, err := l.next(pickle.Machine{})
	if err != nil {
		return err
	}
	if version != int64(legacyVersion) {
		return fmt.Errorf("the file's version is %v, want %d", version, legacyVersion)
	}
	facts, err := l.next(pickle.Machine{})
	if err != nil {
		return err
	}
	if dict, ok := facts.(*pickle.Dict); ok {
		if little, ok := dict.Get("little_endian"); ok && little == true {
			return nil
		}
	}
	return errors.New("the file does not say that its byte order is little-endian")
}

// storage returns the storage that a reference means, whose bytes come later.
func (l *legacy) storage(id any) (any, error) {
	s, err := parseID(id)
	if err != nil {
		return nil, err
	}
	if old := l.known[s.key]; old != nil {
		if old.size != s.size || old.kind != s.kind {
			return nil, fmt.Errorf("storage %.100q is once %d bytes of %s and once %d of %s", s.key, old.size, old.kind.name, s.size, s.kind.name)
		}
		return old, nil
	}
	l.known[s.key] = s
	return s, nil
}

// contents takes the bytes of the storage that comes next.
func (l *legacy) contents(key any) error {
	name, _ := key.(string)
	s := l.known[name]
	if s == nil || s.data != nil {
		return fmt.Errorf("the bytes of storage %.100q, which no tensor has, or which came before", name)
	}
	if len(l.rest) < 8 {
		return fmt.Errorf("the bytes of storage %.100q are missing; the download may be incomplete", name)
	}
	count := binary.LittleEndian.Uint64(l.rest)
	l.rest = l.rest[8:]
	if width := uint64(s.kind.dtype.Size()); count > 1<<55 || int64(count*width) != s.size {
		return fmt.Errorf("storage %.100q has %d elements, want %d bytes", name, count, s.size)
	}
	if int64(len(l.rest)) < s.size {
		return fmt.Errorf("storage %.100q has %d bytes, want %d; the download may be incomplete", name, len(l.rest), s.size)
	}
	s.data, l.rest = l.rest[:s.size:s.size], l.rest[s.size:]
	return nil
}
