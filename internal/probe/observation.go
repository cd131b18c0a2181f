package probe

import (
	"crypto/x509"
	"net/netip"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Endpoint is what is looked at.
type Endpoint struct {
	Host string        // name, as TLS must prove it
	Addr netip.Addr    // where to connect
	Port uint16        //
	Mode mail.Security // mail.Verify (STARTTLS), mail.Implicit, or mail.Opportunistic (port 25 of an MX)
}

// Observation is what one connection to an endpoint showed. What was not
// reached is zero. Each duration is that of its own step.
type Observation struct {
	Endpoint Endpoint
	Local    netip.Addr // our side
	Dial     Dial
	Silent   bool          // no greeting within the bound
	First    []byte        // first octets received, at most 512
	Greeting *smtp.Reply   //
	GreetIn  time.Duration // since the connection, or TLS, stood
	Ehlo     *smtp.Reply   // before TLS
	EhloIn   time.Duration
	Helo     *smtp.Reply // asked only where EHLO was not understood
	StartTLS *smtp.Reply // answer to STARTTLS; nil: not said
	Injected int         // octets that came between STARTTLS's 220 and TLS (TLS-10)
	TLS      *TLS
	// Implicit: TLS began with the first octet. Where Mode is not
	// mail.Implicit, the port was silent until a ClientHello came (DIAG-30).
	Implicit bool
	Secure   *smtp.Reply // EHLO under TLS
	Auth     []string    // mechanisms offered at the end
	Login    *smtp.Reply // answer to AUTH, when asked to try it
	LoginErr error       // why AUTH was not said, or has no answer of the peer's
	Mail     *smtp.Reply // answers to MAIL and RCPT, when asked to try them
	Rcpt     *smtp.Reply
	Ext      smtp.Extensions
	Quit     bool   // QUIT was said and answered
	Cut      string // where the connection broke: "greeting", "ehlo", "starttls", "handshake", "secure ehlo", "auth", "mail"; "" if it did not
	CutBy    string // "reset", "closed", "timeout", "garbage" (not SMTP), "injected" (TLS-10)
	Took     time.Duration
	Dialogue []Line
}

// Dial is how the connection came about.
type Dial struct {
	Result string // open, refused, reset, timeout, no-route, prohibited, denied, error
	Errno  string // "ECONNREFUSED", as the system said it
	Took   time.Duration
}

// How a connection can come about. Prohibited means that a router on the way
// said no (ICMP); Denied that this machine did, NoRoute that it knows no way.
const (
	Open       = "open"
	Refused    = "refused"
	Reset      = "reset"
	Timeout    = "timeout"
	NoRoute    = "no-route"
	Prohibited = "prohibited"
	Denied     = "denied"
	Error      = "error"
)

// TLS is what the handshake showed. A chain is recorded even where it was not
// trusted; then the handshake was broken off and nothing was said any more,
// except to an MX, to which any certificate is good (RFC 7435).
type TLS struct {
	Version string // "TLS 1.3"
	Suite   string
	Group   string
	SNI     string
	Small   bool // the ClientHello had no post-quantum share (TLS-3)
	Chain   []*x509.Certificate
	Fault   error  // why the peer is not trusted: Trust, or Name; nil: verified
	Trust   error  // why the chain proves nothing: unknown CA, expired ...
	Name    error  // why the certificate is not for this name
	Alert   string // the alert that ended the handshake, as RFC 9846 §6 names it
	AlertBy string // "peer" or "us"
	Plain   []byte // what the peer said instead of TLS, at most 512 octets
	Err     error  // why the handshake failed; nil if it stood
	Took    time.Duration
}

// Line is one line of the dialogue. Credentials are replaced (SH-13).
type Line struct {
	At     time.Duration // since the connection was begun
	Client bool
	Secure bool // under TLS
	Note   bool // ours: neither side said it
	Text   string
}

// Verified reports that the peer proved to be who it should be.
func (o *Observation) Verified() bool {
	return o.TLS != nil && o.TLS.Err == nil && o.TLS.Fault == nil
}
