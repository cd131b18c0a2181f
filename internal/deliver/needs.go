package deliver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/provider"
	"paquebot/internal/smtpclient"
)

// Config of a Deliverer. Zero fields have the defaults named.
type Config struct {
	Hostname string              // our name in EHLO, unless a source or route has its own
	Timeouts smtpclient.Timeouts // of the phases of a session
	Connect  time.Duration       // TCP connect per address; 30 s (CLI-1)
	Budget   time.Duration       // for finding a hop that answers; 5 min (MX-16)
	Roots    *x509.CertPool      // who may vouch for verified hops; nil: the system's
	Webhooks map[string]Webhook  // by the URL of the route
	Pool     PoolLimits
}

// Webhook is how one web application is posted to.
type Webhook struct {
	Secret  []byte        // of the signature; empty: none is sent
	Timeout time.Duration // for the whole exchange; 1 min
}

// PoolLimits bound the sessions kept for the next message (CLI-41).
type PoolLimits struct {
	Idle     time.Duration // unused for so long, a session is ended; 30 s
	Age      time.Duration // 10 min
	Messages int           // per session; 100
	PerHost  int           // idle sessions of one peer; 20
	Total    int           // idle sessions in all; 1000. Negative: none is kept
}

// Needs is what delivery needs from others; node gives it.
type Needs struct {
	Names Resolver
	// Dial opens a connection from a source address (zero: the system's
	// choice); network is "tcp" or "unix".
	Dial func(ctx context.Context, network, addr string, src netip.Addr) (net.Conn, error)
	// Catcher takes what goes to the catch store; nil: such mail is deferred.
	Catcher Catcher
	// Credential gives what a smart host wants, by mail.Route.Account; nil: none
	// has any.
	Credential func(account string) (Credential, bool)
	// PerConnection is how many messages a session with a site may carry, beside
	// the pool's own limit; 0 or nil: no more than that.
	PerConnection func(site string) int
	// Profile is what is known of a smart host, by mail.Route.Account; nil:
	// nothing.
	Profile func(account string) Profile
	// Endpoints remembers which endpoints work; nil: for as long as this lives.
	Endpoints *Endpoints
	// Network names where we are, by our address (zero: the system's choice) and
	// the gateway: what works in one place may not in another (SH-5). nil: we are
	// always in the same place.
	Network func(src netip.Addr) string
	// Unheard is for how long what we sent on a connection has not been
	// acknowledged by the other machine; 0 if all was. nil: nobody can tell.
	Unheard func(net.Conn) time.Duration
	Events  event.Sink // nil: nobody listens
}

// Profile is what is known of a smart host. Zero fields have the defaults named.
type Profile struct {
	Provider   *provider.Provider // nil: none of the catalogue
	Region     *provider.Region   // of it; nil: unknown
	Recipients int                // of one transaction; 100
	Recheck    time.Duration      // between looks at a better endpoint; 5 min
	Idle       time.Duration      // for which a session may be unused; PoolLimits.Idle
}

// Resolver looks up the addresses of a hop that has none, and what proves that
// it is a smart host; internal/dns.
type Resolver interface {
	Addrs(ctx context.Context, host string) dns.Answer[netip.Addr]
	TLSA(ctx context.Context, port uint16, host string) dns.Answer[dns.TLSA]
}

// Catcher keeps messages instead of delivering them; nil means stored.
type Catcher interface {
	Catch(ctx context.Context, env *mail.Envelope, recipients []mail.Recipient, body mail.Body) error
}

// Credential is what we show to a smart host, and whom we trust to vouch for it.
type Credential struct {
	Login        *smtpclient.Login // nil: no AUTH
	Certificates []tls.Certificate // of ours
	Roots        *x509.CertPool    // nil: Config.Roots
}

func (c Config) orDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.Connect, 30*time.Second)
	def(&c.Budget, 5*time.Minute)
	def(&c.Pool.Idle, 30*time.Second)
	def(&c.Pool.Age, 10*time.Minute)
	for _, f := range []struct {
		n   *int
		def int
	}{{&c.Pool.Messages, 100}, {&c.Pool.PerHost, 20}, {&c.Pool.Total, 1000}} {
		if *f.n == 0 {
			*f.n = f.def
		}
	}
	return c
}
