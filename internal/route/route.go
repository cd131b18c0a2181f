package route

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Router finds routes. It is safe for concurrent use.
type Router struct {
	conf    Config
	needs   Needs
	names   []string // ours, as A-labels
	domains []domain
	rules   []rule
	known   *known
	checked *checked
}

type domain struct {
	name  pattern
	route mail.Route
}

// New makes a router, or says what it cannot understand in the configuration.
func New(c Config, n Needs) (*Router, error) {
	if n.Shuffle == nil {
		n.Shuffle = rand.Shuffle
	}
	r := &Router{conf: c, needs: n, known: newKnown(), checked: newChecked()}
	for _, name := range append([]string{c.Hostname}, c.Names...) {
		r.names = append(r.names, asciiDomain(name))
	}
	for _, d := range c.Domains {
		target, err := ParseTarget(d.Deliver)
		if err != nil {
			return nil, fmt.Errorf("domain %s: %w", d.Name, err)
		}
		r.domains = append(r.domains, domain{parsePattern(d.Name), target})
	}
	for i, given := range c.Rules {
		ready, err := r.prepare(given)
		if err != nil {
			return nil, fmt.Errorf("route %d: %w", i+1, err)
		}
		r.rules = append(r.rules, ready)
	}
	return r, nil
}

// prepare reads a rule's Via: mx, a smart host, a pool, a destination.
func (r *Router) prepare(given Rule) (rule, error) {
	out := rule{recipient: parsePatterns(given.Recipient), sender: parsePatterns(given.Sender), account: given.Account}
	host, isHost := r.conf.Smarthosts[given.Via]
	pool, isPool := r.conf.Pools[given.Via]
	var err error
	switch {
	case given.Via == "" || given.Via == "mx":
		out.byMX = true
	case isHost:
		out.route, err = smarthostRoute(given.Via, host)
		out.exchangers = host.MX
	case isPool:
		out.byMX, out.route.Sources = true, pool
	default:
		out.route, err = ParseTarget(given.Via)
	}
	if given.Pool != "" {
		pool, ok := r.conf.Pools[given.Pool]
		if !ok {
			return out, fmt.Errorf("there is no pool %q", given.Pool)
		}
		out.route.Sources = pool
	}
	if given.Security != "" && !isHost { // a smart host's is its own affair
		out.route.Security = given.Security
	}
	return out, err
}

// Route says where a recipient of a message is tried. Domains of ours come
// first, so that a route for all mail does not carry off what is for us; then
// the rules; then MX (MX-1). The error is a smtp.Reply.
func (r *Router) Route(ctx context.Context, env *mail.Envelope, recipient string) (mail.Route, error) {
	name := mail.Domain(recipient)
	if name == "" {
		name = r.conf.Hostname // <postmaster> alone (RFC 5321 §4.1.1.3)
	}
	if target, ok := r.local(name); ok {
		return target, nil
	}
	settings := mail.Route{}
	for i := range r.rules {
		if !r.rules[i].matches(env, recipient) {
			continue
		}
		switch {
		case r.rules[i].route.Account != "":
			return r.smarthost(ctx, r.standIn(r.rules[i], env, recipient))
		case !r.rules[i].byMX:
			return r.rules[i].route, nil
		}
		settings = r.rules[i].route
		break
	}
	return r.byMX(ctx, env, name, settings)
}

// standIn is the rule of the smart host that mail for another goes by now
// (SH-10).
func (r *Router) standIn(given rule, env *mail.Envelope, recipient string) rule {
	if r.needs.Failover == nil || !r.needs.Failover.Active(given.route.Account) {
		return given
	}
	var known *mail.Recipient
	for i := range env.Recipients {
		if env.Recipients[i].Address == recipient {
			known = &env.Recipients[i]
		}
	}
	name := r.needs.Failover.Instead(given.route.Account, known)
	host, ok := r.conf.Smarthosts[name]
	if name == given.route.Account || !ok {
		return given
	}
	route, err := smarthostRoute(name, host)
	if err != nil {
		return given
	}
	route.Sources = given.route.Sources
	return rule{route: route, exchangers: host.MX}
}

