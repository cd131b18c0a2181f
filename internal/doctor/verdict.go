package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"paquebot/internal/probe"
)

// verdict is the pattern of all ports together: standards §24.4, the most
// telling first.
func verdict(v *view, r *Report) Verdict {
	if v.Target.Own {
		if w, ok := ownVerdict(v); ok {
			return w
		}
	}
	for _, try := range []func(*view, *Report) (Verdict, bool){
		loginFirst, everythingAnswers, proxyOn25, startTLSTaken, tlsTaken, portsFiltered, nothingThere, nothingInTheWay,
	} {
		if w, ok := try(v, r); ok {
			return w
		}
	}
	return otherwise(v, r)
}

// ownVerdict: DIAG-70 to DIAG-72, for a server of the operator's own.
func ownVerdict(v *view) (Verdict, bool) {
	if relays := v.where(func(s *Sight) bool { return s.Rcpt != nil && s.Rcpt.Code/100 == 2 }); len(relays) > 0 {
		return Verdict{"DIAG-72", Proven, Fail, fmt.Sprintf("This server relays for strangers on %s: stop that listener now.", ports(relays))}, true
	}
	bare := v.where(func(s *Sight) bool {
		return s.Endpoint.Role == Submission && (v.state(s) == stStripped || v.state(s) == stNoTLS || authInClear(s))
	})
	if len(bare) > 0 {
		return Verdict{"DIAG-71", Proven, Fail, fmt.Sprintf("Passwords could go in clear on %s: it has no TLS, or offers AUTH before it. STARTTLS, then AUTH, then mail.", ports(bare))}, true
	}
	port25 := v.where(func(s *Sight) bool { return s.Endpoint.Port == smtpPort })
	if len(port25) > 0 && len(pickOf(port25, open)) == 0 && len(v.where(open)) > 0 {
		return Verdict{"DIAG-70", Likely, Warn, "Nobody outside reaches port 25 of this server: no mail comes in. Its network filters it; it needs hosting that does not, or an inbound relay."}, true
	}
	return Verdict{}, false
}

// authInClear: AUTH among what EHLO says before TLS.
func authInClear(s *Sight) bool {
	return slices.ContainsFunc(keywords(s.Ehlo), func(k string) bool {
		word, _, _ := strings.Cut(strings.ToUpper(k), " ")
		return word == "AUTH"
	})
}

// standing is how one port number does, all hosts and families together.
type standing struct{ clean, open, silent, seen bool }

func (v *view) standing(port uint16) standing {
	var p standing
	silent := 0
	all := v.where(func(s *Sight) bool { return s.Endpoint.Port == port })
	for _, s := range all {
		p.clean = p.clean || v.modeOf(s) != ""
		p.open = p.open || open(s)
		if s.Dial.Result == probe.Timeout || s.Dial.Result == probe.NoRoute {
			silent++
		}
	}
	p.seen = len(all) > 0
	p.silent = p.seen && silent == len(all)
	return p
}

// usual are the ports of the pattern, 2587 standing for 2525 where a provider
// has that.
func (v *view) usual() (p25, p465, p587, alt standing) {
	alt = v.standing(2525)
	if other := v.standing(2587); !alt.seen || other.clean && !alt.clean {
		alt = other
	}
	return v.standing(25), v.standing(465), v.standing(587), alt
}

// loginFirst: before a network lets us in, nothing its ports do means anything.
func loginFirst(_ *view, r *Report) (Verdict, bool) {
	f := r.has("DIAG-48")
	if f == nil || f.Confidence != Proven {
		return Verdict{}, false
	}
	return Verdict{"", Proven, Fail, f.Text}, true
}

// DIAG-68: the impossible address answers wherever it is asked.
func everythingAnswers(v *view, r *Report) (Verdict, bool) {
	asked, answered := map[uint16]bool{}, map[uint16]bool{}
	for _, c := range v.Controls.Impossible {
		asked[c.Port] = true
		answered[c.Port] = answered[c.Port] || c.Dial.Result == probe.Open
	}
	for port := range asked {
		if !answered[port] {
			return Verdict{}, false
		}
	}
	if len(asked) == 0 || len(asked) == 1 && r.has("DIAG-48") == nil {
		return Verdict{}, false
	}
	f := r.has("DIAG-22")
	return Verdict{"DIAG-68", confidenceOf(f), Fail, "Something here answers for the whole world on every mail port: stop, and log in to the network first."}, true
}

func confidenceOf(f *Finding) Confidence {
	if f == nil {
		return Likely
	}
	return f.Confidence
}

// DIAG-67: a proxy has 25, and 587 is clean.
func proxyOn25(v *view, r *Report) (Verdict, bool) {
	_, _, p587, _ := v.usual()
	if !p587.clean || !r.about(smtpPort, "DIAG-22", "DIAG-36") || r.about(587, "DIAG-22", "DIAG-36") {
		return Verdict{}, false
	}
	return Verdict{"DIAG-67", confidenceOf(r.has("DIAG-22", "DIAG-36")), Warn, "A transparent proxy takes port 25 alone; 587 is untouched. Submit there; no mail server belongs into this network."}, true
}

