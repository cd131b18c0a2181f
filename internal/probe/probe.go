package probe

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtpclient"
)

// Options of a look.
type Options struct {
	// Dial opens connections; nil: the system.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Route asks the machine's own routing table for the way to an address,
	// sending nothing; it tells a router's refusal from our own lack of a route.
	// nil: the system's where Dial is nil too, else it is guessed from the time
	// the failure took.
	Route func(netip.Addr) error
	Ehlo  string      // our name (MX-15)
	TLS   *tls.Config // roots and so on; nil: the system's roots. ServerName "" is the endpoint's host
	Small bool        // send a small ClientHello, without post-quantum share (TLS-3)
	Login *smtpclient.Login
	// Envelope asks for MAIL, RCPT and RSET: whether the host would relay. Only
	// for a host of the asker's own (DIAG-1, DIAG-72).
	Envelope *Envelope
	Limits   Limits
}

// Envelope is what MAIL and RCPT would name.
type Envelope struct{ From, To string }

// Limits bound each step; zero fields mean DefaultLimits.
type Limits struct {
	Connect   time.Duration
	Greeting  time.Duration // some servers pause on purpose (DIAG-5)
	Reply     time.Duration
	Handshake time.Duration
	Quit      time.Duration
}

// DefaultLimits fit a look that must end within half a minute (DIAG-5).
func DefaultLimits() Limits {
	return Limits{
		Connect:   3 * time.Second, // two SYNs; tries are repeated by whoever looks
		Greeting:  20 * time.Second,
		Reply:     8 * time.Second,
		Handshake: 6 * time.Second,
		Quit:      500 * time.Millisecond, // the answer teaches nothing
	}
}

func (l Limits) orDefaults() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ set, def *time.Duration }{
		{&l.Connect, &d.Connect}, {&l.Greeting, &d.Greeting}, {&l.Reply, &d.Reply},
		{&l.Handshake, &d.Handshake}, {&l.Quit, &d.Quit},
	} {
		if *f.set <= 0 {
			*f.set = *f.def
		}
	}
	return l
}

// Look makes one connection to an endpoint and says what it saw. It says MAIL
// only if asked, AUTH only if given a credential and under verified TLS, and
// QUIT wherever somebody can hear it (DIAG-1). It ends when ctx does, with what
// was seen until then.
func Look(ctx context.Context, e Endpoint, o Options) Observation {
	o.Limits = o.Limits.orDefaults()
	l := &look{ctx: ctx, e: e, o: o, began: time.Now()}
	l.seen.Endpoint = e
	l.run()
	if l.seen.Took == 0 {
		l.seen.Took = time.Since(l.began)
	}
	return l.seen
}

// look is one connection in progress.
type look struct {
	ctx   context.Context
	e     Endpoint
	o     Options
	began time.Time
	raw   *recorder // keeps the first octets
	conn  net.Conn  // raw, or TLS over it
	lines lines
	under bool // TLS
	deaf  bool // nobody hears us any more
	seen  Observation
}

func (l *look) run() {
	conn := l.dial()
	if conn == nil {
		return
	}
	l.raw = &recorder{Conn: conn}
	l.use(l.raw)
	stop := context.AfterFunc(l.ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	defer func() { l.conn.Close() }()
	l.talk()
	l.seen.First = l.raw.first
	l.seen.Took = time.Since(l.began)
	l.quit()
}

// talk goes as far as it can.
func (l *look) talk() {
	if l.e.Mode == mail.Implicit && !l.handshake() {
		return
	}
	if !l.greet() || !l.hello() {
		return
	}
	if !l.under && l.e.Mode != mail.Clear && !l.starttls() {
		return
	}
	l.login()
	l.envelope()
}
