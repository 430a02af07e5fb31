package grammar

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

func masksOf(t testing.TB, e Expr, v *Vocabulary) *Masks {
	t.Helper()
	g, err := Compile(e, Options{Vocabulary: v})
	if err != nil {
		t.Fatal(err)
	}
	return NewMasks(g, v)
}

// slowly returns the mask by trying every token.
func slowly(x *Matcher) []uint32 {
	mask := make([]uint32, x.masks.vocabulary.Words())
	for id := range int32(x.masks.vocabulary.Size()) {
		if x.Accept(id) == nil {
			mask[id/32] |= 1 << (id % 32)
			if err := x.Rollback(1); err != nil {
				panic(err)
			}
		}
	}
	return mask
}

// TestMaskIsExact compares masks with trying all tokens, on random walks, with
// what the nodes allow found before and anew.
func TestMaskIsExact(t *testing.T) {
	v := bytesVocabulary()
	end := endOf(v)
	rng := rand.New(rand.NewPCG(7, 8))
	exprs := []Expr{JSON(), Until("</end>"), toolCall(), Sequence(Repeat(Choice(Literal("ab"), Literal("a")), 2, 4), Optional(Literal("c")))}
	for _, c := range suite {
		if e, err := Schema([]byte(c.schema)); err == nil && len(c.good) > 0 {
			exprs = append(exprs, e)
		}
	}
	for i, e := range exprs {
		m := masksOf(t, e, v)
		for range 3 {
			x := m.NewMatcher([]int32{end})
			mask := make([]uint32, v.Words())
			for n := range 25 {
				x.Mask(mask)
				if want := slowly(x); !slices.Equal(mask, want) {
					t.Fatalf("expression %d, token %d: masks differ: %s", i, n, difference(v, mask, want))
				}
				id := chooseToken(rng, v, mask, false, end)
				if id < 0 || id == end {
					break
				}
				if err := x.Accept(id); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func difference(v *Vocabulary, got, want []uint32) string {
	var out []string
	for id := range int32(v.Size()) {
		if has(got, id) != has(want, id) {
			out = append(out, fmt.Sprintf("%d %q in the mask: %v", id, v.bytes[id], has(got, id)))
		}
	}
	return strings.Join(out, ", ")
}

// toolCall is a call of one of two functions, as several models write it.
func toolCall() Expr {
	call := func(name, schema string) Expr {
		arguments, err := Schema([]byte(schema))
		if err != nil {
			panic(err)
		}
		return Sequence(Literal(`{"name": "`+name+`", "arguments": `), arguments, Literal("}"))
	}
	one := Sequence(Marker("<tool_call>"), Literal("\n"), Choice(
		call("weather", `{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}`),
		call("time", `{"type":"object","properties":{"zone":{"enum":["utc","cet"]}}}`),
	), Literal("\n"), Marker("</tool_call>"))
	return Sequence(one, Repeat(Sequence(Literal("\n"), one), 0, 3))
}

func TestToolCalls(t *testing.T) {
	v := bytesVocabulary()
	m := masksOf(t, toolCall(), v)
	weather := "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Köln\"}}\n</tool_call>"
	clock := "<tool_call>\n{\"name\": \"time\", \"arguments\": {}}\n</tool_call>"
	for text, want := range map[string]bool{
		weather: true, clock: true, weather + "\n" + clock: true, strings.Repeat(clock+"\n", 3) + clock: true,
		strings.Repeat(clock+"\n", 4) + clock: false, weather + clock: false, "": false,
		strings.Replace(clock, "{}", `{"city":"x"}`, 1): false, strings.Replace(clock, "time", "date", 1): false,
	} {
		if accepts(m, text) != want {
			t.Errorf("%q: got %v, want %v", text, !want, want)
		}
	}
}

func TestJSONListOfCalls(t *testing.T) {
	e, err := Schema([]byte(`{"type":"array","minItems":1,"items":{"anyOf":[
		{"type":"object","properties":{"name":{"const":"f"},"arguments":{"type":"object","properties":{"x":{"type":"integer"}},"required":["x"]}},"required":["name","arguments"]},
		{"type":"object","properties":{"name":{"const":"g"},"arguments":{"type":"object"}},"required":["name","arguments"]}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	m := masksOf(t, Sequence(Literal("<TOOLCALL>"), e, Literal("</TOOLCALL>")), bytesVocabulary())
	for text, want := range map[string]bool{
		`<TOOLCALL>[{"name": "f", "arguments": {"x": 1}}, {"name": "g", "arguments": {"y": []}}]</TOOLCALL>`: true,
		`<TOOLCALL>[]</TOOLCALL>`: false, `<TOOLCALL>[{"name": "f", "arguments": {}}]</TOOLCALL>`: false,
	} {
		if accepts(m, text) != want {
			t.Errorf("%q: got %v, want %v", text, !want, want)
		}
	}
}

func TestParameters(t *testing.T) {
	e, err := Parameters([]byte(`{"type":"object","$defs":{"n":{"type":"integer"}},"properties":{
		"text":{"type":"string"},"count":{"$ref":"#/$defs/n"},"unit":{"type":"string","enum":["C","F"]},
		"code":{"type":"string","pattern":"^[a-z]+$","maxLength":3},"maybe":{"type":["string","null"]},"list":{"type":"array"}},
		"required":["text","count"]}`), func(name string) string { return "<parameter=" + name + ">\n" }, "\n</parameter>\n")
	if err != nil {
		t.Fatal(err)
	}
	m := masksOf(t, Sequence(Literal("<function=f>\n"), e, Literal("</function>")), bytesVocabulary())
	parameter := func(name, text string) string { return "<parameter=" + name + ">\n" + text + "\n</parameter>\n" }
	text, count := parameter("text", "a \"b\"\n\n<c> é\n</parameter"), parameter("count", "12")
	for body, want := range map[string]bool{
		text + count:                                     true,
		text + count + parameter("unit", "C"):            true,
		text + count + parameter("unit", `"C"`):          false,
		text + count + parameter("code", "abc"):          true,
		text + count + parameter("code", "abcd"):         false,
		text + count + parameter("maybe", "null"):        true,
		text + count + parameter("maybe", "any\ntext"):   true,
		text + count + parameter("list", `[1, {"a":2}]`): true,
		text + count + parameter("list", `1`):            false,
		text:                                             false,
		count + text:                                     false,
		text + parameter("count", "many"):                false,
		parameter("text", "") + count:                    true,
		parameter("text", "x\n</parameter>\n") + count:   false,
	} {
		if got := accepts(m, "<function=f>\n"+body+"</function>"); got != want {
			t.Errorf("%q: got %v, want %v", body, got, want)
		}
	}
	for _, after := range []string{"", "\n"} {
		if _, err := Parameters([]byte(`{"type":"object"}`), nil, after); err == nil {
			t.Errorf("parameters that end with %q: no error", after)
		}
	}
	e, err = Parameters([]byte(`{"anyOf":[{"type":"object"},{"type":"object","properties":{}}]}`), nil, "x")
	if err == nil {
		_, err = Compile(e, Options{})
	}
	if !errors.Is(err, ErrUnsupported) {
		t.Errorf("got %v, want ErrUnsupported", err)
	}
}

func TestUntil(t *testing.T) {
	m := masksOf(t, Sequence(Until("aab"), Literal("!")), bytesVocabulary())
	for text, want := range map[string]bool{"aab!": true, "aaab!": true, "ü\"\n aaab!": true, "aab": false, "aabaab!": false, "aaabx": false, "\xffaab!": false} {
		if accepts(m, text) != want {
			t.Errorf("%q: got %v, want %v", text, !want, want)
		}
	}
}

// TestMarker: a special token stands for its marker, and for no other text.
func TestMarker(t *testing.T) {
	v := bytesVocabulary()
	m := masksOf(t, Sequence(Marker("<end>"), JSON()), v)
	x := m.NewMatcher(nil)
	mask := make([]uint32, v.Words())
	x.Mask(mask)
	if !has(mask, endOf(v)) || !has(mask, '<') {
		t.Error("the marker is not allowed as a token and as a text")
	}
	if err := x.Accept(endOf(v)); err != nil {
		t.Fatal(err)
	}
	for _, b := range []byte(`"<end`) {
		if x.Mask(mask); has(mask, endOf(v)) || x.Accept(endOf(v)) == nil {
			t.Error("the token is allowed within a string")
		}
		if err := x.Accept(int32(b)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEnd(t *testing.T) {
	v := bytesVocabulary()
	end := endOf(v)
	x := masksOf(t, mustSchema(`{"type":"integer"}`), v).NewMatcher([]int32{end})
	if x.Whole() || x.Done() || x.Accept(end) == nil {
		t.Error("nothing counts as an integer")
	}
	if err := x.Accept('7'); err != nil || !x.Whole() || x.Done() {
		t.Errorf("after 7: %v, whole %v, done %v", err, x.Whole(), x.Done())
	}
	if err := x.Accept(end); err != nil || !x.Done() {
		t.Errorf("after the end: %v, done %v", err, x.Done())
	}
	if x.Accept('7') == nil {
		t.Error("something follows the end")
	}
	if err := x.Rollback(1); err != nil || x.Done() || x.Accept('8') != nil {
		t.Errorf("the end was not taken back: %v", err)
	}
	mask := make([]uint32, v.Words()+3)
	mask[len(mask)-1] = 1
	if x.Mask(mask); mask[len(mask)-1] != 0 || !has(mask, end) {
		t.Error("the words behind the vocabulary are not cleared")
	}
	closed := masksOf(t, mustSchema(`{"const":{}}`), v).NewMatcher(nil)
	if closed.Accept('{') != nil || closed.Done() || closed.Accept('}') != nil || !closed.Done() {
		t.Error("an object is not done at its brace")
	}
}

func TestRollbackAndClone(t *testing.T) {
	v := bytesVocabulary()
	m := masksOf(t, JSON(), v)
	rng := rand.New(rand.NewPCG(11, 12))
	x := m.NewMatcher(nil)
	var masks [][]uint32
	var ids []int32
	for range 200 {
		mask := make([]uint32, v.Words())
		x.Mask(mask)
		id := chooseToken(rng, v, mask, false, -1)
		if id < 0 {
			break
		}
		masks, ids = append(masks, mask), append(ids, id)
		c := x.Clone()
		if err := x.Accept(id); err != nil {
			t.Fatal(err)
		}
		again := make([]uint32, v.Words())
		if c.Mask(again); !slices.Equal(mask, again) {
			t.Fatal("a clone follows its origin")
		}
		if n := rng.IntN(8); n > 0 && n <= len(ids) && rng.IntN(2) == 0 {
			if err := x.Rollback(n); err != nil || x.Accepted() != len(ids)-n {
				t.Fatal(err)
			}
			back := make([]uint32, v.Words())
			if x.Mask(back); !slices.Equal(back, masks[len(ids)-n]) {
				t.Fatalf("mask after %d tokens were taken back differs", n)
			}
			for _, id := range ids[len(ids)-n:] {
				if err := x.Accept(id); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if x.Rollback(len(ids)+1) == nil || x.Rollback(-1) == nil {
		t.Error("more was taken back than was there")
	}
}

func TestNotAllowed(t *testing.T) {
	v := bytesVocabulary()
	x := masksOf(t, JSONObject(), v).NewMatcher(nil)
	for id, want := range map[int32]string{'x': `token 120, "x", is not allowed after 0 tokens`, -1: "no text", int32(v.Size()): "no text", int32(v.Size() - 1): "no text"} {
		if err := x.Accept(id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("token %d: got %v, want %q", id, err, want)
		}
	}
	if x.Accepted() != 0 || x.Accept('{') != nil {
		t.Error("a refused token changed the matcher")
	}
}

func TestForced(t *testing.T) {
	v := bytesVocabulary()
	x := masksOf(t, Sequence(Literal("answer: "), Choice(Literal("yes"), Literal("yeah"))), v).NewMatcher(nil)
	if got := string(x.Forced()); got != "answer: ye" {
		t.Errorf("got %q", got)
	}
	if x.Accepted() != 0 || x.Accept('a') != nil {
		t.Error("looking ahead changed the matcher")
	}
}

// TestDepth: nesting ends before the stack does, and a text can still be ended.
func TestDepth(t *testing.T) {
	v := bytesVocabulary()
	m := masksOf(t, JSON(), v)
	x := m.NewMatcher(nil)
	mask := make([]uint32, v.Words())
	n := 0
	for ; n < 10*MaxDepth; n++ {
		if x.Mask(mask); !slices.Equal(mask, slowly(x)) {
			t.Fatalf("masks differ at depth %d", n)
		}
		if !has(mask, '[') {
			break
		}
		if err := x.Accept('['); err != nil {
			t.Fatal(err)
		}
	}
	if n < MaxDepth/4 || n > MaxDepth {
		t.Errorf("got %d levels, want up to %d", n, MaxDepth)
	}
	for range n {
		if err := x.Accept(']'); err != nil {
			t.Fatal(err)
		}
	}
	if !x.Done() {
		t.Error("not done")
	}
}

// TestAmbiguity: a schema whose alternatives stay possible does not explode.
func TestAmbiguity(t *testing.T) {
	e, err := Schema([]byte(`{"$defs":{"n":{"anyOf":[{"type":"object","properties":{"a":{"$ref":"#/$defs/n"},"b":{"const":1}}},{"type":"object","properties":{"a":{"$ref":"#/$defs/n"},"b":{"const":2}}}]}},"$ref":"#/$defs/n"}`))
	if err != nil {
		t.Fatal(err)
	}
	v := bytesVocabulary()
	x := masksOf(t, e, v).NewMatcher(nil)
	mask := make([]uint32, v.Words())
	const levels = 40
	for _, b := range []byte(strings.Repeat(`{"a":`, levels) + `{}` + strings.Repeat(`,"b":1}`, levels)) {
		if x.Mask(mask); !has(mask, int32(b)) && len(x.run.threads) < maxThreads {
			t.Fatalf("%q is not allowed", b)
		}
		if !has(mask, int32(b)) {
			break // a way that was left out
		}
		if err := x.Accept(int32(b)); err != nil {
			t.Fatal(err)
		}
	}
	if len(x.run.threads) > maxThreads {
		t.Errorf("%d threads", len(x.run.threads))
	}
}

// TestSmallVocabulary: where bytes are missing, texts consist of those that
// are there, and never come to a dead end.
func TestSmallVocabulary(t *testing.T) {
	var tokens []Token
	for _, s := range strings.Split(`{ } " : , a b 1 0 ae "a": } [ ] é`, " ") {
		tokens = append(tokens, Token{Bytes: []byte(s)})
	}
	tokens = append(tokens, Token{Bytes: []byte("<end>"), Special: true})
	v := NewVocabulary(tokens)
	rng := rand.New(rand.NewPCG(1, 9))
	for _, schema := range []string{`{"type":"object"}`, `{"type":"array","items":{"type":["string","integer"],"minLength":2}}`, `{"type":"object","properties":{"a":{"type":"boolean"},"ab":{"enum":["x","ab",11]}}}`} {
		m := NewMasks(compiled(t, schema, v), v)
		s := validator(t, schema)
		for range 100 {
			if d := walk(t, rng, m, endOf(v)); fits(s, d) != nil {
				t.Errorf("%s: %s", schema, d)
			}
		}
	}
	e, _ := Schema([]byte(`{"type":"boolean"}`))
	if _, err := Compile(e, Options{Vocabulary: v}); !errors.Is(err, ErrEmpty) {
		t.Errorf("got %v, want ErrEmpty", err)
	}
}

// TestRealVocabularies walks with whole vocabularies.
func TestRealVocabularies(t *testing.T) {
	names := []string{"built-in"}
	if !testing.Short() {
		names = append(names, "llama3_1.json", "qwen3.json")
	}
	rng := rand.New(rand.NewPCG(21, 22))
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			v, k := smallVocabulary()
			if name != "built-in" {
				k = realTokenizer(t, name)
				v = vocabularyOf(k)
			}
			end := int32(slices.IndexFunc(v.bytes, func(b []byte) bool { return len(b) > 0 && b[0] == markerByte }))
			for _, c := range realistic {
				m := NewMasks(compiled(t, c.schema, v), v)
				timeMasks(t, m, k.Encode(c.document, false), c.document)
				s := validator(t, c.schema)
				for range 5 {
					if d := walk(t, rng, m, end); fits(s, d) != nil {
						t.Errorf("%s: %s: %v", c.name, d, fits(s, d))
					}
				}
			}
		})
	}
}

func TestExprErrors(t *testing.T) {
	for _, c := range []struct {
		e    Expr
		want string
	}{
		{Repeat(Optional(Literal("a")), 0, -1), "may be empty"},
		{Repeat(Literal("a"), 3, 2), "repeat 3 to 2 times"},
		{Until(""), "until nothing"},
		{Pattern("("), "missing closing"},
		{Choice(), "no text fits"},
		{Repeat(Literal(strings.Repeat("a", MaxNodes)), 0, 1), "too large"},
	} {
		if _, err := Compile(c.e, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got error %v, want one with %q", err, c.want)
		}
	}
	if _, err := Compile(Sequence(Pattern("[ab]+"), Repeat(Literal("x"), 2, -1)), Options{}); err != nil {
		t.Error(err)
	}
}

// TestManyMatchers: matchers share what they find out.
func TestManyMatchers(t *testing.T) {
	v := bytesVocabulary()
	m := masksOf(t, JSON(), v)
	var group sync.WaitGroup
	texts := make([][3]string, 8)
	for i := range texts {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i%2), 5))
			for k := range texts[i] {
				texts[i][k] = walk(t, rng, m, endOf(v))
			}
		})
	}
	group.Wait()
	for i := range texts {
		if texts[i] != texts[i%2] {
			t.Errorf("matcher %d: got %q, want %q", i, texts[i], texts[i%2])
		}
	}
}
