package doctor

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/mail"
	"paquebot/internal/provider"
)

// Host is this machine, as its configuration describes it, for the check of
// the machine itself. Without a configuration only names, addresses and the
// ways out are looked at.
type Host struct {
	Names    *dns.Resolver
	Hostname string        // what it calls itself in EHLO, unless a source says otherwise
	Sources  []mail.Source // its outgoing addresses; none: the system's choice
	// Listeners, Domains and Certificates are those of the configuration.
	Listeners    []HostListener
	Domains      []string
	Certificates []HostCertificate
	// References are hosts whose ports are tried to learn which ways out are
	// open (DIAG-2); empty: two of the catalogue that offer all four ports.
	References []string
	// Dial opens connections; nil: the system. It is asked for "udp4" and
	// "udp6" too, to learn our own addresses; nothing is sent there.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Roots are the authorities that certificates are held against; nil: the
	// system's.
	Roots *x509.CertPool
}

// HostListener is one port this machine should listen at.
type HostListener struct {
	Address string         // "[::]:587", ":25"
	Role    string         // mx, submission, submissions
	Trusted []netip.Prefix // who may relay without a password (REL)
}

// HostCertificate is a certificate as configured.
type HostCertificate struct {
	File  string
	Chain []*x509.Certificate // leaf first
	Err   error               // why there is none
}

const (
	// hostTime bounds the questions about this machine, within DIAG-5's 30 s.
	hostTime = 6 * time.Second

	waysOutMax = 4 // hosts; each costs four connections
	domainsMax = 50
)

// Targets looks at names, certificates and domains, and returns what is to be
// examined: first the ways out, with the checks of this machine; then, if it is
// configured, its own listeners.
func (h Host) Targets(ctx context.Context) []Target {
	ctx, cancel := context.WithTimeout(ctx, hostTime)
	defer cancel()
	self := Target{Kind: KindSelf, Name: h.Hostname, Title: "this host, " + h.Hostname, Endpoints: h.waysOut()}
	ours := h.addresses(ctx)
	var names, domains []Check
	var all sync.WaitGroup
	all.Go(func() { names = h.checkNames(ctx, ours) })
	all.Go(func() { domains = h.checkDomains(ctx, ours) })
	all.Wait()
	self.Checks = append(append(names, h.checkCertificates(time.Now())...), domains...)
	if len(h.Listeners) == 0 {
		return []Target{self}
	}
	return []Target{self, h.listeners(ours)}
}

// waysOut are the four ports of each reference: 25 as one server meets another,
// the rest as a client submits.
func (h Host) waysOut() []Endpoint {
	hosts := h.References
	if len(hosts) == 0 {
		hosts = referenceHosts()
	}
	var out []Endpoint
	for _, host := range hosts[:min(len(hosts), waysOutMax)] {
		out = append(out,
			Endpoint{Host: host, Port: 587, Mode: mail.Verify, Role: Submission, Known: promised(host, 587)},
			Endpoint{Host: host, Port: 465, Mode: mail.Implicit, Role: Submission, Known: promised(host, 465)},
			Endpoint{Host: host, Port: 2525, Mode: mail.Verify, Role: Submission, Known: promised(host, 2525)},
			Endpoint{Host: host, Port: 25, Mode: mail.Opportunistic, Role: Exchange, Known: promised(host, 25)})
	}
	return out
}

// referenceHosts are the first two hosts of the catalogue that listen on all
// four ports, of two operators: one alone could be down (DIAG-2).
func referenceHosts() []string {
	var hosts []string
	for _, name := range []string{"sendgrid", "mailgun"} {
		if _, region, err := provider.Find(name); err == nil && region != nil {
			hosts = append(hosts, region.Host)
		}
	}
	return hosts
}

// promised reports whether the catalogue says that a host has the port.
func promised(host string, port uint16) bool {
	p, _, ok := provider.ByHost(host)
	if !ok {
		return false
	}
	for _, have := range p.Ports {
		if have.Number == port {
			return true
		}
	}
	return false
}

