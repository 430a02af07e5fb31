package server

import (
	"strings"
	"unicode/utf8"

	"github.com/godwit-llm/godwit"
)

// maxTopLogprobs is the API's limit.
const maxTopLogprobs = 20

// chatLogprobs are the log-probabilities of a chat choice.
type chatLogprobs struct {
	Content []tokenLogprob `json:"content"`
}

type tokenLogprob struct {
	topLogprob
	TopLogprobs []topLogprob `json:"top_logprobs"`
}

type topLogprob struct {
	Token   string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Bytes   []int   `json:"bytes" doc:"What the token stands for, which may be a part of a character."`
}

func newTopLogprob(m *godwit.Model, id int32, logprob float64) topLogprob {
	raw, _ := m.TokenBytes(id)
	bytes := make([]int, len(raw))
	for i, b := range raw {
		bytes[i] = int(b)
	}
	return topLogprob{Token: strings.ToValidUTF8(string(raw), "\uFFFD"), Logprob: finite(logprob), Bytes: bytes}
}

func newTokenLogprob(m *godwit.Model, t godwit.Token) tokenLogprob {
	out := tokenLogprob{topLogprob: newTopLogprob(m, t.ID, t.LogProb), TopLogprobs: []topLogprob{}}
	for _, other := range t.Top {
		out.TopLogprobs = append(out.TopLogprobs, newTopLogprob(m, other.ID, other.LogProb))
	}
	return out
}

// finite puts a number in the place of minus infinity, which JSON lacks: the
// one that the API uses for tokens that cannot occur.
func finite(logprob float64) float64 { return max(logprob, -9999) }

// completionLogprobs are the log-probabilities of a completion.
type completionLogprobs struct {
	Tokens        []string             `json:"tokens"`
	TokenLogprobs []*float64           `json:"token_logprobs" doc:"null for the first token of an echoed prompt."`
	TopLogprobs   []map[string]float64 `json:"top_logprobs"`
	TextOffset    []int                `json:"text_offset" doc:"Where the token begins, in characters of the choice's text."`
}

// add appends a token that begins at the offset and returns where it ends.
func (l *completionLogprobs) add(m *godwit.Model, id int32, logprob *float64, top []godwit.TokenLogProb, offset int) int {
	token := tokenText(m, id)
	l.Tokens = append(l.Tokens, token)
	if logprob != nil {
		value := finite(*logprob)
		logprob = &value
	}
	l.TokenLogprobs = append(l.TokenLogprobs, logprob)
	likely := map[string]float64{}
	for _, t := range top {
		likely[tokenText(m, t.ID)] = finite(t.LogProb)
	}
	l.TopLogprobs = append(l.TopLogprobs, likely)
	l.TextOffset = append(l.TextOffset, offset)
	if _, special := m.TokenBytes(id); special {
		return offset // texts leave it out
	}
	return offset + utf8.RuneCountInString(token)
}

func tokenText(m *godwit.Model, id int32) string {
	raw, _ := m.TokenBytes(id)
	return strings.ToValidUTF8(string(raw), "\uFFFD")
}
