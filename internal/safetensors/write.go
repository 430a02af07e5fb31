package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Write writes one file that holds the tensors and, if it is not nil, the
// metadata. As the reference does, it orders tensors by type, that of the
// largest alignment first, and then by name, so that all are aligned.
func Write(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	sorted := slices.Clone(tensors)
	slices.SortFunc(sorted, func(a, b Tensor) int {
		if a.DType != b.DType {
			return int(b.DType) - int(a.DType)
		}
		return strings.Compare(a.Name, b.Name)
	})
	header, err := buildHeader(sorted, metadata)
	if err != nil {
		return err
	}
	prefix := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	if _, err := w.Write(append(prefix, header...)); err != nil {
		return err
	}
	for _, t := range sorted {
		if _, err := w.Write(t.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// entry is what a header says about a tensor.
type entry struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// buildHeader returns the header's JSON, padded to a multiple of eight bytes.
func buildHeader(sorted []Tensor, metadata map[string]string) ([]byte, error) {
	b, err := appendMetadata([]byte{'{'}, metadata)
	if err != nil {
		return nil, err
	}
	offset, names := int64(0), map[string]bool{"__metadata__": true}
	for _, t := range sorted {
		if names[t.Name] {
			return nil, t.faultf("the name is reserved or occurs twice")
		}
		names[t.Name] = true
		need, err := t.byteLen()
		if err != nil {
			return nil, err
		}
		if t.DType.Bits() == 0 || need != t.length {
			return nil, t.faultf("%v needs %d bytes, has %d", t, need, t.length)
		}
		e := entry{t.DType.String(), append([]int{}, t.Shape...), [2]int64{offset, offset + need}}
		if b, err = appendPair(b, t.Name, e); err != nil {
			return nil, err
		}
		offset += need
	}
	b = append(b, '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	return b, nil
}

func appendMetadata(b []byte, metadata map[string]string) ([]byte, error) {
	if metadata == nil {
		return b, nil
	}
	for k, v := range metadata {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil, fmt.Errorf("safetensors: metadata %q: %q is not valid UTF-8", k, v)
		}
	}
	return appendPair(b, "__metadata__", metadata)
}

// appendPair appends a key and its value to an object of JSON, after a comma
// unless they are its first.
func appendPair(b []byte, key string, value any) ([]byte, error) {
	if !utf8.ValidString(key) {
		return nil, fmt.Errorf("safetensors: tensor %q: the name is not valid UTF-8", key)
	}
	if len(b) > 1 {
		b = append(b, ',')
	}
	k, err := json.Marshal(key)
	if err != nil {
		return nil, err
	}
	v, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return append(append(append(b, k...), ':'), v...), nil
}
