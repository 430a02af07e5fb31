package kernels

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/ops"
)

// sampler holds the kernels of sample.cu and what they work on. Buffers grow when
// a batch has more rows, edits or masks than any before it.
type sampler struct {
	kernel   *cuda.Function
	greedy   *cuda.Function
	resident int // blocks of kernel that the device holds at the same time
	rows     int // room
	edits    int // room
	words    int // room, of masks

	input    *cuda.Buffer // samplingRow[rows], samplingEdit[edits], uint32[words]
	output   *cuda.Buffer // samplingResult[rows]
	groups   *cuda.Buffer // workspaces and summaries
	staging  *cuda.Pinned // of input
	returned *cuda.Pinned // samplingResult[rows], ids[rows, listed], logs[rows, listed]: kernels write here

	// The choice that is under way, or was the last.
	few   fewRows       // its rows, where they are no more
	plain bool          // all rows are greedy, and want nothing else
	done  *cuda.Event   // the results have arrived
	away  bool          // they have not been collected
	tops  []int         // [rows of it] most likely tokens to report
	vocab int           // tokens of its rows
	lists []ops.Sampled // [rows of it] those that are too long for the device; empty where none is
}

// Constants of sample.cu.
const (
	sampleThreads  = 512
	listed         = 64                       // most likely tokens that a row can report
	sampleFew      = 64                       // rows that travel with the launch
	workspaceBytes = 16 + 8*listed + 3*4*2048 // of a group
	summaryBytes   = 32
	sampleShare    = 8 * sampleThreads // tokens a block takes at least
	greedyShare    = 4 * sampleThreads // the same where there is one pass
)

// samplingRow is Row in sample.cu.
type samplingRow struct {
	seed, step                uint64
	temperature, topP, least  float32
	topK, target, score, list int32
	edits, editCount          int32
	allowed                   int32
}

// fewRows is Few in sample.cu.
type fewRows [sampleFew]samplingRow

// samplingEdit is Edit in sample.cu.
type samplingEdit struct {
	id            int32
	scale, offset float32
	_             float32 // what the edit replaced
}

// samplingResult is Result in sample.cu.
type samplingResult struct {
	id, invalid int32
	logProb     float32
	_           float32 // log of the sum of exponentials
}

// sampleArgs is Sample in sample.cu.
type sampleArgs struct {
	logits, rows, edits, masks        cuda.DevicePtr
	results, host                     cuda.DevicePtr
	topIDs, topLogs                   cuda.DevicePtr
	groups, summaries                 cuda.DevicePtr
	stride, count, vocab, blocks, all int32
	_                                 int32
}

const (
	rowBytes    = int(unsafe.Sizeof(samplingRow{}))
	editBytes   = int(unsafe.Sizeof(samplingEdit{}))
	resultBytes = int(unsafe.Sizeof(samplingResult{}))
)

func (k *sampler) open(b *Backend) error {
	var err error
	if k.kernel, err = b.kernel("sample", "sample"); err != nil {
		return err
	}
	if k.greedy, err = b.kernel("sample", "greedy"); err != nil {
		return err
	}
	blocks, err := k.kernel.Occupancy(sampleThreads, 0)
	if err != nil {
		return err
	}
	k.resident = max(blocks, 1) * b.dev.Info().Multiprocessors
	if k.done, err = b.dev.NewEvent(false); err != nil {
		return err
	}
	if k.groups, err = b.dev.Alloc(k.resident * (workspaceBytes + 2*summaryBytes)); err != nil {
		return fmt.Errorf("kernels: sampling: %w", err)
	}
	return b.stream.Fill(k.groups.Ptr(), 0, k.groups.Size())
}

func (k *sampler) close() error {
	errs := []error{k.free()}
	if k.groups != nil {
		errs = append(errs, k.groups.Close())
	}
	if k.done != nil {
		errs = append(errs, k.done.Close())
	}
	k.groups, k.done = nil, nil
	return errors.Join(errs...)
}

// free gives back what depends on the size of batches.
func (k *sampler) free() error {
	var errs []error
	for _, m := range []*cuda.Buffer{k.input, k.output} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	for _, m := range []*cuda.Pinned{k.staging, k.returned} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	k.input, k.output, k.staging, k.returned = nil, nil, nil, nil
	return errors.Join(errs...)
}

// Sample chooses on the device, where the next step finds the ids, and has the
// kernel write the results to the host's memory. It waits only where a row asks
// for more than 64 of the most likely tokens, which are looked for on the host.
func (b *Backend) Sample(logits ops.Tensor, params []ops.Sampling) error {
	b.settle()
	k := &b.sampler
	if logits.Rows < len(params) {
		return fmt.Errorf("kernels: sample: got %s, want %d rows", logits, len(params))
	}
	if k.away { // nobody has collected the last choice: its memory is still in use
		b.fail(k.done.Synchronize())
	}
	long := false
	k.tops, k.lists, k.vocab = k.tops[:0], k.lists[:0], logits.Cols
	for i := range params {
		k.tops = append(k.tops, max(params[i].Top, 0))
		long = long || params[i].Top > listed
	}
	if len(params) > 0 {
		b.fail(b.sample(logits, params))
	}
	b.fail(k.done.Record(b.stream))
	k.away = true
	b.record()
	if b.err != nil {
		return b.report()
	}
	if !long {
		return nil
	}
	return b.listOnHost(logits, params)
}

