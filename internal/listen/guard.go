package listen

import (
	"net/netip"
	"sync"
	"time"
)

// guard bounds how many connections there are and how often an address comes
// (ABU-1, ABU-2, ABU-11). IPv6 counts by /64. Its memory is bounded: addresses
// are forgotten when they have no connection and their minute is over.
type guard struct {
	connections, perAddress, perMinute, handshakes int

	mu    sync.Mutex
	total int
	known map[netip.Addr]*visits
	swept time.Time
}

type visits struct {
	open       int
	minute     int64 // the current one, as Unix time / 60
	came       int   // in this minute
	handshakes int
}

// knownMax bounds the table of addresses. Beyond it only addresses that have a
// connection open are remembered, so a flood from everywhere costs 100 octets
// for each and is bounded by the connections.
const knownMax = 100_000

func newGuard(connections, perAddress, perMinute, handshakes int) *guard {
	return &guard{connections: connections, perAddress: perAddress, perMinute: perMinute, handshakes: handshakes,
		known: map[netip.Addr]*visits{}}
}

func keyOf(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// enter lets a connection in and returns how it leaves, or nil and why not.
func (g *guard) enter(a netip.Addr, now time.Time) (leave func(), why string) {
	key := keyOf(a)
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.visits(key, now)
	v.came++
	switch {
	case g.connections > 0 && g.total >= g.connections:
		return nil, "too many connections"
	case g.perAddress > 0 && v.open >= g.perAddress:
		return nil, "too many connections from this address"
	case g.perMinute > 0 && v.came > g.perMinute:
		return nil, "too many new connections a minute from this address"
	}
	g.total++
	v.open++
	return func() { g.leave(key, v) }, ""
}

// enterExempt counts a connection that only the total bounds.
func (g *guard) enterExempt() (leave func(), why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.connections > 0 && g.total >= g.connections {
		return nil, "too many connections"
	}
	g.total++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.total--
	}, ""
}

func (g *guard) leave(key netip.Addr, v *visits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	v.open--
	if v.open == 0 && len(g.known) > knownMax {
		delete(g.known, key)
	}
}

// handshake counts a TLS handshake and reports whether it may be made.
func (g *guard) handshake(a netip.Addr, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.visits(keyOf(a), now)
	v.handshakes++
	return g.handshakes <= 0 || v.handshakes <= g.handshakes
}

func (g *guard) open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total
}

func (g *guard) visits(key netip.Addr, now time.Time) *visits {
	minute := now.Unix() / 60
	v := g.known[key]
	if v == nil {
		g.sweep(now, minute)
		v = &visits{minute: minute}
		if len(g.known) < 2*knownMax {
			g.known[key] = v
		}
	}
	if v.minute != minute {
		v.minute, v.came, v.handshakes = minute, 0, 0
	}
	return v
}

// sweep forgets, once a minute, who has gone.
func (g *guard) sweep(now time.Time, minute int64) {
	if now.Sub(g.swept) < time.Minute {
		return
	}
	g.swept = now
	for k, v := range g.known {
		if v.open == 0 && v.minute != minute {
			delete(g.known, k)
		}
	}
}
