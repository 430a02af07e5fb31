package ops_test

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/godwit-llm/godwit/internal/ops"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPoolLoops: each index of a loop is visited once, by a worker that exists,
// in ranges of at most the grain.
func TestPoolLoops(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 8} {
		p := ops.NewPool(threads)
		rapid.Check(t, func(t *rapid.T) {
			n, grain := rapid.IntRange(0, 300).Draw(t, "n"), rapid.IntRange(1, 40).Draw(t, "grain")
			visits := make([]atomic.Int32, n)
			p.Each(n, grain, func(worker, from, to int) {
				if worker < 0 || worker >= threads {
					t.Errorf("worker %d of %d", worker, threads)
				}
				if size := to - from; size < 1 || threads > 1 && n > grain && size > grain {
					t.Errorf("range [%d:%d) with grain %d", from, to, grain)
				}
				for i := from; i < to; i++ {
					visits[i].Add(1)
				}
			})
			for i := range visits {
				if got := visits[i].Load(); got != 1 {
					t.Fatalf("index %d of %d was visited %d times", i, n, got)
				}
			}
		})
		p.Close()
	}
}

// TestPoolStress runs many small loops back to back, with pauses that let the
// workers park. Plain variables show the race detector that loops do not
// overlap and that calls of one worker do not either.
func TestPoolStress(t *testing.T) {
	for _, threads := range []int{2, 3} {
		p := ops.NewPool(threads)
		sums := make([]int, threads)
		want := 0
		for loop := range 1000 {
			n := 1 + loop%17
			want += n * (n - 1) / 2
			p.Each(n, 1, func(worker, from, to int) {
				for i := from; i < to; i++ {
					sums[worker] += i
				}
			})
			if loop%100 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		got := 0
		for _, v := range sums {
			got += v
		}
		if got != want {
			t.Errorf("%d threads: got sum %d, want %d", threads, got, want)
		}
		p.Close()
	}
}

// TestPoolWakes: loops complete when the workers have long been parked, on one
// processor too, where nobody can look for work while another computes.
func TestPoolWakes(t *testing.T) {
	for _, procs := range []int{1, 2} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		p := ops.NewPool(3)
		var done atomic.Int32
		for range 20 {
			time.Sleep(2 * time.Millisecond)
			p.Each(10, 1, func(_, from, to int) { done.Add(int32(to - from)) })
		}
		if got := done.Load(); got != 200 {
			t.Errorf("%d processors: got %d, want 200", procs, got)
		}
		p.Close()
	}
}

// TestClose ends the goroutines whether they look for work or are parked, and
// may be called twice.
func TestClose(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, pause := range []time.Duration{0, 5 * time.Millisecond} {
		b := ops.NewCPU(4)
		time.Sleep(pause)
		for range 2 {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestThreads(t *testing.T) {
	for _, threads := range []int{0, 1, 3} {
		b := ops.NewCPU(threads)
		want := threads
		if want == 0 {
			want = runtime.GOMAXPROCS(0)
		}
		if got := b.Threads(); got != want {
			t.Errorf("NewCPU(%d) has %d threads, want %d", threads, got, want)
		}
		b.Close()
	}
}

// TestBeginYields: goroutines that are ready when a step begins run before it,
// although the step never waits. One in 61 turns belongs to whoever gave way,
// hence not all of them need to.
func TestBeginYields(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	b := ops.NewCPU(1)
	defer b.Close()
	var ran atomic.Int32
	first := int32(0)
	for n := range int32(20) {
		go ran.Add(1)
		b.Begin(&ops.Batch{Start: []int32{0}})
		if ran.Load() > n {
			first++
		}
	}
	if first < 10 {
		t.Errorf("%d of 20 goroutines ran before the step, want at least 10", first)
	}
}
