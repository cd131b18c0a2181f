package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// These tests hold that the laboratory does what it says, by sockets of our
// own: what the doctor says then is the doctor's.

// knock connects from the client of a site and gives the reason if it cannot.
func (s *site) knock(to netip.Addr, port uint16, patience time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.client.dial(ctx, netip.AddrPortFrom(to, port).String())
}

func TestWhatTheRouterDoesToPackets(t *testing.T) {
	w := need(t)
	h, err := w.newHost("knocked.example")
	check(t, err)
	for _, p := range []uint16{25, 465, 587} {
		check(t, h.serve(p, h.mta(p == 465)))
	}
	v4, v6 := false, true
	nobody4, nobody6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		name   string
		filter string
		client string // a line for ip(8) at the client
		six    bool
		to     netip.Addr // the host's if zero
		want   error      // nil: it connects
	}{
		{name: "nothing", six: v4},
		{name: "nothing, IPv6", six: v6},
		{name: "nobody has the impossible address", to: nobody4, want: os.ErrDeadlineExceeded},
		{name: "nor that of IPv6", six: v6, to: nobody6, want: os.ErrDeadlineExceeded},
		{name: "drop", filter: "tcp dport 587 drop", want: os.ErrDeadlineExceeded},
		{name: "reset", filter: "tcp dport 587 reject with tcp reset", want: syscall.ECONNREFUSED},
		{name: "port unreachable", filter: "ip protocol tcp tcp dport 587 reject with icmp port-unreachable", want: syscall.ECONNREFUSED},
		{name: "net unreachable", filter: "ip protocol tcp tcp dport 587 reject with icmp net-unreachable", want: syscall.ENETUNREACH},
		{name: "host unreachable", filter: "ip protocol tcp tcp dport 587 reject with icmp host-unreachable", want: syscall.EHOSTUNREACH},
		{name: "net prohibited, code 9", filter: "ip protocol tcp tcp dport 587 reject with icmp net-prohibited", want: syscall.ENETUNREACH},
		{name: "host prohibited, code 10", filter: "ip protocol tcp tcp dport 587 reject with icmp host-prohibited", want: syscall.EHOSTUNREACH},
		{name: "admin prohibited, code 13", filter: "ip protocol tcp tcp dport 587 reject with icmp admin-prohibited", want: syscall.EHOSTUNREACH},
		{name: "admin prohibited, IPv6", filter: "ip6 nexthdr tcp tcp dport 587 reject with icmpv6 admin-prohibited", six: v6, want: syscall.EACCES},
		{name: "no route of IPv6", client: "route del ::/0", six: v6, want: syscall.ENETUNREACH},
		{name: "the client's own policy", client: "rule add ipproto tcp dport 587 prohibit", want: syscall.EACCES},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "knock")
			if c.filter != "" {
				s.filter(t, c.filter)
			}
			if c.client != "" {
				check(t, s.client.ip(c.client))
			}
			to := c.to
			if !to.IsValid() {
				to = h.v4
				if c.six {
					to = h.v6
				}
			}
			conn, err := s.knock(to, 587, 2500*time.Millisecond) // of two SYNs: the answer to the first may find the socket busy
			if err == nil {
				_ = conn.Close()
			}
			var timeout net.Error
			switch {
			case c.want == nil && err != nil:
				t.Errorf("got %v, want a connection", err)
			case c.want == os.ErrDeadlineExceeded && !(errors.As(err, &timeout) && timeout.Timeout()):
				t.Errorf("got %v, want silence", err)
			case c.want != nil && c.want != os.ErrDeadlineExceeded && !errors.Is(err, c.want):
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestWhatTheBoxesDo talks through each proxy, by hand.
func TestWhatTheBoxesDo(t *testing.T) {
	w := need(t)
	h, err := w.newHost("boxed.example")
	check(t, err)
	for _, p := range []uint16{25, 465, 587} {
		check(t, h.serve(p, h.mta(p == 465)))
	}
	for _, c := range []struct {
		name   string
		box    box
		port   uint16
		ehlo   string   // words the reply to EHLO must hold
		lacks  string   // and must not
		greets string   // words of the greeting
		issuer string   // of the certificate seen
		err    []string // or: how the handshake ends
	}{
		{name: "none", port: 587, greets: "220 boxed.example", ehlo: "STARTTLS", issuer: "Laboratory Public CA"},
		{name: "stripper", box: stripper(), port: 587, greets: "220 boxed.example", ehlo: "PIPELINING", lacks: "STARTTLS"},
		{name: "pix", box: pix(), port: 587, greets: "220 ****", ehlo: "XXXXXXXA", lacks: "STARTTLS"},
		{name: "greeter", box: greeter("220 hotel.example ready"), port: 587, greets: "220 hotel.example", ehlo: "STARTTLS", issuer: "Laboratory Public CA"},
		{name: "old proxy", box: noESMTP(), port: 587, greets: "220 boxed.example", ehlo: "500 ", lacks: "STARTTLS"},
		{name: "interceptor on 587", box: interceptor{ca: w.shield}, port: 587, ehlo: "STARTTLS", issuer: "Acme Mail Shield Root"},
		{name: "interceptor on 465", box: interceptor{ca: w.shield}, port: 465, issuer: "Acme Mail Shield Root"},
		{name: "large hello stalls", box: smallHello{limit: 1000}, port: 587, ehlo: "STARTTLS", err: []string{"timeout"}},
		{name: "large hello is reset", box: smallHello{limit: 1000, reset: true}, port: 465, err: []string{"reset", "EOF"}},
		{name: "reset after STARTTLS", box: rewriter{cutAfter: "STARTTLS"}, port: 587, ehlo: "STARTTLS", err: []string{"reset", "broken pipe"}},
		{name: "somebody else", box: instead{mta{name: "hotel.example", noTLS: true}}, port: 587, greets: "220 hotel.example", lacks: "STARTTLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "box")
			if c.box != nil {
				s.box(t, "tcp dport { 25, 465, 587 }", c.box)
			}
			conn, err := s.knock(h.v4, c.port, 3*time.Second)
			check(t, err)
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
			if c.port != 465 {
				r := bufio.NewReader(conn)
				greeting, ehlo := answer(r), ""
				if _, err := io.WriteString(conn, "EHLO c.example\r\n"); err == nil {
					ehlo = answer(r)
				}
				if !strings.Contains(greeting, c.greets) || !strings.Contains(ehlo, c.ehlo) || c.lacks != "" && strings.Contains(ehlo, c.lacks) {
					t.Fatalf("greeting %q, EHLO %q", greeting, ehlo)
				}
				if c.issuer == "" && c.err == nil {
					return
				}
				_, _ = io.WriteString(conn, "STARTTLS\r\n")
				if a := answer(r); c.issuer != "" && !strings.HasPrefix(a, "220") {
					t.Fatalf("STARTTLS: %q", a)
				}
			}
			issuer, err := shake(conn, "boxed.example")
			if issuer != c.issuer || (err == nil) != (c.err == nil) || err != nil && !hasAny(err.Error(), c.err) {
				t.Errorf("issuer %q, error %v", issuer, err)
			}
		})
	}
}

