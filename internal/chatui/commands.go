package chatui

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// action is what has to happen after a line was taken.
type action int

const (
	stay   action = iota
	answer        // have the model answer
	edit          // put the text into the input
	quit
)

// outcome is what came of a line.
type outcome struct {
	do   action
	text string // to be shown, or edited
}

// command is a line that begins with a slash.
type command struct {
	name, args, help string
	always           bool // also while the model answers
	run              func(c *conversation, arg string) (outcome, error)
}

// commands is a function because /help lists them.
func commands() []command {
	return []command{
		{"set", "[NAME [VALUE]]", "show or change settings: temperature, seed, thinking, …", true, runSet},
		{"system", "[TEXT | -]", "show or change the system message; - removes it", false, runSystem},
		{"retry", "", "answer the last message anew", false, runRetry},
		{"edit", "", "take the last message back into the input", false, runEdit},
		{"tool", "RESULT", "answer the model's tool call", false, runTool},
		{"clear", "", "begin a new conversation; the system message stays", false, runClear},
		{"save", "[FILE]", "write the conversation to a JSON file", true, runSave},
		{"load", "FILE", "go on with a conversation from a file", false, runLoad},
		{"stats", "", "model, times and rates", true, runStats},
		{"help", "", "this list", true, runHelp},
		{"quit", "", "end; so does Ctrl-D", true, runQuit},
	}
}

var isCommand = regexp.MustCompile(`^/[a-z]+(\s|$)`)

// take does what a line, or several, ask for: a command, or a message.
func (c *conversation) take(text string, answering bool) (outcome, error) {
	if isCommand.MatchString(text) {
		return c.command(text, answering)
	}
	text = strings.TrimRight(text, " \t\r\n")
	if trimmed := strings.TrimLeft(text, " "); isCommand.MatchString(trimmed) {
		text = trimmed // the space said that it is no command
	}
	switch {
	case strings.TrimSpace(text) == "":
		return outcome{}, nil
	case answering:
		return outcome{edit, text}, errors.New("the model is answering: Esc stops it")
	}
	if call, open := c.openCall(); open > 0 {
		return outcome{edit, text}, fmt.Errorf("the model waits for the result of %s: give it with /tool, or /retry or /edit what you said", call.Name)
	}
	c.add("user", text)
	return outcome{do: answer}, nil
}

func (c *conversation) command(text string, answering bool) (outcome, error) {
	end := strings.IndexAny(text, " \t\r\n")
	if end < 0 {
		end = len(text)
	}
	name, arg := text[1:end], strings.TrimSpace(text[end:])
	for _, known := range commands() {
		switch {
		case known.name != name:
		case answering && !known.always:
			return outcome{edit, text}, fmt.Errorf("/%s has to wait: the model is answering; Esc stops it", name)
		case known.args == "" && arg != "":
			return outcome{}, fmt.Errorf("/%s takes nothing, got %q", name, arg)
		default:
			return known.run(c, arg)
		}
	}
	return outcome{edit, text}, fmt.Errorf("there is no command /%s; /help lists them; with a space before it, it is a message", name)
}

func runSet(c *conversation, arg string) (outcome, error) {
	name, value, _ := strings.Cut(arg, " ")
	if name == "" {
		return outcome{text: c.settingsTable()}, nil
	}
	all := AllSettings()
	i := slices.IndexFunc(all, func(s Setting) bool { return s.Name == name })
	if i < 0 {
		return outcome{}, c.settings.Set(name, value)
	}
	if value = strings.TrimSpace(value); value == "" {
		s := all[i]
		return outcome{text: fmt.Sprintf("%s is %s; %s: %s", name, s.get(&c.settings, c.facts), s.Values, s.Help)}, nil
	}
	if err := c.settings.Set(name, value); err != nil {
		return outcome{}, err
	}
	return outcome{text: name + " is " + all[i].get(&c.settings, c.facts)}, nil
}

func (c *conversation) settingsTable() string {
	var table [][2]string
	for _, s := range AllSettings() {
		table = append(table, [2]string{s.Name, s.get(&c.settings, c.facts)})
	}
	return columns(table) + "\n\n/set NAME tells more, /set NAME VALUE changes it"
}

