package safetensors

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"unicode/utf8"
)

const (
	prefixLen = 8           // the length of the header comes first
	maxHeader = 100_000_000 // bytes; the reference's limit
	lfsPrefix = "version https://git-lfs"
)

// header returns the JSON text at the start of f. It is a copy, so that names
// outlive the mapping.
func (f *file) header() (string, error) {
	if err := checkNotPointer(f.name, f.data); err != nil {
		return "", err
	}
	size := int64(len(f.data))
	if size < prefixLen {
		return "", faultf(f.name, "the file has %d bytes, want at least %d; the download may be incomplete", size, prefixLen)
	}
	n := binary.LittleEndian.Uint64(f.data)
	if n > maxHeader {
		return "", faultf(f.name, "the header's length is given as %d bytes, want at most %d; this is no safetensors file", n, maxHeader)
	}
	if end := prefixLen + int64(n); end > size {
		return "", faultf(f.name, "the header ends at byte %d, the file has %d: %d bytes are missing; the download may be incomplete", end, size, end-size)
	}
	text := f.data[prefixLen : prefixLen+n]
	if !utf8.Valid(text) {
		return "", faultf(f.name, "the header is not valid UTF-8")
	}
	if n == 0 || text[0] != '{' {
		return "", faultf(f.name, "the header does not begin with '{'")
	}
	return string(text), nil
}

// checkNotPointer recognises what a clone without Git LFS leaves in the place
// of a large file.
func checkNotPointer(name string, data []byte) error {
	if len(data) >= len(lfsPrefix) && string(data[:len(lfsPrefix)]) == lfsPrefix {
		return faultf(name, "this is a Git LFS pointer, not the data; fetch it with git lfs pull")
	}
	return nil
}

// headerParser turns the header of one file into tensors.
type headerParser struct {
	scanner
	file    *file
	dims    []int // what is left of a chunk that shapes are cut from
	tensors []Tensor
	meta    map[string]string
}

// parseHeader returns the tensors of f in the order of their bytes, and its
// metadata. It checks each entry by itself.
func parseHeader(f *file) ([]Tensor, map[string]string, error) {
	text, err := f.header()
	if err != nil {
		return nil, nil, err
	}
	f.base = prefixLen + int64(len(text))
	p := headerParser{
		scanner: scanner{src: text},
		file:    f,
		tensors: make([]Tensor, 0, len(text)/128),
	}
	p.take('{')
	for n := 0; p.more(n, '}'); n++ {
		if err := p.entry(); err != nil {
			return nil, nil, err
		}
	}
	p.end()
	if p.err != "" {
		return nil, nil, faultf(f.name, "header: %s", p.err)
	}
	slices.SortStableFunc(p.tensors, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.length, b.length))
	})
	return p.tensors, p.meta, nil
}

func (p *headerParser) entry() error {
	name := p.key()
	if p.err != "" {
		return nil // the caller sees it
	}
	if name == "__metadata__" {
		return p.metadata()
	}
	p.tensors = append(p.tensors, Tensor{Name: name, file: p.file})
	return p.tensor(&p.tensors[len(p.tensors)-1])
}

func (p *headerParser) metadata() error {
	if p.meta != nil {
		return faultf(p.file.name, "header: duplicate __metadata__")
	}
	p.meta = map[string]string{}
	if p.null() {
		return nil
	}
	p.take('{')
	for n := 0; p.more(n, '}'); n++ {
		k := p.key()
		if _, dup := p.meta[k]; dup {
			return faultf(p.file.name, "__metadata__: duplicate key %q", clip(k, 128))
		}
		p.meta[k] = p.string()
	}
	if p.err != "" {
		return faultf(p.file.name, "__metadata__: %s", p.err)
	}
	return nil
}

// fields of a tensor's entry, as bits
const (
	hasDType = 1 << iota
	hasShape
	hasOffsets
	hasAll = hasDType | hasShape | hasOffsets
)

