package doctor

import (
	"fmt"
	"slices"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/probe"
	"paquebot/internal/smtp"
)

// DIAG-13: a connection stands; whoever it is with is the question of the rows
// after this one.
func judgeOpen(v *view) []Finding {
	all := v.where(open)
	if len(all) == 0 {
		return nil
	}
	c := Proven
	control := Evidence{"control", "an address that nobody has stays silent on the same ports"}
	if slices.ContainsFunc(all, func(s *Sight) bool { return len(v.impossibles(s.Endpoint.Port)) > 0 }) || len(v.Controls.Impossible) == 0 {
		c, control = Likely, Evidence{"control", "not taken, or somebody answers for everybody"}
	}
	return one(about("DIAG-13", c, Good, all, capital(at(all))+" "+verb(all, "answers", "answer")+".", "", control))
}

// DIAG-14: refused. The time the refusal took tells who refused.
func judgeRefused(v *view) []Finding {
	var out []Finding
	for _, all := range byHost(v.where(dialled(probe.Refused))) {
		s := all[0]
		f := about("DIAG-14", Likely, Fail, all, fmt.Sprintf("%s refuses connections on %s: nothing listens there, or a firewall answers in its place.", s.Endpoint.Host, ports(all)),
			"Check the port and the host name; if they are right, its operator has closed it.", Evidence{"refusal", "after " + ms(s.Dial.Took) + ", " + s.Dial.Errno})
		const far = 5 * time.Millisecond // nearer, the two cannot be told apart
		switch rtt := v.rtt(s.Endpoint.Host, s.Endpoint.Port, s.Family); {
		case rtt < far:
		case s.Dial.Took*3 < rtt:
			f.Text = fmt.Sprintf("Something near this machine refuses %s in the place of %s.", ports(all), s.Endpoint.Host)
			f.Advice = "Look at this machine's firewall and the router's."
			f.Evidence = append(f.Evidence, Evidence{"too near", "other ports of that host take " + ms(rtt)})
		case s.Dial.Took*2 > rtt:
			f.Confidence = Proven
			f.Text = fmt.Sprintf("%s itself refuses %s: nothing listens there.", s.Endpoint.Host, ports(all))
			f.Evidence = append(f.Evidence, Evidence{"same distance", "other ports of that host take " + ms(rtt)})
		}
		out = append(out, f)
	}
	return out
}

// DIAG-15: silence on a port while the host is there. Who filters it, the same
// port of other hosts tells.
func judgeFiltered(v *view) []Finding {
	var out []Finding
	for _, all := range byHost(v.where(dialled(probe.Timeout))) {
		all = slices.DeleteFunc(all, func(s *Sight) bool { return v.rtt(s.Endpoint.Host, s.Endpoint.Port, s.Family) == 0 })
		var ours, theirs, open []*Sight
		for _, s := range all {
			switch v.whoFilters(s) {
			case "network":
				ours = append(ours, s)
			case "host":
				theirs = append(theirs, s)
			default:
				open = append(open, s)
			}
		}
		if len(ours) > 0 {
			out = append(out, v.filteredHere(ours))
		}
		if len(theirs) > 0 {
			out = append(out, about("DIAG-15", Likely, Fail, theirs, fmt.Sprintf("%s filters %s, or somebody on the way to it does.", theirs[0].Endpoint.Host, ports(theirs)),
				"Ask its operator, or use another port.", v.sameHost(theirs), v.otherHosts(theirs)))
		}
		if len(open) > 0 {
			out = append(out, about("DIAG-15", Unknown, Fail, open, fmt.Sprintf("%s of %s %s silent, and who filters %s cannot be told.", ports(open), open[0].Endpoint.Host, verb(open, "stays", "stay"), verb(open, "it", "them")),
				"Use another port; a server of your own elsewhere would tell: --reflector HOST.", v.sameHost(open)))
		}
	}
	return out
}

// whoFilters a silent port: "network" if two unrelated hosts are silent there
// too, "host" if one of them answers.
func (v *view) whoFilters(s *Sight) string {
	for _, c := range v.Controls.Reflector {
		switch {
		case c.Port != s.Endpoint.Port || familyOf(c.Addr) != s.Family:
		case c.Dial.Result == probe.Timeout:
			return "network"
		case c.Dial.Result == probe.Open || c.Dial.Result == probe.Refused: // the port is let through
			return "host"
		}
	}
	silent := 0
	for _, r := range v.refs(s.Endpoint.Port, s.Family) {
		switch {
		case r.Dial.Result == probe.Timeout:
			silent++
		case open(r):
			return "host"
		}
	}
	if silent >= 2 {
		return "network"
	}
	return ""
}

