package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"paquebot/internal/dns"
)

// DIAG-10: the name does not exist, or has no address.
func judgeNoName(v *view) []Finding {
	var out []Finding
	for _, n := range v.Names {
		if !n.Answer.Status.None() {
			continue
		}
		f := Finding{ID: "DIAG-10", Word: Fail, Confidence: Likely, Text: "The name " + n.Host + " does not exist.",
			Advice: "Check the spelling."}
		if n.Answer.Status == dns.NoData {
			f.Text = "The name " + n.Host + " has no address."
		}
		if p := v.Target.Provider; p != nil && len(p.Regions) > 1 {
			f.Advice = "Check the region: " + p.Title + " has one host for each."
		}
		f.Evidence = []Evidence{{"resolver", n.Host + ": " + statusWords(n.Answer.Status)}}
		if n.Second != nil {
			f.Evidence = append(f.Evidence, Evidence{"second resolver", statusWords(n.Second.Status)})
			switch {
			case n.Second.Status.None():
				f.Confidence = Proven
			case n.Second.Status == dns.OK:
				continue // DIAG-12: one of them does not tell the truth
			}
		}
		out = append(out, f)
	}
	return out
}

func statusWords(s dns.Status) string {
	switch s {
	case dns.OK:
		return "has addresses"
	case dns.NXDomain:
		return "no such name"
	case dns.NoData:
		return "no address"
	}
	return "no answer"
}

// DIAG-11: the resolver cannot say.
func judgeNoResolver(v *view) []Finding {
	var out []Finding
	for _, n := range v.Names {
		if n.Answer.Status != dns.Temp {
			continue
		}
		f := Finding{ID: "DIAG-11", Word: Unsure, Confidence: Likely,
			Text:   "DNS cannot say where " + n.Host + " is: trouble with names, not with ports.",
			Advice: "See to the name servers of this machine (/etc/resolv.conf), then look again."}
		if n.Answer.Cause != nil {
			f.Evidence = append(f.Evidence, Evidence{"resolver", n.Answer.Cause.Error()})
		}
		failing := 0
		for _, o := range n.Others {
			f.Evidence = append(f.Evidence, Evidence{"other name", o.Host + ": " + statusWords(o.Answer.Status)})
			if o.Answer.Status == dns.Temp {
				failing++
			}
		}
		switch {
		case len(n.Others) > 0 && failing == len(n.Others):
			f.Confidence = Proven
		case failing == 0 && len(n.Others) > 0:
			f.Text = "The name servers of " + family(n.Host) + " do not answer; other names resolve."
			f.Advice = "Wait, or tell whoever runs " + family(n.Host) + "."
		}
		if n.Second != nil {
			f.Evidence = append(f.Evidence, Evidence{"second resolver", statusWords(n.Second.Status)})
		}
		out = append(out, f)
	}
	return out
}

// DIAG-12: the answer is not the one others get.
func judgeForgedName(v *view) []Finding {
	var out []Finding
	for _, n := range v.Names {
		if n.Answer.Status == dns.Temp {
			continue
		}
		differs := n.Second != nil && n.Second.Status != dns.Temp && disagree(n.Answer, *n.Second)
		same := sameForAll(n)
		inner := slices.ContainsFunc(n.Answer.Records, notPublic)
		known := v.Target.Kind == KindProvider
		if !differs && same == nil && !(inner && known) {
			continue
		}
		if differs && same == nil && !inner && (n.Answer.Status == dns.OK && (n.Second.Status == dns.OK && !v.troubled(n.Host))) {
			continue // balanced by address, as large services are
		}
		f := Finding{ID: "DIAG-12", Word: Warn, Confidence: Unknown,
			Text:   "The answer of DNS for " + n.Host + " is not the one others get: a captive portal, a DNS filter or a split DNS.",
			Advice: "Log in to the network if it asks for that, or use another resolver."}
		f.Evidence = append(f.Evidence, Evidence{"resolver", addresses(n.Answer)})
		if n.Second != nil {
			f.Evidence = append(f.Evidence, Evidence{"second resolver", addresses(*n.Second)})
		}
		if inner || differs && n.Answer.Status != n.Second.Status {
			f.Confidence = Likely
		}
		if same != nil {
			f.Confidence, f.Word = Proven, Fail
			f.Evidence = append(f.Evidence, Evidence{"other names", list(same) + choose(len(same) == 1, " has", " have") + " the same address"})
		}
		out = append(out, f)
	}
	return out
}

func disagree(a, b dns.Answer[netip.Addr]) bool {
	if a.Status != b.Status {
		return !(a.Status.None() && b.Status.None())
	}
	return a.Status == dns.OK && !overlap(a.Records, b.Records)
}

// sameForAll are the unrelated names that got the very same address.
func sameForAll(n Name) []string {
	var out []string
	for _, o := range n.Others {
		if family(o.Host) != family(n.Host) && overlap(o.Answer.Records, n.Answer.Records) {
			out = append(out, o.Host)
		}
	}
	return out
}

// troubled: nothing of a host is clean.
func (v *view) troubled(host string) bool {
	return len(v.where(func(s *Sight) bool { return s.Endpoint.Host == host && v.state(s).clean() })) == 0
}

func addresses(a dns.Answer[netip.Addr]) string {
	if a.Status != dns.OK {
		return statusWords(a.Status)
	}
	var out []string
	const shown = 4
	for i, r := range a.Records {
		if i == shown {
			out = append(out, fmt.Sprintf("%d more", len(a.Records)-shown))
			break
		}
		out = append(out, r.String())
	}
	return strings.Join(out, ", ")
}
