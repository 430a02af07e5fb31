package emulated

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var asmWord = regexp.MustCompile(`\basm\s+volatile\s*\(|\basm\s*\(`)

// rewriteAsm replaces all asm statements.
func rewriteAsm(text string) (string, error) {
	var b strings.Builder
	for {
		at := asmWord.FindStringIndex(text)
		if at == nil {
			b.WriteString(text)
			return b.String(), nil
		}
		b.WriteString(text[:at[0]])
		inside, after, ok := parenthesised(text[at[1]-1:])
		if !ok {
			return "", fmt.Errorf("asm without an end: %.60q", text[at[0]:])
		}
		calls, err := translate(inside)
		if err != nil {
			return "", fmt.Errorf("asm(%s): %w", strings.Join(strings.Fields(inside), " "), err)
		}
		lines := strings.Count(text[at[0]:len(text)-len(after)], "\n")
		b.WriteString("{ " + calls + strings.Repeat("\n", lines) + " }")
		text = after
	}
}

// translate turns the inside of an asm statement into calls.
func translate(inside string) (string, error) {
	parts := splitOperands(inside)
	program, err := joinStrings(parts[0])
	if err != nil {
		return "", err
	}
	var operands []string
	for _, list := range parts[1:min(len(parts), 3)] {
		if strings.TrimSpace(list) == "" {
			continue
		}
		for _, o := range splitTop(list, ',') {
			expression, _, ok := parenthesised(strings.TrimLeft(o, `"=+&rlfhdnqC `))
			if !ok {
				return "", fmt.Errorf("operand %q", o)
			}
			operands = append(operands, "("+expression+")")
		}
	}
	var calls []string
	for _, line := range strings.Split(program, ";") {
		call, err := instruction(line, operands)
		if err != nil {
			return "", err
		}
		if call != "" {
			calls = append(calls, call)
		}
	}
	return strings.Join(calls, " "), nil
}

// splitOperands splits at colons: the program, outputs, inputs, clobbers.
func splitOperands(inside string) []string {
	var parts []string
	depth, from := 0, 0
	for i := 0; i < len(inside); i++ {
		switch inside[i] {
		case '"':
			i = skipString(inside, i)
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		case ':':
			if depth == 0 {
				parts = append(parts, inside[from:i])
				from = i + 1
			}
		}
	}
	return append(parts, inside[from:])
}

// joinStrings joins string literals.
func joinStrings(text string) (string, error) {
	var b strings.Builder
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		if text[0] != '"' {
			return "", fmt.Errorf("want a string, got %q", text)
		}
		end := skipString(text, 0) + 1
		s, err := strconv.Unquote(text[:end])
		if err != nil {
			return "", err
		}
		b.WriteString(s)
		text = text[end:]
	}
	return b.String(), nil
}

// registers are the C++ types of declared registers.
var registers = map[string]string{
	"pred": "bool", "b16": "unsigned short", "u16": "unsigned short", "b32": "unsigned", "u32": "unsigned", "s32": "int",
	"b64": "unsigned long long", "u64": "unsigned long long", "s64": "long long", "f32": "float", "f64": "double",
}

var (
	cacheHint = regexp.MustCompile(`\.(L1::\w+|L2::(64B|128B|256B|evict_\w+))`)
	operandAt = regexp.MustCompile(`%%(\w+)|%(\d+)`)
	label     = regexp.MustCompile(`^\w+:`)
	notWord   = regexp.MustCompile(`\W+`)
)

// instruction turns one instruction into a call. Braces that open and close
// scopes stay.
func instruction(line string, operands []string) (string, error) {
	line = strings.TrimSpace(line)
	switch {
	case line == "" || line == "}":
		return line, nil
	case line[0] == '{':
		rest, err := instruction(line[1:], operands)
		return "{ " + rest, err
	case line[0] == '}':
		rest, err := instruction(line[1:], operands)
		return "} " + rest, err
	case strings.HasPrefix(line, ".reg "):
		kind, names, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line[5:]), "."), " ")
		if registers[kind] == "" {
			return "", fmt.Errorf("registers of type .%s", kind)
		}
		return registers[kind] + " " + names + ";", nil
	case line[0] == '@':
		predicate, rest, _ := strings.Cut(line[1:], " ")
		call, err := instruction(rest, operands)
		return "if (" + predicate + ") " + call, err
	case label.MatchString(line) || strings.HasPrefix(line, "bra"):
		return "", errors.New("branches: write the loop in C++")
	}
	name, list, _ := strings.Cut(line, " ")
	name = notWord.ReplaceAllString(cacheHint.ReplaceAllString(name, ""), "_")
	list = operandAt.ReplaceAllStringFunc(list, func(s string) string {
		if strings.HasPrefix(s, "%%") {
			return "ptx::" + notWord.ReplaceAllString(s[2:], "_") + "()"
		}
		if i, _ := strconv.Atoi(s[1:]); i < len(operands) {
			return operands[i]
		}
		return s
	})
	var args []string
	for _, a := range flatten(list) {
		if a == "_" {
			a = "ptx_sink()"
		}
		args = append(args, a)
	}
	if name == "mov_u32" && len(args) == 2 {
		return args[0] + " = " + args[1] + ";", nil
	}
	return "ptx::" + name + "(" + strings.Join(args, ", ") + ");", nil
}

// flatten splits a list of operands and takes the braces off groups and the
// brackets off addresses.
func flatten(list string) []string {
	var args []string
	if strings.TrimSpace(list) == "" {
		return nil
	}
	for _, a := range splitTop(list, ',') {
		if n := len(a); n > 1 && (a[0] == '{' || a[0] == '[') {
			args = append(args, flatten(a[1:n-1])...)
			continue
		}
		args = append(args, a)
	}
	return args
}
