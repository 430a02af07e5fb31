package scheduler

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit/internal/kv"
)

var update = flag.Bool("update", false, "write what the scripts print into their files")

// TestScripts runs testdata/*.txt. A script is a series of blocks: commands, a
// line of dashes, and what they print. Lines that begin with # are comments.
//
//	scheduler pages=8 page=4 slots=2 tokens=16 …   begins anew
//	add a ids=abcdef max=3 priority=1 …            adds a request whose ids are letters
//	step 3                                         makes three steps
//	draft a ids=BCx                                sets a draft for the next step
//	end a                                          takes a request out
//	pin a, unpin a
//
// Each id that a request is given after a step is the next capital letter. A
// request ends when it has max of them.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("got %d scripts, want at least 5 (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// play returns the script with what its commands print.
func play(t *testing.T, script string) string {
	var out bytes.Buffer
	var p *player
	expected := false
	for line := range strings.Lines(script) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
			expected = false
		case expected:
			continue
		case words[0] == "----":
			out.WriteString(line)
			if p != nil {
				out.Write(p.out.Bytes())
				p.out.Reset()
			}
			expected = true
			continue
		case strings.HasPrefix(line, "#"):
		case words[0] == "scheduler":
			p = newPlayer(t, words[1:])
		default:
			p.command(words)
		}
		out.WriteString(line)
	}
	return out.String()
}

// player runs the commands of a script on one scheduler.
type player struct {
	*testing.T
	s    *Scheduler
	all  map[string]*Sequence
	max  map[*Sequence]int
	name map[*Sequence]string
	pins map[string]*kv.Pin
	out  bytes.Buffer
	last kv.Lookups
}

// options are name=value words.
type options map[string]string

func parseOptions(words []string) options {
	o := options{}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		o[name] = value
	}
	return o
}

func (o options) number(name string, def int) int {
	if n, err := strconv.Atoi(o[name]); err == nil {
		return n
	}
	return def
}

func (o options) has(name string) bool { _, ok := o[name]; return ok }

func newPlayer(t *testing.T, words []string) *player {
	o := parseOptions(words)
	c := Config{
		Config: kv.Config{
			Pages: o.number("pages", 100), PageSize: o.number("page", 4), Slots: o.number("slots", 8),
			Recurrent: o.has("recurrent"), Prefixes: !o.has("noprefixes"),
			Snapshots: o.number("snapshots", 0), HostSnapshots: o.number("host", 0), Spares: o.number("spares", 0),
			Least: o.number("least", 0),
		},
		Tokens: o.number("tokens", 100), Budget: o.number("budget", 0), Outputs: o.number("outputs", 100),
		Spacing: o.number("spacing", 0),
	}
	return &player{
		T: t, s: New(c), all: map[string]*Sequence{}, max: map[*Sequence]int{},
		name: map[*Sequence]string{}, pins: map[string]*kv.Pin{},
	}
}

func (p *player) command(words []string) {
	p.Helper()
	switch name := words[min(1, len(words)-1)]; words[0] {
	case "add":
		p.add(name, parseOptions(words[2:]))
	case "step":
		n, _ := strconv.Atoi(name)
		for range max(n, 1) {
			p.step()
		}
	case "draft":
		p.all[name].Draft = letters(parseOptions(words[2:])["ids"])
	case "end":
		p.s.Remove(p.all[name])
	case "unpin":
		p.s.Unpin(p.pins[name])
	default:
		p.Fatalf("unknown command %q", words)
	}
	if err := p.s.Check(); err != nil {
		p.Fatalf("after %q: %v", words, err)
	}
}

var wants = map[string]Want{"": Next, "logits": Logits, "last": LastHidden, "hidden": Hidden, "pin": Nothing}

func letters(s string) (ids []int32) {
	for _, c := range s {
		ids = append(ids, c)
	}
	return ids
}

func (p *player) add(name string, o options) {
	q := &Sequence{IDs: letters(o["ids"]), Want: wants[o["want"]], Priority: o.number("priority", 0)}
	for _, m := range strings.Split(o["marks"], ",") {
		if n, err := strconv.Atoi(m); err == nil {
			q.Marks = append(q.Marks, n)
		}
	}
	p.all[name], p.name[q], p.max[q] = q, name, o.number("max", 100)
	p.s.Add(q)
}

func (p *player) step() {
	t := p.s.Next()
	var words []string
	for _, m := range t.Moves {
		words = append(words, fmt.Sprintf("(%s %d to %d)", m.Kind, m.From, m.To))
	}
	for _, piece := range t.Pieces {
		word := fmt.Sprintf("%s[%d:%d)", p.name[piece.Sequence], piece.From, piece.To)
		if len(piece.Drafted) > 0 {
			word += "+" + string(piece.Drafted)
		}
		words = append(words, word)
	}
	p.s.Computed()
	for _, q := range t.Complete {
		words = append(words, p.name[q]+" complete")
		p.finish(q)
	}
	for _, piece := range slices.Clone(t.Pieces) {
		if p.deliver(piece) {
			words = append(words, p.name[piece.Sequence]+" ended")
			p.finish(piece.Sequence)
		}
	}
	p.report(words, t)
}

// deliver gives a sequence its next id, and those of its draft that are
// right. It reports whether it has ended.
func (p *player) deliver(piece Piece) bool {
	q := piece.Sequence
	if piece.To < len(q.IDs) {
		return false
	}
	if q.Want != Next {
		return q.Want != Nothing // which is complete in the next step
	}
	for i := 0; ; i++ {
		n := len(q.IDs) - q.prompt
		q.IDs = append(q.IDs, 'A'+int32(n))
		if n+1 == p.max[q] {
			return true
		}
		if i == len(piece.Drafted) || piece.Drafted[i] != 'A'+int32(n) {
			return false
		}
	}
}

func (p *player) finish(q *Sequence) {
	if q.Want == Nothing {
		p.pins[p.name[q]] = p.s.Pin(q)
	}
	p.s.Remove(q)
}

func (p *player) report(words []string, t *Step) {
	u := p.s.Usage()
	waiting, _ := p.s.Len()
	if t.Preempted > 0 {
		words = append(words, fmt.Sprintf("preempted=%d", t.Preempted))
	}
	if waiting > 0 {
		words = append(words, fmt.Sprintf("waiting=%d", waiting))
	}
	now := p.s.Lookups()
	for r := range now.Reasons {
		if now.Reasons[r] > p.last.Reasons[r] {
			words = append(words, fmt.Sprintf("%q", kv.Reason(r)))
		}
	}
	p.last = now
	words = append(words, fmt.Sprintf("free=%d+%d", u.FreePages, u.CachedPages))
	if u.PinnedPages > 0 {
		words = append(words, fmt.Sprintf("pinned=%d", u.PinnedPages))
	}
	if p.s.Recurrent {
		words = append(words, fmt.Sprintf("kept=%d+%d", u.Snapshots, u.HostSaved))
	}
	fmt.Fprintln(&p.out, strings.Join(words, " "))
}
