package cudatest

import (
	"encoding/binary"
	"unsafe"
)

// stream is a queue. Work is done at once unless it is being recorded, or put
// off until somebody waits. All streams share one order.
type stream struct {
	recording *graph
	origin    bool // the recording began here
}

// event is a place in a stream.
type event struct {
	at        uint64
	place     uint64 // of what was put off, as much lies before it
	timed     bool
	recorded  bool
	recording *graph
}

// graph is recorded work.
type graph struct{ work []func() code }

// do does work in a stream, or records it.
func (f *Fake) do(s uintptr, work func() code) code {
	if f.here() == nil {
		return invalidContext
	}
	if s != 0 {
		st := f.streams[s]
		if st == nil {
			return invalidHandle
		}
		if st.recording != nil {
			st.recording.work = append(st.recording.work, work)
			return 0
		}
	}
	if f.config.Late {
		f.pending = append(f.pending, work)
		return 0
	}
	f.clock++
	return work()
}

// catchUp does the next n pieces of work that were put off.
func (f *Fake) catchUp(n int) {
	now := f.pending[:n]
	f.pending = f.pending[n:]
	f.done += uint64(n)
	for _, work := range now {
		f.clock++
		if f.fault != 0 {
			continue
		}
		if c := work(); c != 0 {
			f.fail(c)
			if f.fault == 0 {
				f.fault = launchFailed
			}
		}
	}
}

// wait does all that was put off, and tells what became of it.
func (f *Fake) wait() code {
	f.catchUp(len(f.pending))
	return f.fault
}

// whileRecording refuses calls that must not be made during a recording.
func (f *Fake) whileRecording() code {
	for _, s := range f.streams {
		if s.recording != nil {
			return captureUnsupported
		}
	}
	return 0
}

func (f *Fake) streamCreate(p *uintptr, _ uint32, _ int32) code {
	if f.here() == nil {
		return invalidContext
	}
	*p = f.next()
	f.streams[*p] = &stream{}
	return 0
}

func (f *Fake) streamDestroy(s uintptr) code {
	if f.streams[s] == nil {
		return invalidHandle
	}
	delete(f.streams, s)
	return 0
}

func (f *Fake) streamSynchronize(s uintptr) code {
	if s == 0 {
		return 0
	}
	st := f.streams[s]
	if st == nil {
		return invalidHandle
	}
	if st.recording != nil {
		return captureUnsupported
	}
	return f.wait()
}

func (f *Fake) streamWait(s, e uintptr, _ uint32) code {
	st, ev := f.streams[s], f.events[e]
	if st == nil || ev == nil {
		return invalidHandle
	}
	if ev.recording != nil && st.recording == nil {
		st.recording = ev.recording // the recording spreads to this stream
	}
	return 0
}

func (f *Fake) captureBegin(s uintptr, _ uint32) code {
	st := f.streams[s]
	if st == nil {
		return invalidHandle
	}
	if st.recording != nil {
		return captureUnsupported
	}
	st.recording, st.origin = &graph{}, true
	return 0
}

func (f *Fake) captureEnd(s uintptr, p *uintptr) code {
	st := f.streams[s]
	if st == nil || st.recording == nil || !st.origin {
		return captureUnmatched
	}
	g := st.recording
	for _, other := range f.streams {
		if other.recording == g {
			other.recording, other.origin = nil, false
		}
	}
	for _, e := range f.events {
		if e.recording == g {
			e.recording = nil
		}
	}
	*p = f.next()
	f.graphs[*p] = g
	return 0
}

func (f *Fake) graphNodes(g, _ uintptr, n *uint64) code {
	if f.graphs[g] == nil {
		return invalidHandle
	}
	*n = uint64(len(f.graphs[g].work))
	return 0
}

func (f *Fake) graphDestroy(g uintptr) code {
	if f.graphs[g] == nil {
		return invalidHandle
	}
	delete(f.graphs, g)
	return 0
}

func (f *Fake) graphInstantiate(p *uintptr, g uintptr, _ uint64) code {
	if f.graphs[g] == nil {
		return invalidHandle
	}
	*p = f.next()
	f.execs[*p] = &graph{f.graphs[g].work}
	return 0
}

