package chat

import "github.com/godwit-llm/godwit/internal/jinja"

// parseArguments returns the messages with the arguments of tool calls parsed
// where they are JSON objects in a string. What is passed in stays as it is.
func parseArguments(list *jinja.List) *jinja.List {
	return mapDicts(list, func(m *jinja.Dict) *jinja.Dict {
		v, _ := m.Get("tool_calls")
		calls, ok := v.(*jinja.List)
		if !ok {
			return m
		}
		return withField(m, "tool_calls", mapDicts(calls, func(call *jinja.Dict) *jinja.Dict {
			v, _ := call.Get("function")
			fn, ok := v.(*jinja.Dict)
			if !ok {
				return call
			}
			s, _ := text(fn, "arguments")
			args, err := jinja.FromJSON([]byte(s))
			if _, ok := args.(*jinja.Dict); err != nil || !ok {
				return call
			}
			return withField(call, "function", withField(fn, "arguments", args))
		}))
	})
}

// mapDicts applies f to the dictionaries of a list.
func mapDicts(list *jinja.List, f func(*jinja.Dict) *jinja.Dict) *jinja.List {
	items := make([]jinja.Value, list.Len())
	for i := range items {
		items[i] = list.At(i)
		if d, ok := items[i].(*jinja.Dict); ok {
			items[i] = f(d)
		}
	}
	return jinja.NewList(items...)
}