// addresses are those we are seen with, as far as this machine knows: the
// configured sources, or what the system chooses for the world outside, one of
// each family.
func (h Host) addresses(ctx context.Context) []netip.Addr {
	var ours []netip.Addr
	for _, s := range h.Sources {
		if s.Addr.IsValid() {
			ours = append(ours, s.Addr)
		}
	}
	if len(ours) > 0 {
		return ours
	}
	// Nothing is sent: connecting UDP only chooses a route, and a source with it.
	for _, probe := range []struct{ network, to string }{{"udp4", "192.0.2.1:9"}, {"udp6", "[2001:db8::1]:9"}} {
		open := h.Dial
		if open == nil {
			open = (&net.Dialer{}).DialContext
		}
		c, err := open(ctx, probe.network, probe.to)
		if err != nil {
			continue
		}
		if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
			ours = append(ours, a.AddrPort().Addr().Unmap().WithZone(""))
		}
		_ = c.Close()
	}
	return ours
}

// ehlo is how we greet from an address.
func (h Host) ehlo(a netip.Addr) string {
	for _, s := range h.Sources {
		if s.Addr == a && s.Ehlo != "" {
			return s.Ehlo
		}
	}
	return h.Hostname
}

// listeners is our own server as a target: each configured port, at an address
// from which we are a stranger to it, if there is one.
func (h Host) listeners(ours []netip.Addr) Target {
	t := Target{Kind: KindSelf, Name: "listeners", Title: "the listeners of " + h.Hostname, Own: true}
	for _, l := range h.Listeners {
		host, portText, err := net.SplitHostPort(l.Address)
		port, errPort := strconv.ParseUint(portText, 10, 16)
		if err != nil || errPort != nil {
			t.Checks = append(t.Checks, Check{"listener", Fail, l.Address + " is no address with a port"})
			continue
		}
		e := Endpoint{Host: h.Hostname, Port: uint16(port), Known: true, Role: Submission, Mode: mail.Verify}
		switch l.Role {
		case "mx":
			e.Role, e.Mode = Exchange, mail.Opportunistic
		case "submissions":
			e.Mode = mail.Implicit
		}
		at, stranger := seenFrom(host, ours, l.Trusted)
		e.Addrs = []netip.Addr{at}
		if wide := widest(l.Trusted); wide.IsValid() {
			t.Checks = append(t.Checks, Check{"relay", Fail, "port " + portText + " trusts " + wide.String() + ": that is no network of one's own, and strangers in it may relay"})
		}
		if !stranger {
			t.Checks = append(t.Checks, Check{"relay", Unsure, "port " + portText + ": every address here is trusted, so whether strangers may relay cannot be seen from here"})
		}
		t.Endpoints = append(t.Endpoints, e)
	}
	t.Checks = append(t.Checks, Check{"from outside", Unsure,
		"cannot be seen from here: run `paquebot doctor " + h.Hostname + " --own` on a machine elsewhere (DIAG-70)"})
	return t
}

// widest returns a trusted network so large that it must hold strangers: more
// than a /8 of IPv4 or the usual allocation of an IPv6 provider.
func widest(trusted []netip.Prefix) netip.Prefix {
	for _, p := range trusted {
		if p.Addr().Is4() && p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 32 && !p.Addr().IsPrivate() {
			return p
		}
	}
	return netip.Prefix{}
}

// seenFrom chooses where to connect to a listener. Whoever connects to an
// address of this machine comes from that same address: so one that is not
// trusted is preferred.
func seenFrom(host string, ours []netip.Addr, trusted []netip.Prefix) (at netip.Addr, stranger bool) {
	isTrusted := func(a netip.Addr) bool {
		for _, p := range trusted {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}
	bound, err := netip.ParseAddr(host)
	if err == nil && !bound.IsUnspecified() {
		return bound, !isTrusted(bound)
	}
	only4 := err == nil && bound.Is4()
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for _, a := range append(slices.Clone(ours), loopback) {
		if !isTrusted(a) && !(only4 && a.Is6()) {
			return a, true
		}
	}
	return loopback, false
}
