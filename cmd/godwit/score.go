package main

import (
	"errors"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/godwit-llm/godwit"
	"github.com/godwit-llm/godwit/internal/hub"
)

// scoreOutput is the object of godwit score.
type scoreOutput struct {
	IDs           []int32     `json:"ids"`
	TokenLogProbs []float32   `json:"token_logprobs"` // [i] belongs to ids[i+1]
	TopIDs        [][]int32   `json:"top_ids"`        // [i] after ids[:i+1]
	TopLogProbs   [][]float32 `json:"top_logprobs"`
	Perplexity    *float64    `json:"perplexity"` // null for a single id
}

func scoreCommand(c *console) *cobra.Command {
	var model, device, dtype, cacheType string
	var top int
	cmd := &cobra.Command{
		Use:   "score [--model DIR | NAME] [--top N]",
		Short: "Print the log-probabilities of given ids or text",
		Long: `Read {"ids": [...]} or {"text": "..."} from standard input and print
{"ids", "token_logprobs", "top_ids", "top_logprobs", "perplexity"}.
token_logprobs[i] belongs to ids[i+1]; top_ids[i] and top_logprobs[i] are the
most likely tokens after ids[:i+1].`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if top < 0 {
				return usageError{fmt.Errorf("--top is %d, want at least 0", top)}
			}
			var input struct {
				IDs  []int32 `json:"ids"`
				Text *string `json:"text"`
			}
			if err := readJSON(c.in, &input); err != nil {
				return fmt.Errorf("standard input: want {\"ids\": [...]} or {\"text\": \"...\"}: %w", err)
			}
			if (input.IDs == nil) == (input.Text == nil) {
				return errors.New("standard input: want either ids or text")
			}
			dir, err := modelDir(cmd.Context(), c, model, hub.Model)
			if err != nil {
				return err
			}
			bar := newLoadBar(c)
			m, err := openModel(cmd.Context(), dir, godwit.Options{Device: device, DType: dtype, CacheType: cacheType, MaxSequences: 1, NoPrefixCache: true, OnEvent: bar.event})
			bar.done()
			if err != nil {
				return err
			}
			defer m.Close()
			if input.Text != nil {
				if input.IDs, err = m.Encode(*input.Text, true); err != nil {
					return err
				}
			}
			scores, err := m.Score(cmd.Context(), input.IDs, top)
			if err != nil {
				return err
			}
			return printJSON(c.out, scoreReport(scores))
		},
	}
	cmd.Flags().StringVar(&model, "model", "", modelHelp)
	cmd.Flags().StringVar(&device, "device", "auto", "auto, cpu, cuda or cuda:N")
	cmd.Flags().StringVar(&dtype, "dtype", "auto", dtypeHelp)
	cmd.Flags().StringVar(&cacheType, "cache-type", "auto", cacheTypeHelp)
	cmd.Flags().IntVar(&top, "top", 5, "how many most likely tokens to print at each position")
	return cmd
}

func scoreReport(s *godwit.Scores) scoreOutput {
	out := scoreOutput{IDs: s.IDs, TokenLogProbs: []float32{}}
	sum := 0.0
	for _, v := range s.LogProbs {
		out.TokenLogProbs = append(out.TokenLogProbs, float32(v))
		sum += v
	}
	if n := len(s.LogProbs); n > 0 {
		perplexity := math.Exp(-sum / float64(n))
		out.Perplexity = &perplexity
	}
	for _, list := range s.Top {
		ids, logs := []int32{}, []float32{}
		for _, t := range list {
			ids, logs = append(ids, t.ID), append(logs, float32(t.LogProb))
		}
		out.TopIDs, out.TopLogProbs = append(out.TopIDs, ids), append(out.TopLogProbs, logs)
	}
	return out
}
