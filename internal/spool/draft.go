package spool

import (
	"context"
	"errors"
	"hash/crc32"
	"slices"
	"time"

	"paquebot/internal/mail"
)

// draft is a message on its way into a Journal. What it gathers goes to the
// journal by the part, one of them being written while the next one fills; the
// accept record, with what remains, makes it a message.
type draft struct {
	j       *Journal
	buf     *buffer // nil before the first octet and after the end
	size    int64
	parts   []part
	pending *request // the part being written
	over    bool     // committed or discarded
	err     error    // of a part: the draft is lost
	commit  request  // its accept record's
}

// NewDraft implements Spool.
func (j *Journal) NewDraft() Draft { return &draft{j: j} }

// Size implements Draft.
func (d *draft) Size() int64 { return d.size }

// Write implements io.Writer.
func (d *draft) Write(p []byte) (n int, err error) {
	for len(p) > 0 && d.err == nil {
		if d.over {
			return n, errOver
		}
		if d.buf == nil {
			d.buf = d.j.pools.get(len(p))
		}
		if len(d.buf.b) == d.j.opt.partBytes {
			d.flush()
			continue
		}
		take := min(len(p), d.j.opt.partBytes-len(d.buf.b))
		d.buf = d.j.pools.grow(d.buf, take)
		d.buf.b = append(d.buf.b, p[:take]...)
		d.size += int64(take)
		n, p = n+take, p[take:]
	}
	return n, d.err
}

var errOver = errors.New("spool: the draft has ended")

// flush hands a full buffer to the committer. It waits for the part before, so
// a draft never holds more than two.
func (d *draft) flush() {
	if d.settle(); d.err != nil {
		return
	}
	if d.err = d.j.usable(); d.err != nil {
		return
	}
	r := newRequest(kindPart)
	r.data = d.j.frontOf(func(b []byte) []byte { return b })
	r.data.rest = d.buf
	r.urgent = true
	if d.err = d.j.line.add(r); d.err == nil {
		d.pending, d.buf = r, nil
	}
}

// settle waits for the part that is being written.
func (d *draft) settle() {
	if d.pending == nil {
		return
	}
	if err := <-d.pending.done; err != nil {
		d.err = err
	} else {
		d.parts = append(d.parts, part{d.pending.op.pos, uint32(d.pending.length)})
	}
	d.pending = nil
}

// Content implements Draft.
func (d *draft) Content(head []byte) mail.Body {
	d.settle()
	var rest []byte
	if d.buf != nil {
		rest = d.buf.b
	}
	return newBody(head, rest, slices.Clip(d.parts), d.j.shelf, &d.j.pools)
}

// Commit implements Draft.
func (d *draft) Commit(ctx context.Context, env *mail.Envelope, head []byte) error {
	if d.over {
		return errOver
	}
	d.settle()
	err := errors.Join(d.err, ctx.Err(), d.j.usable())
	if err == nil {
		err = acceptable(env)
	}
	if err != nil {
		return err
	}
	env.Size = d.size + int64(len(head))
	r := d.accept(env, head)
	d.over, d.buf = true, nil
	if err = d.j.line.wait(r); err != nil || r.skip {
		d.j.unpin(d.parts)
	}
	d.j.answers.pool.Put(r.done)
	d.parts = nil
	return err
}

// envelopeGuess is what an envelope, and a recipient, usually take in octets:
// so that the buffer need not grow.
const envelopeGuess = 300

// acceptable refuses an envelope that could not be read back.
func acceptable(env *mail.Envelope) error {
	if env.ID.IsZero() {
		return errors.New("spool: an envelope without an ID")
	}
	if len(env.Recipients) > recipientsMax {
		return errors.New("spool: an envelope with too many recipients")
	}
	for i := range env.Recipients {
		if env.Recipients[i].State > mail.Deleted {
			return errState
		}
	}
	return nil
}

// accept is the request that makes the draft a message.
func (d *draft) accept(env *mail.Envelope, head []byte) *request {
	r := &d.commit
	r.kind, r.urgent, r.done = kindAccept, true, d.j.answers.get()
	// A report about a failure must find room where mail no longer does.
	r.favoured = env.Origin.Role == mail.RoleLocal && env.From == ""
	front := d.j.pools.get(acceptFixed + len(head) + envelopeGuess*(1+len(env.Recipients)))
	b, loc := appendAccept(front.b[:recordHeaderSize], 0, d.parts, env, len(head))
	front.b = append(b, head...)
	m := newMessage(env, loc, env.Size)
	m.own = payload{pools: &d.j.pools, front: front, rest: d.buf}
	m.accepted = time.Now()
	r.data, r.op.msg = m.own.hold(), m
	return r
}

// Discard implements Draft.
func (d *draft) Discard() {
	if d.over {
		return
	}
	d.over = true
	d.settle()
	d.j.unpin(d.parts)
	d.j.pools.put(d.buf)
	d.buf, d.parts = nil, nil
}

// frontOf returns a payload whose front holds room for a record's header and
// what fill appends.
func (j *Journal) frontOf(fill func([]byte) []byte) *payload {
	front := j.pools.get(bufferMin)
	front.b = fill(front.b[:recordHeaderSize])
	p := &payload{pools: &j.pools, front: front}
	return p.hold()
}

// checksum is the CRC of a record's payload, and length its octets.
func (p *payload) checksum() (crc uint32, length int) {
	b := p.front.b[recordHeaderSize:]
	crc, length = crc32.Checksum(b, castagnoli), len(b)
	if p.rest != nil {
		crc = crc32.Update(crc, castagnoli, p.rest.b)
		length += len(p.rest.b)
	}
	return crc, length
}

// pin keeps a part's segment while its draft is open.
func (j *Journal) pin(p Pos, n int) {
	if s := j.segments[p.Segment()]; s != nil {
		s.pins += n
	}
}

func (j *Journal) unpin(parts []part) {
	if len(parts) == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, p := range parts {
		j.pin(p.pos, -1)
	}
}
