package chatui

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/godwit-llm/godwit"
)

// Settings are what /set changes. The zero value follows the checkpoint.
type Settings struct {
	sampling  map[string]float64 // by name; what is missing follows the checkpoint
	maxTokens int                // 0: until the context is full
	seed      *uint64            // nil: a new one each time
	thinking  string             // "on", "off", or "" for the template's choice
	budget    int                // tokens of reasoning; 0: no limit
	reasoning string             // "show", "hide", or "" to fold it
	noMouse   bool
}

// Setting describes one of the settings.
type Setting struct {
	Name, Values, Help string

	set func(s *Settings, text string) error
	get func(s *Settings, f Facts) string
}

// AllSettings lists the settings in the order in which they are shown.
func AllSettings() []Setting {
	all := make([]Setting, 0, len(samplingFields)+6)
	for _, f := range samplingFields {
		all = append(all, f.setting())
	}
	return append(all,
		Setting{"max-tokens", "NUMBER|all", "most tokens of an answer; all: as many as the context has room for", setMaxTokens, getMaxTokens},
		Setting{"seed", "NUMBER|random", "same seed, same answer", setSeed, getSeed},
		words("thinking", "on|off|default", "for models that can do both", func(s *Settings) *string { return &s.thinking }),
		Setting{"thinking-budget", "NUMBER|none", "most tokens of reasoning", setBudget, getBudget},
		words("reasoning", "fold|show|hide", "how the model's reasoning is shown", func(s *Settings) *string { return &s.reasoning }),
		Setting{"mouse", "on|off", "the wheel scrolls; off leaves the mouse to the terminal, to select text", setMouse, getMouse},
	)
}

// Set changes a setting; the value "default" takes back earlier changes.
func (s *Settings) Set(name, value string) error {
	for _, one := range AllSettings() {
		if one.Name == name {
			return one.set(s, value)
		}
	}
	return fmt.Errorf("no setting is called %q; /set lists them", name)
}

// apply puts the settings into a request.
func (s *Settings) apply(r *godwit.Request, f Facts) {
	sampling := f.Sampling
	for _, field := range samplingFields {
		if v, ok := s.sampling[field.name]; ok {
			field.set(&sampling, v)
		}
	}
	r.Sampling, r.Seed, r.MaxTokens = &sampling, s.seed, s.maxTokens
	if r.MaxTokens == 0 {
		r.MaxTokens = f.Context
	}
	r.ThinkingBudget = s.budget
	if s.thinking != "" {
		r.TemplateArgs = map[string]any{"enable_thinking": s.thinking == "on"}
	}
}

// samplingField is a setting that changes a field of godwit.Sampling.
type samplingField struct {
	name, help  string
	least, most float64
	whole       bool
	get         func(s godwit.Sampling) float64
	set         func(s *godwit.Sampling, v float64)
}

var samplingFields = []samplingField{
	{
		"temperature", "randomness; 0 takes the most likely token", 0, 100, false,
		func(s godwit.Sampling) float64 { return s.Temperature },
		func(s *godwit.Sampling, v float64) { s.Temperature = v },
	},
	{
		"top-p", "sample from the most likely tokens up to this probability", 0, 1, false,
		func(s godwit.Sampling) float64 { return s.TopP },
		func(s *godwit.Sampling, v float64) { s.TopP = v },
	},
	{
		"top-k", "sample from this many most likely tokens; 0: all", 0, math.MaxInt32, true,
		func(s godwit.Sampling) float64 { return float64(s.TopK) },
		func(s *godwit.Sampling, v float64) { s.TopK = int(v) },
	},
	{
		"min-p", "leave out tokens below this share of the largest probability", 0, 1, false,
		func(s godwit.Sampling) float64 { return s.MinP },
		func(s *godwit.Sampling, v float64) { s.MinP = v },
	},
	{
		"repeat-penalty", "divide the logits of tokens that occurred", 0, 100, false,
		func(s godwit.Sampling) float64 { return s.RepetitionPenalty },
		func(s *godwit.Sampling, v float64) { s.RepetitionPenalty = v },
	},
	{
		"presence-penalty", "subtract from the logits of new tokens that occurred", -100, 100, false,
		func(s godwit.Sampling) float64 { return s.PresencePenalty },
		func(s *godwit.Sampling, v float64) { s.PresencePenalty = v },
	},
	{
		"frequency-penalty", "subtract for each occurrence", -100, 100, false,
		func(s godwit.Sampling) float64 { return s.FrequencyPenalty },
		func(s *godwit.Sampling, v float64) { s.FrequencyPenalty = v },
	},
}

