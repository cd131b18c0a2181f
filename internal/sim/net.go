package sim

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// backlogMax is how many dialled connections a listener holds before Accept
// takes them; further dials wait, as with a full SYN queue.
const backlogMax = 128

// Network is an internet in memory. It is safe for concurrent use. The zero
// value is not usable; see NewNetwork.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*Listener // "tcp/192.0.2.1:25", "tcp/*:25", "unix//run/lmtp.sock"
	faults    map[string]Fault     // by "host:port" or "host"
	latency   map[string]time.Duration
	hosts     map[string][]netip.Addr
	port      uint16 // the ephemeral port given last
	dials     map[string]int
	open      int // connections with at least one end not closed
}

// Fault is what a destination does to those who connect.
type Fault int

const (
	Healthy     Fault = iota
	Refused           // answers with RST: connection refused
	Silent            // answers nothing: the dial ends with its context
	Resets            // connects, then resets at once
	Unreachable       // a router says: no route to host
)

// NewNetwork returns an empty network.
func NewNetwork() *Network {
	return &Network{
		listeners: map[string]*Listener{},
		faults:    map[string]Fault{},
		latency:   map[string]time.Duration{},
		hosts:     map[string][]netip.Addr{},
		dials:     map[string]int{},
		port:      49151,
	}
}

// SetFault makes a destination, "192.0.2.1:25" or all ports of "192.0.2.1",
// behave as told from now on. Connections that stand are not touched; see
// Conn.Reset.
func (n *Network) SetFault(destination string, f Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults[destination] = f
}

// SetLatency delays what is sent to and from a destination, "host:port" or
// "host", by d each way, for connections dialled from now on.
func (n *Network) SetLatency(destination string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.latency[destination] = d
}

// AddHost lets Dial use a name. Most tests dial addresses instead.
func (n *Network) AddHost(name string, addrs ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[name] = addrs
}

// Dials returns how often a destination "host:port" was dialled, faults
// included.
func (n *Network) Dials(destination string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[destination]
}

// Open returns the number of connections of which an end is still open.
func (n *Network) Open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.open
}

// Listen opens a listener. Networks: "tcp", "tcp4", "tcp6" with "192.0.2.1:25",
// "[2001:db8::1]:25", or ":25", "0.0.0.0:25", "[::]:25" for every address; port
// 0 picks a free one; "unix" with a path.
func (n *Network) Listen(network, address string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &Listener{network: n, backlog: make(chan *Conn, backlogMax), done: make(chan struct{})}
	if network == "unix" {
		l.key, l.addr = "unix/"+address, &net.UnixAddr{Name: address, Net: "unix"}
	} else {
		a, err := n.localAddress(address)
		if err != nil {
			return nil, &net.OpError{Op: "listen", Net: network, Err: err}
		}
		l.key, l.addr = listenKey(a), net.TCPAddrFromAddrPort(a)
	}
	if n.listeners[l.key] != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: l.addr, Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	}
	n.listeners[l.key] = l
	return l, nil
}

func listenKey(a netip.AddrPort) string {
	if a.Addr().IsUnspecified() {
		return "tcp/*:" + strconv.Itoa(int(a.Port()))
	}
	return "tcp/" + a.String()
}

func (n *Network) localAddress(address string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if p == 0 {
		p = uint64(n.nextPort())
	}
	switch host {
	case "":
		return netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(p)), nil
	case "localhost":
		host = "127.0.0.1"
	}
	a, err := netip.ParseAddr(host)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), err
}

func (n *Network) nextPort() uint16 {
	if n.port++; n.port < 49152 {
		n.port = 49152
	}
	return n.port
}

// Dial connects to an address from 127.0.0.1 or ::1.
func (n *Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return n.DialFrom(ctx, netip.Addr{}, network, address)
}

