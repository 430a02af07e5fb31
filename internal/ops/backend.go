// Package ops defines the operations that a model's forward pass is written
// in, and implements them in plain Go for the CPU. That implementation is the
// reference for every other backend.
//
// The package knows arithmetic and memory layout. It does not know models,
// checkpoints, requests or text.
package ops

// Backend carries out the operations of forward passes on one device.
//
// The memory methods are called while a model is loaded and never during a
// step. The operations belong to the step that the last Begin opened: "the
// batch" is its batch, n its number of tokens. They are called by one
// goroutine at a time, in order; a backend may run them later as long as
// nobody can tell. Operands are checked when a model is bound, so operations
// do not return errors: the first fault of a device is reported by Collect.
type Backend interface {
	Memory

	// Begin opens a step. The batch must stay unchanged until Launch.
	Begin(batch *Batch) error

	// Embed writes row Tokens[i] of the [vocabulary, width] table to out[i],
	// which is Float. Where Tokens[i] is Chosen(r), it is the row of the token
	// that the last Sample has chosen for row r of its logits.
	Embed(out, table Tensor)

	// Norm writes the normalised x [n, width] to out, which may be x itself.
	// Each of the two is an Activation or Float.
	// When norm's weight is narrower than x, each group of that many columns
	// is normalised on its own (the norms of single heads).
	Norm(out, x Tensor, norm *Norm)

	// Linear writes act(x·Wᵀ + bias) to out, or adds it to out. x is an
	// Activation, out an Activation or Float.
	Linear(out, x Tensor, w *Linear, e Epilogue)

	// Multiply writes act(gate) ⊙ up to out: the middle of a gated MLP.
	Multiply(out, gate, up Tensor, act Activation)

	// Angles computes the sines and cosines of the batch's positions; the
	// Append operations that follow in this step use them.
	Angles(r *Rotary)

	// Append rotates q [n, Heads·HeadDim] and k [n, KVHeads·HeadDim] in place
	// by the step's Angles (unless a.Rotary is nil) and stores k and v in the
	// cache at the batch's positions, rounded as the cache's format says.
	Append(q, k, v Tensor, a *Attention, c Cache)

	// Attend writes softmax(q·kᵀ·Scale)·v over the cached positions up to
	// each token's own to out [n, Heads·HeadDim].
	Attend(out, q Tensor, a *Attention, c Cache)

	// Convolve writes SiLU(causal depthwise convolution of x) to out [n,
	// channels] and moves each sequence's window, a row of state, forward.
	Convolve(out, x Tensor, c *Conv, state Tensor)

	// Scan runs the Mamba-2 recurrence over each sequence of the batch.
	// xbc [n, Inner+2·Groups·State] holds x, B and C, dt [n, Heads] the raw
	// time steps; y [n, Inner] is written and state, a row a slot, updated. A
	// state of type F16 is rounded once a step, when it is stored.
	Scan(y, xbc, dt Tensor, s *SSM, state Tensor)

	// GatedNorm writes RMSNorm(y ⊙ SiLU(z)) by groups of columns to out.
	GatedNorm(out, y, z Tensor, g *GatedNorm)

	// Mamba runs what lies between the projections of a Mamba-2 mixer: Convolve,
	// Scan and GatedNorm. p [n, m.Projected()] holds the columns z, x, B, C and
	// dt. mixed [n, m.Convolved()] and y [n, Inner] are scratch, undefined
	// afterwards; out [n, Inner] may share memory with mixed.
	Mamba(out, p Tensor, m *Mamba, state MambaState, mixed, y Tensor)

	// Route chooses TopK experts and their weights for each row of x. Of equal
	// scores the expert, or the group, with the lower number comes first.
	Route(out Routes, x Tensor, r *Router)

	// Experts adds Σ weight·down(act(up x)) over each row's chosen experts to
	// out; with set, out is overwritten instead.
	Experts(out, x Tensor, routes Routes, e *Experts, set bool)

	// MoE adds a mixture of experts' output for the rows of x to out: Route,
	// Experts and the shared expert. routes is scratch, and so is hidden
	// [n, Shared.Up.Out], which is not looked at without a shared expert.
	MoE(out, x Tensor, m *MoE, routes Routes, hidden Tensor)

	// Gather copies the batch's Outputs rows of x to out, both Float.
	Gather(out, x Tensor)

	// Launch says that nothing follows the operations so far but Sample: the
	// device begins with them, if it has not.
	Launch()

	// Sample chooses a token for each row of logits [len(params), vocabulary].
	// It does not wait: another step may begin, and refer to what is chosen,
	// before Collect returns it. Params may be used again at once, logits with
	// the next step. At most one choice is under way: Collect comes between two
	// Samples. A step without rows has a Sample, too.
	Sample(logits Tensor, params []Sampling) error

	// Collect waits for the last Sample, and so for the step that it was of,
	// and returns what was chosen, one result a row. It fails when the device
	// failed anywhere in that step or before.
	Collect(results []Sampled) error

	// Copy copies n rows of src, from row from on, to dst, from row to on. The
	// two are dense and of one type and width, the rows are not the same. Either
	// may be memory of the host. It is called between steps, and comes after the
	// operations of the step before and ahead of those of the next.
	Copy(dst Tensor, to int, src Tensor, from, n int)

	// Read copies a tensor to the host as float32, rows back to back. It is
	// meant for tests and tools.
	Read(dst []float32, t Tensor) error
}

