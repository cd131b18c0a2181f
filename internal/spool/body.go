package spool

import (
	"io"
	"sync"

	"paquebot/internal/mail"
)

// body is a message's content: the header section, the parts of a large body,
// the rest. Header section and rest are in memory, parts are read when asked
// for, one at a time.
type body struct {
	head, rest []byte
	parts      []part
	middle     int64 // octets in parts
	shelf      *shelf
	held       *payload // released by Close

	mu     sync.Mutex
	cached int // index in parts, -1 for none
	cache  *buffer
	pools  *bufferPools
}

var _ mail.Body = (*body)(nil)

func newBody(head, rest []byte, parts []part, sh *shelf, pools *bufferPools) *body {
	b := &body{head: head, rest: rest, parts: parts, shelf: sh, pools: pools, cached: -1}
	for _, p := range parts {
		b.middle += int64(p.length)
	}
	return b
}

// Size implements mail.Body.
func (b *body) Size() int64 { return int64(len(b.head)) + b.middle + int64(len(b.rest)) }

// ReadAt implements io.ReaderAt.
func (b *body) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) && err == nil {
		var got int
		got, err = b.piece(p[n:], off+int64(n))
		n += got
	}
	if n == len(p) {
		err = nil
	}
	return n, err
}

// piece reads from the one piece that holds off.
func (b *body) piece(p []byte, off int64) (int, error) {
	if off < int64(len(b.head)) {
		return copy(p, b.head[off:]), nil
	}
	off -= int64(len(b.head))
	if off < b.middle {
		return b.fromParts(p, off)
	}
	if off -= b.middle; off < int64(len(b.rest)) {
		return copy(p, b.rest[off:]), nil
	}
	return 0, io.EOF
}

func (b *body) fromParts(p []byte, off int64) (int, error) {
	i := 0
	for off >= int64(b.parts[i].length) {
		off -= int64(b.parts[i].length)
		i++
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cached != i {
		if err := b.load(i); err != nil {
			return 0, err
		}
	}
	data := b.cache.b[recordHeaderSize:]
	return copy(p, data[off:]), nil
}

func (b *body) load(i int) error {
	b.cached = -1
	b.pools.put(b.cache)
	n := recordHeaderSize + int(b.parts[i].length)
	b.cache = b.pools.get(n)
	b.cache.b = b.cache.b[:n]
	if err := b.shelf.read(b.parts[i].pos, b.cache.b); err != nil {
		return err
	}
	b.cached = i
	return nil
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held.release()
	b.pools.put(b.cache)
	b.held, b.cache, b.cached = nil, nil, -1
	b.head, b.rest, b.parts, b.middle = nil, nil, nil, 0
	return nil
}
