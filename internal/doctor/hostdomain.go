package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"paquebot/internal/dns"
)

// checkDomains looks at the DNS of each domain we serve: does its mail come
// here, and is there what receivers ask senders for. It is a simple look at
// presence; `paquebot domain check` goes further.
func (h Host) checkDomains(ctx context.Context, ours []netip.Addr) []Check {
	domains := h.Domains[:min(len(h.Domains), domainsMax)]
	found := make([][]Check, len(domains))
	var all sync.WaitGroup
	for i, d := range domains {
		all.Go(func() { found[i] = h.checkDomain(ctx, d, ours) })
	}
	all.Wait()
	out := slices.Concat(found...)
	if more := len(h.Domains) - len(domains); more > 0 {
		out = append(out, Check{"domains", Unsure, fmt.Sprintf("%d more were not looked at", more)})
	}
	return out
}

func (h Host) checkDomain(ctx context.Context, domain string, ours []netip.Addr) []Check {
	out := make([]Check, 4)
	var all sync.WaitGroup
	all.Go(func() { out[0] = h.checkMX(ctx, domain, ours) })
	all.Go(func() { out[1] = h.checkSPF(ctx, domain) })
	all.Go(func() { out[2] = h.checkDKIM(ctx, domain) })
	all.Go(func() { out[3] = h.checkDMARC(ctx, domain) })
	all.Wait()
	for i := range out {
		out[i].Text = domain + ": " + out[i].Text
	}
	return out
}

// checkMX: one of the exchangers is this host, by name or by address.
func (h Host) checkMX(ctx context.Context, domain string, ours []netip.Addr) Check {
	mx := h.Names.MX(ctx, domain)
	hosts := []string{}
	switch {
	case mx.Status == dns.Temp:
		return Check{"MX", Unsure, fmt.Sprintf("nobody could say: %v", mx.Cause)}
	case dns.NullMX(mx.Records):
		return Check{"MX", Fail, "says that it takes no mail (null MX), yet it is configured here"}
	case mx.Status == dns.OK:
		for _, r := range mx.Records {
			hosts = append(hosts, r.Host)
		}
	case h.Names.Addrs(ctx, domain).Status == dns.OK:
		hosts = append(hosts, domain) // RFC 5321 §5.1
	default:
		return Check{"MX", Fail, "has no MX and no address: no mail will come"}
	}
	if slices.Contains(hosts, strings.ToLower(strings.TrimSuffix(h.Hostname, "."))) {
		return Check{"MX", Good, "comes to " + h.Hostname}
	}
	for _, host := range hosts[:min(len(hosts), exchangersMax)] {
		for _, a := range h.Names.Addrs(ctx, host).Records {
			if slices.Contains(ours, a) {
				return Check{"MX", Good, fmt.Sprintf("comes to %s, which is this host (%s)", host, a)}
			}
		}
	}
	return Check{"MX", Warn, fmt.Sprintf("goes to %s, not to this host; right only if that one passes it on", strings.Join(hosts[:min(len(hosts), exchangersMax)], ", "))}
}

// checkSPF: exactly one record (RFC 7208 §4.5).
func (h Host) checkSPF(ctx context.Context, domain string) Check {
	records, check := h.texts(ctx, "SPF", domain, "v=spf1")
	switch {
	case check != nil:
		return *check
	case len(records) == 0:
		return Check{"SPF", Warn, "none published: anybody may send in this name"}
	case len(records) > 1:
		return Check{"SPF", Fail, fmt.Sprintf("%d records, where one is allowed: receivers take it as an error (RFC 7208 s4.5)", len(records))}
	}
	return Check{"SPF", Good, records[0]}
}

// checkDMARC: exactly one record; more are none (RFC 7489 §6.6.3).
func (h Host) checkDMARC(ctx context.Context, domain string) Check {
	records, check := h.texts(ctx, "DMARC", "_dmarc."+domain, "v=DMARC1")
	switch {
	case check != nil:
		return *check
	case len(records) == 0:
		return Check{"DMARC", Warn, "none published here; Gmail and Yahoo ask bulk senders for one (p=none is enough)"}
	case len(records) > 1:
		return Check{"DMARC", Fail, fmt.Sprintf("%d records, which count as none", len(records))}
	}
	return Check{"DMARC", Good, records[0]}
}

// texts returns the text records that begin with a version tag, or the check
// that says why nobody knows.
func (h Host) texts(ctx context.Context, check, name, version string) ([]string, *Check) {
	a := h.Names.TXT(ctx, name)
	if a.Status == dns.Temp {
		return nil, &Check{check, Unsure, fmt.Sprintf("nobody could say: %v", a.Cause)}
	}
	var out []string
	for _, r := range a.Records {
		word, _, _ := strings.Cut(r, ";")
		word, _, _ = strings.Cut(word, " ")
		if strings.EqualFold(strings.TrimSpace(word), version) {
			out = append(out, r)
		}
	}
	return out, nil
}

// checkDKIM cannot know the selectors; but where even _domainkey does not
// exist, no key does (RFC 8020).
func (h Host) checkDKIM(ctx context.Context, domain string) Check {
	switch a := h.Names.TXT(ctx, "_domainkey."+domain); a.Status {
	case dns.Temp:
		return Check{"DKIM", Unsure, fmt.Sprintf("nobody could say: %v", a.Cause)}
	case dns.NXDomain:
		return Check{"DKIM", Warn, "no key is published"}
	default:
		return Check{"DKIM", Good, "keys are published (which ones cannot be listed)"}
	}
}
