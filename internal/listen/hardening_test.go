package listen

import (
	"crypto/tls"
	"io"
	"net/netip"
	"strings"
	"testing"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// PC-3: on a port where TLS comes first, 421 is said inside TLS.
func TestRefusalIsSaidInsideTLS(t *testing.T) {
	h := newHeard()
	certs, pool := testCerts(t, h)
	l := start(t, Config{Role: mail.RoleSubmissions, TLSFirst: true, TLS: certs.Config(false), PerMinute: 1}, h)
	for i, want := range []string{"220 TLS 1.3", "421 4.7.0 "} {
		conn := tls.Client(dialTo(t, l), &tls.Config{RootCAs: pool, ServerName: "mx.example"})
		if got := firstLine(t, conn); !strings.HasPrefix(got, want) {
			t.Errorf("connection %d: %q", i+1, got)
		}
	}
}

// PC-19: trusted and exempt networks are bound by the total alone.
func TestExempt(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for name, cfg := range map[string]Config{
		"trusted": {Role: mail.RoleMX, PerMinute: 1, PerAddress: 1, Trusted: loopback},
		"exempt":  {Role: mail.RoleMX, PerMinute: 1, PerAddress: 1, Exempt: loopback},
	} {
		l := start(t, cfg, newHeard())
		for range 3 {
			if got := firstLine(t, dialTo(t, l)); !strings.HasPrefix(got, "220 ") {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
}

// A refused client that has already spoken hears why all the same: no reset.
func TestRefusalReachesEarlyTalkers(t *testing.T) {
	l := start(t, Config{Role: mail.RoleMX, PerMinute: 1}, newHeard())
	firstLine(t, dialTo(t, l))
	for range 20 {
		conn := dialTo(t, l)
		_, _ = io.WriteString(conn, strings.Repeat("EHLO client.example\r\n", 20))
		if got := firstLine(t, conn); !strings.HasPrefix(got, "421 4.7.0") {
			t.Fatalf("%q", got)
		}
	}
}

// TE-4, TE-15, P465-5: what is said about handshakes that fail.
func TestHandshakesAreExplained(t *testing.T) {
	for name, row := range map[string]struct {
		client *tls.Config
		advice string
	}{
		"old versions":     {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "nothing newer than TLS 1.1"},
		"another protocol": {&tls.Config{NextProtos: []string{"h2", "http/1.1"}}, "another protocol"},
		"no trust":         {&tls.Config{}, "may not trust"},
	} {
		h := newHeard()
		certs, _ := testCerts(t, h)
		l := start(t, Config{Role: mail.RoleSubmissions, TLSFirst: true, TLS: certs.Config(false)}, h)
		row.client.ServerName = "mx.example"
		row.client.InsecureSkipVerify = name != "no trust"
		if err := tls.Client(dialTo(t, l), row.client).Handshake(); err == nil {
			t.Errorf("%s: the handshake went well", name)
		}
		if e := wait[event.TLSFailed](t, h); !strings.Contains(e.Advice, row.advice) {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// INT-1: the audit knows the proxy as well.
func TestProxyIsTold(t *testing.T) {
	h := newHeard()
	l := start(t, Config{Role: mail.RoleMX, ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, h)
	conn := dialTo(t, l)
	_, _ = io.WriteString(conn, "PROXY TCP4 198.51.100.7 192.0.2.1 4321 25\r\n")
	firstLine(t, conn)
	e := wait[event.ConnectionProxied](t, h)
	if e.Client.String() != "198.51.100.7:4321" || !e.Proxy.Addr().IsLoopback() {
		t.Errorf("%+v", e)
	}
}
