package bench

import (
	"fmt"
	"slices"
	"time"

	"github.com/godwit-llm/godwit"
)

// LoadReport is what came of some load. Units are those of Report.
type LoadReport struct {
	Subject

	Prompt       string  `json:"prompt_lengths"` // as it was asked for
	Decode       string  `json:"decode_lengths"`
	SharedPrefix int     `json:"shared_prefix_tokens"`
	Turns        int     `json:"turns"`
	Rate         float64 `json:"requested_rate"` // conversations a second; 0: a closed loop
	Seed         uint64  `json:"seed"`
	MaxSequences int     `json:"max_sequences"`
	Levels       []Level `json:"levels"`

	Course
}

func newLoadReport(m *godwit.Model, o *LoadOptions) *LoadReport {
	return &LoadReport{
		Subject: newSubject(m), Course: newCourse(m),
		Prompt: o.Prompt.String(), Decode: o.Decode.String(), SharedPrefix: o.SharedPrefix, Turns: max(o.Turns, 1),
		Rate: o.Rate, Seed: o.Seed, MaxSequences: m.Plan().MaxSequences, Levels: []Level{},
	}
}

// Level is what a number of requests in flight showed. Tokens, rates and times
// are those of the requests that ended well.
type Level struct {
	Concurrency int            `json:"concurrency"` // most requests in flight; 0: no limit
	Warmup      int            `json:"warmup_requests"`
	Requests    int            `json:"requests"`
	Failed      int            `json:"failed_requests"` // with those of their conversations that could not be sent
	Errors      map[string]int `json:"errors"`          // how many requests had which

	Seconds      float64 `json:"seconds"` // from the start to the last token
	RequestRate  float64 `json:"requests_per_second"`
	OutputTokens int     `json:"output_tokens"`
	OutputRate   float64 `json:"output_tokens_per_second"`
	PromptTokens int     `json:"prompt_tokens"` // those that were reused included
	PromptRate   float64 `json:"prompt_tokens_per_second"`

	FirstToken Percentiles    `json:"first_token_seconds"`     // from the arrival
	InterToken Percentiles    `json:"inter_token_seconds"`     // between two tokens of a request, of all
	PerToken   Percentiles    `json:"time_per_token_seconds"`  // of a request, behind its first token
	EndToEnd   Percentiles    `json:"end_to_end_seconds"`      // from the arrival to the last token
	Queue      Percentiles    `json:"queue_seconds"`           // from the arrival to the step that it begins with
	Held       Percentiles    `json:"held_seconds"`            // of that, until there was a place in flight
	MeanFlight float64        `json:"mean_requests_in_flight"` // of requests that were sent
	PeakFlight int            `json:"peak_requests_in_flight"`
	Decoding   float64        `json:"mean_decoding_requests"`      // between their first and their last token
	Batch      int            `json:"floor_batch"`                 // requests that the floor is of
	Context    float64        `json:"context"`                     // mean positions of a decoding request
	Traffic    godwit.Traffic `json:"step_bytes"`                  // of a decode step of Batch
	FloorRate  float64        `json:"floor_tokens_per_second"`     // if there were only such steps
	FloorShare float64        `json:"share_of_floor"`              // OutputRate
	Operations float64        `json:"prompt_operations"`           // of what was not reused
	WorkShare  float64        `json:"share_of_floor_with_prompts"` // the time of such steps and operations, one after another

	ReusedTokens int     `json:"reused_prompt_tokens"`
	ReusedShare  float64 `json:"reused_share"`
	Lookups      Lookups `json:"prefix_lookups"`
	Preempted    int     `json:"preemptions"`
	Pages        int     `json:"pages"`
	PeakPages    int     `json:"peak_pages"` // in use at once, of what was seen every 2 ms
}

// Lookups counts what came of looking for the beginnings of prompts, by the
// reasons of godwit.PrefixLookups.
type Lookups struct {
	Hit        uint64 `json:"hit"`
	Partial    uint64 `json:"partial"`
	NoSnapshot uint64 `json:"no_snapshot"`
	Evicted    uint64 `json:"evicted"`
	TooShort   uint64 `json:"too_short"`
	Miss       uint64 `json:"miss"`
}

// Percentiles of some times, in seconds; 0 where there was none.
type Percentiles struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	Mean float64 `json:"mean"`
	Most float64 `json:"max"`
}

// percentiles sorts the values.
func percentiles(values []float64) Percentiles {
	if len(values) == 0 {
		return Percentiles{}
	}
	slices.Sort(values)
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return Percentiles{
		P50: percentile(values, 50), P90: percentile(values, 90), P99: percentile(values, 99),
		Mean: sum / float64(len(values)), Most: values[len(values)-1],
	}
}

