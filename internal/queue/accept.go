package queue

import (
	"time"

	"paquebot/internal/mail"
)

// Accept takes over a durable message: fresh from a session, or recovered.
// Recipients that the waiting index has already (their Due is set) are left to
// it. It waits only when the memory for fresh messages is full: then the
// message is written into the index, and the sender feels it.
func (q *Queue) Accept(env *mail.Envelope) {
	var fresh []int
	for i, r := range env.Recipients {
		if r.State == mail.Waiting && r.Due.IsZero() {
			fresh = append(fresh, i)
		}
	}
	now := time.Now()
	q.watchDeadline(env, now)
	if anyRecipient(env, func(r mail.Recipient) bool { return r.State.Final() && !r.Reported }) {
		q.visit(env.ID) // an alias whose expansion is to be told (RFC 3461 §5.2.7.3)
	}
	if len(fresh) == 0 {
		return
	}
	if release := env.Params.ReleaseAt; release.After(now) {
		q.spill(env, fresh, release) // EXT-10
		return
	}
	q.mu.Lock()
	full := q.fresh+len(fresh) > q.config.FreshMax
	if !full {
		q.lineUpFresh(env, fresh, now)
	}
	q.mu.Unlock()
	if full {
		q.spill(env, fresh, now)
	}
}

// lineUpFresh lines fresh recipients up at their sites. Those whose site is not
// known yet make one parcel: its worker routes them and groups them by site, so
// that they go in one attempt if they can, and none waits behind the site
// of another. The lock is held.
func (q *Queue) lineUpFresh(env *mail.Envelope, recipients []int, now time.Time) {
	groups := map[string][]int{}
	for _, r := range recipients {
		if _, ok := q.known[entry{env.ID, r}]; !ok {
			name := q.routedName(mail.Domain(env.Recipients[r].Address))
			groups[name] = append(groups[name], r)
		}
	}
	if mixed := groups[unsorted]; len(mixed) > 0 && sameDomain(env, mixed) {
		delete(groups, unsorted)
		groups[mail.Domain(env.Recipients[mixed[0]].Address)] = mixed
	}
	for name, group := range groups {
		p := &parcel{id: env.ID, recipients: group, due: now, fresh: true,
			line: q.lineOf(lineKey{name, env.Tenant(), env.Params.Priority})}
		for _, r := range group {
			q.known[entry{env.ID, r}] = slot{parcel: p}
			q.fresh++
		}
		p.line.site.put(p)
		q.enqueue(p.line.site)
		q.relieve(p.line.site)
	}
}

// unsorted is the line of fresh messages for several domains whose sites are
// not known. It is no site: it has no gate.
const unsorted = ""

// routedName is the site that mail for a domain is known to go to, else
// unsorted.
func (q *Queue) routedName(domain string) string {
	name := domain
	if real, ok := q.hints[domain]; ok {
		name = real
	}
	if s := q.sites[name]; s != nil && s.routed {
		return name
	}
	return unsorted
}

func sameDomain(env *mail.Envelope, recipients []int) bool {
	first := mail.Domain(env.Recipients[recipients[0]].Address)
	for _, r := range recipients {
		if mail.Domain(env.Recipients[r].Address) != first {
			return false
		}
	}
	return true
}

// spillAgain is when a release date is written down again that could not be.
const spillAgain = 10 * time.Second

// spill writes fresh recipients into the waiting index. When that fails they
// are kept in memory after all: the spool accepts nothing new then. What is to
// be released later is looked at again soon instead, lest it leave too early.
func (q *Queue) spill(env *mail.Envelope, recipients []int, due time.Time) {
	updates := make([]mail.Update, len(recipients))
	for i, r := range recipients {
		s := env.Recipients[r].Standing
		s.Due = due
		if s.Site == "" {
			s.Site = mail.Domain(env.Recipients[r].Address)
		}
		updates[i] = mail.Update{Message: env.ID, Recipient: r, Standing: s}
	}
	err := q.needs.Spool.Record(q.hard, updates)
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case err != nil && due.After(now):
		q.alarm(alarm{at: now.Add(spillAgain), id: env.ID}) // adopt writes it then
		return
	case err != nil:
		q.lineUpFresh(env, recipients, now)
		return
	}
	for _, u := range updates {
		q.note(lineKey{u.Standing.Site, env.Tenant(), env.Params.Priority}, due, now)
	}
}
