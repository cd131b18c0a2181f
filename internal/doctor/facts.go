package doctor

import (
	"net/netip"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/probe"
)

// Facts is everything a run has gathered about one target. The judge reads
// nothing else.
type Facts struct {
	Target   Target
	Started  time.Time
	Names    []Name  // one per host of the target
	Sights   []Sight // one per endpoint and family
	Controls Controls
	Self     []Self // our own addresses, as they are seen from here
	Login    *Login // the credential that was tried; nil: none
	// Prefer are the ports the operator wants, LastGood the one that worked
	// last from this network (DIAG-80); Strict asks for TLS from the first byte
	// where there is a choice (PORT-7).
	Prefer   []uint16
	LastGood uint16
	Strict   bool
	// Cut: the run's time was over before everything had been looked at.
	Cut bool
}

// Login says which credential was tried, without its secret.
type Login struct {
	User  string
	Shape string // what is wrong with its form, as the provider's page has it; "" if nothing
}

// Name is what resolvers say of a host.
type Name struct {
	Host   string
	Answer dns.Answer[netip.Addr]
	Took   time.Duration
	// Second is another resolver's answer; nil where there is none to ask.
	Second *dns.Answer[netip.Addr]
	// Others are answers about unrelated names, taken when this one fails or
	// looks forged (DIAG-11, DIAG-12).
	Others []Other
}

// Other is what the first resolver says of an unrelated name.
type Other struct {
	Host   string
	Answer dns.Answer[netip.Addr]
}

// Sight is what was seen of an endpoint over one family.
type Sight struct {
	Endpoint Endpoint
	Family   int // 4 or 6
	probe.Observation
	// Earlier are the tries before: timeouts are repeated, a handshake that
	// broke is tried once more with a small ClientHello (TLS-3).
	Earlier []probe.Observation
	// Turned is what the port shows in the other mode, where it plainly has
	// that (DIAG-31); nil otherwise.
	Turned *probe.Observation
}

// Controls are the comparisons without which nobody is blamed (DIAG-2, DIAG-3).
type Controls struct {
	Impossible []Control // the same port of an address that nobody has
	References []Sight   // the same port of other hosts
	Reflector  []Control // the same port of a host of the operator's own
	Web        []Control // port 443 of the hosts asked about
	Portal     *Portal   // the captive-portal question; nil: not asked
}

// Control is one connection made only to compare.
type Control struct {
	Host  string // as asked for
	Addr  netip.Addr
	Port  uint16
	Dial  probe.Dial
	First []byte // what came unasked, at most 512 octets
}

// Portal is the answer to a plain HTTP request whose answer is known (DIAG-48).
type Portal struct {
	URL      string
	Status   int
	Location string // where it sent us
	Expected bool   // the answer was the known one
	Err      string // "" if there was an answer
}

// Self is one of our addresses.
type Self struct {
	Addr  netip.Addr
	Names dns.Answer[string] // forward-confirmed reverse names
}