// Memory places weights and buffers on a device.
type Memory interface {
	// Weights places stored matrices that belong together, in this order, so
	// that a layer made of several can be computed as one.
	Weights(parts []Stored) ([]Tensor, error)

	// Vector places small constants, always as float32, as one row.
	Vector(values []float32) (Tensor, error)

	// Activation returns scratch space in the device's activation type. Its
	// content is undefined before it is written.
	Activation(rows, cols int) (Tensor, error)

	// Float returns scratch space that is float32 on every device: for the
	// residual stream, which many small terms are added to, and for logits.
	Float(rows, cols int) (Tensor, error)

	// State returns zeroed memory that lasts, of type F32 or F16.
	State(t DType, rows, cols int) (Tensor, error)

	// HostState returns memory of the host that lasts: for rows of State that
	// Copy saves and loads.
	HostState(t DType, rows, cols int) (Tensor, error)

	// Routes returns scratch space for the routing of a mixture's rows, and for
	// what the device keeps of its experts' work until it is summed.
	Routes(m Mixture) (Routes, error)

	// Cache returns an empty key/value cache for one attention layer.
	Cache(shape CacheShape) (Cache, error)

	// Close gives all of the backend's memory back.
	Close() error
}

// Stored is a matrix in a checkpoint: where its bytes are and what they mean.
type Stored struct {
	Name       string
	Type       DType
	Rows, Cols int
	Data       []byte  // row-major, aligned for Type; often a mapped file
	Random     *Random // nil: as stored; otherwise there is no Data, and the values are made up
}

// Batch describes the tokens of one step: several sequences back to back, each
// with one token (decoding) or more (a piece of a prompt).
type Batch struct {
	Tokens    []int32 // [n] ids of all sequences, given or Chosen
	Positions []int32 // [n] position of each token in its sequence
	Start     []int32 // [s+1] sequence i owns Tokens[Start[i]:Start[i+1]]
	Pages     []int32 // [s·MaxPages] page table, a row a sequence, -1 past the end
	MaxPages  int
	Slots     []int32 // [s] recurrent-state slot of each sequence
	Outputs   []int32 // [r] rows whose results are wanted, ascending
	Hidden    int     // of the outputs, the last ones whose hidden states are wanted instead of logits
	Decoding  bool    // no piece is of a prompt: each is a token of an output or, to verify a draft, a few
}

// Chosen stands in Batch.Tokens for the id that the step before chooses for its
// row of logits r. The host need not know it yet.
func Chosen(r int) int32 { return -1 - int32(r) }

