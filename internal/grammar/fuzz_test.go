package grammar

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// FuzzSchema compiles any schema. What compiles yields documents, which another
// implementation accepts wherever it knows the schema.
func FuzzSchema(f *testing.F) {
	for _, c := range suite {
		f.Add([]byte(c.schema), uint64(1))
	}
	for _, c := range refused {
		f.Add([]byte(c.schema), uint64(2))
	}
	v := bytesVocabulary()
	f.Fuzz(func(t *testing.T, schema []byte, seed uint64) {
		e, err := Schema(schema)
		if err != nil {
			return
		}
		g, err := Compile(e, Options{Vocabulary: v})
		if err != nil || g.Len() > 20000 {
			return
		}
		m := NewMasks(g, v)
		s := elsewhere(schema)
		rng := rand.New(rand.NewPCG(seed, 1))
		for range 3 {
			x, document := m.NewMatcher([]int32{endOf(v)}), ""
			mask := make([]uint32, v.Words())
			for range 300 {
				x.Mask(mask)
				id := chooseToken(rng, v, mask, len(document) > 100, endOf(v))
				if id < 0 {
					t.Fatalf("%s: nothing is allowed after %q", schema, document)
				}
				if err := x.Accept(id); err != nil {
					t.Fatalf("%s: %v", schema, err)
				}
				if id == endOf(v) {
					if err := check(s, document); err != nil {
						t.Fatalf("%s: %s: %v", schema, document, err)
					}
					break
				}
				document += string(v.bytes[id])
			}
		}
	})
}

// elsewhere compiles a schema elsewhere; nil if it is not known there.
func elsewhere(schema []byte) *jsonschema.Schema {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(schema)))
	if err != nil {
		return nil
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if c.AddResource("schema.json", doc) != nil {
		return nil
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		return nil
	}
	return s
}

func check(s *jsonschema.Schema, document string) error {
	if s == nil {
		return nil
	}
	return fits(s, document)
}
