package kernels

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// ledger prints how the device's memory in use grows, and how long it takes.
type ledger struct {
	testing.TB
	dev  *cuda.Device
	last int64
	at   time.Time // of the last note
}

func (l *ledger) note(what string) {
	l.Helper()
	free, total, err := l.dev.Memory()
	if err != nil {
		l.Fatal(err)
	}
	used := int64(total - free)
	l.Logf("%-28s %6.1f ms %+9.2f MB, in use %9.2f MB", what, time.Since(l.at).Seconds()*1e3, float64(used-l.last)/1e6, float64(used)/1e6)
	l.last, l.at = used, time.Now()
}

// TestDeviceMemory prints what a backend takes from the device beside its
// arena, and how long that takes: the context, each family's code and the
// library's, steps and graphs. It runs on request only: -test.run DeviceMemory
// -speed.
func TestDeviceMemory(t *testing.T) {
	if !*measuring {
		t.Skip("measures only with -speed")
	}
	start := time.Now()
	driver, err := cuda.LoadDriver(cuda.Options{})
	if err != nil {
		t.Skipf("needs a GPU: %v", err)
	}
	dev, err := driver.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{TB: t, dev: dev, at: start}
	l.note("context, and other processes")
	b := &Backend{dev: dev, opt: Options{Act: ops.BF16}, images: images{dev: dev}, arena: arena{dev: dev}}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		l.note("the backend is closed")
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	if b.stream, err = dev.NewStream(0); err != nil {
		t.Fatal(err)
	}
	l.note("stream")
	families := b.common()
	for p := range parts {
		families = append(families, b.of(p)...)
		b.opened[p] = true
	}
	for _, f := range families {
		before := b.arena.reserved
		if err := f.open(b); err != nil {
			t.Fatal(err)
		}
		l.note(fmt.Sprintf("%s (arena %+.2f MB)", reflect.TypeOf(f).Elem().Name(), float64(b.arena.reserved-before)/1e6))
	}
	m := newTiny(t, b, 4)
	l.note("a tiny model")
	m.begin(4, tinyPrompt)
	m.sample(m.forward())
	l.note("prompt")
	for i := range 4 {
		m.step(4)
		l.note(fmt.Sprintf("decode step %d", i+1))
	}
	x, w := b.noteMatrix(l, 2048), b.noteMatrix(l, 4096)
	out, err := b.Activation(2048, 4096)
	if err != nil {
		t.Fatal(err)
	}
	b.Linear(out, x, &ops.Linear{In: 4096, Out: 4096, Weight: []ops.Tensor{w}}, ops.Epilogue{})
	if err := b.wait(); err != nil {
		t.Fatal(err)
	}
	l.note("product of 2,048 tokens")
}

// noteMatrix reserves a matrix of random values.
func (b *Backend) noteMatrix(l *ledger, rows int) ops.Tensor {
	parts, err := b.Weights([]ops.Stored{{Name: "random", Rows: rows, Cols: 4096, Type: ops.BF16, Random: &ops.Random{Seed: 1, Scale: 1}}})
	if err != nil {
		l.Fatal(err)
	}
	if err := b.Flush(nil); err != nil {
		l.Fatal(err)
	}
	l.note("memory of a matrix")
	return parts[0]
}