// TestThePolicyOfTheMachine holds that a forbidden connection fails with EPERM.
func TestThePolicyOfTheMachine(t *testing.T) {
	w := need(t)
	s := newSite(t, "policy")
	if err := s.forbid(t); err != nil {
		t.Skipf("no eBPF policy on this machine (%v): DIAG-19 appears as EACCES alone", err)
	}
	h, err := w.newHost("forbidden.example")
	check(t, err)
	check(t, h.serve(587, h.mta(false)))
	for _, a := range []netip.Addr{h.v4, h.v6} {
		_, errs, code, err := s.run(t.Context(), "bash", "-c", "exec 3<>/dev/tcp/"+a.String()+"/587")
		check(t, err)
		if code == 0 || !strings.Contains(string(errs), "Operation not permitted") {
			t.Errorf("%s: %d %s", a, code, errs)
		}
	}
}

func hasAny(s string, words []string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// answer reads one SMTP reply, whole.
func answer(r *bufio.Reader) string {
	var all strings.Builder
	for {
		line, err := r.ReadString('\n')
		all.WriteString(line)
		if err != nil || len(line) < 4 || line[3] != '-' {
			return all.String()
		}
	}
}

// shake makes a handshake that believes everybody, and returns who issued the
// certificate.
func shake(c net.Conn, name string) (string, error) {
	t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: name})
	if err := t.Handshake(); err != nil {
		return "", err
	}
	if _, err := io.WriteString(t, "EHLO c.example\r\n"); err != nil {
		return "", err
	}
	var leaf *x509.Certificate = t.ConnectionState().PeerCertificates[0]
	return leaf.Issuer.CommonName, nil
}
