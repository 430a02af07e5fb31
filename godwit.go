// Package godwit runs Hugging Face safetensors checkpoints of the NVIDIA
// Nemotron family and its Llama-like relatives: text or token ids in, text,
// ids and log-probabilities out.
//
// Open reads a model directory as it is published: config.json, safetensors
// files, tokenizer.json and, where they are there, generation_config.json and
// a chat template. Nothing is converted. A Model serves any number of requests
// at once; Start streams a generation, Generate waits for the whole of it.
//
// Everything in this package may be used by several goroutines at a time.
package godwit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/godwit-llm/godwit/internal/builtin"
	"github.com/godwit-llm/godwit/internal/chat"
	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/engine"
	"github.com/godwit-llm/godwit/internal/model"
	"github.com/godwit-llm/godwit/internal/safetensors"
	"github.com/godwit-llm/godwit/internal/tokenizer"
)

// Options configures Open. The zero value is ready to use.
type Options struct {
	Device       string  // "auto" (or ""), "cpu", "cuda" or "cuda:N"
	DType        string  // that a GPU computes in: "float32", "bfloat16", "float16", or "auto" (or ""), the type most weights are stored in; the CPU computes in float32
	StateType    string  // that the states of recurrences (Mamba-2) are kept in: "float32" (or ""), or "float16", in half the memory and a little less exact
	Context      int     // most tokens of one sequence; 0 means max_position_embeddings
	MaxSequences int     // requests that run at the same time; 0 means 16
	QueueLimit   int     // requests that may wait to run; 0 means 1024
	StepTokens   int     // tokens of a step that decoding requests share with prompts; 0 means MaxSequences and 64 more, 1024 on a GPU
	Memory       float64 // share of the free memory that may be used; 0 means 0.5 of the main memory, 0.9 of a GPU's
	Threads      int     // on the CPU; 0 means one for every core

	// Speculation says whether tokens that are likely to follow are computed along
	// with the one that leads to them, and accepted where the model chooses them
	// itself: "auto", where that was measured to bring tokens faster, or "off" (or
	// ""). Output is what it is without.
	Speculation string

	// NoAhead has a GPU wait for the host after each step, instead of planning and
	// queueing the next one meanwhile. It is there for comparison: output is the same.
	NoAhead bool

	// What is kept of requests that have ended, for those with the same beginning.
	NoPrefixCache  bool  // keep nothing
	SnapshotMemory int64 // bytes for recurrent states (Mamba-2); 0 means a quarter of what the weights leave, at most 4 a sequence and 16 more
	HostMemory     int64 // bytes of host memory for states that the device has no room for; 0 means none

	LibraryDirs []string    // folders to look for CUDA libraries in, before the usual ones
	NoCUBLASLt  bool        // multiply with the built-in kernels although cuBLASLt is there
	OnEvent     func(Event) // told of progress and warnings; may be nil

	openLibrary func(name string) (cuda.Library, error) // nil: by the system; tests have another driver
}

// libraries says where CUDA's libraries are.
func (o Options) libraries() cuda.Options {
	return cuda.Options{Dirs: o.LibraryDirs, Open: o.openLibrary}
}

// Event is something that happens while a model is loaded.
type Event struct {
	Kind        EventKind
	Message     string
	Done, Total int64 // bytes of weights, for Progress
}

// EventKind tells events apart.
type EventKind int

// The kinds of events.
const (
	Progress EventKind = iota // weights are being read
	Info                      // worth knowing
	Warning                   // something is not as it was asked for
)

// Model is a checkpoint that is ready to generate.
type Model struct {
	config      model.Config
	account     *model.Account
	plan        Plan
	engine      *engine.Engine
	weights     source
	device      deviceInfo
	tokenizer   *tokenizer.Tokenizer // nil where the checkpoint has none
	template    *chat.Template       // nil where the checkpoint has none
	defaults    generationConfig
	embedding   embeddingConfig
	openings    openings
	grammars    grammars
	loadSeconds float64
	readSeconds float64 // of loadSeconds, for the weights
	unmap       sync.Once
	unmapErr    error
}

