package queue

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"paquebot/internal/mail"
)

// Status is how a recipient stands, seen from outside.
type Status string

const (
	StatusReady     Status = "ready"   // due, waits only for its turn
	StatusWaiting   Status = "waiting" // for its time, or for its site
	StatusHeld      Status = "held"
	StatusInAttempt Status = "in_attempt"
)

// Counts are recipients by status.
type Counts struct {
	Total     int64 `json:"total"`
	Ready     int64 `json:"ready"`
	Waiting   int64 `json:"waiting"`
	Held      int64 `json:"held"`
	InAttempt int64 `json:"in_attempt"`
}

func (c *Counts) add(s Status) {
	c.Total++
	switch s {
	case StatusReady:
		c.Ready++
	case StatusWaiting:
		c.Waiting++
	case StatusHeld:
		c.Held++
	case StatusInAttempt:
		c.InAttempt++
	}
}

// Summary is the queue at a glance.
type Summary struct {
	Counts
	Messages int64         `json:"messages"`
	At       time.Time     `json:"at"` // when it was counted
	Sites    []SiteSummary `json:"sites"`
	bySite   map[string]*SiteSummary
}

// SiteSummary is one site at a glance.
type SiteSummary struct {
	Site   string    `json:"site"`
	Oldest time.Time `json:"oldest"`        // arrival of its oldest message
	Next   time.Time `json:"next,omitzero"` // when something is tried next
	Why    string    `json:"why,omitempty"` // it is not tried now
	Counts
}

// census is the newest count of all.
type census struct {
	summary Summary
	took    time.Duration
}

// censusSlow is how long a count may take before Summary shows the newest one
// instead of counting again; the watchdog renews it.
const censusSlow = 200 * time.Millisecond

// sitesShownMax bounds a summary; what is beyond is counted under "(others)".
const sitesShownMax = 10_000

// Summary counts the live recipients by site. When that takes long, it shows
// the count the watchdog took last (see At).
func (q *Queue) Summary(ctx context.Context) (Summary, error) {
	q.mu.Lock()
	known := q.census
	q.mu.Unlock()
	if known.took > censusSlow {
		return known.summary, nil
	}
	var s Summary
	begin := time.Now()
	for env, err := range q.needs.Spool.Each(ctx, mail.ID{}) {
		if err != nil {
			return s, err
		}
		q.mu.Lock()
		for i := range env.Recipients {
			s.add(q, env, i, begin)
		}
		q.mu.Unlock()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.takeCensus(s, begin)
	return q.census.summary, ctx.Err()
}

// takeCensus keeps a count. The lock is held.
func (q *Queue) takeCensus(s Summary, begin time.Time) {
	s.At = begin
	s.Sites = make([]SiteSummary, 0, len(s.bySite))
	for name, at := range s.bySite {
		if known := q.sites[name]; known != nil {
			at.Why = q.whyOf(known, begin)
			at.Next = later(at.Next, known.until)
		}
		if rule := q.siteRule(name); rule != nil {
			at.Why, at.Next = "held: "+rule.Reason, rule.Until
		}
		s.Sites = append(s.Sites, *at)
	}
	slices.SortFunc(s.Sites, func(a, b SiteSummary) int {
		if a.Total != b.Total {
			return int(b.Total - a.Total)
		}
		return strings.Compare(a.Site, b.Site)
	})
	s.bySite = nil
	q.census = census{summary: s, took: time.Since(begin)}
}

// add counts a recipient. The queue's lock is held.
func (s *Summary) add(q *Queue, env *mail.Envelope, i int, now time.Time) {
	if i == 0 {
		s.Messages++
	}
	r := env.Recipients[i]
	if r.State.Final() {
		return
	}
	name := q.nameOf(r)
	at := s.bySite[name]
	if at == nil {
		if s.bySite == nil {
			s.bySite = map[string]*SiteSummary{}
		}
		if len(s.bySite) >= sitesShownMax {
			name = "(others)"
		}
		if at = s.bySite[name]; at == nil {
			at = &SiteSummary{Site: name}
			s.bySite[name] = at
		}
	}
	status := q.statusOf(env, i, now)
	s.Counts.add(status)
	at.Counts.add(status)
	if at.Oldest.IsZero() || env.Arrived.Before(at.Oldest) {
		at.Oldest = env.Arrived
	}
	if due := later(r.Due, now); r.State == mail.Waiting && (at.Next.IsZero() || due.Before(at.Next)) {
		at.Next = due
	}
}

// statusOf is how a live recipient stands. The lock is held.
func (q *Queue) statusOf(env *mail.Envelope, i int, now time.Time) Status {
	r := env.Recipients[i]
	if q.known[entry{env.ID, i}].leased() {
		return StatusInAttempt
	}
	name := q.nameOf(r)
	switch s := q.sites[name]; {
	case r.State == mail.Held || q.siteHeld(name):
		return StatusHeld
	case r.Due.After(now) || s != nil && s.backingOff():
		return StatusWaiting
	}
	return StatusReady
}

// Item is a live recipient in a list.
type Item struct {
	Envelope  *mail.Envelope
	Recipient int
	Status    Status
	Site      string
	Next      time.Time // next try; zero: now, or held without end
	Why       string    // what it waits for, "" if only for its turn
}

// List streams the live recipients that match, oldest message first, at any
// depth, those of messages after the ID given only (the zero ID: of all). It
// ends when the caller stops or ctx ends.
func (q *Queue) List(ctx context.Context, f Filter, after mail.ID) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for env, err := range q.listed(ctx, f.ID, after) {
			if err != nil {
				yield(Item{}, err)
				return
			}
			if env.ID == after {
				continue
			}
			for _, item := range q.items(env, f) {
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}

func (q *Queue) listed(ctx context.Context, id, after mail.ID) iter.Seq2[*mail.Envelope, error] {
	if id.IsZero() {
		return q.needs.Spool.Each(ctx, after)
	}
	return func(yield func(*mail.Envelope, error) bool) { yield(q.needs.Spool.Envelope(ctx, id)) }
}

func (q *Queue) items(env *mail.Envelope, f Filter) (items []Item) {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, r := range env.Recipients {
		if r.State.Final() || !f.matches(env, r, q.nameOf(r), now) {
			continue
		}
		item := Item{Envelope: env, Recipient: i, Status: q.statusOf(env, i, now), Site: q.nameOf(r), Next: r.Due}
		if f.Status != "" && f.Status != item.Status {
			continue
		}
		if s := q.sites[item.Site]; s != nil && item.Status != StatusInAttempt {
			item.Why, item.Next = q.whyOf(s, now), later(r.Due, s.until)
		}
		if rule := q.siteRule(item.Site); rule != nil {
			item.Why, item.Next = "held: "+rule.Reason, rule.Until
		}
		if item.Why == "" && r.Last.Result == mail.Deferred {
			item.Why = r.Last.Reply.String()
		}
		items = append(items, item)
	}
	return items
}
