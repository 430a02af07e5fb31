package grammar

import (
	"fmt"
	"strings"

	"github.com/godwit-llm/godwit/internal/regular"
)

// Expr is a part of a grammar.
type Expr interface {
	// build returns the node at which the part starts, in front of next.
	build(b *builder, next int32) int32
}

// Options of a compilation. The zero value works.
type Options struct {
	// Vocabulary, if it lacks some of the bytes of UTF-8, narrows the grammar
	// to the texts that its tokens can write byte by byte.
	Vocabulary *Vocabulary
}

// Compile makes a grammar of an expression. What cannot be kept exactly is
// refused: see the errors' classes ErrUnsupported, ErrTooLarge and ErrEmpty.
func Compile(e Expr, o Options) (*Grammar, error) {
	b := newBuilder()
	start := e.build(b, b.end)
	var writable *[256]bool
	if o.Vocabulary != nil {
		writable = o.Vocabulary.writable
	}
	g, err := b.finish(start, writable)
	if err != nil {
		return nil, fmt.Errorf("grammar: %w", err)
	}
	return g, nil
}

// Literal is a text as it stands.
func Literal(text string) Expr { return literal(text) }

type literal string

func (l literal) build(b *builder, next int32) int32 { return b.literal(string(l), next) }

// Marker is a text that may also come as the special token of that name, such
// as <tool_call>.
func Marker(text string) Expr { return marker(text) }

type marker string

func (m marker) build(b *builder, next int32) int32 {
	token := next
	text := markerBytes(string(m))
	for i := len(text) - 1; i >= 0; i-- {
		token = b.add(node{edges: []edge{{text[i], text[i], token}}, kind: markerNode})
	}
	return b.choice(b.literal(string(m), next), token)
}

// Sequence is one part after the other.
func Sequence(parts ...Expr) Expr { return sequence(parts) }

type sequence []Expr

func (s sequence) build(b *builder, next int32) int32 {
	for i := len(s) - 1; i >= 0 && !b.full(); i-- {
		next = s[i].build(b, next)
	}
	return next
}

// Choice is any one of the parts.
func Choice(parts ...Expr) Expr { return choice(parts) }

type choice []Expr

func (c choice) build(b *builder, next int32) int32 {
	var starts []int32
	for _, part := range c {
		starts = append(starts, part.build(b, next))
	}
	return b.choice(starts...)
}

// Optional is a part or nothing.
func Optional(part Expr) Expr { return Choice(part, Literal("")) }

// Repeat is a part least to most times; most below 0 is no limit. The part
// must not be empty.
func Repeat(part Expr, least, most int) Expr { return repeat{part, least, most} }

type repeat struct {
	part        Expr
	least, most int
}

func (r repeat) build(b *builder, next int32) int32 {
	if r.most >= 0 && r.least > r.most || r.least < 0 {
		b.fail(fmt.Errorf("repeat %d to %d times", r.least, r.most))
	}
	body := r.part.build(b, b.end)
	return b.add(node{count: &counted{body, next, int32(r.least), int32(r.most)}})
}

// Until is any text up to the first place where a marker stands, and the
// marker. The marker may come as the special token of that name.
func Until(mark string) Expr { return until(mark) }

type until string

func (u until) build(b *builder, next int32) int32 {
	if u == "" {
		b.fail(fmt.Errorf("text until nothing"))
		return next
	}
	free, err := regular.Without(string(u))
	if err != nil {
		b.fail(err)
		return next
	}
	return b.automaton(free, Marker(string(u)).build(b, next))
}

// Pattern is a text that a regular expression matches from end to end.
func Pattern(expr string) Expr { return pattern(expr) }

type pattern string

func (p pattern) build(b *builder, next int32) int32 {
	d, err := regular.Whole(string(p), regular.Plain)
	if err != nil {
		b.fail(err)
		return next
	}
	return b.automaton(d, next)
}

// JSON is any JSON value.
func JSON() Expr { return mustSchema(`true`) }

// JSONObject is any JSON object.
func JSONObject() Expr { return mustSchema(`{"type": "object"}`) }

func mustSchema(text string) Expr {
	e, err := Schema([]byte(text))
	if err != nil {
		panic(err) // a constant
	}
	return e
}

// Parameters are the properties of an object schema in turn, each between two
// texts, in the way of <parameter=name>\n…\n</parameter>. Strings stand there
// as they are, without quotes and escapes, and do not contain the text that
// ends them; everything else is JSON.
func Parameters(schema []byte, before func(name string) string, after string) (Expr, error) {
	s, err := readSchema(schema)
	if err != nil {
		return nil, err
	}
	if after == "" || strings.TrimSpace(after) == "" {
		return nil, fmt.Errorf("grammar: parameters end with %q, want a text", after)
	}
	return parameters{s, before, after}, nil
}
