package message

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paquebot/internal/smtp"
)

// lines joins lines with CRLF and ends the last one.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n" }

func header(t testing.TB, l ...string) Header {
	t.Helper()
	h, err := SplitHeader([]byte(lines(l...)))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestSplitHeader(t *testing.T) {
	h := header(t,
		"Received: from a by b; date",
		"Subject: one",
		"\ttwo",
		"  three ",
		"received : from c by d; date",
		"X-Empty:",
		"no field at all",
		"To: a@b",
		"")
	if got := len(h.Fields); got != 6 {
		t.Fatalf("%d fields: %q", got, h.Fields)
	}
	for _, c := range []struct{ name, want string }{
		{"subject", "one\ttwo  three"},
		{"RECEIVED", "from a by b; date"},
		{"x-empty", ""},
		{"to", "a@b"},
		{"missing", ""},
	} {
		if got := h.Get(c.name); got != c.want {
			t.Errorf("Get(%q) = %q, want %q", c.name, got, c.want)
		}
	}
	if h.Hops() != 2 || !h.Has("X-Empty") || h.Has("missing") || h.Count("Subject") != 1 || len(h.All("Received")) != 2 {
		t.Error("counting is wrong")
	}
	if f := h.Fields[4]; f.Name != "" || f.Value() != "no field at all" {
		t.Errorf("a line that is no field: %q", f)
	}
}

// SRV-1: a lone CR or LF neither ends a field nor begins one.
func TestOnlyCRLFEndsAField(t *testing.T) {
	h := header(t, "Subject: a\nBcc: x@y\rCc: z@y", "To: b@c", "")
	if len(h.Fields) != 2 || h.Has("Bcc") || h.Has("Cc") {
		t.Fatalf("%q", h.Fields)
	}
}

func TestHeaderLimits(t *testing.T) {
	for _, c := range []struct {
		name, head, want string
	}{
		{"SUB-33", "X: " + strings.Repeat("a", HeaderMax), "552 5.3.4"},
		{"ABU-10", strings.Repeat("a:\r\n", FieldsMax+1), "554 5.6.0"},
		{"just fits", strings.Repeat("a:\r\n", FieldsMax), ""},
	} {
		_, err := SplitHeader([]byte(c.head))
		var r smtp.Reply
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!errors.As(err, &r) || !strings.HasPrefix(r.String(), c.want)):
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// REL-5: only the by clause counts, whatever comments and names say.
func TestVisits(t *testing.T) {
	h := header(t,
		"Received: from x (by mx.example.org) by other.example with SMTP; d",
		"Received: from x by MX.example.org. with SMTP; d",
		"Received: from by.example by mx.example.org; d",
		"Received: from mx.example.org by elsewhere; d",
		"")
	if got := h.Visits("mx.example.org"); got != 2 {
		t.Errorf("Visits = %d", got)
	}
}

func TestNewFieldCannotForge(t *testing.T) {
	f := NewField("Subject", "a\r\nBcc: x@y\x00")
	if string(f.Raw) != "Subject: a  Bcc: x@y \r\n" {
		t.Errorf("%q", f.Raw)
	}
}

func TestPrependLeavesTheReceiverAlone(t *testing.T) {
	h := header(t, "To: a@b", "")
	p := h.Prepend(NewField("Received", "x"))
	if string(p.Bytes()) != "Received: x\r\nTo: a@b\r\n\r\n" || string(h.Bytes()) != "To: a@b\r\n\r\n" {
		t.Errorf("%q %q", p.Bytes(), h.Bytes())
	}
}

// corpus returns the messages of testdata, with CRLF line ends.
func corpus(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, pattern := range []string{"*/*.raw", "*/*.txt", "*/*.eml"} {
		names, _ := filepath.Glob(filepath.Join("testdata/mime", pattern))
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b = bytes.ReplaceAll(bytes.ReplaceAll(b, crlf, []byte("\n")), []byte("\n"), crlf)
			out[strings.TrimPrefix(filepath.ToSlash(name), "testdata/mime/")] = b
		}
	}
	if len(out) < 100 {
		t.Fatalf("only %d messages found", len(out))
	}
	return out
}

// The invariant of the package: octets come out as they went in.
func TestHeadersOfTheWorldComeBackUnchanged(t *testing.T) {
	for name, raw := range corpus(t) {
		head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		head = append(bytes.TrimSuffix(bytes.Clone(head), crlf), crlf...)
		if bytes.HasPrefix(head, crlf) {
			continue
		}
		h, err := SplitHeader(head)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := append(head, crlf...); !bytes.Equal(h.Bytes(), want) {
			t.Errorf("%s: %q became %q", name, want, h.Bytes())
		}
		if h.Size() != len(h.Bytes()) {
			t.Errorf("%s: Size %d, Bytes %d", name, h.Size(), len(h.Bytes()))
		}
	}
}

func FuzzSplitHeader(f *testing.F) {
	f.Add([]byte("Subject: a\r\n b\r\n\r\n"))
	f.Add([]byte(" fold first\r\na\r\n:\r\nb :c"))
	f.Fuzz(func(t *testing.T, head []byte) {
		h, err := SplitHeader(head)
		if err != nil {
			return
		}
		var back []byte
		for _, fd := range h.Fields {
			back = append(back, fd.Raw...)
			_ = fd.Value()
		}
		if !bytes.HasPrefix(head, back) {
			t.Fatalf("%q is not how %q begins", back, head)
		}
		if rest := head[len(back):]; len(rest) > 0 && !bytes.HasPrefix(rest, crlf) {
			t.Fatalf("%q was left over", rest)
		}
		again, err := SplitHeader(h.Bytes())
		if err != nil || len(again.Fields) != len(h.Fields) {
			t.Fatalf("%q reads as %d fields, then as %d", head, len(h.Fields), len(again.Fields))
		}
		_, _, _ = h.Visits("x"), h.MessageID(), h.Subject(200)
	})
}
