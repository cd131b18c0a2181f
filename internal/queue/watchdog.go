package queue

import (
	"context"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// watchShare bounds what the watchdog costs: it rests so many times as long as
// it took, however deep the queue is.
const watchShare = 20

// keepWatch checks promise P2 now and then, and takes the census on the way.
func (q *Queue) keepWatch(ctx context.Context) {
	timer := time.NewTimer(min(time.Minute, q.config.WatchEvery))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		begin := time.Now()
		_ = q.Watch(ctx)
		timer.Reset(max(q.config.WatchEvery, watchShare*time.Since(begin)))
	}
}

// Watch compares every live recipient in the spool with what the queue knows of
// it. One without a next event gets one, and is counted (P2).
func (q *Queue) Watch(ctx context.Context) error {
	var ran event.WatchdogRan
	var count Summary
	begin := time.Now()
	for env, err := range q.needs.Spool.Each(ctx, mail.ID{}) {
		if err != nil {
			return err
		}
		now := time.Now()
		doubtful := false
		q.mu.Lock()
		for i, r := range env.Recipients {
			count.add(q, env, i, now)
			if !r.State.Final() {
				ran.Recipients++
			}
			doubtful = doubtful || !q.hasNext(env, i, now)
		}
		q.mu.Unlock()
		// A message that is being accepted at this moment is not yet ours.
		if doubtful && now.Sub(env.Arrived) > time.Minute {
			ran.Stray += q.repair(ctx, env.ID)
		}
	}
	q.mu.Lock()
	q.takeCensus(count, begin)
	ran.Stray += q.stalled(time.Now())
	q.mu.Unlock()
	q.needs.Events.Emit(ran)
	return ctx.Err()
}

// hasNext reports whether a recipient has exactly one next event. The lock is
// held.
func (q *Queue) hasNext(env *mail.Envelope, i int, now time.Time) bool {
	r := env.Recipients[i]
	if s, ok := q.known[entry{env.ID, i}]; ok {
		return !s.leased() || s.until.After(now)
	}
	switch {
	case r.State.Final():
		return r.Reported && !allOver(env)
	case r.State == mail.Held:
		return r.Due.IsZero() || r.Due.After(now) && !q.holdEnds.IsZero() && !q.holdEnds.After(r.Due)
	}
	l := q.lines[lineKey{r.Site, env.Tenant(), env.Params.Priority}]
	return !r.Due.IsZero() && l != nil && (l.loading || !l.next.IsZero() && !l.next.After(later(r.Due, now)))
}

// repair looks at a doubtful message again, and gives each recipient that has
// no next event one. The spool and the scheduler are not read at one moment, so
// a doubt counts only if it is there twice: what was settled between the first
// reading and the first doubt is seen by the second reading.
func (q *Queue) repair(ctx context.Context, id mail.ID) (strays int64) {
	for again := range 2 {
		env, err := q.needs.Spool.Envelope(ctx, id)
		if err != nil {
			return 0
		}
		now := time.Now()
		q.mu.Lock()
		doubtful := 0
		for i := range env.Recipients {
			if !q.hasNext(env, i, now) {
				doubtful++
				if again == 1 {
					strays++
					q.giveNext(env, i, now)
				}
			}
		}
		q.mu.Unlock()
		if doubtful == 0 {
			return 0
		}
	}
	q.revisit(ctx, id)
	return strays
}

// giveNext notes when to look at a recipient next. The lock is held.
func (q *Queue) giveNext(env *mail.Envelope, i int, now time.Time) {
	q.unlease(env.ID, i) // of a lease that ran out
	switch r := env.Recipients[i]; {
	case r.State == mail.Held && !r.Due.IsZero():
		q.noteHold(later(r.Due, now))
	case r.State == mail.Waiting && !r.Due.IsZero():
		key := lineKey{r.Site, env.Tenant(), env.Params.Priority}
		q.lineOf(key).cursor = mail.Entry{}
		q.note(key, r.Due, now)
	}
}

// stalled counts and wakes sites that have mail ready, an open gate and no
// turn. There are none, unless the scheduler has a fault. What is idle is
// forgotten on the way. The lock is held.
func (q *Queue) stalled(now time.Time) (n int64) {
	for _, l := range q.lines {
		q.dropLine(l)
	}
	for _, s := range q.sites {
		q.dropSite(s)
		if s.ready > 0 && !s.queued && s.open(now.Add(-time.Second)) && // its alarm may ring at this moment
			!q.siteHeld(s.name) {
			n += int64(s.ready)
			q.enqueue(s)
		}
	}
	return n
}
