package bench

import (
	"math/rand/v2"
	"time"
)

// turn is a request to be: how many ids its prompt has behind those of the
// turns before it, and how many new tokens it gets.
type turn struct{ prompt, decode int }

// workload is what some clients ask for.
type workload struct {
	conversations [][]turn
	arrivals      []time.Duration // of the conversations, from the start; nil: each comes when there is a place for it
	prefix        []int32         // that all of them begin with
	vocabulary    int
	seed, stream  uint64 // of the other ids
}

// Streams of random numbers. Those of ids lie above them, one for each
// conversation.
const (
	promptStream = iota
	decodeStream
	arrivalStream
	prefixStream
	warmPromptStream
	warmDecodeStream
)

// measured returns what is measured at a level, which has that number in the
// list. Lengths, arrivals and the shared prefix are those of all levels, other
// ids are its own: the model may remember what it has seen.
func (o *LoadOptions) measured(level, vocabulary int) workload {
	n := o.requests(o.Concurrency[level])
	w := o.workload(conversations(o.turns(promptStream, decodeStream, n), max(o.Turns, 1)), vocabulary)
	w.stream = uint64(2*level+1) << 32
	if o.Rate > 0 {
		w.arrivals = arrivals(o.Rate, len(w.conversations), rand.New(rand.NewPCG(o.Seed, arrivalStream)))
	}
	return w
}

// warmUp returns what goes before it: first turns only.
func (o *LoadOptions) warmUp(level, vocabulary int) workload {
	n := o.warmups(o.Concurrency[level])
	w := o.workload(conversations(o.turns(warmPromptStream, warmDecodeStream, n), 1), vocabulary)
	w.stream = uint64(2*level+2) << 32
	return w
}

func (o *LoadOptions) workload(list [][]turn, vocabulary int) workload {
	rng := rand.New(rand.NewPCG(o.Seed, prefixStream))
	return workload{
		conversations: list, vocabulary: vocabulary, seed: o.Seed,
		prefix: randomIDs(rng, o.SharedPrefix, vocabulary),
	}
}

func (o *LoadOptions) turns(prompts, decodes uint64, n int) []turn {
	p, d := o.Prompt.Draw(o.Seed, prompts, n), o.Decode.Draw(o.Seed, decodes, n)
	turns := make([]turn, n)
	for i := range turns {
		turns[i] = turn{p[i], d[i]}
	}
	return turns
}

// conversations puts turns together; the last conversation may be shorter.
func conversations(turns []turn, length int) [][]turn {
	var out [][]turn
	for len(turns) > 0 {
		n := min(length, len(turns))
		out = append(out, turns[:n])
		turns = turns[n:]
	}
	return out
}

// arrivals of a Poisson process, of which the first one is the start.
func arrivals(rate float64, n int, rng *rand.Rand) []time.Duration {
	out := make([]time.Duration, n)
	at := 0.0
	for i := range out {
		out[i] = time.Duration(at * float64(time.Second))
		at += rng.ExpFloat64() / rate
	}
	return out
}

// ids returns a source of the ids of a conversation.
func (w *workload) ids(conversation int) *rand.Rand {
	return rand.New(rand.NewPCG(w.seed, w.stream|uint64(conversation)))
}

func randomIDs(rng *rand.Rand, n, vocabulary int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(rng.IntN(vocabulary))
	}
	return ids
}

// requests returns how many there are.
func (w *workload) requests() int {
	n := 0
	for _, c := range w.conversations {
		n += len(c)
	}
	return n
}

// longest returns the positions of the longest conversation.
func (w *workload) longest() int {
	most := 0
	for _, c := range w.conversations {
		n := len(w.prefix)
		for _, t := range c {
			n += t.prompt + t.decode
		}
		most = max(most, n)
	}
	return most
}
