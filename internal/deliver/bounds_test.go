package deliver_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/deliver"
	"paquebot/internal/dns"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/sim"
	"paquebot/internal/smtpclient/peertest"
)

// host is a peer at 192.0.2.1:25 that plays the same script to all who come.
func host(t *testing.T, script string, cert *tls.Config) (*sim.Network, func()) {
	network := sim.NewNetwork()
	l, err := network.Listen("tcp", "192.0.2.1:25")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if err := peertest.Run(c, script, cert); err != nil {
					t.Error(err)
				}
			})
		}
	})
	return network, func() { l.Close(); wg.Wait() }
}

func dialer(n *sim.Network) func(context.Context, string, string, netip.Addr) (net.Conn, error) {
	return func(ctx context.Context, network, addr string, src netip.Addr) (net.Conn, error) {
		return n.DialFrom(ctx, src, network, addr)
	}
}

func oneMX(addrs ...string) mail.Route {
	r := mail.Route{Site: "there", Transport: mail.SMTP, ByMX: true}
	for _, a := range addrs {
		r.Hops = append(r.Hops, mail.Hop{Name: "mx", Port: 25, Addrs: []netip.Addr{netip.MustParseAddr(a)}})
	}
	return r
}

// An attempt ends with its deadline or its context, whatever the peer does;
// being told to stop teaches nothing of the peer.
func TestAttemptEndsWhenTold(t *testing.T) {
	silent := "S: 220 x\nC: EHLO here.example\nS: 250 x\nC: MAIL FROM:<a@here.example>\n"
	atRcpt := silent + "S: 250 ok\nC: RCPT TO:<b@there.example>\nX: hang"
	atData := silent + "S: 250 ok\nC: RCPT TO:<b@there.example>\nS: 250 ok\nC: DATA\nX: hang"
	silent += "X: hang"
	for _, c := range []struct {
		name   string
		script string
		cancel bool
		want   mail.Result
	}{
		{"deadline", silent, false, mail.Deferred}, {"shutdown", silent, true, mail.Untried},
		{"deadline at RCPT", atRcpt, false, mail.Deferred}, {"shutdown at RCPT", atRcpt, true, mail.Untried},
		{"deadline at DATA", atData, false, mail.Deferred}, {"shutdown at DATA", atData, true, mail.Untried},
	} {
		synctest.Test(t, func(t *testing.T) {
			network, stop := host(t, c.script, nil)
			d := deliver.New(deliver.Config{Hostname: "here.example"}, deliver.Needs{Dial: dialer(network)})
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			a := attemptTo(oneMX("192.0.2.1", "192.0.2.2"), "\r\nhi\r\n", "b@there.example")
			a.Deadline = time.Now().Add(time.Minute)
			if c.cancel {
				time.AfterFunc(time.Second, func() { cancel(errors.New("shutting down")) })
			}
			start := time.Now()
			o := d.Deliver(ctx, a)[0]
			if o.Result != c.want || time.Since(start) > time.Minute || o.Ambiguous {
				t.Errorf("%s: %+v after %v", c.name, o, time.Since(start))
			}
			d.Close()
			stop()
		})
	}
}

// MX-16: twenty hosts of four addresses, no more, and not forever.
func TestSilentHostsCostTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := sim.NewNetwork()
		r := mail.Route{Site: "there", Transport: mail.SMTP, ByMX: true}
		for i := range 30 {
			addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			network.SetFault(addr.String(), sim.Silent)
			r.Hops = append(r.Hops, mail.Hop{Name: fmt.Sprint("mx", i), Port: 25, Addrs: []netip.Addr{addr}})
		}
		d := deliver.New(deliver.Config{}, deliver.Needs{Dial: dialer(network)})
		defer d.Close()
		start := time.Now()
		o := d.Deliver(t.Context(), attemptTo(r, "\r\n", "b@there.example"))[0]
		if took := time.Since(start); took < 5*time.Minute || took > 5*time.Minute+30*time.Second {
			t.Errorf("took %v", took)
		}
		if o.Result != mail.Deferred || o.Reach != mail.ThisSite || o.Reply.Enhanced.String() != "4.4.1" {
			t.Errorf("%+v", o)
		}
	})
}

// CLI-41, CLI-43: sessions are kept apart by what they may carry, and counted.
// The limit may be the pool's or the site's.
func TestPoolKeepsApartAndCounts(t *testing.T) {
	two := func(site string) int { return map[string]int{"there": 2}[site] }
	t.Run("pool", func(t *testing.T) { poolKeepsApartAndCounts(t, deliver.PoolLimits{Messages: 2}, nil) })
	t.Run("site", func(t *testing.T) { poolKeepsApartAndCounts(t, deliver.PoolLimits{}, two) })
}

