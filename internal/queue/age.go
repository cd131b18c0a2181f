package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Ages. What waits behind a site's back-off is not tried and not rewritten, yet
// its expiry is exact and its delay is told in time. IDs are ordered by time, so
// for each age that matters a walker goes through the live messages in ID order,
// in step with the clock, and visits each message once, when it comes of that
// age. What has a time of its own (DELIVERBY) gets an alarm.

// walker visits messages when they come of an age.
type walker struct {
	age  time.Duration
	from mail.ID
}

// agesEvery is the least time between two looks of a walker: how exact an age
// is when messages arrive in a stream.
const agesEvery = time.Second

// untriedGrace is how long after its start the queue lets messages live that
// came of age while it was down, so that each gets a try.
const untriedGrace = time.Hour

func (q *Queue) keepAges(ctx context.Context) {
	started := time.Now()
	walkers := []*walker{{age: q.config.ExpireNull}, {age: q.config.Expire}}
	if d := q.config.NotifyDelay; d > 0 {
		// What came of age earlier is told at its next try (Settle).
		walkers = append(walkers, &walker{age: d, from: idAt(started.Add(-d))})
	}
	for {
		now := time.Now()
		next := now.Add(q.config.Expire)
		for _, w := range walkers {
			next = earlier(next, q.walk(ctx, w, now))
		}
		timer := time.NewTimer(max(time.Until(next), agesEvery))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// walk visits those that came of age, and returns when the next one does.
func (q *Queue) walk(ctx context.Context, w *walker, now time.Time) time.Time {
	limit := now.Add(-w.age)
	for env, err := range q.needs.Spool.Each(ctx, w.from) {
		if err != nil {
			return now.Add(time.Minute)
		}
		if env.ID.Time().After(limit) {
			return env.ID.Time().Add(w.age)
		}
		w.from = after(env.ID)
		if q.concerns(env, now) {
			q.revisit(ctx, env.ID)
		}
	}
	return now.Add(w.age)
}

// concerns reports whether an age means something to a message: most of those
// that a walker passes are looked at and left.
func (q *Queue) concerns(env *mail.Envelope, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return anyRecipient(env, func(r mail.Recipient) bool {
		_, ok := q.look(env, r, now)
		return ok
	})
}

// idAt is before every ID made at t or later.
func idAt(t time.Time) (id mail.ID) {
	binary.BigEndian.PutUint64(id[:8], uint64(max(t.UnixMilli(), 0))<<20)
	return id
}

// after is the ID that follows.
func after(id mail.ID) mail.ID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	return id
}

// watchDeadline sets an alarm for a message's own deadline (EXT-9).
func (q *Queue) watchDeadline(env *mail.Envelope, now time.Time) {
	if by := env.Params.By; by != nil && by.Deadline.After(now) {
		q.mu.Lock()
		q.alarm(alarm{at: by.Deadline, id: env.ID})
		q.mu.Unlock()
	}
}

// visit has a worker look at a message again.
func (q *Queue) visit(id mail.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.visitLocked(id)
}

func (q *Queue) visitLocked(id mail.ID) {
	if !q.visiting[id] {
		q.visiting[id] = true
		q.visits.push(id)
		q.spawn()
	}
}

// revisit does what time has made due for a message without a try: it expires,
// tells of a delay, ends a hold, sends a report that is owed, finishes.
func (q *Queue) revisit(ctx context.Context, id mail.ID) {
	env, err := q.needs.Spool.Envelope(ctx, id)
	if errors.Is(err, mail.ErrNotFound) {
		return
	}
	now := time.Now()
	if err != nil {
		q.mu.Lock()
		q.alarm(alarm{at: now.Add(time.Minute), id: id})
		q.mu.Unlock()
		return
	}
	env, vs := q.change(ctx, env, func(_ int, r mail.Recipient) (Ruling, bool) { return q.look(env, r, now) })
	q.conclude(ctx, env, vs)
	if len(vs) == 0 {
		q.finish(ctx, env)
	}
	q.adopt(ctx, env)
}

// change leases the recipients for which what has a ruling, reads the message
// again, and returns it with the rulings on what it is now: what was read before
// the lease may be older than an attempt that has just ended, and must not be
// written over its outcome. Recipients that are being tried are left to their
// attempt. What is called with the lock held.
func (q *Queue) change(ctx context.Context, env *mail.Envelope, what func(int, mail.Recipient) (Ruling, bool)) (*mail.Envelope, []verdict) {
	p := &parcel{id: env.ID}
	q.mu.Lock()
	var mine []int
	for i, r := range env.Recipients {
		if _, ok := what(i, r); ok {
			mine = append(mine, q.leaseAlso(p, []int{i})...)
		}
	}
	q.mu.Unlock()
	if len(mine) == 0 {
		return env, nil
	}
	now, err := q.needs.Spool.Envelope(ctx, env.ID)
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		q.letBe(env, mine, err)
		return env, nil
	}
	var vs []verdict
	for _, i := range mine {
		r := now.Recipients[i]
		ruling, ok := what(i, r)
		if !ok {
			q.letBe(now, []int{i}, nil)
			continue
		}
		if s := &ruling.Standing; s.State == mail.Waiting && s.Due.IsZero() {
			s.Due = time.Now() // was fresh; it is in the index from now on
		}
		if ruling.Standing.Site == "" {
			ruling.Standing.Site = mail.Domain(r.Address)
		}
		vs = append(vs, verdict{recipient: i, Ruling: ruling})
	}
	return now, vs
}

