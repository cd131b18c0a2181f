package smtpclient

import (
	"fmt"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// chunkMax is the size of one BDAT of a large content, in octets: after each
// the peer can refuse, and two of them under way keep a long path busy.
const chunkMax = 1 << 20

// stale reports a session that idled so long that the peer may have left it
// unnoticed. A content is not sent after it before the envelope was answered,
// so that its loss leaves no doubt.
func (c *Client) stale() bool { return c.transactions > 1 && time.Since(c.used) > reuseAtOnce }

// dots sends the content with dot transparency, and hears its reply.
func (t *transaction) dots() *Answer {
	t.flying = false
	var enc smtp.DotEncoder
	out := getBuffer()
	defer putBuffer(out)
	send := func(p []byte) error {
		*out = enc.Append((*out)[:0], p)
		return asError(t.c.write(mail.StageContent, *out))
	}
	if t.content.small != nil {
		*out = enc.End(enc.Append((*out)[:0], t.content.small))
		if a := t.c.write(mail.StageContent, *out); a != nil {
			return t.early(a)
		}
	} else {
		piece := getBuffer()
		defer putBuffer(piece)
		if err := inPieces(t.content.body, piece, send); err != nil {
			return t.early(t.stopped(err))
		}
		*out = enc.End((*out)[:0])
		if a := t.c.write(mail.StageContent, *out); a != nil {
			return t.early(a)
		}
	}
	t.sentAll = true
	t.note()
	return t.hearDot()
}

// bdat sends the content in chunks. One more is under way than was answered;
// after a refusal no more follow (EXT-4).
func (t *transaction) bdat() *Answer {
	t.flying = false
	out := getBuffer()
	defer putBuffer(out)
	if t.content.small != nil {
		*out = t.appendBdat((*out)[:0], int64(len(t.content.small)), true)
		*out = append(*out, t.content.small...)
		if a := t.c.write(mail.StageContent, *out); a != nil {
			return t.early(a)
		}
		t.sentAll = true
		return t.hearDot()
	}
	cut := &chunker{t: t, out: out, left: t.content.size}
	piece := getBuffer()
	defer putBuffer(piece)
	if err := inPieces(t.content.body, piece, cut.send); err != nil {
		return t.early(t.stopped(err))
	}
	if t.content.addCRLF {
		if err := cut.send([]byte("\r\n")); err != nil {
			return t.early(t.stopped(err))
		}
	}
	t.sentAll = true
	if cut.waiting > 1 {
		if err := cut.hear(); err != nil {
			return t.early(t.stopped(err))
		}
	}
	return t.hearDot()
}

// chunker cuts a content of known size into chunks as its pieces come by.
type chunker struct {
	t       *transaction
	out     *[]byte
	left    int64 // octets of the content for which no BDAT was said yet
	room    int64 // octets of the present chunk still to come
	waiting int   // chunks without a reply
}

func (k *chunker) send(p []byte) error {
	for len(p) > 0 {
		*k.out = (*k.out)[:0]
		if k.room == 0 {
			if err := k.begin(); err != nil {
				return err
			}
		}
		n := int(min(int64(len(p)), k.room))
		*k.out = append(*k.out, p[:n]...)
		if err := asError(k.t.c.write(mail.StageContent, *k.out)); err != nil {
			return err
		}
		k.room -= int64(n)
		p = p[n:]
	}
	return nil
}

func (k *chunker) begin() error {
	for k.waiting > 1 {
		if err := k.hear(); err != nil {
			return err
		}
	}
	k.room = min(k.left, chunkMax)
	k.left -= k.room
	k.waiting++
	*k.out = k.t.appendBdat(*k.out, k.room, k.left == 0)
	return nil
}

// hear hears the reply to a chunk that was not the last.
func (k *chunker) hear() error {
	r, a := k.t.c.reply(mail.StageContent, k.t.c.opt.Timeouts.Dot)
	k.waiting--
	switch {
	case a != nil:
		return a
	case r.Code/100 != 2:
		if k.waiting > 0 || k.room > 0 {
			k.t.c.broken = true // more is under way than we care to hear
		}
		return said(mail.StageContent, r)
	}
	return nil
}

// asError keeps a nil *Answer from becoming a non-nil error.
func asError(a *Answer) error {
	if a == nil {
		return nil
	}
	return a
}

// stopped turns what ended the sending into an Answer: ours if the body could
// not be read. The peer must then not see an end of data, so the connection
// goes (TLS-14).
func (t *transaction) stopped(err error) *Answer {
	if a, ok := err.(*Answer); ok {
		return a
	}
	t.c.broken = true
	return ours(Local, mail.StageContent, smtp.LocalError.Because(fmt.Errorf("reading the message: %w", err)))
}

// early looks, when sending failed, for the reply that says why (CLI-28).
func (t *transaction) early(a *Answer) *Answer {
	t.sentAll = false
	if a.Kind != Lost || isTimeout(a.Reply.Cause) {
		return a // a peer that takes nothing says nothing (MIS-18)
	}
	t.c.limitRead(t.c.opt.Timeouts.Quit)
	if r, err := smtp.ReadReply(t.c.br, smtp.ReplyLimits{}); err == nil && r.Code/100 >= 4 {
		t.c.hear(r)
		return said(mail.StageContent, r)
	}
	return a
}

// hearDot hears the verdict on the content: one reply, or in LMTP one for each
// accepted recipient in the order of RCPT (RFC 2033 §4.2).
func (t *transaction) hearDot() *Answer {
	if t.taken() == 0 { // BDAT went along in vain
		t.sentAll = false
		_, a := t.c.reply(mail.StageDot, t.c.opt.Timeouts.Dot)
		_ = a // whatever it is, the replies to RCPT are the reason (CLI-27)
		return nil
	}
	if t.c.opt.LMTP {
		for i := range t.state {
			if t.state[i] != accepted {
				continue
			}
			if a := t.hearEnd(func(a *Answer) { t.settle(i, a) }); a != nil {
				return a
			}
		}
		t.c.dirty = false
		return nil
	}
	a := t.hearEnd(t.settleAll)
	if a == nil {
		t.c.dirty = false // RFC 5321 §4.1.1.4: buffers are cleared either way
	}
	return a
}

func (t *transaction) hearEnd(settle func(*Answer)) *Answer {
	r, a := t.c.reply(mail.StageDot, t.c.opt.Timeouts.Dot)
	if a != nil {
		return a
	}
	if r.Code/100 == 3 {
		return t.confused(mail.StageDot, r)
	}
	done := said(mail.StageDot, r)
	done.NoDSN = !t.dsn && done.Good()
	if t.chunk && (r.Code == 500 || r.Code == 502) {
		// MIS-13: the peer does not know BDAT after all, and may take the
		// content for commands. Nothing more is said on this connection.
		t.c.broken = true
	}
	settle(done)
	return nil
}

func (t *transaction) note() {
	if t.c.opt.Transcript != nil {
		t.c.say(fmt.Sprintf("(%d octets)", t.content.size))
		t.c.say(".")
	}
}
