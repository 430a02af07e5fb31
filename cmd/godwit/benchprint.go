package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/godwit-llm/godwit"
	"github.com/godwit-llm/godwit/internal/bench"
)

// benchHelp explains the command.
const benchHelp = `Measure how fast a model loads and generates, and what share that is of what
the device's memory and arithmetic allow. There are three ways.

Batches (--batch): B requests start together, with prompts of random tokens that
are new in every run. One run warms up; of the others the median is shown and,
in brackets, the least and the most.

  first token  seconds from a request's start to its first token, of the run's
               median request
  prompt       tokens of all prompts, in the time until all requests have their
               first token
  decode       tokens/s of all requests together, while all B of them decode:
               after the last one has its first token, before the first one has
               its last. Steps that read prompts do not count.
  step         B tokens at that rate: the time of one decode step
  moved        bytes that the step must move: weights once (of a mixture of
               experts those that B tokens are expected to choose), keys and
               values of the mean context, and the recurrent state, read and
               written; and these bytes in the time of the step
  floor        tokens/s if the step took just the time to read those bytes, and
               the share of it that was reached. The prompt's floor is the time
               of its operations, or of its bytes where that is longer.

Load (--concurrency, --rate): requests come and go. With --concurrency C, C
clients each send a request, wait for its end and send the next one. With --rate
R, R requests a second arrive at random times (a Poisson process), whether
earlier ones have ended or not; --concurrency then bounds how many are in
flight, and later ones wait. Lengths are distributions:

  512                always that
  100-900            uniform, both ends included
  normal:512,128     normal with a mean and a standard deviation, 1 at least
  FILE               the numbers in a file, in order, and again from its start

Requests that warm up come first at each level and do not count.

  in flight    C; with --rate the mean, and the bound if there is one
  time         from the start to the last token
  out          new tokens of all requests in that time
  floor        as above, of C requests that do nothing but decode (with --rate of
               the mean number of those that decode), and out as a share of it
  with prompts the share of the time that decode steps at the floor and the
               operations of the prompts take, one after another
  prompt       tokens of all prompts in that time, reused ones included
  first token  from a request's arrival to its first token
  between tokens
               from one token of a request to its next, of all requests
  end to end   from a request's arrival to its last token
  queue        of that, before the first step that it is in
  reused       share of the prompts' tokens that earlier requests had computed;
               then what came of looking for them, by reason
  peak pages   of the cache in use at once, and how many there are

Speculation (--speculate, with --batch): the same requests with drafts and
without, on text that repeats its prompt ("repeats": few ids to choose from) and
on text that repeats nothing ("new": random prompts, temperature 1).

  drafted      tokens that were verified along with others, of all new tokens
  same output  requests that yielded the same tokens both ways

The floors come from a plain reader of the device's memory and from a large
matrix product, both in the same run. A model that fits into the caches of its
device can beat them.

With --config, a model of that geometry gets random weights on the device:
no weights need to be downloaded to know how fast it will be. Without --model and
--config the small built-in model is measured.`

const benchExamples = `  godwit bench
  godwit bench --model ./Nemotron-Mini-4B --prompt 512 --decode 128 --batch 1,8,64
  godwit bench --config nvidia/NVIDIA-Nemotron-Nano-9B-v2
  godwit bench --config config.json --device cuda --batch 1 --json
  godwit bench --config config.json --prompt 512 --decode 256 --concurrency 1,8,64
  godwit bench --config config.json --prompt 512 --decode 256 --batch 1,8 --speculate
  godwit bench --prompt normal:200,50 --decode 10-100 --rate 5 --requests 100
  godwit bench --prompt 20-40 --decode 30 --concurrency 4 --shared-prefix 300 --turns 5`

// printSubject writes what was measured, and how that went.
func printSubject(out io.Writer, s *bench.Subject, c *bench.Course, requests ...string) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	row("model\t%s: %s, %s parameters, %s", s.Model, s.Architecture, number(float64(s.Parameters)), godwit.Bytes(s.WeightBytes))
	states := ""
	if s.StateType == "float16" {
		states = ", states in " + s.StateType
	}
	row("device\t%s, in %s%s", s.Device, s.DType, states)
	what := "weights read"
	if s.Random {
		what = "random weights made"
	}
	row("load\t%.3f s; %s in %.3f s, %s", s.LoadSeconds, what, s.WeightSeconds, perSecond(s.WeightRate))
	if s.ReadRate > 0 {
		row("limits\tmemory read at %s, matrix products at %s (%s)", perSecond(s.ReadRate), operations(s.ProductRate), s.ProductBy)
	}
	row("memory\t%s", memory(c.Memory))
	for i, text := range requests {
		row("%s\t%s", []string{"requests", "", "", ""}[min(i, 1)], text)
	}
	for _, note := range c.Notes {
		row("note\t%s", note)
	}
	return w.Flush()
}

func memory(m bench.Memory) string {
	text := fmt.Sprintf("planned %s", godwit.Bytes(m.Planned))
	if m.Peak > 0 {
		text += fmt.Sprintf("; %s: peak %s, mean %s", m.Of, godwit.Bytes(m.Peak), godwit.Bytes(m.Mean))
		if m.Over > 0 {
			text += fmt.Sprintf("; driver and kernels take %s of it, %s over the plan", godwit.Bytes(m.Over), percent(float64(m.Over)/float64(m.Planned)))
		}
	}
	return text
}

// floorOf prints a rate that cannot be passed, and how near another came.
func floorOf(rate, share float64) string {
	if rate == 0 {
		return "-"
	}
	return fmt.Sprintf("%s tokens/s: %s", number(rate), percent(share))
}

func percent(share float64) string {
	if share == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*share)
}

// number prints a number with four digits, and a unit from a million on.
func number(v float64) string {
	switch {
	case v >= 1e9:
		return fmt.Sprintf("%.3g B", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%.3g M", v/1e6)
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.4g", v)
}

func perSecond(bytes float64) string { return godwit.Bytes(bytes).String() + "/s" }

func operations(rate float64) string {
	if rate >= 1e12 {
		return fmt.Sprintf("%.4g TFLOP/s", rate/1e12)
	}
	return fmt.Sprintf("%.4g GFLOP/s", rate/1e9)
}
