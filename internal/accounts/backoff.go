package accounts

import (
	"errors"
	"net/netip"
	"sync"
	"time"
)

// backoff counts failed logins per user and address, per address, and per
// user, within the hour that began with the first of them (AUTH-14, ABU-7).
// Users are counted by the name claimed, whether it exists or not.
type backoff struct {
	mu    sync.Mutex
	pairs *lru[pair, tally]
	addrs *lru[netip.Addr, tally]
	users *lru[string, tally]
	good  *lru[pair, struct{}] // who logged in from where: a user's block spares them
}

type pair struct {
	user string
	addr netip.Addr
}

type tally struct {
	n     int
	since time.Time
}

const (
	// talliesMax bounds each table to some 10 MiB. An attacker with more
	// addresses than that pushes out his own oldest tries, not others' blocks
	// that are still being run into.
	talliesMax    = 1 << 15
	failureWindow = time.Hour
	claimedMax    = 64 // octets of a claimed name that count: long ones cost memory
)

var (
	errBlockedPair = errors.New("blocked: too many failed logins of this user from this address")
	errBlockedAddr = errors.New("blocked: too many failed logins from this address")
	errBlockedUser = errors.New("blocked: too many failed logins of this user")
)

func newBackoff() *backoff {
	return &backoff{
		pairs: newLRU[pair, tally](talliesMax),
		addrs: newLRU[netip.Addr, tally](talliesMax),
		users: newLRU[string, tally](talliesMax),
		good:  newLRU[pair, struct{}](talliesMax),
	}
}

// network is what counts as one address: a /64 for IPv6, which one customer has.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

func newPair(user string, from netip.Addr) pair {
	if len(user) > claimedMax {
		// The name is cut, not the rest of the count: two long names that
		// begin alike share one.
		user = user[:claimedMax]
	}
	return pair{user, network(from)}
}

func (b *backoff) blocked(user string, from netip.Addr, c Config) error {
	p, now := newPair(user, from), time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if count(b.pairs, p, now) >= c.FailuresPair {
		return errBlockedPair
	}
	if count(b.addrs, p.addr, now) >= c.FailuresAddress {
		return errBlockedAddr
	}
	if _, known := b.good.get(p); !known && count(b.users, p.user, now) >= c.FailuresUser {
		return errBlockedUser
	}
	return nil
}

// failed counts one more and returns the pair's count.
func (b *backoff) failed(user string, from netip.Addr) int {
	p, now := newPair(user, from), time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	add(b.addrs, p.addr, now)
	add(b.users, p.user, now)
	return add(b.pairs, p, now)
}

// succeeded forgets the pair's failures; those of the address stay, or one
// known password would buy tries at all others.
func (b *backoff) succeeded(user string, from netip.Addr) {
	p := newPair(user, from)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pairs.remove(p)
	b.good.put(p, struct{}{})
}

func count[K comparable](c *lru[K, tally], k K, now time.Time) int {
	t, ok := c.get(k)
	if !ok || now.Sub(t.since) >= failureWindow {
		return 0
	}
	return t.n
}

func add[K comparable](c *lru[K, tally], k K, now time.Time) int {
	t, ok := c.get(k)
	if !ok || now.Sub(t.since) >= failureWindow {
		t = tally{since: now}
	}
	t.n++
	c.put(k, t)
	return t.n
}
