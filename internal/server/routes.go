package server

import (
	"io"
	"net/http"
)

// operation is an endpoint with what /openapi.json says of it.
type operation struct {
	pattern string
	summary string
	takes   any // body of the request; nil for none
	gives   any // body of the answer; nil for plain text
	streams any // one event of the answer, where the request can ask for events

	open  endpoint      // for everybody,
	keyed endpoint      // or for holders of a key,
	model modelEndpoint // or for them once there is a model
}

func (s *Server) operations() []operation {
	return []operation{
		{pattern: "POST /v1/chat/completions", summary: "Answer a conversation", takes: chatRequest{}, gives: chatCompletion{}, streams: chatChunk{}, model: s.chat},
		{pattern: "POST /v1/completions", summary: "Continue a text", takes: completionRequest{}, gives: completion{}, streams: completion{}, model: s.complete},
		{pattern: "POST /v1/responses", summary: "Answer items, in items", takes: responseRequest{}, gives: response{}, streams: responseEvent{}, model: s.respond},
		{pattern: "POST /v1/embeddings", summary: "Turn texts into vectors", takes: embeddingRequest{}, gives: embeddingList{}, model: s.embed},
		{pattern: "POST /tokenize", summary: "Turn a text or a conversation into token ids", takes: tokenizeRequest{}, gives: tokenizeResponse{}, model: s.tokenize},
		{pattern: "POST /detokenize", summary: "Turn token ids into text", takes: detokenizeRequest{}, gives: detokenizeResponse{}, model: s.detokenize},
		{pattern: "GET /v1/models", summary: "List the names of the model", gives: modelList{}, keyed: s.listModels},
		{pattern: "GET /v1/models/{id...}", summary: "Describe the model under one of its names", gives: modelInfo{}, keyed: s.getModel},
		{pattern: "GET /health", summary: "Whether the process works", gives: healthReport{}, open: s.health},
		{pattern: "GET /ready", summary: "Whether requests should be sent here", gives: readyReport{}, open: s.ready},
		{pattern: "GET /metrics", summary: "Metrics for Prometheus", open: s.showMetrics},
		{pattern: "GET /openapi.json", summary: "This document", gives: map[string]any{}, open: s.describe},
	}
}

func (s *Server) routes() {
	for _, o := range s.operations() {
		switch {
		case o.model != nil:
			s.modelled(o.pattern, o.model)
		case o.keyed != nil:
			s.keyed(o.pattern, o.keyed)
		default:
			s.open(o.pattern, o.open)
		}
	}
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
