package ops

import (
	"cmp"
	"math"
	"slices"

	"github.com/godwit-llm/godwit/internal/vec"
)

// sampler holds one scratch space a worker.
type sampler struct{ scratch []sampleScratch }

type sampleScratch struct {
	logits []float32 // [vocabulary] edited and tempered
	copy   []float32 // [vocabulary] for selection and sums
	kept   []int32   // tokens that may still be chosen
}

// Sample draws by the Gumbel-max rule: the kept token with the largest
// logit/temperature + g(seed, step, token) wins, which is a draw from the
// softmax over the kept tokens and does not depend on the order in which
// tokens are looked at. Filters apply in the order top-k, top-p, min-p.
func (b *CPU) Sample(results []Sampled, logits Tensor, params []Sampling) error {
	s := &b.sampler
	s.scratch = grow(s.scratch, len(b.scores))
	b.pool.each(len(params), 1, func(worker, from, to int) {
		for r := from; r < to; r++ {
			results[r] = s.scratch[worker].sample(logits.row(r), &params[r])
		}
	})
	return nil
}

func (s *sampleScratch) sample(logits []float32, p *Sampling) Sampled {
	s.copy = append(s.copy[:0], logits...)
	norm := logSumExp(s.copy)
	if math.IsNaN(float64(norm)) {
		return Sampled{Invalid: true}
	}
	id := p.Target
	if !p.Score {
		id = s.draw(logits, p)
	}
	out := Sampled{ID: id, LogProb: logits[id] - norm}
	if p.Top > 0 {
		out.TopIDs = s.best(logits, p.Top)
		for _, t := range out.TopIDs {
			out.TopLogs = append(out.TopLogs, logits[t]-norm)
		}
	}
	return out
}

// logSumExp destroys x.
func logSumExp(x []float32) float32 {
	top := slices.Max(x)
	if math.IsInf(float64(top), 1) {
		return float32(math.NaN())
	}
	return top + float32(math.Log(float64(vec.ExpSum(x, top))))
}

func (s *sampleScratch) draw(logits []float32, p *Sampling) int32 {
	s.logits = append(s.logits[:0], logits...)
	for _, e := range p.Edits {
		e.apply(s.logits)
	}
	if p.Temperature <= 0 {
		return argmax(s.logits)
	}
	for i := range s.logits {
		s.logits[i] /= p.Temperature
	}
	s.keep(p)
	return s.gumbel(p)
}

func (e Edit) apply(logits []float32) {
	v := logits[e.ID]
	if v > 0 {
		v /= e.Scale
	} else {
		v *= e.Scale
	}
	logits[e.ID] = v + e.Offset
}

// argmax returns the first of the largest values.
func argmax(x []float32) int32 {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return int32(best)
}

// keep lists the tokens that pass the filters.
func (s *sampleScratch) keep(p *Sampling) {
	if p.TopK > 0 && p.TopK < len(s.logits) {
		s.kept = append(s.kept[:0], s.best(s.logits, p.TopK)...)
	} else {
		s.kept = s.kept[:0]
		for i := range s.logits {
			s.kept = append(s.kept, int32(i))
		}
	}
	top := s.logits[argmax(s.logits)]
	if p.TopP > 0 && p.TopP < 1 {
		s.nucleus(top, float64(p.TopP))
	}
	if p.MinP > 0 {
		least := top + float32(math.Log(float64(p.MinP)))
		s.kept = slices.DeleteFunc(s.kept, func(t int32) bool { return s.logits[t] < least })
	}
}

// nucleus keeps the most likely tokens up to the one with which their
// probabilities reach topP. Tokens below the mean of what may be lost cannot
// be among them and are dropped before the rest is sorted.
func (s *sampleScratch) nucleus(top float32, topP float64) {
	total := 0.0
	for _, t := range s.kept {
		total += math.Exp(float64(s.logits[t] - top))
	}
	least := top + float32(math.Log(total*(1-topP)/float64(len(s.kept))))
	s.kept = slices.DeleteFunc(s.kept, func(t int32) bool { return s.logits[t] < least })
	byLogit(s.kept, s.logits)
	sum := 0.0
	for i, t := range s.kept {
		sum += math.Exp(float64(s.logits[t] - top))
		if sum >= topP*total {
			s.kept = s.kept[:i+1]
			return
		}
	}
}

// byLogit sorts tokens from the most to the least likely.
func byLogit(tokens []int32, logits []float32) {
	slices.SortFunc(tokens, func(a, b int32) int {
		return cmp.Or(cmp.Compare(logits[b], logits[a]), cmp.Compare(a, b))
	})
}

// best returns the n most likely tokens, best first.
func (s *sampleScratch) best(logits []float32, n int) []int32 {
	n = min(n, len(logits))
	s.copy = append(s.copy[:0], logits...)
	least := kthLargest(s.copy, n)
	out := make([]int32, 0, n)
	for i, v := range logits {
		if v > least {
			out = append(out, int32(i))
		}
	}
	for i, v := range logits {
		if v == least && len(out) < n {
			out = append(out, int32(i))
		}
	}
	byLogit(out, logits)
	return out
}

// kthLargest returns the k-th largest value of x, k from 1 to len(x), and
// reorders x.
func kthLargest(x []float32, k int) float32 {
	want := k - 1
	lo, hi := 0, len(x)-1
	for lo < hi {
		pivot := x[lo+(hi-lo)/2]
		i, j := lo, hi
		for i <= j {
			for x[i] > pivot {
				i++
			}
			for x[j] < pivot {
				j--
			}
			if i <= j {
				x[i], x[j] = x[j], x[i]
				i++
				j--
			}
		}
		switch {
		case want <= j:
			hi = j
		case want >= i:
			lo = i
		default:
			return x[want]
		}
	}
	return x[want]
}

// gumbel returns the kept token with the largest noisy logit.
func (s *sampleScratch) gumbel(p *Sampling) int32 {
	best, most := s.kept[0], math.Inf(-1)
	for _, t := range s.kept {
		if v := float64(s.logits[t]) + noise(p.Seed, p.Step, uint32(t)); v > most {
			best, most = t, v
		}
	}
	return best
}

// noise returns standard Gumbel noise for a token: -log(-log(u)) where u is
// lane token%4 of Philox4x32-10 with the seed as its key and (token/4, step)
// as its counter. u has 23 random bits and never is 0 or 1.
func noise(seed, step uint64, token uint32) float64 {
	lanes := philox([4]uint32{token / 4, uint32(step), uint32(step >> 32), 0}, uint32(seed), uint32(seed>>32))
	u := (float64(lanes[token%4]>>9) + 0.5) / (1 << 23)
	return -math.Log(-math.Log(u))
}

// philox is the counter-based generator Philox4x32 with ten rounds (Salmon et
// al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
func philox(c [4]uint32, k0, k1 uint32) [4]uint32 {
	for range 10 {
		a := uint64(c[0]) * 0xD2511F53
		b := uint64(c[2]) * 0xCD9E8D57
		c = [4]uint32{uint32(b>>32) ^ c[1] ^ k0, uint32(b), uint32(a>>32) ^ c[3] ^ k1, uint32(a)}
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return c
}
