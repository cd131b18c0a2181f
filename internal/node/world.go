package node

import (
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"net/netip"

	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/listen"
)

// World is what a process gets from outside. Production passes the operating
// system, a test passes an imitation. There is no clock in it: tests run in a
// bubble of virtual time.
type World struct {
	FS     vfs.FS
	Listen func(address string) (net.Listener, error) // "host:port" or "unix:PATH"
	// Dial connects from src, or from the system's choice if src is not valid.
	Dial   func(ctx context.Context, network, addr string, src netip.Addr) (net.Conn, error)
	HTTP   *http.Client
	Rand   io.Reader
	Stderr io.Writer // log lines
}

// System is the world of a real process.
func System(stderr io.Writer) World {
	return World{
		FS:     vfs.Default,
		Listen: listen.Bind,
		Dial:   dial,
		HTTP:   &http.Client{},
		Rand:   rand.Reader,
		Stderr: stderr,
	}
}

func dial(ctx context.Context, network, addr string, src netip.Addr) (net.Conn, error) {
	var d net.Dialer
	if src.IsValid() && !src.IsUnspecified() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(src, 0))
	}
	return d.DialContext(ctx, network, addr)
}

// interfaceAddrs returns this machine's own addresses, for loop detection
// (MX-8).
func interfaceAddrs() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var own []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr().Unmap())
		}
	}
	return own
}
