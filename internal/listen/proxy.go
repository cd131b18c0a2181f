package listen

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"

	"paquebot/internal/mail"
)

var (
	errNotListed = errors.New("peer is not listed in proxy_protocol")
	errNoHeader  = errors.New("no PROXY header")
)

// readProxy reads a PROXY header, version 1 or 2, from a listed peer and puts
// the address it conveys into o (INT-1, TRAP-26). LOCAL and UNKNOWN leave the
// real peer: that is the proxy's own health check.
func readProxy(conn net.Conn, from []netip.Prefix, o *mail.Origin) (net.Conn, error) {
	if !within(from, o.Client.Addr()) {
		return nil, errNotListed
	}
	if err := conn.SetReadDeadline(time.Now().Add(proxyMax)); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, proxyHeaderMax)
	client, local, err := parseProxy(in)
	if err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	if client.IsValid() {
		o.Client, o.Local = client, local
	}
	return &bufferedConn{Conn: conn, in: in}, nil
}

// proxyHeaderMax is a version 2 header with room for its TLVs. A longer one is
// not what proxies send (the standard itself asks for no more than 536 octets
// to be kept in one segment).
const proxyHeaderMax = 4096

// parseProxy returns the addresses a header conveys; invalid ones for LOCAL
// and UNKNOWN.
func parseProxy(in *bufio.Reader) (client, local netip.AddrPort, err error) {
	h, err := proxyproto.Read(in)
	if err != nil {
		if errors.Is(err, proxyproto.ErrNoProxyProtocol) {
			err = errNoHeader
		}
		return client, local, fmt.Errorf("PROXY: %w", err)
	}
	if h.Command.IsLocal() || h.TransportProtocol.IsUnspec() {
		return client, local, nil
	}
	src, dst, ok := h.TCPAddrs()
	if !ok {
		return client, local, errors.New("PROXY: it conveys no TCP addresses")
	}
	client, local = unmapped(src), unmapped(dst)
	if !client.IsValid() || !local.IsValid() {
		return netip.AddrPort{}, netip.AddrPort{}, errors.New("PROXY: it conveys no valid addresses")
	}
	return client, local, nil
}

func unmapped(a *net.TCPAddr) netip.AddrPort {
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// bufferedConn gives back what was read beyond the header.
type bufferedConn struct {
	net.Conn
	in *bufio.Reader // nil once it is empty
}

func (c *bufferedConn) Read(p []byte) (int, error) {
	if c.in == nil {
		return c.Conn.Read(p)
	}
	if c.in.Buffered() == 0 {
		c.in = nil
		return c.Conn.Read(p)
	}
	n, err := c.in.Read(p)
	if err == io.EOF && n > 0 {
		err = nil
	}
	return n, err
}

// CloseWrite says EOF to the peer where the connection below can.
func (c *bufferedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
