package chat

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

// Add puts a delta at the reply's end.
func (r *Reply) Add(d Delta) {
	switch d.Kind {
	case ReasoningText:
		r.Reasoning += d.Text
	case ContentText:
		r.Content += d.Text
	case CallStart:
		r.ToolCalls = append(r.ToolCalls, ToolCall{ID: d.ID, Name: d.Name})
	case CallArguments:
		r.ToolCalls[d.Call].Arguments += d.Text
	case CallEnd:
		r.ToolCalls[d.Call].Incomplete = d.Incomplete
	}
}
