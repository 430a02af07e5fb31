package godwit_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/godwit-llm/godwit"
)

// TestSpeculation: texts are what they are without, greedy or sampled, with
// their log-probabilities, and one request can do without.
func TestSpeculation(t *testing.T) {
	passage := "The old man looked at the sea and said nothing for a long while. "
	prompts := []string{strings.Repeat(passage, 4) + "The old", "Once upon a time"}
	var want []*godwit.Result
	for _, speculation := range []string{"off", "auto"} {
		m, err := godwit.OpenBuiltin(godwit.Options{Device: "cpu", MaxSequences: 2, Context: 400, Speculation: speculation})
		if err != nil {
			t.Fatal(err)
		}
		seed := uint64(5)
		for i, prompt := range prompts {
			for k, s := range []godwit.Sampling{{}, {Temperature: 0.8, TopP: 0.9, RepetitionPenalty: 1.1, FrequencyPenalty: 0.1}} {
				r, err := m.Generate(t.Context(), godwit.Request{Prompt: prompt, MaxTokens: 120, Sampling: &s, Seed: &seed, TopLogs: 2, IgnoreEOS: true})
				if err != nil {
					t.Fatal(err)
				}
				if speculation == "off" {
					want = append(want, r)
					continue
				}
				w := want[2*i+k]
				if !slices.Equal(r.IDs, w.IDs) || r.Text != w.Text || r.Stats.DecodeTokens != w.Stats.DecodeTokens {
					t.Errorf("%q, %+v: got %q, want %q", prompt, s, r.Text, w.Text)
				}
				t.Logf("%d tokens drafted, %d accepted", r.Stats.DraftedTokens, r.Stats.AcceptedTokens)
			}
		}
		before := m.Metrics()
		if _, err := m.Generate(t.Context(), godwit.Request{Prompt: prompts[0], MaxTokens: 60, Sampling: &godwit.Sampling{}, IgnoreEOS: true, NoSpeculation: true}); err != nil {
			t.Fatal(err)
		}
		if after := m.Metrics(); after.Drafts != before.Drafts || speculation == "off" && after.Drafts > 0 || after.AcceptedTokens > after.DraftedTokens {
			t.Errorf("%s: drafts where none were wanted: %+v, before %+v", speculation, after, before)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSpeculationPlan: copies of states and rows of logits for drafts are
// planned for.
func TestSpeculationPlan(t *testing.T) {
	var plans []godwit.Plan
	for _, opts := range []godwit.Options{{}, {Speculation: "off"}, {Speculation: "auto"}, {Speculation: "auto", MaxSequences: 2}} {
		opts.Device, opts.Context, opts.NoPrefixCache = "cpu", 64, true
		m, err := godwit.OpenBuiltin(opts)
		if err != nil {
			t.Fatal(err)
		}
		plans = append(plans, m.Plan())
		m.Close()
	}
	one := plans[0].State / 16
	if plans[1].State != plans[0].State || plans[1].Scratch != plans[0].Scratch {
		t.Errorf("off is not the same as nothing: %+v, %+v", plans[0], plans[1])
	}
	if plans[2].State != (16+8)*one || plans[3].State != (2+2)*one || plans[2].Scratch <= plans[0].Scratch {
		t.Errorf("got states of %d and %d bytes where one has %d, scratch of %d instead of %d", plans[2].State, plans[3].State, one, plans[2].Scratch, plans[0].Scratch)
	}
}
