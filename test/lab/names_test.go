package lab

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// zone is the whole DNS of the laboratory. It grows while experiments run.
type zone struct {
	mu      sync.Mutex
	records map[string][]dns.RR // by owner
	broken  map[string]bool     // SERVFAIL at this name and below
}

func newZone() *zone {
	return &zone{records: map[string][]dns.RR{}, broken: map[string]bool{}}
}

// add takes lines of a zone file, "NAME. TYPE DATA".
func (z *zone) add(lines ...string) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		if err != nil {
			return fmt.Errorf("%q: %w", l, err)
		}
		rr.Header().Ttl = 60
		owner := dns.CanonicalName(rr.Header().Name)
		z.records[owner] = append(z.records[owner], rr)
	}
	return nil
}

// reverse points an address back to a name.
func (z *zone) reverse(a netip.Addr, name string) error {
	arpa, err := dns.ReverseAddr(a.String())
	if err != nil {
		return err
	}
	return z.add(arpa + " PTR " + dns.Fqdn(name))
}

func (z *zone) breakAt(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.broken[dns.CanonicalName(name)] = true
}

// answer answers as a recursive resolver that knows the whole zone.
func (z *zone) answer(q *dns.Msg) *dns.Msg {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	name, qtype := dns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype
	for range 8 {
		if z.brokenAt(name) {
			m.Rcode = dns.RcodeServerFailure
			return m
		}
		alias := ""
		for _, rr := range z.records[name] {
			if rr.Header().Rrtype == qtype {
				m.Answer = append(m.Answer, rr)
			} else if c, ok := rr.(*dns.CNAME); ok {
				m.Answer, alias = append(m.Answer, rr), dns.CanonicalName(c.Target)
			}
		}
		if alias == "" {
			break
		}
		name = alias
	}
	if len(m.Answer) == 0 && !z.exists(name) {
		m.Rcode = dns.RcodeNameError
	}
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60}, Ns: ".", Mbox: ".", Minttl: 60}}
	}
	return m
}

func (z *zone) brokenAt(name string) bool {
	for b := range z.broken {
		if dns.IsSubDomain(b, name) {
			return true
		}
	}
	return false
}

func (z *zone) exists(name string) bool {
	for owner := range z.records {
		if dns.IsSubDomain(name, owner) {
			return true
		}
	}
	return false
}

// resolver serves answers at an address, by UDP and TCP.
func resolver(in *space, at netip.Addr, answer func(*dns.Msg) *dns.Msg) error {
	addr := net.JoinHostPort(at.String(), "53")
	udp, err := in.listenPacket(addr)
	if err != nil {
		return err
	}
	tcp, err := in.listen(addr)
	if err != nil {
		return err
	}
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if len(q.Question) == 1 {
			if m := answer(q); m != nil {
				_ = w.WriteMsg(m)
			}
		}
	})
	go func() { _ = (&dns.Server{PacketConn: udp, Handler: h}).ActivateAndServe() }()
	go func() { _ = (&dns.Server{Listener: tcp, Handler: h}).ActivateAndServe() }()
	return nil
}

// oneFor answers every question for an address with the same one, as the name
// server of a captive portal does.
func oneFor(v4 netip.Addr) func(*dns.Msg) *dns.Msg {
	return func(q *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: v4.AsSlice()}}
		}
		return m
	}
}

// instead answers some questions with other records and the rest honestly.
func (z *zone) instead(lines ...string) func(*dns.Msg) *dns.Msg {
	other := newZone()
	if err := other.add(lines...); err != nil {
		panic(err) // it is the test that is wrong
	}
	return func(q *dns.Msg) *dns.Msg {
		name := strings.ToLower(q.Question[0].Name)
		if other.records[name] != nil {
			return other.answer(q)
		}
		return z.answer(q)
	}
}

// without answers honestly, but knows no names of some addresses.
func (z *zone) without(addrs ...netip.Addr) func(*dns.Msg) *dns.Msg {
	hidden := map[string]bool{}
	for _, a := range addrs {
		if arpa, err := dns.ReverseAddr(a.String()); err == nil {
			hidden[arpa] = true
		}
	}
	return func(q *dns.Msg) *dns.Msg {
		if hidden[strings.ToLower(q.Question[0].Name)] {
			return new(dns.Msg).SetRcode(q, dns.RcodeNameError)
		}
		return z.answer(q)
	}
}

// serverFailure is a resolver that is broken for every name.
func serverFailure(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure) }
