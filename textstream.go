package godwit

import (
	"strings"

	"github.com/godwit-llm/godwit/internal/tokenizer"
)

// textStream turns ids into text that will not change any more: it holds back
// incomplete characters and what may become a stop text.
type textStream struct {
	ids   *tokenizer.Stream
	stops []string
	held  string
}

func newTextStream(ids *tokenizer.Stream, stops []string) *textStream {
	s := &textStream{ids: ids}
	for _, stop := range stops {
		if stop != "" {
			s.stops = append(s.stops, stop)
		}
	}
	return s
}

// add returns the text that became certain, and whether a stop text ended it.
func (s *textStream) add(id int32) (text string, stopped bool) {
	return s.release(s.ids.Next(id))
}

// flush returns what was held back, up to a stop text in it.
func (s *textStream) flush() string {
	text, stopped := s.release(s.ids.Flush())
	if !stopped {
		text += s.held
	}
	s.held = ""
	return text
}

func (s *textStream) release(more string) (text string, stopped bool) {
	s.held += more
	if at := s.firstStop(); at >= 0 {
		text, s.held = s.held[:at], ""
		return text, true
	}
	keep := s.pending()
	text, s.held = s.held[:len(s.held)-keep], s.held[len(s.held)-keep:]
	return text, false
}

// firstStop returns where the first stop text begins, or -1.
func (s *textStream) firstStop() int {
	first := -1
	for _, stop := range s.stops {
		if at := strings.Index(s.held, stop); at >= 0 && (first < 0 || at < first) {
			first = at
		}
	}
	return first
}

// pending returns the length of the longest end of the held text with which a
// stop text may begin.
func (s *textStream) pending() int {
	longest := 0
	for _, stop := range s.stops {
		for n := min(len(stop)-1, len(s.held)); n > longest; n-- {
			if strings.HasSuffix(s.held, stop[:n]) {
				longest = n
			}
		}
	}
	return longest
}
