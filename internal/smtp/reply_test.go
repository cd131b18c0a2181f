package smtp

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// SRV-37, SRV-38: one code on every line, the enhanced code repeated, "-" on
// all lines but the last.
func TestReplyOnTheWire(t *testing.T) {
	for _, c := range []struct {
		r    Reply
		want string
	}{
		{Reply{Code: 220, Text: "mx.example ESMTP"}, "220 mx.example ESMTP\r\n"},
		{RelayDeny, "550 5.7.1 Relaying denied\r\n"},
		{Reply{Code: 250, Text: "mx.example\nPIPELINING\nSIZE 10"}, "250-mx.example\r\n250-PIPELINING\r\n250 SIZE 10\r\n"},
		{Reply{Code: 554, Enhanced: Enhanced{5, 7, 1}, Text: "one\ntwo"}, "554-5.7.1 one\r\n554 5.7.1 two\r\n"},
		{Reply{Code: 334}, "334 \r\n"},
	} {
		if got := string(c.r.AppendWire(nil)); got != c.want {
			t.Errorf("%v\n got %q\nwant %q", c.r, got, c.want)
		}
	}
}

// RFC 5321 §4.5.3.1.5: a reply line has at most 512 octets.
func TestLongReplyIsSplit(t *testing.T) {
	r := Reply{Code: 550, Enhanced: Enhanced{5, 7, 1}, Text: strings.Repeat("word ", 300) + strings.Repeat("x", 900)}
	wire := string(r.AppendWire(nil))
	lines := strings.Split(strings.TrimSuffix(wire, "\r\n"), "\r\n")
	for i, l := range lines {
		if len(l)+2 > 512 {
			t.Errorf("line %d has %d octets", i, len(l)+2)
		}
		want := "550-5.7.1 "
		if i == len(lines)-1 {
			want = "550 5.7.1 "
		}
		if !strings.HasPrefix(l, want) {
			t.Errorf("line %d: %q", i, l)
		}
	}
}

func TestCauseStaysAtHome(t *testing.T) {
	cause := errors.New("no space left on device")
	r := LocalError.Because(cause)
	if strings.Contains(string(r.AppendWire(nil)), "space left") {
		t.Error("the peer hears the cause")
	}
	if !errors.Is(r, cause) || !strings.Contains(r.Error(), "space left") {
		t.Error("the log does not")
	}
}

// RC-36: a fault of ours is never a permanent refusal.
func TestAnyErrorBecomes451(t *testing.T) {
	if r := AsReply(errors.New("bug")); r.Code != 451 || r.Enhanced.String() != "4.3.0" {
		t.Error(r)
	}
	if r := AsReply(fmt.Errorf("rcpt: %w", RelayDeny)); r.Code != 550 {
		t.Error(r)
	}
	if r := AsReply(nil); r.Code != 250 {
		t.Error(r)
	}
}

func TestParseEnhanced(t *testing.T) {
	for s, ok := range map[string]bool{
		"5.7.1": true, "2.0.0": true, "4.7.500": true, "3.0.0": false, "5.7": false, "5.7.1.1": false,
		"5.7.": false, "5.7777.1": false, "5.a.1": false, "": false, "250": false,
	} {
		e, got := ParseEnhanced(s)
		if got != ok || ok && e.String() != s {
			t.Errorf("%q: %v %v", s, e, got)
		}
	}
}

// SRV-41: nothing a peer sends can forge a line in a log or a reply.
func TestPrintable(t *testing.T) {
	if got := Printable("a\r\n250 ok\x1b[31m\x00\u0085\u2028"); got != "a??250 ok?[31m???" {
		t.Errorf("%q", got)
	}
	if got := Printable(strings.Repeat("x", 500)); len(got) != 203 {
		t.Error(len(got))
	}
	if got := Printable("\xff\xfe"); got != "??" {
		t.Errorf("%q", got)
	}
}

// The replies of the normal course cost nothing but their octets.
func TestAppendWireDoesNotAllocate(t *testing.T) {
	b := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { RelayDeny.AppendWire(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TRAP-31: a long line is not cut within a character; a CR in a text makes no
// line.
func TestReplyTextStaysWhole(t *testing.T) {
	wire := string(Reply{Code: 550, Text: strings.Repeat("x", 300) + strings.Repeat("ü", 300) + "\rEHLO"}.AppendWire(nil))
	for l := range strings.SplitSeq(strings.TrimSuffix(wire, "\r\n"), "\r\n") {
		if !utf8.ValidString(l) || strings.ContainsAny(l, "\r\n") {
			t.Errorf("%q", l)
		}
	}
}
