package smtp

import (
	"errors"
	"strings"
	"testing"
)

func TestCutCommand(t *testing.T) {
	rows := []struct {
		in   string
		verb Verb
		arg  string
	}{
		{"EHLO mx.example", VerbEhlo, "mx.example"},
		{"mail FROM:<a@b> \t", VerbMail, "FROM:<a@b>"},
		{"QuIt", VerbQuit, ""},
		{"STARTTLS ", VerbStarttls, ""},
		{"STARTTLSX", VerbUnknown, ""},
		{"", VerbUnknown, ""},
		{" NOOP", VerbUnknown, "NOOP"},
		{"NOOPS", VerbUnknown, ""},
		{"GET / HTTP/1.1", VerbUnknown, "/ HTTP/1.1"},
		{"etrn x", VerbEtrn, "x"},
	}
	for _, r := range rows {
		if v, arg := CutCommand([]byte(r.in)); v != r.verb || string(arg) != r.arg {
			t.Errorf("%q: %v %q", r.in, v, arg)
		}
	}
	for v := VerbHelo; v < VerbCount; v++ {
		if got, _ := CutCommand([]byte(strings.ToLower(v.String()))); got != v {
			t.Errorf("%v is read as %v", v, got)
		}
	}
}

func TestCutCommandDoesNotAllocate(t *testing.T) {
	line := []byte("RCPT TO:<a@b.example>")
	if n := testing.AllocsPerRun(100, func() { CutCommand(line) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestParseBdat(t *testing.T) {
	rows := []struct {
		in   string
		size int64
		last bool
		ok   bool
	}{
		{"10", 10, false, true},
		{"0 LAST", 0, true, true},
		{"86  last", 86, true, true},
		{"", 0, false, false},
		{"-1", 0, false, false},
		{"10LAST", 0, false, false},
		{"10 FIRST", 0, false, false},
		{"10 LAST X", 0, false, false},
		{"9999999999999999999", 0, false, false},
		{"LAST", 0, false, false},
	}
	for _, r := range rows {
		size, last, ok := ParseBdat([]byte(r.in))
		if ok != r.ok || ok && (size != r.size || last != r.last) {
			t.Errorf("%q: %d %v %v", r.in, size, last, ok)
		}
	}
}

// SRV-1, SRV-3, SRV-8, SRV-11.
func TestCutLine(t *testing.T) {
	rows := []struct {
		in   string
		line string
		used int
		err  error
	}{
		{"NOOP\r\nQUIT\r\n", "NOOP", 6, nil},
		{"NOOP\r", "", 0, nil},
		{"NOOP", "", 0, nil},
		{"\r\n", "", 2, nil},
		{"NOOP\nQUIT\r\n", "NOOP", 5, ErrBareLF},
		{"\n", "", 1, ErrBareLF},
		{"NO\rOP\r\n", "NO\rOP", 7, ErrBareCR},
		{"NOOP\r\r\n", "NOOP\r", 7, ErrBareCR},
		{"NO\x00OP\r\n", "NO\x00OP", 7, ErrNUL},
		{strings.Repeat("x", 18) + "\r\n", strings.Repeat("x", 18), 20, nil},
		{strings.Repeat("x", 19) + "\r\n", "", 21, ErrLineTooLong},
		{strings.Repeat("x", 20), "", 20, ErrLineTooLong},
	}
	for _, r := range rows {
		line, used, err := CutLine([]byte(r.in), 20)
		if string(line) != r.line || used != r.used || !errors.Is(err, r.err) {
			t.Errorf("%q: %q, %d, %v", r.in, line, used, err)
		}
	}
}

func FuzzCutLine(f *testing.F) {
	f.Add([]byte("NOOP\r\nQUIT"), 10)
	f.Fuzz(func(t *testing.T, in []byte, most int) {
		if most < 2 {
			return
		}
		line, used, err := CutLine(in, most)
		if used > len(in) || len(line) > most {
			t.Fatal("out of bounds")
		}
		if err == nil && used > 0 && strings.ContainsAny(string(line), "\r\n\x00") {
			t.Fatalf("%q", line)
		}
		CutCommand(line)
		ParseBdat(line)
	})
}
