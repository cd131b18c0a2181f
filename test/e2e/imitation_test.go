package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paquebot/test/imitate"
)

// imitation is a provider imitated on the peers' side, at the real ports.
type imitation struct {
	*imitate.Server
	service imitate.Service
	host    string
}

// startImitation listens under a provider's own name, with a certificate for
// it, until the test ends.
func startImitation(t *testing.T, host, addr string, service imitate.Service) imitation {
	t.Helper()
	srv, err := imitate.Start(service, certificateFor(t, host), func(port int) (net.Listener, error) {
		return need(t).listenThere(fmt.Sprintf("%s:%d", addr, port))
	})
	check(t, err)
	t.Cleanup(srv.Close)
	return imitation{Server: srv, service: service, host: host}
}

func certificateFor(t *testing.T, host string) *tls.Config {
	t.Helper()
	cert, key, err := need(t).ca.issue(host)
	check(t, err)
	pair, err := tls.LoadX509KeyPair(cert, key)
	check(t, err)
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

// credential is what a smart host is configured with: lines of its table.
type credential string

// userPass writes a password into a file and names it.
func userPass(t *testing.T, user, pass string) credential {
	t.Helper()
	dir, err := os.MkdirTemp(need(t).dir, "secret-")
	check(t, err)
	file := filepath.Join(dir, "password")
	check(t, os.WriteFile(file, []byte(pass+"\n"), 0o600))
	return credential(fmt.Sprintf("username = %q\npassword = { file = %q }\n", user, file))
}

// smarthosts are the routes and smart hosts of one test's configuration: mail
// to NAME.routed.test leaves through the smart host NAME.
type smarthosts struct {
	w    *world
	text strings.Builder
}

// add names a smart host; lines are its provider, ports and credential.
func (h *smarthosts) add(name string, lines ...string) {
	fmt.Fprintf(&h.text, "[[route]]\nmatch = { recipient = \"%s.routed.test\" }\nvia = %q\n[smarthost.%s]\nca = %q\n%s\n",
		name, name, name, h.w.ca.caFile, strings.Join(lines, "\n"))
}

// everyPort adds a smart host for each published port of the imitation, called
// by it: "p587".
func (h *smarthosts) everyPort(im imitation, provider string, c func(port int) credential) {
	for _, p := range im.service.Ports() {
		h.add(fmt.Sprintf("p%d", p.Number), provider, fmt.Sprintf("ports = [%d]", p.Number), string(c(p.Number)))
	}
}

// relaysOnEveryPort sends one message through each port and demands that it
// came by exactly that port, once, over verified TLS and signed in as user.
func relaysOnEveryPort(t *testing.T, s *server, im imitation, user func(port int) string) {
	for _, p := range im.service.Ports() {
		t.Run(fmt.Sprint(p.Number), func(t *testing.T) {
			t.Parallel()
			subject := fmt.Sprintf("by port %d of %s", p.Number, im.host)
			to := fmt.Sprintf("anna@p%d.routed.test", p.Number)
			id := s.submit(t, "anna", "", s.note("anna", subject), to)
			s.happens(t, id, "recipient.settled", "delivered", im.host)
			got := im.Messages("Subject: " + subject)
			if len(got) != 1 {
				t.Fatalf("it arrived %d times, want once", len(got))
			}
			m := got[0]
			if m.Port != p || m.TLS == nil || m.TLS.ServerName != im.host || m.TLS.Version < tls.VersionTLS12 {
				t.Errorf("it came by port %d (implicit TLS %v), TLS %+v", m.Port.Number, m.Port.Implicit, m.TLS)
			}
			if m.User != user(p.Number) || m.From != s.at("anna") || len(m.To) != 1 || m.To[0] != to {
				t.Errorf("it came from %q for %q, signed in as %q", m.From, m.To, m.User)
			}
		})
	}
}

// keepsToItself demands that a provider's own header fields reach it and that
// those of another one do not (SH-12).
func keepsToItself(t *testing.T, s *server, im imitation, own, foreign string) {
	t.Helper()
	subject := "private fields for " + im.host
	id := s.submit(t, "anna", "", own+": ours\r\n"+foreign+": theirs\r\n"+s.note("anna", subject), "anna@p587.routed.test")
	s.happens(t, id, "recipient.settled", "delivered")
	m := im.Messages("Subject: " + subject)[0]
	if m.Header(own) != "ours" || m.Header(foreign) != "" {
		t.Errorf("it got %s: %q and %s: %q", own, m.Header(own), foreign, m.Header(foreign))
	}
}

// inOrder says that nothing was done which no client may do.
func (im imitation) inOrder(t *testing.T) {
	t.Helper()
	if o := im.Offences(); len(o) > 0 {
		t.Errorf("%s saw: %v", im.host, o)
	}
}

// trouble is a refusal a provider documents, and what becomes of the mail.
type trouble struct {
	name  string   // of the smart host as well
	mail  int      // how many messages; the last one counts. Default 1
	state string   // waiting, or failed
	words []string // of the reply, in the trace
	hint  string   // of what the catalogue says it means, there as well (RC-70..73)
}

// become sends mail into each trouble.
func become(t *testing.T, s *server, im imitation, all []trouble) {
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before := len(im.Messages("Subject: trouble, " + c.name))
			var id string
			for n := range max(c.mail, 1) {
				id = s.submit(t, "anna", "", s.note("anna", "trouble, "+c.name), fmt.Sprintf("anna@%s.routed.test", c.name))
				if n < c.mail-1 {
					s.happens(t, id, "recipient.settled", "delivered")
					before++
				}
			}
			s.happens(t, id, "recipient.settled", append(c.words, c.state)...)
			s.happens(t, id, "delivery.tried", append(c.words, c.hint)...)
			mustContain(t, "what `paquebot trace` prints", strings.Join(strings.Fields(s.cli(t, "", "trace", id).stdout), " "), c.hint)
			if n := len(im.Messages("Subject: trouble, "+c.name)) - before; n != 0 {
				t.Errorf("it was taken %d times all the same", n)
			}
		})
	}
}
