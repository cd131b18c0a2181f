package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"paquebot/internal/dns"
	"paquebot/internal/dns/dnstest"
)

const mailXML = `<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1"><emailProvider id="example.com"><domain>example.com</domain>
 <incomingServer type="imap"><hostname>imap.example.com</hostname><port>993</port><socketType>SSL</socketType></incomingServer>
 <outgoingServer type="smtp"><hostname>mail.%EMAILDOMAIN%</hostname><port>587</port><socketType>STARTTLS</socketType>
  <authentication>password-cleartext</authentication><username>%EMAILADDRESS%</username></outgoingServer>
 <outgoingServer type="smtp"><hostname>mail.example.com</hostname><port>465</port><socketType>SSL</socketType></outgoingServer>
</emailProvider></clientConfig>`

// web is where the domains' web servers are, in the zones below.
const web = "autoconfig.example.com. 60 IN A 45.77.0.80\nexample.com. 60 IN A 45.77.0.80\n"

// DISC-1, DISC-2, DISC-3, DISC-7: what a domain publishes, and what is made of it.
func TestWhatADomainPublishes(t *testing.T) {
	for _, c := range []struct {
		name  string
		zone  string
		pages map[string]string // by host and path; others are 404
		off   bool              // NoAutoconfig
		want  string            // checks, endpoints, findings
	}{
		{
			name: "everything agrees",
			zone: web + `
example.com. 60 IN MX 10 mx1.example.com.
_submissions._tcp.example.com. 60 IN SRV 0 1 465 mail.example.com.
_submission._tcp.example.com. 60 IN SRV 0 1 587 mail.example.com.`,
			pages: map[string]string{"autoconfig.example.com/mail/config-v1.1.xml": mailXML},
			want: `MX ok mx1.example.com (10)
_submissions ok mail.example.com:465
_submission ok mail.example.com:587
autoconfig ok mail.example.com:587 STARTTLS, mail.example.com:465 TLS, by autoconfig.example.com
clients ok would choose mail.example.com:587 with STARTTLS, by autoconfig
> mx1.example.com:25 may mx
> mail.example.com:465 implicit submission known
> mail.example.com:587 verify submission known`,
		},
		{
			name: "SRV alone, by priority",
			zone: `
example.com. 60 IN MX 10 mx1.example.com.
_submissions._tcp.example.com. 60 IN SRV 20 1 465 b.example.com.
_submissions._tcp.example.com. 60 IN SRV 10 1 465 a.example.com.`,
			want: `MX ok mx1.example.com (10)
_submissions ok a.example.com:465, b.example.com:465
_submission - no SRV record
autoconfig - none: autoconfig.example.com: nxdomain; example.com: nodata; autoconfig.thunderbird.net: nxdomain
clients ok would choose a.example.com:465 with TLS, by SRV
> mx1.example.com:25 may mx
> a.example.com:465 implicit submission known
> b.example.com:465 implicit submission known`,
		},
		{
			name: "not offered, by the rules; a target outside",
			zone: `
example.com. 60 IN MX 10 mx1.example.com.
_submissions._tcp.example.com. 60 IN SRV 0 1 465 smtp.host.example.
_submission._tcp.example.com. 60 IN SRV 0 0 0 .`,
			off: true,
			want: `MX ok mx1.example.com (10)
_submissions ok smtp.host.example:465
_submissions warn smtp.host.example is outside example.com: clients must ask their user, or see example.com in its certificate
_submission ok says "not offered" (target ".")
autoconfig - not asked, as told
clients ok would choose smtp.host.example:465 with TLS, by SRV
> mx1.example.com:25 may mx
> smtp.host.example:465 implicit submission known
! DISC-2 proven _submissions.example.com points outside the domain, to smtp.host.example, and no DNSSEC vouches for it.`,
		},
		{
			name: "the sources disagree",
			zone: web + `
example.com. 60 IN MX 10 mx1.example.com.
_submissions._tcp.example.com. 60 IN SRV 0 1 465 other.example.com.
_submission._tcp.example.com. 60 IN SRV 0 0 0 .`,
			pages: map[string]string{"example.com/.well-known/autoconfig/mail/config-v1.1.xml": mailXML},
			want: `MX ok mx1.example.com (10)
_submissions ok other.example.com:465
_submission ok says "not offered" (target ".")
autoconfig ok mail.example.com:587 STARTTLS, mail.example.com:465 TLS, by example.com
clients ok would choose mail.example.com:587 with STARTTLS, by autoconfig
agreement warn autoconfig and SRV say different things: mail.example.com by autoconfig, other.example.com by SRV
> mx1.example.com:25 may mx
> other.example.com:465 implicit submission known
> mail.example.com:587 verify submission known
> mail.example.com:465 implicit submission known
! DISC-7 proven What example.com publishes disagrees: some clients will try what others do not.`,
		},
		{
			name: "the database knows what the domain does not say",
			zone: "autoconfig.thunderbird.net. 60 IN A 45.77.0.81\nexample.com. 60 IN MX 10 mx1.example.com.",
			pages: map[string]string{"autoconfig.thunderbird.net/v1.1/example.com": strings.Replace(mailXML,
				"<socketType>STARTTLS<", "<socketType>plain<", 1)},
			want: `MX ok mx1.example.com (10)
_submissions - no SRV record
_submission - no SRV record
autoconfig FAIL sends passwords in clear to mail.example.com:587 (socketType "plain")
autoconfig ok mail.example.com:587 STARTTLS, mail.example.com:465 TLS, by autoconfig.thunderbird.net
clients ok would choose mail.example.com:587 with STARTTLS, by autoconfig
> mx1.example.com:25 may mx
> mail.example.com:587 verify submission
> mail.example.com:465 implicit submission known`,
		},
		{
			name: "the exchangers' provider",
			zone: "example.com. 60 IN MX 10 example-com.mail.protection.outlook.com.",
			off:  true,
			want: `MX ok example-com.mail.protection.outlook.com (10)
_submissions - no SRV record
_submission - no SRV record
autoconfig - not asked, as told
provider ok Microsoft 365 (SMTP AUTH) runs the exchangers
clients ok would choose smtp.office365.com:587 with STARTTLS, by the exchangers' provider
> example-com.mail.protection.outlook.com:25 may mx
> smtp.office365.com:587 verify submission known`,
		},
		{
			name: "nothing published, usual names exist",
			zone: "example.com. 60 IN MX 10 mx1.example.com.\nmail.example.com. 60 IN A 45.77.0.9",
			off:  true,
			want: `MX ok mx1.example.com (10)
_submissions - no SRV record
_submission - no SRV record
autoconfig - not asked, as told
guess ? nothing is published; clients would try mail.example.com
clients warn find no submission service by themselves
> mx1.example.com:25 may mx
> mail.example.com:587 verify submission
> mail.example.com:465 implicit submission`,
		},
		{
			name: "takes no mail",
			zone: "example.com. 60 IN MX 0 .\nexample.com. 60 IN A 45.77.0.9",
			off:  true,
			want: `MX warn takes no mail, and says so (null MX, RFC 7505)
_submissions - no SRV record
_submission - no SRV record
autoconfig - not asked, as told
clients warn find no submission service by themselves`,
		},
		{
			name: "no MX",
			zone: "example.com. 60 IN A 45.77.0.9",
			off:  true,
			want: `MX warn none; mail goes to example.com itself (RFC 5321 s5.1)
_submissions - no SRV record
_submission - no SRV record
autoconfig - not asked, as told
clients warn find no submission service by themselves
> example.com:25 may mx`,
		},
		{
			name: "no such domain",
			off:  true,
			want: `MX FAIL example.com does not exist
_submissions - no SRV record
_submission - no SRV record
autoconfig - not asked, as told
clients warn find no submission service by themselves
> example.com:25 may mx`,
		},
		{
			name: "more exchangers than are looked at",
			zone: `
example.com. 60 IN MX 1 a.example.com.
example.com. 60 IN MX 2 b.example.com.
example.com. 60 IN MX 3 c.example.com.
example.com. 60 IN MX 4 d.example.com.
example.com. 60 IN MX 5 e.example.com.
example.com. 60 IN MX 6 f.example.com.`,
			off: true,
			want: `MX ok a.example.com (1), b.example.com (2), c.example.com (3), d.example.com (4), e.example.com (5), and 1 more, not looked at
_submissions - no SRV record
_submission - no SRV record
autoconfig - not asked, as told
clients warn find no submission service by themselves
> a.example.com:25 may mx
> b.example.com:25 may mx
> c.example.com:25 may mx
> d.example.com:25 may mx
> e.example.com:25 may mx`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newTestDiscovery(t, c.zone, func(w http.ResponseWriter, r *http.Request) {
				if page, ok := c.pages[r.Host+r.URL.Path]; ok {
					fmt.Fprint(w, page)
					return
				}
				http.NotFound(w, r)
			})
			d.NoAutoconfig = c.off
			got := d.Discover(t.Context(), "anna@Example.com")
			if text := shown(got); text != c.want {
				t.Errorf("got\n%s\nwant\n%s", text, c.want)
			}
		})
	}
}

