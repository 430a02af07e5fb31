package ops

// What the tests look into.
var (
	Philox     = philox
	KthLargest = kthLargest
	Noise      = noise
	NoiseBound = noiseBound
)

// Kept returns the tokens that a draw chooses from.
func Kept(logits []float32, p *Sampling) []int32 {
	s := &sampleScratch{logits: logits}
	s.keep(p)
	return s.kept
}

// Pool is the loop runner of the CPU backend.
type Pool struct{ *pool }

// NewPool returns a pool that computes on the given number of threads.
func NewPool(threads int) Pool { return Pool{newPool(threads)} }

// Each runs a loop.
func (p Pool) Each(n, grain int, body func(worker, from, to int)) { p.each(n, grain, body) }

// Close ends the pool's goroutines.
func (p Pool) Close() { p.close() }
