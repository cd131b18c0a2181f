package queue

import (
	"time"

	"paquebot/internal/mail"
)

// Tell is what the sender is owed after a settlement.
type Tell uint8

const (
	TellNothing Tell = iota
	TellFailed
	TellDelayed
	TellDelivered // final delivery, by us
	TellRelayed   // handed to a hop that will not tell (RFC 3461 §5.2.2)
	TellExpanded  // an alias became its members
)

// Ruling is what becomes of a recipient, and what is owed for it.
type Ruling struct {
	Standing mail.Standing
	Tell     Tell
	Why      string // in plain words
}

// Facts is all that a settlement depends on.
type Facts struct {
	Now    time.Time
	Chance float64 // [0,1): the same for all recipients of an attempt, so that they stay together
	Site   string  // what a waiting recipient waits for from now on
	Final  bool    // the transport was the last one (LMTP, maildir, ...): success means "delivered"
}

// Settle says what becomes of a recipient after an attempt. It is pure; the
// table in settle_test.go is its specification (standards §11, §13.2).
func Settle(env *mail.Envelope, r mail.Recipient, o mail.Outcome, f Facts, t Terms) Ruling {
	s := r.Standing
	s.Site = f.Site
	if o.Result != mail.Untried {
		s.Last = o
		s.Tries++
	}
	switch o.Result {
	case mail.Accepted:
		return delivered(env, r, s, o, f)
	case mail.Refused:
		return failed(env, r, s, "refused: "+o.Reply.String())
	}
	if ruling, over := Overdue(env, mail.Recipient{Notify: r.Notify, Standing: s}, f.Now, t); over {
		return ruling
	}
	return deferred(env, r, s, o, f, t)
}

func delivered(env *mail.Envelope, r mail.Recipient, s mail.Standing, o mail.Outcome, f Facts) Ruling {
	s.State, s.Due = mail.Delivered, time.Time{}
	ruling := Ruling{Standing: s, Why: "delivered"}
	switch wanted := r.Notify.Has(mail.NotifySuccess); {
	case env.From == "" || r.Notify.Has(mail.NotifyNever): // DSN-2
	case wanted && f.Final:
		ruling.Tell = TellDelivered
	case (wanted || toldByDeadline(env, r)) && o.NoDSN:
		ruling.Tell = TellRelayed
	}
	ruling.Standing.Reported = ruling.Tell == TellNothing
	return ruling
}

// toldByDeadline: with BY mode N the sender is told when a hop takes the message
// that may not keep the promise; such a hop is one without DSN (EXT-9).
func toldByDeadline(env *mail.Envelope, r mail.Recipient) bool {
	return env.Params.By != nil && !env.Params.By.Return && env.From != "" && !r.Notify.Has(mail.NotifyNever)
}

func failed(env *mail.Envelope, r mail.Recipient, s mail.Standing, why string) Ruling {
	s.State, s.Due = mail.Failed, time.Time{}
	ruling := Ruling{Standing: s, Why: why}
	// DSN-6: told unless NOTIFY was given without FAILURE.
	if env.From != "" && (r.Notify == 0 || r.Notify.Has(mail.NotifyFailure)) {
		ruling.Tell = TellFailed
	}
	ruling.Standing.Reported = ruling.Tell == TellNothing
	return ruling
}

func deferred(env *mail.Envelope, r mail.Recipient, s mail.Standing, o mail.Outcome, f Facts, t Terms) Ruling {
	s.State = mail.Waiting
	if o.Result == mail.Untried {
		s.Due = f.Now.Add(untriedPause)
		return Ruling{Standing: s, Why: "not tried"}
	}
	s.Due = t.next(env, s.Tries, f.Now, f.Chance)
	if o.Ambiguous {
		s.Due = later(s.Due, f.Now.Add(ambiguousPause))
	}
	// At a deadline that only asks for word nothing is tried before its time, when
	// the peer may have the message (SH-6).
	if by := env.Params.By; by != nil && by.Deadline.After(f.Now) && by.Deadline.Before(s.Due) && (by.Return || !o.Ambiguous) {
		s.Due = by.Deadline
	}
	ruling := Ruling{Standing: s, Why: "deferred: " + o.Reply.String()}
	if noticeDue(env, r, f.Now, t) {
		ruling.Standing.Noticed, ruling.Tell = true, TellDelayed
	}
	return ruling
}

// Overdue says whether a recipient that still waits is at its end without
// another try: its life is over, or the sender's deadline has passed and
// asked for return (EXT-9).
func Overdue(env *mail.Envelope, r mail.Recipient, now time.Time, t Terms) (Ruling, bool) {
	by := env.Params.By
	switch {
	case by != nil && by.Return && !now.Before(by.Deadline):
		return failed(env, r, r.Standing, "the sender's deadline has passed"), true
	case !now.Before(t.expiry(env)):
		return failed(env, r, r.Standing, "expired: gave up after "+t.life(env).String()), true
	}
	return Ruling{}, false
}

// Notice says whether a recipient that goes on waiting is owed word of the
// delay now, and its standing with that noted.
func Notice(env *mail.Envelope, r mail.Recipient, now time.Time, t Terms) (Ruling, bool) {
	if !noticeDue(env, r, now, t) {
		return Ruling{}, false
	}
	s := r.Standing
	s.Noticed = true
	return Ruling{Standing: s, Tell: TellDelayed, Why: "still waiting"}, true
}

// noticeDue: Q-9, and EXT-9 for a deadline that passed in mode N. Once only.
func noticeDue(env *mail.Envelope, r mail.Recipient, now time.Time, t Terms) bool {
	if r.Noticed || env.From == "" || r.Notify.Has(mail.NotifyNever) {
		return false
	}
	if by := env.Params.By; by != nil && !by.Return && !now.Before(by.Deadline) {
		return true
	}
	wanted := r.Notify.Has(mail.NotifyDelay) || (r.Notify == 0 && env.Origin.Role.IsSubmission())
	return wanted && t.NotifyDelay > 0 && !now.Before(begin(env).Add(t.NotifyDelay))
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
