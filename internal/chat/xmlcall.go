package chat

import "strings"

const (
	xmlClose   = "</function>"
	paramOpen  = "<parameter="
	paramClose = "</parameter>"
	maxName    = 256 // bytes of a function's or parameter's name
)

// xmlCall reads a call of this form, from behind its "<function=":
//
//	<function=NAME>
//	<parameter=KEY>
//	VALUE
//	</parameter>
//	</function>
//
// and makes a JSON object of the parameters. A value loses one newline at
// either end. Where a closing marker is missing, the next one stands for it.
type xmlCall struct {
	sink  callSink
	tools toolSet
	close string // behind the calls of a block

	at     xmlState
	name   string
	params int
	schema schema // of the parameter being read
	value  []byte // so far, of those that are typed when they are whole
	begun  bool   // the value has had its first byte
	text   bool   // the value is a string, and is passed on as it comes
}

type xmlState int

const (
	inFunctionName xmlState = iota
	betweenParams
	inParamName
	inParamValue
)

// read takes more text. It returns how much of it is used up; the rest must
// come again, with more behind it.
func (x *xmlCall) read(text string, closing bool) (int, progress) {
	n := 0
	for {
		at := x.at
		used, p := x.step(text[n:], closing)
		n += used
		if p != more || used == 0 && x.at == at { // a value may end before the first byte
			if p == more && closing {
				p = broken
			}
			return n, p
		}
	}
}

func (x *xmlCall) step(text string, closing bool) (int, progress) {
	switch x.at {
	case inFunctionName:
		name, n, p := readName(text)
		if n > 0 {
			x.at, x.name = betweenParams, name
			x.sink.callName(name)
			x.sink.callArguments([]byte("{"))
		}
		return n, p
	case inParamName:
		key, n, p := readName(text)
		if n > 0 {
			x.beginValue(key)
		}
		return n, p
	case inParamValue:
		return x.stepValue(text, closing)
	}
	return x.stepBetween(text)
}

// readName reads up to the > that ends a name.
func readName(text string) (string, int, progress) {
	i := strings.IndexAny(text, "><\n")
	switch {
	case i < 0 && len(text) <= maxName:
		return "", 0, more
	case i < 0 || text[i] != '>' || i > maxName:
		return "", 0, broken
	}
	name := trimSpace(text[:i])
	if name == "" {
		return "", 0, broken
	}
	return name, i + 1, more
}

// stepBetween reads what stands before a parameter or the end.
func (x *xmlCall) stepBetween(text string) (int, progress) {
	rest := strings.TrimLeft(text, whitespace)
	lead := len(text) - len(rest)
	switch {
	case strings.HasPrefix(rest, paramOpen):
		x.at = inParamName
		return lead + len(paramOpen), more
	case strings.HasPrefix(rest, xmlClose):
		x.sink.callArguments([]byte("}"))
		return lead + len(xmlClose), done
	case strings.HasPrefix(rest, x.close):
		x.sink.callArguments([]byte("}"))
		return lead, done
	case mayBecome(rest, paramOpen, xmlClose, x.close):
		return 0, more
	}
	return 0, broken
}

// beginValue writes the key; the value is a string unless the tool's schema
// says otherwise.
func (x *xmlCall) beginValue(key string) {
	head := []byte{}
	if x.params > 0 {
		head = append(head, ", "...)
	}
	x.params++
	x.schema = x.tools.parameter(x.name, key)
	x.at, x.value, x.begun, x.text = inParamValue, nil, false, x.schema.onlyText()
	head = append(appendQuoted(head, key), ": "...)
	if x.text {
		head = append(head, '"')
	}
	x.sink.callArguments(head)
}

// stepValue reads a value up to its end. White space is left for the next time
// as long as it may be the newline at the end.
func (x *xmlCall) stepValue(text string, closing bool) (int, progress) {
	at, next := x.valueEnd(text, closing)
	switch {
	case at >= 0:
		x.add(strings.TrimSuffix(strings.TrimSuffix(x.head(text[:at]), "\n"), "\r"))
		x.endValue()
		x.at = betweenParams
		return next, more
	case next == 0:
		return 0, more
	}
	safe := len(strings.TrimRight(text[:next], whitespace))
	if x.begun || safe > 0 {
		x.add(x.head(text[:safe]))
	}
	return safe, more
}

// head drops the newline at the start of a value.
func (x *xmlCall) head(text string) string {
	if x.begun {
		return text
	}
	x.begun = true
	if rest, ok := strings.CutPrefix(text, "\r\n"); ok {
		return rest
	}
	return strings.TrimPrefix(text, "\n")
}

// valueEnd returns where the value ends and where to go on, or -1 and how much
// of the text cannot be part of what ends it.
func (x *xmlCall) valueEnd(text string, closing bool) (at, next int) {
	for i := 0; ; i++ {
		n := strings.IndexByte(text[i:], '<')
		if n < 0 {
			return -1, len(text)
		}
		i += n
		rest := text[i:]
		if strings.HasPrefix(rest, paramClose) {
			return i, i + len(paramClose)
		}
		if strings.HasPrefix(rest, paramOpen) && x.lineStart(text[:i]) {
			return i, i
		}
		end, maybe := x.functionEnd(rest, closing)
		switch {
		case end && x.lineStart(text[:i]):
			return i, i
		case maybe || mayBecome(rest, paramClose, paramOpen) && !closing:
			return -1, i
		}
	}
}

// functionEnd reports whether the call ends at the start of text although its
// last parameter does not: only if the block of calls ends there too, because
// a value could be about such markers.
func (x *xmlCall) functionEnd(text string, closing bool) (end, maybe bool) {
	rest, ok := strings.CutPrefix(text, xmlClose)
	if !ok {
		return false, mayBecome(text, xmlClose) && !closing
	}
	rest = strings.TrimLeft(rest, whitespace)
	if strings.HasPrefix(rest, x.close) || closing && rest == "" {
		return true, false
	}
	return false, mayBecome(rest, x.close) && !closing
}

// lineStart reports whether what follows head, the rest of the value so far,
// stands at the start of a line.
func (x *xmlCall) lineStart(head string) bool {
	gap := head[len(strings.TrimRight(head, whitespace)):]
	return strings.Contains(gap, "\n") || len(gap) == len(head) && !x.begun
}

// add takes more of the value.
func (x *xmlCall) add(text string) {
	if !x.text {
		x.value = append(x.value, text...)
		return
	}
	if text != "" {
		x.sink.callArguments(appendEscaped(nil, text))
	}
}

func (x *xmlCall) endValue() {
	if x.text {
		x.sink.callArguments([]byte{'"'})
		return
	}
	x.sink.callArguments(x.schema.typed(string(x.value)))
}