func (v *view) filteredHere(all []*Sight) Finding {
	f := about("DIAG-15", Likely, Fail, all, "Your network filters outbound "+ports(all)+".", "", // whom to ask: advise
		v.sameHost(all), v.otherHosts(all), v.controlEvidence(all))
	if v.reflected(all) {
		f.Confidence = Proven
		f.Evidence = append(f.Evidence, Evidence{"reflector", v.Controls.Reflector[0].Host + " is silent on " + ports(all) + " too, and answers on others"})
	} else {
		f.Evidence = append(f.Evidence, Evidence{"to prove it", "--reflector HOST, a server of yours elsewhere"})
	}
	f.Evidence = slices.DeleteFunc(f.Evidence, func(e Evidence) bool { return e.Text == "" })
	return f
}

// reflected: the operator's own host is there, and silent on all these ports.
func (v *view) reflected(all []*Sight) bool {
	answers := slices.ContainsFunc(v.Controls.Reflector, func(c Control) bool { return c.Dial.Result == probe.Open })
	return answers && !slices.ContainsFunc(all, func(s *Sight) bool {
		return !slices.ContainsFunc(v.Controls.Reflector, func(c Control) bool {
			return c.Port == s.Endpoint.Port && c.Dial.Result == probe.Timeout
		})
	})
}

func (v *view) sameHost(all []*Sight) Evidence {
	var answering []*Sight
	for _, s := range v.siblings(all[0]) {
		if open(s) {
			answering = append(answering, s)
		}
	}
	if len(answering) > 0 {
		return Evidence{"same host, other ports", fmt.Sprintf("%s of %s %s", ports(answering), all[0].Endpoint.Host, verb(answering, "answers", "answer"))}
	}
	return Evidence{"same host, other ports", "443 of " + all[0].Endpoint.Host + " answers"}
}

func (v *view) otherHosts(all []*Sight) Evidence {
	var silent, answering []*Sight
	for _, s := range all {
		for _, r := range v.refs(s.Endpoint.Port, s.Family) {
			if open(r) {
				answering = append(answering, r)
			} else {
				silent = append(silent, r)
			}
		}
	}
	switch {
	case len(answering) > 0:
		return Evidence{"same port, other hosts", ports(answering) + " of " + hostsOf(answering) + ": open"}
	case len(silent) > 0:
		return Evidence{"same port, other hosts", ports(silent) + " of " + hostsOf(silent) + ": silent"}
	}
	return Evidence{}
}

func (v *view) controlEvidence(all []*Sight) Evidence {
	c, ok := v.impossible(all[0].Endpoint.Port, all[0].Family)
	if !ok || c.Dial.Result == probe.Open {
		return Evidence{}
	}
	return Evidence{"control", fmt.Sprintf("%s:%d is silent too, so no proxy answers", c.Addr, c.Port)}
}

// DIAG-16: nothing at all over one family, while the other one works.
func judgeNoFamily(v *view) []Finding {
	var out []Finding
	for _, family := range []int{4, 6} {
		mine := v.where(func(s *Sight) bool { return s.Family == family })
		dead := pickOf(mine, dialled(probe.Timeout))
		web := slices.ContainsFunc(v.Controls.Web, func(c Control) bool { return familyOf(c.Addr) == family && c.Dial.Result == probe.Open })
		other := v.where(func(s *Sight) bool { return s.Family != family && open(s) })
		if len(mine) == 0 || len(dead) != len(mine) || web || len(other) == 0 {
			continue
		}
		f := about("DIAG-16", Likely, Warn, mine, fmt.Sprintf("%s leads nowhere from here: every connection times out, while %s works.", ipName(family), ipName(other[0].Family)),
			"Mend or turn off "+ipName(family)+" on this machine; until then each connection may wait for it.",
			Evidence{"this host", "all ports of " + hostsOf(mine) + " and 443: silent over " + ipName(family)})
		if refs := v.refs(0, family); len(refs) > 0 && len(pickOf(refs, open)) == 0 {
			f.Confidence = Proven
			f.Evidence = append(f.Evidence, Evidence{"other hosts", hostsOf(refs) + ": silent over " + ipName(family)})
		}
		out = append(out, f)
	}
	return out
}

func pickOf(all []*Sight, ok func(*Sight) bool) []*Sight {
	var out []*Sight
	for _, s := range all {
		if ok(s) {
			out = append(out, s)
		}
	}
	return out
}

