package tokenizer

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// charsmap is the Precompiled normalizer: a table of replacements that
// SentencePiece compiles into a double array and stores in the model.
type charsmap struct {
	units []uint32 // the double array
	texts string   // the replacements, each ended by a zero byte
}

// newCharsmap decodes the table: the length of the double array in bytes, the
// array, the texts.
func newCharsmap(encoded string) (*charsmap, error) {
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	if len(data) < 4 {
		return nil, fmt.Errorf("got %d bytes, want at least 4", len(data))
	}
	size := uint64(binary.LittleEndian.Uint32(data))
	if data = data[4:]; size/4*4 > uint64(len(data)) || size < 4 {
		return nil, fmt.Errorf("the table says %d bytes, %d follow", size, len(data))
	}
	m := &charsmap{units: make([]uint32, size/4), texts: string(data[size/4*4:])}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	if !utf8.ValidString(m.texts) {
		return nil, errors.New("the replacements are not UTF-8")
	}
	return m, nil
}

// find returns the replacement of the shortest entry that key starts with.
func (m *charsmap) find(key string) (string, bool) {
	offset := func(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }
	at := offset(m.units[0])
	for i := range len(key) {
		c := uint32(key[i])
		if at ^= c; c == 0 || int(at) >= len(m.units) {
			return "", false
		}
		unit := m.units[at]
		if unit&(1<<31|0xFF) != c {
			return "", false
		}
		at ^= offset(unit)
		if unit>>8&1 == 1 {
			if int(at) >= len(m.units) {
				return "", false
			}
			return m.text(m.units[at] &^ (1 << 31))
		}
	}
	return "", false
}

// text returns the replacement that starts at a place.
func (m *charsmap) text(at uint32) (string, bool) {
	if uint64(at) > uint64(len(m.texts)) {
		return "", false
	}
	text, _, _ := strings.Cut(m.texts[at:], "\x00")
	return text, utf8.ValidString(text)
}

// normalize replaces grapheme by grapheme: a short one that starts with an
// entry becomes that entry's replacement as a whole, others go by character.
func (m *charsmap) normalize(s string) (string, bool) {
	var b strings.Builder
	b.Grow(len(s))
	state := -1
	for len(s) > 0 {
		var cluster string
		cluster, s, _, state = uniseg.FirstGraphemeClusterInString(s, state)
		if len(cluster) < 6 && b.Len() < maxText {
			if text, ok := m.find(cluster); ok {
				b.WriteString(text)
				continue
			}
		}
		for _, r := range cluster {
			if text, ok := m.find(string(r)); ok && b.Len() < maxText {
				b.WriteString(text)
			} else {
				b.WriteRune(r)
			}
		}
	}
	return b.String(), false
}
