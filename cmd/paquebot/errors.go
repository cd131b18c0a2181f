package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"regexp"
	"strings"
	"syscall"

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

// plainCause says why a connection or a file failed, without the chain of calls
// that found out.
func plainCause(err error) string {
	var (
		dns   *net.DNSError
		path  *fs.PathError
		errno syscall.Errno
		timed net.Error
		cert  *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &cert):
		return strings.TrimPrefix(cert.Err.Error(), "x509: ")
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host"
	case errors.As(err, &dns):
		return "the name servers do not answer"
	case errors.As(err, &timed) && timed.Timeout():
		return "no answer in time"
	case errors.As(err, &path):
		return path.Path + ": " + plainCause(path.Err)
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}

// callChain is how Go begins what a connection could not do.
var callChain = regexp.MustCompile(`^(?:dial|read|write) \w+ \S+: (?:connect: |read: |write: )?|^dial \w+: (lookup \S+) on [^ ]+:[0-9]+`)

// plainText is plainCause for what was written down as text.
func plainText(cause string) string { return callChain.ReplaceAllString(cause, "$1") }

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