// DIAG-17: this machine knows no way there.
func judgeNoRoute(v *view) []Finding {
	all := v.where(dialled(probe.NoRoute))
	if len(all) == 0 {
		return nil
	}
	families := map[int]bool{}
	for _, s := range all {
		families[s.Family] = true
	}
	name := "this address"
	if len(families) == 1 {
		name = ipName(all[0].Family)
	}
	f := about("DIAG-17", Proven, Warn, all, "This machine has no route for "+name+".", "Not a fault of mail: give it an address and a route of that kind, or use the other one.",
		Evidence{"routing table", all[0].Dial.Errno + " at once, and the routing table says the same"})
	if len(v.where(func(s *Sight) bool { return open(s) })) == 0 {
		f.Word = Fail
	}
	return one(f)
}

// DIAG-18: a router on the way says no.
func judgeProhibited(v *view) []Finding {
	all := v.where(dialled(probe.Prohibited))
	if len(all) == 0 {
		return nil
	}
	f := about("DIAG-18", Likely, Fail, all, "A router on the way turns connections to "+ports(all)+" away.", "Ask the network's owner; until then use another port.",
		Evidence{"answer", fmt.Sprintf("%s after %s: an ICMP message, not the host", all[0].Dial.Errno, ms(all[0].Dial.Took))})
	for _, s := range all {
		if len(s.Earlier) > 0 && s.Earlier[0].Dial.Result == probe.Prohibited {
			f.Evidence = append(f.Evidence, Evidence{"again", "a second try got the same"})
			break
		}
	}
	return one(f)
}

// DIAG-19: this machine itself forbids it.
func judgeDenied(v *view) []Finding {
	all := v.where(dialled(probe.Denied))
	if len(all) == 0 {
		return nil
	}
	return one(about("DIAG-19", Likely, Fail, all, "This machine itself forbids connections to "+ports(all)+": a local firewall, a container's policy, SELinux or security software.",
		"Try as another user, or look at nft list ruleset, ip rule, and the policy of the container.", Evidence{"answer", all[0].Dial.Errno + " before anything left the machine"}))
}

// DIAG-20: reset before a byte.
func judgeReset(v *view) []Finding {
	var out []Finding
	early := func(s *Sight) bool {
		return s.Dial.Result == probe.Reset || len(s.First) == 0 && s.Cut != "" && (s.CutBy == "reset" || s.CutBy == "closed" && s.Cut == "greeting")
	}
	for _, all := range byHost(v.where(early)) {
		f := about("DIAG-20", Likely, Fail, all, fmt.Sprintf("%s takes the connection on %s and cuts it before a word: a list of addresses, a limit, or an inspection on the way.", all[0].Endpoint.Host, ports(all)),
			"Try from another address; if that works, ask the operator to let this one in.", Evidence{"cut", all[0].CutBy + " before the first octet"})
		mine := v.where(func(s *Sight) bool { return s.Endpoint.Host == all[0].Endpoint.Host && open(s) })
		if len(mine) > 1 && len(mine) == len(all) {
			f.Text = fmt.Sprintf("%s cuts every connection from here before a word, on all ports: our address is blocked.", all[0].Endpoint.Host)
			f.Evidence = append(f.Evidence, Evidence{"all ports", ports(all)})
		}
		out = append(out, f)
	}
	return out
}

// DIAG-21: the connection broke right after EHLO, STARTTLS or the ClientHello.
func judgeInspected(v *view) []Finding {
	var small, cut []*Sight
	for i := range v.Sights {
		s := &v.Sights[i]
		broken := slices.ContainsFunc(tried(s), func(o *probe.Observation) bool { return brokeInHandshake(o) })
		switch {
		case broken && s.TLS != nil && s.TLS.Small && s.TLS.Err == nil:
			small = append(small, s)
		case broken, brokeInTalk(&s.Observation):
			cut = append(cut, s)
		}
	}
	var out []Finding
	if len(small) > 0 {
		out = append(out, about("DIAG-21", Proven, Warn, small, "A large first TLS packet does not get through to "+at(small)+"; a small one does.",
			"Something on the way cannot carry a ClientHello with a post-quantum share (TLS-3), or loses large packets: mend the MTU, or that device.",
			Evidence{"large ClientHello", "the handshake broke"}, Evidence{"small ClientHello", "the handshake stands"}))
	}
	if len(cut) > 0 {
		o := cut[0].Observation
		out = append(out, about("DIAG-21", Likely, Fail, cut, fmt.Sprintf("The connection to %s breaks right after %s: deep inspection, or packets that are too large.", at(cut), stageWords(o.Cut)),
			"Use another port or network; tell the network's owner what breaks.", Evidence{"cut", o.CutBy + " after " + stageWords(o.Cut)}))
	}
	return out
}

