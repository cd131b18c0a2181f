package smtpclient

import (
	"context"

	"paquebot/internal/mail"
)

// Check asks whether the peer would take mail for an address, without sending
// any: MAIL, RCPT, RSET.
func (c *Client) Check(ctx context.Context, from, to string) Answer {
	defer c.during(ctx)()
	t := &transaction{c: c, m: Message{From: from, Recipients: []mail.Recipient{{Address: to}}},
		to: []string{to}, from: from, state: make([]rcptState, 1), answers: make([]Answer, 1), fresh: true}
	t.utf8 = !ascii(to) && c.ext.Has("SMTPUTF8")
	t.params.UTF8 = t.utf8
	path, ok := t.path(to)
	if !ok {
		return *ours(Unfit, mail.StageRcpt, unfit(6, 7, "Address needs SMTPUTF8, which host does not offer"))
	}
	t.to[0] = path
	if a := t.check(); a != nil {
		return *a
	}
	return t.answers[0]
}

func (t *transaction) check() *Answer {
	if a := t.reset(); a != nil {
		return a
	}
	r, a := t.c.exchange(mail.StageMail, t.c.opt.Timeouts.Mail, t.appendMail(nil))
	if a = t.afterMail(r, a); a != nil {
		return a
	}
	r, a = t.c.exchange(mail.StageRcpt, t.c.opt.Timeouts.Rcpt, t.appendRcpt(nil, 0))
	if a = t.afterRcpt(0, r, a); a != nil {
		return a
	}
	if t.state[0] == accepted {
		t.settle(0, said(mail.StageRcpt, r))
	}
	return nil
}
