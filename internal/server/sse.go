package server

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// eventStream writes server-sent events. Every event is on its way when send
// returns; a client that does not take it within the time ends the stream.
type eventStream struct {
	x       *exchange
	rc      *http.ResponseController
	timeout time.Duration
	stop    chan struct{}

	mu   sync.Mutex // against the heartbeat
	buf  bytes.Buffer
	last time.Time
	err  error
}

var (
	dataPrefix = []byte("data: ")
	eventEnd   = []byte("\n\n")
	comment    = []byte(": still working\n\n")
)

// stream begins an answer of events. The caller closes it.
func (s *Server) stream(x *exchange) *eventStream {
	h := x.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // proxies shall pass events on at once
	e := &eventStream{x: x, rc: http.NewResponseController(x), timeout: s.opts.WriteTimeout, stop: make(chan struct{}), last: time.Now()}
	x.WriteHeader(http.StatusOK)
	go e.beat(s.opts.Heartbeat)
	return e
}

// send writes one event; name is "" for the default kind.
func (e *eventStream) send(name string, v any) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf.Reset()
	if name != "" {
		e.buf.WriteString("event: " + name + "\n")
	}
	e.buf.Write(dataPrefix)
	if err := json.MarshalWrite(&e.buf, v); err != nil {
		return err
	}
	e.buf.Write(eventEnd)
	return e.write(e.buf.Bytes())
}

// done writes the event that ends a stream.
func (e *eventStream) done() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.write([]byte("data: [DONE]\n\n"))
}

// write sends bytes within the time that a client has for them.
func (e *eventStream) write(data []byte) error {
	if e.err != nil {
		return e.err
	}
	e.last = time.Now()
	e.rc.SetWriteDeadline(e.last.Add(e.timeout)) // fails where there is no connection, in tests
	if _, e.err = e.x.Write(data); e.err == nil {
		e.err = e.rc.Flush()
	}
	switch {
	case e.err == nil:
	case errors.Is(e.err, os.ErrDeadlineExceeded):
		e.err = errSlow
	default:
		e.err = errAbandoned
	}
	return e.err
}

// beat shows proxies and clients that the server is at work where a queue or a
// long prompt keeps the first token waiting.
func (e *eventStream) beat(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
			e.mu.Lock()
			if time.Since(e.last) >= every {
				e.write(comment)
			}
			e.mu.Unlock()
		}
	}
}

// close stops the heartbeat. After it nothing is sent: a tick that comes at the
// same time finds the stream ended, for the connection belongs to the exchange no
// longer.
func (e *eventStream) close() {
	close(e.stop)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = errEnded
	}
	e.rc.SetWriteDeadline(time.Time{})
}

// finish ends a stream with err, if there is one, and the event that clients
// wait for: they must be able to tell an answer that was cut from a whole one.
func (e *eventStream) finish(err error) error {
	defer e.close()
	if err != nil {
		e.send("", asAPIError(e.x.ctx, err).body()) // to a client that may have gone
	}
	e.done()
	return e.x.cut(err)
}

// cut records the status of an answer that ended early, after its headers.
func (x *exchange) cut(err error) error {
	if err != nil {
		x.status = asAPIError(x.ctx, err).Status
	}
	return err
}
