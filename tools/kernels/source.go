//go:build linux

package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// source is a .cu file and the headers of ours that it includes.
type source struct {
	name    string
	text    string
	headers []header
}

type header struct{ name, text string }

var includes = regexp.MustCompile(`(?m)^#include "([^"]+)"`)

func readSource(dir, name string) (*source, error) {
	text, err := os.ReadFile(filepath.Join(dir, name+".cu"))
	if err != nil {
		return nil, err
	}
	s := &source{name: name, text: string(text)}
	return s, s.follow(dir, s.text)
}

// follow reads the headers that a text includes, and theirs.
func (s *source) follow(dir, text string) error {
	for _, m := range includes.FindAllStringSubmatch(text, -1) {
		if slices.ContainsFunc(s.headers, func(h header) bool { return h.name == m[1] }) {
			continue
		}
		t, err := os.ReadFile(filepath.Join(dir, m[1]))
		if err != nil {
			return err
		}
		s.headers = append(s.headers, header{m[1], string(t)})
		if err := s.follow(dir, string(t)); err != nil {
			return err
		}
	}
	return nil
}

// manifest records what the images of one source were made from.
type manifest struct {
	name     string
	Compiler string            `json:"compiler"`
	Options  []string          `json:"options"`
	Targets  []string          `json:"targets"`
	Inputs   map[string]string `json:"inputs"`  // sha256 by file
	Kernels  []string          `json:"kernels"` // names
}

func (s *source) manifest(version string) *manifest {
	m := &manifest{name: s.name, Compiler: version, Options: options, Targets: targets}
	m.Inputs = map[string]string{s.name + ".cu": sum(s.text)}
	for _, h := range s.headers {
		m.Inputs[h.name] = sum(h.text)
	}
	return m
}

func sum(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

// recorded reports whether the images in a folder were made from the same
// inputs in the same way.
func (m *manifest) recorded(dir string) bool {
	data, err := os.ReadFile(filepath.Join(dir, m.name+".json"))
	if err != nil {
		return false
	}
	old := manifest{name: m.name}
	if json.Unmarshal(data, &old) != nil {
		return false
	}
	old.Kernels = nil
	return reflect.DeepEqual(&old, m)
}

// add notes the kernels of one target.
func (m *manifest) add(u usage) {
	if len(u) > 0 {
		m.Kernels = slices.Sorted(maps.Keys(u))
	}
}

func (m *manifest) write(dir string) error {
	data, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, m.name+".json"), append(data, '\n'), 0o644)
}

// writeImage compresses code. The same code gives the same file.
func writeImage(path string, code []byte) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(code); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// usage is what the assembler said about each kernel.
type usage map[string]string

var (
	entryLine = regexp.MustCompile(`Compiling entry function '([^']+)'`)
	usedLine  = regexp.MustCompile(`Used (\d+) registers`)
	spillLine = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads`)
	smemLine  = regexp.MustCompile(`(\d+) bytes smem`)
	noise     = regexp.MustCompile(`(?m)^ptxas info .*$|^.*\d+ bytes stack frame.*$`)
)

// parseUsage reads the assembler's report and returns what else was said.
func parseUsage(text string) (u usage, rest string) {
	u = usage{}
	name, frame := "", ""
	for line := range strings.Lines(text) {
		if m := entryLine.FindStringSubmatch(line); m != nil {
			name, frame = m[1], ""
		}
		if m := spillLine.FindStringSubmatch(line); m != nil && (m[1] != "0" || m[2] != "0") {
			frame = fmt.Sprintf(", STACK %s, SPILLS %s + %s bytes", m[1], m[2], m[3])
		}
		if m := usedLine.FindStringSubmatch(line); m != nil {
			u[name] = fmt.Sprintf("%3s registers", m[1])
			if s := smemLine.FindStringSubmatch(line); s != nil {
				u[name] += ", " + s[1] + " bytes shared"
			}
			u[name] += frame
		}
	}
	return u, strings.TrimSpace(noise.ReplaceAllString(text, ""))
}

func (u usage) print(to *strings.Builder, target string) {
	for _, name := range slices.Sorted(maps.Keys(u)) {
		fmt.Fprintf(to, "  %-8s %-40s %s\n", target, name, u[name])
	}
}
