package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/dns/dnstest"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpclient/peertest"
)

const zone = `
plain.example.      300 IN MX 20 mx2.plain.example.
plain.example.      300 IN MX 10 mx1.plain.example.
mx1.plain.example.  300 IN A 8.8.8.1
mx2.plain.example.  300 IN A 8.8.8.2
many.example.       300 IN MX 10 a.mx.big.co.uk.
many.example.       300 IN MX 10 b.mx.big.co.uk.
many.example.       300 IN MX 10 c.mx.big.co.uk.
many.example.       300 IN MX 30 a.mx.big.co.uk.
a.mx.big.co.uk.     300 IN A 8.8.1.1
a.mx.big.co.uk.     300 IN A 8.8.1.2
a.mx.big.co.uk.     300 IN A 8.8.1.3
a.mx.big.co.uk.     300 IN AAAA 2a00::1
a.mx.big.co.uk.     300 IN AAAA 2a00::2
a.mx.big.co.uk.     300 IN AAAA 2a00::3
b.mx.big.co.uk.     300 IN A 8.8.2.1
c.mx.big.co.uk.     300 IN A 8.8.3.1
implicit.example.   300 IN A 8.8.8.3
empty.example.      300 IN TXT "no host here"
null.example.       300 IN MX 0 .
mixed.example.      300 IN MX 0 .
mixed.example.      300 IN MX 5 8.8.8.9.
mixed.example.      300 IN MX 7 mx1.plain.example.
alias.example.      300 IN CNAME plain.example.
target.example.     300 IN MX 10 cname.example.
cname.example.      300 IN CNAME mx1.plain.example.
gone.example.       300 IN MX 10 nowhere.example.
gone.example.       300 IN MX 20 empty.example.
gone.example.       300 IN A 8.8.8.4
shaky.example.      300 IN MX 10 broken.example.
half.example.       300 IN MX 10 broken.example.
half.example.       300 IN MX 20 mx1.plain.example.
inside.example.     300 IN MX 10 private.example.
private.example.    300 IN A 127.0.0.1
private.example.    300 IN A 10.1.2.3
private.example.    300 IN A 169.254.1.1
private.example.    300 IN A 192.0.2.77
private.example.    300 IN AAAA ::1
private.example.    300 IN AAAA fe80::1
private.example.    300 IN AAAA ::ffff:127.0.0.1
partly.example.     300 IN MX 10 some.example.
some.example.       300 IN A 10.1.2.3
some.example.       300 IN A 8.8.8.5
backup.example.     300 IN MX 10 mx1.plain.example.
backup.example.     300 IN MX 20 here.example.
backup.example.     300 IN MX 20 mx2.plain.example.
backup.example.     300 IN MX 30 c.mx.big.co.uk.
backip.example.     300 IN MX 10 mx1.plain.example.
backip.example.     300 IN MX 20 ours.example.
ours.example.       300 IN A 8.8.4.4
here.example.       300 IN A 8.8.4.4
loop.example.       300 IN MX 10 here.example.
loop.example.       300 IN MX 20 mx1.plain.example.
xn--bcher-kva.example. 300 IN MX 10 mx1.plain.example.
`

func resolver(t *testing.T) *dns.Resolver {
	server := dnstest.New(zone).Fail("broken.example.", 2).Fail("bogus.example.", 2).Fail("silent.example.", -1)
	r := dns.New(dns.Config{Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}}, server.Dial)
	t.Cleanup(r.Close)
	return r
}

// inOrder leaves equal ones as they are, so that rows can be read.
func inOrder(int, func(i, j int)) {}

