package server

import (
	"context"
	"sync"
	"time"

	"github.com/godwit-llm/godwit"
)

// sink takes what the choices of a request generate. It is called by one
// goroutine at a time.
type sink interface {
	take(choice int, t godwit.Token) error
	end(choice int, r *godwit.Result) error
}

// usage counts the tokens of a request.
type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`

	PromptTokensDetails     promptDetails     `json:"prompt_tokens_details"`
	CompletionTokensDetails completionDetails `json:"completion_tokens_details"`
}

type promptDetails struct {
	CachedTokens int `json:"cached_tokens" doc:"Tokens of the prompt that had been computed before."`
}

type completionDetails struct {
	ReasoningTokens int `json:"reasoning_tokens"`
}

// count adds a choice; its prompt only once where choices share it.
func (u *usage) count(r *godwit.Result, withPrompt bool) {
	if withPrompt {
		u.PromptTokens += len(r.PromptIDs)
		u.PromptTokensDetails.CachedTokens += r.Stats.ReusedTokens
	}
	u.CompletionTokens += len(r.IDs)
	u.TotalTokens = u.PromptTokens + u.CompletionTokens
}

// repeat returns n requests that differ in their seeds.
func repeat(r godwit.Request, n int) []godwit.Request {
	list := make([]godwit.Request, n)
	for i := range list {
		list[i] = r
		if r.Seed != nil {
			seed := *r.Seed + uint64(i)
			list[i].Seed = &seed
		}
	}
	return list
}

// generations are the running choices of a request.
type generations []*godwit.Generation

// start queues all requests. If one is refused, none runs.
func (s *Server) start(x *exchange, m *godwit.Model, requests []godwit.Request) (generations, error) {
	if s.opts.Timeout > 0 {
		ctx, cancel := context.WithTimeoutCause(x.ctx, s.opts.Timeout, errTimeout)
		context.AfterFunc(ctx, cancel)
		x.ctx = ctx
	}
	var gens generations
	for _, r := range requests {
		g, err := m.Start(x.ctx, r)
		if err != nil {
			gens.cancel()
			return nil, err
		}
		gens = append(gens, g)
	}
	return gens, nil
}

func (g generations) cancel() {
	for _, one := range g {
		one.Cancel()
	}
}

// follow hands what the generations make to the sink until all have ended. The
// first error ends them all.
func (s *Server) follow(x *exchange, g generations, to sink) error {
	if len(g) == 1 {
		return s.followOne(x, 0, g[0], to)
	}
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	for i, one := range g {
		all.Go(func() {
			if err := s.followOne(x, i, one, locked{&mu, to}); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if first == nil {
					first = err
					g.cancel()
				}
			}
		})
	}
	all.Wait()
	return first
}

func (s *Server) followOne(x *exchange, choice int, g *godwit.Generation, to sink) error {
	for t := range g.Tokens() {
		if err := to.take(choice, t); err != nil {
			return err // leaving the loop cancels the generation
		}
	}
	r, err := g.Wait()
	if err != nil {
		return err
	}
	s.metrics.ended(x.started, r)
	s.logTexts(x, choice, r)
	return to.end(choice, r)
}

// logTexts writes what was asked and answered, where that is wanted.
func (s *Server) logTexts(x *exchange, choice int, r *godwit.Result) {
	if !s.opts.LogPrompts {
		return
	}
	prompt, err := s.model.Load().Decode(r.PromptIDs)
	if err != nil {
		prompt = err.Error() // a checkpoint without a tokenizer
	}
	s.opts.Logger.Info("texts", "id", x.id, "choice", choice, "prompt", prompt, "answer", r.Text)
}

// locked lets several goroutines use a sink.
type locked struct {
	mu *sync.Mutex
	sink
}

func (l locked) take(choice int, t godwit.Token) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sink.take(choice, t)
}

func (l locked) end(choice int, r *godwit.Result) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sink.end(choice, r)
}

// now is the time of an answer, in seconds since 1970.
func now() int64 { return time.Now().Unix() }
