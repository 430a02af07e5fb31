package kernels

import (
	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// mamba holds the kernel of mamba.cu.
type mamba struct {
	step map[ops.DType]*cuda.Function // by the type of the state; nil where there are no clusters
	most int                          // sequences that it takes
}

// Constants of mamba.cu.
const (
	mambaSplit  = 8   // blocks a group
	mambaState  = 128 // columns of the state
	mambaTaps   = 4
	leastRows   = 24  // of a block, so that its threads take three channels at most
	mostRows    = 160 // of a block: four threads each
	mambaShared = 4 * (2*mambaState + 2*mostRows + mambaSplit + 32)
)

// mostMixed is the number of sequences up to which one kernel for the whole
// mixer is faster than three: it saves two launches and the time in which each
// of them has little to do, but a block's rows wait for those of its cluster.
// On an H200 one takes 3.1 us where three take 5.7 for one sequence, as long as
// three for eight, and from 16 on a quarter more.
const mostMixed = 4

// Clusters begin with Hopper.
const clusters cuda.Capability = 90

func (k *mamba) open(b *Backend) (err error) {
	info := b.dev.Info()
	k.most = mostMixed
	if !info.Clusters || !ownCode(info.Capability, clusters) {
		return nil
	}
	k.step = map[ops.DType]*cuda.Function{}
	for _, t := range stateTypes {
		if k.step[t], err = b.kernel("mamba", "mamba_step_"+suffix(b.opt.Act)+"_"+suffix(t)); err != nil {
			return err
		}
	}
	return nil
}

func (k *mamba) close() error { return nil }

// mixerArgs is Mixer in mamba.cu.
type mixerArgs struct {
	scan                       scanArgs
	weight, bias, window, norm cuda.DevicePtr
	eps                        float32
	_                          int32
}

// Mamba runs a Mamba-2 mixer without its projections, all of the activation
// type: in one launch where few sequences have a token each, as Convolve, Scan
// and GatedNorm otherwise. It may be called once a step for each state.
func (b *Backend) Mamba(out, p ops.Tensor, m *ops.Mamba, state ops.MambaState, mixed, y ops.Tensor) {
	if b.step.n > b.mamba.most || !b.mixes(m, state) {
		z, xbc, dt := m.Split(p)
		b.Convolve(mixed, xbc, &m.Conv, state.Window)
		b.Scan(y, mixed, dt, &m.SSM, state.SSM)
		b.GatedNorm(out, y, z, &m.Norm)
		return
	}
	if b.later(&operation{kind: opMamba, out: out, in: [3]ops.Tensor{p, mixed, y}, mamba: m, state: state}) {
		return
	}
	if !b.expect("mamba", b.opt.Act, out) || !b.expect("mamba", b.opt.Act, p) || p.Rows == 0 {
		return
	}
	args := mixerArgs{
		scan:   scanArgsOf(out, p, p, &m.SSM, state.SSM),
		weight: address(m.Conv.Weight), bias: address(m.Conv.Bias), window: address(state.Window), norm: address(m.Norm.Weight), eps: m.Norm.Eps,
	}
	rows := m.Inner() / m.Groups / mambaSplit
	launch := cuda.Struct(cuda.Struct(b.parameters(), args), b.step.metadata)
	b.launch(b.mamba.step[state.SSM.Type], cuda.Dim{X: mambaSplit * m.Groups, Y: b.step.s}, cuda.Dim{X: 4 * rows}, mambaShared, launch)
}

// mixes reports whether the step is one that a single kernel can take.
func (b *Backend) mixes(m *ops.Mamba, state ops.MambaState) bool {
	if b.mamba.step[state.SSM.Type] == nil || !b.singles() || m.State != mambaState || m.Conv.Kernel != mambaTaps || m.Norm.Groups != m.Groups {
		return false
	}
	rows := m.Inner() / m.Groups / mambaSplit
	even := rows*m.Groups*mambaSplit == m.Inner() && rows%scanRows == 0 && m.HeadDim%scanRows == 0
	return even && rows >= leastRows && rows <= mostRows && address(m.Conv.Weight)%16 == 0 && address(state.SSM)%16 == 0
}
