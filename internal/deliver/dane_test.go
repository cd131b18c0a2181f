package deliver_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/deliver"
	"paquebot/internal/dns"
	"paquebot/internal/dns/dnstest"
	"paquebot/internal/mail"
	"paquebot/internal/smtpclient/peertest"
)

const servfail = 2

// zoneFor gives the records of a relay, in which KEY is the SHA-256 of its key,
// OTHER that of another, and WHOLE its certificate.
func zoneFor(cert *tls.Config, records string) string {
	leaf := cert.Certificates[0].Leaf
	return strings.NewReplacer(
		"KEY", fmt.Sprintf("%x", sha256.Sum256(leaf.RawSubjectPublicKeyInfo)),
		"OTHER", strings.Repeat("5a", sha256.Size),
		"WHOLE", fmt.Sprintf("%x", leaf.Raw),
	).Replace(records)
}

func resolver(s *dnstest.Server) *dns.Resolver {
	return dns.New(dns.Config{Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}}, s.Dial)
}

// byName is a route to the relay whose addresses the DNS must tell.
func (r *relayOf) byName(ports ...uint16) mail.Route {
	out := r.route(ports...)
	for i := range out.Hops {
		out.Hops[i].Addrs = nil
	}
	return out
}

// SH-7, SH-3, DANE-1 to DANE-8: what proves that a smart host is who it is, and
// what follows if nothing does.
func TestDANEOfASmarthost(t *testing.T) {
	const at = "relay.example. A 192.0.2.1\n"
	for _, row := range []struct {
		name     string
		zone     string
		insecure bool
		fail     []string // names whose look-up fails
		unknown  bool     // no public authority vouches for the certificate
		pinned   bool     // the operator names its root
		bears    string   // name in the certificate; "": relay.example
		noTLS    bool
		want     string // "port how", or what the outcome says
		said     string
	}{
		{name: "no records: PKIX", zone: at, want: "587 pkix"},
		{name: "no records, and no authority: stop", zone: at, unknown: true, want: "4.7.5", said: "alarm relay.example:587 stopped=true"},
		{name: "DANE-EE in the place of PKIX", zone: at + "_587._tcp.relay.example. TLSA 3 1 1 KEY", unknown: true, want: "587 dane-ee"},
		{name: "DANE-EE whatever the name", zone: at + "_587._tcp.relay.example. TLSA 3 1 1 KEY", bears: "elsewhere.example", want: "587 dane-ee"},
		{name: "DANE-TA", zone: at + "_587._tcp.relay.example. TLSA 2 0 0 WHOLE", unknown: true, want: "587 dane-ta"},
		{name: "DANE-TA checks the name: stop", zone: at + "_587._tcp.relay.example. TLSA 2 0 0 WHOLE", bears: "elsewhere.example", want: "4.7.5", said: "alarm relay.example:587 stopped=true"},
		{name: "a mismatch stops, though PKIX and the other port are sound", zone: at + "_587._tcp.relay.example. TLSA 3 1 1 OTHER\n_465._tcp.relay.example. TLSA 3 1 1 KEY",
			want: "4.7.5", said: "alarm relay.example:587 stopped=true"},
		{name: "no STARTTLS stops", zone: at + "_587._tcp.relay.example. TLSA 3 1 1 KEY", noTLS: true, want: "4.7.5", said: "alarm relay.example:587 stopped=true"},
		{name: "records of another port say nothing", zone: at + "_25._tcp.relay.example. TLSA 3 1 1 OTHER", want: "587 pkix"},
		{name: "not secure: as if there were none (DANE-1)", zone: at + "_587._tcp.relay.example. TLSA 3 1 1 OTHER", insecure: true, want: "587 pkix"},
		{name: "none usable: PKIX (DANE-6)", zone: at + "_587._tcp.relay.example. TLSA 1 1 1 OTHER\n_587._tcp.relay.example. TLSA 3 1 1 00", want: "587 pkix"},
		{name: "none usable, and no authority: stop", zone: at + "_587._tcp.relay.example. TLSA 1 1 1 KEY", unknown: true, want: "4.7.5", said: "alarm relay.example:587 stopped=true"},
		{name: "the operator's own root goes before the DNS (POL-1)", zone: at + "_587._tcp.relay.example. TLSA 3 1 1 OTHER", pinned: true, want: "587 pkix"},
		{name: "a failed look-up is not none (DANE-4): the next port", zone: at + "_465._tcp.relay.example. TLSA 3 1 1 KEY", fail: []string{"_587._tcp.relay.example."},
			want: "465 dane-ee", said: "changed relay.example:587 → relay.example:465: relay.example:587 is left alone: TLSA records at _587._tcp.relay.example cannot be looked up"},
		{name: "no look-up succeeds: mail waits", zone: at, fail: []string{"_587._tcp.relay.example.", "_465._tcp.relay.example."},
			want: "TLSA records at _587._tcp.relay.example cannot be looked up"},
		{name: "behind an alias: where it leads (DANE-3)", zone: "relay.example. CNAME pool.example.\npool.example. A 192.0.2.1\n_587._tcp.pool.example. TLSA 3 1 1 KEY\n_587._tcp.relay.example. TLSA 3 1 1 OTHER",
			want: "587 dane-ee"},
		{name: "behind an alias: then the alias", zone: "relay.example. CNAME pool.example.\npool.example. A 192.0.2.1\n_587._tcp.relay.example. TLSA 2 0 0 WHOLE", want: "587 dane-ta"},
		{name: "behind an alias: the configured name serves under DANE-TA", zone: "relay.example. CNAME pool.example.\npool.example. A 192.0.2.1\n_587._tcp.pool.example. TLSA 2 0 0 WHOLE", want: "587 dane-ta"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, stop := newRelay(t, map[uint16]*endpointOf{587: {noTLS: row.noTLS}, 465: {implicit: true}})
				r.good, r.roots = peertest.Certificate(or(row.bears, "relay.example"))
				if row.pinned {
					r.pinned = r.roots
				}
				if row.unknown || row.pinned {
					r.roots = x509.NewCertPool()
				}
				server := dnstest.New(zoneFor(r.good, row.zone))
				if !row.insecure {
					server.Secure()
				}
				for _, name := range row.fail {
					server.Fail(name, servfail)
				}
				r.names = resolver(server)
				b := r.bench(deliver.Profile{}, nil)
				o := b.Deliver(t.Context(), attemptTo(r.byName(587, 465), "Subject: x\r\n\r\nhi\r\n", "b@there.example"))[0]
				if o.Result == mail.Accepted {
					if got := fmt.Sprint(o.Addr.Port(), " ", o.TLS.Verified); got != row.want {
						t.Errorf("left by %s", got)
					}
				} else if o.Result != mail.Deferred || o.Reach != mail.ThisSite || !strings.Contains(o.Reply.String(), row.want) || r.auths[587]+r.auths[465] > 0 {
					t.Errorf("%+v, credential shown %v", o, r.auths)
				}
				if b.said() != row.said {
					t.Errorf("said %q", b.said())
				}
				for _, q := range server.Asked() {
					if strings.Contains(q, "there.example") {
						t.Errorf("asked %s: the recipient's domain has no say (SH-7)", q)
					}
					if (row.insecure || row.pinned) && strings.HasPrefix(q, "TLSA") {
						t.Errorf("asked %s (DANE-2, POL-1)", q)
					}
				}
				b.Close()
				stop()
			})
		})
	}
}

