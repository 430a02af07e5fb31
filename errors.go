package godwit

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/godwit-llm/godwit/internal/cuda"
	"github.com/godwit-llm/godwit/internal/engine"
	"github.com/godwit-llm/godwit/internal/mmap"
	"github.com/godwit-llm/godwit/internal/model"
	"github.com/godwit-llm/godwit/internal/safetensors"
)

// The classes of errors, for errors.Is.
var (
	ErrNotFound    = errors.New("not found")
	ErrInvalid     = errors.New("invalid checkpoint")
	ErrUnsupported = errors.New("unsupported")
	ErrOutOfMemory = errors.New("not enough memory")
	ErrNoDevice    = errors.New("no device")
	ErrDevice      = errors.New("device failed")
	ErrRead        = errors.New("file cannot be read")
	ErrRequest     = errors.New("invalid request")
	ErrCancelled   = errors.New("cancelled")
	ErrClosed      = errors.New("model is closed")
	ErrQueueFull   = errors.New("queue is full")
)

// ErrTooLong says more of an ErrRequest: the prompt does not fit the context.
var ErrTooLong = engine.ErrTooLong

// Error is an error of this package. Its text names the operation, the file
// and what was got and wanted; its class is one of the Err values.
type Error struct {
	Op    string
	Class error
	Err   error
}

// Error returns the operation and the cause.
func (e *Error) Error() string {
	text := e.Err.Error()
	if e.Op != "" {
		text = e.Op + ": " + text
	}
	return strings.TrimPrefix(text, "godwit: ")
}

// Unwrap makes both the class and the cause visible to errors.Is and As.
func (e *Error) Unwrap() []error { return []error{e.Class, e.Err} }

var errNoTokenizer = &Error{Class: ErrUnsupported, Err: errors.New("the checkpoint has no tokenizer.json, so only token ids can be used")}

// classOf finds the class of an error of another package.
func classOf(err error) error {
	for _, c := range []struct{ cause, class error }{
		{model.ErrUnsupported, ErrUnsupported},
		{model.ErrInvalid, ErrInvalid},
		{fs.ErrNotExist, ErrNotFound},
		{safetensors.ErrInvalid, ErrInvalid},
		{cuda.ErrOutOfMemory, ErrOutOfMemory},
		{engine.ErrLogits, ErrInvalid},
		{engine.ErrRequest, ErrRequest},
		{engine.ErrCancelled, ErrCancelled},
		{engine.ErrClosed, ErrClosed},
		{engine.ErrQueueFull, ErrQueueFull},
	} {
		if errors.Is(err, c.cause) {
			return c.class
		}
	}
	if errors.As(err, new(*fs.PathError)) || errors.Is(err, mmap.ErrUnreadable) {
		return ErrRead
	}
	return ErrDevice
}