// Given reports whether an id of Batch.Tokens is one; otherwise row is the one
// that it comes from.
func Given(id int32) (row int, given bool) { return int(-1 - id), id >= 0 }

// Sequences returns the number of sequences in the batch.
func (b *Batch) Sequences() int { return len(b.Start) - 1 }

// Activation is an elementwise function.
type Activation uint8

// The activations of the supported models.
const (
	Identity Activation = iota
	ReLU2               // max(x, 0)²
	SiLU                // x·sigmoid(x)
	GELU                // x·Φ(x)
	GELUTanh            // the tanh approximation of GELU
)

// Epilogue says what happens to a product before it is stored.
type Epilogue struct {
	Act Activation
	Add bool // add to what out holds: the residual connection
}

// Norm is a LayerNorm or an RMSNorm.
type Norm struct {
	Weight Tensor // [1, width] F32; LayerNorm1P's + 1 is folded in
	Bias   Tensor // [1, width] F32; absent for RMSNorm
	Center bool   // LayerNorm: subtract the mean
	Eps    float32
}

// Linear is a linear layer y = W·x + b.
type Linear struct {
	In, Out int
	Weight  []Tensor // [rows, In] each, stacked: their rows sum to Out
	Bias    Tensor   // [1, Out] F32, or absent
}

// Rotary holds the frequencies of a rotary position encoding. The first
// 2·len(InvFreq) columns of each head are rotated, column i together with
// column i+len(InvFreq).
type Rotary struct {
	InvFreq []float32
	Scale   float32 // factor on sines and cosines; YaRN's attention factor
	Dynamic *Dynamic
}

// Dynamic describes "dynamic NTK" scaling: beyond Context the base grows with
// the position. A token at position p is rotated as in a sequence of p+1
// tokens, so results do not depend on how a prompt is cut.
type Dynamic struct {
	Theta, Factor float64
	Context       int
}

// Attention is the shape of one attention layer.
type Attention struct {
	Heads, KVHeads, HeadDim int
	Scale                   float32
	Rotary                  *Rotary // nil: no position encoding
	Window                  int     // a token sees this many positions, itself included; 0: all
}

// Conv is a causal depthwise convolution over time.
type Conv struct {
	Weight Tensor // [1, channels·Kernel] F32, the last tap of a channel is the current token
	Bias   Tensor // [1, channels] F32, or absent
	Kernel int
}

// SSM is the shape and the constants of one Mamba-2 recurrence.
type SSM struct {
	Heads, HeadDim, Groups, State int
	A                             Tensor  // [1, Heads] F32: -exp(A_log)
	D                             Tensor  // [1, Heads] F32
	DtBias                        Tensor  // [1, Heads] F32
	DtMin, DtMax                  float32 // limits of the time step after softplus
}

// Inner returns the width of the recurrence's input and output.
func (s *SSM) Inner() int { return s.Heads * s.HeadDim }

// GatedNorm is Mamba-2's output norm: gate first, normalise by group after.
type GatedNorm struct {
	Weight Tensor // [1, width] F32
	Groups int
	Eps    float32
}

// Mamba is a Mamba-2 mixer without its projections.
type Mamba struct {
	SSM
	Conv Conv      // of the columns x, B and C
	Norm GatedNorm // of the scan's output, gated by the columns z
}

// MambaState is what a Mamba-2 mixer keeps of sequences, a row a slot.
type MambaState struct {
	Window Tensor // of the convolution
	SSM    Tensor // of the scan, F32 or F16
}

// Convolved returns the number of columns that are convolved: x, B and C.
func (m *Mamba) Convolved() int { return m.Inner() + 2*m.Groups*m.State }

// Projected returns the number of columns of the mixer's input.
func (m *Mamba) Projected() int { return m.Inner() + m.Convolved() + m.Heads }

