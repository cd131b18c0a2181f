package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Config says what one listener does.
type Config struct {
	Name      string // as configured, for events: ":587"
	Role      mail.Role
	TLS       *tls.Config    // of the handshake; used when TLSFirst
	TLSFirst  bool           // submissions: nothing is said before the handshake (P465-1)
	ProxyFrom []netip.Prefix // peers that must send a PROXY header; when not empty, all others are refused (INT-1)
	Trusted   []netip.Prefix // Origin.Trusted for these

	// Exempt peers, and trusted ones, are bound by Connections alone: a relay
	// that serves a fleet comes from one address.
	Exempt []netip.Prefix

	Connections   int // at once; 0: no bound
	PerAddress    int // at once from an address, /64 for IPv6 (ABU-1); 0: no bound
	PerMinute     int // new ones from an address (ABU-2); 0: no bound
	HandshakesMin int // handshakes of the first byte from an address a minute (ABU-11); 0: no bound
}

// Bounds that are no matter of configuration.
const (
	handshakeMax = 30 * time.Second // P465-4
	proxyMax     = 3 * time.Second  // INT-1
	refuseMax    = 5 * time.Second  // to take the reply that turns a peer away
	refusersMax  = 100              // peers being told so at once; more are just closed
)

// Listener accepts connections of one address.
type Listener struct {
	cfg   Config
	needs Needs
	guard *guard
	turns chan struct{} // bounds concurrent refusals

	mu     sync.Mutex
	socket net.Listener
	closed bool
}

// New returns a Listener for a socket that is open already (see Bind).
func New(socket net.Listener, cfg Config, needs Needs) *Listener {
	return &Listener{
		cfg: cfg, needs: needs, socket: socket,
		guard: newGuard(cfg.Connections, cfg.PerAddress, cfg.PerMinute, cfg.HandshakesMin),
		turns: make(chan struct{}, refusersMax),
	}
}

// Addr is where the socket listens.
func (l *Listener) Addr() net.Addr { return l.socket.Addr() }

// Open counts the connections that are being served.
func (l *Listener) Open() int { return l.guard.open() }

// Serve accepts connections until Close, each in its own goroutine. It returns
// nil after Close.
func (l *Listener) Serve(ctx context.Context) error {
	pause := acceptPauseMin
	for {
		conn, err := l.socket.Accept()
		if err == nil {
			pause = acceptPauseMin
			go l.receive(ctx, conn)
			continue
		}
		if l.isClosed() || errors.Is(err, net.ErrClosed) {
			return nil
		}
		// Out of descriptors, most likely. The listener stays; who waits in the
		// kernel's queue is served when others have gone.
		l.needs.Events.Emit(event.ConnectionRefused{Listener: l.cfg.Name, Role: l.cfg.Role, Reason: "accept: " + err.Error()})
		time.Sleep(pause)
		pause = min(2*pause, acceptPauseMax)
	}
}

const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

func (l *Listener) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Close stops accepting. Connections that are served go on.
func (l *Listener) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	return l.socket.Close()
}

// receive settles who the peer is and whether it may come in, then serves it.
func (l *Listener) receive(ctx context.Context, conn net.Conn) {
	o := mail.Origin{Role: l.cfg.Role, Listener: l.cfg.Name, Client: addrPort(conn.RemoteAddr()), Local: addrPort(conn.LocalAddr())}
	if len(l.cfg.ProxyFrom) > 0 {
		proxied, err := readProxy(conn, l.cfg.ProxyFrom, &o)
		if err != nil {
			l.needs.Events.Emit(event.ConnectionRefused{Listener: l.cfg.Name, Role: l.cfg.Role, Client: o.Client, Reason: err.Error()})
			_ = conn.Close() // INT-1: no reply to what is no client
			return
		}
		if o.Client != addrPort(conn.RemoteAddr()) {
			l.needs.Events.Emit(event.ConnectionProxied{Listener: l.cfg.Name, Client: o.Client, Proxy: addrPort(conn.RemoteAddr())})
		}
		conn = proxied
	}
	o.Trusted = o.Trusted || within(l.cfg.Trusted, o.Client.Addr())
	leave, why := l.admit(o)
	if leave == nil {
		l.refuse(ctx, conn, o, why)
		return
	}
	defer leave()
	var state *tls.ConnectionState
	if l.cfg.TLSFirst {
		secured, ok := l.handshake(ctx, conn, o)
		if !ok {
			return
		}
		s := secured.ConnectionState()
		conn, state = secured, &s
	}
	l.needs.Handler.Serve(ctx, conn, o, state)
}

