package chat

import "testing"

// TestBudget feeds tokens and tells after how many the budget is spent.
func TestBudget(t *testing.T) {
	weather := []Tool{{Name: "get_weather"}}
	for _, c := range []struct {
		name   string
		start  Start
		tools  []Tool
		tokens []string
		budget int
		spent  int // tokens; 0: never
		over   bool
	}{
		{"within", InReasoning, nil, []string{"one", " two", " three", " four"}, 3, 3, false},
		{"one", InReasoning, nil, []string{"one", " two"}, 1, 1, false},
		{"line ends count", InReasoning, nil, []string{"\n", "\n", "one"}, 2, 2, false},
		{"tokens without text count", InReasoning, nil, []string{"a", "", "b"}, 2, 2, false},
		{"not in what may be the end", InReasoning, nil, []string{"one", " two </", "thi", "s", " four"}, 2, 4, false},
		{"the model's own end", InReasoning, nil, []string{"one", "\n", "</think>", "text", " text"}, 3, 0, true},
		{"an end at the last moment", InReasoning, nil, []string{"one </", "think>", "text"}, 1, 0, true},
		{"the opening does not count", AtStart, nil, []string{"\n", "<th", "ink>", "one", "two"}, 1, 4, false},
		{"no reasoning", AtStart, nil, []string{"text", "<think>", "text"}, 1, 0, true},
		{"not yet known", AtStart, nil, []string{"\n", "<think"}, 1, 0, false},
		{"closed by the prompt", InContent, nil, []string{"<", "text"}, 1, 0, true},
		{"a call ends it", InReasoning, weather, []string{"a\n", `<tool_call>{"name": "get_weather"}</tool_call>`, "text"}, 2, 0, true},
		{"a broken call does not", InReasoning, weather, []string{"a\n", `<tool_call>{"name"}</tool_call>`, "b", "c"}, 3, 3, false},
	} {
		b := NewBudget(mustFormat("hermes"), ParserOptions{Start: c.start, Tools: c.tools}, c.budget)
		spent := 0
		for i, token := range c.tokens {
			if b.Feed(token); spent == 0 && b.Spent() {
				spent = i + 1
			}
		}
		if spent != c.spent || b.Over() != c.over {
			t.Errorf("%s: spent after %d tokens and over: %v, want %d and %v", c.name, spent, b.Over(), c.spent, c.over)
		}
	}
}
