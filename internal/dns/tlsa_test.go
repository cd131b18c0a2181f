package dns

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"paquebot/internal/dns/dnstest"
)

const tlsaZone = `
_587._tcp.relay.example.  300 IN TLSA 3 1 1 00ff10
_587._tcp.relay.example.  300 IN TLSA 2 0 2 abcd
_465._tcp.relay.example.  300 IN CNAME dane.relay.example.
dane.relay.example.       300 IN TLSA 3 0 0 01
relay.example.            300 IN A 192.0.2.1
`

// RFC 6698 §3: port and protocol stand before the base domain; aliases are
// followed; the four ways a question ends stay apart (DANE-4).
func TestTLSA(t *testing.T) {
	bubble(t, func(t *testing.T) {
		server := dnstest.New(tlsaZone).Secure().Fail("_25._tcp.relay.example.", dns.RcodeServerFailure)
		r := New(local, server.Dial)
		for _, c := range []struct {
			port   uint16
			host   string
			status Status
			want   []TLSA
		}{
			{587, "Relay.Example.", OK, []TLSA{{3, 1, 1, []byte{0, 0xff, 0x10}}, {2, 0, 2, []byte{0xab, 0xcd}}}},
			{465, "relay.example", OK, []TLSA{{3, 0, 0, []byte{1}}}},
			{2525, "relay.example", NXDomain, nil},
			{25, "relay.example", Temp, nil},
			{25, "localhost", NXDomain, nil},
			{25, "not a name", NXDomain, nil},
		} {
			a := r.TLSA(t.Context(), c.port, c.host)
			if a.Status != c.status || !reflect.DeepEqual(a.Records, c.want) || a.Status == OK && !a.Secure {
				t.Errorf("%d %s: %+v", c.port, c.host, a)
			}
		}
		if slices.Contains(server.Asked(), "TLSA _25._tcp.localhost.") {
			t.Error("asked the DNS of localhost (RFC 6761)")
		}
	})
}

// DANE-1: who is not trusted to validate makes no record secure.
func TestTLSAFromAStrangerIsNotSecure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		far := Config{Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}}
		if a := New(far, dnstest.New(tlsaZone).Secure().Dial).TLSA(t.Context(), 587, "relay.example"); a.Status != OK || a.Secure {
			t.Errorf("%+v", a)
		}
	})
}