// percentile of sorted values: between the two nearest ranks it lies in
// proportion, with the least value at 0 and the largest at 100.
func percentile(sorted []float64, p float64) float64 {
	at := p / 100 * float64(len(sorted)-1)
	below := min(int(at), len(sorted)-1)
	above := min(below+1, len(sorted)-1)
	return sorted[below] + (sorted[above]-sorted[below])*(at-float64(below))
}

// newLevel sums up what clients have seen of so many requests. The floor is
// that of a batch; 0 stands for the mean number of requests that decode.
func newLevel(m *godwit.Model, seen load, asked, batch int) (Level, error) {
	v := Level{Errors: map[string]int{}, PeakFlight: seen.peak}
	var good []outcome
	var failure error
	for _, o := range seen.outcomes {
		if o.err != nil {
			failure = o.err
			v.Errors[o.err.Error()]++
			continue
		}
		good = append(good, o)
	}
	v.Requests, v.Failed = len(good), asked-len(good)
	if len(good) == 0 {
		return v, fmt.Errorf("no request ended well: %w", failure)
	}
	v.times(seen.start, good)
	v.work(m, good, batch)
	return v, nil
}

// times takes the rates and the percentiles.
func (v *Level) times(start time.Time, good []outcome) {
	var first, between, each, whole, queue, held []float64
	end := start
	for _, o := range good {
		last := o.tokens[len(o.tokens)-1]
		end = later(end, last)
		first = append(first, seconds(o.arrived, o.tokens[0]))
		whole = append(whole, seconds(o.arrived, last))
		wait := seconds(o.arrived, o.sent)
		held, queue = append(held, wait), append(queue, wait+o.stats.QueueSeconds)
		for i := 1; i < len(o.tokens); i++ {
			between = append(between, seconds(o.tokens[i-1], o.tokens[i]))
		}
		if n := len(o.tokens) - 1; n > 0 {
			each = append(each, seconds(o.tokens[0], last)/float64(n))
		}
		v.OutputTokens += len(o.tokens)
		v.PromptTokens += o.prompt
		v.ReusedTokens += o.stats.ReusedTokens
		v.MeanFlight += seconds(o.sent, last)
		v.Decoding += seconds(o.tokens[0], last)
	}
	v.Seconds = seconds(start, end)
	v.RequestRate = float64(v.Requests) / v.Seconds
	v.OutputRate, v.PromptRate = float64(v.OutputTokens)/v.Seconds, float64(v.PromptTokens)/v.Seconds
	v.MeanFlight, v.Decoding = v.MeanFlight/v.Seconds, v.Decoding/v.Seconds
	v.ReusedShare = float64(v.ReusedTokens) / float64(v.PromptTokens)
	v.FirstToken, v.InterToken, v.PerToken = percentiles(first), percentiles(between), percentiles(each)
	v.EndToEnd, v.Queue, v.Held = percentiles(whole), percentiles(queue), percentiles(held)
}

func seconds(from, to time.Time) float64 { return to.Sub(from).Seconds() }

// work takes what the device had to do.
func (v *Level) work(m *godwit.Model, good []outcome, batch int) {
	positions, steps := 0, 0
	for _, o := range good {
		n := len(o.tokens) - 1
		steps += n
		positions += n*o.prompt + n*(n+1)/2
		reused := m.PromptOperations(o.stats.ReusedTokens) - m.PromptOperations(0) // the head's are not saved
		v.Operations += m.PromptOperations(o.prompt) - reused
	}
	if batch == 0 {
		batch = max(1, int(v.Decoding+0.5))
	}
	v.Batch = batch
	if steps > 0 {
		v.Context = float64(positions) / float64(steps)
	}
	v.Traffic = m.StepTraffic(batch, v.Context)
}

// count takes the difference of the engine's counters.
func (v *Level) count(before, after godwit.Metrics) {
	a, b := after.Prefixes, before.Prefixes
	v.Lookups = Lookups{
		Hit: a.Hit - b.Hit, Partial: a.Partial - b.Partial, NoSnapshot: a.NoSnapshot - b.NoSnapshot,
		Evicted: a.Evicted - b.Evicted, TooShort: a.TooShort - b.TooShort, Miss: a.Miss - b.Miss,
	}
	v.Preempted = int(after.Preempted - before.Preempted)
	v.Pages = after.Pages
}

// hold holds a level against the device's rates.
func (v *Level) hold(s *Subject) {
	if s.ReadRate <= 0 {
		return
	}
	v.FloorRate = float64(v.Batch) * s.ReadRate / float64(v.Traffic.Total())
	v.FloorShare = v.OutputRate / v.FloorRate
	if s.ProductRate > 0 {
		decode := float64(v.OutputTokens-v.Requests) / v.FloorRate
		v.WorkShare = (decode + v.Operations/s.ProductRate) / v.Seconds
	}
}
