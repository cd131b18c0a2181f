package queue

import (
	"time"

	"paquebot/internal/mail"
)

// slot is what the queue knows of a recipient in memory: the parcel it is in,
// and whether that is being worked on. One node is a cluster of one, so a lease
// is a note in memory; it ends with the process.
type slot struct {
	parcel *parcel
	until  time.Time // zero: not leased
}

func (s slot) leased() bool { return !s.until.IsZero() }

// lease takes the right to work on a parcel's recipients. Those that somebody
// else dealt with since they were lined up leave the parcel; false if none is
// left. The lock is held, as in all of this file.
func (q *Queue) lease(p *parcel) bool {
	until := time.Now().Add(q.config.AttemptTime + leaseGrace)
	mine := p.recipients[:0]
	for _, r := range p.recipients {
		k := entry{p.id, r}
		if s, ok := q.known[k]; !ok || s.parcel != p || s.leased() {
			continue
		}
		q.known[k] = slot{parcel: p, until: until}
		mine = append(mine, r)
	}
	p.recipients = mine
	return len(mine) > 0
}

// leaseGrace is what settling may take beyond the attempt itself.
const leaseGrace = 10 * time.Minute

// leaseAlso takes recipients of the same message into a leased parcel, or into
// a visit, unless they are leased already. What it returns was taken.
func (q *Queue) leaseAlso(p *parcel, recipients []int) []int {
	until := time.Now().Add(q.config.AttemptTime + leaseGrace)
	var taken []int
	for _, r := range recipients {
		k := entry{p.id, r}
		s, ok := q.known[k]
		if ok && s.leased() {
			continue
		}
		if ok && s.parcel.fresh {
			q.fresh-- // it was lined up elsewhere; that parcel finds it gone
		}
		q.known[k] = slot{parcel: p, until: until}
		if p.fresh {
			q.fresh++
		}
		taken = append(taken, r)
	}
	return taken
}

// unlease ends the work on a recipient; it is no longer in memory.
func (q *Queue) unlease(id mail.ID, recipient int) {
	k := entry{id, recipient}
	if s, ok := q.known[k]; ok {
		if s.parcel.fresh {
			q.fresh--
		}
		delete(q.known, k)
	}
}

// lineUp puts leased recipients of p back in line, at another site perhaps.
func (q *Queue) lineUp(p *parcel) {
	for _, r := range p.recipients {
		q.known[entry{p.id, r}] = slot{parcel: p}
	}
	p.line.site.put(p)
	q.enqueue(p.line.site)
}
