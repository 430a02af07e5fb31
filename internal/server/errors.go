package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/godwit-llm/godwit"
)

// statusClientClosed is what logs and metrics say of a client that left before
// its answer: nobody receives it.
const statusClientClosed = 499

// Types of errors, as the API names them.
const (
	typeInvalid   = "invalid_request_error"
	typeRateLimit = "rate_limit_error"
	typeServer    = "server_error"
)

// apiError is an error in the API's own shape, with its HTTP status.
type apiError struct {
	Status     int    `json:"-"`
	RetryAfter int    `json:"-"` // seconds; 0 for none
	Message    string `json:"message"`
	Type       string `json:"type"`
	Param      string `json:"-"`
	Code       string `json:"-"`
}

// Error returns the message.
func (e *apiError) Error() string { return e.Message }

// errorBody is an apiError as clients read it: param and code are null where
// there is none.
type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Message string  `json:"message" doc:"What was got and what was wanted."`
	Type    string  `json:"type"`
	Param   *string `json:"param" doc:"The field at fault."`
	Code    *string `json:"code"`
}

func (e *apiError) body() errorBody {
	null := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	return errorBody{errorDetail{Message: e.Message, Type: e.Type, Param: null(e.Param), Code: null(e.Code)}}
}

// write answers with the error.
func (e *apiError) write(w http.ResponseWriter) {
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(e.RetryAfter))
	}
	writeJSON(w, e.Status, e.body())
}

// invalid is a request that cannot be served as it is.
func invalid(param, format string, args ...any) *apiError {
	return &apiError{Status: http.StatusBadRequest, Type: typeInvalid, Param: param, Message: fmt.Sprintf(format, args...)}
}

// unsupported refuses a field, or a value of it, by name.
func unsupported(param, format string, args ...any) *apiError {
	e := invalid(param, format, args...)
	e.Code = "unsupported_parameter"
	return e
}

func notFound(code, format string, args ...any) *apiError {
	return &apiError{Status: http.StatusNotFound, Type: typeInvalid, Code: code, Message: fmt.Sprintf(format, args...)}
}

// unavailable asks the client to come back.
func unavailable(code, message string, retryAfter int) *apiError {
	return &apiError{Status: http.StatusServiceUnavailable, Type: typeServer, Code: code, Message: message, RetryAfter: retryAfter}
}

// Causes for which the server itself ends a generation.
var (
	errStopping  = errors.New("the server is shutting down")
	errTimeout   = errors.New("the generation took longer than the server allows")
	errSlow      = errors.New("the client did not take the answer in time")
	errAbandoned = errors.New("the client closed the connection")
	errEnded     = errors.New("the stream has ended") // within the package: nobody is left to be told
)

// asAPIError finds the status of an error: the only place that knows which
// class of error is which. ctx is the request's.
func asAPIError(ctx context.Context, err error) *apiError {
	var e *apiError
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, godwit.ErrCancelled) || errors.Is(err, context.Canceled) {
		return cancelledError(context.Cause(ctx))
	}
	for _, c := range []struct {
		class  error
		answer apiError
	}{
		{errStopping, *unavailable("shutting_down", "", 1)},
		{errTimeout, apiError{Status: http.StatusGatewayTimeout, Type: typeServer, Code: "timeout"}},
		{errSlow, apiError{Status: statusClientClosed, Type: typeInvalid, Code: "client_too_slow"}},
		{errAbandoned, apiError{Status: statusClientClosed, Type: typeInvalid, Code: "client_closed"}},
		{godwit.ErrTooLong, apiError{Status: http.StatusBadRequest, Type: typeInvalid, Code: "context_length_exceeded"}},
		{godwit.ErrRequest, apiError{Status: http.StatusBadRequest, Type: typeInvalid}},
		{godwit.ErrUnsupported, apiError{Status: http.StatusBadRequest, Type: typeInvalid, Code: "unsupported"}},
		{godwit.ErrQueueFull, apiError{Status: http.StatusTooManyRequests, Type: typeRateLimit, Code: "queue_full", RetryAfter: 1}},
		{godwit.ErrClosed, *unavailable("model_closed", "", 1)},
	} {
		if errors.Is(err, c.class) {
			c.answer.Message = err.Error()
			return &c.answer
		}
	}
	return &apiError{Status: http.StatusInternalServerError, Type: typeServer, Message: err.Error()}
}

// cancelledError says why a request was cancelled.
func cancelledError(cause error) *apiError {
	for _, known := range []error{errStopping, errTimeout, errSlow} {
		if errors.Is(cause, known) {
			return asAPIError(context.Background(), known)
		}
	}
	return asAPIError(context.Background(), errAbandoned)
}
