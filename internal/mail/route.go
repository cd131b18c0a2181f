package mail

import (
	"net/netip"
	"time"
)

// Transport is how a message is handed over.
type Transport string

const (
	SMTP    Transport = "smtp"
	LMTP    Transport = "lmtp"
	Maildir Transport = "maildir"
	Webhook Transport = "webhook"
	Catch   Transport = "catch"
)

// Security is the TLS a route demands; it is never lowered (P4).
type Security string

const (
	Opportunistic Security = "may"      // TLS when offered, any certificate (RFC 7435)
	Encrypt       Security = "encrypt"  // TLS, any certificate
	Verify        Security = "verify"   // TLS with a certificate for Hop.Name
	Implicit      Security = "implicit" // as Verify, TLS from the first byte
	Clear         Security = "clear"    // never TLS: loopback and unix sockets only
)

// Route is the endpoints to try for a recipient, in order, with the transport
// and TLS they demand.
type Route struct {
	Site      string // what is shaped: the MX roll-up's, smart host's or target's name
	Transport Transport
	Hops      []Hop  // in the order to try; empty for maildir, webhook and catch
	Target    string // maildir path, webhook URL or catch name; "" for hops
	Security  Security
	Account   string // names the credential of a smart host; "" for none
	ByMX      bool   // hops came from MX records: port 25, opportunistic rules
	Ehlo      string // overrides the server's hostname
	Sources   []Source
}

// Hop is one host to try. Addresses are looked up when it is tried if none are
// given here.
type Hop struct {
	Name       string // host name, without trailing dot; a unix socket's path for lmtp
	Port       uint16
	Preference uint16 // of the MX record; equal ones were shuffled already
	Addrs      []netip.Addr
	// Security is this hop's own, equally strong form of the route's, as a
	// smart host's port 465 is Implicit beside 587's Verify; "" is the route's.
	Security Security
}

// Source is one of our outgoing addresses with its EHLO name.
type Source struct {
	Addr netip.Addr // zero: the system's choice
	Ehlo string
}

// Attempt is one try: one message, some of its recipients, one route.
type Attempt struct {
	Envelope   *Envelope // not to be changed
	Recipients []int     // indexes in Envelope.Recipients, at least one
	Route      Route
	Body       Body
	Number     uint32    // 1 for the first try
	Deadline   time.Time // by when the attempt must end
}
