package server

import (
	"fmt"
	"net/http"

	"github.com/godwit-llm/godwit"
)

// tokenizeRequest is the body of POST /tokenize.
type tokenizeRequest struct {
	Model            string    `json:"model,omitzero"`
	Prompt           *string   `json:"prompt,omitzero" doc:"A text; or messages."`
	Messages         []message `json:"messages,omitzero"`
	AddSpecialTokens *bool     `json:"add_special_tokens,omitzero" doc:"Put the tokenizer's special ids around the prompt; absent means true. Messages have their template's."`
	ReturnTokenStrs  bool      `json:"return_token_strs,omitzero"`
}

type tokenizeResponse struct {
	Count       int      `json:"count"`
	MaxModelLen int      `json:"max_model_len"`
	Tokens      []int32  `json:"tokens"`
	TokenStrs   []string `json:"token_strs,omitzero"`
}

func (s *Server) tokenize(x *exchange, m *godwit.Model) error {
	var body tokenizeRequest
	if err := s.readBody(x, x.request, &body); err != nil {
		return err
	}
	if _, err := s.modelName(body.Model); err != nil {
		return err
	}
	ids, err := body.encode(m)
	if err != nil {
		return err
	}
	out := tokenizeResponse{Count: len(ids), MaxModelLen: m.Context(), Tokens: ids}
	if body.ReturnTokenStrs {
		out.TokenStrs = make([]string, len(ids))
		for i, id := range ids {
			out.TokenStrs[i] = tokenText(m, id)
		}
	}
	writeJSON(x, http.StatusOK, out)
	return nil
}

func (b *tokenizeRequest) encode(m *godwit.Model) ([]int32, error) {
	special := b.AddSpecialTokens == nil || *b.AddSpecialTokens
	switch {
	case b.Prompt != nil && b.Messages != nil:
		return nil, invalid("messages", "got both prompt and messages, want one")
	case b.Prompt != nil:
		return m.Encode(*b.Prompt, special)
	}
	list, err := conversation(b.Messages)
	if err != nil {
		return nil, err
	}
	text, err := m.Render(godwit.Request{Messages: list})
	if err != nil {
		return nil, err
	}
	return m.Encode(text, false)
}

// detokenizeRequest is the body of POST /detokenize.
type detokenizeRequest struct {
	Model  string  `json:"model,omitzero"`
	Tokens []int32 `json:"tokens"`
}

type detokenizeResponse struct {
	Prompt string `json:"prompt"`
}

func (s *Server) detokenize(x *exchange, m *godwit.Model) error {
	var body detokenizeRequest
	if err := s.readBody(x, x.request, &body); err != nil {
		return err
	}
	if _, err := s.modelName(body.Model); err != nil {
		return err
	}
	for i, id := range body.Tokens {
		if id < 0 || int(id) >= m.Vocabulary() {
			param := fmt.Sprintf("tokens[%d]", i)
			return invalid(param, "%s is %d, want an id of the vocabulary, 0 to %d", param, id, m.Vocabulary()-1)
		}
	}
	text, err := m.Decode(body.Tokens)
	if err != nil {
		return err
	}
	writeJSON(x, http.StatusOK, detokenizeResponse{Prompt: text})
	return nil
}
