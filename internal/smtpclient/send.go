package smtpclient

import (
	"context"
	"strconv"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// rcptsInFlight bounds the RCPT commands of one group, so that their replies
// fit into any socket buffer while we are not reading (EXT-3).
const rcptsInFlight = 100

// transaction is one MAIL to its end.
type transaction struct {
	c       *Client
	m       Message
	from    string
	to      []string // paths to say, index as in m.Recipients
	state   []rcptState
	answers []Answer
	params  smtp.MailParams
	content *content
	utf8    bool
	dsn     bool
	chunk   bool // BDAT, not DATA
	fresh   bool // no reply was heard yet
	sentAll bool // the peer has been sent the whole content
	flying  bool // within a group of pipelined commands
}

type rcptState uint8

const (
	unsaid   rcptState = iota
	accepted           // by RCPT; the content decides
	settled            // the answer stands
)

// Send carries one message to the peer and returns what became of it for each
// recipient, in their order. The session may be used again if Usable. It is
// ours to say what was learnt, and the caller's to judge.
func (c *Client) Send(ctx context.Context, m Message) []Answer {
	defer c.during(ctx)()
	n := len(m.Recipients)
	t := &transaction{c: c, m: m, to: make([]string, n), state: make([]rcptState, n), answers: make([]Answer, n), fresh: true}
	defer func() {
		if t.content != nil {
			t.content.release()
		}
	}()
	if a := t.prepare(); a != nil {
		t.settleAll(a)
	} else if t.left() > 0 {
		c.transactions++
		if a := t.run(); a != nil {
			t.settleAll(a)
		}
	}
	return t.answers
}

// settleAll gives an answer to every recipient that has none yet.
func (t *transaction) settleAll(a *Answer) {
	a.Virgin = a.Virgin || t.fresh && (a.Kind == Lost || a.Reply.Code == 421)
	// Babble instead of a verdict leaves the same doubt as silence.
	a.Ambiguous = t.sentAll && (a.Kind == Lost || a.Kind == Garbage || a.Kind == Confused)
	a.Chunked = t.chunk
	for i := range t.answers {
		if t.state[i] != settled {
			t.answers[i], t.state[i] = *a, settled
		}
	}
}

func (t *transaction) settle(i int, a *Answer) {
	t.answers[i], t.state[i] = *a, settled
}

// left counts the recipients without an answer.
func (t *transaction) left() (n int) {
	for _, s := range t.state {
		if s != settled {
			n++
		}
	}
	return n
}

// taken counts the recipients that RCPT accepted.
func (t *transaction) taken() (n int) {
	for _, s := range t.state {
		if s == accepted {
			n++
		}
	}
	return n
}

// run is the dialogue. With PIPELINING the envelope goes in one write; with
// CHUNKING a small content goes with it, and a message costs one round trip.
func (t *transaction) run() *Answer {
	if a := t.reset(); a != nil {
		return a
	}
	if t.c.ext.Has("PIPELINING") && !t.c.opt.NoPipelining {
		return t.pipelined()
	}
	return t.lockstep()
}

// reset clears what an earlier transaction left open (CLI-41).
func (t *transaction) reset() *Answer {
	if !t.c.dirty {
		return nil
	}
	r, a := t.c.command(mail.StageMail, t.c.opt.Timeouts.Mail, "RSET")
	if a != nil {
		return a
	}
	if r.Code/100 != 2 {
		t.c.broken = true
		a := said(mail.StageMail, r)
		a.Virgin = true // nothing was said of this message yet (CLI-42)
		return a
	}
	t.c.dirty = false
	return nil
}

// lockstep says a command and hears its reply before the next.
func (t *transaction) lockstep() *Answer {
	buf := getBuffer()
	defer putBuffer(buf)
	*buf = t.appendMail((*buf)[:0])
	r, a := t.c.exchange(mail.StageMail, t.c.opt.Timeouts.Mail, *buf)
	if a = t.afterMail(r, a); a != nil {
		return a
	}
	for i := range t.to {
		if t.state[i] == settled {
			continue
		}
		*buf = t.appendRcpt((*buf)[:0], i)
		r, a := t.c.exchange(mail.StageRcpt, t.c.opt.Timeouts.Rcpt, *buf)
		if a = t.afterRcpt(i, r, a); a != nil {
			return a
		}
	}
	if t.taken() == 0 {
		return nil
	}
	if t.chunk {
		return t.bdat()
	}
	t.c.say("DATA")
	r, a = t.c.exchange(mail.StageData, t.c.opt.Timeouts.Data, []byte("DATA\r\n"))
	if a = t.afterData(r, a); a != nil {
		return a
	}
	return t.dots()
}

// pipelined says the envelope in groups, the last with DATA or, for a small
// content, BDAT and the content itself (RFC 2920 §3.1, RFC 3030 §4.2).
func (t *transaction) pipelined() *Answer {
	buf := getBuffer()
	defer putBuffer(buf)
	*buf = t.appendMail((*buf)[:0])
	t.flying = true
	defer func() { t.flying = false }()
	oneFlight := t.chunk && t.content.small != nil && !t.c.stale()
	for from := 0; ; {
		to := t.appendRcpts(buf, from)
		last := to == len(t.to)
		if last && oneFlight {
			*buf = t.appendBdat(*buf, int64(len(t.content.small)), true)
			*buf = append(*buf, t.content.small...)
			t.sentAll = true
		} else if last && !t.chunk {
			t.c.say("DATA")
			*buf = append(*buf, "DATA\r\n"...)
		}
		if a := t.c.write(mail.StageMail, *buf); a != nil {
			return t.sudden(a, from == 0)
		}
		if from == 0 {
			if a := t.hearMail(last && oneFlight, last && !t.chunk); a != nil {
				return a
			}
		}
		if a := t.hearRcpts(from, to); a != nil {
			return a
		}
		if last {
			return t.hearContent(oneFlight)
		}
		from, *buf = to, (*buf)[:0]
	}
}

// sudden handles a write that failed: the peer may have said why first.
func (t *transaction) sudden(a *Answer, first bool) *Answer {
	t.sentAll = false
	stage := mail.StageRcpt
	if first {
		stage = mail.StageMail
	}
	if r, err := smtp.ReadReply(t.c.br, smtp.ReplyLimits{}); err == nil && r.Code/100 >= 4 {
		t.c.hear(r)
		return said(stage, r)
	}
	a.Stage = stage
	return a
}

// hearMail hears the reply to MAIL. After a refusal the replies to the rest of
// the group are heard as well, to be in step again; they say nothing new.
func (t *transaction) hearMail(content, data bool) *Answer {
	r, a := t.c.reply(mail.StageMail, t.c.opt.Timeouts.Mail)
	a = t.afterMail(r, a)
	if a == nil || t.c.broken {
		return a
	}
	most := 0
	for i := range t.to {
		if t.state[i] != settled && most < rcptsInFlight {
			most++
		}
	}
	for range most {
		if _, lost := t.c.reply(mail.StageRcpt, t.c.opt.Timeouts.Rcpt); lost != nil {
			return a
		}
	}
	if content || data {
		r, lost := t.c.reply(mail.StageData, t.c.opt.Timeouts.Dot)
		if lost == nil && r.Code == 354 {
			t.void()
		}
	}
	return a
}

func (t *transaction) hearRcpts(from, to int) *Answer {
	for i := from; i < to; i++ {
		if t.state[i] == settled {
			continue
		}
		r, a := t.c.reply(mail.StageRcpt, t.c.opt.Timeouts.Rcpt)
		if a = t.afterRcpt(i, r, a); a != nil {
			return a
		}
	}
	return nil
}

// hearContent ends a pipelined transaction.
func (t *transaction) hearContent(oneFlight bool) *Answer {
	switch {
	case oneFlight:
		return t.hearDot()
	case t.chunk && t.taken() == 0:
		return nil
	case t.chunk:
		return t.bdat()
	}
	r, a := t.c.reply(mail.StageData, t.c.opt.Timeouts.Data)
	if t.taken() == 0 {
		if a == nil && r.Code == 354 {
			t.void() // MIS-7
		}
		return nil
	}
	if a = t.afterData(r, a); a != nil {
		return a
	}
	return t.dots()
}

// void ends a DATA that nobody wanted: a lone dot, whose reply says nothing
// (EXT-3, MIS-7).
func (t *transaction) void() {
	t.c.say(".")
	t.c.exchange(mail.StageDot, t.c.opt.Timeouts.Dot, []byte(".\r\n"))
}

func (t *transaction) afterMail(r smtp.Reply, a *Answer) *Answer {
	if a != nil {
		a.Pipelined = t.flying && !t.fresh
		return a
	}
	t.fresh = false
	switch r.Code / 100 {
	case 2:
		t.c.dirty = true
		return nil
	case 3:
		return t.confused(mail.StageMail, r)
	}
	a = said(mail.StageMail, r)
	a.Virgin = r.Code == 421 || r.Code == 503 // CLI-42, if the session was used before
	return a
}

func (t *transaction) afterRcpt(i int, r smtp.Reply, a *Answer) *Answer {
	switch {
	case a != nil:
		a.Pipelined = t.flying
		return a
	case r.Code/100 == 2:
		t.state[i] = accepted
		return nil
	case r.Code/100 == 3:
		return t.confused(mail.StageRcpt, r)
	case r.Code == 421:
		return said(mail.StageRcpt, r)
	}
	t.settle(i, said(mail.StageRcpt, r))
	return nil
}

func (t *transaction) afterData(r smtp.Reply, a *Answer) *Answer {
	switch {
	case a != nil:
		a.Pipelined = t.flying
		return a
	case r.Code == 354 || r.Code/100 == 3:
		return nil
	case r.Code/100 == 2:
		return t.confused(mail.StageData, r)
	}
	return said(mail.StageData, r)
}

// confused: a reply that cannot answer what was said. Replies were lost or
// swapped; nothing that follows can be believed (MIS-5).
func (t *transaction) confused(stage mail.Stage, r smtp.Reply) *Answer {
	t.c.broken = true
	a := ours(Confused, stage, notSMTP(nil).WithText("Host answered out of order: %s", smtp.Printable(r.String())))
	a.Pipelined = t.flying
	return a
}

func (t *transaction) appendMail(b []byte) []byte {
	at := len(b)
	b = append(append(append(b, "MAIL FROM:<"...), t.from...), '>')
	b = append(t.params.Append(b), '\r', '\n')
	t.sayBytes(b[at:])
	return b
}

// appendRcpts appends a group of RCPT commands and returns where the next
// begins.
func (t *transaction) appendRcpts(buf *[]byte, from int) int {
	i := from
	for n := 0; i < len(t.to) && n < rcptsInFlight; i++ {
		if t.state[i] != settled {
			*buf = t.appendRcpt(*buf, i)
			n++
		}
	}
	return i
}

func (t *transaction) appendRcpt(b []byte, i int) []byte {
	at := len(b)
	b = append(append(append(b, "RCPT TO:<"...), t.to[i]...), '>')
	if t.dsn {
		r := &t.m.Recipients[i]
		p := smtp.RcptParams{Notify: smtp.NotifySet(r.Notify), Original: r.Original}
		b = p.Append(b, t.utf8)
	}
	b = append(b, '\r', '\n')
	t.sayBytes(b[at:])
	return b
}

func (t *transaction) appendBdat(b []byte, n int64, last bool) []byte {
	at := len(b)
	b = strconv.AppendInt(append(b, "BDAT "...), n, 10)
	if last {
		b = append(b, " LAST"...)
	}
	b = append(b, '\r', '\n')
	t.sayBytes(b[at:])
	return b
}

func (t *transaction) sayBytes(line []byte) {
	if t.c.opt.Transcript != nil {
		t.c.say(string(line[:len(line)-2]))
	}
}