// Open loads the model in a directory.
//
// Errors wrap ErrNotFound, ErrRead, ErrInvalid, ErrUnsupported, ErrOutOfMemory,
// ErrNoDevice or ErrDevice and name the file, and the field or tensor in it.
func Open(dir string, opts Options) (*Model, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, openError(dir, err)
	}
	if !info.IsDir() {
		return nil, &Error{Op: "open " + dir, Class: ErrInvalid, Err: errors.New("not a directory; want the folder that holds config.json and the safetensors files")}
	}
	return open(dir, os.DirFS(dir), func() (*safetensors.Checkpoint, error) { return safetensors.Open(dir) }, opts)
}

// OpenFS loads the model at the root of a file system, an embed.FS for
// example. The weights are read into memory.
func OpenFS(fsys fs.FS, opts Options) (*Model, error) {
	return open("model", fsys, func() (*safetensors.Checkpoint, error) { return safetensors.OpenFS(fsys) }, opts)
}

// OpenBuiltin loads the small model that comes with this package: a hybrid of
// 7 million parameters that writes period prose. It is meant for trying things
// out and for tests.
func OpenBuiltin(opts Options) (*Model, error) { return OpenFS(builtin.FS(), opts) }

// OpenRandom makes a model of the geometry that a config.json describes, with
// random weights of its type and without a tokenizer. They are always the same,
// and such that a mixture's tokens spread over its experts: speed and memory
// are those of the real model, the output means nothing. On a GPU the weights
// are made there and never are in main memory.
func OpenRandom(config []byte, opts Options) (*Model, error) {
	return assemble("random model", opts, func(m *Model) error {
		d, err := model.Decode(config)
		if err != nil {
			return err
		}
		m.config = d.Config()
		m.defaults.eos = m.config.EOS
		m.embedding.pooling = engine.LastPooling
		return m.load(d, func() (source, error) { return newMade(d, opts) }, opts)
	})
}

func open(name string, fsys fs.FS, weights func() (*safetensors.Checkpoint, error), opts Options) (*Model, error) {
	return assemble(name, opts, func(m *Model) error {
		d, err := readDefinition(fsys)
		if err != nil {
			return err
		}
		m.config = d.Config()
		text := make(chan error, 1)
		go func() { text <- m.readText(fsys) }()
		err = m.load(d, func() (source, error) { return weights() }, opts)
		if textErr := <-text; err == nil {
			err = textErr
		}
		if err == nil && m.tokenizer != nil && m.tokenizer.Size() > m.config.Vocab {
			opts.event(Event{Kind: Warning, Message: fmt.Sprintf("tokenizer.json has ids up to %d, vocab_size is %d: the model does not know the others", m.tokenizer.Size()-1, m.config.Vocab)})
		}
		return err
	})
}

// assemble fills in a model, or closes what there is of it.
func assemble(name string, opts Options, fill func(*Model) error) (*Model, error) {
	start := time.Now()
	m := &Model{}
	err := opts.check()
	if err == nil {
		err = fill(m)
	}
	if err != nil {
		m.Close()
		return nil, openError(name, err)
	}
	m.loadSeconds = time.Since(start).Seconds()
	return m, nil
}

// The values of Options.Speculation.
const (
	speculate     = "auto"
	noSpeculation = "off"
)

