package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/dns/dnstest"
	"paquebot/internal/mail"
)

const hostZone = `
mx1.example.com.       60 IN A 45.77.0.10
mx1.example.com.       60 IN AAAA 2a0c:77::10
10.0.77.45.in-addr.arpa. 60 IN PTR mx1.example.com.
11.0.77.45.in-addr.arpa. 60 IN PTR liar.example.com.
12.0.77.45.in-addr.arpa. 60 IN PTR out.example.com.
out.example.com.       60 IN A 45.77.0.12
alias.example.com.     60 IN A 45.77.0.12
example.com.           60 IN MX 10 mx1.example.com.
example.com.           60 IN TXT "v=spf1 mx -all"
example.com.           60 IN TXT "google-site-verification=x"
_dmarc.example.com.    60 IN TXT "v=DMARC1; p=none"
s1._domainkey.example.com. 60 IN TXT "v=DKIM1; p=x"
other.example.         60 IN MX 10 mx.elsewhere.example.
other.example.         60 IN TXT "v=spf1 -all"
other.example.         60 IN TXT "v=spf1 +all"
_dmarc.other.example.  60 IN TXT "v=DMARC10; p=none"
mx.elsewhere.example.  60 IN A 45.77.0.99
second.example.        60 IN MX 10 alias.second.example.
alias.second.example.  60 IN A 45.77.0.10
null.example.          60 IN MX 0 .
`

func newTestHost(t *testing.T) Host {
	server := dnstest.New(hostZone).Fail("broken.example.", 2).Fail("_dmarc.broken.example.", 2).Fail("_domainkey.broken.example.", 2).
		Fail("66.0.77.45.in-addr.arpa.", 2)
	names := dns.New(dns.Config{Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}}, server.Dial)
	t.Cleanup(names.Close)
	return Host{Names: names, Hostname: "mx1.example.com", Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no network in this test")
	}}
}

func lines(checks []Check) string {
	var out []string
	for _, c := range checks {
		out = append(out, fmt.Sprintf("%s %s %s", c.Name, c.Word, c.Text))
	}
	return strings.Join(out, "\n")
}

func sources(addr, ehlo string) []mail.Source {
	return []mail.Source{{Addr: netip.MustParseAddr(addr), Ehlo: ehlo}}
}

