package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// Mail that leaves through a provider; chasquid plays it, with TLS and AUTH
// (standards 14, promise P4).
func TestWeDeliverThroughASmarthost(t *testing.T) {
	t.Parallel()
	startPostfix(t)
	startChasquid(t)
	w := need(t)
	right, wrong := filepath.Join(w.dir, "right"), filepath.Join(w.dir, "wrong")
	check(t, write(map[string]string{right: "secret\n", wrong: "a guess\n"}))
	for _, c := range []struct {
		name     string
		host     string
		ports    string
		password string
		ca       string   // "" for the system's
		deferred []string // what the trace says; none: it arrives
	}{
		{name: "587", ports: "[587]", password: right, ca: w.ca.caFile},
		{name: "465", ports: "[465]", password: right, ca: w.ca.caFile},
		{name: "the next port when the first is closed", ports: "[2525, 465]", password: right, ca: w.ca.caFile},      // SH-3
		{name: "a wrong password", ports: "[587, 465]", password: wrong, ca: w.ca.caFile, deferred: []string{"auth"}}, // AUTH-17: waits, never bounces
		{name: "a certificate nobody vouches for", ports: "[587, 465]", password: right, deferred: []string{"4.7.5"}}, // TLS-7, TRAP-28
		{name: "a certificate for another name", host: "other.chasquid.test", ports: "[587, 465]", password: right, ca: w.ca.caFile, deferred: []string{"4.7.5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.host == "" {
				c.host = "mx.chasquid.test"
			}
			more := fmt.Sprintf("[[route]]\nvia = \"provider\"\n[smarthost.provider]\nhost = %q\nports = %s\nusername = \"anna@chasquid.test\"\npassword = { file = %q }\n", c.host, c.ports, c.password)
			if c.ca != "" {
				more += fmt.Sprintf("ca = %q\n", c.ca)
			}
			s := startServer(t, settings{more: more})
			subject := "by the provider: [" + c.name + "]"
			id := s.submit(t, "anna", "", s.note("anna", subject), "anna@postfix.test")
			if c.deferred == nil {
				l := arrives(t, postfixBox(t, "anna"), "Subject: "+subject)
				if got := strings.Join(l.Header["Received"], "\n"); !containsAll(got, []string{"mx.chasquid.test", s.name}) {
					t.Errorf("it came another way:\n%s", got)
				}
				return
			}
			s.happens(t, id, "recipient.settled", append(c.deferred, "waiting")...)
			text := s.must(t, "trace", id)
			if strings.Contains(text, "secret") || strings.Contains(text, "a guess") {
				t.Errorf("the password is in the trace:\n%s", text)
			}
		})
	}
}
