package queue

import (
	"context"
	"time"

	"paquebot/internal/mail"
)

// lineKey names a line of the spool's waiting index.
type lineKey struct {
	site     string
	tenant   string
	priority int
}

// line is what the queue knows of a line: when to look at it. Of its entries
// only those that are due are in memory, and of those only a window; what waits
// for later is in the spool alone.
type line struct {
	key     lineKey
	site    *site
	ready   int        // recipients of its parcels at the site
	next    time.Time  // when the spool has something due that is not in memory; zero: it has nothing
	cursor  mail.Entry // the spool was read up to here
	alarm   time.Time  // an alarm is set for then; zero: none
	loading bool
	noted   time.Time // the earliest due noted while it was read; zero: none
	rewind  bool      // something was noted before the cursor while it was read
}

// lineOf returns the line of a key, made if need be. The lock is held, as in
// all of this file but load.
func (q *Queue) lineOf(key lineKey) *line {
	l := q.lines[key]
	if l == nil {
		l = &line{key: key, site: q.siteOf(key.site)}
		q.lines[key] = l
		l.site.lines[key] = l
	}
	return l
}

// siteOf returns the site of that name, or the one that mail for a domain of
// that name was found to go to.
func (q *Queue) siteOf(name string) *site {
	if real, ok := q.hints[name]; ok {
		name = real
	}
	s := q.sites[name]
	if s == nil {
		s = &site{name: name, tenants: map[string]*tenant{}, lines: map[lineKey]*line{}}
		q.sites[name] = s
	}
	return s
}

// note says that the spool's index has an entry in a line that is not in
// memory, or may have.
func (q *Queue) note(key lineKey, due, now time.Time) {
	l := q.lineOf(key)
	if !due.After(l.cursor.Due) {
		l.cursor, l.rewind = mail.Entry{}, l.loading
	}
	if l.loading && (l.noted.IsZero() || due.Before(l.noted)) {
		l.noted = due
	}
	if l.next.IsZero() || due.Before(l.next) {
		l.next = due
	}
	q.want(l, now)
}

// want reads the next window of a line if it is time and there is room; else
// it makes sure that somebody asks again.
func (q *Queue) want(l *line, now time.Time) {
	switch {
	case l.loading || l.next.IsZero():
	case l.next.After(now):
		// Nothing legitimate but a release date is further away than the longest
		// pause; a clock that was set back makes it look so. So look by then.
		at := earlier(l.next, now.Add(q.horizon()))
		if l.alarm.IsZero() || at.Before(l.alarm) {
			l.alarm = at
			q.alarm(alarm{at: at, line: l})
		}
	case l.ready >= q.config.Window/2: // asked again when one is taken
	case l.site.until.After(now) || q.siteHeld(l.site.name): // asked again when the site wakes
	default:
		l.loading = true
		q.loads.push(l)
		q.spawn()
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// horizon is beyond the due time of anything that waits for a retry.
func (q *Queue) horizon() time.Duration { return q.config.longest() + time.Hour }

// load reads the next window of a line from the spool. The lock is not held.
func (q *Queue) load(ctx context.Context, l *line) {
	q.mu.Lock()
	cursor, limit := l.cursor, q.config.Window
	if len(q.known) >= q.config.WindowsMax {
		limit = max(limit/16, 1)
	}
	q.mu.Unlock()

	now := time.Now()
	entries, err := q.needs.Spool.Waiting(ctx, l.key.site, l.key.tenant, l.key.priority, cursor, limit)
	if err == nil {
		q.pullBack(ctx, entries, now)
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	l.loading = false
	if err != nil {
		l.next = now.Add(time.Minute) // the spool tells of its own troubles
	} else {
		l.cursor, l.next = q.window(l, entries, now)
		if l.next.IsZero() && len(entries) == limit {
			l.next = now // there is more
		}
	}
	if l.rewind {
		l.cursor, l.rewind = mail.Entry{}, false
	}
	if !l.noted.IsZero() && (l.next.IsZero() || l.noted.Before(l.next)) {
		l.next = l.noted
	}
	l.noted = time.Time{}
	q.enqueue(l.site)
	q.want(l, now)
	q.tidy(l)
}

// window takes the due ones of entries into memory, recipients of one message
// together. It returns how far it came and the first due time beyond.
func (q *Queue) window(l *line, entries []mail.Entry, now time.Time) (mail.Entry, time.Time) {
	cursor := l.cursor
	var p *parcel
	flush := func() {
		if p != nil {
			l.site.put(p)
		}
	}
	defer func() { flush() }()
	for _, e := range entries {
		if e.Due.After(now) {
			return cursor, e.Due
		}
		cursor = e
		k := entry{e.ID, e.Recipient}
		if _, ok := q.known[k]; ok {
			continue
		}
		if p == nil || p.id != e.ID || !p.due.Equal(e.Due) {
			flush()
			p = &parcel{id: e.ID, due: e.Due, line: l}
		}
		p.recipients = append(p.recipients, e.Recipient)
		q.known[k] = slot{parcel: p}
	}
	return cursor, time.Time{}
}

// pullBack makes entries due whose time is further away than can be: the clock
// was set back since. Mail to be released later is left alone (EXT-10).
func (q *Queue) pullBack(ctx context.Context, entries []mail.Entry, now time.Time) {
	limit := now.Add(q.horizon())
	for i := range entries {
		e := &entries[i]
		if e.Due.Before(limit) {
			continue
		}
		env, err := q.needs.Spool.Envelope(ctx, e.ID)
		if err != nil || !env.Params.ReleaseAt.Before(e.Due) {
			return
		}
		e.Due = now
	}
}

// idleMax is how many lines, and how many sites, may be kept that have nothing,
// so that a busy site is not forgotten between two messages (about 500 octets
// each). Beyond it they are forgotten at once, else by the watchdog.
const idleMax = 10_000

// tidy forgets a line that has nothing if there are many.
func (q *Queue) tidy(l *line) {
	if len(q.lines) > idleMax {
		q.dropLine(l)
	}
}

func (q *Queue) tidySite(s *site) {
	if len(q.sites) > idleMax {
		q.dropSite(s)
	}
}

// dropLine forgets a line that has nothing.
func (q *Queue) dropLine(l *line) {
	if l.ready > 0 || l.loading || !l.next.IsZero() || q.lines[l.key] != l {
		return
	}
	delete(q.lines, l.key)
	delete(l.site.lines, l.key)
	q.tidySite(l.site)
}

// dropSite forgets a site that has nothing to remember.
func (q *Queue) dropSite(s *site) {
	if len(s.lines) == 0 && s.ready == 0 && s.picked == 0 && s.permits == 0 && !s.until.After(time.Now()) && q.sites[s.name] == s {
		delete(q.sites, s.name)
	}
}
