package dns

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"paquebot/internal/dns/dnstest"
)

const zone = `
example.org.        300 IN MX 20 mx2.example.org.
example.org.        300 IN MX 10 MX1.Example.org.
example.org.        60  IN TXT "v=spf1 " "-all \"quoted\" \\ \195\164"
mx1.example.org.    300 IN A 192.0.2.1
mx1.example.org.    300 IN AAAA 2001:db8::1
mx2.example.org.    300 IN A 192.0.2.2
alias.example.org.  300 IN CNAME example.org.
null.example.org.   300 IN MX 0 .
mixed.example.org.  300 IN MX 0 .
mixed.example.org.  300 IN MX 5 mx1.example.org.
loop.example.org.   300 IN CNAME pool.example.org.
pool.example.org.   300 IN CNAME loop.example.org.
xn--bcher-kva.example. 300 IN MX 10 mx1.example.org.
1.2.0.192.in-addr.arpa. 300 IN PTR mx1.example.org.
9.2.0.192.in-addr.arpa. 300 IN PTR mx1.example.org.
`

var local = Config{Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}}

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

func TestMXByPreferenceInLowerCase(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := New(local, dnstest.New(zone).Dial)
		a := r.MX(t.Context(), "Example.ORG.")
		want := []MX{{10, "mx1.example.org"}, {20, "mx2.example.org"}}
		if a.Status != OK || !slices.Equal(a.Records, want) || a.TTL != 300*time.Second || a.Secure {
			t.Errorf("got %+v", a)
		}
	})
}

// MX-9: the four ways a question ends are never mixed up.
func TestStatusesAreKeptApart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		server := dnstest.New(zone).
			Fail("servfail.example.", dns.RcodeServerFailure).
			Fail("refused.example.", dns.RcodeRefused).
			Fail("silent.example.", -1)
		r := New(local, server.Dial)
		for name, want := range map[string]Status{
			"example.org":           OK,
			"nowhere.example":       NXDomain,
			"mx1.example.org":       NoData,
			"servfail.example":      Temp,
			"refused.example":       Temp,
			"silent.example":        Temp,
			"loop.example.org":      Temp,
			"not a name":            NXDomain,
			"":                      NXDomain,
			"a..b":                  NXDomain,
			"x.invalid":             NXDomain,
			strings.Repeat("a", 64): NXDomain,
		} {
			if a := r.MX(t.Context(), name); a.Status != want || (a.Status != OK) != (len(a.Records) == 0) {
				t.Errorf("MX %q: %v %v (%v), want %v", name, a.Status, a.Records, a.Cause, want)
			}
		}
	})
}

// MX-7, RFC 7505 §3.
func TestNullMX(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := New(local, dnstest.New(zone).Dial)
		if a := r.MX(t.Context(), "null.example.org"); !NullMX(a.Records) {
			t.Errorf("not seen as null MX: %+v", a)
		}
		if a := r.MX(t.Context(), "mixed.example.org"); NullMX(a.Records) {
			t.Errorf("a dot beside other MX is no null MX: %+v", a)
		}
	})
}

// RFC 2782; "." of RFC 6186 section 3.4.
func TestSRVByPriorityAndWeight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := New(local, dnstest.New(`
_submissions._tcp.example.org. 300 IN SRV 10 1 465 slow.example.org.
_submissions._tcp.example.org. 300 IN SRV 0 1 465 Mail.example.org.
_submissions._tcp.example.org. 300 IN SRV 10 5 465 big.example.org.
_submission._tcp.example.org. 300 IN SRV 0 0 0 .
`).Dial)
		a := r.SRV(t.Context(), "submissions", "tcp", "example.org")
		want := []SRV{{0, 1, 465, "mail.example.org"}, {10, 5, 465, "big.example.org"}, {10, 1, 465, "slow.example.org"}}
		if a.Status != OK || !slices.Equal(a.Records, want) || NotOffered(a.Records) {
			t.Errorf("got %+v", a)
		}
		if a := r.SRV(t.Context(), "submission", "tcp", "example.org"); !NotOffered(a.Records) {
			t.Errorf("not seen as not offered: %+v", a)
		}
		if a := r.SRV(t.Context(), "imaps", "tcp", "example.org"); a.Status != NXDomain {
			t.Errorf("got %+v", a)
		}
	})
}

