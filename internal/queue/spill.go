package queue

import (
	"context"
	"time"

	"paquebot/internal/mail"
)

// spillBatch is how many parcels are written into the index at a time.
const spillBatch = 500

// relieve makes room for fresh messages: when half of it is taken, what is
// fresh for a site that takes no mail now is written into the index, so that a
// dead site does not take the memory of the living. The lock is held.
func (q *Queue) relieve(s *site) {
	if q.fresh > q.config.FreshMax/2 && s.backingOff() && s.ready > 0 && !s.spilling {
		s.spilling = true
		q.spills.push(s)
		q.spawn()
	}
}

// spillSite writes a site's ready parcels into the index, as long as it takes
// no mail. Those that are there already are just forgotten.
func (q *Queue) spillSite(ctx context.Context, s *site) {
	for {
		q.mu.Lock()
		var batch []*parcel
		for s.ready > 0 && len(batch) < spillBatch && s.until.After(time.Now()) {
			if p := s.take(); q.lease(p) {
				batch = append(batch, p)
			}
		}
		if len(batch) == 0 {
			s.spilling = false
			q.enqueue(s)
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		if err := q.insist(ctx, func(ctx context.Context) error { return q.needs.Spool.Record(ctx, spilled(s, batch)) }); err != nil {
			return // being stopped
		}
		q.mu.Lock()
		now := time.Now()
		for _, p := range batch {
			key := p.line.key
			if p.fresh {
				key.site = s.name
			}
			for _, r := range p.recipients {
				q.unlease(p.id, r)
			}
			q.note(key, p.due, now)
			q.lineOf(key).cursor = mail.Entry{}
		}
		q.mu.Unlock()
	}
}

// spilled is the standing of fresh recipients that nobody has tried: to wait
// for the site since they came.
func spilled(s *site, batch []*parcel) (updates []mail.Update) {
	for _, p := range batch {
		if !p.fresh {
			continue
		}
		for _, r := range p.recipients {
			updates = append(updates, mail.Update{Message: p.id, Recipient: r, Standing: mail.Standing{Due: p.due, Site: s.name}})
		}
	}
	return updates
}
