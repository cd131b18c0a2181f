package smtp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Enhanced is an enhanced status code, class.subject.detail (RFC 3463). The
// zero value means that there is none, as in greetings and replies to EHLO
// (RFC 2034 §4).
type Enhanced struct{ Class, Subject, Detail uint16 }

// IsZero reports whether there is no enhanced code.
func (e Enhanced) IsZero() bool { return e.Class == 0 }

// String returns "5.7.1", or "" for the zero value.
func (e Enhanced) String() string {
	if e.IsZero() {
		return ""
	}
	return string(e.Append(nil))
}

// Append appends what String returns.
func (e Enhanced) Append(b []byte) []byte {
	if e.IsZero() {
		return b
	}
	b = append(strconv.AppendUint(b, uint64(e.Class), 10), '.')
	b = append(strconv.AppendUint(b, uint64(e.Subject), 10), '.')
	return strconv.AppendUint(b, uint64(e.Detail), 10)
}

// MarshalText makes an Enhanced a plain string in JSON.
func (e Enhanced) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (e *Enhanced) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*e = Enhanced{}
		return nil
	}
	got, ok := ParseEnhanced(string(b))
	if !ok {
		return fmt.Errorf("smtp: %q is not an enhanced status code", b)
	}
	*e = got
	return nil
}

// ParseEnhanced reads "X.Y.Z" with X in 2, 4, 5 and Y, Z of at most three
// digits (RFC 3463 §2). It reports false for anything else.
func ParseEnhanced(s string) (Enhanced, bool) {
	part := strings.Split(s, ".")
	if len(part) != 3 || (part[0] != "2" && part[0] != "4" && part[0] != "5") {
		return Enhanced{}, false
	}
	var n [3]uint16
	for i, p := range part {
		if len(p) == 0 || len(p) > 3 {
			return Enhanced{}, false
		}
		for _, c := range []byte(p) {
			if c < '0' || c > '9' {
				return Enhanced{}, false
			}
			n[i] = n[i]*10 + uint16(c-'0')
		}
	}
	return Enhanced{n[0], n[1], n[2]}, true
}

// Reply is what a server says to a command: what we say, what we hear, what
// the queue remembers and what a bounce reports. It is an error when it
// refuses. The cause stays home: it is logged, never sent.
type Reply struct {
	Code     int      // 220, 250, 354, 451, 550 ...
	Enhanced Enhanced // zero where the protocol has none
	Text     string   // lines separated by "\n", without codes
	Close    bool     // the connection ends after this reply
	Cause    error    // why, for the log; never on the wire
}

// Positive reports a 2xx or 3xx reply.
func (r Reply) Positive() bool { return r.Code >= 200 && r.Code < 400 }

// Transient reports a 4xx reply: the same command may succeed later.
func (r Reply) Transient() bool { return r.Code >= 400 && r.Code < 500 }

// Permanent reports a 5xx reply.
func (r Reply) Permanent() bool { return r.Code >= 500 && r.Code < 600 }

// Because returns the same reply with its hidden cause.
func (r Reply) Because(cause error) Reply {
	r.Cause = cause
	return r
}

// WithText returns the same codes with other words. The text must not hold
// what a peer sent, unless passed through Printable.
func (r Reply) WithText(format string, args ...any) Reply {
	r.Text = fmt.Sprintf(format, args...)
	return r
}

// AndClose returns the same reply, after which the connection ends.
func (r Reply) AndClose() Reply {
	r.Close = true
	return r
}

// Error returns the first line as seen on the wire, and the cause.
func (r Reply) Error() string {
	s := r.String()
	if r.Cause != nil {
		s += ": " + r.Cause.Error()
	}
	return s
}

// Unwrap gives the hidden cause to errors.Is and errors.As.
func (r Reply) Unwrap() error { return r.Cause }

// String returns the reply on one line: "550 5.7.1 relaying denied".
func (r Reply) String() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(r.Code))
	if !r.Enhanced.IsZero() {
		b.WriteString(" " + r.Enhanced.String())
	}
	if r.Text != "" {
		b.WriteString(" " + strings.ReplaceAll(r.Text, "\n", " | "))
	}
	return b.String()
}

// AppendWire appends the reply as it goes over the wire: every line with the
// same code and the same enhanced code, "-" on all but the last (RFC 5321
// §4.2.1, RFC 2034 §4; SRV-37, SRV-38), each line within 512 octets.
func (r Reply) AppendWire(b []byte) []byte {
	line, rest, more := strings.Cut(r.Text, "\n")
	for {
		var piece string
		piece, line = cutReplyLine(line, replyLineMax-len("250 5.123.123 \r\n"))
		if line == "" && more {
			line, rest, more = strings.Cut(rest, "\n")
			b = r.appendLine(b, '-', piece)
			continue
		}
		if line == "" {
			return r.appendLine(b, ' ', piece)
		}
		b = r.appendLine(b, '-', piece)
	}
}

// replyLineMax is the longest reply line including CRLF (RFC 5321 §4.5.3.1.5).
const replyLineMax = 512

// cutReplyLine takes what fits on a line, at a space where there is one, never
// within a character (TRAP-31).
func cutReplyLine(line string, room int) (piece, rest string) {
	if len(line) <= room {
		return line, ""
	}
	cut := strings.LastIndexByte(line[:room], ' ')
	if cut <= 0 {
		cut = room
		for cut > room-utf8.UTFMax && !utf8.RuneStart(line[cut]) {
			cut--
		}
	}
	return line[:cut], strings.TrimLeft(line[cut:], " ")
}

func (r Reply) appendLine(b []byte, sep byte, text string) []byte {
	b = append(strconv.AppendInt(b, int64(r.Code), 10), sep)
	if !r.Enhanced.IsZero() {
		b = append(r.Enhanced.Append(b), ' ')
	}
	for i := range len(text) {
		if text[i] == '\r' { // whoever wrote the text: a reply is a line
			b = append(b, ' ')
			continue
		}
		b = append(b, text[i])
	}
	return append(b, '\r', '\n')
}

// AsReply turns any error into the Reply a peer may hear. An error that is not
// a Reply becomes 451 4.3.0 with itself as the hidden cause: mail is never
// refused for good because of a fault of ours (RC-36).
func AsReply(err error) Reply {
	if err == nil {
		return OK
	}
	var r Reply
	if errors.As(err, &r) {
		return r
	}
	return LocalError.Because(err)
}

// Printable makes peer-supplied text safe to echo: at most 200 bytes, no
// control characters (SRV-41).
func Printable(s string) string {
	const echoMax = 200
	if len(s) > echoMax {
		s = s[:echoMax] + "..."
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == '\uFFFD' || (c >= 0x80 && c < 0xa0) || c == '\u2028' || c == '\u2029' {
			return '?'
		}
		return c
	}, s)
}
