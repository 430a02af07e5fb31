package ops

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/godwit-llm/godwit/internal/vec"
)

// sampler holds one scratch space a worker, and what was chosen last.
type sampler struct {
	scratch []sampleScratch
	results []Sampled
}

type sampleScratch struct {
	logits []float32 // [vocabulary] edited, less the largest, tempered
	copy   []float32 // [vocabulary] for selection and sums
	kept   []int32   // tokens that may still be chosen
	border []int32   // tokens of which some may still be chosen
}

// Sample draws by the Gumbel-max rule: the kept token with the largest
// logit/temperature + g(seed, step, token) wins, which is a draw from the
// softmax over the kept tokens and does not depend on the order in which
// tokens are looked at. Filters apply in the order top-k, top-p, min-p, to the
// tokens that are allowed.
func (b *CPU) Sample(logits Tensor, params []Sampling) error {
	s := &b.sampler
	s.scratch, s.results = grow(s.scratch, len(b.scores)), grow(s.results, len(params))
	b.pool.each(len(params), 1, func(worker, from, to int) {
		for r := from; r < to; r++ {
			s.results[r] = s.scratch[worker].sample(logits.row(r), &params[r])
		}
	})
	return nil
}

// Collect returns what was chosen. Nothing is left to wait for.
func (b *CPU) Collect(results []Sampled) error {
	if n := len(b.sampler.results); len(results) < n {
		return fmt.Errorf("ops: collect: got room for %d results, want %d", len(results), n)
	}
	copy(results, b.sampler.results)
	return nil
}

// Launch does nothing: operations are carried out as they come.
func (b *CPU) Launch() {}

// Sample chooses a token for each row of logits on a backend and waits for
// them, where nothing is to be done meanwhile.
func Sample(b Backend, results []Sampled, logits Tensor, params []Sampling) error {
	if err := b.Sample(logits, params); err != nil {
		return err
	}
	return b.Collect(results)
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
		out.TopIDs = s.best(make([]int32, 0, min(p.Top, len(logits))), logits, p.Top)
		for _, t := range out.TopIDs {
			out.TopLogs = append(out.TopLogs, logits[t]-norm)
		}
	}
	return out
}