// check refuses values that have no meaning.
func (o Options) check() error {
	if kind, _ := cutDevice(o.Device); kind == "" {
		return &Error{Class: ErrRequest, Err: fmt.Errorf("device %q, want auto, cpu, cuda or cuda:N", o.Device)}
	}
	if err := checkType(o.DType); err != nil {
		return err
	}
	if o.Speculation != "" && o.Speculation != speculate && o.Speculation != noSpeculation {
		return &Error{Class: ErrRequest, Err: fmt.Errorf("speculation is %q, want %s or %s", o.Speculation, speculate, noSpeculation)}
	}
	if _, ok := stateTypeNamed(o.StateType); !ok {
		return &Error{Class: ErrRequest, Err: fmt.Errorf("type of states %q, want float32 or float16", o.StateType)}
	}
	for _, v := range []struct {
		name        string
		value, most float64
	}{
		{"context", float64(o.Context), 1 << 27},
		{"number of sequences", float64(o.MaxSequences), 1 << 16},
		{"queue limit", float64(o.QueueLimit), 1 << 20},
		{"number of step tokens", float64(o.StepTokens), 1 << 20},
		{"snapshot memory", float64(o.SnapshotMemory), 1 << 50},
		{"host memory", float64(o.HostMemory), 1 << 50},
		{"share of the memory", o.Memory, 1},
		{"number of threads", float64(o.Threads), 1 << 12},
	} {
		if !(v.value >= 0 && v.value <= v.most) {
			return &Error{Class: ErrRequest, Err: fmt.Errorf("the %s is %s, want 0 to %.0f", v.name, strconv.FormatFloat(v.value, 'f', -1, 64), v.most)}
		}
	}
	return nil
}

// checkType refuses names of types that nothing computes in.
func checkType(name string) error {
	if _, known := typeNamed(name); known || name == "" || name == autoType {
		return nil
	}
	return &Error{Class: ErrRequest, Err: fmt.Errorf("type %q, want auto, float32, bfloat16 or float16", name)}
}

func (o Options) event(e Event) {
	if o.OnEvent != nil {
		o.OnEvent(e)
	}
}

func readDefinition(fsys fs.FS) (*model.Definition, error) {
	data, err := readFile(fsys, "config.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Class: ErrNotFound, Err: errors.New("config.json is missing; want the folder that holds config.json and the safetensors files")}
	}
	if err != nil {
		return nil, err
	}
	return model.Decode(data)
}

// readFile reads a small file of a checkpoint. Where Git LFS was missing, a
// pointer stands in the place of the larger ones.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	data, err := fs.ReadFile(fsys, name)
	if err == nil && bytes.HasPrefix(data, []byte("version https://git-lfs")) {
		err = &Error{Class: ErrInvalid, Err: errors.New(name + " is a Git LFS pointer, not the data; fetch it with git lfs pull")}
	}
	return data, err
}

// load maps the weights, finds a device for them, and starts the engine on it.
func (m *Model) load(d *model.Definition, weights func() (source, error), opts Options) error {
	from, err := weights()
	if err != nil {
		return err
	}
	m.weights = from
	m.engine, err = engine.Start(func() (engine.Loaded, error) { return m.place(d, opts) })
	if err != nil {
		return err
	}
	if n := len(m.account.NotUsed); n > 0 {
		opts.event(Event{Kind: Warning, Message: fmt.Sprintf("%d tensors of the checkpoint are not used, among them %s", n, m.account.NotUsed[0])})
	}
	return nil
}

// accountFor accounts for the model in steps of a size, in some types. The checkpoint is
// looked through once.
func (m *Model) accountFor(d *model.Definition, limits model.Limits, types model.Types) (err error) {
	if m.account != nil {
		return m.account.Measure(limits, types)
	}
	m.account, err = d.Account(m.weights, limits, types)
	return err
}

// makePlan accounts for the model on a machine.
func (m *Model) makePlan(d *model.Definition, on machine, opts Options) error {
	err := m.accountFor(d, on.stepLimits(opts), on.types)
	if err != nil {
		return err
	}
	if m.plan, err = newPlan(m.account, opts, on); err != nil {
		return err
	}
	for _, w := range m.plan.Warnings {
		opts.event(Event{Kind: Warning, Message: w})
	}
	return nil
}