// RFC 5321 §4.1.4; DIAG-46 for the machine itself.
func TestNamesAndAddressesAgreeOrNot(t *testing.T) {
	for _, c := range []struct {
		name     string
		hostname string // mx1.example.com if ""
		sources  []mail.Source
		want     string
	}{
		{"all agree", "", sources("45.77.0.10", ""), "hostname ok mx1.example.com is 2a0c:77::10, 45.77.0.10\nPTR ok 45.77.0.10 <-> mx1.example.com\nEHLO ok mx1.example.com, the name of 45.77.0.10"},
		{"a source with its own name", "", sources("45.77.0.12", "Out.example.com."), "hostname ok mx1.example.com is 2a0c:77::10, 45.77.0.10\nPTR ok 45.77.0.12 <-> out.example.com\nEHLO ok out.example.com, the name of 45.77.0.12"},
		{"greets with another of its names", "", sources("45.77.0.12", "alias.example.com"), "hostname ok mx1.example.com is 2a0c:77::10, 45.77.0.10\nPTR ok 45.77.0.12 <-> out.example.com\nEHLO warn alias.example.com leads to 45.77.0.12, whose own name is out.example.com: use one name for both"},
		{"greets with a name of another", "", sources("45.77.0.12", ""), "hostname ok mx1.example.com is 2a0c:77::10, 45.77.0.10\nPTR ok 45.77.0.12 <-> out.example.com\nEHLO FAIL mx1.example.com does not lead to 45.77.0.12, which is out.example.com"},
		{"a name that does not lead back", "", sources("45.77.0.11", ""), "hostname ok mx1.example.com is 2a0c:77::10, 45.77.0.10\nPTR FAIL 45.77.0.11 -> liar.example.com, which does not lead back"},
		{"no name", "", sources("45.77.0.77", ""), "hostname ok mx1.example.com is 2a0c:77::10, 45.77.0.10\nPTR FAIL 45.77.0.77 has no name: large receivers refuse its mail; ask whoever owns the address"},
		{"behind NAT", "", sources("192.168.1.2", ""), "hostname ok mx1.example.com is 2a0c:77::10, 45.77.0.10\nPTR ? 192.168.1.2 is an inner address: with which one others see us cannot be known from here"},
		{"not known to the DNS", "nowhere.example.com", sources("192.168.1.2", ""), "hostname FAIL nowhere.example.com has no address in the DNS\nPTR ? 192.168.1.2 is an inner address: with which one others see us cannot be known from here"},
		{"no network", "laptop", nil, "hostname warn \"laptop\" has no domain: receivers refuse such a name in EHLO (RFC 5321 s4.1.4)\naddress FAIL no address from which the world could be reached"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newTestHost(t)
			h.Sources = c.sources
			if c.hostname != "" {
				h.Hostname = c.hostname
			}
			if got := lines(h.checkNames(t.Context(), h.addresses(t.Context()))); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// A resolver that fails is never taken for "no name" (MX-9).
func TestAFailingResolverIsNoFaultOfTheHost(t *testing.T) {
	h := newTestHost(t)
	h.Sources = sources("45.77.0.66", "")
	got := lines(h.checkNames(t.Context(), h.addresses(t.Context())))
	if !strings.Contains(got, "PTR ? 45.77.0.66: nobody could say") {
		t.Error(got)
	}
}

func TestTheDNSOfOurDomains(t *testing.T) {
	for domain, want := range map[string]string{
		"example.com": "MX ok example.com: comes to mx1.example.com\nSPF ok example.com: v=spf1 mx -all\n" +
			"DKIM ok example.com: keys are published (which ones cannot be listed)\nDMARC ok example.com: v=DMARC1; p=none",
		"other.example": "MX warn other.example: goes to mx.elsewhere.example, not to this host; right only if that one passes it on\n" +
			"SPF FAIL other.example: 2 records, where one is allowed: receivers take it as an error (RFC 7208 s4.5)\n" +
			"DKIM warn other.example: no key is published\n" +
			"DMARC warn other.example: none published here; Gmail and Yahoo ask bulk senders for one (p=none is enough)",
		"second.example": "MX ok second.example: comes to alias.second.example, which is this host (45.77.0.10)\n" +
			"SPF warn second.example: none published: anybody may send in this name\nDKIM warn second.example: no key is published\n" +
			"DMARC warn second.example: none published here; Gmail and Yahoo ask bulk senders for one (p=none is enough)",
		"null.example": "MX FAIL null.example: says that it takes no mail (null MX), yet it is configured here\n" +
			"SPF warn null.example: none published: anybody may send in this name\nDKIM warn null.example: no key is published\n" +
			"DMARC warn null.example: none published here; Gmail and Yahoo ask bulk senders for one (p=none is enough)",
		"nowhere.example": "MX FAIL nowhere.example: has no MX and no address: no mail will come\n" +
			"SPF warn nowhere.example: none published: anybody may send in this name\nDKIM warn nowhere.example: no key is published\n" +
			"DMARC warn nowhere.example: none published here; Gmail and Yahoo ask bulk senders for one (p=none is enough)",
	} {
		h := newTestHost(t)
		h.Domains = []string{domain}
		if got := lines(h.checkDomains(t.Context(), []netip.Addr{netip.MustParseAddr("45.77.0.10")})); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	h := newTestHost(t)
	h.Domains = []string{"broken.example"}
	for _, c := range h.checkDomains(t.Context(), nil) {
		if c.Word != Unsure {
			t.Errorf("%+v, but nobody could say", c)
		}
	}
}

func TestCertificatesOfThisHost(t *testing.T) {
	leaf, _ := testCertificate(t, "mx1.example.com", "mail.example.com") // for an hour
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	chain := []*x509.Certificate{leaf}
	now := time.Now()
	for _, c := range []struct {
		name     string
		hostname string
		cert     HostCertificate
		roots    *x509.CertPool
		now      time.Time
		want     Word
		text     string
	}{
		{"ends soon", "mx1.example.com", HostCertificate{File: "a.pem", Chain: chain}, roots, now, Warn, "renewal seems not to work"},
		{"good", "mail.example.com", HostCertificate{File: "a.pem", Chain: longLived(leaf)}, roots, now, Good, "mx1.example.com and 1 more, "},
		{"for another name", "mx2.example.com", HostCertificate{File: "a.pem", Chain: chain}, roots, now, Fail, "is for mx1.example.com and 1 more, not for mx2"},
		{"expired", "mx1.example.com", HostCertificate{File: "a.pem", Chain: chain}, roots, now.Add(2 * time.Hour), Fail, "expired on"},
		{"not yet", "mx1.example.com", HostCertificate{File: "a.pem", Chain: chain}, roots, now.Add(-2 * time.Hour), Fail, "clock"},
		{"self-signed", "mx1.example.com", HostCertificate{File: "a.pem", Chain: chain}, x509.NewCertPool(), now, Warn, "self-signed"},
		{"unreadable", "mx1.example.com", HostCertificate{File: "a.pem", Err: errors.New("no such file")}, roots, now, Fail, "a.pem cannot be used: no such file"},
	} {
		h := Host{Hostname: c.hostname, Roots: c.roots}
		word, text := h.judgeCertificate(c.cert, c.now)
		if word != c.want || !strings.Contains(text, c.text) {
			t.Errorf("%s: %s %s", c.name, word, text)
		}
	}
}

// longLived is a chain whose leaf, trusted as it stands, ends in sixty days.
func longLived(leaf *x509.Certificate) []*x509.Certificate {
	c := *leaf
	c.NotAfter = time.Now().Add(60 * day)
	return []*x509.Certificate{&c}
}

func TestWhatIsExaminedOfThisHost(t *testing.T) {
	h := newTestHost(t)
	h.Sources = sources("45.77.0.10", "")
	h.References = []string{"ref.example", "smtp.sendgrid.net"}
	h.Listeners = []HostListener{
		{Address: "[::]:25", Role: "mx", Trusted: []netip.Prefix{netip.MustParsePrefix("45.77.0.0/24")}},
		{Address: ":587", Role: "submission"},
		{Address: "127.0.0.5:465", Role: "submissions", Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	}
	targets := h.Targets(t.Context())
	if len(targets) != 2 || targets[0].Kind != KindSelf || targets[0].Own || !targets[1].Own {
		t.Fatalf("%+v", targets)
	}
	var got []string
	for _, x := range targets {
		for _, e := range x.Endpoints {
			got = append(got, fmt.Sprintf("%s:%d %s %s %v %v", e.Host, e.Port, e.Mode, e.Role, e.Known, e.Addrs))
		}
	}
	want := `ref.example:587 verify submission false []
ref.example:465 implicit submission false []
ref.example:2525 verify submission false []
ref.example:25 may mx false []
smtp.sendgrid.net:587 verify submission true []
smtp.sendgrid.net:465 implicit submission true []
smtp.sendgrid.net:2525 verify submission true []
smtp.sendgrid.net:25 may mx true []
mx1.example.com:25 may mx true [127.0.0.1]
mx1.example.com:587 verify submission true [45.77.0.10]
mx1.example.com:465 implicit submission true [127.0.0.5]`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	if text := lines(targets[1].Checks); !strings.Contains(text, "port 465: every address here is trusted") || strings.Contains(text, "port 25:") ||
		!strings.Contains(text, "from outside ? cannot be seen from here") {
		t.Error(text)
	}
}

// DIAG-72 before anybody knocks: who trusts half the world relays for it.
func TestATrustedNetworkMustBeOnesOwn(t *testing.T) {
	for network, want := range map[string]bool{
		"10.0.0.0/8": false, "192.168.0.0/16": false, "2001:db8::/32": false, "fc00::/7": false, "::1/128": false,
		"0.0.0.0/1": true, "128.0.0.0/2": true, "::/0": true, "2000::/3": true,
	} {
		if got := widest([]netip.Prefix{netip.MustParsePrefix(network)}).IsValid(); got != want {
			t.Errorf("%s: %v", network, got)
		}
	}
}
