package engine

// outbox holds what a step has for the readers of streams, until the engine's
// metrics tell of the step: who sees the end of a request finds it counted.
type outbox struct{ list []delivery }

// delivery is a token, or the end of a stream.
type delivery struct {
	stream  *Stream
	token   Token
	ended   bool
	outcome Outcome
	err     error
}

func (o *outbox) token(s *Stream, t Token) {
	o.list = append(o.list, delivery{stream: s, token: t})
}

func (o *outbox) end(s *Stream, outcome Outcome, err error) {
	o.list = append(o.list, delivery{stream: s, ended: true, outcome: outcome, err: err})
}

// flush hands everything out.
func (o *outbox) flush() {
	for i := range o.list {
		if d := &o.list[i]; d.ended {
			d.stream.end(d.outcome, d.err)
		} else {
			d.stream.push(d.token)
		}
	}
	clear(o.list)
	o.list = o.list[:0]
}
