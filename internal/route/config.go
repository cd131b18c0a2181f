package route

import (
	"net/netip"

	"paquebot/internal/mail"
)

// Config is what the operator says about where mail goes.
type Config struct {
	Hostname   string               // ours: EHLO's and Received's name
	Names      []string             // further names of ours that an MX may use
	Addrs      []netip.Addr         // ours: of listeners and interfaces (MX-8, MX-10)
	Domains    []Domain             // mail that is for us
	Rules      []Rule               // outgoing mail; the first that matches is taken
	Smarthosts map[string]Smarthost // by the name used in Rule.Via
	Pools      map[string][]mail.Source

	// PreferIPv6 tries a host's IPv6 addresses first. Large receivers refuse
	// IPv6 from sources without a reverse name, so IPv4 comes first unless the
	// operator knows better (MX-12).
	PreferIPv6 bool

	// AllowLocal lets names in DNS lead to loopback, private and documentation
	// addresses (MX-10). For laboratories and tests.
	AllowLocal bool
}

// Domain is one whose mail is for us.
type Domain struct {
	Name    string // "example.org", or "*.example.org" for its subdomains
	Deliver string // a destination; see ParseTarget
}

// Rule sends matching mail a certain way. Empty lists match all; of a list one
// pattern must match, and all lists given must.
type Rule struct {
	Recipient []string // "example.org", "*.example.org", "user@example.org", "*"
	Sender    []string // the same forms, of the envelope's sender; "<>" for none
	Account   []string // names; "*" is any account

	// Via is "mx" or "", the name of a smart host or of a pool, or a
	// destination as ParseTarget reads it.
	Via      string
	Pool     string        // of sources; "" for the system's choice
	Security mail.Security // for mx and smtp://, "" is Opportunistic
}

// Smarthost is a server that takes our outgoing mail (SH-1).
type Smarthost struct {
	Host string
	// Ports in the order to try; empty: 587, 465, 2525, 25 (SH-5).
	Ports []uint16
	// Security is Verify unless set; on the ports of implicit TLS it is used in
	// that form (SH-2).
	Security mail.Security
	Ehlo     string
	// Endpoints, if given, stand instead of Host and Ports, with the security of
	// each (SH-2).
	Endpoints []mail.Hop
	// MX looks Host up as a mail domain: its exchangers, which must lie within it,
	// at the ports of Endpoints (SH-8).
	MX bool
}

// defaultPorts is SH-5's order.
func defaultPorts() []uint16 { return []uint16{587, 465, 2525, 25} }

// implicitPort knows the ports on which TLS comes first (SH-2).
func implicitPort(p uint16) bool { return p == 465 || p == 2465 || p == 8465 || p == 443 }
