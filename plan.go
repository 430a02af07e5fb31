package godwit

import (
	"fmt"

	"github.com/godwit-llm/godwit/internal/model"
)

// Plan says what a model's memory is used for, in bytes, before a weight is
// read.
type Plan struct {
	Weights      int64 // on a GPU in the type it computes in; on the CPU as stored, where they are mapped, not copied
	Stored       int64 // the weights in the checkpoint's files
	Constants    int64 // small weights, converted to float32
	Scratch      int64 // activations and logits of the largest step
	Cache        int64 // keys and values of CacheTokens positions
	State        int64 // recurrent state of MaxSequences sequences, and copies for speculation
	Snapshots    int64 // recurrent states that are kept for later requests
	HostMemory   int64 // of the host, for more of them
	Free         int64 // that the machine had when the plan was made; 0: not known
	Context      int   // most tokens of one sequence
	CacheTokens  int   // that all sequences together can hold
	MaxSequences int
	Warnings     []string // where the plan is less than what was asked for

	limits     model.Limits
	stepTokens int // of a step in which requests decode
	spacing    int // tokens between two snapshots in the middle of a prompt
}

const (
	pageSize    = 16      // positions
	emptyPage   = 1 << 10 // positions at least, where there is no cache: pages are numbers only
	emptyPages  = 1 << 8  // of a sequence then, at most
	keptPages   = 4       // times what all sequences can use at most, to keep some for later
	stepOutputs = 64
	draftRows   = 64      // outputs of a step for drafts
	spareStates = 8       // sequences with a recurrent state that have drafts at the same time
	unknownFree = 8 << 30 // bytes, where the system does not tell what is free
)

// machine is a device as the plan sees it.
type machine struct {
	name     string
	free     int64   // bytes; 0: not known
	share    float64 // of the free memory that may be used, unless Options says otherwise
	tokens   int     // of one step
	beside   int     // of prompts beside decoding sequences, unless Options says otherwise
	spacing  int     // tokens between two snapshots in the middle of a prompt
	types    model.Types
	resident bool // weights are copied into its memory; they are mapped otherwise
}

// mainMemory is where the CPU's models live.
func mainMemory() machine {
	return machine{name: "the main memory", free: freeMemory(), share: 0.5, tokens: 256, beside: 64, spacing: 256}
}

// stepLimits returns the sizes of a step; pages and sequences come later.
func (m machine) stepLimits(opts Options) model.Limits {
	sequences := opts.MaxSequences
	if sequences <= 0 {
		sequences = 16
	}
	state, _ := stateTypeNamed(opts.StateType)
	l := model.Limits{
		Tokens: max(m.tokens, sequences, opts.StepTokens), Outputs: max(stepOutputs, sequences),
		Sequences: sequences, PageSize: pageSize, StateType: state,
	}
	if opts.Speculation == speculate {
		l.Outputs, l.Spares = max(l.Outputs, sequences+draftRows), min(sequences, spareStates)
	}
	return l
}

// newPlan divides the free memory. The cache takes what the sequences can use
// at most, and no more than its share of what is free.
func newPlan(a *model.Account, opts Options, m machine) (Plan, error) {
	l := m.stepLimits(opts)
	p := Plan{
		Weights: a.WeightBytes(), Stored: a.StoredBytes(), Constants: a.Constants, Scratch: a.ScratchBytes,
		State: int64(l.Sequences+l.Spares) * a.SequenceBytes, Free: m.free,
		Context: a.Config.Context, MaxSequences: l.Sequences,
		stepTokens: opts.StepTokens, spacing: m.spacing,
	}
	if p.stepTokens == 0 {
		p.stepTokens = min(l.Sequences+m.beside, l.Tokens)
	}
	if opts.Context > 0 {
		p.Context = opts.Context
		if opts.Context > a.Config.Context {
			p.warn("the context of %d is longer than max_position_embeddings %d: the model was not trained for it", opts.Context, a.Config.Context)
		}
	}
	if m.free > 0 && !m.resident && p.Weights > m.free {
		p.warn("the weights need %s and %s are free: parts of them will be read from the disk again and again", Bytes(p.Weights), Bytes(m.free))
	}
	if a.PageBytes == 0 {
		l.PageSize = max(emptyPage, pagesFor(p.Context, emptyPages))
	}
	l.Pages = l.Sequences * pagesFor(p.Context, l.PageSize)
	if !opts.NoPrefixCache {
		l.Pages *= keptPages
		p.keep(&l, a, opts, m)
	}
	if err := p.fit(&l, a.PageBytes, opts, m); err != nil {
		return p, err
	}
	p.Cache = int64(l.Pages) * a.PageBytes
	p.CacheTokens = l.Pages * l.PageSize
	p.limits = l
	return p, nil
}