func poolKeepsApartAndCounts(t *testing.T, pool deliver.PoolLimits, perConnection func(string) int) {
	synctest.Test(t, func(t *testing.T) {
		one := "C: MAIL FROM:<a@here.example>\nS: 250 ok\nC: RCPT TO:<b@there.example>\nS: 250 ok\nC: DATA\nS: 354 go\nD:\nS: 250 2.0.0 queued\n"
		network, stop := host(t, "S: 220 x\nC: EHLO *\nS: 250 x\n"+one+one+"C: QUIT\nS: 221 bye", nil)
		d := deliver.New(deliver.Config{Hostname: "here.example", Pool: pool}, deliver.Needs{Dial: dialer(network), PerConnection: perConnection})
		route := oneMX("192.0.2.1")
		send := func(r mail.Route) {
			t.Helper()
			if o := d.Deliver(t.Context(), attemptTo(r, "\r\nhi\r\n", "b@there.example"))[0]; o.Result != mail.Accepted {
				t.Fatalf("%+v", o)
			}
		}
		other := route
		other.Ehlo = "out.here.example" // another name: another session
		for range 2 {
			send(route)
			send(other)
		}
		if n := network.Dials("192.0.2.1:25"); n != 2 {
			t.Errorf("%d connections", n)
		}
		send(route) // two messages per session: the third opens one
		send(route)
		if n := network.Dials("192.0.2.1:25"); n != 3 {
			t.Errorf("%d connections", n)
		}
		d.Close()
		stop()
		if n := network.Open(); n != 0 {
			t.Errorf("%d connections left", n)
		}
	})
}

// Each connection is told of once, opened or failed.
func TestConnectionEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network, stop := host(t, "S: 220 x\nC: EHLO here.example\nS: 250 x\nC: MAIL FROM:<a@here.example>\nS: 550 no\nC: QUIT\nS: 221 bye", nil)
		var mu sync.Mutex
		var seen []string
		d := deliver.New(deliver.Config{Hostname: "here.example"}, deliver.Needs{Dial: dialer(network), Events: event.SinkFunc(func(e event.Event) {
			mu.Lock()
			defer mu.Unlock()
			switch e := e.(type) {
			case event.ConnectionOpened:
				seen = append(seen, "opened "+e.Site+" "+e.Host+" "+e.Addr.String())
			case event.ConnectionFailed:
				seen = append(seen, fmt.Sprintf("failed %s %s %v %v", e.Site, e.Addr, e.Stage, e.Reply.Enhanced))
			}
		})})
		d.Deliver(t.Context(), attemptTo(oneMX("192.0.2.9", "192.0.2.1"), "\r\n", "b@there.example"))
		d.Close()
		stop()
		want := "failed there 192.0.2.9:25 connect 4.4.1, opened there mx 192.0.2.1:25"
		if got := strings.Join(seen, ", "); got != want {
			t.Errorf("got %s", got)
		}
	})
}

// A name that cannot be looked up defers, whatever DNS says: the operator wrote it.
func TestHopWithoutAddressesWaits(t *testing.T) {
	d := deliver.New(deliver.Config{}, deliver.Needs{Names: noNames{}})
	defer d.Close()
	r := mail.Route{Transport: mail.SMTP, Hops: []mail.Hop{{Name: "relay.example", Port: 587}}}
	o := d.Deliver(t.Context(), attemptTo(r, "\r\n", "b@there.example"))[0]
	if o.Result != mail.Deferred || o.Reply.Enhanced.String() != "4.4.3" || o.Reach != mail.ThisSite {
		t.Errorf("%+v", o)
	}
}

// TRAP-30, MIS-16: a peer that does not answer QUIT holds up a stop for seconds only.
func TestCloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network, stop := host(t, "S: 220 x\nC: EHLO here.example\nS: 250 x\nC: MAIL FROM:<a@here.example>\nS: 550 no\nC: QUIT\nX: hang", nil)
		d := deliver.New(deliver.Config{Hostname: "here.example"}, deliver.Needs{Dial: dialer(network)})
		d.Deliver(t.Context(), attemptTo(oneMX("192.0.2.1"), "\r\n", "b@there.example"))
		start := time.Now()
		d.Close()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		stop()
	})
}

// MX-11, MX-12: families in turn, IPv4 first.
func TestFamiliesTakeTurns(t *testing.T) {
	network := sim.NewNetwork()
	var dialled []string
	d := deliver.New(deliver.Config{}, deliver.Needs{Names: names{"2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"},
		Dial: func(ctx context.Context, kind, addr string, src netip.Addr) (net.Conn, error) {
			dialled = append(dialled, addr)
			return network.DialFrom(ctx, src, kind, addr)
		}})
	defer d.Close()
	d.Deliver(t.Context(), attemptTo(mail.Route{Transport: mail.SMTP, Hops: []mail.Hop{{Name: "relay.example", Port: 587}}}, "\r\n", "b@there.example"))
	want := "192.0.2.1:587 [2001:db8::1]:587 192.0.2.2:587 [2001:db8::2]:587"
	if got := strings.Join(dialled, " "); got != want {
		t.Errorf("dialled %s", got)
	}
}

type names []string

func (n names) Addrs(context.Context, string) dns.Answer[netip.Addr] {
	var a dns.Answer[netip.Addr]
	for _, s := range n {
		a.Records = append(a.Records, netip.MustParseAddr(s))
	}
	return a
}

func (names) TLSA(context.Context, uint16, string) dns.Answer[dns.TLSA] {
	return dns.Answer[dns.TLSA]{Status: dns.NXDomain}
}
