package dns

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

type netConn = net.Conn

func isNotFound(err error) bool {
	e, ok := err.(*net.DNSError)
	return ok && e.IsNotFound
}

// FuzzAnswer feeds packets where an answer is awaited: nothing may panic, loop
// or grow, and what comes out keeps its promises.
func FuzzAnswer(f *testing.F) {
	ask := compose(question{"a.example", dns.TypeMX}, true)
	ask.Id = 7
	for _, rrs := range [][]string{
		{"a.example. 60 IN MX 10 mx.example."},
		{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN CNAME a.example."},
		{"a.example. 60 IN CNAME b.example.", "b.example. 60 IN MX 0 ."},
	} {
		m := new(dns.Msg)
		m.SetReply(ask)
		for _, s := range rrs {
			m.Answer = append(m.Answer, record(f, s))
		}
		p, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	// A name that points at itself, and one that points forward.
	head := []byte{0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}
	f.Add(append(append([]byte{}, head...), 0xc0, 12, 0, 15, 0, 1))
	f.Add(append(append([]byte{}, head...), 0xc0, 14, 0, 15, 0, 1))
	r := New(local, nil)
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, err := parse(ask, packet)
		if err != nil {
			return
		}
		got, err := r.digest(question{"a.example", dns.TypeMX}, m, netip.MustParseAddr("127.0.0.1"))
		if err != nil {
			return
		}
		if len(got.records) > recordsMax || (got.status == OK) != (len(got.records) > 0) {
			t.Errorf("%v with %d records", got.status, len(got.records))
		}
		if left := time.Until(got.expires); left > ttlMax || left <= 0 {
			t.Errorf("kept for %v", left)
		}
		if !plausible(got.owner) {
			t.Errorf("owner %q", got.owner)
		}
	})
}

// FuzzName holds that what leaves is always a name that may leave.
func FuzzName(f *testing.F) {
	for _, s := range []string{"Example.org.", "bücher.example", "_dmarc.example", "a..b", "\x00", "xn--a", "☃.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := ToASCII(s); err == nil {
			if !plausible(a) || !isASCII(a) {
				t.Errorf("%q became %q", s, a)
			}
			if again, err := ToASCII(a); err != nil || again != a {
				t.Errorf("%q became %q, then %q (%v)", s, a, again, err)
			}
		}
	})
}
