package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/godwit-llm/godwit/internal/kv"
	"github.com/godwit-llm/godwit/internal/ops"
)

// Request asks for a continuation of ids, or, with Score, for the
// log-probabilities of the ids themselves.
type Request struct {
	IDs       []int32
	MaxTokens int     // at most this many new ids; 0 with Score
	Stop      []int32 // ids that end the generation; they are not part of it
	Sampling  Sampling
	Top       int // most likely tokens to report beside each token
	Score     bool
}

// Sampling says how tokens are chosen. The zero value is greedy.
type Sampling struct {
	Temperature       float32 // 0: greedy
	TopK              int
	TopP              float32
	MinP              float32
	RepetitionPenalty float32 // on ids of prompt and output; 0 or 1: none
	PresencePenalty   float32 // on ids of the output, once
	FrequencyPenalty  float32 // on ids of the output, for each occurrence
	Bias              map[int32]float32
	Seed              uint64
}

// Token is one new id or, of a scored request, one position: the
// log-probability of the next id and the distribution it was taken from.
type Token struct {
	ID      int32
	LogProb float32
	TopIDs  []int32
	TopLogs []float32
}

// Reason says why a generation ended.
type Reason string

// The reasons.
const (
	Stopped   Reason = "stop"
	Length    Reason = "length"
	Cancelled Reason = "cancelled"
	Failed    Reason = "failed"
)

// Outcome is known when a request has ended.
type Outcome struct {
	Reason        Reason
	StopID        int32 // the id that ended it, -1 if none did
	Queued        time.Duration
	PromptTime    time.Duration // from admission to the first token
	DecodeTime    time.Duration // from the first token to the last
	DecodedTokens int           // tokens of decode steps, a stop id included; the prompt pass yields one more
}

// ErrRequest is wrapped by the errors about requests that can never run.
var ErrRequest = errors.New("invalid request")

// ErrCancelled is the cause of a request that its context or Cancel ended.
var ErrCancelled = errors.New("cancelled")

// Stream delivers a request's tokens. The engine never waits for its reader.
type Stream struct {
	mu      sync.Mutex
	tokens  []Token
	done    bool
	err     error
	outcome Outcome
	signal  chan struct{} // one entry: something changed
	cancel  context.CancelFunc
}

// Next waits for the next token. After the last one ok is false, and err says
// what ended the request if it did not end by itself.
func (s *Stream) Next() (t Token, ok bool, err error) {
	for {
		s.mu.Lock()
		switch {
		case len(s.tokens) > 0:
			t, s.tokens = s.tokens[0], s.tokens[1:]
			s.mu.Unlock()
			return t, true, nil
		case s.done:
			err = s.err
			s.mu.Unlock()
			return Token{}, false, err
		}
		s.mu.Unlock()
		<-s.signal
	}
}

// Cancel ends the request; tokens that were made remain readable.
func (s *Stream) Cancel() { s.cancel() }

// Outcome is valid once Next has reported the end.
func (s *Stream) Outcome() Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outcome
}

func (s *Stream) push(t Token) {
	s.mu.Lock()
	s.tokens = append(s.tokens, t)
	s.mu.Unlock()
	s.notify()
}

func (s *Stream) end(o Outcome, err error) {
	s.mu.Lock()
	s.done, s.outcome, s.err = true, o, err
	s.mu.Unlock()
	s.cancel()
	s.notify()
}

func (s *Stream) notify() {
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

// sequence is a request on its way through the engine.
type sequence struct {
	Request
	ctx    context.Context
	stream *Stream
	held   kv.Sequence

	ids       []int32 // prompt and output
	prompt    int
	fed       int // ids that have been put into a step
	edits     *edits
	queued    time.Time
	admitted  time.Time
	first     time.Time
	decoded   int
	lastToken time.Time
	ended     bool
	reason    Reason
}

func newSequence(ctx context.Context, r Request) *sequence {
	ctx, cancel := context.WithCancel(ctx)
	return &sequence{
		Request: r, ctx: ctx, ids: slices.Clone(r.IDs), prompt: len(r.IDs), queued: time.Now(),
		edits:  newEdits(r.Sampling, r.IDs),
		stream: &Stream{signal: make(chan struct{}, 1), cancel: cancel},
	}
}

// positions returns how many cache positions the sequence may come to need.
func (q *sequence) positions() int { return q.prompt + q.MaxTokens }

// decoding reports whether the prompt has been read.
func (q *sequence) decoding() bool { return q.fed >= q.prompt }

// sampling returns how the row at position p is to be sampled.
func (q *sequence) sampling(p int) ops.Sampling {
	if q.Score {
		s := ops.Sampling{Score: true, Top: q.Top}
		if p+1 < len(q.ids) {
			s.Target = q.ids[p+1]
		}
		return s
	}
	s := q.Sampling
	return ops.Sampling{
		Temperature: s.Temperature, TopK: s.TopK, TopP: s.TopP, MinP: s.MinP,
		Edits: q.edits.current(), Seed: s.Seed, Step: uint64(len(q.ids) - q.prompt), Top: q.Top,
	}
}

// promptPart returns how many of the n tokens that were fed last belong to the
// prompt.
func (q *sequence) promptPart(n int) int { return max(0, min(n, q.prompt-(q.fed-n))) }

// accept takes a sampled row at position p, which may end the sequence.
func (q *sequence) accept(p int, r ops.Sampled, now time.Time) {
	t := Token{ID: r.ID, LogProb: r.LogProb, TopIDs: r.TopIDs, TopLogs: r.TopLogs}
	if q.Score {
		q.stream.push(t)
		if p+1 == len(q.ids) {
			q.first, q.lastToken = now, now
			q.end(Length, -1, nil)
		}
		return
	}
	if q.first.IsZero() {
		q.first = now
	} else {
		q.decoded++
	}
	q.lastToken = now
	if slices.Contains(q.Stop, r.ID) {
		q.end(Stopped, r.ID, nil)
		return
	}
	q.ids = append(q.ids, r.ID)
	q.edits.add(r.ID)
	q.stream.push(t)
	if len(q.ids)-q.prompt >= q.MaxTokens {
		q.end(Length, -1, nil)
	}
}

func (q *sequence) end(reason Reason, stop int32, err error) {
	q.ended, q.reason = true, reason
	o := Outcome{Reason: reason, StopID: stop, DecodedTokens: q.decoded}
	if !q.admitted.IsZero() {
		o.Queued = q.admitted.Sub(q.queued)
	}
	if !q.first.IsZero() {
		o.PromptTime = q.first.Sub(q.admitted)
		o.DecodeTime = q.lastToken.Sub(q.first)
	}
	q.stream.end(o, err)
}

// cancelled ends a sequence whose context is done.
func (q *sequence) cancelled() {
	q.end(Cancelled, -1, fmt.Errorf("engine: %w: %w", ErrCancelled, context.Cause(q.ctx)))
}
