package doctor

import (
	"fmt"
	"slices"
	"strings"

	"paquebot/internal/dns"
	"paquebot/internal/mail"
)

// weigh makes a target of what a domain publishes. It is pure, but
// for the catalogue.
func weigh(name string, p *published) Target {
	t := Target{Kind: KindDomain, Name: name, Title: p.domain}
	w := &weighing{Target: &t, p: p}
	w.exchangers()
	w.services("submissions", p.submissions, mail.Implicit)
	w.services("submission", p.submission, mail.Verify)
	w.file()
	w.provider()
	w.guesses()
	w.choice()
	w.disagreements()
	return t
}

type weighing struct {
	*Target
	p *published
	// Services as each source has them, for what disagrees.
	bySRV, byFile []Endpoint
}

func (w *weighing) check(name string, word Word, format string, args ...any) {
	w.Checks = append(w.Checks, Check{Name: name, Word: word, Text: fmt.Sprintf(format, args...)})
}

// offer adds an endpoint once; the first source to name it is preferred.
func (w *weighing) offer(e Endpoint) {
	for _, have := range w.Endpoints {
		if have.Host == e.Host && have.Port == e.Port {
			return
		}
	}
	w.Endpoints = append(w.Endpoints, e)
}

// exchangers takes the MX, or the domain itself where there is none (RFC 5321
// §5.1). They are met on port 25 only, and with TLS as it comes (PORT-1).
func (w *weighing) exchangers() {
	mx := func(host string) {
		w.offer(Endpoint{Host: host, Port: 25, Mode: mail.Opportunistic, Role: Exchange})
	}
	switch a := w.p.mx; {
	case a.Status == dns.Temp:
		w.check("MX", Unsure, "nobody could say: %v", a.Cause)
		mx(w.p.domain) // the look at its name tells what is wrong with the DNS
	case dns.NullMX(a.Records):
		w.check("MX", Warn, "takes no mail, and says so (null MX, RFC 7505)")
	case a.Status == dns.NXDomain && w.p.exists.Status != dns.OK:
		w.check("MX", Fail, "%s does not exist", w.p.domain)
		mx(w.p.domain)
	case a.Status != dns.OK && w.p.exists.Status == dns.OK:
		w.check("MX", Warn, "none; mail goes to %s itself (RFC 5321 s5.1)", w.p.domain)
		mx(w.p.domain)
	case a.Status != dns.OK:
		w.check("MX", Fail, "none, and %s has no address: it can receive no mail", w.p.domain)
	default:
		var names []string
		for _, r := range a.Records[:min(len(a.Records), exchangersMax)] {
			if r.Host == "." {
				continue // unusable beside others (MX-7)
			}
			names = append(names, fmt.Sprintf("%s (%d)", r.Host, r.Preference))
			mx(r.Host)
		}
		if more := len(a.Records) - exchangersMax; more > 0 {
			names = append(names, fmt.Sprintf("and %d more, not looked at", more))
		}
		w.check("MX", Good, "%s", strings.Join(names, ", "))
	}
}

// services takes one kind of SRV record (DISC-1).
func (w *weighing) services(kind string, a dns.Answer[dns.SRV], mode mail.Security) {
	name := "_" + kind
	switch {
	case a.Status == dns.Temp:
		w.check(name, Unsure, "nobody could say: %v", a.Cause)
		return
	case dns.NotOffered(a.Records):
		w.check(name, Good, `says "not offered" (target ".")`)
		return
	case a.Status != dns.OK:
		w.check(name, NotReached, "no SRV record")
		return
	}
	var names []string
	for _, r := range a.Records[:min(len(a.Records), servicesMax)] {
		if r.Target == "." {
			continue
		}
		e := Endpoint{Host: r.Target, Port: r.Port, Mode: mode, Role: Submission, Known: true}
		w.bySRV = append(w.bySRV, e)
		names = append(names, fmt.Sprintf("%s:%d", r.Target, r.Port))
		w.offer(e)
	}
	w.check(name, Good, "%s", strings.Join(names, ", "))
	w.outside(name, a)
}

// outside warns of services that a certificate cannot bind to the mail domain
// unless it names the domain too (DISC-2).
func (w *weighing) outside(name string, a dns.Answer[dns.SRV]) {
	if a.Secure {
		return // DNSSEC has proven that the domain's owner wrote it (RFC 7817 s3)
	}
	for _, r := range a.Records {
		if r.Target == "." || within(r.Target, w.p.domain) {
			continue
		}
		w.check(name, Warn, "%s is outside %s: clients must ask their user, or see %[2]s in its certificate", r.Target, w.p.domain)
		w.Findings = append(w.Findings, Finding{
			ID: "DISC-2", Confidence: Proven, Word: Warn,
			Text:     fmt.Sprintf("%s.%s points outside the domain, to %s, and no DNSSEC vouches for it.", name, w.p.domain, r.Target),
			Evidence: []Evidence{{"rule", "RFC 6186 s6 and RFC 7817 s3: the certificate must name the mail domain, or the user decides"}},
			Advice:   fmt.Sprintf("Give the service a name inside %s, such as mail.%[1]s, and a certificate for it.", w.p.domain),
		})
		return
	}
}

// within reports whether a host belongs to a domain.
func within(host, domain string) bool {
	host, domain = strings.ToLower(strings.TrimSuffix(host, ".")), strings.ToLower(strings.TrimSuffix(domain, "."))
	if domain == "" {
		return false
	}
	return host == domain || strings.HasSuffix(host, "."+domain)
}

