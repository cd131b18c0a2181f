package doctor

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/mail"
	"paquebot/internal/probe"
	"paquebot/internal/smtpclient"
)

// Resolver answers names; *dns.Resolver is one.
type Resolver interface {
	Addrs(ctx context.Context, host string) dns.Answer[netip.Addr]
	Confirmed(ctx context.Context, addr netip.Addr) dns.Answer[string]
}

// Reference is a host to compare with: the same port elsewhere (DIAG-2).
type Reference struct {
	Host string
	Port uint16
	Mode mail.Security
}

// Config of a Doctor.
type Config struct {
	Ehlo     string
	Resolver Resolver
	Second   Resolver // asked beside Resolver to compare; nil: nobody
	// Dial and Route are probe.Options'; nil: the system's.
	Dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	Route func(netip.Addr) error
	V4    bool // families to look at; neither: both
	V6    bool
	Roots *x509.CertPool // nil: the system's
	Login *smtpclient.Login
	// Envelope asks each endpoint of our own server whether it relays (DIAG-72).
	Envelope *probe.Envelope
	// References replace the catalogue's hosts; empty but not nil: none.
	References []Reference
	// Impossible are addresses that nobody has; nil: those for documentation;
	// empty but not nil: none.
	Impossible []netip.Addr
	Reflector  string // a host of the operator's own elsewhere (DIAG-3); "" for none
	Portal     string // address of a page whose answer is 204, to find captive portals; "" for none
	Limits     probe.Limits
	Budget     time.Duration // of a whole run; 0: 30 s (DIAG-5)
	Spacing    time.Duration // between tries of one endpoint; 0: 1 s (DIAG-1)
	Prefer     []uint16      // DIAG-80
	LastGood   uint16
	Strict     bool
	// Progress hears of each endpoint when it is done; it may be called from
	// several goroutines at once. nil: nobody listens.
	Progress func(Progress)
}

// Progress is how far a run has come.
type Progress struct {
	Target   string
	Endpoint Endpoint
	Family   int
	Done     int // endpoints and families
	Of       int
	Word     Word
}

// Bounds of a run (DIAG-1, DIAG-5).
const (
	budgetDefault  = 30 * time.Second
	spacingDefault = time.Second
	// repeats is how often a silent connection is tried again. With three
	// seconds for each try, the longest wait is 11 s.
	repeats = 2
	// endpointsMax bounds one run: no target of the catalogue has more than 8
	// ports, a mail domain not more than some dozen endpoints.
	endpointsMax = 64
	// impossibleWait is how long the impossible address may take: what answers
	// for everybody stands near.
	impossibleWait = 1500 * time.Millisecond
	// webWait bounds the look at port 443, which only serves to compare.
	webWait = 2 * time.Second
	// secondWait is how long the second resolver may be behind the first.
	secondWait = 1500 * time.Millisecond
	// referencesMax is to how many other hosts a suspicious port is compared.
	referencesMax = 3
)

// Doctor examines targets. It is safe for concurrent use.
type Doctor struct{ conf Config }

// New returns a doctor.
func New(c Config) *Doctor {
	if !c.V4 && !c.V6 {
		c.V4, c.V6 = true, true
	}
	if c.Impossible == nil {
		c.Impossible = impossible()
	}
	if c.Budget <= 0 {
		c.Budget = budgetDefault
	}
	if c.Spacing <= 0 {
		c.Spacing = spacingDefault
	}
	return &Doctor{c}
}

// impossible are the addresses for documentation (RFC 5737, RFC 3849): nobody
// has them.
func impossible() []netip.Addr {
	return []netip.Addr{
		netip.AddrFrom4([4]byte{192, 0, 2, 1}),
		netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1}),
	}
}

// Examine looks at a target and judges what it sees.
func (d *Doctor) Examine(ctx context.Context, t Target) *Report {
	began := time.Now()
	r := Judge(d.Gather(ctx, t))
	r.Took = time.Since(began)
	return r
}
