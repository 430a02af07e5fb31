package server

import (
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/godwit-llm/godwit"
)

// tool is a function that the model may ask to have called.
type tool struct {
	Type     string       `json:"type" enum:"function"`
	Function toolFunction `json:"function"`
}

type toolFunction struct {
	Name        string         `json:"name"`
	Description string         `json:"description,omitzero"`
	Parameters  jsontext.Value `json:"parameters,omitzero" doc:"JSON schema of the arguments' object."`
	Strict      bool           `json:"strict,omitzero" doc:"Hold the arguments to the schema."`
}

// tools turns functions into the model's. at names the list, and within where
// in each of its elements the function stands.
func modelTools(list []toolFunction, at, within string) ([]godwit.Tool, error) {
	names := map[string]bool{}
	out := make([]godwit.Tool, len(list))
	for i, f := range list {
		path := indexed(at, i) + within
		switch {
		case f.Name == "":
			return nil, invalid(path+".name", "%s.name is empty, want the name of a function", path)
		case names[f.Name]:
			return nil, invalid(path+".name", "%s.name is %q, which another tool has too", path, f.Name)
		case len(f.Parameters) > 0 && f.Parameters.Kind() != '{' && f.Parameters.Kind() != 'n':
			return nil, invalid(path+".parameters", "%s.parameters is %s, want a JSON schema", path, kindOf(f.Parameters.Kind(), f.Parameters))
		}
		names[f.Name] = true
		out[i] = godwit.Tool{Name: f.Name, Description: f.Description, Strict: f.Strict}
		if f.Parameters.Kind() == '{' {
			out[i].Parameters = []byte(f.Parameters)
		}
	}
	return out, nil
}

// toolChoice says whether and which tools are to be called: a mode, or one
// function.
type toolChoice struct {
	Mode string // "none", "auto" or "required"; "" if there is a name
	Name string
}

// namedChoice is the form that names a function, in either of the two ways
// that endpoints write it.
type namedChoice struct {
	Type     string        `json:"type" enum:"function"`
	Name     string        `json:"name,omitzero"`
	Function namedFunction `json:"function,omitzero"`
}

type namedFunction struct {
	Name string `json:"name"`
}

// UnmarshalJSONFrom reads either form.
func (c *toolChoice) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	const want = `none, auto, required or an object that names a function`
	if err := expect(d, `"{n`, want); err != nil {
		return err
	}
	if d.PeekKind() != '{' {
		err := json.UnmarshalDecode(d, &c.Mode)
		switch c.Mode {
		case "", "none", "auto", "required":
			return err
		}
		return invalid("tool_choice", "tool_choice is %q, want %s", c.Mode, want)
	}
	var named namedChoice
	if err := json.UnmarshalDecode(d, &named); err != nil {
		return err
	}
	c.Name = named.Name + named.Function.Name
	if named.Type != "function" || c.Name == "" {
		return unsupported("tool_choice", "tool_choice is of type %q with the name %q, want type function and its name", named.Type, c.Name)
	}
	return nil
}

// apply puts tools and choice into a request.
func (c toolChoice) apply(r *godwit.Request, tools []godwit.Tool, parallel *bool) error {
	r.Tools, r.LiveCalls = tools, true
	r.OneCall = parallel != nil && !*parallel
	r.ToolChoice = c.Mode
	if c.Name != "" {
		r.ToolChoice = c.Name
	}
	forced := c.Name != "" || c.Mode == "required"
	switch {
	case !forced:
		return nil
	case len(tools) == 0:
		return invalid("tool_choice", "tool_choice asks for a call and there are no tools")
	case c.Name != "" && !slices.ContainsFunc(tools, func(t godwit.Tool) bool { return t.Name == c.Name }):
		return invalid("tool_choice", "tool_choice names %q, which is none of the tools", c.Name)
	case r.Grammar != nil:
		return invalid("tool_choice", "tool_choice asks for a call and the format for a JSON document; want one of them")
	}
	return nil
}