// DIAG-65: STARTTLS is taken away, TLS from the first byte is not.
func startTLSTaken(v *view, r *Report) (Verdict, bool) {
	_, p465, p587, _ := v.usual()
	if !p465.clean || p587.clean || !r.about(587, "DIAG-32", "DIAG-33", "DIAG-34", "DIAG-35", "DIAG-36", "DIAG-21") || !p587.open {
		return Verdict{}, false
	}
	return Verdict{"DIAG-65", Likely, Fail, "Something on the way alters what is said in clear on 587; 465, encrypted from the first byte, is untouched."}, true
}

// DIAG-66: 465 is intercepted or cut, 587 is clean.
func tlsTaken(v *view, r *Report) (Verdict, bool) {
	_, p465, p587, _ := v.usual()
	if !p587.clean || p465.clean || !p465.seen || !p465.open && !r.about(465, "DIAG-20") || !r.about(465, "DIAG-20", "DIAG-21", "DIAG-37", "DIAG-38", "DIAG-39") {
		return Verdict{}, false
	}
	return Verdict{"DIAG-66", Likely, Warn, "Something on the way breaks TLS from the first byte on 465; 587 is untouched."}, true
}

// DIAG-61 to DIAG-64: which of the usual ports the network filters.
func portsFiltered(v *view, r *Report) (Verdict, bool) {
	p25, p465, p587, alt := v.usual()
	c := filteredBy(r)
	byHost := v.where(func(s *Sight) bool { return s.Dial.Result == probe.Timeout && v.whoFilters(s) == "host" })
	switch {
	case !p25.silent, len(byHost) > 0: // the network lets the port through: not its doing
		return Verdict{}, false
	case p587.clean && p465.clean:
		return Verdict{"DIAG-61", c, Warn, "Your network blocks outbound 25. Submit to a provider on 587 (465 also works); direct delivery to MX hosts is impossible here."}, true
	case p465.silent && p587.clean:
		return Verdict{"DIAG-62", c, Warn, "Your network filters outbound 25 and 465, as several hosters do; 587 is open."}, true
	case p465.silent && p587.silent && alt.clean:
		return Verdict{"DIAG-63", c, Warn, "Your network filters outbound 25, 465 and 587; the alternative port is open."}, true
	case len(v.where(open)) == 0 && p587.silent && v.webOpen():
		return Verdict{"DIAG-64", Likely, Fail, "All mail ports are filtered here, while 443 is open: use the provider's HTTPS interface or a relay on 443, or ask the network's owner."}, true
	}
	return Verdict{}, false
}

func filteredBy(r *Report) Confidence {
	best := Unknown
	for _, f := range r.Findings {
		if f.ID == "DIAG-15" && f.Where != nil {
			best = surest(best, f.Confidence)
		}
	}
	return best
}

func (v *view) webOpen() bool {
	return slices.ContainsFunc(v.Controls.Web, func(c Control) bool { return c.Dial.Result == probe.Open })
}

// DIAG-69: the host is there and refuses everything.
func nothingThere(v *view, _ *Report) (Verdict, bool) {
	if len(v.Sights) == 0 || len(portNumbers(v.where(func(*Sight) bool { return true }))) < 2 {
		return Verdict{}, false
	}
	refused := v.where(func(s *Sight) bool { return s.Dial.Result == probe.Refused })
	if len(refused) == 0 || len(v.where(func(s *Sight) bool { return s.Dial.Result != probe.Refused && s.Dial.Result != probe.NoRoute })) > 0 {
		return Verdict{}, false
	}
	return Verdict{"DIAG-69", Likely, Fail, v.who() + " refuses every mail port: the wrong host, or its service is down. Check the name and the region."}, true
}

// DIAG-60: all is clean.
func nothingInTheWay(v *view, _ *Report) (Verdict, bool) {
	bad := v.where(func(s *Sight) bool { return v.modeOf(s) == "" && s.Dial.Result != probe.NoRoute })
	if len(v.Sights) == 0 || len(bad) > 0 || len(v.where(open)) == 0 {
		return Verdict{}, false
	}
	c := Likely
	if len(v.Controls.Impossible) > 0 && !slices.ContainsFunc(v.Controls.Impossible, func(c Control) bool { return c.Dial.Result == probe.Open }) {
		c = Proven
	}
	if len(portNumbers(v.where(open))) == 1 && v.Target.Kind != KindProvider {
		return Verdict{"DIAG-60", c, Good, fmt.Sprintf("Nothing between you and %s is in the way.", v.who())}, true
	}
	return Verdict{"DIAG-60", c, Good, fmt.Sprintf("Nothing between you and %s is in the way.", v.who())}, true
}

// otherwise no pattern of the standard fits: the gravest finding speaks.
func otherwise(v *view, r *Report) Verdict {
	gravity := []Word{Fail, Unsure, Warn, Good}
	best := slices.Clone(r.Findings)
	slices.SortStableFunc(best, func(a, b Finding) int {
		return cmp.Compare(slices.Index(gravity, a.Word), slices.Index(gravity, b.Word))
	})
	for _, f := range best {
		if f.ID != "DIAG-13" {
			return Verdict{"", f.Confidence, f.Word, f.Text}
		}
	}
	if len(v.Sights) == 0 {
		return Verdict{"", Unknown, Unsure, "There was nothing to look at."}
	}
	return Verdict{"", Unknown, Unsure, "What was seen fits no known pattern; -v shows it."}
}