// letBe ends the leases of recipients to which nothing was done after all, and
// sees to it that they are looked at again. The lock is held.
func (q *Queue) letBe(env *mail.Envelope, recipients []int, err error) {
	now := time.Now()
	again := now
	switch {
	case errors.Is(err, mail.ErrNotFound):
		again = time.Time{}
	case err != nil:
		again = now.Add(time.Minute)
		q.alarm(alarm{at: again, id: env.ID})
	}
	for _, i := range recipients {
		q.unlease(env.ID, i)
		switch r := env.Recipients[i]; {
		case r.State != mail.Waiting || again.IsZero():
		case !r.Due.IsZero():
			key := lineKey{r.Site, env.Tenant(), env.Params.Priority}
			q.lineOf(key).cursor = mail.Entry{}
			q.note(key, later(r.Due, again), now)
		case err == nil:
			q.lineUpFresh(env, []int{i}, now)
		}
	}
}

// look says what time has made of a recipient.
func (q *Queue) look(env *mail.Envelope, r mail.Recipient, now time.Time) (Ruling, bool) {
	switch {
	case r.State == mail.Held && !r.Due.IsZero() && !r.Due.After(now):
		s := r.Standing
		s.State, s.Due = mail.Waiting, now
		return Ruling{Standing: s, Why: "the hold has ended"}, true
	case r.State.Final() && !r.Reported:
		tell := owed(env, r)
		s := r.Standing
		s.Reported = tell == TellNothing // or it would be looked at for ever
		return Ruling{Standing: s, Tell: tell, Why: "to be told"}, true
	case r.State != mail.Waiting:
		return Ruling{}, false
	}
	name := q.nameOf(r)
	if q.siteHeld(name) {
		return Ruling{}, false // like what is held one by one: its next try looks at its age
	}
	s := q.sites[name]
	if r.Last.Result == mail.Untried {
		r.Last = neverTried(s, now)
	}
	if ruling, ok := Overdue(env, r, now, q.config.Terms); ok {
		return ruling, r.Tries > 0 || env.Params.By != nil || (s != nil && s.backingOff()) || now.Sub(q.started) > untriedGrace
	}
	// Its ID is a little older than it is; one released later has its own clock.
	if end := q.config.expiry(env); end.Sub(now) < time.Hour || !env.Params.ReleaseAt.IsZero() {
		q.alarm(alarm{at: end, id: env.ID})
	}
	return Notice(env, r, now, q.config.Terms)
}

func (q *Queue) nameOf(r mail.Recipient) string {
	name := r.Site
	if name == "" {
		name = mail.Domain(r.Address)
	}
	if real, ok := q.hints[name]; ok {
		return real
	}
	return name
}

// neverTried is why a message is at its end that was never tried itself: what
// its site said to others.
func neverTried(s *site, now time.Time) mail.Outcome {
	if s != nil && s.last.Result != mail.Untried {
		return s.last
	}
	return mail.Outcome{Result: mail.Deferred, Reply: smtp.NoHost, Ours: true, Stage: mail.StageRoute, At: now}
}

// owed is what a final recipient asks to be told, as far as its standing knows.
func owed(env *mail.Envelope, r mail.Recipient) Tell {
	success := env.From != "" && r.Notify.Has(mail.NotifySuccess)
	switch {
	case r.State == mail.Failed && failed(env, r, r.Standing, "").Tell == TellFailed:
		return TellFailed
	case r.State == mail.Delivered && (success || toldByDeadline(env, r)) && r.Last.NoDSN:
		return TellRelayed
	case r.State == mail.Delivered && success:
		return TellDelivered
	case r.State == mail.Expanded && success:
		return TellExpanded
	}
	return TellNothing
}

// adopt writes recipients into the index that wait, are not in it and not in
// memory. They are leased first and read again then: what was read before may
// be older than an attempt that has just ended, and writing Waiting over its
// outcome would deliver the message twice.
func (q *Queue) adopt(ctx context.Context, env *mail.Envelope) {
	var strays []int
	p := &parcel{id: env.ID}
	q.mu.Lock()
	for i, r := range env.Recipients {
		if _, ok := q.known[entry{env.ID, i}]; !ok && r.State == mail.Waiting && r.Due.IsZero() {
			strays = append(strays, q.leaseAlso(p, []int{i})...)
		}
	}
	q.mu.Unlock()
	if len(strays) == 0 {
		return
	}
	env, err := q.needs.Spool.Envelope(ctx, env.ID)
	now := time.Now()
	var vs []verdict
	q.mu.Lock()
	for _, i := range strays {
		if err != nil || env.Recipients[i].State != mail.Waiting || !env.Recipients[i].Due.IsZero() {
			q.unlease(p.id, i)
			continue
		}
		s := env.Recipients[i].Standing
		s.Due, s.Site = later(now, env.Params.ReleaseAt), mail.Domain(env.Recipients[i].Address)
		vs = append(vs, verdict{recipient: i, quiet: true, Ruling: Ruling{Standing: s}})
	}
	if err != nil && !errors.Is(err, mail.ErrNotFound) {
		q.alarm(alarm{at: now.Add(time.Minute), id: p.id})
	}
	q.mu.Unlock()
	q.conclude(ctx, env, vs)
}
