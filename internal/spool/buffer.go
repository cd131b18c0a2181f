package spool

import (
	"sync"
	"sync/atomic"
)

// Bodies are gathered in buffers of a few sizes, which are used again.
const (
	// partSize is what a draft holds before it writes a part, and what a reader
	// of a large message holds.
	partSize  = 256<<10 - recordHeaderSize // a record of one fits a pooled buffer
	bufferMin = 4 << 10
)

// buffers pools by size: 4, 16, 64 and 256 KiB.
type bufferPools [4]sync.Pool

type buffer struct {
	b     []byte
	class int8 // index in bufferPools, -1 for an odd one
}

// get returns an empty buffer with room for n octets.
func (p *bufferPools) get(n int) *buffer {
	size := bufferMin
	for class := range p {
		if n <= size {
			if b, _ := p[class].Get().(*buffer); b != nil {
				return b
			}
			return &buffer{b: make([]byte, 0, size), class: int8(class)}
		}
		size *= 4
	}
	return &buffer{b: make([]byte, 0, n), class: -1}
}

func (p *bufferPools) put(b *buffer) {
	if b == nil || b.class < 0 {
		return
	}
	if cap(b.b) != bufferMin<<(2*b.class) {
		return // it was grown by append: no longer of its class
	}
	b.b = b.b[:0]
	p[b.class].Put(b)
}

// grow returns a buffer with the same octets and room for n more.
func (p *bufferPools) grow(b *buffer, n int) *buffer {
	if cap(b.b)-len(b.b) >= n {
		return b
	}
	bigger := p.get(len(b.b) + n)
	bigger.b = append(bigger.b, b.b...)
	p.put(b)
	return bigger
}

// payload is a record in memory: the header and the beginning of the payload in
// front, more of it in rest. It is shared by the one who writes it, the hot
// message and its readers; the last one to let go returns the buffers.
type payload struct {
	pools *bufferPools
	refs  atomic.Int32
	front *buffer
	rest  *buffer // nil for none
}

func (p *payload) hold() *payload {
	p.refs.Add(1)
	return p
}

func (p *payload) release() {
	if p == nil || p.refs.Add(-1) != 0 {
		return
	}
	p.pools.put(p.front)
	p.pools.put(p.rest)
	p.front, p.rest = nil, nil
}

// weight is what it costs in memory.
func (p *payload) weight() int64 {
	n := int64(cap(p.front.b))
	if p.rest != nil {
		n += int64(cap(p.rest.b))
	}
	return n
}
