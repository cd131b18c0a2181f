package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/probe"
)

// DIAG-37: the same foreign certificate on several hosts.
func judgeShared(v *view) []Finding {
	all := v.where(func(s *Sight) bool {
		return v.state(s) == stUntrusted && s.TLS.Name != nil && len(v.sameElsewhere(s)) > 0
	})
	if len(all) == 0 {
		return nil
	}
	s := all[0]
	f := about("DIAG-37", Likely, Fail, all, fmt.Sprintf("The certificate on %s is not %s's, and other hosts show the very same: something reads your mail on the way.", ports(all), v.who()),
		"Send no password on these ports.", Evidence{"certificate", "for " + certNames(s.TLS) + ", issued by " + issuer(s.TLS)},
		Evidence{"same certificate", hostsOf(v.sameElsewhere(s))})
	if slices.ContainsFunc(all, func(s *Sight) bool { return len(v.impossibles(s.Endpoint.Port)) > 0 }) {
		f.Confidence = Proven
	}
	return one(f)
}

// sameElsewhere are unrelated hosts that show the same certificate though it is
// not theirs either. The one it belongs to is no sign of interception: many
// give a provider's host a name of their own (DIAG-39).
func (v *view) sameElsewhere(s *Sight) []*Sight {
	return pickOf(v.refs(0, 0), func(r *Sight) bool {
		return r.TLS != nil && r.TLS.Fault != nil && family(r.Endpoint.Host) != family(s.Endpoint.Host) && sameLeaf(r.TLS, s.TLS)
	})
}

// DIAG-38: a CA that reads other people's TLS.
func judgeInspector(v *view) []Finding {
	all := v.where(func(s *Sight) bool {
		return v.state(s) == stUntrusted && unknownCA(s.TLS.Fault) && (inspector(issuer(s.TLS)) || len(v.sameIssuer(s)) > 0)
	})
	if len(all) == 0 {
		return nil
	}
	s := all[0]
	f := about("DIAG-38", Likely, Fail, all, fmt.Sprintf("Something near this machine answers in %s's place on %s: a virus scanner or a company proxy that reads mail.", v.who(), ports(all)),
		"Exclude outgoing mail ports in the scanner; or trust it on purpose: [smarthost.NAME] ca = \"its-root.pem\".",
		Evidence{"certificate", fmt.Sprintf("for %s, but issued by %q", certNames(s.TLS), issuer(s.TLS))})
	if same := v.sameIssuer(s); len(same) > 0 {
		f.Confidence = Proven
		f.Evidence = append(f.Evidence, Evidence{"same issuer", hostsOf(same) + " " + "show it too"})
	}
	return one(f)
}

// sameIssuer are unrelated hosts whose certificates come from the same unknown
// CA.
func (v *view) sameIssuer(s *Sight) []*Sight {
	return pickOf(v.refs(0, 0), func(r *Sight) bool {
		return r.TLS != nil && unknownCA(r.TLS.Fault) && family(r.Endpoint.Host) != family(s.Endpoint.Host) && issuer(r.TLS) == issuer(s.TLS)
	})
}

// DIAG-39: a certificate that is wrong on this host alone.
func judgeCertificate(v *view) []Finding {
	var out []Finding
	wrong := v.where(func(s *Sight) bool {
		if v.state(s) != stUntrusted || len(v.sameElsewhere(s)) > 0 {
			return false
		}
		return !(unknownCA(s.TLS.Fault) && (inspector(issuer(s.TLS)) || len(v.sameIssuer(s)) > 0))
	})
	for _, all := range byHost(wrong) {
		s := all[0]
		f := about("DIAG-39", Likely, Fail, all, "", "", Evidence{"certificate", "for " + certNames(s.TLS) + ", issued by " + issuer(s.TLS)})
		switch {
		case expired(s.TLS.Fault):
			f.Confidence = Proven
			f.Text = fmt.Sprintf("The certificate of %s ran out on %s.", at(all), s.TLS.Chain[0].NotAfter.UTC().Format(time.DateOnly))
			f.Advice = "Its operator must renew it; check this machine's clock, too."
		case s.TLS.Name != nil:
			f.Text = fmt.Sprintf("The certificate of %s is for another name: %s.", at(all), certNames(s.TLS))
			f.Advice = "Use the provider's own host name; an alias of yours is not in its certificate."
		case unknownCA(s.TLS.Fault):
			f.Text = "The certificate of " + at(all) + " is signed by nobody we know."
			f.Advice = "If the server is yours: --ca FILE, or a certificate of a public CA. Else send nothing there."
		default:
			f.Text = "The certificate of " + at(all) + " proves nothing."
			f.Advice = "Its operator must mend it."
		}
		f.Evidence = append(f.Evidence, Evidence{"verification", strings.TrimPrefix(s.TLS.Fault.Error(), "x509: ")})
		out = append(out, f)
	}
	return out
}

