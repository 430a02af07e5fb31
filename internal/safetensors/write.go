package safetensors

import (
	"bytes"
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
	return WriteFrom(w, tensors, metadata, func(w io.Writer, t Tensor) error {
		_, err := w.Write(t.Bytes())
		return err
	})
}

// WriteFrom writes as Write does, with the bytes that content writes for each
// tensor. It is for more than memory holds: tensors may be made by Describe.
func WriteFrom(w io.Writer, tensors []Tensor, metadata map[string]string, content func(io.Writer, Tensor) error) error {
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
		c := counter{w: w}
		if err := content(&c, t); err != nil {
			return err
		}
		if c.n != t.length {
			return t.faultf("%d bytes were written for %v, want %d", c.n, t, t.length)
		}
	}
	return nil
}

// counter counts the bytes of one tensor.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// entry is what a header says about a tensor.
type entry struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// buildHeader returns the header's JSON, padded to a multiple of eight bytes.
func buildHeader(sorted []Tensor, metadata map[string]string) ([]byte, error) {
	b := newHeaderBuilder()
	if metadata != nil {
		if err := checkMetadata(metadata); err != nil {
			return nil, err
		}
		b.pair("__metadata__", metadata)
	}
	offset, names := int64(0), map[string]bool{"__metadata__": true}
	for _, t := range sorted {
		if names[t.Name] {
			return nil, t.faultf("the name is reserved or occurs twice")
		}
		names[t.Name] = true
		if err := t.checkWrite(); err != nil {
			return nil, err
		}
		b.pair(t.Name, entry{t.DType.String(), append([]int{}, t.Shape...), [2]int64{offset, offset + t.length}})
		offset += t.length
	}
	return b.finish()
}

// checkWrite makes sure that what is written can be read again.
func (t Tensor) checkWrite() error {
	if !utf8.ValidString(t.Name) {
		return t.faultf("the name is not valid UTF-8")
	}
	need, err := t.byteLen()
	switch {
	case err != nil:
		return err
	case t.DType.Bits() == 0:
		return t.faultf("%v has no type", t)
	case need != t.length:
		return t.faultf("%v needs %d bytes, has %d", t, need, t.length)
	}
	return nil
}

func checkMetadata(metadata map[string]string) error {
	for k, v := range metadata {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("safetensors: metadata %q: %q is not valid UTF-8", k, v)
		}
	}
	return nil
}

// headerBuilder writes an object of JSON, pair by pair. It keeps the first
// error.
type headerBuilder struct {
	buf bytes.Buffer
	enc *json.Encoder
	err error
}

func newHeaderBuilder() *headerBuilder {
	b := &headerBuilder{}
	b.enc = json.NewEncoder(&b.buf)
	b.enc.SetEscapeHTML(false) // as the reference's writer
	b.buf.WriteByte('{')
	return b
}

func (b *headerBuilder) pair(key string, value any) {
	if b.buf.Len() > 1 {
		b.buf.WriteByte(',')
	}
	b.value(key)
	b.buf.WriteByte(':')
	b.value(value)
}

func (b *headerBuilder) value(v any) {
	if err := b.enc.Encode(v); err != nil && b.err == nil {
		b.err = err
	}
	b.buf.Truncate(b.buf.Len() - 1) // the encoder's line end
}

func (b *headerBuilder) finish() ([]byte, error) {
	b.buf.WriteByte('}')
	for b.buf.Len()%8 != 0 {
		b.buf.WriteByte(' ')
	}
	if b.buf.Len() > maxHeader {
		return nil, fmt.Errorf("safetensors: the header would have %d bytes, want at most %d", b.buf.Len(), maxHeader)
	}
	return b.buf.Bytes(), b.err
}