func newRouter(t *testing.T, c Config) *Router {
	t.Helper()
	if c.Hostname == "" {
		c.Hostname = "here.example"
	}
	c.Addrs = []netip.Addr{netip.MustParseAddr("8.8.4.4")}
	r, err := New(c, Needs{Names: resolver(t), Shuffle: inOrder})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// hops in words: "mx1.plain.example(10) 8.8.8.1, ..."
func hops(r mail.Route) string {
	var out []string
	for _, h := range r.Hops {
		s := fmt.Sprintf("%s(%d)", h.Name, h.Preference)
		for _, a := range h.Addrs {
			s += " " + a.String()
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

// RFC 5321 §5.1, RFC 7505; standards §12.
func TestMXTable(t *testing.T) {
	for _, c := range []struct{ id, to, want string }{
		{"MX-4", "a@plain.example", "mx1.plain.example(10) 8.8.8.1, mx2.plain.example(20) 8.8.8.2"},
		{"MX-1 implicit", "a@implicit.example", "implicit.example(0) 8.8.8.3"},
		{"MX-1 literal", "a@[8.8.8.8]", "8.8.8.8(0) 8.8.8.8"},
		{"MX-1 literal", "a@[IPv6:2a00::9]", "2a00::9(0) 2a00::9"},
		{"MX-2", "a@alias.example", "mx1.plain.example(10) 8.8.8.1, mx2.plain.example(20) 8.8.8.2"},
		{"MX-3", "a@gone.example", "550 5.4.4 No usable mail host for the domain"},
		{"MX-6 alias", "a@target.example", "cname.example(10) 8.8.8.1"},
		{"MX-6 literal, MX-7", "a@mixed.example", "mx1.plain.example(7) 8.8.8.1"},
		{"MX-7", "a@null.example", "556 5.1.10 Domain does not accept mail (null MX)"},
		{"MX-8 name", "a@backup.example", "mx1.plain.example(10) 8.8.8.1"},
		{"MX-8 address", "a@backip.example", "mx1.plain.example(10) 8.8.8.1"},
		{"MX-8 loop", "a@loop.example", "451 4.4.6 Mail for this domain loops back to this server, which does not serve it"},
		{"MX-9 nxdomain", "a@nowhere.example", "550 5.1.2 Domain nowhere.example does not exist"},
		{"MX-9 nodata", "a@empty.example", "550 5.4.4 No usable mail host for the domain"},
		{"MX-9 servfail", "a@bogus.example", "451 4.4.3 Temporary DNS failure"},
		{"MX-9 silence", "a@silent.example", "451 4.4.3 Temporary DNS failure"},
		{"MX-9 target", "a@shaky.example", "451 4.4.3 Temporary DNS failure"},
		{"MX-9 target", "a@half.example", "mx1.plain.example(20) 8.8.8.1"},
		{"MX-10", "a@inside.example", "550 5.4.4 No usable mail host for the domain"},
		{"MX-10", "a@partly.example", "some.example(10) 8.8.8.5"},
		{"MX-10", "a@[127.0.0.1]", "550 5.4.4 Address literal is not one to send mail to"},
		{"MX-10", "a@[8.8.4.4]", "550 5.4.4 Address literal is not one to send mail to"},
		{"MX-11, MX-16", "a@many.example", "a.mx.big.co.uk(10) 8.8.1.1 2a00::1 8.8.1.2 2a00::2, b.mx.big.co.uk(10) 8.8.2.1, c.mx.big.co.uk(10) 8.8.3.1"},
		{"MX-14", "a@Bücher.example", "mx1.plain.example(10) 8.8.8.1"},
		{"MX-9 nonsense", "a@no such.example", "550 5.1.2 Domain no such.example does not exist"},
	} {
		t.Run(c.id+" "+c.to, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRouter(t, Config{})
				got, err := r.Route(t.Context(), &mail.Envelope{Arrived: time.Now()}, c.to)
				words := hops(got)
				if err != nil {
					reply := smtp.AsReply(err)
					reply.Cause = nil
					words = reply.String()
				}
				if words != c.want {
					t.Errorf("got %s\nwant %s", words, c.want)
				}
				if err == nil && (!got.ByMX || got.Security != mail.Opportunistic || got.Transport != mail.SMTP || got.Hops[0].Port != 25) {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// MX-8: mail for a domain that leads back to us waits an hour for its owner.
func TestLoopBouncesAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t, Config{})
		env := &mail.Envelope{Arrived: time.Now()}
		time.Sleep(61 * time.Minute)
		_, err := r.Route(t.Context(), env, "a@loop.example")
		if reply := smtp.AsReply(err); reply.Enhanced.String() != "5.4.6" || !reply.Permanent() {
			t.Errorf("got %v", err)
		}
	})
}

// MX-4: equal preference is shuffled per attempt, and only within itself.
func TestEqualPreferenceIsShuffled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t, Config{})
		var sizes []int
		r.needs.Shuffle = func(n int, swap func(i, j int)) {
			sizes = append(sizes, n)
			if n == 3 {
				swap(0, 2)
			}
		}
		for range 2 { // once found out, once remembered
			got, err := r.Route(t.Context(), &mail.Envelope{}, "a@many.example")
			if err != nil || got.Hops[0].Name != "c.mx.big.co.uk" {
				t.Errorf("%v %v", hops(got), err)
			}
		}
	})
}