func (r *Router) smarthost(ctx context.Context, given rule) (mail.Route, error) {
	if given.exchangers {
		return r.exchangersOf(ctx, given.route)
	}
	return given.route, nil
}

// ByMX reports whether a recipient's mail leaves by MX records whoever sends
// it. What goes to a smart host or a destination of its own may be known there
// alone, so its domain need not exist in our DNS.
func (r *Router) ByMX(recipient string) bool {
	if _, ok := r.local(mail.Domain(recipient)); ok || mail.Domain(recipient) == "" {
		return false
	}
	for i := range r.rules {
		t := &r.rules[i]
		switch {
		case !anyMatches(t.recipient, recipient):
		case !t.byMX:
			return false
		case len(t.sender) == 0 && len(t.account) == 0:
			return true
		}
	}
	return true
}

// local finds the domain of ours that a name is.
func (r *Router) local(name string) (mail.Route, bool) {
	name = asciiDomain(name)
	best := -1
	for i, d := range r.domains {
		if d.name.matchesDomain(name) && (best < 0 || !d.name.sub) {
			best = i // the domain itself goes before a pattern
		}
	}
	if best < 0 {
		return mail.Route{}, false
	}
	return r.domains[best].route, true
}

// loopPatience is how long mail for a domain whose best MX is us waits for its
// owner to mend the DNS (MX-8).
const loopPatience = time.Hour

func (r *Router) byMX(ctx context.Context, env *mail.Envelope, name string, settings mail.Route) (mail.Route, error) {
	set := r.exchangers(ctx, name)
	if set.refusal != nil {
		if set.loop && time.Since(env.Arrived) < loopPatience {
			return mail.Route{}, smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 4, Detail: 6},
				Text: set.refusal.Text, Cause: set.refusal.Cause}
		}
		return mail.Route{}, *set.refusal
	}
	out := settings
	out.Site, out.Transport, out.ByMX = set.site, mail.SMTP, true
	if out.Security == "" {
		out.Security = mail.Opportunistic
	}
	out.Hops = r.order(set.hosts)
	return out, nil
}

// order makes the hops of one attempt: by preference, equal ones shuffled
// (MX-4), the addresses of each in turns of the two families (MX-11).
func (r *Router) order(hosts []exchanger) []mail.Hop {
	hops := make([]mail.Hop, len(hosts))
	for i, h := range hosts {
		hops[i] = mail.Hop{Name: h.name, Port: 25, Preference: h.preference, Addrs: r.interleave(h.addrs)}
	}
	for from := 0; from < len(hops); {
		to := from + 1
		for to < len(hops) && hops[to].Preference == hops[from].Preference {
			to++
		}
		r.needs.Shuffle(to-from, func(i, j int) { hops[from+i], hops[from+j] = hops[from+j], hops[from+i] })
		from = to
	}
	return hops
}

// addrsMax is how many addresses of one host are considered (MX-16).
const addrsMax = 4

func (r *Router) interleave(addrs []netip.Addr) []netip.Addr {
	var first, second []netip.Addr
	for _, a := range addrs {
		if a.Is4() != r.conf.PreferIPv6 {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	for _, family := range [][]netip.Addr{first, second} {
		r.needs.Shuffle(len(family), func(i, j int) { family[i], family[j] = family[j], family[i] })
	}
	out := make([]netip.Addr, 0, addrsMax)
	for i := 0; len(out) < addrsMax && (i < len(first) || i < len(second)); i++ {
		for _, family := range [][]netip.Addr{first, second} {
			if i < len(family) && len(out) < addrsMax {
				out = append(out, family[i])
			}
		}
	}
	return out
}

func (r *Router) isOurs(host string, addrs []netip.Addr) bool {
	return slices.Contains(r.names, strings.ToLower(host)) ||
		slices.ContainsFunc(addrs, func(a netip.Addr) bool { return slices.Contains(r.conf.Addrs, a) })
}
