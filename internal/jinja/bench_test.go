package jinja

import (
	"os"
	"path/filepath"
	"testing"
)

const benchTemplate = "chatml-think.jinja"

func readTemplate(b *testing.B) string {
	b.Helper()
	data, err := os.ReadFile(filepath.Join(vectorDir, benchTemplate))
	if err != nil {
		b.Fatal(err)
	}
	return string(data)
}

func BenchmarkParse(b *testing.B) {
	source := readTemplate(b)
	b.SetBytes(int64(len(source)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(source); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRender renders a conversation of 40 turns.
func BenchmarkRender(b *testing.B) {
	tmpl, err := Parse(readTemplate(b))
	if err != nil {
		b.Fatal(err)
	}
	var turns []Value
	for i := range 40 {
		m := NewDict()
		m.Set("role", []string{"user", "assistant"}[i%2])
		m.Set("content", "Some text of a usual length, with a few words more than strictly needed.")
		turns = append(turns, m)
	}
	vars := NewDict()
	vars.Set("messages", NewList(turns...))
	vars.Set("tools", nil)
	vars.Set("add_generation_prompt", true)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tmpl.Render(vars, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