func brokeInHandshake(o *probe.Observation) bool {
	return o.Dial.Result == probe.Open && o.Cut == "handshake" && (o.CutBy == "reset" || o.CutBy == "closed" || o.CutBy == "timeout") && !o.Silent
}

// brokeInTalk: there was a greeting, and then nothing more.
func brokeInTalk(o *probe.Observation) bool {
	return o.Greeting != nil && o.Greeting.Code/100 == 2 && (o.Cut == "ehlo" || o.Cut == "starttls" || o.Cut == "secure ehlo") && o.CutBy != "garbage" && o.CutBy != "injected"
}

func stageWords(cut string) string {
	switch cut {
	case "ehlo":
		return "EHLO"
	case "starttls":
		return "STARTTLS"
	case "secure ehlo":
		return "EHLO under TLS"
	}
	return "the ClientHello"
}

// DIAG-22: an address that nobody has answers.
func judgeImpossible(v *view) []Finding {
	var greeted, silent []Control
	for _, c := range v.Controls.Impossible {
		switch {
		case c.Dial.Result != probe.Open:
		case saysReady(c.First):
			greeted = append(greeted, c)
		default:
			silent = append(silent, c)
		}
	}
	if len(greeted)+len(silent) == 0 {
		return nil
	}
	all := append(slices.Clone(greeted), silent...)
	c := Likely
	evidence := Evidence{"control", fmt.Sprintf("%s:%d, which nobody has, takes a connection", all[0].Addr, all[0].Port)}
	if len(greeted) > 0 {
		c, evidence = Proven, Evidence{"control", fmt.Sprintf("%s:%d, which nobody has, says %s", greeted[0].Addr, greeted[0].Port, quote(smtp.Printable(firstWords(greeted[0].First))))}
	}
	where := v.where(func(s *Sight) bool {
		return slices.ContainsFunc(all, func(c Control) bool { return c.Port == s.Endpoint.Port })
	})
	return one(about("DIAG-22", c, Fail, where, "Something on the way answers in everybody's place on "+controlPorts(all)+": a transparent proxy or a captive portal.",
		"Send no password there; log in to the network, use another port, or a VPN.", evidence))
}

func controlPorts(all []Control) string {
	var s []*Sight
	for _, c := range all {
		s = append(s, &Sight{Endpoint: Endpoint{Port: c.Port}})
	}
	return ports(s)
}

// DIAG-23: a far host that seems to stand next door on one port.
func judgeNear(v *view) []Finding {
	near := v.where(func(s *Sight) bool {
		w, ok := v.web(s.Endpoint.Host, s.Family)
		const far = 10 * time.Millisecond // nearer hosts tell nothing
		return open(s) && ok && w.Dial.Result == probe.Open && w.Dial.Took >= far && s.Dial.Took*4 <= w.Dial.Took
	})
	if len(near) == 0 {
		return nil
	}
	w, _ := v.web(near[0].Endpoint.Host, near[0].Family)
	f := about("DIAG-23", Likely, Warn, near, fmt.Sprintf("Something near this machine takes the connections to %s and makes its own.", ports(near)),
		"As long as the certificate is the host's own, mail is safe; a proxy here can still break or delay it.",
		Evidence{"too near", fmt.Sprintf("%s on %d, %s on 443 of the same host", ms(near[0].Dial.Took), near[0].Endpoint.Port, ms(w.Dial.Took))})
	if slices.ContainsFunc(near, func(s *Sight) bool { return len(v.impossibles(s.Endpoint.Port)) > 0 }) {
		f.Confidence = Proven
	}
	return one(f)
}

// modeOf is the mode a port is fit to be used with, "" if it is not: as asked
// for, or as it showed itself (DIAG-30, DIAG-31).
func (v *view) modeOf(s *Sight) mail.Security {
	switch v.state(s) {
	case stClean:
		return s.Endpoint.Mode
	case stImplicit:
		return mail.Implicit
	case stPlain:
		if s.Turned != nil && judgeSight(&Sight{Endpoint: Endpoint{Host: s.Endpoint.Host, Port: s.Endpoint.Port, Mode: mail.Verify}, Family: s.Family, Observation: *s.Turned}).clean() {
			return mail.Verify
		}
	}
	return ""
}
