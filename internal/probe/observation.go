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
// reached is zero. Times are since the connection was begun.
type Observation struct {
	Endpoint Endpoint
	Local    netip.Addr // our side
	Dial     Dial
	Silent   bool          // no greeting within the bound
	First    []byte        // first octets received, at most 512
	Greeting *smtp.Reply   //
	GreetIn  time.Duration //
	Ehlo     *smtp.Reply   // before TLS
	EhloIn   time.Duration
	Helo     *smtp.Reply // asked only where EHLO was not understood
	StartTLS *smtp.Reply // answer to STARTTLS; nil: not said
	TLS      *TLS
	Secure   *smtp.Reply // EHLO under TLS
	Auth     []string    // mechanisms offered at the end
	Login    *smtp.Reply // answer to AUTH, when asked to try it
	Ext      smtp.Extensions
	Cut      string // where the connection broke: "greeting", "ehlo", "starttls", "handshake", "secure ehlo", "auth"; "" if it did not
	CutBy    string // "reset", "closed", "timeout"
	Took     time.Duration
	Dialogue []Line
}

// Dial is how the connection came about.
type Dial struct {
	Result string // open, refused, reset, timeout, no-route, prohibited, denied, error
	Errno  string // "ECONNREFUSED", as the system said it
	Took   time.Duration
}

// TLS is what the handshake showed. A chain is recorded even where it was not
// trusted; then nothing was said after the handshake.
type TLS struct {
	Version string // "TLS 1.3"
	Suite   string
	Group   string
	Chain   []*x509.Certificate
	Fault   error  // why the peer is not trusted; nil: verified
	Alert   string // the peer's or our alert that ended the handshake
	Plain   []byte // what the peer said instead of TLS, at most 512 octets
	Took    time.Duration
}

// Line is one line of the dialogue. Credentials are replaced (SH-13).
type Line struct {
	At     time.Duration
	Client bool
	Secure bool // under TLS
	Text   string
}