func (f samplingField) setting() Setting {
	set := func(s *Settings, text string) error {
		if text == "default" {
			delete(s.sampling, f.name)
			return nil
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !(v >= f.least && v <= f.most) || f.whole && v != math.Trunc(v) {
			return fmt.Errorf("%s is %q, want %s, or default", f.name, text, f.wanted())
		}
		if s.sampling == nil {
			s.sampling = map[string]float64{}
		}
		s.sampling[f.name] = v
		return nil
	}
	get := func(s *Settings, facts Facts) string {
		if v, ok := s.sampling[f.name]; ok {
			return number(v)
		}
		return number(f.get(facts.Sampling)) + " (the checkpoint's)"
	}
	return Setting{f.name, "NUMBER", f.help, set, get}
}

func (f samplingField) wanted() string {
	if f.whole {
		return fmt.Sprintf("a whole number from %s", number(f.least))
	}
	return fmt.Sprintf("a number from %s to %s", number(f.least), number(f.most))
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func setMaxTokens(s *Settings, text string) error {
	if text == "all" || text == "default" {
		s.maxTokens = 0
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return fmt.Errorf("max-tokens is %q, want a whole number from 1, or all", text)
	}
	s.maxTokens = n
	return nil
}

func getMaxTokens(s *Settings, _ Facts) string {
	if s.maxTokens == 0 {
		return "all"
	}
	return strconv.Itoa(s.maxTokens)
}

func setBudget(s *Settings, text string) error {
	if text == "none" || text == "default" {
		s.budget = 0
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return fmt.Errorf("thinking-budget is %q, want a whole number from 1, or none", text)
	}
	s.budget = n
	return nil
}

func getBudget(s *Settings, _ Facts) string {
	if s.budget == 0 {
		return "none"
	}
	return strconv.Itoa(s.budget)
}

func setSeed(s *Settings, text string) error {
	if text == "random" || text == "default" {
		s.seed = nil
		return nil
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("seed is %q, want a whole number from 0, or random", text)
	}
	s.seed = &seed
	return nil
}

func getSeed(s *Settings, _ Facts) string {
	if s.seed == nil {
		return "random"
	}
	return strconv.FormatUint(*s.seed, 10)
}

func setMouse(s *Settings, text string) error {
	if !slices.Contains([]string{"on", "off", "default"}, text) {
		return fmt.Errorf("mouse is %q, want on or off", text)
	}
	s.noMouse = text == "off"
	return nil
}

func getMouse(s *Settings, _ Facts) string {
	if s.noMouse {
		return "off"
	}
	return "on"
}

// words is a setting of a few words, of which the one that stands for "" is
// "default" or, where that is not among them, the first.
func words(name, values, help string, field func(*Settings) *string) Setting {
	all := strings.Split(values, "|")
	zero := all[0]
	if slices.Contains(all, "default") {
		zero = "default"
	}
	set := func(s *Settings, text string) error {
		switch {
		case text == zero || text == "default":
			*field(s) = ""
		case slices.Contains(all, text):
			*field(s) = text
		default:
			return fmt.Errorf("%s is %q, want %s", name, text, strings.Join(all, ", "))
		}
		return nil
	}
	get := func(s *Settings, _ Facts) string {
		if text := *field(s); text != "" {
			return text
		}
		return zero
	}
	return Setting{name, values, help, set, get}
}
