package route

import (
	"context"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// exchangersOf puts in the place of a smart host's domain the hosts that its MX
// records name (SH-8), in order of preference, each at all ports before the
// next. Where TLS must prove who answers, only hosts within the domain count:
// DNS may be forged, and must not choose to whom a password is shown (TLS-6).
func (r *Router) exchangersOf(ctx context.Context, route mail.Route) (mail.Route, error) {
	domain := route.Hops[0].Name
	set := r.exchangers(ctx, domain)
	if set.refusal != nil {
		return mail.Route{}, smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 4, Detail: 3},
			Text: "Smart host " + route.Account + ": " + set.refusal.Text, Cause: set.refusal.Cause}
	}
	ports := route.Hops
	route.Hops = nil
	outside := ""
	for _, h := range set.hosts { // not shuffled: which one works is remembered by its place
		if route.Security == mail.Verify && h.name != domain && !isWithin(h.name, domain) {
			outside = h.name
			continue
		}
		for _, p := range ports {
			route.Hops = append(route.Hops, mail.Hop{Name: h.name, Port: p.Port, Security: p.Security, Addrs: r.interleave(h.addrs)})
		}
	}
	if len(route.Hops) == 0 {
		return mail.Route{}, smtp.TLSTrouble.WithText("Smart host %s: the MX of %s is %s, outside that domain; name the host itself", route.Account, domain, outside)
	}
	return route, nil
}
