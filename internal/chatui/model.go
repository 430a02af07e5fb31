// Package chatui knows conversations at a terminal: the screen of godwit chat,
// its commands and settings, and the plain form for pipes. It knows no models,
// only what a conversation needs of one, and reads neither flags nor the
// environment.
package chatui

import (
	"context"
	"iter"

	"github.com/godwit-llm/godwit"
)

// Model is what a conversation needs of a model.
type Model interface {
	Start(ctx context.Context, r godwit.Request) (Reply, error)
	Facts() Facts
	Close() error
}

// Reply is a reply that is being generated; *godwit.Generation is one.
type Reply interface {
	Tokens() iter.Seq[godwit.Token]
	Wait() (*godwit.Result, error)
}

// Facts are what is shown of a model.
type Facts struct {
	Architecture, Device, Format string

	Parameters  int64
	Context     int // most tokens of one conversation
	LoadSeconds float64
	Sampling    godwit.Sampling // that the checkpoint asks for
}

// Of makes a Model of a loaded checkpoint.
func Of(m *godwit.Model) Model { return loaded{m} }

type loaded struct{ *godwit.Model }

func (l loaded) Start(ctx context.Context, r godwit.Request) (Reply, error) {
	g, err := l.Model.Start(ctx, r)
	if err != nil {
		return nil, err // not a nil *Generation in an interface
	}
	return g, nil
}

func (l loaded) Facts() Facts {
	return Facts{
		Architecture: l.Architecture(), Device: l.Device(), Format: l.Format(), Parameters: l.Parameters(),
		Context: l.Context(), LoadSeconds: l.LoadSeconds(), Sampling: l.DefaultSampling(),
	}
}

// Options configure a conversation.
type Options struct {
	Name     string // of the model, as the user gave it
	System   string
	Tools    []godwit.Tool // that the model is told of; the user gives their results
	Settings Settings
	Load     string // file of a conversation to go on with; "" begins a new one
	History  string // file of what was typed, kept for the next time; "" keeps nothing
	NoColor  bool

	// Open loads the model. It may tell of progress, from any goroutine.
	Open func(ctx context.Context, event func(godwit.Event)) (Model, error)
}