// file takes Mozilla's configuration file (DISC-3).
func (w *weighing) file() {
	c := w.p.config()
	switch {
	case w.p.autoconfigForbidden:
		w.check("autoconfig", NotReached, "not asked, as told")
		return
	case c == nil:
		w.check("autoconfig", NotReached, "none: %s", w.tried())
		return
	}
	var names []string
	for _, s := range c.servers {
		e := Endpoint{Host: s.host, Port: s.port, Role: Submission, Known: true}
		switch strings.ToUpper(s.modes) {
		case "SSL", "TLS":
			e.Mode = mail.Implicit
		case "STARTTLS":
			e.Mode = mail.Verify
		default: // PORT-8: a credential never travels in clear, whoever asks for it
			w.check("autoconfig", Fail, "sends passwords in clear to %s:%d (socketType %q)", s.host, s.port, s.modes)
			e.Mode, e.Known = mail.Verify, false
		}
		w.byFile = append(w.byFile, e)
		names = append(names, fmt.Sprintf("%s:%d %s", s.host, s.port, modeWord(e.Mode)))
		w.offer(e)
	}
	w.check("autoconfig", Good, "%s, by %s", strings.Join(names, ", "), hostOf(c.url))
}

// tried says why there is no file, shortly.
func (w *weighing) tried() string {
	var why []string
	for _, g := range w.p.pages {
		why = append(why, fmt.Sprintf("%s: %v", hostOf(g.url), g.err))
	}
	return strings.Join(why, "; ")
}

func hostOf(url string) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(url, "https://"), "/")
	return host
}

func modeWord(m mail.Security) string {
	if m == mail.Implicit {
		return "TLS"
	}
	return "STARTTLS"
}

// provider adds the submission service of whoever runs the exchangers, as
// clients do that derive it from the MX.
func (w *weighing) provider() {
	if w.p.mine == nil {
		return
	}
	w.check("provider", Good, "%s runs the exchangers", w.p.mine.Title)
	if len(w.bySRV)+len(w.byFile) > 0 || len(w.p.mine.Regions) == 0 {
		return
	}
	w.Provider, w.Region = w.p.mine, &w.p.mine.Regions[0]
	for _, port := range w.p.mine.Ports {
		if port.Number != 25 {
			w.offer(Endpoint{Host: w.Region.Host, Port: port.Number, Mode: port.Mode, Role: Submission, Known: true})
		}
	}
}

// guesses tries the usual names on the usual ports, where nothing better is
// known. Nobody promised these: what is missing there proves nothing.
func (w *weighing) guesses() {
	for _, host := range w.p.guesses {
		w.offer(Endpoint{Host: host, Port: 587, Mode: mail.Verify, Role: Submission})
		w.offer(Endpoint{Host: host, Port: 465, Mode: mail.Implicit, Role: Submission})
	}
	if len(w.p.guesses) > 0 {
		w.check("guess", Unsure, "nothing is published; clients would try %s", strings.Join(w.p.guesses, " and "))
	}
}

// choice says what clients take: by the file, which Thunderbird reads first, or
// by SRV, of which 465 is preferred (RFC 8314 §5.1).
func (w *weighing) choice() {
	e, by := Endpoint{}, ""
	switch {
	case len(w.byFile) > 0:
		e, by = w.byFile[0], "autoconfig"
	case len(w.bySRV) > 0:
		e, by = w.bySRV[0], "SRV"
	default:
		for _, known := range w.Endpoints {
			if known.Role == Submission && known.Known {
				e, by = known, "the exchangers' provider"
				break
			}
		}
	}
	if by == "" {
		w.check("clients", Warn, "find no submission service by themselves")
		return
	}
	w.check("clients", Good, "would choose %s:%d with %s, by %s", e.Host, e.Port, modeWord(e.Mode), by)
}

// disagreements compares the sources (DISC-7).
func (w *weighing) disagreements() {
	var evidence []Evidence
	for _, f := range w.byFile {
		for _, s := range w.bySRV {
			if f.Host == s.Host && f.Port == s.Port && f.Mode != s.Mode {
				evidence = append(evidence, Evidence{"same port", fmt.Sprintf("%s:%d is %s by autoconfig and %s by SRV", f.Host, f.Port, modeWord(f.Mode), modeWord(s.Mode))})
			}
		}
	}
	if len(w.byFile) > 0 && len(w.bySRV) > 0 && !slices.ContainsFunc(w.byFile, func(f Endpoint) bool {
		return slices.ContainsFunc(w.bySRV, func(s Endpoint) bool { return f.Host == s.Host })
	}) {
		evidence = append(evidence, Evidence{"other hosts", fmt.Sprintf("%s by autoconfig, %s by SRV", w.byFile[0].Host, w.bySRV[0].Host)})
	}
	evidence = append(evidence, w.denied("submissions", w.p.submissions, mail.Implicit)...)
	evidence = append(evidence, w.denied("submission", w.p.submission, mail.Verify)...)
	if len(evidence) == 0 {
		return
	}
	w.check("agreement", Warn, "autoconfig and SRV say different things: %s", evidence[0].Text)
	w.Findings = append(w.Findings, Finding{
		ID: "DISC-7", Confidence: Proven, Word: Warn, Evidence: evidence,
		Text:   fmt.Sprintf("What %s publishes disagrees: some clients will try what others do not.", w.p.domain),
		Advice: "Publish the same hosts, ports and modes by SRV and by autoconfig.",
	})
}

// denied: SRV says that there is no such service, the file names one.
func (w *weighing) denied(kind string, a dns.Answer[dns.SRV], mode mail.Security) []Evidence {
	if !dns.NotOffered(a.Records) {
		return nil
	}
	for _, f := range w.byFile {
		if f.Mode == mode {
			return []Evidence{{"not offered", fmt.Sprintf("_%s says \".\", autoconfig names %s:%d", kind, f.Host, f.Port)}}
		}
	}
	return nil
}
