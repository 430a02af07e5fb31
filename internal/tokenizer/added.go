package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// addedToken is a token that is found in the text before anything else.
type addedToken struct {
	content        string
	id             int32
	special        bool // skipped in decoding, if asked to
	normalized     bool // looked for in normalized text
	singleWord     bool // not inside of a word
	lstrip, rstrip bool // takes the white space before or behind it along
}

// addedSet finds added tokens of one kind, raw or normalized, in a text: the
// leftmost first, of those the longest.
type addedSet struct {
	tokens []addedToken
	trie   *trie // to indices into tokens; nil if there are none
	first  byte  // what all tokens start with, if single
	single bool
}

// newAddedSet builds a set; keys holds what to look for, by token.
func newAddedSet(tokens []addedToken, keys []string) *addedSet {
	s := &addedSet{tokens: tokens}
	if len(tokens) == 0 {
		return s
	}
	list := make([]trieKey, len(keys))
	s.first, s.single = keys[0][0], true
	for i, key := range keys {
		list[i] = trieKey{[]byte(key), int32(i)}
		s.single = s.single && key[0] == s.first
	}
	s.trie = newTrie(list)
	return s
}

// candidate returns the first place from text[i:] on where a token could
// start, len(text) for none.
func (s *addedSet) candidate(text string, i int) int {
	if s.single {
		if n := strings.IndexByte(text[i:], s.first); n >= 0 {
			return i + n
		}
		return len(text)
	}
	for ; i < len(text); i++ {
		if s.trie.first[text[i]] != 0 {
			break
		}
	}
	return i
}

// split calls token for every added token found and rest for what is between
// them; at is where the rest starts in text.
func (s *addedSet) split(text string, token func(id int32), rest func(part string, at int)) {
	done := 0
	var spaces spaceRun
	for i := 0; s.trie != nil; {
		if i = s.candidate(text, i); i == len(text) {
			break
		}
		index, length := s.trie.longest(text, i)
		if index < 0 {
			i++
			continue
		}
		start, end := i, i+length
		i = end
		t := &s.tokens[index]
		if t.singleWord && insideWord(text, start, end) {
			continue
		}
		if t.lstrip { // not beyond the token before
			start = done + len(strings.TrimRightFunc(text[done:max(done, start)], isSpace))
		}
		if t.rstrip {
			end = spaces.end(text, end)
		}
		if done < start {
			rest(text[done:start], done)
		}
		token(t.id)
		done = end
	}
	if done != len(text) {
		rest(text[done:], done)
	}
}

// spaceRun remembers the run of white space last looked at, so that tokens
// which are white space themselves do not look at it again and again.
type spaceRun struct{ from, to int }

// end returns where the white space from text[i:] on ends.
func (s *spaceRun) end(text string, i int) int {
	if i < s.from || i >= s.to {
		s.from, s.to = i, len(text)-len(strings.TrimLeftFunc(text[i:], isSpace))
	}
	return s.to
}

func isSpace(r rune) bool { return classes().of(r)&clsSpace != 0 }

// insideWord reports whether a word character stands before or behind a range.
func insideWord(text string, start, end int) bool {
	c := classes()
	before, _ := utf8.DecodeLastRuneInString(text[:start])
	behind, _ := utf8.DecodeRuneInString(text[end:])
	return start > 0 && c.of(before)&clsWord != 0 || end < len(text) && c.of(behind)&clsWord != 0
}

// readAdded reads "added_tokens".
func readAdded(n *node, limit int) ([]addedToken, error) {
	if n.isNull() {
		return nil, nil
	}
	if n.kind != "an array" {
		return nil, n.errorf("got %s, want an array", n.kind)
	}
	tokens := make([]addedToken, 0, len(n.list))
	seen := map[string]bool{}
	for i := range n.list {
		r := open(&n.list[i])
		t := addedToken{
			content: r.str("content"), id: int32(r.count("id", limit)), special: r.flag("special"),
			normalized: r.flag("normalized"), singleWord: r.flag("single_word"),
			lstrip: r.flag("lstrip"), rstrip: r.flag("rstrip"),
		}
		switch err := r.done(); {
		case err != nil:
			return nil, err
		case t.content == "": // matches nothing; the reference passes it over, too
			continue
		case seen[t.content]:
			return nil, r.n.errorf("content: %q appears twice", clip(t.content))
		case len(t.content) > maxPiece:
			return nil, r.n.errorf("content: got %d bytes, want at most %d", len(t.content), maxPiece)
		}
		seen[t.content] = true
		tokens = append(tokens, t)
	}
	return tokens, nil
}