func runSystem(c *conversation, arg string) (outcome, error) {
	switch arg {
	case "":
	case "-":
		c.system = ""
	default:
		c.system = arg
	}
	if c.system == "" {
		return outcome{text: "no system message"}, nil
	}
	return outcome{text: "system message: " + c.system}, nil
}

func runRetry(c *conversation, _ string) (outcome, error) {
	i := c.last("user")
	if i < 0 {
		return outcome{}, errors.New("retry: there is no message to answer")
	}
	if _, open := c.openCall(); open == 0 {
		i = max(i, c.last("tool")) // the results of tools stay
	}
	c.entries = c.entries[:i+1]
	return outcome{do: answer}, nil
}

func runEdit(c *conversation, _ string) (outcome, error) {
	i := c.last("user")
	if i < 0 {
		return outcome{}, errors.New("edit: there is no message to take back")
	}
	text := c.entries[i].message.Content
	c.entries = c.entries[:i]
	return outcome{edit, text}, nil
}

func runTool(c *conversation, arg string) (outcome, error) {
	call, open := c.openCall()
	if open == 0 {
		return outcome{}, errors.New("tool: the model has called none")
	}
	c.add("tool", arg)
	c.entries[len(c.entries)-1].message.ToolCallID = call.ID
	c.entries[len(c.entries)-1].message.Name = call.Name
	if open > 1 {
		next, _ := c.openCall()
		return outcome{text: "now the result of " + next.Name + " " + next.Arguments}, nil
	}
	return outcome{do: answer}, nil
}

func runClear(c *conversation, _ string) (outcome, error) {
	c.entries, c.file = nil, ""
	return outcome{}, nil
}

func runSave(c *conversation, arg string) (outcome, error) {
	if arg == "" {
		arg = c.file
	}
	if arg == "" {
		return outcome{}, errors.New("save: want the name of a file")
	}
	if err := c.save(arg); err != nil {
		return outcome{}, err
	}
	return outcome{text: "saved to " + arg}, nil
}

func runLoad(c *conversation, arg string) (outcome, error) {
	if arg == "" {
		return outcome{}, errors.New("load: want the name of a file")
	}
	if err := c.load(arg); err != nil {
		return outcome{}, err
	}
	return outcome{text: fmt.Sprintf("loaded %s: %d messages", arg, len(c.messages()))}, nil
}

func runQuit(*conversation, string) (outcome, error) { return outcome{do: quit}, nil }

const keyHelp = `Enter sends; Alt-Enter, Ctrl-J, or Enter behind a \ begins a new line
Up and Down bring back what you typed; Tab completes commands
Esc stops the answer; Ctrl-C does too, and a second Ctrl-C quits
PgUp, PgDn and the wheel scroll; Ctrl-T folds and unfolds the reasoning`

func runHelp(*conversation, string) (outcome, error) {
	var table [][2]string
	for _, k := range commands() {
		table = append(table, [2]string{strings.TrimSpace("/" + k.name + " " + k.args), k.help})
	}
	return outcome{text: columns(table) + "\n\n" + keyHelp}, nil
}

// complete lengthens a command, or the name of a setting, as far as it is
// certain.
func complete(text string) string {
	var all []string
	for _, k := range commands() {
		all = append(all, "/"+k.name)
	}
	for _, s := range AllSettings() {
		all = append(all, "/set "+s.Name)
	}
	all = slices.DeleteFunc(all, func(name string) bool {
		beyond := strings.Contains(name, " ") && !strings.Contains(text, " ")
		return beyond || !strings.HasPrefix(name, text)
	})
	if text == "" || len(all) == 0 {
		return text
	}
	common := all[0]
	for _, name := range all[1:] {
		for !strings.HasPrefix(name, common) {
			common = common[:len(common)-1]
		}
	}
	if len(all) == 1 {
		return common + " "
	}
	return common
}

// columns sets two columns side by side.
func columns(table [][2]string) string {
	wide := 0
	for _, row := range table {
		wide = max(wide, len([]rune(row[0])))
	}
	var b strings.Builder
	for _, row := range table {
		fmt.Fprintf(&b, "%-*s  %s\n", wide, row[0], row[1])
	}
	return strings.TrimSuffix(b.String(), "\n")
}
