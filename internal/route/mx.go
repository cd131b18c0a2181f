package route

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"

	"paquebot/internal/dns"
	"paquebot/internal/smtp"
)

// exchanger is a host that takes mail for a domain, with the addresses that may
// be connected to.
type exchanger struct {
	name       string
	preference uint16
	addrs      []netip.Addr
}

// exchangers is what DNS says about where mail for a domain goes.
type exchangers struct {
	hosts   []exchanger // by preference; at least one unless refusal
	site    string
	refusal *smtp.Reply // why there is none
	loop    bool        // because we are the best of them
	keep    time.Duration
}

// hostsMax is how many MX hosts are considered (MX-16).
const hostsMax = 20

func refuse(keep time.Duration, r smtp.Reply) exchangers {
	return exchangers{refusal: &r, keep: keep}
}

// exchangers answers for a domain, from memory if it is fresh.
func (r *Router) exchangers(ctx context.Context, name string) exchangers {
	if set, ok := r.known.get(name, time.Now()); ok {
		return set
	}
	set := r.findExchangers(ctx, name)
	if own := asciiDomain(name); len(set.hosts) > 0 && isWithin(bestOf(set.hosts), own) {
		set.site = own // it takes its mail itself, whoever else lives under the same registrable domain
	}
	r.known.put(name, set, time.Now())
	return set
}

// findExchangers is RFC 5321 §5.1.
func (r *Router) findExchangers(ctx context.Context, name string) exchangers {
	if addr, ok := smtp.ParseLiteral(name); ok {
		return r.literal(addr)
	}
	mx := r.needs.Names.MX(ctx, name)
	switch {
	case mx.Status == dns.Temp: // never "no MX" (MX-9)
		return refuse(0, smtp.DNSTrouble.Because(fmt.Errorf("MX of %s: %w", name, mx.Cause)))
	case mx.Status == dns.NXDomain:
		return refuse(mx.TTL, smtp.NoDomain.WithText("Domain %s does not exist", smtp.Printable(name)))
	case dns.NullMX(mx.Records): // MX-7
		return refuse(mx.TTL, smtp.NullMX)
	case mx.Status == dns.NoData:
		// Implicit MX, only when it is sure that there is none (MX-1, MX-3).
		return r.resolve(ctx, []dns.MX{{Host: asciiDomain(name)}}, mx.TTL)
	}
	return r.resolve(ctx, usableTargets(mx.Records), mx.TTL)
}

// literal is mail for user@[192.0.2.1].
func (r *Router) literal(addr netip.Addr) exchangers {
	if !r.mayConnect(addr) {
		return refuse(time.Minute, smtp.NoUsable.WithText("Address literal is not one to send mail to"))
	}
	text := addr.String()
	return exchangers{hosts: []exchanger{{name: text, addrs: []netip.Addr{addr}}}, site: text, keep: time.Minute}
}

// usableTargets drops what cannot be a host: the root beside others (MX-7), an
// address written as a name (MX-6), and what was said before.
func usableTargets(records []dns.MX) []dns.MX {
	var out []dns.MX
	seen := map[string]bool{}
	for _, mx := range records {
		_, notName := netip.ParseAddr(mx.Host)
		if mx.Host == "." || notName == nil || seen[mx.Host] || len(out) == hostsMax {
			continue
		}
		seen[mx.Host] = true
		out = append(out, mx)
	}
	return out
}

// resolve looks up the hosts and drops those that lead nowhere, or to us.
func (r *Router) resolve(ctx context.Context, targets []dns.MX, keep time.Duration) exchangers {
	answers := make([]dns.Answer[netip.Addr], len(targets))
	var wg sync.WaitGroup
	for i, mx := range targets {
		wg.Go(func() { answers[i] = r.needs.Names.Addrs(ctx, mx.Host) })
	}
	wg.Wait()
	out := exchangers{keep: keep}
	var unsure error
	usBest := -1 // our own preference in the list
	for i, a := range answers {
		if r.isOurs(targets[i].Host, a.Records) && (usBest < 0 || int(targets[i].Preference) < usBest) {
			usBest = int(targets[i].Preference)
		}
	}
	for i, a := range answers {
		if usBest >= 0 && int(targets[i].Preference) >= usBest { // MX-8
			continue
		}
		if a.Status == dns.Temp {
			unsure = errors.Join(unsure, fmt.Errorf("addresses of %s: %w", targets[i].Host, a.Cause))
			out.keep = 0
			continue
		}
		out.keep = min(out.keep, a.TTL)
		if addrs := r.connectable(a.Records); len(addrs) > 0 {
			out.hosts = append(out.hosts, exchanger{targets[i].Host, targets[i].Preference, addrs})
		}
	}
	return r.conclude(out, usBest >= 0, unsure)
}

func (r *Router) conclude(out exchangers, us bool, unsure error) exchangers {
	switch {
	case len(out.hosts) > 0:
		out.site = siteOf(out.hosts)
	case unsure != nil: // MX-9
		return refuse(0, smtp.DNSTrouble.Because(unsure))
	case us:
		out.loop = true
		loop := smtp.LoopFound.WithText("Mail for this domain loops back to this server, which does not serve it")
		out.refusal = &loop
	default:
		none := smtp.NoUsable
		out.refusal = &none
	}
	return out
}

// siteOf names the receiving operation behind a domain: the registrable domain
// of its first MX. Many domains share one, and it is what limits us.
func siteOf(hosts []exchanger) string {
	first := bestOf(hosts)
	if site, err := publicsuffix.EffectiveTLDPlusOne(first); err == nil {
		return site
	}
	return first
}

// bestOf is the name of the first MX, whatever order DNS gave equal ones in.
func bestOf(hosts []exchanger) string {
	first := hosts[0].name
	for _, h := range hosts[1:] {
		if h.preference == hosts[0].preference && h.name < first {
			first = h.name
		}
	}
	return first
}

// isWithin reports that a host is a domain, or lies under it.
func isWithin(host, domain string) bool {
	return host == domain || strings.HasSuffix(host, "."+domain)
}

func (r *Router) connectable(addrs []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		if r.mayConnect(a) {
			out = append(out, a)
		}
	}
	return out
}

// mayConnect is MX-10: names in DNS belong to strangers, who may point them at
// us or into our network.
func (r *Router) mayConnect(a netip.Addr) bool {
	a = a.Unmap()
	switch {
	case !a.IsValid(), a.IsUnspecified(), a.IsMulticast(), r.isOurs("", []netip.Addr{a}):
		return false
	case r.conf.AllowLocal:
		return true
	case a.IsLoopback(), a.IsPrivate(), a.IsLinkLocalUnicast():
		return false
	}
	for _, p := range special() {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// special are the networks that no mail host on the Internet is in (RFC 6890).
func special() []netip.Prefix {
	return []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{0}), 8),                                     // this network
		netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10),                              // carrier NAT
		netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 0}), 24),                            // protocol assignments
		netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2}), 24),                            // documentation
		netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18}), 15),                              // benchmarks
		netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100}), 24),                         // documentation
		netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113}), 24),                          // documentation
		netip.PrefixFrom(netip.AddrFrom4([4]byte{240}), 4),                                   // reserved, broadcast
		netip.PrefixFrom(netip.AddrFrom16([16]byte{1: 0x64, 2: 0xff, 3: 0x9b, 5: 1}), 48),    // local translation
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8}), 32), // documentation
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x3f, 1: 0xff}), 20),                   // documentation
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0x01}), 64),                            // discard
	}
}