func TestSiteIsTheOperationBehindTheMX(t *testing.T) {
	for name, want := range map[string]string{
		"aspmx.l.google.com": "google.com", "a.mx.big.co.uk": "big.co.uk", "localhost": "localhost", "8.8.8.8": "8.8.8.8",
	} {
		if got := siteOf([]exchanger{{name: name}}); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	// Customers who take their mail themselves share a registrable domain with
	// others, and must not wait for a neighbour's dead host.
	for host, domain := range map[string]string{"mx.a.big.example": "a.big.example", "a.big.example": "a.big.example"} {
		if !isWithin(host, domain) {
			t.Errorf("%s is not %s's own", host, domain)
		}
	}
	for host, domain := range map[string]string{"mx.big.example": "a.big.example", "xa.big.example": "a.big.example"} {
		if isWithin(host, domain) {
			t.Errorf("%s is %s's own", host, domain)
		}
	}
	if got := siteOf([]exchanger{{name: "z.example"}, {name: "mx.a.example"}, {name: "0.example", preference: 5}}); got != "a.example" {
		t.Errorf("the order of DNS decided: %s", got)
	}
}

// P-10: laboratories need what the Internet must not.
func TestAllowLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t, Config{AllowLocal: true})
		got, err := r.Route(t.Context(), &mail.Envelope{}, "a@inside.example")
		if err != nil || len(got.Hops[0].Addrs) != addrsMax {
			t.Errorf("%v %v", hops(got), err)
		}
		if r.mayConnect(netip.MustParseAddr("0.0.0.0")) || r.mayConnect(netip.MustParseAddr("224.0.0.1")) || r.mayConnect(netip.MustParseAddr("8.8.4.4")) {
			t.Error("unspecified, multicast and our own are never right")
		}
	})
}

func TestRulesFirstMatchWinsAndOursComeBefore(t *testing.T) {
	pool := []mail.Source{{Addr: netip.MustParseAddr("192.0.2.10"), Ehlo: "out.here.example"}}
	c := Config{
		Domains: []Domain{
			{Name: "*.sub.example", Deliver: "catch"},
			{Name: "ours.example", Deliver: "lmtp:/run/lmtp.sock"},
			{Name: "app.sub.example", Deliver: "https://app.example/hook"},
			{Name: "disk.example", Deliver: "maildir:/var/mail/{local}"},
		},
		Smarthosts: map[string]Smarthost{"relay": {Host: "Smtp.Relay.example"}, "one": {Host: "192.0.2.5", Ports: []uint16{2465}}},
		Pools:      map[string][]mail.Source{"bulk": pool},
		Rules: []Rule{
			{Recipient: []string{"*.corp.example", "corp.example"}, Via: "smtp://mail.corp.example"},
			{Recipient: []string{"boss@plain.example"}, Via: "smtp://[2001:db8::1]:2525", Security: mail.Encrypt},
			{Sender: []string{"<>"}, Via: "mx"},
			{Sender: []string{"news.example"}, Account: []string{"*"}, Via: "mx", Pool: "bulk"},
			{Account: []string{"app"}, Via: "bulk", Security: mail.Verify},
			{Account: []string{"one"}, Via: "one"},
			{Via: "relay"},
		},
	}
	for _, row := range []struct{ from, account, to, want string }{
		{"a@b", "", "x@ours.example", "lmtp /run/lmtp.sock:0 clear"},
		{"a@b", "", "x@OURS.example", "lmtp /run/lmtp.sock:0 clear"},
		{"a@b", "", "x@a.sub.example", "catch"},
		{"a@b", "", "x@app.sub.example", "webhook https://app.example/hook"},
		{"a@b", "", "x@disk.example", "maildir /var/mail/{local}"},
		{"a@b", "", "x@corp.example", "smtp mail.corp.example:25 may"},
		{"a@b", "", "x@a.b.corp.example", "smtp mail.corp.example:25 may"},
		{"a@b", "", "Boss@plain.example", "smtp 2001:db8::1:2525 encrypt"},
		{"", "", "x@plain.example", "mx smtp mx1.plain.example:25 mx2.plain.example:25 may"},
		{"x@news.example", "any", "x@plain.example", "mx smtp mx1.plain.example:25 mx2.plain.example:25 may pool"},
		{"x@news.example", "", "x@plain.example", "smtp smtp.relay.example:587 smtp.relay.example:465/implicit smtp.relay.example:2525 smtp.relay.example:25 verify as relay"},
		{"a@b", "app", "x@plain.example", "mx smtp mx1.plain.example:25 mx2.plain.example:25 verify pool"},
		{"a@b", "one", "x@plain.example", "smtp 192.0.2.5:2465/implicit verify as one"},
		{"a@b", "", "x@corp.example.net", "smtp smtp.relay.example:587 smtp.relay.example:465/implicit smtp.relay.example:2525 smtp.relay.example:25 verify as relay"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRouter(t, c)
			env := &mail.Envelope{From: row.from, Origin: mail.Origin{Account: row.account}}
			got, err := r.Route(t.Context(), env, row.to)
			if err != nil || words(got) != row.want {
				t.Errorf("%s of %s to %s: %s %v\nwant %s", row.from, row.account, row.to, words(got), err, row.want)
			}
		})
	}
}