// MX-2 and MX-14.
func TestAliasesAreFollowedAndIDNsAskedAsALabels(t *testing.T) {
	bubble(t, func(t *testing.T) {
		server := dnstest.New(zone)
		r := New(local, server.Dial)
		if a := r.MX(t.Context(), "alias.example.org"); a.Status != OK || !a.Aliased || a.Name != "example.org" || len(a.Records) != 2 {
			t.Errorf("alias: %+v", a)
		}
		if a := r.MX(t.Context(), "Bücher.example"); a.Status != OK || a.Name != "xn--bcher-kva.example" {
			t.Errorf("IDN: %+v", a)
		}
		if !slices.Contains(server.Asked(), "MX xn--bcher-kva.example.") {
			t.Errorf("asked %v", server.Asked())
		}
	})
}

// Some resolvers give the alias alone; its target is then asked for.
func TestAliasLeftUnfollowedByTheServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		server := dnstest.New("")
		server.Handle(func(_ string, q *dns.Msg) []byte {
			m := new(dns.Msg)
			m.SetReply(q)
			rr := "a.example. 60 IN CNAME b.example."
			if q.Question[0].Name == "b.example." {
				rr = "b.example. 120 IN MX 1 mx.example."
			}
			m.Answer = append(m.Answer, record(t, rr))
			p, _ := m.Pack()
			return p
		})
		a := New(local, server.Dial).MX(t.Context(), "a.example")
		if a.Status != OK || a.Name != "b.example" || !a.Aliased || a.TTL > time.Minute {
			t.Errorf("got %+v", a)
		}
	})
}

func TestTXTStringsAreJoinedAndUnescaped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := New(local, dnstest.New(zone).Dial).TXT(t.Context(), "example.org")
		if len(a.Records) != 1 || a.Records[0] != `v=spf1 -all "quoted" \ ä` {
			t.Errorf("got %q", a.Records)
		}
	})
}

func TestAddressesOfBothFamilies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		server := dnstest.New(zone)
		r := New(local, server.Dial)
		a := r.Addrs(t.Context(), "mx1.example.org")
		want := []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}
		if a.Status != OK || !slices.Equal(a.Records, want) {
			t.Errorf("got %+v", a)
		}
		if a := r.Addrs(t.Context(), "mx2.example.org"); a.Status != OK || len(a.Records) != 1 {
			t.Errorf("one family is enough: %+v", a)
		}
		if a := r.Addrs(t.Context(), "localhost"); len(a.Records) != 2 {
			t.Errorf("localhost: %+v", a)
		}
		for _, q := range server.Asked() {
			if strings.Contains(q, "localhost") {
				t.Error("localhost was asked of a server (RFC 6761 §6.3)")
			}
		}
	})
}

// A family that cannot be looked up hides the other one's absence, never its presence.
func TestOneFamilyBroken(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	ok := Answer[netip.Addr]{Status: OK, Records: []netip.Addr{addr}}
	for _, c := range []struct {
		v4, v6 Answer[netip.Addr]
		want   Status
	}{
		{ok, Answer[netip.Addr]{Status: Temp}, OK},
		{ok, Answer[netip.Addr]{Status: NoData}, OK},
		{Answer[netip.Addr]{Status: NoData}, Answer[netip.Addr]{Status: Temp}, Temp},
		{Answer[netip.Addr]{Status: NXDomain}, Answer[netip.Addr]{Status: NXDomain}, NXDomain},
		{Answer[netip.Addr]{Status: NoData}, Answer[netip.Addr]{Status: NoData}, NoData},
		{Answer[netip.Addr]{Status: NoData}, ok, OK},
	} {
		if got := mergeAddrs(c.v4, c.v6); got.Status != c.want {
			t.Errorf("%v + %v = %v, want %v", c.v4.Status, c.v6.Status, got.Status, c.want)
		}
	}
}

func TestReverseNamesMustResolveBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := New(local, dnstest.New(zone).Fail("8.2.0.192.in-addr.arpa.", dns.RcodeServerFailure).Dial)
		for addr, want := range map[string]Status{
			"192.0.2.1": OK, "::ffff:192.0.2.1": OK, "192.0.2.9": NoData, "192.0.2.7": NXDomain, "192.0.2.8": Temp,
		} {
			a := r.Confirmed(t.Context(), netip.MustParseAddr(addr))
			if a.Status != want || want == OK && a.Records[0] != "mx1.example.org" {
				t.Errorf("%s: %+v, want %v", addr, a, want)
			}
		}
	})
}

// DANE-1: the AD bit counts only from loopback or a resolver named for it.
func TestADBitIsBelievedOnlyFromTrustedServers(t *testing.T) {
	far := netip.MustParseAddrPort("192.0.2.53:53")
	bubble(t, func(t *testing.T) {
		server := dnstest.New(zone).Secure()
		for _, c := range []struct {
			conf Config
			want bool
		}{
			{local, true},
			{Config{Servers: []netip.AddrPort{far}}, false},
			{Config{Servers: []netip.AddrPort{far}, Trusted: []netip.Addr{far.Addr()}}, true},
		} {
			if a := New(c.conf, server.Dial).MX(t.Context(), "example.org"); a.Secure != c.want {
				t.Errorf("%v: secure %v, want %v", c.conf.Servers, a.Secure, c.want)
			}
		}
	})
}

// MX-13.
func TestTTLBounds(t *testing.T) {
	for _, c := range []struct {
		ttl  uint32
		keep time.Duration
	}{{0, 30 * time.Second}, {45, 45 * time.Second}, {1 << 30, 24 * time.Hour}} {
		bubble(t, func(t *testing.T) {
			server := dnstest.New("")
			server.Handle(func(_ string, q *dns.Msg) []byte {
				m := new(dns.Msg)
				m.SetReply(q)
				m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: "a.example.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: c.ttl}, A: []byte{192, 0, 2, 1}})
				p, _ := m.Pack()
				return p
			})
			r := New(local, server.Dial)
			for range 3 {
				r.IPv4(t.Context(), "a.example")
			}
			time.Sleep(c.keep - time.Second)
			r.IPv4(t.Context(), "a.example")
			if n := len(server.Asked()); n != 1 {
				t.Errorf("ttl %d: asked %d times within %v", c.ttl, n, c.keep)
			}
			time.Sleep(2 * time.Second)
			r.IPv4(t.Context(), "a.example")
			if n := len(server.Asked()); n != 2 {
				t.Errorf("ttl %d: not asked again after %v", c.ttl, c.keep)
			}
		})
	}
}

func TestNegativeAnswersAreKeptAtMostAQuarterHour(t *testing.T) {
	bubble(t, func(t *testing.T) {
		server := dnstest.New(zone) // its SOA says 600 s
		r := New(local, server.Dial)
		r.MX(t.Context(), "nowhere.example")
		time.Sleep(9 * time.Minute)
		r.MX(t.Context(), "nowhere.example")
		if n := len(server.Asked()); n != 1 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(7 * time.Minute)
		r.MX(t.Context(), "nowhere.example")
		if n := len(server.Asked()); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestSilentServerCostsItsTimeoutThenTheNextIsAsked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		good := dnstest.New(zone)
		silent := dnstest.New("").Handle(func(string, *dns.Msg) []byte { return nil })
		conf := Config{Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("192.0.2.54:53")}}
		r := New(conf, func(ctx context.Context, network, addr string) (c netConn, err error) {
			if addr == "192.0.2.53:53" {
				return silent.Dial(ctx, network, addr)
			}
			return good.Dial(ctx, network, addr)
		})
		start := time.Now()
		a := r.MX(t.Context(), "example.org")
		if n := len(silent.Asked()); a.Status != OK || time.Since(start) != 5*time.Second || n != 1 {
			t.Errorf("%v after %v, %d questions to the silent one", a.Status, time.Since(start), n)
		}
	})
}

func TestAskerMayLeaveBeforeTheAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := New(local, dnstest.New("").Fail("silent.example.", -1).Dial)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		defer r.Close()
		start := time.Now()
		if a := r.MX(ctx, "silent.example"); a.Status != Temp || time.Since(start) != time.Second {
			t.Errorf("%v after %v", a.Status, time.Since(start))
		}
	})
}

func TestManyAskersShareOneQuestion(t *testing.T) {
	bubble(t, func(t *testing.T) {
		server := dnstest.New(zone)
		r := New(local, server.Dial)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if a := r.MX(t.Context(), "example.org"); a.Status != OK {
					t.Errorf("got %v", a.Status)
				}
			})
		}
		wg.Wait()
		if n := len(server.Asked()); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestLongAnswersComeByTCP(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var z strings.Builder
		for i := range 100 {
			z.WriteString("big.example. 300 IN A 192.0.2." + string(rune('0'+i%10)) + string(rune('0'+i/10)) + "\n")
		}
		r := New(local, dnstest.New(strings.ReplaceAll(z.String(), ".0", ".1")).Dial)
		if a := r.IPv4(t.Context(), "big.example"); a.Status != OK || len(a.Records) < 90 {
			t.Errorf("%v, %d records", a.Status, len(a.Records))
		}
	})
}

func TestServersWithoutEDNS(t *testing.T) {
	bubble(t, func(t *testing.T) {
		server := dnstest.New("")
		server.Handle(func(_ string, q *dns.Msg) []byte {
			m := new(dns.Msg)
			m.SetReply(q)
			if q.IsEdns0() != nil {
				m.Rcode = dns.RcodeFormatError
				m.Question = nil
			} else {
				m.Answer = append(m.Answer, record(t, "old.example. 60 IN MX 1 mx.example."))
			}
			p, _ := m.Pack()
			return p
		})
		if a := New(local, server.Dial).MX(t.Context(), "old.example"); a.Status != OK {
			t.Errorf("got %+v", a)
		}
	})
}

func TestAnswersToOtherQuestionsAreIgnored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		server := dnstest.New("")
		server.Handle(func(_ string, q *dns.Msg) []byte {
			m := new(dns.Msg)
			m.SetReply(q)
			m.Id++ // a forger guesses
			m.Answer = append(m.Answer, record(t, "a.example. 60 IN MX 1 evil.example."))
			p, _ := m.Pack()
			return p
		})
		if a := New(local, server.Dial).MX(t.Context(), "a.example"); a.Status != Temp {
			t.Errorf("a forged answer was believed: %+v", a)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(10_000)
	for i := range 1000 {
		c.put(question{string(rune('a' + i%26)), uint16(i)}, reply{octets: 100, expires: time.Now().Add(time.Hour)})
	}
	if n := len(c.byName); n > 10_000/(100+entryOctets) || n != c.order.Len() || c.room < 0 {
		t.Errorf("%d entries, room %d", n, c.room)
	}
}

func TestStdSpeaksLikeNetResolver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := Std{New(local, dnstest.New(zone).Fail("bad.example.", dns.RcodeServerFailure).Dial)}
		if mx, err := s.LookupMX(t.Context(), "example.org"); err != nil || mx[0].Host != "mx1.example.org." {
			t.Errorf("%v %v", mx, err)
		}
		_, err := s.LookupTXT(t.Context(), "nowhere.example")
		if !isNotFound(err) {
			t.Errorf("not found: %v", err)
		}
		if _, err := s.LookupTXT(t.Context(), "bad.example"); err == nil || isNotFound(err) {
			t.Errorf("temporary: %v", err)
		}
		if names, err := s.LookupAddr(t.Context(), "192.0.2.1"); err != nil || names[0] != "mx1.example.org." {
			t.Errorf("%v %v", names, err)
		}
	})
}

func record(t testing.TB, s string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(s)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}
