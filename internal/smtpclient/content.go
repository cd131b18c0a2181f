package smtpclient

import (
	"bytes"
	"io"
	"sync"

	"paquebot/internal/mail"
	"paquebot/internal/message"
	"paquebot/internal/smtp"
)

const (
	// smallMax is the largest content, in octets, that is held in memory and
	// goes in one flight with its envelope: what a refused recipient may cost
	// in vain, and what common socket buffers take without waiting.
	smallMax = 64 << 10

	// headerMax is how far a header is looked through for UTF-8 (SUB-33).
	headerMax = 256 << 10
)

// content is a message in the form in which it goes to this peer.
type content struct {
	body     mail.Body
	size     int64  // octets as sent, dots not doubled, the last CRLF included (TRAP-14)
	small    []byte // the content itself, line ends settled; nil when it is streamed
	eightBit bool
	binary   bool // goes as BINARYMIME, untouched
	bare     bool // has CR or LF outside CRLF, which DATA mends on the way
	addCRLF  bool // the last line lacks its end
	long     bool // has a line longer than message.LineMax, line ends settled
	buf      *[]byte
}

// buffers hold small contents and flights: room for the content, its dots or
// mended line ends, and the commands before it.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 16<<10)
	return &b
}}

// bufferKeep is the largest buffer that goes back to the pool, in octets.
const bufferKeep = 256 << 10

func getBuffer() *[]byte { return buffers.Get().(*[]byte) }

func putBuffer(b *[]byte) {
	if b != nil && cap(*b) <= bufferKeep {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// examine reads the content once, to know its exact size and what it needs. A
// small one stays in memory.
func examine(body mail.Body, binary bool) (*content, error) {
	c := &content{body: body, binary: binary, size: body.Size()}
	if binary {
		c.eightBit = true
		return c, nil
	}
	ends := smtp.LineEnds{Policy: smtp.BareNormalise}
	piece := getBuffer()
	defer putBuffer(piece)
	out := getBuffer()
	keep := body.Size() <= smallMax
	err := inPieces(body, piece, func(p []byte) error {
		if !keep {
			*out = (*out)[:0]
		}
		*out = ends.Convert(*out, p)
		return nil
	})
	*out = ends.Finish(*out)
	if err != nil {
		putBuffer(out)
		return nil, err
	}
	if c.addCRLF = !bytes.HasSuffix(*out, []byte("\r\n")); c.addCRLF {
		*out = ends.Convert(*out, []byte("\r\n"))
		*out = ends.Finish(*out)
	}
	f := ends.Facts
	c.size, c.eightBit, c.bare = f.Octets, f.EightBit, f.Bare()
	c.long = f.Longest > message.LineMax+2 // its CRLF
	if !keep {
		putBuffer(out)
		return c, nil
	}
	c.buf, c.small = out, *out
	return c, nil
}

func (c *content) release() {
	putBuffer(c.buf)
	c.buf, c.small = nil, nil
}

// pieceSize is how much of a body is read at a time, in octets.
const pieceSize = 64 << 10

// inPieces reads a body from its beginning to its end.
func inPieces(body mail.Body, buf *[]byte, each func([]byte) error) error {
	size := body.Size()
	want := int(min(size, pieceSize))
	if cap(*buf) < want {
		*buf = make([]byte, 0, want)
	}
	p := (*buf)[:want]
	for at := int64(0); at < size; {
		n := int(min(int64(len(p)), size-at))
		got, err := body.ReadAt(p[:n], at)
		if got < n {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := each(p[:n]); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// headerIsASCII reports whether the header section is; one that is not needs
// SMTPUTF8 (RFC 6532).
func headerIsASCII(body mail.Body) (bool, error) {
	head := make([]byte, min(body.Size(), headerMax))
	if n, err := body.ReadAt(head, 0); n < len(head) {
		return false, err
	}
	if end := bytes.Index(head, []byte("\r\n\r\n")); end >= 0 {
		head = head[:end]
	}
	return ascii(head), nil
}

func ascii[T ~string | ~[]byte](s T) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
