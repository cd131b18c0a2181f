package smtpclient

import (
	"bytes"

	"paquebot/internal/message"
)

// This file breaks lines that DATA cannot carry (RFC 5321 §4.5.3.1.6, SRV-12).

// hasLongLine reports a line longer than message.LineMax. A CR or LF of its own
// ends a line as well, since DATA makes it a CRLF.
func hasLongLine(b []byte) bool {
	for len(b) > message.LineMax {
		// Whatever ends within the first LineMax+1 octets is no long line: go on
		// after the last end there.
		end := bytes.LastIndexAny(b[:message.LineMax+1], "\r\n")
		if end < 0 {
			return true
		}
		b = b[end+1:]
	}
	return false
}

// refold writes a header field and breaks its long lines before white space
// (RFC 5322 §2.2.3). A line that has none where it is needed stays long.
func refold(out *bytes.Buffer, field []byte) {
	from := bytes.IndexByte(field, ':') + 1 // white space before the colon is no place to fold
	for len(field) > 0 {
		line, rest := field, []byte(nil)
		if n := bytes.Index(field, []byte("\r\n")); n >= 0 {
			line, rest = field[:n+2], field[n+2:]
		}
		text := bytes.TrimSuffix(line, []byte("\r\n"))
		for len(text) > message.LineMax {
			n := foldAt(text, from)
			if n < 0 {
				break
			}
			out.Write(text[:n])
			out.WriteString("\r\n")
			text, from = text[n:], 0
		}
		out.Write(text)
		out.Write(line[len(bytes.TrimSuffix(line, []byte("\r\n"))):])
		field, from = rest, 0
	}
}

// foldAt returns the last place from there on where white space follows within
// a line's length, and neither of the two lines that come of it is blank; -1 if
// there is none.
func foldAt(text []byte, from int) int {
	const blanks = " \t"
	first := max(from, len(text)-len(bytes.TrimLeft(text, blanks))+1)
	last := len(bytes.TrimRight(text, blanks)) - 2
	for i := min(message.LineMax, last); i >= first; i-- {
		if text[i] == ' ' || text[i] == '\t' {
			return i
		}
	}
	return -1
}

// rewrapBase64 writes base64 in lines of 76 characters (RFC 2045 §6.8).
func rewrapBase64(out *bytes.Buffer, body []byte) {
	const lineLen = 76
	n := 0
	for _, c := range body {
		if c == '\r' || c == '\n' || c == ' ' || c == '\t' {
			continue
		}
		if n == lineLen {
			out.WriteString("\r\n")
			n = 0
		}
		out.WriteByte(c)
		n++
	}
	out.WriteString("\r\n")
}

// breakQuoted puts soft line breaks into the long lines of quoted-printable
// (RFC 2045 §6.7 rule 5).
func breakQuoted(out *bytes.Buffer, body []byte) {
	for line := range bytes.Lines(body) {
		if len(line) <= message.LineMax {
			out.Write(line)
			continue
		}
		for len(line) > quotedMax+2 { // its own "=" or last octet, and CRLF
			n := quotedCut(line)
			out.Write(line[:n])
			out.WriteString("=\r\n")
			line = line[n:]
		}
		out.Write(line)
	}
}

// quotedMax is how much of a line goes before a soft break, in octets: the "="
// makes it 76.
const quotedMax = 75

// quotedCut is where to break a longer line, never within "=XX".
func quotedCut(line []byte) int {
	switch {
	case line[quotedMax-1] == '=':
		return quotedMax - 1
	case line[quotedMax-2] == '=':
		return quotedMax - 2
	}
	return quotedMax
}
