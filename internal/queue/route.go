package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// group is the recipients of a message that share a route.
type group struct {
	route      mail.Route
	recipients []int
}

// route finds where a parcel goes, and gets a permit for it. Recipients that go
// elsewhere are lined up there; those without a route are concluded. It reports
// false if nothing is left to be tried now.
func (q *Queue) route(ctx context.Context, env *mail.Envelope, j *job) (mail.Route, bool) {
	p := j.parcel
	groups, lost := q.grouped(ctx, env, p.recipients)
	if len(groups) == 0 {
		q.noRoute(p.line, lost)
	}
	q.conclude(ctx, env, lost)
	if len(groups) == 0 {
		return mail.Route{}, false
	}
	now := time.Now()
	q.mu.Lock()
	var moved []verdict
	mine := q.mine(j, groups)
	for i, g := range groups {
		real := q.learnRoute(p.line, env, g)
		if i == mine {
			p.recipients = g.recipients
			if q.admit(j, real, g.route, now) {
				continue
			}
			mine = -1
		}
		moved = append(moved, q.elsewhere(env, p, g, real)...)
	}
	q.mu.Unlock()
	q.conclude(ctx, env, moved)
	if mine < 0 {
		return mail.Route{}, false
	}
	return groups[mine].route, true
}

// noRoute lets a domain that cannot be routed for now, most often because its
// DNS does not answer, back off like a site: it is one trouble, not one for each
// of its messages.
func (q *Queue) noRoute(l *line, lost []verdict) {
	var outcomes []mail.Outcome
	for _, v := range lost {
		if o := *v.tried; o.Result == mail.Deferred {
			o.Reach = mail.ThisSite
			outcomes = append(outcomes, o)
		}
	}
	q.mu.Lock()
	var told []event.Event
	if len(outcomes) > 0 && l.key.site != unsorted && !l.site.routed {
		told = q.learn(l.site, outcomes, time.Now())
	}
	q.mu.Unlock()
	for _, e := range told {
		q.needs.Events.Emit(e)
	}
}

// grouped routes recipients, those of one route together.
func (q *Queue) grouped(ctx context.Context, env *mail.Envelope, recipients []int) (groups []group, lost []verdict) {
	byKey := map[string]int{}
	for _, i := range recipients {
		r := env.Recipients[i]
		route, err := q.needs.Router.Route(ctx, env, r.Address)
		if err != nil {
			now := time.Now()
			o := routeFailed(err, now)
			if ctx.Err() != nil {
				o.Result = mail.Untried
			}
			f := Facts{Now: now, Chance: q.rand(), Site: mail.Domain(r.Address)}
			lost = append(lost, verdict{recipient: i, tried: &o, Ruling: Settle(env, r, o, f, q.config.Terms)})
			continue
		}
		if len(recipients) == 1 {
			return []group{{route, recipients}}, lost
		}
		key := routeKey(route)
		at, ok := byKey[key]
		if !ok {
			at = len(groups)
			byKey[key] = at
			groups = append(groups, group{route: route})
		}
		groups[at].recipients = append(groups[at].recipients, i)
	}
	return groups, lost
}

// routeKey is equal for routes on which recipients can share an attempt. The
// order of hops does not count: equal preferences are shuffled (MX-4).
func routeKey(r mail.Route) string {
	hops := make([]string, len(r.Hops))
	for i, h := range r.Hops {
		hops[i] = fmt.Sprintf("%s:%d/%d", h.Name, h.Port, h.Preference)
	}
	slices.Sort(hops)
	return strings.Join([]string{r.Site, string(r.Transport), r.Target, string(r.Security), r.Account, r.Ehlo, strings.Join(hops, " ")}, "\x00")
}

// mine picks the group to try now: that for which there is a permit, else the
// first.
func (q *Queue) mine(j *job, groups []group) int {
	if j.permit != nil {
		for i, g := range groups {
			if g.route.Site == j.permit.site.name {
				return i
			}
		}
	}
	return 0
}

// learnRoute notes which site a route names. A line that waited under a hint, a
// domain whose site was not known, waits for the site from now on. The lock is
// held, as in all below.
func (q *Queue) learnRoute(l *line, env *mail.Envelope, g group) *site {
	route := g.route
	delete(q.hints, route.Site)
	real := q.siteOf(route.Site)
	real.routed, real.sources = true, route.Sources
	for _, i := range g.recipients {
		if domain := mail.Domain(env.Recipients[i].Address); domain != real.name && q.hints[domain] != real.name && l.key.site == unsorted {
			q.keepHint(domain, real.name)
		}
	}
	if l.key.site == unsorted || l.site == real || q.lines[l.key] != l {
		return real
	}
	if !l.site.routed || l.key.site != l.site.name {
		if l.key.site != real.name {
			q.keepHint(l.key.site, real.name)
		}
		q.moveLines(l.site, real, l.key.site)
	}
	return real
}

func (q *Queue) keepHint(domain, site string) {
	if len(q.hints) >= hintsKept {
		for d := range q.hints { // any one: it is learnt again when needed
			delete(q.hints, d)
			break
		}
	}
	q.hints[domain] = site
}

// moveLines moves the lines of a domain from one site to another. What was
// ready under a mere hint goes along; what was ready at a site finds its way
// when it is routed.
func (q *Queue) moveLines(from, to *site, domain string) {
	for k, l := range from.lines {
		if k.site == domain {
			delete(from.lines, k)
			l.site, to.lines[k] = to, l
		}
	}
	if !from.routed {
		from.failures, from.until = 0, time.Time{}
		for from.ready > 0 {
			to.put(from.take())
		}
	}
	q.wakeSite(to, time.Now())
	q.tidySite(from)
}

// admit makes sure that the job has a permit for the route, if its site may be
// tried now.
func (q *Queue) admit(j *job, real *site, route mail.Route, now time.Time) bool {
	if j.permit != nil && j.permit.site == real && usable(j.permit.source, route.Sources) {
		return true
	}
	q.giveBack(j.permit, nil)
	j.permit = nil
	if j.site != real {
		j.site.picked--
		q.enqueue(j.site)
		j.site = real
	} else {
		real.picked--
	}
	open := real.open(now) && !q.siteHeld(real.name)
	real.picked++
	if !open {
		return false
	}
	var ok bool
	j.permit, ok = q.acquire(real, route.Sources, now)
	return ok
}

func usable(source mail.Source, of []mail.Source) bool {
	return len(of) == 0 && source == (mail.Source{}) || slices.Contains(of, source)
}

// elsewhere lines a group up at its own site: in memory if it is fresh or its
// line belongs there, else by writing the site down, so that it waits in the
// right line of the index.
func (q *Queue) elsewhere(env *mail.Envelope, p *parcel, g group, real *site) []verdict {
	if p.fresh || p.line.site == real {
		key := p.line.key
		if p.fresh {
			key.site = g.route.Site
		}
		q.lineUp(&parcel{id: p.id, recipients: g.recipients, due: p.due, fresh: p.fresh, line: q.lineOf(key)})
		return nil
	}
	var moved []verdict
	for _, i := range g.recipients {
		s := env.Recipients[i].Standing
		s.Site = g.route.Site
		moved = append(moved, verdict{recipient: i, quiet: true, Ruling: Ruling{Standing: s}})
	}
	return moved
}