// shown is a target in lines.
func shown(t Target) string {
	var lines []string
	for _, c := range t.Checks {
		lines = append(lines, fmt.Sprintf("%s %s %s", c.Name, c.Word, c.Text))
	}
	for _, e := range t.Endpoints {
		line := fmt.Sprintf("> %s:%d %s %s", e.Host, e.Port, e.Mode, e.Role)
		if e.Known {
			line += " known"
		}
		lines = append(lines, line)
	}
	for _, f := range t.Findings {
		lines = append(lines, fmt.Sprintf("! %s %s %s", f.ID, f.Confidence, f.Text))
	}
	return strings.Join(lines, "\n")
}

// newTestDiscovery asks names of a zone, and one web server for all hosts.
func newTestDiscovery(t *testing.T, zone string, handler http.HandlerFunc) Discovery {
	t.Helper()
	names := dns.New(dns.Config{Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}}, dnstest.New(zone).Dial)
	t.Cleanup(names.Close)
	server := httptest.NewUnstartedServer(handler)
	authority, cert := testCertificate(t, "autoconfig.example.com", "example.com", "autoconfig.thunderbird.net")
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	return Discovery{Names: names, Roots: roots, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}}
}

// The address asked about goes to the domain's own hosts, and nowhere else.
func TestTheDatabaseNeverLearnsTheAddress(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]string{}
	d := newTestDiscovery(t, web+"autoconfig.thunderbird.net. 60 IN A 45.77.0.81", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked[r.Host+r.URL.Path] = r.URL.RawQuery
		http.NotFound(w, r)
	})
	d.Discover(t.Context(), "anna+x@example.com")
	for place, query := range map[string]string{
		"autoconfig.example.com/mail/config-v1.1.xml":             "emailaddress=anna%2Bx%40example.com",
		"example.com/.well-known/autoconfig/mail/config-v1.1.xml": "emailaddress=anna%2Bx%40example.com",
		"autoconfig.thunderbird.net/v1.1/example.com":             "",
	} {
		if got, ok := asked[place]; !ok || got != query {
			t.Errorf("%s was asked %q (%v), want %q", place, got, ok, query)
		}
	}
}

