package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"testing"
	"time"
)

// A proxy in front says who the client is: PROXY protocol as HAProxy speaks it,
// XCLIENT as Postfix speaks it, both by swaks (INT-1, INT-2, TRAP-26).
func TestProxies(t *testing.T) {
	t.Parallel()
	behind := startServer(t, settings{mx: `proxy_protocol = ["45.77.0.0/16"]`})
	xclient := startServer(t, settings{mx: `xclient = ["45.77.0.0/16"]`})
	plain := startServer(t, settings{})
	v1 := []string{"--proxy-version", "1", "--proxy-family", "TCP4", "--proxy-source", "198.51.100.7", "--proxy-source-port", "4711", "--proxy-dest", "198.51.100.1", "--proxy-dest-port", "25"}
	v2 := append([]string{"--proxy-version", "2", "--proxy-protocol", "STREAM", "--proxy-command", "PROXY", "--proxy-family", "AF_INET"}, v1[4:]...)
	for _, c := range []struct {
		name   string
		server *server
		args   []string
		ok     bool
	}{
		{"PROXY 1", behind, v1, true},
		{"PROXY 2", behind, v2, true},
		{"no PROXY where it is demanded", behind, nil, false},
		{"PROXY where nobody asked for it", plain, v1, false},
		{"XCLIENT", xclient, []string{"--xclient-addr", "198.51.100.7", "--xclient-name", "client.test"}, true},
		{"XCLIENT where nobody asked for it", plain, []string{"--xclient-addr", "198.51.100.7", "--xclient-no-verify"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.server
			args := append([]string{"--server", s.addr, "--helo", "client.test", "--timeout", "15", "--from", "anna@postfix.test", "--to", s.at("anna"), "--header", "Subject: [" + c.name + "]"}, c.args...)
			out, err := exec.CommandContext(t.Context(), "swaks", args...).CombinedOutput()
			if (err == nil) != c.ok {
				t.Fatalf("swaks: %v\n%s", err, out)
			}
			if c.ok {
				l := arrives(t, s.box("anna"), "Subject: ["+c.name+"]")
				mustContain(t, "Received", l.Header["Received"][0], "[198.51.100.7]")
			}
		})
	}
}

// The two ways to mistake the TLS mode are told apart at once, not by a timeout
// (TE-3, TE-4, PC-18).
func TestTheWrongTLSModeEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t, settings{})
	t.Run("TLS from the first byte on 587", func(t *testing.T) {
		t.Parallel()
		_, err := tls.Dial("tcp", s.addr+":587", s.w.ca.client(s.name))
		var notTLS tls.RecordHeaderError
		if !errors.As(err, &notTLS) { // it reads our greeting
			t.Errorf("the client learns %v", err)
		}
		logged(t, s, "role=submission ", "use 465")
	})
	t.Run("EHLO in clear on 465", func(t *testing.T) {
		t.Parallel()
		conn, err := net.Dial("tcp", s.addr+":465")
		check(t, err)
		defer func() { _ = conn.Close() }()
		_, err = conn.Write([]byte("EHLO client.test\r\n"))
		check(t, err)
		check(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		got, err := io.ReadAll(conn)
		if err != nil || (len(got) > 0 && got[0] == '2') {
			t.Errorf("the client hears %q, %v", got, err)
		}
		logged(t, s, "session.tls_failed", "STARTTLS mode on 465")
	})
}

// A certificate is read again when its file changes; no session notices.
func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	s := startServer(t, settings{})
	serial := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", s.addr+":465", s.w.ca.client(s.name))
		check(t, err)
		defer func() { _ = c.Close() }()
		return fmt.Sprint(c.ConnectionState().PeerCertificates[0].SerialNumber)
	}
	k, err := s.session("anna")
	check(t, err)
	defer k.close()
	before := serial()
	_, _, err = s.w.ca.issue(s.name)
	check(t, err)
	eventually(t, func() error {
		if serial() == before {
			return errors.New("still the old certificate")
		}
		return nil
	})
	check(t, k.must("250", "NOOP"))
}