func certNames(t *probe.TLS) string {
	if t == nil || len(t.Chain) == 0 {
		return "nobody"
	}
	leaf := t.Chain[0]
	const shown = 3
	switch n := len(leaf.DNSNames); {
	case n == 0 && leaf.Subject.CommonName != "":
		return leaf.Subject.CommonName
	case n == 0:
		return "nobody"
	case n > shown:
		return list(leaf.DNSNames[:shown]) + fmt.Sprintf(" (and %d more)", n-shown)
	}
	return list(leaf.DNSNames)
}

// DIAG-46: our own address has no name, where mail goes from server to server.
func judgeNoPTR(v *view) []Finding {
	mx := v.where(func(s *Sight) bool { return open(s) && s.Endpoint.Port == smtpPort && s.Endpoint.Role == Exchange })
	if len(mx) == 0 {
		return nil
	}
	var out []Finding
	for _, self := range v.Self {
		if !self.Names.Status.None() {
			continue
		}
		out = append(out, about("DIAG-46", Proven, Warn, mx, fmt.Sprintf("Port 25 is open, but our address %s has no name: large receivers will refuse mail from it.", self.Addr),
			"Have whoever owns the address set its PTR to your host name; send through a smart host on 587 until then.", Evidence{"PTR", self.Addr.String() + ": none that leads back"}))
	}
	return out
}

// DIAG-47: fit over one family, not over the other.
func judgeOneFamily(v *view) []Finding {
	var good, bad []*Sight
	for i := range v.Sights {
		s := &v.Sights[i]
		if s.Family != 4 || s.Dial.Result == probe.NoRoute {
			continue
		}
		j := slices.IndexFunc(v.Sights, func(x Sight) bool { return x.Family == 6 && sameEndpoint(x.Endpoint, s.Endpoint) })
		if j < 0 || v.Sights[j].Dial.Result == probe.NoRoute {
			continue
		}
		six := &v.Sights[j]
		switch fine4, fine6 := v.modeOf(s) != "", v.modeOf(six) != ""; {
		case fine4 && !fine6:
			good, bad = append(good, s), append(bad, six)
		case fine6 && !fine4:
			good, bad = append(good, six), append(bad, s)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return one(about("DIAG-47", Likely, Warn, bad, fmt.Sprintf("%s %s over %s, not over %s.", capital(at(good)), verb(good, "works", "work"), ipName(good[0].Family), ipName(bad[0].Family)),
		"A filter of one family, or a missing PTR there. Use "+ipName(good[0].Family)+" for this route until it is mended.",
		Evidence{ipName(bad[0].Family), v.familyWords(bad[0])}))
}

// DIAG-48: the network wants a login first.
func judgePortal(v *view) []Finding {
	p := v.Controls.Portal
	if p == nil || p.Err != "" || p.Expected {
		return nil
	}
	evidence := []Evidence{{"web", fmt.Sprintf("%s answers %d", p.URL, p.Status)}}
	if p.Location != "" {
		evidence[0].Text += ", and sends us to " + p.Location
	}
	f := Finding{ID: "DIAG-48", Confidence: Likely, Word: Fail, Text: "This network wants you to log in first.", Advice: "Open a web page, log in to the network, then look again.", Evidence: evidence}
	if slices.ContainsFunc(v.Names, func(n Name) bool { return len(sameForAll(n)) > 0 && n.Answer.Status == dns.OK }) {
		f.Confidence = Proven
		f.Evidence = append(f.Evidence, Evidence{"names", "every name has the same address here"})
	}
	return one(f)
}

// familyWords say how one family fails.
func (v *view) familyWords(s *Sight) string {
	if v.state(s) == stDial {
		return "no connection: " + s.Dial.Result
	}
	if s.Cut != "" {
		return s.CutBy + " at " + s.Cut
	}
	return string(v.state(s))
}
