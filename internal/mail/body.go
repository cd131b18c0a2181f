package mail

import (
	"bytes"
	"io"
)

// Body is a stored message: RFC 5322 octets, header and all, CRLF line ends
// (but for BINARYMIME), read-only. It is safe for concurrent reads until
// Close, which its opener calls exactly once.
type Body interface {
	io.ReaderAt
	io.Closer
	Size() int64 // octets
}

// Bytes is a Body in memory.
type Bytes []byte

// ReadAt implements io.ReaderAt.
func (b Bytes) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(b).ReadAt(p, off) }

// Size implements Body.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Close implements Body; it does nothing.
func (Bytes) Close() error { return nil }

// Reader returns a reader over the whole of b from its beginning.
func Reader(b Body) *io.SectionReader { return io.NewSectionReader(b, 0, b.Size()) }
