package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"paquebot/internal/api"
)

// Exit codes of every command but sendmail, which keeps those of sysexits.h.
const (
	exitYes    = 0
	exitNo     = 1 // the answer is no: refused, not found, a check failed
	exitUnsure = 2 // could not tell, or wrong use
)

// exitCode ends the program with a code and no words: they were said already.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// failure is an error for people: what went wrong, why, what to do (ux.md
// §3.2.6).
type failure struct {
	what   string
	why    error
	remedy string
	code   int
}

func (f *failure) Error() string {
	if f.why == nil {
		return f.what
	}
	return f.what + ": " + f.why.Error()
}

func (f *failure) Unwrap() error { return f.why }

// problem is a failure that answers no (exit code 1).
func problem(what string, why error, remedy string) error {
	return &failure{what, why, remedy, exitNo}
}

// unsure is a failure that leaves the answer open, or wrong use (exit code 2).
func unsure(what string, why error, remedy string) error {
	return &failure{what, why, remedy, exitUnsure}
}

// fromServer is a failure told by the server's API.
func fromServer(what string, err error) error {
	var f *api.Fault
	if !errors.As(err, &f) {
		return unsure(what, err, "")
	}
	code := exitUnsure
	if f.Status >= 400 && f.Status < 500 {
		code = exitNo
	}
	return &failure{what, errors.New(f.Message), f.Remedy, code}
}

// report writes an error as `paquebot: WHAT: WHY`, the remedy last, and returns
// the exit code.
func report(w io.Writer, err error) int {
	var code exitCode
	switch {
	case err == nil:
		return exitYes
	case errors.As(err, &code):
		return int(code)
	}
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{what: err.Error(), code: exitUnsure}
	}
	for i, l := range wrap(f.Error(), widthDefault-len("paquebot: ")) {
		lead := "paquebot: "
		if i > 0 {
			lead = "          "
		}
		fmt.Fprintln(w, lead+l)
	}
	for para := range strings.SplitSeq(f.remedy, "\n") {
		for _, l := range wrap(para, widthDefault-2) {
			if l != "" {
				fmt.Fprintln(w, "  "+l)
			}
		}
	}
	return f.code
}

// oneLine keeps what peers and files say from drawing on the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return '?'
		}
		return r
	}, s)
}
