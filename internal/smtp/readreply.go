package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Errors of ReadReply. They are wrapped with what was read.
var (
	ErrReplySyntax  = errors.New("smtp: not an SMTP reply")           // MIS-11
	ErrReplyTooLong = errors.New("smtp: reply is longer than limits") // MIS-12
)

// ReplyLimits bounds what ReadReply takes from a peer. A zero field means
// ReplyLineMax or ReplyLinesMax.
type ReplyLimits struct {
	Line  int // octets of one line with its CRLF; not above the reader's buffer
	Lines int // lines of one reply
}

// ReadReply reads one reply to its last line (CLI-34, TRAP-5). When the lines
// differ in their code, the last one counts (RFC 5321 §4.2.1). An enhanced
// code is taken off each line that has the one of the last line; one whose class contradicts
// the code stays in the text, for the basic code decides (EXT-6, MIS-9).
//
// A line that ends in LF alone is understood: a client gains nothing from
// refusing it, as no reply ends inside another's line. The buffer of br should hold at
// least limits.Line octets.
//
// The error is ErrReplySyntax, ErrReplyTooLong, or the reader's; io.EOF only
// when nothing of the reply had come, io.ErrUnexpectedEOF within it.
func ReadReply(br *bufio.Reader, limits ReplyLimits) (Reply, error) {
	if limits.Line <= 0 {
		limits.Line = ReplyLineMax
	}
	if limits.Lines <= 0 {
		limits.Lines = ReplyLinesMax
	}
	var lines []string
	for len(lines) < limits.Lines {
		raw, err := readReplyLine(br, limits.Line)
		if err != nil {
			if len(lines) > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return Reply{}, err
		}
		code, more, text, ok := splitReplyLine(raw)
		if !ok {
			return Reply{}, fmt.Errorf("%w: %q", ErrReplySyntax, Printable(string(raw)))
		}
		lines = append(lines, text)
		if !more {
			return assembleReply(code, lines), nil
		}
	}
	return Reply{}, fmt.Errorf("%w: more than %d lines", ErrReplyTooLong, limits.Lines)
}

func readReplyLine(br *bufio.Reader, most int) ([]byte, error) {
	raw, err := br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(raw) > most {
		return nil, fmt.Errorf("%w: a line of more than %d octets", ErrReplyTooLong, most)
	}
	if err != nil {
		if len(raw) > 0 && errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
	raw = bytes.TrimSuffix(raw, []byte("\n"))
	return bytes.TrimSuffix(raw, []byte("\r")), nil
}

// splitReplyLine reads "250-text", "250 text" and "250".
func splitReplyLine(raw []byte) (code int, more bool, text string, ok bool) {
	if len(raw) < 3 {
		return 0, false, "", false
	}
	for _, c := range raw[:3] {
		if c < '0' || c > '9' {
			return 0, false, "", false
		}
		code = code*10 + int(c-'0')
	}
	if code < 200 || code > 599 {
		return 0, false, "", false
	}
	if len(raw) == 3 {
		return code, false, "", true
	}
	if raw[3] != ' ' && raw[3] != '-' {
		return 0, false, "", false
	}
	return code, raw[3] == '-', strings.ToValidUTF8(string(raw[4:]), "\uFFFD"), true
}

func assembleReply(code int, lines []string) Reply {
	r := Reply{Code: code}
	last := lines[len(lines)-1]
	word, _, _ := strings.Cut(last, " ")
	if e, ok := ParseEnhanced(word); ok && int(e.Class) == code/100 {
		r.Enhanced = e
		for i, l := range lines {
			if rest, found := strings.CutPrefix(l, word); found && (rest == "" || rest[0] == ' ') {
				lines[i] = strings.TrimPrefix(rest, " ")
			}
		}
	}
	r.Text = strings.Join(lines, "\n")
	r.Close = code == 421 // RFC 5321 §3.8: the server closes after it
	return r
}