func words(r mail.Route) string {
	var w []string
	if r.ByMX {
		w = append(w, "mx")
	}
	w = append(w, string(r.Transport))
	if r.Target != "" {
		w = append(w, r.Target)
	}
	for _, h := range r.Hops {
		s := fmt.Sprintf("%s:%d", h.Name, h.Port)
		if h.Security != "" {
			s += "/" + string(h.Security)
		}
		w = append(w, s)
	}
	if r.Security != "" {
		w = append(w, string(r.Security))
	}
	if r.Account != "" {
		w = append(w, "as "+r.Account)
	}
	if r.Sources != nil {
		w = append(w, "pool")
	}
	return strings.Join(w, " ")
}

func TestBadTargets(t *testing.T) {
	for _, s := range []string{"", "relay", "smtp://", "smtp:host", "smtp://user@host", "smtp://host:0", "smtp://host:99999", "smtp://host/x",
		"lmtp:relative", "maildir:relative", "http://app.example/", "ftp://x", "https://", "https://u:p@app.example"} {
		if r, err := ParseTarget(s); err == nil {
			t.Errorf("%q became %+v", s, r)
		}
	}
	if _, err := New(Config{Rules: []Rule{{Via: "unknown"}}}, Needs{}); err == nil {
		t.Error("an unknown smart host was accepted")
	}
}

// SH-4: the endpoints of a smart host are equally secure whatever the ports.
func TestSmarthostEndpointsAreEquallySecure(t *testing.T) {
	r, err := smarthostRoute("x", Smarthost{Host: "relay.example", Ports: []uint16{25, 465, 587, 2465, 2525, 443}})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range r.Hops {
		level := r.Security
		if h.Security != "" {
			level = h.Security
		}
		if level != mail.Verify && level != mail.Implicit {
			t.Errorf("port %d: %s", h.Port, level)
		}
		if (level == mail.Implicit) != implicitPort(h.Port) {
			t.Errorf("port %d: %s", h.Port, level)
		}
	}
}

func TestByMX(t *testing.T) {
	r := newRouter(t, Config{
		Domains: []Domain{{Name: "ours.example", Deliver: "catch"}},
		Rules: []Rule{{Recipient: []string{"corp.example"}, Via: "smtp://mail.corp.example"},
			{Sender: []string{"a@b"}, Recipient: []string{"some.example"}, Via: "smtp://x.example"}},
	})
	for to, want := range map[string]bool{"a@ours.example": false, "a@corp.example": false, "a@some.example": false, "a@else.example": true, "postmaster": false} {
		if r.ByMX(to) != want {
			t.Errorf("%s: %v", to, !want)
		}
	}
}