// Collect waits for the results of the last Sample. What was put into the stream
// since goes on.
func (b *Backend) Collect(results []ops.Sampled) error {
	k := &b.sampler
	if len(results) < len(k.tops) {
		return fmt.Errorf("kernels: collect: got room for %d results, want %d", len(results), len(k.tops))
	}
	b.fail(k.done.Synchronize())
	k.away = false
	if err := b.report(); err != nil {
		return err
	}
	k.collect(results)
	return nil
}

// sample queues the draw of all rows. What a launch can carry is not copied ahead
// of it: between the logits and the choice, a copy is time that the step takes.
func (b *Backend) sample(logits ops.Tensor, params []ops.Sampling) error {
	k := &b.sampler
	edits, words := 0, 0
	k.plain = true
	for i := range params {
		edits += len(params[i].Edits)
		words += len(params[i].Allowed)
		k.plain = k.plain && greedy(&params[i])
	}
	if err := b.reserveSampling(len(params), edits, words); err != nil {
		return err
	}
	if !k.plain {
		if err := k.upload(b.stream, params, edits, words); err != nil {
			return err
		}
	}
	return b.launchSample(logits, len(params))
}

// greedy reports whether a row wants its most likely token and nothing else of the
// device.
func greedy(p *ops.Sampling) bool {
	return p.Temperature <= 0 && !p.Score && len(p.Edits) == 0 && p.Allowed == nil && (p.Top <= 0 || p.Top > listed)
}

// upload queues the copy of what the rows ask for, but for a few rows themselves.
func (k *sampler) upload(s *cuda.Stream, params []ops.Sampling, edits, words int) error {
	k.fill(params)
	rows := len(params)
	if rows <= sampleFew {
		rows = 0
	}
	for _, part := range []struct{ at, bytes int }{{0, rows * rowBytes}, {k.editsAt(), edits * editBytes}, {k.masksAt(), 4 * words}} {
		if err := s.Upload(k.input.Ptr()+cuda.DevicePtr(part.at), k.staging, part.at, part.bytes); err != nil {
			return err
		}
	}
	return nil
}

// launchSample launches the choice for rows that were filled in.
func (b *Backend) launchSample(logits ops.Tensor, rows int) error {
	if b.err != nil {
		return nil // reported by the caller
	}
	k := &b.sampler
	share := sampleShare
	if k.plain {
		share = greedyShare
	}
	blocks, groups := sampleGrid(rows, logits.Cols, k.resident, share)
	in, host := k.input.Ptr(), k.returned.Ptr()
	args := sampleArgs{
		logits: address(logits), edits: in + cuda.DevicePtr(k.editsAt()), masks: in + cuda.DevicePtr(k.masksAt()),
		results: k.output.Ptr(), host: host, topIDs: host + cuda.DevicePtr(k.idsAt()), topLogs: host + cuda.DevicePtr(k.logsAt()),
		groups: k.groups.Ptr(), summaries: k.groups.Ptr() + cuda.DevicePtr(k.resident*workspaceBytes),
		stride: int32(logits.Stride), count: int32(rows), vocab: int32(logits.Cols), blocks: int32(blocks), all: int32(groups),
	}
	if rows > sampleFew {
		args.rows = in
	}
	if k.plain {
		b.launch(k.greedy, cuda.Dim{X: blocks * rows}, cuda.Dim{X: sampleThreads}, 0, cuda.Struct(b.parameters(), args))
		return nil
	}
	// The blocks of a group wait for each other, so all must be on the device.
	l := cuda.Launch{Grid: cuda.Dim{X: blocks * groups}, Block: cuda.Dim{X: sampleThreads}, Cooperative: true, Overlap: true}
	b.start(k.kernel, l, cuda.Struct(cuda.Struct(b.parameters(), args), k.few))
	return nil
}

// sampleGrid returns the number of blocks that share a row, each of which takes
// share tokens at least, and the number of rows at work at the same time.
func sampleGrid(rows, vocab, resident, share int) (blocks, groups int) {
	groups = min(rows, resident)
	blocks = min((vocab+share-1)/share, resident/groups)
	return max(blocks, 1), groups
}

// Where the edits and the masks lie in the input.
func (k *sampler) editsAt() int { return k.rows * rowBytes }
func (k *sampler) masksAt() int { return k.editsAt() + k.edits*editBytes }

// Where the lists of the most likely tokens lie behind the results on the host.
func (k *sampler) idsAt() int  { return k.rows * resultBytes }
func (k *sampler) logsAt() int { return k.rows * (resultBytes + 4*listed) }

// chosen returns where the results of the last step lie, whose ids the next one
// may begin with; 0 before the first.
func (k *sampler) chosen() cuda.DevicePtr {
	if k.output == nil {
		return 0
	}
	return k.output.Ptr()
}