// SH-7: on a smart host's route nothing is asked about the recipient's domain,
// whatever policies it publishes, and they change nothing.
func TestThePolicyOfTheRecipientIsNotTheSmarthosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newRelay(t, map[uint16]*endpointOf{587: {}})
		r.good, r.roots = peertest.Certificate("relay.example")
		server := dnstest.New(zoneFor(r.good, `
relay.example. A 192.0.2.1
_587._tcp.relay.example. TLSA 3 1 1 KEY
there.example. MX 10 mx.there.example.
mx.there.example. A 192.0.2.9
_25._tcp.mx.there.example. TLSA 3 1 1 OTHER
_587._tcp.there.example. TLSA 3 1 1 OTHER
_mta-sts.there.example. TXT "v=STSv1; id=1"
_smtp._tls.there.example. TXT "v=TLSRPTv1; rua=mailto:x@there.example"
`)).Secure()
		r.names = resolver(server)
		b := r.bench(deliver.Profile{}, nil)
		o := b.Deliver(t.Context(), attemptTo(r.byName(587), "Subject: x\r\n\r\nhi\r\n", "b@there.example"))[0]
		if o.Result != mail.Accepted || o.TLS.Verified != "dane-ee" {
			t.Errorf("%+v", o)
		}
		asked := server.Asked()
		slices.Sort(asked)
		if want := []string{"A relay.example.", "AAAA relay.example.", "TLSA _587._tcp.relay.example."}; !slices.Equal(asked, want) {
			t.Errorf("asked %v", asked)
		}
		b.Close()
		stop()
	})
}

// CLI-43: a session is used again at the level at which it was verified, so
// one proved by PKIX is none for mail that DANE demands more of.
func TestSessionsAreReusedAtTheirLevelOfProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newRelay(t, map[uint16]*endpointOf{587: {}})
		r.good, r.roots = peertest.Certificate("relay.example")
		server := dnstest.New(zoneFor(r.good, "relay.example. 30 A 192.0.2.1\nrelay.example. 30 AAAA 2001:db8::1\n_587._tcp.relay.example. TLSA 3 1 1 KEY"))
		r.names = resolver(server)
		b := r.bench(deliver.Profile{}, nil)
		var got []string
		send := func() {
			o := b.Deliver(t.Context(), attemptTo(r.byName(587), "Subject: x\r\n\r\nhi\r\n", "b@there.example"))[0]
			if o.TLS == nil {
				t.Fatalf("%+v", o)
			}
			got = append(got, fmt.Sprint(o.TLS.Verified, " ", r.sessions))
		}
		send()
		time.Sleep(20 * time.Second)
		send()
		server.Secure()              // its zone is signed from now on,
		time.Sleep(11 * time.Second) // and what was known of it is forgotten before the session is
		send()
		send()
		if want := "pkix 1, pkix 1, dane-ee 2, dane-ee 2"; strings.Join(got, ", ") != want {
			t.Errorf("got %v", got)
		}
		b.Close()
		stop()
	})
}
