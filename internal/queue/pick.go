package queue

import (
	"time"

	"paquebot/internal/mail"
)

// job is what a worker does next: read a line, write a site's fresh parcels into
// the index, look at a message again, or try a parcel.
type job struct {
	load    *line
	revisit mail.ID
	spill   *site
	parcel  *parcel
	site    *site   // where the parcel was taken
	permit  *permit // nil: none yet
}

// permit is the shaper's leave to make one attempt at a site.
type permit struct {
	site    *site
	source  mail.Source
	release func([]mail.Outcome) // nil once it was given back
}

// enqueue gives a site its turn if it has something ready. The lock is held, as
// in all of this file.
func (q *Queue) enqueue(s *site) {
	if s.ready > 0 && !s.queued {
		s.queued = true
		q.turn.push(s)
	}
	q.spawn()
}

// spawn starts a worker if there is work and room.
func (q *Queue) spawn() {
	if q.running && q.workers < q.config.AttemptsMax && (q.turn.len() > 0 || q.loads.len() > 0 || q.visits.len() > 0 || q.spills.len() > 0) {
		q.workers++
		q.wait.Go(q.worker)
	}
}

// worker works until there is nothing to do.
func (q *Queue) worker() {
	for {
		q.mu.Lock()
		j, ok := q.pick(time.Now())
		if !ok {
			q.workers--
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		q.do(j)
	}
}

func (q *Queue) do(j job) {
	switch {
	case j.load != nil:
		q.load(q.hard, j.load)
	case j.spill != nil:
		q.spillSite(q.hard, j.spill)
	case j.parcel != nil:
		q.try(q.hard, &j)
		q.mu.Lock()
		j.site.picked--
		q.enqueue(j.site)
		q.tidy(j.parcel.line)
		q.tidySite(j.site)
		q.mu.Unlock()
	default:
		q.revisit(q.hard, j.revisit)
	}
}

// pick says what to do next: windows first, for they are quick and fill the
// sites; then sites in turn, none waits for another.
func (q *Queue) pick(now time.Time) (job, bool) {
	if !q.running {
		return job{}, false
	}
	if q.loads.len() > 0 {
		return job{load: q.loads.pop()}, true
	}
	if q.spills.len() > 0 {
		return job{spill: q.spills.pop()}, true
	}
	if q.visits.len() > 0 {
		id := q.visits.pop()
		delete(q.visiting, id)
		return job{revisit: id}, true
	}
	for q.turn.len() > 0 { // a site comes again only after it lost a parcel
		s := q.turn.pop()
		s.queued = false
		if j, ok := q.pickAt(s, now); ok {
			return j, true
		}
	}
	return job{}, false
}

// pickAt takes a parcel of a site if its gates are open. A site that is passed
// over gets its turn again from whoever opens the gate.
func (q *Queue) pickAt(s *site, now time.Time) (job, bool) {
	if s.ready == 0 || !s.open(now) || q.siteHeld(s.name) {
		return job{}, false
	}
	j := job{site: s}
	if s.routed {
		var ok bool
		if j.permit, ok = q.acquire(s, s.sources, now); !ok {
			return job{}, false
		}
	}
	p := s.take()
	q.enqueue(s)
	q.want(p.line, now)
	if !q.lease(p) {
		q.giveBack(j.permit, nil)
		return job{}, false // it was dealt with meanwhile
	}
	s.picked++
	j.parcel = p
	return j, true
}

// acquire asks the shaper for a permit, and closes the site's gate if there is
// none. Lock order: the queue's, then the shaper's.
func (q *Queue) acquire(s *site, sources []mail.Source, now time.Time) (*permit, bool) {
	source, release, wait := q.needs.Shaper.Acquire(s.name, sources)
	if release == nil {
		q.block(s, now, wait)
		return nil, false
	}
	s.permits++
	return &permit{site: s, source: source, release: release}, true
}

// giveBack returns a permit with what was learnt; nil if it was not used.
func (q *Queue) giveBack(p *permit, learnt []mail.Outcome) {
	if p == nil || p.release == nil {
		return
	}
	p.release(learnt)
	p.release = nil
	p.site.permits--
	p.site.full = false
	q.enqueue(p.site)
}
