package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"paquebot/internal/accounts"
	"paquebot/internal/mail"
)

// ErrNotFound: there is no such thing.
var ErrNotFound = errors.New("not found")

// Fault is an error as it goes over the wire.
type Fault struct {
	Status  int    `json:"-"`
	Message string `json:"message"`          // what and why
	Remedy  string `json:"remedy,omitempty"` // what to do
}

func (f *Fault) Error() string { return f.Message }

// Is makes a fault of status 404 an ErrNotFound, on both ends.
func (f *Fault) Is(target error) bool {
	return target == ErrNotFound && f.Status == http.StatusNotFound
}

func fault(status int, remedy, format string, args ...any) *Fault {
	return &Fault{Status: status, Message: fmt.Sprintf(format, args...), Remedy: remedy}
}

// bodyMax bounds a request's body.
const bodyMax = 1 << 20

// request is a request with its peer.
type request struct {
	*http.Request
	By string // "anna (uid 1000)"
}

// respond makes a handler of a function from request to document.
func respond[Out any](f func(context.Context, request) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out, err := f(r.Context(), request{r, peerOf(r.Context()).String()})
		if err != nil {
			writeFault(w, err)
			return
		}
		writeJSON(w, http.StatusOK, out)
	}
}

// accept makes a handler of a function that takes a document, too.
func accept[In, Out any](f func(context.Context, request, In) (Out, error)) http.HandlerFunc {
	return respond(func(ctx context.Context, r request) (Out, error) {
		var in In
		if err := readJSON(r.Request, &in); err != nil {
			var none Out
			return none, err
		}
		return f(ctx, r, in)
	})
}

// readJSON is strict, like the configuration: a misspelt field is a mistake.
// An empty body is an empty document.
func readJSON(r *http.Request, in any) error {
	d := json.NewDecoder(io.LimitReader(r.Body, bodyMax))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil && !errors.Is(err, io.EOF) {
		return fault(http.StatusBadRequest, "", "the request is not as described: %v", err)
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, doc any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(doc) // the peer is gone; there is nobody to tell
}

// wireFault is how a Fault looks on the wire.
type wireFault struct {
	Schema string `json:"schema"` // paquebot.error/1
	Error  *Fault `json:"error"`
}

func writeFault(w http.ResponseWriter, err error) {
	f := asFault(err)
	writeJSON(w, f.Status, wireFault{"paquebot.error/1", f})
}

// asFault finds the status of an error from a room.
func asFault(err error) *Fault {
	var f *Fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, mail.ErrNotFound), errors.Is(err, accounts.ErrNotFound), errors.Is(err, ErrNotFound):
		return fault(http.StatusNotFound, "", "%v", err)
	case errors.Is(err, accounts.ErrExists), errors.Is(err, accounts.ErrDeclared):
		return fault(http.StatusConflict, "", "%v", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fault(http.StatusGatewayTimeout, "narrow the filter, or try again", "it takes too long")
	}
	return fault(http.StatusInternalServerError, "", "%v", err)
}
