package chat

import "strings"

// DeltaKind tells deltas apart.
type DeltaKind int

// The kinds of deltas.
const (
	ReasoningText DeltaKind = iota // Text is more of the reasoning
	ContentText                    // Text is more of the content
	CallStart                      // a tool call begins: Call, ID and Name
	CallArguments                  // Text is more of the arguments of Call
	CallEnd                        // Call is over
)

// Delta is a piece of a reply.
type Delta struct {
	Kind     DeltaKind
	Text     string
	Call     int    // which tool call of the reply, from 0
	ID, Name string // of a call that starts
	// Incomplete marks the end of a call that was cut off or broken after its
	// start had been told: its arguments are the beginning of a JSON object.
	Incomplete bool
}

// ToolCall is a model's wish to have a tool called.
type ToolCall struct {
	ID, Name   string
	Arguments  string // a JSON object as the model wrote it
	Incomplete bool   // cut off or broken: Arguments is the beginning of one
}

// Reply is what a model said, taken apart.
type Reply struct {
	Reasoning string
	Content   string
	ToolCalls []ToolCall
}

// Collector adds deltas up. The zero value is ready to use.
type Collector struct {
	reasoning, content strings.Builder
	calls              []collected
}

type collected struct {
	call      ToolCall
	arguments []byte
}

// Add puts a delta at the reply's end.
func (c *Collector) Add(d Delta) {
	switch d.Kind {
	case ReasoningText:
		c.reasoning.WriteString(d.Text)
	case ContentText:
		c.content.WriteString(d.Text)
	case CallStart:
		c.calls = append(c.calls, collected{call: ToolCall{ID: d.ID, Name: d.Name}})
	case CallArguments:
		c.calls[d.Call].arguments = append(c.calls[d.Call].arguments, d.Text...)
	case CallEnd:
		c.calls[d.Call].call.Incomplete = d.Incomplete
	}
}

// Reply returns the reply so far.
func (c *Collector) Reply() Reply {
	r := Reply{Reasoning: c.reasoning.String(), Content: c.content.String()}
	for _, one := range c.calls {
		one.call.Arguments = string(one.arguments)
		r.ToolCalls = append(r.ToolCalls, one.call)
	}
	return r
}
