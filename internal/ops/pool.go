package ops

import (
	"math"
	"runtime"
	"sync/atomic"
)

// pool runs loops on several cores. Waking a parked goroutine costs several
// microseconds, which is as long as a small product takes, so workers look for
// new work for a while before they park.
type pool struct {
	workers int // besides the caller
	body    func(worker, from, to int)
	n       int
	grain   int
	next    atomic.Int64 // first index not yet handed out
	joined  atomic.Int32 // workers in this loop, or ended
	turn    atomic.Uint32
	wake    []chan struct{}
	asleep  []atomic.Bool
	closed  atomic.Bool
}

// spins is how often a worker looks for work before it parks: some tens of
// microseconds.
const spins = 20000

// ended stands for the number of workers when there is no loop to join.
const ended = math.MinInt32

// yield is how often the caller looks whether the workers are done, or a worker
// whether there is work, before it lets other goroutines run: a step on all
// cores must not keep those waiting that send what the last one made.
const yield = 1000

func newPool(threads int) *pool {
	p := &pool{workers: threads - 1}
	p.joined.Store(ended)
	p.wake = make([]chan struct{}, p.workers)
	p.asleep = make([]atomic.Bool, p.workers)
	for i := range p.workers {
		p.wake[i] = make(chan struct{}, 1)
		go p.work(i)
	}
	return p
}

func (p *pool) close() {
	if p.closed.Swap(true) {
		return
	}
	p.turn.Add(1)
	p.rouse()
}

// each calls body on ranges that cover [0, n), grain indices at a time, and
// returns when all are done. Calls with the same worker number do not overlap;
// the caller is worker 0. Loops do not nest.
func (p *pool) each(n, grain int, body func(worker, from, to int)) {
	if p.workers == 0 || n <= grain {
		if n > 0 {
			body(0, 0, n)
		}
		return
	}
	p.body, p.n, p.grain = body, n, grain
	p.next.Store(0)
	p.joined.Store(0)
	p.turn.Add(1)
	p.rouse()
	p.share(0)
	for n := 1; !p.joined.CompareAndSwap(0, ended); n++ {
		if n%yield == 0 {
			runtime.Gosched()
		}
	}
	p.body = nil
}

func (p *pool) rouse() {
	for i := range p.wake {
		if p.asleep[i].CompareAndSwap(true, false) {
			p.wake[i] <- struct{}{}
		}
	}
}

func (p *pool) share(worker int) {
	for {
		to := int(p.next.Add(int64(p.grain)))
		from := to - p.grain
		if from >= p.n {
			return
		}
		p.body(worker, from, min(to, p.n))
	}
}

func (p *pool) work(i int) {
	seen := uint32(0)
	for {
		p.await(i, seen)
		seen = p.turn.Load() // before closed, which is set before its turn
		if p.closed.Load() {
			return
		}
		if p.join() {
			p.share(i + 1)
			p.joined.Add(-1)
		}
	}
}

// join takes part in the loop unless it has ended: the caller does not wait for
// a worker that wakes up late.
func (p *pool) join() bool {
	for {
		n := p.joined.Load()
		if n < 0 {
			return false
		}
		if p.joined.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// await returns when the turn is no longer the one seen.
func (p *pool) await(i int, seen uint32) {
	for n := 0; p.turn.Load() == seen; n++ {
		if n < spins {
			if n%yield == yield-1 {
				runtime.Gosched()
			}
			continue
		}
		p.asleep[i].Store(true)
		if p.turn.Load() != seen && p.asleep[i].CompareAndSwap(true, false) {
			return
		}
		<-p.wake[i]
		n = 0
	}
}
