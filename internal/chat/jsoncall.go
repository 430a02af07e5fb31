package chat

import (
	"encoding/json"
	"slices"
	"strings"
)

// callSink takes what a reader finds out about a call.
type callSink interface {
	callName(name string)
	// callArguments takes more of the arguments: the text of a JSON object.
	callArguments(text []byte)
}

// jsonCall reads the JSON object of a call as it comes:
//
//	{"name": "f", "arguments": {…}}
//
// The members may come in any order; "parameters" is another word for
// "arguments", which may also be a string that holds the object, null, or
// missing. A "function" may hold the name, or the object with both.
type jsonCall struct {
	sink   callSink
	strict bool // no other members, and no call without arguments

	at      memberState
	nested  bool      // within "function"
	value   jsonValue // being read
	key     []byte    // last one read, as it is written
	field   callField // whose value is being read
	text    []byte    // the value so far, of those that are kept whole
	streams bool      // the value is passed on as it comes
	named   bool
	argued  bool
}

type memberState int

const (
	atObject memberState = iota // {
	atFirstMember
	atMember
	inMemberKey
	atMemberColon
	atMemberValue
	inMemberValue
	afterMember
)

type callField int

const (
	otherField callField = iota
	nameField
	argumentsField
	functionField
)

// read takes more text. It returns how much of it belongs to the object.
func (j *jsonCall) read(text string, closing bool) (int, progress) {
	for i := range len(text) {
		switch p := j.next(text[i]); p {
		case done:
			return i + 1, done
		case broken:
			return i, broken
		}
	}
	if closing {
		return len(text), broken
	}
	return len(text), more
}

func (j *jsonCall) next(c byte) progress {
	switch j.at {
	case inMemberKey:
		return j.nextInKey(c)
	case inMemberValue:
		return j.nextInValue(c)
	}
	if isSpace(c) {
		return more
	}
	switch j.at {
	case atObject:
		j.at = atFirstMember
		return is(c == '{')
	case atFirstMember, atMember:
		if c == '}' && j.at == atFirstMember {
			return j.endObject()
		}
		j.at, j.key, j.value = inMemberKey, nil, jsonValue{}
		j.value.next(c)
		return is(c == '"')
	case atMemberColon:
		j.at = atMemberValue
		return is(c == ':')
	case atMemberValue:
		return j.beginValue(c)
	}
	switch c {
	case ',':
		j.at = atMember
		return more
	case '}':
		return j.endObject()
	}
	return broken
}

func (j *jsonCall) nextInKey(c byte) progress {
	switch j.value.next(c) {
	case done:
		j.at = atMemberColon
		var known bool
		j.field, known = fieldOf(string(j.key))
		return is(known || !j.strict)
	case broken:
		return broken
	}
	j.key = append(j.key, c)
	return more
}

// fieldOf returns what a member is for, and whether calls have it at all.
func fieldOf(key string) (f callField, known bool) {
	switch key {
	case "name":
		return nameField, true
	case "arguments", "parameters":
		return argumentsField, true
	case "function":
		return functionField, true
	case "type", "id":
		return otherField, true
	}
	return otherField, false
}

// beginValue takes the first byte of a member's value.
func (j *jsonCall) beginValue(c byte) progress {
	switch {
	case j.field == functionField && c == '{' && !j.nested:
		j.nested, j.at = true, atFirstMember
		return more
	case j.field == functionField && !j.nested:
		j.field = nameField
	case j.field == functionField:
		return broken
	}
	if j.field == nameField && (j.named || c != '"') || j.field == argumentsField && j.argued {
		return broken
	}
	j.at, j.text, j.value = inMemberValue, nil, jsonValue{}
	j.argued = j.argued || j.field == argumentsField
	j.streams = j.field == argumentsField && c == '{'
	return j.nextInValue(c)
}

func (j *jsonCall) nextInValue(c byte) progress {
	inText := j.value.inText()
	p := j.value.next(c)
	if p == broken {
		return broken
	}
	if p != before {
		j.keep(c, inText)
	}
	switch p {
	case done, before:
		j.at = afterMember
		if !j.endValue() {
			return broken
		}
		if p == before {
			return j.next(c)
		}
	}
	return more
}

// keep passes a byte of a value on: at once in arguments that are an object.
func (j *jsonCall) keep(c byte, inText bool) {
	if j.field == otherField {
		return
	}
	if j.streams {
		j.text = appendJSON(j.text[:0], c, inText)
		j.sink.callArguments(j.text)
		return
	}
	j.text = appendJSON(j.text, c, inText)
}

// endValue takes what was kept of a value.
func (j *jsonCall) endValue() bool {
	switch {
	case j.field == nameField:
		var name string
		if json.Unmarshal(j.text, &name) != nil || name == "" {
			return false
		}
		j.named = true
		j.sink.callName(name)
	case j.streams:
	case j.field == argumentsField && string(j.text) == "null":
		j.sink.callArguments([]byte("{}"))
	case j.field == argumentsField:
		var text string
		if json.Unmarshal(j.text, &text) != nil {
			return false
		}
		object, ok := wholeJSON(text, "{")
		if !ok {
			return false
		}
		j.sink.callArguments([]byte(object))
	}
	return true
}

// endObject takes a closing brace.
func (j *jsonCall) endObject() progress {
	if j.nested {
		j.nested, j.at = false, afterMember
		return more
	}
	if !j.named || j.strict && !j.argued {
		return broken
	}
	if !j.argued {
		j.sink.callArguments([]byte("{}"))
	}
	return done
}

func trimSpace(s string) string { return strings.Trim(s, whitespace) }

func contains(set string, c byte) bool { return slices.Contains([]byte(set), c) }
