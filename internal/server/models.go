package server

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/godwit-llm/godwit"
)

// modelList is what GET /v1/models answers.
type modelList struct {
	Object string      `json:"object" enum:"list"`
	Data   []modelInfo `json:"data"`
}

type modelInfo struct {
	ID          string `json:"id"`
	Object      string `json:"object" enum:"model"`
	Created     int64  `json:"created" doc:"Seconds since 1970 at which the server started."`
	OwnedBy     string `json:"owned_by"`
	MaxModelLen int    `json:"max_model_len,omitzero" doc:"Most tokens of one sequence; absent while the model is being loaded."`

	Facts *modelFacts `json:"facts,omitzero" doc:"What the model is; absent while it is being loaded."`
}

// modelFacts is what people want to know of a model before they talk to it.
type modelFacts struct {
	Architecture     string        `json:"architecture" doc:"model_type of config.json."`
	Parameters       int64         `json:"parameters"`
	WeightBytes      int64         `json:"weight_bytes" doc:"Bytes of the weights as they are stored."`
	Vocabulary       int           `json:"vocabulary"`
	Device           string        `json:"device" doc:"What it runs on."`
	MaxSequences     int           `json:"max_sequences" doc:"Requests that run at the same time."`
	Format           string        `json:"format" doc:"How it writes reasoning and tool calls; plain where it has no way to."`
	Reasons          bool          `json:"reasons" doc:"Whether answers may hold reasoning_content."`
	SwitchesThinking bool          `json:"switches_thinking" doc:"Whether enable_thinking in chat_template_kwargs turns reasoning on and off."`
	Sampling         modelSampling `json:"sampling" doc:"What holds where a request does not say."`
}

type modelSampling struct {
	Temperature float64 `json:"temperature"`
	TopP        float64 `json:"top_p" doc:"1: all tokens."`
	TopK        int     `json:"top_k" doc:"0: all tokens."`
}

func newModelFacts(m *godwit.Model) *modelFacts {
	plan, sampling := m.Plan(), m.DefaultSampling()
	return &modelFacts{
		Architecture: m.Architecture(), Parameters: m.Parameters(), WeightBytes: plan.Weights, Vocabulary: m.Vocabulary(),
		Device: m.Device(), MaxSequences: plan.MaxSequences,
		Format: m.Format(), Reasons: m.Reasons(), SwitchesThinking: m.SwitchesThinking(),
		Sampling: modelSampling{Temperature: sampling.Temperature, TopP: cmp.Or(sampling.TopP, 1), TopK: sampling.TopK},
	}
}

func (s *Server) info(name string) modelInfo {
	i := modelInfo{ID: name, Object: "model", Created: s.started.Unix(), OwnedBy: "godwit"}
	if m := s.model.Load(); m != nil {
		i.MaxModelLen, i.Facts = m.Context(), newModelFacts(m)
	}
	return i
}

func (s *Server) listModels(x *exchange) error {
	list := modelList{Object: "list"}
	for _, name := range s.opts.Names {
		list.Data = append(list.Data, s.info(name))
	}
	writeJSON(x, http.StatusOK, list)
	return nil
}

func (s *Server) getModel(x *exchange) error {
	name, err := s.modelName(x.request.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(x, http.StatusOK, s.info(name))
	return nil
}

// modelName returns the name under which an answer speaks of the model.
func (s *Server) modelName(asked string) (string, error) {
	if asked == "" {
		return s.opts.Names[0], nil
	}
	if slices.Contains(s.opts.Names, asked) {
		return asked, nil
	}
	e := notFound("model_not_found", "the model %q is not served here, only %q", asked, s.opts.Names)
	e.Param = "model"
	return "", e
}
