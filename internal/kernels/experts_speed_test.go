package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// mixtureSpeed measures mixtures of the geometry of Nemotron 3 Nano, with
// random weights and routings that spread evenly over the experts.
type mixtureSpeed struct {
	*speed
	timer  *timer
	e      *ops.Experts
	router *ops.Router
	rng    *rand.Rand
}

const (
	nanoHidden  = 2688
	nanoWidth   = 1856
	nanoExperts = 128
	nanoTopK    = 6
	// routings is the number of different routings that are measured in turn,
	// so that few tokens do not find their experts in the second-level cache.
	routings = 16
)

func newMixtureSpeed(t *testing.T) *mixtureSpeed {
	t.Helper()
	m := &mixtureSpeed{speed: newSpeed(t), rng: rand.New(rand.NewPCG(1, 2))}
	m.timer = newTimer(t, m.Backend)
	matrix := func(at, rows, cols int) ops.Tensor {
		return tensor(m.memory.Ptr()+cuda.DevicePtr(2*at), ops.BF16, rows, cols)
	}
	const size = nanoHidden * nanoWidth
	m.e = &ops.Experts{Act: ops.ReLU2, Width: nanoWidth}
	for i := range nanoExperts {
		up, down := matrix(i*size, nanoWidth, nanoHidden), matrix((nanoExperts+i)*size, nanoHidden, nanoWidth)
		m.e.Up = append(m.e.Up, ops.Linear{In: nanoHidden, Out: nanoWidth, Weight: []ops.Tensor{up}})
		m.e.Down = append(m.e.Down, ops.Linear{In: nanoWidth, Out: nanoHidden, Weight: []ops.Tensor{down}})
	}
	bias, err := m.Vector(make([]float32, nanoExperts))
	m.must(err)
	w := &ops.Linear{In: nanoHidden, Out: nanoExperts, Weight: []ops.Tensor{matrix(2*nanoExperts*size, nanoExperts, nanoHidden)}}
	m.router = &ops.Router{Weight: w, Bias: bias, TopK: nanoTopK, Groups: 1, TopGroups: 1, Normalize: true, ScalingFactor: 2.5}
	return m
}

// routed is what one size is measured with.
type routed struct {
	n        int
	x, out   ops.Tensor
	routes   [routings]ops.Routes
	distinct float64 // experts that are chosen, on average
}

func (m *mixtureSpeed) routed(n int) *routed {
	m.Helper()
	r := &routed{n: n, x: tensor(m.memory.Ptr(), ops.BF16, n, nanoHidden)}
	var err error
	r.out, err = m.Float(n, nanoHidden)
	m.must(err)
	size := ops.Mixture{Rows: n, TopK: nanoTopK, Experts: nanoExperts, Width: nanoWidth, Out: nanoHidden}
	for i := range r.routes {
		if i > 0 && n > 16 {
			r.routes[i] = r.routes[0] // reads more than the cache holds anyway
			continue
		}
		r.routes[i], err = m.Backend.Routes(size)
		m.must(err)
		ids, weights := make([]float32, 0, n*nanoTopK), make([]float32, n*nanoTopK)
		seen := map[int]bool{}
		for range n {
			for _, e := range m.rng.Perm(nanoExperts)[:nanoTopK] {
				ids, seen[e] = append(ids, float32(e)), true
			}
		}
		for k := range weights {
			weights[k] = 1.0 / nanoTopK
		}
		m.must(m.Write(r.routes[i].IDs, ids))
		m.must(m.Write(r.routes[i].Weights, weights))
		r.distinct += float64(len(seen))
	}
	if n <= 16 {
		r.distinct /= routings
	}
	return r
}

// TestExpertsSpeed prints the time of the router, of a whole mixture and of its
// parts, the share of what reading the chosen experts' weights takes at the
// speed of plain reading, and the rate of arithmetic.
func TestExpertsSpeed(t *testing.T) {
	m := newMixtureSpeed(t)
	t.Logf("%6s %8s %9s %9s %9s %9s %9s %9s  %s", "tokens", "experts", "route us", "all us", "sort us", "up us", "down us", "sum us", "all: share of the floor, rate; up and down alone")
	for _, n := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192} {
		t.Log(m.line(m.routed(n)))
	}
}

func (m *mixtureSpeed) line(r *routed) string {
	m.Helper()
	times := 32
	if r.n >= 512 {
		times = 4
	}
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	route := m.timer.measure(times, func(int) { m.Route(r.routes[0].Top(r.n), r.x, m.router) })
	m.refill(r)
	all := m.timer.measure(times, func(i int) { m.Experts(r.out, r.x, r.routes[i%routings], m.e, false) })
	parts := m.parts(r, times)
	const weights, flops = 2 * 2 * nanoHidden * nanoWidth, 2 * 2 * nanoHidden * nanoWidth * nanoTopK
	read := func(d time.Duration) float64 { return r.distinct * weights / d.Seconds() }
	rate := func(d time.Duration) float64 { return float64(r.n) * flops / d.Seconds() / 1e12 }
	return fmt.Sprintf("%6d %8.1f %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f  %3.0f%% of the floor, %5.0f GB/s, %4.0f TFLOP/s; up %5.0f GB/s %4.0f TFLOP/s, down %5.0f GB/s %4.0f TFLOP/s",
		r.n, r.distinct, us(route), us(all), us(parts[0]), us(parts[1]), us(parts[2]), us(parts[3]),
		100*read(all)/m.floor, read(all)/1e9, rate(all),
		read(2*parts[1])/1e9, rate(2*parts[1]), read(2*parts[2])/1e9, rate(2*parts[2]))
}

// refill restores the even routing that measuring the router has replaced.
func (m *mixtureSpeed) refill(r *routed) {
	m.Helper()
	ids := make([]float32, 0, r.n*nanoTopK)
	for range r.n {
		for _, e := range m.rng.Perm(nanoExperts)[:nanoTopK] {
			ids = append(ids, float32(e))
		}
	}
	m.must(m.Write(r.routes[0].IDs, ids))
}

// parts measures sort, up, down and sum. Those that a way does not have are 0.
func (m *mixtureSpeed) parts(r *routed, times int) (took [4]time.Duration) {
	m.Helper()
	shape, err := m.mixtureOf(r.out, r.x, r.routes[0], m.e)
	m.must(err)
	l := layoutScratch(shape.n, shape.topK, shape.experts, shape.width, shape.out, 2)
	if m.linear.chip.way(shape) == byRings {
		took[1] = m.timer.measure(times, func(i int) { m.expertUp(shape, l, r.x, r.routes[i%routings], m.e) })
		took[2] = m.timer.measure(times, func(i int) { m.expertDown(shape, l, r.out, r.routes[i%routings], m.e, false) })
		return took
	}
	way := m.linear.chip.way(shape)
	launch, places := m.placesOf(shape, way)
	for i := range r.routes {
		m.sortChoices(shape, l, r.routes[i], places)
	}
	took[0] = m.timer.measure(times, func(i int) { m.sortChoices(shape, l, r.routes[i%routings], places) })
	took[1] = m.timer.measure(times, func(i int) { launch(shape, upArgs(shape, l, r.x, r.routes[i%routings], m.e)) })
	took[2] = m.timer.measure(times, func(i int) { launch(shape, downArgs(shape, l, r.routes[i%routings], m.e)) })
	took[3] = m.timer.measure(times, func(i int) { m.sumExperts(shape, l, r.out, r.routes[i%routings], false) })
	return took
}
