package cuda

import (
	"errors"
	"unsafe"
)

// Graph is a recorded piece of work: a template for Execs.
type Graph struct{ object }

// Exec is a graph that can be launched.
type Exec struct{ object }

const captureThreadLocal = 1

// Capture records what record puts into the stream, and into streams that wait
// for events of it, instead of doing it. Inside, memory must not be allocated
// or freed and nothing be waited for on this thread. If record fails, the
// recording is thrown away and its error is returned.
func (s *Stream) Capture(record func() error) (*Graph, error) {
	if !s.alive() {
		return nil, s.gone()
	}
	if err := s.d.call(cuStreamBeginCapture, s.handle, captureThreadLocal); err != nil {
		return nil, err
	}
	ended := false
	defer func() {
		if !ended { // record panicked: do not leave the stream recording
			s.abandon()
		}
	}()
	err := record()
	ended = true
	if err != nil {
		s.abandon()
		return nil, err
	}
	var h uintptr
	if err := s.d.call(cuStreamEndCapture, s.handle, uintptr(unsafe.Pointer(&h))); err != nil {
		return nil, err
	}
	if h == 0 {
		return nil, errors.New("cuda: the recording was invalidated and holds nothing")
	}
	g := &Graph{}
	s.d.adopt(&g.object, "graph", h, g)
	return g, nil
}

// abandon ends a recording whose result nobody wants.
func (s *Stream) abandon() {
	var h uintptr
	if err := s.d.call(cuStreamEndCapture, s.handle, uintptr(unsafe.Pointer(&h))); err == nil && h != 0 {
		_ = s.d.call(cuGraphDestroy, h)
	}
}

// Close releases the graph. Its Execs stay.
func (g *Graph) Close() error { return g.release(cuGraphDestroy) }

// Nodes returns the number of operations recorded.
func (g *Graph) Nodes() (int, error) {
	if !g.alive() {
		return 0, g.gone()
	}
	var n uintptr
	err := g.d.call(cuGraphGetNodes, g.handle, 0, uintptr(unsafe.Pointer(&n)))
	return int(n), err
}

// Instantiate makes the graph launchable. The graph can be closed afterwards.
func (g *Graph) Instantiate() (*Exec, error) {
	if !g.alive() {
		return nil, g.gone()
	}
	var h uintptr
	if err := g.d.call(cuGraphInstantiate, uintptr(unsafe.Pointer(&h)), g.handle, 0); err != nil {
		return nil, err
	}
	x := &Exec{}
	g.d.adopt(&x.object, "graph exec", h, x)
	return x, nil
}

// Close releases the exec. Launches that are under way end first.
func (x *Exec) Close() error { return x.release(cuGraphExecDestroy) }

// Launch puts the recorded work into a stream. It allocates nothing.
func (x *Exec) Launch(s *Stream) error {
	if !x.alive() {
		return x.gone()
	}
	if !s.alive() {
		return s.gone()
	}
	return x.d.quick(cuGraphLaunch, x.handle, s.handle, 0, 0)
}

// Prepare moves what the first launch needs to the device ahead of it.
func (x *Exec) Prepare(s *Stream) error {
	if !x.alive() {
		return x.gone()
	}
	if !s.alive() {
		return s.gone()
	}
	return x.d.call(cuGraphUpload, x.handle, s.handle)
}

// updateResult is C's CUgraphExecUpdateResultInfo.
type updateResult struct {
	result    int32
	_         int32
	node      uintptr
	fromOther uintptr
}

// Update replaces the parameters of the exec's operations by those of a graph
// of the same shape. It reports false if the shapes differ, so that a new Exec
// is needed, and ErrNotAvailable where the driver cannot do it.
func (x *Exec) Update(g *Graph) (bool, error) {
	if !x.alive() {
		return false, x.gone()
	}
	if !g.alive() {
		return false, g.gone()
	}
	var r updateResult
	err := x.d.call(cuGraphExecUpdate, x.handle, g.handle, uintptr(unsafe.Pointer(&r)))
	if driverCode(err) == codeUpdateFailed {
		return false, nil
	}
	return err == nil, err
}
