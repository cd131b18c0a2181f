package smtpclient

import (
	"math"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Message is one transaction's worth of mail.
type Message struct {
	From       string
	Params     mail.Params
	Recipients []mail.Recipient
	Body       mail.Body
}

// prepare decides in which form the message may go to this peer, or that it
// may not. Per recipient it leaves the path to say, or an Answer already.
func (t *transaction) prepare() *Answer {
	if a := t.demands(); a != nil {
		return a
	}
	if a := t.paths(); a != nil {
		return a
	}
	if a := t.form(); a != nil {
		return a
	}
	if t.tooBig() {
		return ours(Unfit, mail.StageMail, smtp.Reply{Code: 552, Enhanced: smtp.Enhanced{Class: 5, Subject: 3, Detail: 4},
			Text: "Message is larger than host takes"}) // EXT-1
	}
	t.parameters()
	return nil
}

// tooBig looks at the limit that was announced last (MIS-14); 0 is none.
func (t *transaction) tooBig() bool {
	if !t.c.ext.Has("SIZE") {
		return false
	}
	limit := t.c.ext.Size()
	return limit > 0 && t.content.size > limit
}

// demands checks what the sender asked of every hop.
func (t *transaction) demands() *Answer {
	c, p := t.c, t.m.Params
	if p.RequireTLS {
		if c.tls == nil || c.tls.Verified == "none" || !c.ext.Has("REQUIRETLS") { // RTLS-2
			return ours(RequireTLS, mail.StageMail, smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{Class: 5, Subject: 7, Detail: 30},
				Text: "REQUIRETLS cannot be kept with this host"})
		}
	}
	if p.By == nil || !p.By.Return {
		return nil
	}
	left := int64(time.Until(p.By.Deadline) / time.Second)
	switch {
	case left <= 0 || c.ext.Has("DELIVERBY") && left < c.ext.DeliverByMin():
		return ours(Unfit, mail.StageMail, unfit(4, 7, "Cannot be delivered by the time asked for")) // EXT-9
	case !c.ext.Has("DELIVERBY") && !c.opt.LMTP:
		return ours(Unfit, mail.StageMail, unfit(3, 3, "Host does not promise delivery times (DELIVERBY)")) // EXT-9
	}
	return nil
}

// paths settles which addresses can be said here (EXT-8). A domain has an
// ASCII form, a local part has none.
func (t *transaction) paths() *Answer {
	wanted := t.m.Params.UTF8 && !ascii(t.m.From)
	for _, r := range t.m.Recipients {
		wanted = wanted || !ascii(r.Address)
	}
	if t.m.Params.UTF8 {
		plain, err := headerIsASCII(t.m.Body)
		if err != nil {
			return ours(Local, mail.StageMail, smtp.LocalError.Because(err))
		}
		if !plain && !t.c.ext.Has("SMTPUTF8") {
			return ours(Unfit, mail.StageMail, unfit(6, 9, "Header needs SMTPUTF8, which host does not offer"))
		}
		wanted = wanted || !plain
	}
	t.utf8 = wanted && t.c.ext.Has("SMTPUTF8")
	from, ok := t.path(t.m.From)
	if !ok {
		return ours(Unfit, mail.StageMail, unfit(6, 7, "Sender address needs SMTPUTF8, which host does not offer"))
	}
	t.from = from
	for i := range t.m.Recipients {
		if t.to[i], ok = t.path(t.m.Recipients[i].Address); !ok {
			t.answers[i] = *ours(Unfit, mail.StageRcpt, unfit(6, 7, "Address needs SMTPUTF8, which host does not offer"))
			t.state[i] = settled
		}
	}
	return nil
}

// path returns an address as this peer can hear it.
func (t *transaction) path(address string) (string, bool) {
	if t.utf8 || ascii(address) {
		return address, true
	}
	domain, err := smtp.ASCIIDomain(mail.Domain(address))
	local := mail.Local(address)
	return local + "@" + domain, err == nil && ascii(local)
}

// form settles how the content goes: as it is, or converted for a peer that
// cannot take all octets (EXT-2, EXT-5, EXT-22), or where DATA cannot carry its
// lines (SRV-12).
func (t *transaction) form() *Answer {
	c := t.c
	chunking := c.ext.Has("CHUNKING") && !c.opt.NoChunking
	binary := t.m.Params.Body == mail.BodyBinary
	mayBinary := binary && chunking && c.ext.Has("BINARYMIME")
	got, err := examine(t.m.Body, mayBinary)
	if err != nil {
		return ours(Local, mail.StageMail, smtp.LocalError.Because(err))
	}
	t.content = got
	sevenBit := !mayBinary && (binary || got.eightBit && !c.ext.Has("8BITMIME"))
	if sevenBit {
		if a := t.convert(converter{sevenBit: true}); a != nil {
			return a
		}
	}
	t.chunk = chunking && (!t.content.bare || t.content.small != nil || t.content.binary)
	if !t.chunk && t.content.long {
		if a := t.convert(converter{sevenBit: sevenBit, short: true}); a != nil {
			return a
		}
	}
	switch {
	case t.content.binary:
		t.params.Body = string(mail.BodyBinary)
	case t.content.eightBit && c.ext.Has("8BITMIME"):
		t.params.Body = string(mail.Body8Bit)
	}
	return nil
}

// convert replaces the content by a form that the peer can take (EXT-2,
// SRV-12). What goes then is in memory, a copy.
func (t *transaction) convert(to converter) *Answer {
	t.content.release()
	body, err := to.convert(t.m.Body)
	switch {
	case err != nil && to.short:
		return ours(Unfit, mail.StageMail, unfit(6, 0, "Lines longer than 998 octets cannot go to this host").Because(err))
	case err != nil:
		return ours(Unfit, mail.StageMail, unfit(6, 3, "Host takes 7-bit content only, and this cannot be converted").Because(err))
	}
	if t.content, err = examine(body, false); err != nil {
		return ours(Local, mail.StageMail, smtp.LocalError.Because(err))
	}
	return nil
}

// parameters are said only to peers that offered the extension (CLI-37), as
// the sender gave them and never invented (EXT-7, TRAP-13).
func (t *transaction) parameters() {
	ext, p := t.c.ext, t.m.Params
	t.params.UTF8 = t.utf8
	if ext.Has("SIZE") {
		t.params.Size = t.content.size
	}
	if t.dsn = ext.Has("DSN"); t.dsn {
		t.params.Return, t.params.EnvelopeID = string(p.Return), p.EnvelopeID
	}
	if t.c.loggedIn && ext.Has("AUTH") {
		t.params.Auth = p.Auth // AUTH-13
	}
	if p.By != nil && ext.Has("DELIVERBY") {
		t.params.By = deliverBy(*p.By)
	}
	if p.Priority != 0 && ext.Has("MT-PRIORITY") {
		t.params.Priority = smtp.Priority{Given: true, Value: p.Priority}
	}
	t.params.RequireTLS = p.RequireTLS
}

// deliverBy takes off the time a message was held (RFC 2852 §4).
func deliverBy(d mail.DeliverBy) smtp.By {
	by := smtp.By{Mode: 'N', Trace: d.Trace}
	if d.Return {
		by.Mode = 'R'
	}
	const most = 999_999_999 // nine digits
	left := math.Floor(time.Until(d.Deadline).Seconds())
	by.Seconds = int64(max(-most, min(most, left)))
	return by
}