// reserveSampling makes room for a batch.
func (b *Backend) reserveSampling(rows, edits, words int) error {
	k := &b.sampler
	if rows <= k.rows && edits <= k.edits && words <= k.words {
		return nil
	}
	if err := b.stream.Synchronize(); err != nil {
		return err
	}
	if k.output != nil {
		b.step.moved++ // embeddings of graphs look for chosen ids there
	}
	if err := k.free(); err != nil {
		return err
	}
	k.rows, k.edits = max(k.rows, roomFor(rows, 64)), max(k.edits, roomFor(edits, 4096))
	if words > k.words {
		k.words = roomFor(words, 4096)
	}
	in, results := k.masksAt()+4*k.words, k.rows*resultBytes
	var err error
	if k.input, err = b.dev.Alloc(in); err != nil {
		return fmt.Errorf("kernels: sampling of %d rows: %w", k.rows, err)
	}
	if k.output, err = b.dev.Alloc(results); err != nil {
		return fmt.Errorf("kernels: sampling of %d rows: %w", k.rows, err)
	}
	if k.staging, err = b.dev.AllocHost(in, false); err != nil {
		return err
	}
	k.returned, err = b.dev.AllocHost(results+k.rows*8*listed, false)
	return err
}

// roomFor rounds up to a power of two, at least least.
func roomFor(n, least int) int { return max(least, 1<<bits.Len(uint(max(n, 1)-1))) }

// fill writes the batch's wishes to where they are copied from.
func (k *sampler) fill(params []ops.Sampling) {
	memory := k.staging.Bytes()
	rows := k.few[:]
	if len(params) > sampleFew {
		rows = viewOf[samplingRow](memory, k.rows)
	}
	edits := viewOf[samplingEdit](memory[k.editsAt():], k.edits)
	n, words := 0, 0
	for i := range params {
		rows[i] = rowOf(&params[i])
		rows[i].edits = int32(n)
		if mask := params[i].Allowed; mask != nil {
			rows[i].allowed = int32(words)
			words += copy(viewOf[uint32](memory[k.masksAt():], k.words)[words:], mask)
		}
		for _, e := range params[i].Edits {
			edits[n] = samplingEdit{id: e.ID, scale: e.Scale, offset: e.Offset}
			n++
		}
	}
}

// viewOf sees memory as n structs.
func viewOf[T samplingRow | samplingEdit | samplingResult | int32 | uint32 | float32](memory []byte, n int) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(memory))), n)
}

func rowOf(p *ops.Sampling) samplingRow {
	r := samplingRow{
		seed: p.Seed, step: p.Step, temperature: p.Temperature, topP: p.TopP, least: float32(math.Inf(-1)),
		topK: int32(min(max(p.TopK, 0), math.MaxInt32)), target: p.Target, editCount: int32(len(p.Edits)), allowed: -1,
	}
	if p.MinP > 0 {
		r.least = float32(math.Log(float64(p.MinP)))
	}
	if p.Score {
		r.score = 1
	}
	if p.Top <= listed {
		r.list = int32(max(p.Top, 0))
	}
	return r
}

// collect converts what the device has written.
func (k *sampler) collect(results []ops.Sampled) {
	if len(k.tops) == 0 {
		return
	}
	memory := k.returned.Bytes()
	rows := viewOf[samplingResult](memory, len(k.tops))
	ids := viewOf[int32](memory[k.idsAt():], k.rows*listed)
	logs := viewOf[float32](memory[k.logsAt():], k.rows*listed)
	for i, r := range rows {
		if r.invalid != 0 {
			results[i] = ops.Sampled{Invalid: true}
			continue
		}
		results[i] = ops.Sampled{ID: r.id, LogProb: r.logProb}
		switch n := min(k.tops[i], k.vocab); {
		case k.tops[i] > listed:
			results[i].TopIDs, results[i].TopLogs = k.lists[i].TopIDs, k.lists[i].TopLogs
		case n > 0:
			results[i].TopIDs = append([]int32(nil), ids[i*listed:][:n]...)
			results[i].TopLogs = append([]float32(nil), logs[i*listed:][:n]...)
		}
	}
}

// listOnHost looks for the most likely tokens of the rows whose lists are too
// long for the device. Their ids are the device's.
func (b *Backend) listOnHost(logits ops.Tensor, params []ops.Sampling) error {
	k := &b.sampler
	cpu := ops.NewCPU(1)
	defer cpu.Close()
	k.lists = slices.Grow(k.lists, len(params))[:len(params)]
	for i := range params {
		if params[i].Top <= listed {
			continue
		}
		row := logits
		row.Addr, row.Rows = unsafe.Add(logits.Addr, i*logits.Stride*logits.Type.Size()), 1
		values := make([]float32, logits.Cols)
		if err := b.Read(values, row); err != nil {
			return err
		}
		host := ops.Tensor{Addr: unsafe.Pointer(unsafe.SliceData(values)), Type: ops.F32, Rows: 1, Cols: len(values), Stride: len(values)}
		list := []ops.Sampling{{Score: true, Top: params[i].Top}}
		if err := ops.Sample(cpu, k.lists[i:i+1], host, list); err != nil {
			return err
		}
	}
	return nil
}
