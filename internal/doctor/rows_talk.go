package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// DIAG-30: silent, until TLS began.
func judgeImplicit(v *view) []Finding {
	var out []Finding
	if mute := v.where(v.in(stSilent)); len(mute) > 0 {
		out = one(about("DIAG-30", Unknown, Fail, mute, capital(at(mute))+" "+verb(mute, "takes", "take")+" the connection and "+verb(mute, "says", "say")+" nothing: a tarpit, a proxy, or a service that hangs.",
			"Use another port; on a server of your own, see what listens there.", Evidence{"silence", "no greeting, and no answer to a ClientHello"}))
	}
	all := v.where(v.in(stImplicit))
	if len(all) == 0 {
		return out
	}
	return append(out, about("DIAG-30", Proven, Warn, all, capital(at(all))+" "+verb(all, "begins", "begin")+" with TLS from the first byte, not with STARTTLS.",
		"Set the mode of this port to TLS from the first byte.", Evidence{"silence", "no greeting in clear"}, Evidence{"handshake", "a ClientHello at once works"}))
}

// DIAG-31: a greeting in clear where TLS was expected.
func judgePlain(v *view) []Finding {
	all := v.where(v.in(stPlain))
	if len(all) == 0 {
		return nil
	}
	return one(about("DIAG-31", Proven, Warn, all, capital(at(all))+" "+verb(all, "begins", "begin")+" in clear, with STARTTLS, not with TLS from the first byte.",
		"Set the mode of this port to STARTTLS.", Evidence{"first octets", quote(string(all[0].TLS.Plain))}))
}

// ciscoAdvice is for what masks and overwrites.
const ciscoAdvice = "Ask the network's owner to turn ESMTP inspection off, or to allow TLS in it; use 465 meanwhile."

// DIAG-32: the greeting is masked with stars.
func judgeMasked(v *view) []Finding {
	all := v.where(func(s *Sight) bool { return s.Greeting != nil && masked(s.Greeting.Text) })
	if len(all) == 0 {
		return nil
	}
	return one(about("DIAG-32", Proven, Fail, all, "A Cisco firewall (\"fixup smtp\", ESMTP inspection) rewrites "+at(all)+": it masks the greeting and takes STARTTLS away.",
		ciscoAdvice, Evidence{"greeting", quote(all[0].Greeting.String())}))
}

// DIAG-33: EHLO keywords overwritten with X.
func judgeOverwritten(v *view) []Finding {
	word := ""
	all := v.where(func(s *Sight) bool {
		i := slices.IndexFunc(keywords(s.Ehlo), overwritten)
		if i >= 0 {
			word = keywords(s.Ehlo)[i]
		}
		return i >= 0
	})
	if len(all) == 0 {
		return nil
	}
	return one(about("DIAG-33", Proven, Fail, all, "Something on the way to "+at(all)+" overwrites what the server offers.",
		ciscoAdvice, Evidence{"EHLO", quote(word)}))
}

// DIAG-34: STARTTLS is offered there, and missing here.
func judgeStripped(v *view) []Finding {
	known := v.where(func(s *Sight) bool {
		return v.state(s) == stStripped && s.Endpoint.Known && s.Endpoint.Mode == mail.Verify || v.state(s) == stNoTLS && s.Endpoint.Known
	})
	unknown := v.where(func(s *Sight) bool { return (v.state(s) == stStripped || v.state(s) == stNoTLS) && !s.Endpoint.Known })
	var out []Finding
	if len(known) > 0 && !v.Target.Own {
		f := about("DIAG-34", Likely, Fail, known, fmt.Sprintf("STARTTLS is missing on %s, though %s offers it: something on the way strips it.", ports(known), v.who()),
			"Send nothing on these ports. Use 465, where TLS cannot be taken away, and tell the network's owner.",
			Evidence{"stripped", at(known) + " " + verb(known, "shows", "show") + " no STARTTLS here"})
		intact := v.where(func(s *Sight) bool { return v.modeOf(s) != "" && s.Endpoint.Host == known[0].Endpoint.Host })
		if len(intact) > 0 {
			f.Confidence = Proven
			f.Evidence = append(f.Evidence, Evidence{"same host", ports(intact) + " " + verb(intact, "shows", "show") + " its own certificate"})
		}
		if alike := pickOf(v.refs(known[0].Endpoint.Port, 0), v.in(stStripped)); len(alike) > 0 {
			f.Confidence = Proven
			f.Evidence = append(f.Evidence, Evidence{"other hosts", hostsOf(alike) + " " + "lose it too"})
		}
		out = append(out, f)
	}
	if len(unknown) > 0 && !v.Target.Own {
		out = append(out, about("DIAG-34", Unknown, Fail, unknown, fmt.Sprintf("No STARTTLS on %s: the server does not offer it, or something takes it away.", at(unknown)),
			"Do not send a password there. Try 465, or ask the operator.", Evidence{"EHLO", "no STARTTLS among what is offered"}))
	}
	return out
}