func (f *Fake) graphUpdate(x, g uintptr, _ unsafe.Pointer) code {
	exec, from := f.execs[x], f.graphs[g]
	if exec == nil || from == nil {
		return invalidHandle
	}
	if len(exec.work) != len(from.work) {
		return updateFailed
	}
	exec.work = from.work
	return 0
}

func (f *Fake) graphUpload(x, s uintptr) code {
	if f.execs[x] == nil || f.streams[s] == nil {
		return invalidHandle
	}
	return 0
}

func (f *Fake) graphLaunch(x, s uintptr) code {
	exec := f.execs[x]
	if exec == nil {
		return invalidHandle
	}
	return f.do(s, func() code {
		for _, work := range exec.work {
			f.clock++
			if c := work(); c != 0 {
				return c
			}
		}
		return 0
	})
}

func (f *Fake) execDestroy(x uintptr) code {
	if f.execs[x] == nil {
		return invalidHandle
	}
	delete(f.execs, x)
	return 0
}

func (f *Fake) eventCreate(p *uintptr, flags uint32) code {
	if f.here() == nil {
		return invalidContext
	}
	*p = f.next()
	f.events[*p] = &event{timed: flags&2 == 0}
	return 0
}

func (f *Fake) eventDestroy(e uintptr) code {
	if f.events[e] == nil {
		return invalidHandle
	}
	delete(f.events, e)
	return 0
}

func (f *Fake) eventRecord(e, s uintptr) code {
	ev, st := f.events[e], f.streams[s]
	if ev == nil || st == nil && s != 0 {
		return invalidHandle
	}
	if st != nil && st.recording != nil {
		ev.recording = st.recording
		return 0
	}
	ev.at, ev.recorded = f.clock, true
	if f.config.Late {
		f.pending = append(f.pending, func() code {
			ev.at = f.clock
			return 0
		})
		ev.place = f.done + uint64(len(f.pending))
	}
	return 0
}

func (f *Fake) eventSynchronize(e uintptr) code {
	ev := f.events[e]
	if ev == nil {
		return invalidHandle
	}
	if ev.place > f.done {
		f.catchUp(int(ev.place - f.done))
	}
	return f.fault
}

func (f *Fake) eventElapsed(ms *float32, from, to uintptr) code {
	a, b := f.events[from], f.events[to]
	if a == nil || b == nil || !a.recorded || !b.recorded || !a.timed || !b.timed {
		return invalidHandle
	}
	*ms = float32(b.at-a.at) / 1000
	return 0
}

func (f *Fake) upload(dst uintptr, src unsafe.Pointer, n uint64) code {
	to := f.bytes(dst, n)
	if to == nil {
		return invalidValue
	}
	copy(to, unsafe.Slice((*byte)(src), n))
	return 0
}

func (f *Fake) download(dst unsafe.Pointer, src uintptr, n uint64) code {
	from := f.bytes(src, n)
	if from == nil {
		return invalidValue
	}
	copy(unsafe.Slice((*byte)(dst), n), from)
	return 0
}

func (f *Fake) uploadAsync(dst uintptr, src unsafe.Pointer, n uint64, s uintptr) code {
	return f.move(f.bytes(dst, n), f.pinned(uintptr(src), n), s)
}

func (f *Fake) downloadAsync(dst unsafe.Pointer, src uintptr, n uint64, s uintptr) code {
	return f.move(f.pinned(uintptr(dst), n), f.bytes(src, n), s)
}

func (f *Fake) copyAsync(dst, src uintptr, n uint64, s uintptr) code {
	return f.move(f.bytes(dst, n), f.bytes(src, n), s)
}

func (f *Fake) move(dst, src []byte, s uintptr) code {
	if dst == nil || src == nil {
		return invalidValue
	}
	return f.do(s, func() code {
		copy(dst, src)
		return 0
	})
}

func (f *Fake) fill8(dst uintptr, b uint8, n uint64, s uintptr) code {
	to := f.bytes(dst, n)
	if to == nil {
		return invalidValue
	}
	return f.do(s, func() code {
		for i := range to {
			to[i] = b
		}
		return 0
	})
}

func (f *Fake) fill32(dst uintptr, w uint32, n uint64, s uintptr) code {
	to := f.bytes(dst, 4*n)
	if to == nil || dst%4 != 0 {
		return invalidValue
	}
	return f.do(s, func() code {
		for i := 0; i < len(to); i += 4 {
			binary.LittleEndian.PutUint32(to[i:], w)
		}
		return 0
	})
}