// admit counts a peer, and says why not.
func (l *Listener) admit(o mail.Origin) (leave func(), why string) {
	if l.exempt(o) {
		return l.guard.enterExempt()
	}
	return l.guard.enter(o.Client.Addr(), time.Now())
}

func (l *Listener) exempt(o mail.Origin) bool {
	return o.Trusted || within(l.cfg.Exempt, o.Client.Addr())
}

// refuse turns a peer away with 421 (RC-4), inside TLS where that comes first
// (PC-3), as far as it can be told within bounds; else it just closes.
func (l *Listener) refuse(ctx context.Context, conn net.Conn, o mail.Origin, why string) {
	reply := smtp.TooMany
	l.needs.Events.Emit(event.ConnectionRefused{Listener: l.cfg.Name, Role: l.cfg.Role, Client: o.Client, Reply: reply, Reason: why})
	select {
	case l.turns <- struct{}{}:
	default:
		_ = conn.Close()
		return
	}
	defer func() { <-l.turns }()
	_ = conn.SetDeadline(time.Now().Add(refuseMax))
	if l.cfg.TLSFirst {
		secured, ok := l.handshake(ctx, conn, o)
		if !ok {
			return
		}
		conn = secured
	}
	l.needs.Refuse(conn, reply)
	linger(conn)
	_ = conn.Close()
}

// linger waits for the peer to hang up: to close while octets of its are unread
// is a reset, which takes the reply with it. The connection has its deadline.
func linger(conn net.Conn) {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	var waste [512]byte
	for range lingerReads {
		if _, err := conn.Read(waste[:]); err != nil {
			return
		}
	}
}

// lingerReads is how many reads of up to 512 octets a peer that is turned away
// is worth.
const lingerReads = 16

func (l *Listener) handshake(ctx context.Context, conn net.Conn, o mail.Origin) (*tls.Conn, bool) {
	if !l.exempt(o) && !l.guard.handshake(o.Client.Addr(), time.Now()) {
		l.needs.Events.Emit(event.ConnectionRefused{Listener: l.cfg.Name, Role: l.cfg.Role, Client: o.Client, Reason: "too many TLS handshakes from this address"})
		_ = conn.Close()
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeMax)
	defer cancel()
	secured := tls.Server(conn, l.cfg.TLS)
	if err := secured.HandshakeContext(ctx); err != nil {
		text, advice := explain(err, o.Local.Port())
		l.needs.Events.Emit(event.TLSFailed{Origin: o, Error: text, Advice: advice})
		_ = conn.Close()
		return nil, false
	}
	return secured, true
}

// explain says what a failed handshake means, and what the owner of the client
// should change (TE-4, TE-15, PC-18, P465-4, P465-5).
func explain(err error, port uint16) (text, advice string) {
	mode := fmt.Sprintf("client uses STARTTLS mode on %d; switch to SSL/TLS", port)
	var plain tls.RecordHeaderError
	if errors.As(err, &plain) && plain.Conn != nil {
		first := plain.RecordHeader[:]
		return fmt.Sprintf("cleartext on TLS port, beginning with %q (%x)", smtp.Printable(string(first)), first), mode
	}
	var alert *net.OpError // crypto/tls wraps the peer's alert in one
	switch text = smtp.Printable(err.Error()); {
	case errors.As(err, &alert) && alert.Op == "remote error", strings.Contains(text, "bad record MAC"):
		// OpenSSL tells what it does not trust in clear, which TLS 1.3 cannot read.
		return text, "client ended the handshake; it may not trust the certificate"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no handshake within " + handshakeMax.String(), "client waits for a greeting: " + mode
	case errors.Is(err, io.EOF):
		return "client left without a word of TLS", "if it waited for a greeting, " + mode
	case strings.Contains(text, "unsupported versions"):
		return text, "client offers nothing newer than TLS 1.1; update it"
	case strings.Contains(text, "application protocol"):
		return text, "client speaks another protocol (ALPN); this is a mail port"
	}
	return text, ""
}

func within(list []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// addrPort reads a network address. A unix socket's peer is this machine.
func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	case *net.UnixAddr:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Share returns a second handle of the listening socket: closing one leaves
// the other listening, with the connections that wait to be accepted. A reload
// hands the port on in this way.
func (l *Listener) Share() (net.Listener, error) {
	type filer interface{ File() (*os.File, error) }
	s, ok := l.socket.(filer)
	if !ok {
		return nil, errors.New("this socket cannot be shared")
	}
	if u, ok := l.socket.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the name belongs to the new handle too
	}
	f, err := s.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.FileListener(f)
}
