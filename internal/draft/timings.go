package draft

import (
	"math"
	"math/bits"
	"slices"
)

// timings are what steps have taken by their size, the newest of each size.
type timings struct {
	sizes [sizes]timing
	clock int // steps so far
}

// timing are the newest measurements of one size, in seconds.
type timing struct {
	last [remembered]float64
	n    int // so far
	at   int // clock of the newest
}

const (
	remembered = 9   // of a size; the one in the middle counts
	trusted    = 2   // fewer could be the first one, which is slow
	stale      = 300 // steps later, a measurement is forgotten
	exact      = 16  // sizes up to this are told apart
	sizes      = exact + 4*12 + 1
)

// sizeOf returns the place of a number of tokens: beyond the exact ones there
// are four places a doubling.
func sizeOf(n int) int {
	if n <= exact {
		return n
	}
	log := bits.Len(uint(n)) - 1 // n is at least 16
	return min(exact+4*(log-4)+(n>>(log-2))&3, sizes-1)
}

// numberOf returns the least number of a place.
func numberOf(size int) int {
	if size <= exact {
		return size
	}
	log, part := 4+(size-exact)/4, (size-exact)%4
	return 1<<log + part<<(log-2)
}

func (t *timings) add(n int, seconds float64) {
	s := &t.sizes[sizeOf(n)]
	if t.clock-s.at >= stale {
		s.n = 0
	}
	s.last[s.n%remembered] = seconds
	s.n++
	s.at = t.clock
}

// value returns the middle of the newest measurements or, of few, the least.
func (s *timing) value() float64 {
	if s.n < remembered {
		return slices.Min(s.last[:s.n])
	}
	last := s.last
	slices.Sort(last[:])
	return last[remembered/2]
}

// known reports whether there are at least so many measurements, not too long
// ago.
func (t *timings) known(size, least int) bool {
	s := &t.sizes[size]
	return s.n >= least && t.clock-s.at < stale
}

// at returns what steps of a size take, 0 if that is not known.
func (t *timings) at(n int) float64 {
	if size := sizeOf(n); t.known(size, 1) {
		return t.sizes[size].value()
	}
	return 0
}

// from returns what steps of a size take or, where that is not known well, what
// follows from other sizes and the time of steps of so many tokens that need no
// verification. It errs on the fast side, so that sizes are tried, but not before
// one of half as many tokens. Nothing takes longer than the tokens one by one:
// whatever looks like that was held up by something else.
func (t *timings) from(sequences int, plain float64, n int) float64 {
	size, limit := sizeOf(n), plain*float64(n)/float64(sequences)
	if t.known(size, trusted) {
		return min(t.sizes[size].value(), limit)
	}
	if n > 2*sequences && !t.reached((n+1)/2) {
		return math.Inf(1)
	}
	limit = min(limit, t.between(sequences, plain, n))
	if t.known(size, 1) {
		return min(t.sizes[size].value(), limit)
	}
	return limit
}

// reached reports whether steps of so many tokens or more were measured.
func (t *timings) reached(n int) bool {
	for size := sizeOf(n); size < sizes; size++ {
		if t.known(size, 1) {
			return true
		}
	}
	return false
}

// slope is what a token more costs at least, as a share of a step, where nothing
// is known.
const slope = 0.01

// between takes the measured sizes around n, and lays a line through them.
func (t *timings) between(sequences int, plain float64, n int) float64 {
	low, lowTime := sequences, plain
	for size := sizeOf(n) - 1; size > sizeOf(sequences); size-- {
		if t.known(size, 1) {
			low, lowTime = numberOf(size), t.sizes[size].value()
			break
		}
	}
	for size := sizeOf(n) + 1; size < sizes; size++ {
		if t.known(size, 1) {
			high, highTime := numberOf(size), t.sizes[size].value()
			return lowTime + max(0, highTime-lowTime)*float64(n-low)/float64(high-low)
		}
	}
	rise := slope * plain
	if low > sequences {
		rise = max(rise, (lowTime-plain)/float64(low-sequences))
	}
	return lowTime + rise*float64(n-low)
}
