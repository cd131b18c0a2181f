package smtpserver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"paquebot/internal/smtp"
)

const (
	// bufferSize is the read buffer of a session that is busy: a TLS record and
	// the longest line of an AUTH exchange fit in.
	bufferSize = 32 << 10
	// idleSize is the read buffer of a session that waits for a command. Most
	// commands fit, and ten thousand idle sessions cost 5 MiB.
	idleSize = 512
)

type bigBuffer [bufferSize]byte

// input is what a client has sent and nobody has read yet. Its buffer is small
// while the session waits and comes from a pool while there is work.
type input struct {
	read  func([]byte) (int, error) // flushes replies, sets the deadline, reads
	pool  *sync.Pool                // of *bigBuffer
	big   *bigBuffer
	r, w  int
	total int64 // octets read
	small [idleSize]byte
}

func (in *input) buf() []byte {
	if in.big != nil {
		return in.big[:]
	}
	return in.small[:]
}

// pending returns what is there already.
func (in *input) pending() []byte { return in.buf()[in.r:in.w] }

func (in *input) take(n int) { in.r += n }

// drop forgets what is there.
func (in *input) drop() { in.r, in.w = 0, 0 }

// shrink gives the large buffer back when nothing is in it.
func (in *input) shrink() {
	if in.big != nil && in.r == in.w {
		in.pool.Put(in.big)
		in.big, in.r, in.w = nil, 0, 0
	}
}

// grow makes room for more: by moving, then by taking a large buffer. It
// reports false when that is full.
func (in *input) grow() bool {
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
	if in.w < len(in.buf()) {
		return true
	}
	if in.r > 0 {
		in.w = copy(in.buf(), in.pending())
		in.r = 0
		return true
	}
	if in.big != nil {
		return false
	}
	in.enlarge()
	return true
}

func (in *input) enlarge() {
	if in.big == nil {
		b := in.pool.Get().(*bigBuffer)
		in.w = copy(b[:], in.small[in.r:in.w])
		in.r, in.big = 0, b
	}
}

// fill reads once more. At least one octet came, or err says why not.
func (in *input) fill() error {
	if !in.grow() {
		return io.ErrShortBuffer
	}
	n, err := in.read(in.buf()[in.w:])
	in.w += n
	in.total += int64(n)
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

var (
	errTLSBytes    = errors.New("TLS where a command should be")
	errAuthTooLong = fmt.Errorf("AUTH: %w", smtp.ErrLineTooLong)
)

// line reads a command line of at most most octets, or authMost when it begins
// with AUTH. Errors are those of smtp.CutLine, errTLSBytes when clear is set
// and a TLS record begins, or those of reading. The line is good until the next read.
func (in *input) line(most, authMost int, clear bool) ([]byte, error) {
	for {
		have := in.pending()
		if clear && len(have) > 0 && have[0] == 0x16 { // a handshake record (PC-18)
			return nil, errTLSBytes
		}
		limit := most
		if len(have) >= 5 && bytes.EqualFold(have[:5], []byte("AUTH ")) {
			limit = authMost // SRV-10
		}
		line, used, err := smtp.CutLine(have, limit)
		in.take(used)
		if errors.Is(err, smtp.ErrLineTooLong) {
			return nil, in.discardLine([2]byte(have[used-2:used]), limit == authMost)
		}
		if used > 0 {
			return line, err
		}
		in.shrink()
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
}

// discardLine reads to the end of a line that is too long, keeping nothing but
// its last two octets (SRV-11): all of it may be there already. One that ends in
// a bare LF is an error of its own, or what follows would be taken for a command
// that another server had read as a part of the line (SRV-1).
func (in *input) discardLine(last [2]byte, auth bool) error {
	for last[1] != '\n' {
		if len(in.pending()) == 0 {
			if err := in.fill(); err != nil {
				return err
			}
		}
		have := in.pending()
		n := bytes.IndexByte(have, '\n') + 1
		if n == 0 {
			n = len(have)
		}
		last[0] = last[1]
		if n > 1 {
			last[0] = have[n-2]
		}
		last[1] = have[n-1]
		in.take(n)
	}
	switch {
	case last[0] != '\r':
		return smtp.ErrBareLF
	case auth:
		return errAuthTooLong
	}
	return smtp.ErrLineTooLong
}