// readText reads the files that have to do with text. All of them are
// optional.
func (m *Model) readText(fsys fs.FS) error {
	data, err := optional(fsys, "tokenizer.json")
	if err != nil {
		return err
	}
	if data != nil {
		if m.tokenizer, err = tokenizer.Parse(data); err != nil {
			return &Error{Class: ErrInvalid, Err: err}
		}
	}
	if m.template, err = readTemplate(fsys); err != nil {
		return &Error{Class: ErrInvalid, Err: err}
	}
	if data, err = optional(fsys, "generation_config.json"); err != nil {
		return err
	}
	if m.defaults, err = parseGenerationConfig(data, m.config); err != nil {
		return err
	}
	m.embedding, err = readEmbedding(fsys)
	return err
}

// readTemplate returns nil where the checkpoint has no template.
func readTemplate(fsys fs.FS) (*chat.Template, error) {
	config, err := optional(fsys, "tokenizer_config.json")
	if err != nil {
		return nil, err
	}
	source, err := optional(fsys, "chat_template.jinja")
	if err != nil {
		return nil, err
	}
	t, err := chat.Load(config, source)
	if errors.Is(err, chat.ErrNoTemplate) {
		return nil, nil
	}
	return t, err
}

// optional returns nil for a file that is not there.
func optional(fsys fs.FS, name string) ([]byte, error) {
	data, err := readFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// Close ends all requests as cancelled and gives the memory back. Closing
// again does nothing.
func (m *Model) Close() error {
	if m.engine != nil {
		m.engine.Close()
	}
	m.unmap.Do(func() {
		if m.weights != nil {
			m.unmapErr = m.weights.Close()
		}
	})
	return m.unmapErr
}

// LoadSeconds returns how long Open took.
func (m *Model) LoadSeconds() float64 { return m.loadSeconds }

// WeightSeconds returns how much of that the weights took: from the files, or
// from nothing for random ones, to the device. On the CPU, where files are
// mapped, it is the time until all of them were in memory.
func (m *Model) WeightSeconds() float64 { return m.readSeconds }

// Context returns the most tokens that one sequence can have.
func (m *Model) Context() int { return m.plan.Context }

// Plan returns what the model's memory is used for.
func (m *Model) Plan() Plan { return m.plan }

// Device returns the name of what the model runs on.
func (m *Model) Device() string { return m.device.name }

// DType returns the name of the type that activations, caches and, on a GPU,
// weights have: "float32", "bfloat16" or "float16".
func (m *Model) DType() string { return typeNames[m.device.act] }

// StateType returns the name of the type that the states of recurrences are kept
// in, "float32" or "float16"; "" where the model has none.
func (m *Model) StateType() string {
	if m.account.StateTraffic() == 0 {
		return ""
	}
	return typeNames[m.plan.limits.StateType]
}

// Parameters returns the number of weights in use.
func (m *Model) Parameters() int64 {
	n := int64(0)
	for _, p := range model.Parts() {
		n += m.account.Parameters(p)
	}
	return n
}

// Architecture returns the model_type of config.json.
func (m *Model) Architecture() string { return m.config.Architecture }

// Vocabulary returns the number of token ids that the model has logits for.
func (m *Model) Vocabulary() int { return m.config.Vocab }

// Encode returns the token ids of a text; with special, the ids that the
// tokenizer puts around every text are added.
func (m *Model) Encode(text string, special bool) ([]int32, error) {
	if m.tokenizer == nil {
		return nil, errNoTokenizer
	}
	return m.tokenizer.Encode(text, special), nil
}

// Decode returns the text of token ids, without special tokens.
func (m *Model) Decode(ids []int32) (string, error) {
	if m.tokenizer == nil {
		return "", errNoTokenizer
	}
	return m.tokenizer.Decode(ids, true), nil
}

// openError gives an error its class and the name of what was opened.
func openError(name string, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Class: classOf(err), Err: err}
	}
	if e.Op == "" && e.Class != ErrNoDevice { // which has nothing to do with the checkpoint
		e.Op = "open " + filepath.ToSlash(name)
	}
	return e
}
