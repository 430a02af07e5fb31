// Package server answers HTTP requests in the shape of the OpenAI API with a
// godwit.Model: chat completions, completions, responses, embeddings, models,
// tokens, health, metrics and its own OpenAPI document.
//
// It knows JSON, server-sent events, limits, keys and what a client may ask
// for. It knows nothing of token ids' meaning, templates, devices or files: a
// request can name none.
package server
