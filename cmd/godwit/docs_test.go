package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestStructuredOutputPage runs the commands of the page, with the schema that
// stands there.
func TestStructuredOutputPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/STRUCTURED_OUTPUT.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```(json|sh)\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	dir, ran := t.TempDir(), 0
	for _, b := range blocks {
		if b[1] == "json" {
			if err := os.WriteFile(filepath.Join(dir, "bird.json"), []byte(b[2]), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		command := strings.ReplaceAll(strings.TrimSpace(b[2]), "bird.json", filepath.Join(dir, "bird.json"))
		prompt := regexp.MustCompile(`"(.*)"$`).FindStringSubmatch(command)[1]
		args := append(strings.Fields(strings.TrimSuffix(command, `"`+prompt+`"`))[1:], prompt)
		var out, errOut bytes.Buffer
		if status := execute(t.Context(), args, nil, &out, &errOut); status != 0 || !strings.HasPrefix(out.String(), "{") {
			t.Errorf("%s: status %d, %s%s", command, status, out.String(), errOut.String())
		}
		if strings.Contains(command, "schema") && !json.Valid(out.Bytes()) {
			t.Errorf("%s: %s", command, out.String())
		}
		ran++
	}
	if ran < 2 {
		t.Errorf("the page has %d commands, want those that are there", ran)
	}
}

// TestChatPage runs the commands of the page, with what they pipe in.
func TestChatPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/CHAT.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted, ran := regexp.MustCompile(`"([^"]*)"`), 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		for line := range strings.Lines(block[1]) {
			piped, command, ok := strings.Cut(strings.TrimSpace(line), " | ")
			if !ok {
				piped, command = "", piped
			}
			var in strings.Builder
			for _, turn := range quoted.FindAllStringSubmatch(piped, -1) {
				in.WriteString(turn[1] + "\n")
			}
			args := strings.Fields(quoted.ReplaceAllString(command, "text"))[1:]
			var out, errOut bytes.Buffer
			status := execute(t.Context(), args, strings.NewReader(in.String()), &out, &errOut)
			if status != 0 || ok != (out.Len() > 0) {
				t.Errorf("%s: status %d, %q, %s", line, status, out.String(), errOut.String())
			}
			ran++
		}
	}
	if ran != 3 {
		t.Errorf("ran %d commands of the page, want 3", ran)
	}
}