// logSumExp returns NaN when x holds NaN, +Inf or nothing but -Inf. It
// destroys x.
func logSumExp(x []float32) float32 {
	top := x[argmax(x)]
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
	if p.Allowed != nil {
		restrict(s.logits, p.Allowed)
	}
	first := argmax(s.logits)
	top := s.logits[first]
	if p.Allowed != nil && math.IsInf(float64(top), -1) {
		return firstAllowed(p.Allowed)
	}
	if p.Temperature <= 0 || math.IsInf(float64(top), 0) {
		return first
	}
	for i := range s.logits {
		s.logits[i] = (s.logits[i] - top) / p.Temperature
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

// restrict leaves nothing of the tokens that are not allowed.
func restrict(logits []float32, allowed []uint32) {
	none := float32(math.Inf(-1))
	for i := 0; i < len(logits); i += 32 {
		word := allowed[i/32]
		if word == math.MaxUint32 {
			continue
		}
		for k := range logits[i:min(i+32, len(logits))] {
			if word>>k&1 == 0 {
				logits[i+k] = none
			}
		}
	}
}

// firstAllowed returns the token that is chosen where all that are allowed are
// as unlikely as can be: what is not allowed is not chosen even then.
func firstAllowed(allowed []uint32) int32 {
	for i, word := range allowed {
		if word != 0 {
			return int32(32*i + bits.TrailingZeros32(word))
		}
	}
	return 0
}

// argmax returns the first of the largest values.
func argmax(x []float32) int32 {
	best, most := 0, x[0]
	for i, v := range x {
		if v > most {
			best, most = i, v
		}
	}
	return int32(best)
}

// keep lists the tokens that pass the filters. The largest logit is 0.
func (s *sampleScratch) keep(p *Sampling) {
	if p.TopK > 0 && p.TopK < len(s.logits) {
		s.kept = s.best(s.kept[:0], s.logits, p.TopK)
	} else {
		s.kept = grow(s.kept, len(s.logits))
		for i := range s.kept {
			s.kept[i] = int32(i)
		}
	}
	if p.TopP > 0 && p.TopP < 1 {
		s.nucleus(float64(p.TopP))
	}
	if p.MinP > 0 {
		s.drop(float32(math.Log(float64(p.MinP))))
	}
}

// drop takes out the tokens whose logits are below least. The store without a
// condition spares branches that cannot be predicted.
func (s *sampleScratch) drop(least float32) {
	n := 0
	for _, t := range s.kept {
		s.kept[n] = t
		if s.logits[t] >= least {
			n++
		}
	}
	s.kept = s.kept[:n]
}

// nucleus keeps the most likely tokens up to the one with which their
// probabilities reach topP. Tokens below the mean of what may be lost cannot
// be among them. The others are weighed in bins of like logits, so that only
// those in the bin where the limit lies are sorted.
func (s *sampleScratch) nucleus(topP float64) {
	s.copy = grow(s.copy, len(s.logits))
	vec.Exp(s.copy, s.logits)
	total := 0.0
	for _, t := range s.kept {
		total += float64(s.copy[t])
	}
	least := min(0, math.Log(total*(1-topP)/float64(len(s.kept))))
	s.drop(float32(least))
	var weights [bins]float64
	scale := float32((bins - 1) / max(-least, 1e-6))
	for _, t := range s.kept {
		weights[bin(s.logits[t], scale)] += float64(s.copy[t])
	}
	limit, sum, last := topP*total, 0.0, 0
	for last < bins-1 && sum+weights[last] < limit {
		sum += weights[last]
		last++
	}
	s.cut(last, scale)
	for _, t := range s.border {
		s.kept = append(s.kept, t)
		if sum += float64(s.copy[t]); sum >= limit {
			return
		}
	}
}

const bins = 1024

// bin returns the bin of a logit, which is at most 0. Larger ones come first.
func bin(logit, scale float32) int { return min(int(-logit*scale), bins-1) }

// cut keeps the tokens in bins before the last one and moves those of the last
// one to the border, sorted.
func (s *sampleScratch) cut(last int, scale float32) {
	n := 0
	s.border = s.border[:0]
	for _, t := range s.kept {
		at := bin(s.logits[t], scale)
		s.kept[n] = t
		if at < last {
			n++
		}
		if at == last {
			s.border = append(s.border, t)
		}
	}
	s.kept = s.kept[:n]
	byLogit(s.border, s.logits)
}

// byLogit sorts tokens from the most to the least likely.
func byLogit(tokens []int32, logits []float32) {
	slices.SortFunc(tokens, func(a, b int32) int {
		return cmp.Or(cmp.Compare(logits[b], logits[a]), cmp.Compare(a, b))
	})
}

// best appends the n most likely tokens to out, which is empty, best first.
func (s *sampleScratch) best(out []int32, logits []float32, n int) []int32 {
	n = min(n, len(logits))
	s.copy = append(s.copy[:0], logits...)
	least := kthLargest(s.copy, n)
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

// gumbel returns the kept token with the largest noisy logit. Most tokens are
// passed over by a bound of their noise, which costs no logarithm.
func (s *sampleScratch) gumbel(p *Sampling) int32 {
	best, most := s.kept[0], math.Inf(-1)
	block, lanes := int32(-1), [4]uint32{}
	for _, t := range s.kept {
		if t/4 != block {
			block = t / 4
			lanes = philox([4]uint32{uint32(block), uint32(p.Step), uint32(p.Step >> 32), 0}, uint32(p.Seed), uint32(p.Seed>>32))
		}
		r, logit := lanes[t%4]>>9, float64(s.logits[t])
		if logit+noiseBound(r) < most {
			continue
		}
		if v := logit + noise(r); v > most {
			best, most = t, v
		}
	}
	return best
}

// noise returns standard Gumbel noise, -log(-log(u)), for 23 random bits. They
// come from lane token%4 of Philox4x32-10 with the seed as its key and
// (token/4, step) as its counter. u never is 0 or 1.
func noise(r uint32) float64 {
	u := (float64(r) + 0.5) / (1 << 23)
	return -math.Log(-math.Log(u))
}

// noiseBound returns no less than noise: since -log(u) ≥ 1-u, that is at most
// -log(1-u), and 1-u is at least its leading bit.
func noiseBound(r uint32) float64 {
	return math.Ln2 * float64(24-bits.Len32(1<<23-1-r))
}

// philox is the counter-based generator Philox4x32 with ten rounds (Salmon et
// al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
func philox(c [4]uint32, k0, k1 uint32) [4]uint32 {
	c0, c1, c2, c3 := c[0], c[1], c[2], c[3]
	for range 10 {
		a, b := uint64(c0)*0xD2511F53, uint64(c2)*0xCD9E8D57
		c0, c1, c2, c3 = uint32(b>>32)^c1^k0, uint32(b), uint32(a>>32)^c3^k1, uint32(a)
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return [4]uint32{c0, c1, c2, c3}
}