// The router remembers no failure, and what it knows it knows for minutes only.
func TestKnownIsBounded(t *testing.T) {
	k := newKnown()
	now := time.Now()
	for i := range knownMax + 100 {
		k.put(fmt.Sprint(i), exchangers{keep: time.Hour}, now)
	}
	if len(k.names) > knownMax {
		t.Errorf("%d domains remembered", len(k.names))
	}
	k.put("temp", exchangers{}, now)
	if _, ok := k.get("temp", now); ok {
		t.Error("a failure was remembered")
	}
	k.put("x", exchangers{keep: time.Hour}, now)
	if _, ok := k.get("x", now.Add(knownFor)); ok {
		t.Error("remembered for too long")
	}
}

func TestVerifyAsksTheNextHop(t *testing.T) {
	for _, row := range []struct{ script, want string }{
		{"S: 220 x\nC: EHLO here.example\nS: 250 x\nC: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<b@ours.example>\nS: 250 ok\nC: QUIT\nS: 221 bye", "<nil>"},
		{"S: 220 x\nC: EHLO here.example\nS: 250 x\nC: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<b@ours.example>\nS: 550 5.1.1 no such user\nC: QUIT\nS: 221 bye", "550 5.1.1 no such user"},
		{"S: 220 x\nC: EHLO here.example\nS: 250 x\nC: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<b@ours.example>\nS: 552 5.2.2 full\nC: QUIT\nS: 221 bye", "450 4.4.1"},
		{"S: 220 x\nC: EHLO here.example\nS: 250 x\nC: MAIL FROM:<>\nS: 550 5.7.1 no null sender\nC: QUIT\nS: 221 bye", "450 4.4.1"},
		{"S: 220 x\nC: EHLO here.example\nS: 250 x\nC: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<b@ours.example>\nS: 250 ok\nC: QUIT\nX: hang", "<nil>"}, // nobody waits for it
		{"S: 554 no\nC: QUIT\nS: 221 bye", "450 4.4.1"},
		{"X: hang", "450 4.4.1"},
		{"", "450 4.4.1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			played := make(chan error, 1)
			dials := 0
			dial := func(context.Context, string, string, netip.Addr) (net.Conn, error) {
				dials++
				if row.script == "" {
					return nil, errors.New("refused")
				}
				client, server := net.Pipe()
				go func() { played <- peertest.Run(server, row.script, nil) }()
				return client, nil
			}
			r, err := New(Config{Hostname: "here.example", Domains: []Domain{{Name: "ours.example", Deliver: "smtp://192.0.2.1:25"}}},
				Needs{Names: resolver(t), Dial: dial})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second answer is remembered
				asked := time.Now()
				got := r.Verify(t.Context(), "b@ours.example")
				if row.script != "X: hang" && time.Since(asked) > 0 {
					t.Errorf("%q\nanswered after %v", row.script, time.Since(asked))
				}
				if !strings.HasPrefix(fmt.Sprint(got), row.want) {
					t.Errorf("%q\ngot %v, want %s", row.script, got, row.want)
				}
			}
			if dials != 1 {
				t.Errorf("asked %d times", dials)
			}
			if row.script != "" {
				if err := <-played; err != nil {
					t.Error(err)
				}
			}
			if r.Verify(t.Context(), "b@elsewhere.example") != nil {
				t.Error("what is not ours is not asked for")
			}
		})
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"smtp://a:25", "lmtp:/x", "lmtp://[::1]:24", "maildir:/a/{local}", "https://a/b", "http://127.0.0.1/", "catch:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseTarget(s)
		if err != nil {
			return
		}
		if r.Transport == "" || r.Site == "" {
			t.Errorf("%q: %+v", s, r)
		}
		if r.Transport == mail.Webhook && strings.HasPrefix(r.Target, "http:") && !slices.ContainsFunc([]string{"localhost", "127.", "[::1]", "[0"}, func(p string) bool { return strings.Contains(r.Target, p) }) {
			t.Errorf("%q would carry mail in clear", s)
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("*.example.org", "a@b.example.org")
	f.Add("a@example.org", "A@example.org")
	f.Add("<>", "")
	f.Fuzz(func(t *testing.T, p, address string) {
		parsePattern(p).matches(address)
	})
}
