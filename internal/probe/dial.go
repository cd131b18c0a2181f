package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

// atOnce is how soon a failure comes that never left this machine, where the
// routing table cannot be asked.
const atOnce = 2 * time.Millisecond

// Connect opens a connection and closes it: a control.
func Connect(ctx context.Context, to netip.AddrPort, o Options) Dial {
	o.Limits = o.Limits.orDefaults()
	l := &look{ctx: ctx, o: o, began: time.Now(), e: Endpoint{Addr: to.Addr(), Port: to.Port()}}
	if conn := l.dial(); conn != nil {
		conn.Close()
	}
	return l.seen.Dial
}

// dial connects, or returns nil and says why.
func (l *look) dial() net.Conn {
	ctx, cancel := context.WithTimeout(l.ctx, l.o.Limits.Connect)
	defer cancel()
	addr := net.JoinHostPort(l.e.Addr.String(), strconv.Itoa(int(l.e.Port)))
	open := l.o.Dial
	if open == nil {
		open = (&net.Dialer{}).DialContext
	}
	conn, err := open(ctx, "tcp", addr)
	took := time.Since(l.began)
	l.seen.Dial = Dial{Result: Open, Took: took}
	if err != nil {
		l.seen.Dial = Dial{Result: l.classify(err, took), Errno: errnoName(err), Took: took}
		l.note("%s: %s", addr, plain(err))
		return nil
	}
	if a, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		l.seen.Local = a.AddrPort().Addr().Unmap()
	}
	l.note("connected to %s", addr)
	return conn
}

// classify reads what the system said (standards §24.2).
func (l *look) classify(err error, took time.Duration) string {
	var errno syscall.Errno
	if isTimeout(err) || errors.Is(err, syscall.ETIMEDOUT) {
		return Timeout
	}
	if !errors.As(err, &errno) {
		return Error
	}
	switch errno {
	case syscall.ECONNREFUSED:
		return Refused
	case syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED:
		return Reset
	case syscall.EPERM:
		return Denied // no ICMP message comes out as this
	case syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT:
		if l.ours(errno, took) {
			return NoRoute
		}
		return Prohibited
	case syscall.EACCES:
		// ICMP of IPv4 never comes out as this; a rule for one port escapes
		// whoever asks the routing table about an address.
		if l.e.Addr.Unmap().Is4() || l.ours(errno, took) {
			return Denied
		}
		return Prohibited // ICMPv6 type 1 code 1
	}
	return Error
}

// ours reports that a failure was born on this machine: the routing table
// alone gives it as well. Otherwise a router on the way said so.
func (l *look) ours(errno syscall.Errno, took time.Duration) bool {
	route := l.o.Route
	switch {
	case errno == syscall.EADDRNOTAVAIL || errno == syscall.EAFNOSUPPORT:
		return true
	case route == nil && l.o.Dial != nil:
		return took < atOnce
	case route == nil:
		route = systemRoute
	}
	return route(l.e.Addr) != nil
}

// systemRoute connects a UDP socket, which looks up the route and sends nothing.
func systemRoute(to netip.Addr) error {
	const discard = 9 // RFC 863; nothing is sent, so any port would do
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, discard)))
	if err != nil {
		return err
	}
	return c.Close()
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// errnoName names an error as errno(3) does; "" where the system gave none.
func errnoName(err error) string {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		if isTimeout(err) {
			return "ETIMEDOUT"
		}
		return ""
	}
	for _, n := range errnoNames {
		if n.errno == errno {
			return n.name
		}
	}
	return "errno " + strconv.Itoa(int(errno))
}

var errnoNames = []struct {
	errno syscall.Errno
	name  string
}{
	{syscall.ECONNREFUSED, "ECONNREFUSED"}, {syscall.ECONNRESET, "ECONNRESET"}, {syscall.ECONNABORTED, "ECONNABORTED"},
	{syscall.ETIMEDOUT, "ETIMEDOUT"}, {syscall.ENETUNREACH, "ENETUNREACH"}, {syscall.EHOSTUNREACH, "EHOSTUNREACH"},
	{syscall.EACCES, "EACCES"}, {syscall.EPERM, "EPERM"}, {syscall.EPIPE, "EPIPE"},
	{syscall.EADDRNOTAVAIL, "EADDRNOTAVAIL"}, {syscall.EAFNOSUPPORT, "EAFNOSUPPORT"},
}

// plain says why, without the chain of calls that found out.
func plain(err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case isTimeout(err):
		return "no answer in time"
	}
	return err.Error()
}