// tensor reads the entry of t, and checks that its bytes are as many as type
// and shape need. Fields that the format does not define are skipped.
func (p *headerParser) tensor(t *Tensor) error {
	var begin, end int64
	seen := 0
	p.take('{')
	for n := 0; p.more(n, '}'); n++ {
		field, bit := p.key(), 0
		switch field {
		case "dtype":
			bit = hasDType
			name := p.string()
			if t.DType = parseDType(name); t.DType == 0 && p.err == "" {
				return t.faultf("unknown dtype %q", clip(name, 32))
			}
		case "shape":
			bit = hasShape
			t.Shape = p.shape()
		case "data_offsets":
			bit = hasOffsets
			begin, end = p.pair()
		default:
			p.skip(2)
		}
		if seen&bit != 0 {
			return t.faultf("duplicate %s", field)
		}
		seen |= bit
	}
	switch {
	case p.err != "":
		return t.faultf("%s", p.err)
	case seen != hasAll:
		return t.faultf("no %s", missingField(seen))
	}
	return t.place(begin, end)
}

func missingField(seen int) string {
	switch {
	case seen&hasDType == 0:
		return "dtype"
	case seen&hasShape == 0:
		return "shape"
	}
	return "data_offsets"
}

// place gives t the bytes from begin to end of its file's data, if they are as
// many as it needs.
func (t *Tensor) place(begin, end int64) error {
	if begin > end {
		return t.faultf("data_offsets [%d, %d] end before they begin", begin, end)
	}
	if end > math.MaxInt64-t.file.base {
		return t.faultf("data_offsets [%d, %d] overflow", begin, end)
	}
	need, err := t.byteLen()
	if err != nil {
		return err
	}
	if need != end-begin {
		return t.faultf("%v needs %d bytes, data_offsets [%d, %d] hold %d", t, need, begin, end, end-begin)
	}
	t.offset, t.length = t.file.base+begin, need
	return nil
}

// shape reads an array of dimensions. Thousands of shapes share a few chunks.
func (p *headerParser) shape() []int {
	p.take('[')
	start := len(p.dims)
	for n := 0; p.more(n, ']'); n++ {
		d := p.int()
		if d > math.MaxInt {
			p.fail("a dimension that this machine can address")
		}
		if len(p.dims) == cap(p.dims) {
			part := p.dims[start:]
			p.dims = append(make([]int, 0, max(256, 2*len(part))), part...)
			start = 0
		}
		p.dims = append(p.dims, int(d))
	}
	return p.dims[start:len(p.dims):len(p.dims)]
}

// pair reads an array of two integers.
func (p *headerParser) pair() (a, b int64) {
	p.take('[')
	a = p.int()
	p.take(',')
	b = p.int()
	p.take(']')
	return a, b
}

// checkLayout makes sure that the tensors of f, in the order of their bytes,
// cover its data without a gap or an overlap, as the format demands.
func checkLayout(f *file, tensors []Tensor) error {
	at := f.base
	for i, t := range tensors {
		switch {
		case t.offset > at && i == 0:
			return t.faultf("begins at byte %d of the data, want 0: it is the first", t.offset-f.base)
		case t.offset > at:
			return t.faultf("begins at byte %d of the data, %d bytes after the end of tensor %q", t.offset-f.base, t.offset-at, clip(tensors[i-1].Name, 128))
		case t.offset < at: // not the first: no offset is negative
			return t.faultf("begins at byte %d of the data, overlaps tensor %q by %d bytes", t.offset-f.base, clip(tensors[i-1].Name, 128), at-t.offset)
		}
		at = t.offset + t.length
	}
	switch size := int64(len(f.data)); {
	case size < at:
		return faultf(f.name, "the tensors end at byte %d, the file has %d: %d bytes are missing; the download may be incomplete", at, size, at-size)
	case size > at:
		return faultf(f.name, "the tensors end at byte %d, the file has %d: %d bytes belong to no tensor", at, size, size-at)
	}
	return nil
}
