package listen

import (
	"net/netip"
	"testing"
	"time"
)

func TestGuardBoundsConnections(t *testing.T) {
	now := time.Unix(1_000_000_020, 0)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

	t.Run("all together", func(t *testing.T) {
		g := newGuard(2, 0, 0, 0)
		leave, _ := g.enter(a, now)
		g.enter(b, now)
		if l, why := g.enter(a, now); l != nil || why != "too many connections" {
			t.Error("a third one came in")
		}
		leave()
		if l, _ := g.enter(a, now); l == nil {
			t.Error("a place was left, nobody may take it")
		}
	})
	t.Run("ABU-1: of one address", func(t *testing.T) {
		g := newGuard(0, 1, 0, 0)
		g.enter(a, now)
		if l, why := g.enter(a, now); l != nil || why != "too many connections from this address" {
			t.Error(why)
		}
		if l, _ := g.enter(b, now); l == nil {
			t.Error("another address pays for the first one")
		}
	})
	t.Run("ABU-1: IPv6 counts by /64", func(t *testing.T) {
		g := newGuard(0, 1, 0, 0)
		g.enter(netip.MustParseAddr("2001:db8::1"), now)
		if l, _ := g.enter(netip.MustParseAddr("2001:db8::ffff:2"), now); l != nil {
			t.Error("a neighbour in the same /64 came in")
		}
		if l, _ := g.enter(netip.MustParseAddr("2001:db8:0:1::1"), now); l == nil {
			t.Error("another /64 did not")
		}
	})
	t.Run("ABU-2: new ones a minute", func(t *testing.T) {
		g := newGuard(0, 0, 2, 0)
		for range 2 {
			l, _ := g.enter(a, now)
			l()
		}
		if l, _ := g.enter(a, now); l != nil {
			t.Error("a third one within the minute")
		}
		if l, _ := g.enter(a, now.Add(time.Minute)); l == nil {
			t.Error("the next minute is like the last")
		}
	})
	t.Run("ABU-11: handshakes a minute", func(t *testing.T) {
		g := newGuard(0, 0, 0, 1)
		if !g.handshake(a, now) || g.handshake(a, now) || !g.handshake(a, now.Add(time.Minute)) {
			t.Error("not one a minute")
		}
	})
}

func TestGuardForgetsWhoHasGone(t *testing.T) {
	g := newGuard(0, 10, 10, 0)
	now := time.Unix(1_000_000_020, 0)
	at := netip.MustParseAddr("10.0.0.1")
	for range 5000 {
		leave, _ := g.enter(at, now)
		leave()
		at = at.Next()
	}
	g.enter(at, now.Add(2*time.Minute))
	if len(g.known) > 1 {
		t.Errorf("%d addresses are remembered", len(g.known))
	}
	if g.open() != 1 {
		t.Errorf("%d open", g.open())
	}
}
