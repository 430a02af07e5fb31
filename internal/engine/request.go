package engine

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Request asks for a continuation of ids; or for the log-probabilities of the
// ids themselves; or for one vector that stands for them; or for keeping what
// is computed for them.
type Request struct {
	IDs       []int32
	MaxTokens int     // at most this many new ids, where some are asked for
	Stop      []int32 // ids that end the generation; they are not part of it
	Sampling  Sampling
	Top       int // most likely tokens to report beside each token
	Priority  int // the higher goes first

	NoDrafts bool // verify none, where the engine does

	Constraint Constraint // not nil: narrows the choice of new tokens

	Score   bool    // the log-probabilities of IDs
	Pooling Pooling // their vector
	Pin     string  // not "": keep them under this name

	// Marks are numbers of ids, ascending, after which other requests are
	// likely to go on otherwise: the end of a system prompt, the end of a turn.
	Marks []int
}

// generates reports whether new ids are wanted.
func (r *Request) generates() bool { return !r.Score && r.Pooling == NoPooling && r.Pin == "" }

// Pooling says how the hidden states of a sequence become one vector.
type Pooling uint8

// The ways of pooling.
const (
	NoPooling Pooling = iota
	MeanPooling
	LastPooling // the hidden state of the last id
)

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
	Time    time.Time // when the step that made it ended
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
	Reason         Reason
	StopID         int32 // the id that ended it, -1 if none did
	Queued         time.Duration
	PromptTime     time.Duration // from admission to the first token
	DecodeTime     time.Duration // from the first token to the last
	DecodedTokens  int           // tokens of decode steps, a stop id included; the prompt pass yields one more
	DraftedTokens  int           // ids of drafts that were verified
	AcceptedTokens int           // of them; they are among the decoded ones
	ReusedTokens   int           // ids of the prompt that were computed before
	Preemptions    int           // how often it had to give way to others
	Vector         []float32     // with Pooling
}

// ErrCancelled is the cause of a request that its context or Cancel ended.
var ErrCancelled = errors.New("cancelled")

// Stream delivers a request's tokens. The engine never waits for its reader.
type Stream struct {
	mu      sync.Mutex
	tokens  []Token // those before read were taken
	read    int
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
		case s.read < len(s.tokens):
			t = s.tokens[s.read]
			if s.read++; s.read == len(s.tokens) {
				s.tokens, s.read = s.tokens[:0], 0
			}
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
