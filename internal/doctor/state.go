package doctor

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"paquebot/internal/mail"
	"paquebot/internal/probe"
	"paquebot/internal/smtp"
)

// state is what one sight comes to, in one word. The first that fits counts.
type state string

const (
	stClean      state = "clean"      // everything a client needs, verified
	stDial       state = "dial"       // no connection; Dial.Result says why
	stSilent     state = "silent"     // no greeting, and no TLS either
	stImplicit   state = "implicit"   // TLS from the first byte, though STARTTLS was expected
	stPlain      state = "plain"      // cleartext, though TLS was expected
	stGarbage    state = "garbage"    // something answers that is not SMTP
	stCut        state = "cut"        // the connection broke
	stRefused    state = "refused"    // greeting or EHLO said no
	stBusy       state = "busy"       // 421
	stNoEhlo     state = "no-ehlo"    // HELO only
	stStripped   state = "stripped"   // no STARTTLS
	stNoTLS      state = "no-tls"     // STARTTLS refused, or injected into
	stUntrusted  state = "untrusted"  // the certificate proves nothing
	stOldTLS     state = "old-tls"    // protocol_version
	stBroken     state = "broken"     // the handshake failed otherwise
	stUnfinished state = "unfinished" // time was over
)

// clean: fit to be used as it is.
func (s state) clean() bool { return s == stClean }

// word says how bad a state is.
func (s state) word() Word {
	switch s {
	case stClean:
		return Good
	case stImplicit, stPlain, stBusy:
		return Warn
	case stUnfinished:
		return Unsure
	}
	return Fail
}

// judgeSight puts a sight into one word.
func judgeSight(s *Sight) state {
	o := &s.Observation
	t := o.TLS
	switch {
	case o.Dial.Result == "":
		return stUnfinished
	case o.Dial.Result != probe.Open:
		return stDial
	case t != nil && t.Fault != nil && s.Endpoint.Mode != mail.Opportunistic:
		return stUntrusted
	case t != nil && saysReady(t.Plain):
		return stPlain
	case t != nil && t.Plain != nil:
		return stGarbage
	case t != nil && t.Alert == "protocol_version":
		return stOldTLS
	case t != nil && t.Err != nil && t.Alert != "":
		return stBroken
	case o.Silent && !o.Implicit:
		return stSilent
	case o.CutBy == "garbage":
		return stGarbage
	}
	return judgeTalk(s)
}

// judgeTalk goes on where the connection carried SMTP.
func judgeTalk(s *Sight) state {
	o := &s.Observation
	said := func(r *smtp.Reply, class int) bool { return r != nil && r.Code/100 == class }
	switch {
	case said(o.Greeting, 4) || said(o.Ehlo, 4) || said(o.Secure, 4):
		return stBusy
	case o.CutBy == "injected":
		return stNoTLS
	case o.Cut != "" && o.Cut != "auth" && o.Cut != "mail":
		return stCut
	case said(o.Greeting, 5):
		return stRefused
	case said(o.Helo, 2):
		return stNoEhlo
	case said(o.Ehlo, 5) || said(o.Secure, 5):
		return stRefused
	case s.Endpoint.Mode == mail.Opportunistic && said(o.Ehlo, 2):
		return stClean
	case o.StartTLS != nil && o.StartTLS.Code != 220:
		return stNoTLS
	case said(o.Secure, 2) && o.Verified() && o.Implicit && s.Endpoint.Mode != mail.Implicit:
		return stImplicit
	case said(o.Secure, 2) && o.Verified():
		return stClean
	case said(o.Ehlo, 2) && o.TLS == nil:
		return stStripped
	}
	return stUnfinished
}

// saysReady: these octets begin as a greeting does.
func saysReady(b []byte) bool { return strings.HasPrefix(string(b), "220") }

// mask reports that a text is mostly stars, as Cisco's inspection leaves it
// (DIAG-32).
func masked(text string) bool {
	const fewest = 4 // a star or two may be decoration
	stars := strings.Count(text, "*")
	return stars >= fewest && stars*2 >= len(strings.ReplaceAll(text, " ", ""))
}

// overwritten reports an EHLO keyword such as XXXXXXXA (DIAG-33).
func overwritten(keyword string) bool {
	const fewest = 4
	word, _, _ := strings.Cut(strings.ToUpper(keyword), " ")
	rest := strings.TrimLeft(word, "X")
	return len(word)-len(rest) >= fewest && len(rest) <= 1
}

// keywords of an EHLO reply, as they were said.
func keywords(r *smtp.Reply) []string {
	if r == nil {
		return nil
	}
	_, rest, _ := strings.Cut(r.Text, "\n")
	return strings.Split(rest, "\n")
}

// greets is the name a peer gives itself.
func greets(o *probe.Observation) string {
	if o.Greeting == nil {
		return ""
	}
	word, _, _ := strings.Cut(o.Greeting.Text, " ")
	return strings.ToLower(strings.TrimSuffix(word, "."))
}

// family is the registrable part of a name: what one operation owns.
func family(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if d, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return d
	}
	return host
}

// unknownCA reports that the chain ends at nobody we know, whatever else.
func unknownCA(err error) bool {
	var unknown x509.UnknownAuthorityError
	return errors.As(err, &unknown)
}

func expired(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}

// issuer of a chain, as far up as the peer showed it, for people.
func issuer(t *probe.TLS) string {
	if t == nil || len(t.Chain) == 0 {
		return ""
	}
	top := t.Chain[len(t.Chain)-1].Issuer
	if top.CommonName != "" {
		return top.CommonName
	}
	return strings.Join(top.Organization, ", ")
}

// sameLeaf reports that two peers showed the very same certificate.
func sameLeaf(a, b *probe.TLS) bool {
	return a != nil && b != nil && len(a.Chain) > 0 && len(b.Chain) > 0 && a.Chain[0].Equal(b.Chain[0])
}

// inspectors are words in the names of CAs that read other people's TLS:
// virus scanners, company proxies, parental controls (DIAG-38).
var inspectors = []string{
	"avast", "avg ", "avira", "kaspersky", "eset", "bitdefender", "norton", "sophos", "fortinet", "fortigate", "zscaler",
	"palo alto", "blue coat", "bluecoat", "symantec web", "umbrella", "mcafee", "dr.web", "drweb", "check point", "netskope",
	"g data", "f-secure", "trend micro", "panda", "barracuda", "watchguard", "sonicwall", "untangle", "squid", "mitmproxy",
	"adguard", "qustodio", "mail shield", "web shield", "web/mail", "mail scanner", "ssl inspection", "tls inspection",
	"ssl filter", "ssl proxy", "https inspection", "firewall", "proxy", "antivirus", "anti-virus", "gateway", "inspection",
}

// inspector reports that a CA's name is that of something that reads TLS.
func inspector(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(inspectors, func(w string) bool { return strings.Contains(name, w) })
}
