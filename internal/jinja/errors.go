package jinja

import (
	"errors"
	"fmt"
)

// SyntaxError says where a template cannot be parsed and what was expected.
type SyntaxError struct {
	Line int
	Msg  string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("jinja: line %d: %s", e.Line, e.Msg) }

// RenderError carries the template line at which rendering failed.
type RenderError struct {
	Line int
	Err  error
}

func (e *RenderError) Error() string { return fmt.Sprintf("jinja: line %d: %v", e.Line, e.Err) }

// Unwrap returns the cause, so that errors.As finds a RaisedError.
func (e *RenderError) Unwrap() error { return e.Err }

// RaisedError is the template's own refusal: a call of raise_exception.
type RaisedError struct{ Message string }

func (e *RaisedError) Error() string { return "template raised: " + e.Message }

// UndefinedError reports an operation on a value that does not exist.
type UndefinedError struct{ Msg string }

func (e *UndefinedError) Error() string { return e.Msg }

// SecurityError reports an access that the immutable sandbox refuses.
type SecurityError struct{ Msg string }

func (e *SecurityError) Error() string { return e.Msg }

// LimitError reports a template that ran past one of the bounds of Options.
type LimitError struct{ Msg string }

func (e *LimitError) Error() string { return e.Msg }

// typeError is a Python TypeError or LookupError: subscription and a few
// filters fall back when they meet one.
type typeError struct{ msg string }

func (e *typeError) Error() string { return e.msg }

// valueError is a Python ValueError, which the int and float filters absorb.
type valueError struct{ msg string }

func (e *valueError) Error() string { return e.msg }

// overflowError is a Python OverflowError.
type overflowError struct{ msg string }

func (e *overflowError) Error() string { return e.msg }

func typeErrorf(format string, args ...any) error {
	return &typeError{fmt.Sprintf(format, args...)}
}

func valueErrorf(format string, args ...any) error {
	return &valueError{fmt.Sprintf(format, args...)}
}

func limitErrorf(format string, args ...any) error {
	return &LimitError{fmt.Sprintf(format, args...)}
}

func isTypeError(err error) bool {
	var t *typeError
	return errors.As(err, &t)
}

func isValueError(err error) bool {
	var t *valueError
	return errors.As(err, &t)
}

// atLine attaches a line to err unless a deeper node already did.
func atLine(err error, line int) error {
	if err == nil {
		return nil
	}
	if _, ok := err.(*RenderError); ok {
		return err
	}
	return &RenderError{Line: line, Err: err}
}