// DIAG-35: EHLO is not understood.
func judgeNoEhlo(v *view) []Finding {
	all := v.where(v.in(stNoEhlo))
	if len(all) == 0 {
		return nil
	}
	return one(about("DIAG-35", Likely, Fail, all, "EHLO is refused on "+at(all)+", HELO is not: an old proxy or a filter stands in between, and without EHLO there is no TLS.",
		"Use 465, or a network without that filter.", Evidence{"EHLO", quote(all[0].Ehlo.String())}, Evidence{"HELO", quote(all[0].Helo.String())}))
}

// DIAG-36: somebody else greets, and greets everybody's clients alike.
func judgeForeign(v *view) []Finding {
	var out []Finding
	if garbage := v.where(v.in(stGarbage)); len(garbage) > 0 {
		out = one(about("DIAG-36", Likely, Fail, garbage, "What answers on "+at(garbage)+" is no mail server.",
			"Check the port; in a strange network, log in to it first.", Evidence{"first octets", quote(smtp.Printable(firstWords(garbage[0].First)))}))
	}
	foreign := v.where(func(s *Sight) bool { return stranger(s) && v.greetsOthers(s) != "" })
	if len(foreign) == 0 {
		return out
	}
	f := about("DIAG-36", Likely, Fail, foreign, fmt.Sprintf("Not %s answers on %s: whoever it is greets for other hosts with the same words.", v.who(), ports(foreign)),
		"A transparent proxy or a captive portal. Use 465, or 587 with the certificate verified; or a VPN.",
		Evidence{"greeting", quote(foreign[0].Greeting.String())}, Evidence{"the same greeting", v.greetsOthers(foreign[0])})
	if slices.ContainsFunc(foreign, func(s *Sight) bool { return len(v.impossibles(s.Endpoint.Port)) > 0 }) {
		f.Confidence = Proven
	}
	return append(out, f)
}

