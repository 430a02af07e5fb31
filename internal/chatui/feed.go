package chatui

import (
	"context"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/godwit-llm/godwit"
)

// feed gathers a reply, so that the screen takes it in pieces of what has come
// since the last one, however fast the tokens are.
type feed struct {
	ready chan struct{} // holds one while there is something to take

	mu    sync.Mutex
	piece piece
	begun time.Time // of the first token
}

// piece is a message to the screen: what is new of a reply.
type piece struct {
	of     *feed
	deltas []godwit.Delta
	tokens int           // of the whole reply so far
	first  time.Duration // from asking to the first token
	since  time.Duration // from the first token to the last one
	done   bool
	result *godwit.Result
	err    error
}

func newFeed() *feed { return &feed{ready: make(chan struct{}, 1)} }

// run has a model answer.
func (f *feed) run(ctx context.Context, m Model, r godwit.Request) {
	asked := time.Now()
	reply, err := m.Start(ctx, r)
	if err != nil {
		f.put(func(p *piece) { p.done, p.err = true, err })
		return
	}
	for t := range reply.Tokens() {
		f.put(func(p *piece) { f.add(p, t, asked) })
	}
	result, err := reply.Wait()
	f.put(func(p *piece) { p.done, p.result, p.err = true, result, err })
}

func (f *feed) add(p *piece, t godwit.Token, asked time.Time) {
	p.deltas = append(p.deltas, t.Deltas...)
	if t.ID < 0 {
		return // text that was held back
	}
	if p.tokens == 0 {
		f.begun, p.first = time.Now(), time.Since(asked)
	}
	p.tokens++
	p.since = time.Since(f.begun)
}

func (f *feed) put(change func(*piece)) {
	f.mu.Lock()
	change(&f.piece)
	f.mu.Unlock()
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

// frame is how long the screen rests between two pieces.
const frame = 25 * time.Millisecond

// next waits for something new.
func (f *feed) next() tea.Msg {
	<-f.ready
	f.mu.Lock()
	p := f.piece
	f.piece.deltas = nil
	f.mu.Unlock()
	p.of = f
	return p
}

// rest is next after a while.
func (f *feed) rest() tea.Msg {
	time.Sleep(frame)
	return f.next()
}
