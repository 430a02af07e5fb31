package server

import (
	"net/http"
	"slices"
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
}

func (s *Server) info(name string) modelInfo {
	i := modelInfo{ID: name, Object: "model", Created: s.started.Unix(), OwnedBy: "godwit"}
	if m := s.model.Load(); m != nil {
		i.MaxModelLen = m.Context()
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
