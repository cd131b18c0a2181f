package queue

import (
	"context"
	"errors"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// unreadable handles a message that could not be opened: it is over, or the
// spool is in trouble and it is looked at again later. One that is damaged lives
// on until it expires, for the disk may come to its senses; somebody should know.
func (q *Queue) unreadable(p *parcel, err error) {
	if errors.Is(err, mail.ErrDamaged) && q.firstTrouble(p.id) {
		q.needs.Events.Emit(event.SpoolTroubled{Operation: "read " + p.id.String(), Error: err.Error()})
	}
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range p.recipients {
		q.unlease(p.id, r)
	}
	switch {
	case errors.Is(err, mail.ErrNotFound):
	case p.fresh:
		q.alarm(alarm{at: now.Add(time.Minute), id: p.id})
	default:
		q.note(p.line.key, now.Add(time.Minute), now)
		p.line.cursor = mail.Entry{}
	}
}

// stillDue leaves in the parcel those recipients that wait and are due, and
// takes in companions: others of the message that are due at the same site
// . Those at their end, or under an operator's rule, are concluded here.
func (q *Queue) stillDue(ctx context.Context, env *mail.Envelope, p *parcel) bool {
	now := time.Now()
	isDue := func(r mail.Recipient) bool {
		return r.State == mail.Waiting && !r.Due.After(now.Add(q.slack(r, now)))
	}
	if !p.fresh {
		q.takeCompanions(ctx, env, p, isDue)
	}
	q.mu.Lock()
	var due []int
	for _, i := range p.recipients {
		if isDue(env.Recipients[i]) {
			due = append(due, i)
			continue
		}
		q.unlease(p.id, i)
		if r := env.Recipients[i]; r.State == mail.Waiting {
			q.note(lineKey{r.Site, env.Tenant(), env.Params.Priority}, r.Due, now)
		}
	}
	q.mu.Unlock()
	p.recipients = due
	var over []verdict
	over, p.recipients = q.atEnd(env, p.recipients, now)
	q.conclude(ctx, env, over)
	return len(p.recipients) > 0
}

// takeCompanions leases the others of the message that are due at the same site.
// If there are any the message is read again: the first reading may be older
// than an attempt for one of them that has just ended.
func (q *Queue) takeCompanions(ctx context.Context, env *mail.Envelope, p *parcel, isDue func(mail.Recipient) bool) {
	var others []int
	q.mu.Lock()
	for i, r := range env.Recipients {
		if isDue(r) && r.Site == p.line.key.site {
			others = append(others, i)
		}
	}
	others = q.leaseAlso(p, others)
	q.mu.Unlock()
	if len(others) == 0 {
		return
	}
	now, err := q.needs.Spool.Envelope(ctx, env.ID)
	if err != nil {
		q.mu.Lock()
		q.letBe(env, others, err)
		q.mu.Unlock()
		return
	}
	for _, i := range others {
		env.Recipients[i].Standing = now.Recipients[i].Standing
	}
	p.recipients = append(p.recipients, others...)
}

// slack lets recipients pass whose due time cannot be (see pullBack).
func (q *Queue) slack(r mail.Recipient, now time.Time) time.Duration {
	if r.Due.After(now.Add(q.horizon())) {
		return r.Due.Sub(now)
	}
	return 0
}

// atEnd separates those that are not to be tried any more: they were tried and
// their life is over, or an operator's rule says what becomes of them.
func (q *Queue) atEnd(env *mail.Envelope, recipients []int, now time.Time) (over []verdict, rest []int) {
	for _, i := range recipients {
		r := env.Recipients[i]
		if ruling, ok := q.ruled(env, r, now); ok {
			over = append(over, verdict{recipient: i, Ruling: ruling})
			continue
		}
		byNow := env.Params.By != nil && env.Params.By.Return && !now.Before(env.Params.By.Deadline)
		if ruling, ok := Overdue(env, r, now, q.config.Terms); ok && (r.Tries > 0 || byNow) {
			over = append(over, verdict{recipient: i, Ruling: ruling})
			continue
		}
		rest = append(rest, i)
	}
	return over, rest
}
