package smtpserver

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"paquebot/internal/mail"
)

const loginAnn = "AUTH PLAIN AGFubkBoZXJlLmV4YW1wbGUAc2VjcmV0\r\n"

// ABU-1: a session has a place among its account's from 235 to its end, and
// not after STARTTLS or another XCLIENT made it forget who that is.
func TestSessionOfAccount(t *testing.T) {
	type step struct {
		say  string
		open int // sessions of ann@here.example then
	}
	submission := func(c *Config) { c.Role, c.ClearAuth = mail.RoleSubmission, true }
	proxy := func(c *Config) { c.XClient = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }
	const ehlo = "EHLO a.example\r\n"
	for name, c := range map[string]struct {
		change func(*Config)
		steps  []step
	}{
		"QUIT":             {submission, []step{{ehlo, 0}, {loginAnn, 1}, {"RSET\r\n" + loginAnn, 1}, {"QUIT\r\n", 0}}},
		"lost connection":  {submission, []step{{ehlo, 0}, {loginAnn, 1}}},
		"wrong password":   {submission, []step{{ehlo, 0}, {"AUTH PLAIN AGFubkBoZXJlLmV4YW1wbGUAd3Jvbmc=\r\n", 0}}},
		"STARTTLS":         {submission, []step{{ehlo, 0}, {loginAnn, 1}, {"STARTTLS\r\n", 1}}},
		"XCLIENT":          {proxy, []step{{ehlo, 0}, {"XCLIENT LOGIN=ann@here.example\r\n", 1}, {"XCLIENT ADDR=198.51.100.9\r\n", 1}, {ehlo, 1}, {"QUIT\r\n", 0}}},
		"XCLIENT, nobody":  {proxy, []step{{ehlo, 0}, {"XCLIENT LOGIN=ann@here.example\r\n", 1}, {"XCLIENT LOGIN=[UNAVAILABLE]\r\n", 0}}},
		"XCLIENT, another": {proxy, []step{{ehlo, 0}, {"XCLIENT LOGIN=ann@here.example\r\n", 1}, {"XCLIENT LOGIN=bob@here.example\r\n", 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, c.change)
				for _, step := range c.steps {
					out := s.say(step.say)
					if got := s.book.count("ann@here.example", 0); got != step.open {
						t.Errorf("after %q: %d sessions, want %d\n%s", step.say, got, step.open, out)
					}
				}
				if name == "STARTTLS" {
					s.secure()
					s.say(ehlo)
					if got := s.book.count("ann@here.example", 0); got != 0 {
						t.Errorf("%d sessions after the handshake", got)
					}
				}
				s.leave()
				for account := range s.book.open {
					if n := s.book.count(account, 0); n != 0 {
						t.Errorf("%s has %d sessions after the end", account, n)
					}
				}
			})
		})
	}
}