// firstWords is the first line of what came.
func firstWords(b []byte) string {
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

// stranger: the name in the greeting has nothing to do with the host asked for.
func stranger(s *Sight) bool {
	name := greets(&s.Observation)
	return strings.Contains(name, ".") && family(name) != family(s.Endpoint.Host)
}

// greetsOthers names an unrelated host, or the impossible address, that greets
// with the same name.
func (v *view) greetsOthers(s *Sight) string {
	for _, r := range v.refs(s.Endpoint.Port, 0) {
		if stranger(r) && family(r.Endpoint.Host) != family(s.Endpoint.Host) && greets(&r.Observation) == greets(&s.Observation) {
			return r.Endpoint.Host
		}
	}
	for _, c := range v.impossibles(s.Endpoint.Port) {
		if strings.Contains(strings.ToLower(string(c.First)), greets(&s.Observation)) {
			return c.Addr.String() + ", which nobody has"
		}
	}
	return ""
}

// DIAG-41: refused in the greeting or at EHLO.
func judgeListed(v *view) []Finding {
	all := v.where(v.in(stRefused))
	if len(all) == 0 {
		return nil
	}
	reply := all[0].Greeting
	switch {
	case reply != nil && reply.Code/100 == 5:
	case all[0].Ehlo != nil && all[0].Ehlo.Code/100 == 5:
		reply = all[0].Ehlo
	case all[0].Secure != nil:
		reply = all[0].Secure
	}
	return one(about("DIAG-41", Likely, Fail, all, hostsOf(all)+" refuses us on "+ports(all)+" before we have said anything: our address is listed or not wanted.",
		"Read what it says, check the PTR of this address and the lists it names; send through a smart host meanwhile.", Evidence{"reply", quote(reply.String())}))
}

// DIAG-42: busy, again and again.
func judgeBusy(v *view) []Finding {
	all := v.where(v.in(stBusy))
	if len(all) == 0 {
		return nil
	}
	s := all[0]
	text := "421"
	for _, o := range tried(s) {
		if o.Greeting != nil {
			text = o.Greeting.String()
		}
	}
	f := about("DIAG-42", Likely, Fail, all, hostsOf(all)+" says on "+ports(all)+" that it is busy, or that we connect too often.", "Wait some minutes; or use another endpoint.", Evidence{"reply", quote(text)})
	if len(s.Earlier) > 0 {
		f.Evidence = append(f.Evidence, Evidence{"again", "a second try got the same"})
	}
	return one(f)
}

// DIAG-40: only old TLS.
func judgeOldTLS(v *view) []Finding {
	var out []Finding
	if broken := v.where(v.in(stBroken)); len(broken) > 0 {
		out = one(about("DIAG-40", Unknown, Fail, broken, "TLS cannot be agreed on with "+at(broken)+": no cipher or version in common, or the name is not known there.",
			"Its operator's log says why; an upgrade of its TLS is the usual remedy.", Evidence{"alert", broken[0].TLS.Alert}))
	}
	all := v.where(v.in(stOldTLS))
	if len(all) == 0 {
		return out
	}
	return append(out, about("DIAG-40", Proven, Fail, all, capital(at(all))+" "+verb(all, "speaks", "speak")+" only versions of TLS that are no longer safe; TLS 1.2 is the least.",
		"Its operator must upgrade. There is no way down.", Evidence{"alert", all[0].TLS.Alert}))
}

// DIAG-43: no AUTH after TLS where clients submit.
func judgeNoAuth(v *view) []Finding {
	var out []Finding
	if mx := v.where(func(s *Sight) bool { return s.Endpoint.Role == Exchange && v.modeOf(s) != "" && len(s.Auth) == 0 }); len(mx) > 0 {
		out = one(about("DIAG-43", Proven, Good, mx, "No login is offered on "+at(mx)+", as is right between servers.", ""))
	}
	all := v.where(func(s *Sight) bool {
		return s.Endpoint.Role == Submission && v.modeOf(s) != "" && s.Secure != nil && len(s.Auth) == 0
	})
	if len(all) == 0 {
		return out
	}
	return append(out, about("DIAG-43", Likely, Warn, all, "No login is offered on "+at(all)+", even under TLS: not a submission service, or one that knows us by our address.",
		"If it is the MX of a domain, that is right; else ask the operator how to authenticate.", Evidence{"EHLO under TLS", "no AUTH"}))
}

// DIAG-44: tokens only.
func judgeTokensOnly(v *view) []Finding {
	all := v.where(func(s *Sight) bool {
		return len(s.Auth) > 0 && !slices.ContainsFunc(s.Auth, func(m string) bool { return m != "XOAUTH2" && m != "OAUTHBEARER" })
	})
	if len(all) == 0 {
		return nil
	}
	return one(about("DIAG-44", Proven, Warn, all, "Passwords are not taken on "+at(all)+": only OAuth 2 tokens.",
		"Set up OAuth 2: [smarthost.NAME] oauth2 = { … }, then paquebot smarthost login NAME.", Evidence{"AUTH", strings.Join(all[0].Auth, " ")}))
}

// DIAG-45: the credential was refused.
func judgeLogin(v *view) []Finding {
	all := v.where(func(s *Sight) bool { return s.Observation.Login != nil && s.Observation.Login.Code/100 != 2 })
	if len(all) == 0 {
		return nil
	}
	reply := all[0].Observation.Login
	f := about("DIAG-45", Proven, Fail, all, fmt.Sprintf("%s refuses this user name and password.", v.who()), "Check user name and password.", Evidence{"reply", quote(reply.String())})
	if v.Login != nil && v.Login.Shape != "" {
		f.Advice = v.Login.Shape
		f.Evidence = append(f.Evidence, Evidence{"its form", v.Login.Shape})
	} else if p := v.Target.Provider; p != nil {
		if hint, ok := p.Explain(reply.Code, reply.String()); ok {
			f.Text, f.Advice = hint.Means, hint.Do
		} else if p.Auth.Hint != "" {
			f.Advice = p.Auth.Hint
		}
	}
	return one(f)
}

// Bounds above which a server is slow (DIAG-49).
const (
	slowGreeting = time.Second
	slowEhlo     = 3 * time.Second
)

// DIAG-49: slow, which is no fault of the port.
func judgeSlow(v *view) []Finding {
	all := v.where(func(s *Sight) bool {
		return open(s) && (s.GreetIn > slowGreeting && s.Greeting != nil || s.EhloIn > slowEhlo)
	})
	if len(all) == 0 {
		return nil
	}
	s := all[0]
	return one(about("DIAG-49", Proven, Warn, all, hostsOf(all)+" is slow on "+ports(all)+": a pause on purpose, lists it asks, or too much to do.",
		"Give it more time; the port is not at fault.", Evidence{"greeting", "after " + ms(s.GreetIn)}, Evidence{"EHLO", "after " + ms(s.EhloIn)}))
}