// Split returns the parts of the mixer's input.
func (m *Mamba) Split(p Tensor) (z, xbc, dt Tensor) {
	inner, end := m.Inner(), m.Inner()+m.Convolved()
	return p.Columns(0, inner), p.Columns(inner, end), p.Columns(end, m.Projected())
}

// Router chooses experts: sigmoid scores, the bias for selection only.
type Router struct {
	Weight        *Linear // [experts, width], without bias
	Bias          Tensor  // [1, experts] F32
	TopK          int
	Groups        int // expert groups; 1: plain top-k
	TopGroups     int // groups that stay eligible
	Normalize     bool
	ScalingFactor float32
}

// Routes is the routing of the rows of a step.
type Routes struct {
	IDs     Tensor // [n, TopK] I32: chosen experts
	Weights Tensor // [n, TopK] F32
	Scratch Tensor // of the device's own, for any number of rows; absent where it needs none
}

// Top returns the routing of the first n rows.
func (r Routes) Top(n int) Routes {
	return Routes{IDs: r.IDs.Top(n), Weights: r.Weights.Top(n), Scratch: r.Scratch}
}

// Mixture is the size of a mixture of experts in the largest step, or the most
// that several layers need.
type Mixture struct {
	Rows, TopK, Experts int
	Width               int // columns of Up's output
	Out                 int // columns of Down's output
}

// Scratch returns the bytes that a device may take for Routes.Scratch, where an
// activation has so many: the scores of all experts, the results of both
// products for every choice, and an order of the choices.
func (m Mixture) Scratch(activation int) int64 {
	rows, experts := int64(m.Rows), int64(m.Experts)
	choices := rows * int64(m.TopK)
	products := choices * int64(m.Width+m.Out) * int64(activation)
	return products + 4*rows*experts + 8*choices + 32*experts + rows + 4096
}

// Experts is the routed part of a mixture of experts: y = down(act(up x)).
type Experts struct {
	Up, Down []Linear // one of each per expert, of one part and without bias
	Act      Activation
	Width    int // columns of Up's output
}

// MoE is a mixture of experts: those that the router chooses for a row, and one
// that all rows share.
type MoE struct {
	Router  *Router
	Experts *Experts
	Shared  *Shared // nil: none
}

// Shared is the expert that every row passes: down(act(up x)), with the
// activation of the others.
type Shared struct{ Up, Down *Linear }

// Separately runs the mixture as the operations that it consists of.
func (m *MoE) Separately(b Backend, out, x Tensor, routes Routes, hidden Tensor) {
	b.Route(routes, x, m.Router)
	b.Experts(out, x, routes, m.Experts, false)
	if m.Shared != nil {
		b.Linear(hidden, x, m.Shared.Up, Epilogue{Act: m.Experts.Act})
		b.Linear(out, hidden, m.Shared.Down, Epilogue{Add: true})
	}
}

// Sampling says how to choose the token of one row.
type Sampling struct {
	Temperature float32  // 0: the most likely token
	TopK        int      // 0: all
	TopP        float32  // 0 or 1: all
	MinP        float32  // 0: all
	Edits       []Edit   // changes to single logits, one a token at most
	Allowed     []uint32 // a bit for each token that may be chosen, token 0 the lowest of word 0; nil: all
	Seed        uint64
	Step        uint64 // number of this draw within its request
	Target      int32  // with Score: the token whose log-probability is wanted
	Score       bool   // do not choose: take Target
	Top         int    // how many most likely tokens to report
}

// Edit changes the logit of one token before anything else: a positive logit
// is divided, a negative one multiplied by Scale; then Offset is added. It
// expresses the repetition, presence and frequency penalties and logit bias.
type Edit struct {
	ID     int32
	Scale  float32
	Offset float32
}

// Sampled is the outcome of one row. Log-probabilities are those of the model,
// before edits, temperature and Allowed.
type Sampled struct {
	ID      int32
	Invalid bool // the logits hold NaN or +Inf, or nothing but -Inf: nothing could be chosen
	LogProb float32
	TopIDs  []int32 // the most likely tokens, best first
	TopLogs []float32
}
