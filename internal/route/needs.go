package route

import (
	"context"
	"net"
	"net/netip"

	"paquebot/internal/dns"
)

// Needs is what the router needs from others; node gives it.
type Needs struct {
	Names Resolver
	// Shuffle is math/rand.Shuffle or one with a seed; safe for concurrent use.
	// nil: math/rand/v2's.
	Shuffle func(n int, swap func(i, j int))
	// Failover knows who stands in for a smart host; nil: nobody does.
	Failover *Failover
	// Dial is for Verify alone; nil: it says that nobody can tell.
	Dial func(ctx context.Context, network, addr string, src netip.Addr) (net.Conn, error)
}

// Resolver answers about names; internal/dns has the real one.
type Resolver interface {
	MX(ctx context.Context, domain string) dns.Answer[dns.MX]
	Addrs(ctx context.Context, host string) dns.Answer[netip.Addr]
}
