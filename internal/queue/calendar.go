package queue

import (
	"container/heap"
	"context"
	"time"

	"paquebot/internal/mail"
)

// calendar says when to look at what. Alarms are not taken back: whoever is
// woken looks whether it still matters.
type calendar []alarm

type alarm struct {
	at    time.Time
	line  *line   // load it
	site  *site   // its gate may be open
	id    mail.ID // look at this message again
	rules bool    // a rule ends
	holds bool    // a hold ends
}

func (c calendar) Len() int           { return len(c) }
func (c calendar) Less(i, j int) bool { return c[i].at.Before(c[j].at) }
func (c calendar) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *calendar) Push(x any)        { *c = append(*c, x.(alarm)) }
func (c *calendar) Pop() any {
	old := *c
	a := old[len(old)-1]
	old[len(old)-1] = alarm{}
	*c = old[:len(old)-1]
	return a
}

func (c *calendar) set(a alarm) { heap.Push(c, a) }

// ring returns the next alarm that is due.
func (c *calendar) ring(now time.Time) (alarm, bool) {
	if len(*c) == 0 || (*c)[0].at.After(now) {
		return alarm{}, false
	}
	return heap.Pop(c).(alarm), true
}

// next is when the next alarm is due.
func (c calendar) next() (time.Time, bool) {
	if len(c) == 0 {
		return time.Time{}, false
	}
	return c[0].at, true
}

// keepTime rings the calendar's alarms.
func (q *Queue) keepTime(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-q.wake:
		}
		q.mu.Lock()
		now := time.Now()
		for a, ok := q.calendar.ring(now); ok; a, ok = q.calendar.ring(now) {
			q.rung(a, now)
		}
		next, ok := q.calendar.next()
		q.mu.Unlock()
		if ok {
			timer.Reset(max(time.Until(next), 0))
		}
	}
}

func (q *Queue) rung(a alarm, now time.Time) {
	switch {
	case a.line != nil:
		if a.line.alarm.Equal(a.at) {
			a.line.alarm = time.Time{}
		}
		if q.lines[a.line.key] == a.line {
			if a.line.next.After(now) && a.line.next.After(a.at) {
				a.line.next = now // the horizon: look whether the clock was set back
			}
			q.want(a.line, now)
		}
	case a.site != nil:
		if q.sites[a.site.name] == a.site {
			q.wakeSite(a.site, now)
		}
	case a.rules:
		q.wakeHolds()
	case a.holds:
		q.holdEnds = time.Time{}
		q.wakeHolds()
	default:
		q.visitLocked(a.id)
	}
}

// alarm sets an alarm. The lock is held.
func (q *Queue) alarm(a alarm) {
	first, ok := q.calendar.next()
	q.calendar.set(a)
	if !ok || a.at.Before(first) {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}
