package server

import (
	"io"
	"net/http"
)

func (s *Server) routes() {
	s.modelled("POST /v1/chat/completions", s.chat)
	s.modelled("POST /v1/completions", s.complete)
	s.modelled("POST /v1/responses", s.respond)
	s.modelled("POST /tokenize", s.tokenize)
	s.modelled("POST /detokenize", s.detokenize)
	s.keyed("GET /v1/models", s.listModels)
	s.keyed("GET /v1/models/{id...}", s.getModel)
	s.open("GET /health", s.health)
	s.open("GET /ready", s.ready)
	s.open("GET /metrics", s.showMetrics)
	page := s.opts.Page
	if page == nil {
		page = http.HandlerFunc(greet)
	}
	s.mux.Handle("GET /{$}", page)
	s.mux.Handle("GET /page/", page)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w.(*exchange), notFound("unknown_url", "%s is not a path of this server; see /openapi.json", r.URL.Path))
	})
}

func (s *Server) showMetrics(x *exchange) error {
	s.metrics.handler().ServeHTTP(x, x.request)
	return nil
}

func greet(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "Godwit speaks the OpenAI API below /v1; /openapi.json describes it.\n")
}
