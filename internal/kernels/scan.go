package kernels

import (
	"fmt"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// scan holds the kernels of scan.cu, by the type of the state.
type scan map[ops.DType]*scanKernels

type scanKernels struct {
	steps map[int]*cuda.Function // by the size of the state
	any   *cuda.Function
}

// Constants of scan.cu.
const (
	scanThreads = 128
	scanRows    = 8  // of a head, a warp
	scanBlock   = 32 // rows a block
	scanWarps   = scanThreads / 32

	// mostHeld is the most columns of a state of any size that is stored in 16
	// bits: each warp holds a row of them in shared memory.
	mostHeld = (48 << 10) / (4 * scanWarps)
)

var scanStates = []int{64, 128, 256}

func (k *scan) open(b *Backend) (err error) {
	*k = scan{}
	for _, t := range stateTypes {
		of := &scanKernels{steps: map[int]*cuda.Function{}}
		(*k)[t] = of
		types := suffix(b.opt.Act) + "_" + suffix(t)
		if of.any, err = b.kernel("scan", "scan_any_"+types); err != nil {
			return err
		}
		for _, n := range scanStates {
			if of.steps[n], err = b.kernel("scan", fmt.Sprintf("scan_steps_%s_%d", types, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *scan) close() error { return nil }

// scanArgs is Scan in scan.cuh.
type scanArgs struct {
	xbc, dt, y, a, d, dtBias, state cuda.DevicePtr
	xbcStride, dtStride, yStride    int32
	heads, headDim, groups, size    int32
	dtMin, dtMax                    float32
	_                               int32
}

func scanArgsOf(y, xbc, dt ops.Tensor, s *ops.SSM, state ops.Tensor) scanArgs {
	return scanArgs{
		xbc: address(xbc), dt: address(dt), y: address(y), a: address(s.A), d: address(s.D), dtBias: address(s.DtBias), state: address(state),
		xbcStride: int32(xbc.Stride), dtStride: int32(dt.Stride), yStride: int32(y.Stride),
		heads: int32(s.Heads), headDim: int32(s.HeadDim), groups: int32(s.Groups), size: int32(s.State),
		dtMin: s.DtMin, dtMax: s.DtMax,
	}
}

// Scan runs the recurrence of Mamba-2. xbc, dt and y are of the activation
// type. Pieces of prompts go through the tensor cores in chunks where types,
// sizes and addresses allow, everything else, and steps that verify drafts, token
// by token. It may be called once a step for each state.
func (b *Backend) Scan(y, xbc, dt ops.Tensor, s *ops.SSM, state ops.Tensor) {
	if b.later(&operation{kind: opScan, out: y, in: [3]ops.Tensor{xbc, dt, state}, ssm: s}) {
		return
	}
	for _, t := range [...]ops.Tensor{y, xbc, dt} {
		if !b.expect("scan", b.opt.Act, t) {
			return
		}
	}
	if !isState(state.Type) || state.Type != ops.F32 && s.State > mostHeld {
		b.fail(fmt.Errorf("kernels: scan: got a state %s of %d columns, want F32, or F16 of at most %d", state, s.State, mostHeld))
		return
	}
	if xbc.Rows == 0 {
		return
	}
	args := scanArgsOf(y, xbc, dt, s, state)
	aligned := s.HeadDim%scanRows == 0 && address(xbc)%16 == 0 && xbc.Stride*xbc.Type.Size()%16 == 0 && address(state)%16 == 0
	if !aligned {
		b.scanSteps(&args, s, state.Type, false, false)
		return
	}
	shape, ok := b.chunks.shapeOf(s)
	if b.singles() || b.verifies() || !ok || address(y)%4 != 0 || y.Stride%2 != 0 {
		b.scanSteps(&args, s, state.Type, true, false)
		return
	}
	w := chunkWorkOf(b.step.batch.Start, s.Heads*shape.slices(s.HeadDim), b.chunks.processors)
	if w.single {
		b.scanSteps(&args, s, state.Type, true, true)
	}
	if w.segments > 0 {
		b.scanChunks(&args, s, state.Type, shape, w)
	}
}

// scanSteps runs the recurrence token by token, for all sequences or for those
// of a single token.
func (b *Backend) scanSteps(args *scanArgs, s *ops.SSM, state ops.DType, aligned, single bool) {
	k, only, shared := b.scan[state], 0, 0
	if single {
		only = 1
	}
	p := cuda.Struct(cuda.Struct(b.parameters(), *args), b.step.metadata).Int(only)
	if f := k.steps[s.State]; aligned && f != nil {
		b.launch(f, cuda.Dim{X: (s.Inner() + scanBlock - 1) / scanBlock, Y: b.step.s}, cuda.Dim{X: scanThreads}, 0, p)
		return
	}
	if state != ops.F32 {
		shared = 4 * scanWarps * s.State
	}
	b.launch(k.any, cuda.Dim{X: s.Heads, Y: b.step.s}, cuda.Dim{X: scanThreads}, shared, p)
}
