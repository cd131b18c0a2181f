package doctor

import (
	"fmt"
	"slices"
	"strings"

	"paquebot/internal/mail"
	"paquebot/internal/provider"
)

// reach is the default order of ports (DIAG-80); what is not in it comes before
// 25 and after the rest.
var reach = []uint16{587, 465, 2525, 2587, 2465}

// recommend chooses one endpoint and says why (DIAG-80, DIAG-81).
func recommend(v *view, r *Report) {
	fit := v.fit(r)
	if len(fit) == 0 || r.Verdict.ID == "DIAG-68" || r.Verdict.ID == "DIAG-71" || r.Verdict.ID == "DIAG-72" {
		r.advise(v)
		return
	}
	best := slices.MinFunc(fit, func(a, b *Sight) int { return v.rank(a) - v.rank(b) })
	r.Recommendation = &Recommendation{Host: best.Endpoint.Host, Port: best.Endpoint.Port, Mode: v.modeOf(best), Reason: v.reason(best, fit, r)}
	r.Why = append(r.Why, r.Recommendation.Reason)
	r.advise(v)
}

// fit are the sights that can be trusted with mail: for submission where there
// is any, else port 25 of an MX.
func (v *view) fit(r *Report) []*Sight {
	usable := v.where(func(s *Sight) bool {
		return v.modeOf(s) != "" && !r.about(s.Endpoint.Port, "DIAG-36", "DIAG-37") && len(v.impossibles(s.Endpoint.Port)) == 0
	})
	if submission := pickOf(usable, func(s *Sight) bool { return s.Endpoint.Role != Exchange }); len(submission) > 0 {
		return submission
	}
	return usable
}

// rank is DIAG-80's order: the operator's wish, what worked last, then reach.
func (v *view) rank(s *Sight) int {
	const apart = 100
	port := s.Endpoint.Port
	order := slices.Index(reach, port)
	switch {
	case order < 0 && port == smtpPort:
		order = apart - 1
	case order < 0:
		order = len(reach)
	case v.Strict && v.modeOf(s) == mail.Implicit: // PORT-7
		order = -1
	}
	if i := slices.Index(v.Prefer, port); i >= 0 {
		return i - 2*apart
	}
	if port == v.LastGood {
		return order - apart
	}
	return order
}

// reason explains the choice. When 587 goes before 465 it always says what
// PORT-5 says.
func (v *view) reason(s *Sight, fit []*Sight, r *Report) string {
	port := s.Endpoint.Port
	clean465 := slices.ContainsFunc(fit, func(x *Sight) bool { return x.Endpoint.Port == 465 })
	switch {
	case s.Endpoint.Role == Exchange:
		return "Port 25 is how one mail server reaches another; there is no other for that."
	case slices.Contains(v.Prefer, port):
		return "The port you prefer works."
	case port == v.LastGood && port != 587:
		return "It is the one that worked last from this network, and still does."
	case port == 587 && clean465:
		return "465 is as secure, TLS being mandatory on both, and RFC 8314 prefers it; 587 is open in more networks."
	case port == 587:
		return "587 with STARTTLS is what most networks leave open."
	case port == 465 && r.Verdict.ID == "DIAG-65":
		return "TLS from the first byte leaves nothing for the device on the way to alter."
	case port == 465:
		return "587 does not work from here; 465 is as secure, and the one RFC 8314 prefers."
	case port == smtpPort:
		return "Only 25 works. It is meant for servers among themselves; providers limit it."
	}
	return fmt.Sprintf("%d is an alternative by convention, with the same rules as 587.", port)
}

// advise says what else to do, and whom to ask (DIAG-82).
func (r *Report) advise(v *view) {
	if r.Recommendation == nil && (r.Verdict.ID == "DIAG-68" || r.has("DIAG-48") != nil) { // all else is a consequence
		r.Advice = append(r.Advice, "Open a web page and log in to the network, or leave it; then look again.")
		return
	}
	for _, f := range r.Findings {
		if f.Word != Good && f.Advice != "" && !slices.Contains(r.Advice, f.Advice) {
			r.Advice = append(r.Advice, f.Advice)
		}
	}
	filtered := v.where(func(s *Sight) bool { return v.whoFilters(s) == "network" && r.about(s.Endpoint.Port, "DIAG-15") })
	asks := func(port uint16) bool {
		return slices.ContainsFunc(filtered, func(s *Sight) bool { return s.Endpoint.Port == port })
	}
	switch {
	case asks(587):
		r.Advice = append(r.Advice, "Ask the network's owner for 587: access providers must not block it (RFC 5068 s4.1). Blocking 25 for clients is accepted practice.")
	case asks(smtpPort):
		r.Advice = append(r.Advice, "Blocking outbound 25 for clients is accepted practice (RFC 5068 s4.1); a hoster may open it on request.")
	case len(filtered) > 0:
		r.Advice = append(r.Advice, "Ask the network's owner to open "+ports(filtered)+".")
	}
	r.note(v)
}

// note tells what is worth knowing beside the choice.
func (r *Report) note(v *view) {
	p := v.Target.Provider
	if p != nil && p.Auth.Hint != "" && v.Login == nil {
		r.Notes = append(r.Notes, "At "+p.Title+" "+strings.TrimSuffix(p.Auth.Hint, ".")+".")
	}
	if v.Login == nil && len(v.where(func(s *Sight) bool { return len(s.Auth) > 0 })) > 0 {
		r.Notes = append(r.Notes, "Credentials were not tried: --auth tries them without sending.")
	}
	if p != nil && p.Confidence == "unconfirmed" {
		r.Notes = append(r.Notes, "The catalogue's entry for "+p.Title+" is unconfirmed; what was seen here counts.")
	}
	for _, n := range v.Names {
		if n.Answer.Status == 0 && len(inFamily(n.Answer.Records, 6)) == 0 && len(n.Answer.Records) > 0 {
			r.Notes = append(r.Notes, n.Host+" has no IPv6 address; not a fault.")
		}
	}
	if v.Login != nil && r.has("DIAG-45") == nil && len(v.where(func(s *Sight) bool { return s.Observation.Login != nil })) > 0 {
		r.Notes = append(r.Notes, "The credential of "+v.Login.User+" is accepted; nothing was sent.")
	}
}

// Culprit names the network this machine is in, if it is one of the catalogue,
// and what it commonly does (NET).
func Culprit(dmi, reverse []string) (provider.Network, bool) { return provider.Whose(dmi, reverse) }
