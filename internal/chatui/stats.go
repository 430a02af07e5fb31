package chatui

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-llm/godwit"
)

// describe is one line about the model.
func (c *conversation) describe() string {
	f := c.facts
	return fmt.Sprintf("%s · %s, %s parameters · %s · context %s tokens", c.name, f.Architecture, millions(f.Parameters), f.Device, thousands(f.Context))
}

func runStats(c *conversation, _ string) (outcome, error) {
	table := [][2]string{
		{"model", c.describe()},
		{"loaded", fmt.Sprintf("in %.2f s; reply format %s", c.facts.LoadSeconds, c.facts.Format)},
	}
	if i := c.last("assistant"); i >= 0 && c.entries[i].stats != (godwit.Stats{}) {
		s := c.entries[i].stats
		table = append(table, [][2]string{
			{"prompt", fmt.Sprintf("%s tokens, %s of them known from before, in %.3f s", thousands(s.PromptTokens), thousands(s.ReusedTokens), s.PromptSeconds)},
			{"first token", fmt.Sprintf("after %.3f s", c.entries[i].first.Seconds())},
			{"answer", fmt.Sprintf("%s tokens in %.3f s, %.1f tokens/s", thousands(s.DecodeTokens), s.DecodeSeconds, s.TokensPerSecond())},
		}...)
	}
	table = append(table, [2]string{"session", fmt.Sprintf("answers %d, tokens %s", c.answers, thousands(c.tokens))})
	for _, text := range c.infos {
		table = append(table, [2]string{"note", text})
	}
	return outcome{text: columns(table)}, nil
}

// summary is a few words about a reply.
func (e *entry) summary() string {
	var parts []string
	if e.ended != "" {
		parts = append(parts, e.ended)
	}
	if e.stats.DecodeTokens > 0 {
		parts = append(parts, fmt.Sprintf("%.1f tokens/s", e.stats.TokensPerSecond()))
	}
	if e.first > 0 {
		parts = append(parts, fmt.Sprintf("first after %.2f s", e.first.Seconds()))
	}
	return strings.Join(parts, " · ")
}

// speed is the rate of a reply that is being generated.
func speed(tokens int, since time.Duration) float64 {
	if tokens < 2 || since <= 0 {
		return 0
	}
	return float64(tokens-1) / since.Seconds()
}

// thousands writes 12345 as 12,345.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func millions(n int64) string {
	if n < 1e9 {
		return fmt.Sprintf("%.3g M", float64(n)/1e6)
	}
	return fmt.Sprintf("%.3g B", float64(n)/1e9)
}