func TestAutoconfigIsFetchedWithCare(t *testing.T) {
	const ours = "autoconfig.example.com. 60 IN A "
	for _, c := range []struct {
		name, zone string
		answer     http.HandlerFunc
		want       string // of the error
	}{
		{"our own network", ours + "10.0.0.1", nil, "no public address"},
		{"this machine", ours + "127.0.0.1", nil, "no public address"},
		{"a cloud's metadata", ours + "169.254.169.254", nil, "no public address"},
		{"a carrier's inner network", ours + "100.64.0.1", nil, "no public address"},
		{"IPv6, and yet inner", "autoconfig.example.com. 60 IN AAAA fd00::1", nil, "no public address"},
		{"mapped", "autoconfig.example.com. 60 IN AAAA ::ffff:10.0.0.1", nil, "no public address"},
		{"sent on to an inner host", ours + "45.77.0.80\ninner.example.com. 60 IN A 192.168.0.1", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://inner.example.com/", http.StatusFound)
		}, "no public address"},
		{"sent on without TLS", ours + "45.77.0.80", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://autoconfig.example.com/", http.StatusFound)
		}, "without TLS"},
		{"sent on for ever", ours + "45.77.0.80", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		}, "too often"},
		{"far too large", ours + "45.77.0.80", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "<clientConfig>"+strings.Repeat(" ", autoconfigOctets))
		}, "larger than 256 KiB"},
		{"not XML", ours + "45.77.0.80", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html><br></html>") }, "not a clientConfig"},
		{"no server of use", ours + "45.77.0.80", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `<clientConfig><emailProvider><outgoingServer type="smtp"><hostname>x</hostname><port>99999</port></outgoingServer></emailProvider></clientConfig>`)
		}, "no outgoing server"},
		{"wrong certificate", "other.example.com. 60 IN A 45.77.0.80\n" + ours + "45.77.0.80", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://other.example.com/", http.StatusFound)
		}, "certificate is valid for"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.answer == nil {
				c.answer = func(http.ResponseWriter, *http.Request) { t.Error("was asked") }
			}
			d := newTestDiscovery(t, c.zone, c.answer)
			_, err := d.fetch(t.Context(), "https://autoconfig.example.com/mail/config-v1.1.xml")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Files come in other character sets, with spaces and with services besides.
func TestConfigurationFilesAsTheyComeAreRead(t *testing.T) {
	for name, want := range map[string]string{
		"latin1.xml":   "[{smtp.example.org 465 SSL [password-cleartext] %EMAILADDRESS%}]",
		"generous.xml": "[{smtp.example.net 587 STARTTLS [OAuth2 password-cleartext] %EMAILADDRESS%} {%emaildomain% 465 SSL [] }]",
	} {
		raw, err := os.ReadFile("testdata/autoconfig/" + name)
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseAutoconfig(raw)
		if err != nil || fmt.Sprint(c.servers) != want {
			t.Errorf("%s: got %v, %v, want %s", name, c, err, want)
		}
	}
}

func FuzzAutoconfig(f *testing.F) {
	f.Add([]byte(mailXML))
	f.Add([]byte(`<?xml version="1.0" encoding="iso-8859-1"?><clientConfig><emailProvider><outgoingServer type="smtp"><hostname>b` + "\xfc" + `cher.example</hostname><port>25</port></outgoingServer></emailProvider></clientConfig>`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parseAutoconfig(raw)
		if (c == nil) == (err == nil) {
			t.Fatal("neither servers nor an error, or both")
		}
		if c == nil {
			return
		}
		if len(c.servers) == 0 || len(c.servers) > servicesMax {
			t.Fatalf("%d servers", len(c.servers))
		}
		for _, s := range c.servers {
			if s.host == "" || s.port == 0 {
				t.Fatalf("%+v", s)
			}
		}
	})
}