// pagesFor returns how many pages hold a number of tokens.
func pagesFor(tokens, size int) int { return (tokens + size - 1) / size }

func (p *Plan) warn(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}

// allowed returns how much memory may be used.
func (p *Plan) allowed(opts Options, m machine) int64 {
	share, free := opts.Memory, p.Free
	if share == 0 {
		share = m.share
	}
	if free <= 0 {
		free = unknownFree
	}
	return int64(share * float64(free))
}

// keep plans room for snapshots of recurrent states.
func (p *Plan) keep(l *model.Limits, a *model.Account, opts Options, m machine) {
	if a.SequenceBytes == 0 {
		return
	}
	bytes, most := opts.SnapshotMemory, int64(1<<20)
	if bytes == 0 {
		bytes = p.allowed(opts, m) - p.Constants - p.Scratch - p.State
		if m.resident {
			bytes -= p.Weights
		}
		bytes, most = max(bytes/4, 0), int64(4*l.Sequences+16)
	}
	l.Snapshots = int(min(bytes/a.SequenceBytes, most))
	l.HostSnapshots = int(min(opts.HostMemory/a.SequenceBytes, 1<<20))
	p.Snapshots = int64(l.Snapshots) * a.SequenceBytes
	p.HostMemory = int64(l.HostSnapshots) * a.SequenceBytes
}

// fit cuts the cache to its share of the free memory, and the context to the
// cache.
func (p *Plan) fit(l *model.Limits, pageBytes int64, opts Options, m machine) error {
	free := p.Free
	if free <= 0 {
		free = unknownFree
	}
	allowed := p.allowed(opts, m)
	parts := p.Constants + p.Scratch + p.State + p.Snapshots
	besides := "besides the weights "
	if m.resident {
		parts += p.Weights
		besides = fmt.Sprintf("the weights need %s, in all ", Bytes(p.Weights))
	}
	budget := allowed - parts
	if budget < pageBytes {
		return &Error{Class: ErrOutOfMemory, Err: fmt.Errorf(
			"not enough memory: %s%s are needed (constants %s, step %s, state of %d sequences %s, kept states %s, cache from %s), and %s of the %s free in %s may be used; fewer sequences or a larger share would help",
			besides, Bytes(parts+pageBytes), Bytes(p.Constants), Bytes(p.Scratch), l.Sequences, Bytes(p.State), Bytes(p.Snapshots), Bytes(pageBytes), Bytes(allowed), Bytes(free), m.name)}
	}
	if pageBytes == 0 || budget/pageBytes >= int64(l.Pages) {
		return nil
	}
	l.Pages = int(budget / pageBytes)
	if tokens := l.Pages * l.PageSize; tokens < p.Context {
		if opts.Context > 0 {
			return &Error{Class: ErrOutOfMemory, Err: fmt.Errorf(
				"not enough memory: a context of %d tokens needs a cache of %s, and of the %s free in %s %s are left for it; a shorter context or a larger share would help",
				p.Context, Bytes(int64(pagesFor(p.Context, l.PageSize))*pageBytes), Bytes(free), m.name, Bytes(budget))}
		}
		p.warn("the context is %d instead of max_position_embeddings %d: the cache has %s", tokens, p.Context, Bytes(budget))
		p.Context = tokens
	}
	return nil
}

// Bytes prints a number of bytes with a decimal unit.
type Bytes int64

// String returns the number with a unit from B to GB.
func (b Bytes) String() string {
	switch v := float64(b); {
	case b < 1000:
		return fmt.Sprintf("%d B", int64(b))
	case b < 1e6:
		return fmt.Sprintf("%.1f kB", v/1e3)
	case b < 1e9:
		return fmt.Sprintf("%.1f MB", v/1e6)
	default:
		return fmt.Sprintf("%.2f GB", v/1e9)
	}
}