// DialFrom connects from a source address; the zero Addr means the loopback.
func (n *Network) DialFrom(ctx context.Context, src netip.Addr, network, address string) (net.Conn, error) {
	if network == "unix" {
		return n.dialUnix(ctx, address)
	}
	to, err := n.resolve(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	fail := func(err error) error {
		return &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	n.mu.Lock()
	n.dials[to.String()]++
	fault, latency := lookup(n.faults, to), lookup(n.latency, to)
	l := n.listeners[listenKey(to)]
	if l == nil {
		l = n.listeners["tcp/*:"+strconv.Itoa(int(to.Port()))]
	}
	from := netip.AddrPortFrom(sourceFor(src, to.Addr()), n.nextPort())
	n.mu.Unlock()

	if err := pause(ctx, 2*latency); err != nil {
		return nil, fail(err)
	}
	switch {
	case fault == Silent:
		<-ctx.Done()
		return nil, fail(contextError(ctx))
	case fault == Unreachable:
		return nil, fail(os.NewSyscallError("connect", syscall.EHOSTUNREACH))
	case fault == Refused || (l == nil && fault == Healthy):
		return nil, fail(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	here, there := n.pair(net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(to), latency)
	if fault == Resets {
		here.Reset()
		there.Close()
		return here, nil
	}
	if err := l.offer(ctx, there); err != nil {
		here.Reset()
		there.Close()
		here.Close()
		return nil, fail(err)
	}
	return here, nil
}

func (n *Network) dialUnix(ctx context.Context, path string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners["unix/"+path]
	n.dials[path]++
	n.mu.Unlock()
	addr := &net.UnixAddr{Name: path, Net: "unix"}
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "unix", Addr: addr, Err: os.NewSyscallError("connect", syscall.ENOENT)}
	}
	here, there := n.pair(&net.UnixAddr{Net: "unix"}, addr, 0)
	if err := l.offer(ctx, there); err != nil {
		here.Close()
		there.Close()
		return nil, &net.OpError{Op: "dial", Net: "unix", Addr: addr, Err: err}
	}
	return here, nil
}

func (n *Network) resolve(address string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(a.Unmap(), uint16(p)), nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if addrs := n.hosts[host]; len(addrs) > 0 {
		return netip.AddrPortFrom(addrs[0], uint16(p)), nil
	}
	if host == "localhost" {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(p)), nil
	}
	return netip.AddrPort{}, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func lookup[V any](m map[string]V, to netip.AddrPort) V {
	if v, ok := m[to.String()]; ok {
		return v
	}
	return m[to.Addr().String()]
}

func sourceFor(src, to netip.Addr) netip.Addr {
	switch {
	case src.IsValid():
		return src
	case to.Is4():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		if ctx.Err() != nil {
			return contextError(ctx)
		}
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// contextError is what net.Dialer gives: a timeout when the deadline passed.
func contextError(ctx context.Context) error {
	if ctx.Err() == context.DeadlineExceeded {
		return os.ErrDeadlineExceeded
	}
	return fmt.Errorf("operation was canceled: %w", ctx.Err())
}

// Listener implements net.Listener.
type Listener struct {
	network *Network
	key     string
	addr    net.Addr
	backlog chan *Conn
	done    chan struct{}
	once    sync.Once
}

func (l *Listener) offer(ctx context.Context, c *Conn) error {
	select {
	case <-l.done: // a closed listener never wins over its free backlog
		return os.NewSyscallError("connect", syscall.ECONNREFUSED)
	default:
	}
	select {
	case l.backlog <- c:
		return nil
	case <-l.done:
		return os.NewSyscallError("connect", syscall.ECONNREFUSED)
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// Accept waits for the next connection; after Close it returns net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	default:
	}
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
}

// Close stops the listener and resets connections that nobody accepted.
func (l *Listener) Close() error {
	l.once.Do(func() {
		l.network.mu.Lock()
		delete(l.network.listeners, l.key)
		l.network.mu.Unlock()
		close(l.done)
		for {
			select {
			case c := <-l.backlog:
				c.Reset()
				c.Close()
			default:
				return
			}
		}
	})
	return nil
}

// Addr returns the address listened on.
func (l *Listener) Addr() net.Addr { return l.addr }
