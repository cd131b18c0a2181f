package queue

import (
	"cmp"
	"strings"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// site is what the scheduler knows of a receiving operation: what is ready for
// it, and whether it may be tried. A hint (a domain whose route is not known
// yet) is a site too, with routed unset.
type site struct {
	name    string
	tenants map[string]*tenant // with parcels ready
	turn    turns[*tenant]
	lines   map[lineKey]*line // that wait for it
	ready   int               // parcels in memory
	queued  bool              // in Queue.turn

	routed   bool          // a route has named it
	sources  []mail.Source // of the newest route to it
	picked   int           // parcels taken and not yet done with
	spilling bool          // its fresh parcels are being written into the index

	// gates
	notBefore time.Time // the shaper's: rate
	full      bool      // the shaper's: until a permit comes back
	permits   int       // of the shaper, in use

	// health
	failures int // attempts that found no one, in a row
	until    time.Time
	lastOK   time.Time
	last     mail.Outcome // of the newest failure: what those never tried are told at their end
}

// hintsMax is how many parcels of a domain are routed at once before its site
// is known, unsortedMax of those for several domains: a slow DNS server must not
// hold all workers.
const (
	hintsMax    = 4
	unsortedMax = 100
)

// troubleMax is how many attempts in a row may fail at a site that worked
// within the last minute before it is left alone: one lost host of many, or one
// connection too many, is no dead site.
const troubleMax = 5

// backingOff reports whether the site is known not to take mail now. When the
// pause is over it still is, until a probe has succeeded.
func (s *site) backingOff() bool { return !s.until.IsZero() }

// open reports whether a parcel may be taken now.
func (s *site) open(now time.Time) bool {
	switch {
	case s.full || s.notBefore.After(now):
		return false
	case s.backingOff(): // one probe at a time
		return !s.until.After(now) && s.picked == 0
	case s.name == unsorted:
		return s.picked < unsortedMax
	case !s.routed:
		return s.picked < hintsMax
	}
	return true
}

// why says in plain words what a site's mail waits for; "" if for nothing.
func (s *site) why(now time.Time) string {
	switch {
	case s.until.After(now):
		return "backing off: " + s.last.Reply.String()
	case s.backingOff():
		return "being probed after: " + s.last.Reply.String()
	case s.notBefore.After(now):
		return "message rate"
	case s.full:
		return "all connections in use"
	}
	return ""
}

// whyOf adds what others know of a site. That it is stopped or out of quota is
// the reason for all the rest. The lock is held.
func (q *Queue) whyOf(s *site, now time.Time) string {
	why := s.why(now)
	if q.needs.Remark == nil {
		return why
	}
	remark := q.needs.Remark(s.name)
	if why == "" || strings.HasPrefix(remark, "stopped: ") || strings.HasPrefix(remark, "quota: ") {
		return cmp.Or(remark, why)
	}
	return why
}

// block closes the shaper's gate. The queue's lock is held.
func (q *Queue) block(s *site, now time.Time, wait time.Duration) {
	switch {
	case wait > 0:
	case s.permits > 0:
		s.full = true // opened by the next permit given back
		return
	default:
		wait = time.Second // full of permits that are not ours: ask again
	}
	s.notBefore = now.Add(wait)
	q.alarm(alarm{at: s.notBefore, site: s})
}

// siteTrouble reports that nobody at the site could be talked to: the failure
// is the site's, not the message's.
func siteTrouble(o mail.Outcome) bool {
	if o.Result != mail.Deferred {
		return false
	}
	switch o.Stage {
	case mail.StageConnect, mail.StageGreeting, mail.StageEhlo, mail.StageStartTLS, mail.StageAuth:
		return o.Reach >= mail.ThisHost
	}
	return o.Reach == mail.ThisSite
}

// learn updates a site's health from an attempt. The lock is held; events to
// emit after it is released are returned.
func (q *Queue) learn(s *site, outcomes []mail.Outcome, now time.Time) []event.Event {
	var trouble *mail.Outcome
	tried := false
	for i, o := range outcomes {
		if siteTrouble(o) {
			trouble = &outcomes[i]
		}
		tried = tried || o.Result != mail.Untried
	}
	switch {
	case !tried:
		return nil
	case trouble == nil:
		return q.healthy(s, now)
	}
	s.failures++
	s.last = *trouble
	if now.Sub(s.lastOK) < time.Minute && s.failures < troubleMax {
		return nil
	}
	return q.backOff(s, now)
}

func (q *Queue) healthy(s *site, now time.Time) []event.Event {
	was := s.backingOff()
	s.failures, s.until, s.lastOK = 0, time.Time{}, now
	if !was {
		return nil
	}
	q.wakeSite(s, now)
	return []event.Event{event.SiteResumed{Site: s.name}}
}

// backOff leaves a site alone: one record here, not a rewrite of its messages.
func (q *Queue) backOff(s *site, now time.Time) []event.Event {
	if s.until.After(now) {
		return nil // attempts that began before the pause end within it
	}
	n := min(max(s.failures, 1), len(q.config.BackOff)) - 1
	pause := Terms{Retry: q.config.BackOff[n : n+1], Jitter: q.config.Jitter}.pause(1, q.rand())
	s.until = now.Add(pause)
	q.alarm(alarm{at: s.until, site: s})
	q.relieve(s)
	return []event.Event{event.SiteBackedOff{Site: s.name, Until: s.until, Why: string(s.last.Stage), Reply: s.last.Reply}}
}

// Reopen ends the back-off of a site: its mail goes another way now.
func (q *Queue) Reopen(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.sites[name]; s != nil && s.backingOff() {
		s.until, s.failures = time.Time{}, 0
		q.wakeSite(s, time.Now())
	}
}

// wakeSite looks again whether a site's gate is open and its windows filled.
func (q *Queue) wakeSite(s *site, now time.Time) {
	q.enqueue(s)
	for _, l := range s.lines {
		q.want(l, now)
	}
}
