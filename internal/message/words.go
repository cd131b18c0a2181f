package message

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
)

// DecodeWords decodes the encoded words of a header value (RFC 2047) for
// people. It never fails: a word that cannot be decoded stays as written, octets
// that are no UTF-8 are read as windows-1252. Words that stand side by side are
// joined before their charset is applied, for many senders cut inside a character.
func DecodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return toUTF8(s)
	}
	var out strings.Builder
	var run encodedRun
	for s != "" {
		at := strings.Index(s, "=?")
		if at < 0 {
			break
		}
		w, n := cutWord(s[at:])
		if n == 0 {
			run.flush(&out)
			out.WriteString(toUTF8(s[:at+2]))
			s = s[at+2:]
			continue
		}
		if gap := s[:at]; !run.open || strings.TrimSpace(gap) != "" {
			run.flush(&out)
			out.WriteString(toUTF8(gap))
		}
		run.add(&out, w)
		s = s[at+n:]
	}
	run.flush(&out)
	out.WriteString(toUTF8(s))
	return out.String()
}

// encodedWord is one "=?charset?encoding?text?=".
type encodedWord struct {
	charset string
	octets  []byte
	raw     string
}

// encodedRun gathers neighbouring words of one charset.
type encodedRun struct {
	open    bool
	charset string
	octets  []byte
	raw     []byte // as written, for a charset nobody knows
}

func (r *encodedRun) add(out *strings.Builder, w encodedWord) {
	if r.open && !strings.EqualFold(r.charset, w.charset) {
		r.flush(out)
	}
	r.open, r.charset = true, w.charset
	r.octets = append(r.octets, w.octets...)
	if len(r.raw) > 0 {
		r.raw = append(r.raw, ' ')
	}
	r.raw = append(r.raw, w.raw...)
}

func (r *encodedRun) flush(out *strings.Builder) {
	if !r.open {
		return
	}
	if text, ok := fromCharset(r.charset, r.octets); ok {
		out.WriteString(text)
	} else {
		out.WriteString(toUTF8(string(r.raw)))
	}
	*r = encodedRun{}
}

// cutWord reads the encoded word at the beginning of s. n is its length, 0 if
// there is none. Longer ones than the 75 octets of RFC 2047 §2 are understood.
func cutWord(s string) (w encodedWord, n int) {
	body := s[2:min(len(s), wordMax)]
	q1 := strings.IndexByte(body, '?')
	if q1 <= 0 || q1 > 60 || len(body) < q1+4 || body[q1+2] != '?' {
		return w, 0
	}
	text := body[q1+3:]
	end := strings.Index(text, "?=")
	if end < 0 {
		return w, 0
	}
	w.charset, _, _ = strings.Cut(body[:q1], "*") // RFC 2231 §5: a language may follow
	switch body[q1+1] {
	case 'b', 'B':
		w.octets = lenientBase64([]byte(text[:end]))
	case 'q', 'Q':
		w.octets = decodeQ(text[:end])
	default:
		return w, 0
	}
	n = 2 + q1 + 3 + end + 2
	w.raw = s[:n]
	return w, n
}

// wordMax is the longest encoded word understood, in octets: some write a whole
// Subject as one word. It also keeps a text of unended words from costing the
// square of its length.
const wordMax = 8 << 10

// decodeQ is the Q encoding: "_" is a space, "=41" an octet (RFC 2047 §4.2).
func decodeQ(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '_':
			out = append(out, ' ')
		case s[i] == '=' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			out = append(out, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return out
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// lenientBase64 decodes what can be decoded: other characters are skipped
// (RFC 2045 §6.8), padding may be missing or stand in the middle.
func lenientBase64(b []byte) []byte {
	clean := make([]byte, 0, len(b))
	out := make([]byte, 0, len(b)/4*3+3)
	flush := func() {
		if len(clean)%4 == 1 {
			clean = clean[:len(clean)-1]
		}
		buf := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
		n, _ := base64.RawStdEncoding.Decode(buf, clean)
		out = append(out, buf[:n]...)
		clean = clean[:0]
	}
	for _, c := range b {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '+', c == '/':
			clean = append(clean, c)
		case c == '=':
			flush()
		}
	}
	flush()
	return out
}

// fromCharset turns octets of a named charset into UTF-8. It reports false for
// a charset nobody knows; invalid octets become U+FFFD.
func fromCharset(name string, octets []byte) (string, bool) {
	switch name = strings.ToLower(strings.TrimSpace(name)); name {
	case "utf-8", "utf8", "us-ascii", "ascii", "":
		return toUTF8(string(octets)), true
	}
	r, err := charset.Reader(name, bytes.NewReader(octets))
	if err != nil {
		return "", false
	}
	text, err := io.ReadAll(r)
	if err != nil && len(text) == 0 {
		return "", false
	}
	return strings.ToValidUTF8(string(text), "\uFFFD"), true
}

// toUTF8 returns s if it is UTF-8, else s read as windows-1252, the commonest
// charset of mail that names none.
func toUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	if r, err := charset.Reader("windows-1252", strings.NewReader(s)); err == nil {
		if b, err := io.ReadAll(r); err == nil {
			return string(b)
		}
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// printable makes one line of at most max bytes for people: control characters
// and what turns the direction of writing become spaces or go, and no character
// is cut in two.
func printable(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\r' || r == '\n' || unicode.IsControl(r) || r == '\u2028' || r == '\u2029':
			return ' '
		case r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
			return -1 // bidirectional overrides: they make "exe.gpj" of a name
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.TrimSpace(s)
	if len(s) <= max {
		return s
	}
	cut := max
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strings.TrimSpace(s[:cut])
}
