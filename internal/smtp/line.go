package smtp

import (
	"bytes"
	"errors"
)

// What can be wrong with a command line (SRV-3, SRV-8, SRV-11).
var (
	ErrLineTooLong = errors.New("smtp: line is longer than the limit")
	ErrBareLF      = errors.New("smtp: LF without CR before it")
	ErrBareCR      = errors.New("smtp: CR without LF after it")
	ErrNUL         = errors.New("smtp: NUL in a line")
)

// CutLine takes the first line off buf: it ends at the first LF. line is
// without its CRLF, used counts the octets of both; used is 0 when no LF is
// there yet and buf holds less than most octets. err tells a fault of the line
// taken: a LF without CR, a CR elsewhere, NUL, or more than most octets with
// the CRLF. Only CRLF ends a line that has no fault (SRV-1).
//
// When no LF is within the first most octets, all of buf is used up and the
// error is ErrLineTooLong: the caller discards what follows, to the next LF.
func CutLine(buf []byte, most int) (line []byte, used int, err error) {
	end := bytes.IndexByte(buf, '\n')
	if end < 0 {
		if len(buf) >= most {
			return nil, len(buf), ErrLineTooLong
		}
		return nil, 0, nil
	}
	used = end + 1
	if used > most {
		return nil, used, ErrLineTooLong
	}
	if end == 0 || buf[end-1] != '\r' {
		return buf[:end], used, ErrBareLF
	}
	line = buf[:end-1]
	switch {
	case bytes.IndexByte(line, '\r') >= 0:
		err = ErrBareCR
	case bytes.IndexByte(line, 0) >= 0:
		err = ErrNUL
	}
	return line, used, err
}
