package smtpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// stage is a server with one client, for what a transcript cannot say.
type stage struct {
	*play
	over chan struct{} // closed when Serve has returned
}

func newStage(t *testing.T, change func(*Config)) *stage {
	p := newPlay(t)
	if change != nil {
		change(&p.cfg)
	}
	p.server = New(p.cfg, Needs{Policy: p.policy, Accounts: &p.book, Store: p.shelf, IDs: newIDs(t), Events: p.seen})
	client, server := wire(net.TCPAddrFromAddrPort(p.origin.Client), net.TCPAddrFromAddrPort(p.origin.Local))
	s := &stage{play: p, over: make(chan struct{})}
	go func() {
		p.server.Serve(p.ctx, server, p.origin, nil)
		close(s.over)
	}()
	p.raw, p.conn = client, client
	p.reader = collect(client)
	synctest.Wait()
	return s
}

// say sends and returns what the server answers.
func (s *stage) say(text string) string {
	io.WriteString(s.conn, text)
	synctest.Wait()
	out, _ := s.reader.take()
	return out
}

func (s *stage) leave() {
	s.conn.Close()
	<-s.over
}

const begin = "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@here.example>\r\n"

// SRV-2, SRV-7: how TCP cuts the octets changes nothing.
func TestSegments(t *testing.T) {
	forms := []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n.\r\r\n", "\r\n..\r\n", "\r\r\n"}
	for _, form := range forms {
		script := "EHLO a.example\r\n" + begin + "DATA\r\n" + "Subject: x\r\n\r\nhi" + form + "RSET\r\n\r\n.\r\nNOOP\r\n"
		want, stored := "", ""
		for cut := len("EHLO a.example\r\n"); cut < len(script); cut++ {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, nil)
				s.cfg.BareLines = 0
				out := s.say(script[:len("EHLO a.example\r\n")])
				out += s.say(script[len("EHLO a.example\r\n"):cut]) + s.say(script[cut:])
				kept := ""
				for i := range s.shelf.count() {
					kept += s.shelf.text(i)
				}
				if want == "" {
					want, stored = out, kept
				}
				if out != want || kept != stored {
					t.Errorf("%q cut at %d:\n%s\nnot\n%s", form, cut, out, want)
				}
				s.leave()
			})
		}
	}
}

// SRV-9: the least that must be accepted.
func TestLeastSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(c *Config) { c.Limits.MessageSize, c.Limits.Recipients, c.Limits.Hops = 1, 1, 1 })
		s.say("EHLO a.example\r\n")
		domain := strings.Repeat("a.", 93) + "example" // path of 256 with brackets and a local part of 64
		long := "<" + strings.Repeat("x", 64) + "@" + domain + ">"
		command := "MAIL FROM:" + long + " BODY=8BITMIME"
		command += strings.Repeat(" BODY=8BITMIME", (510-len(command))/14)
		for _, c := range []string{command, "RCPT TO:<" + strings.Repeat("x", 64) + "@here.example>"} {
			if out := s.say(c + "\r\n"); !strings.HasPrefix(out, "250") {
				t.Errorf("%d octets: %s", len(c), out)
			}
		}
		for i := range 99 {
			if out := s.say(fmt.Sprintf("RCPT TO:<u%d@here.example>\r\n", i)); !strings.HasPrefix(out, "250") {
				t.Fatal(out)
			}
		}
		s.say("DATA\r\n")
		line := strings.Repeat("x", 998) + "\r\n"
		if out := s.say("Subject: x\r\n\r\n" + strings.Repeat(line, 65) + ".\r\n"); !strings.HasPrefix(out, "250") {
			t.Error(out)
		}
		s.leave()
	})
}

// A limit that nobody set is that of the role, never zero.
func TestLimitsAreSettled(t *testing.T) {
	for _, role := range []mail.Role{mail.RoleMX, mail.RoleSubmission, mail.RoleSubmissions} {
		bare := Config{Role: role}
		bare.settle()
		if d := Defaults(role); bare.Limits != d.Limits || bare.Timeouts != d.Timeouts {
			t.Errorf("%s: %+v %+v", role, bare.Limits, bare.Timeouts)
		}
	}
	low := Config{Role: mail.RoleMX, Limits: Limits{Recipients: 1, MessageSize: 1, Hops: 1, TextLine: 1}, Timeouts: Timeouts{Command: time.Second}}
	low.settle()
	if low.Limits.Recipients != 100 || low.Limits.MessageSize != 64<<10 || low.Limits.Hops != 100 || low.Limits.TextLine != 1000 || low.Timeouts.Command != 5*time.Minute {
		t.Errorf("%+v %+v", low.Limits, low.Timeouts)
	}
}

// SRV-31, P1: 250 comes after the message is durable. SRV-34: a client that
// leaves after the end of data has sent its message all the same.
func TestDurableBeforeReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		s.shelf.wait = time.Second
		s.say("EHLO a.example\r\n")
		s.say(begin + "DATA\r\n")
		if out := s.say("Subject: x\r\n\r\n.\r\n"); out != "" || s.shelf.count() != 0 {
			t.Errorf("said %q before the message was stored", out)
		}
		time.Sleep(time.Second)
		if out := s.say(""); !strings.HasPrefix(out, "250 2.0.0 Ok: queued as ") || s.shelf.count() != 1 {
			t.Errorf("said %q", out)
		}
		s.say(begin + "DATA\r\n")
		s.say("Subject: y\r\n\r\n.\r\n")
		s.leave()
		if s.shelf.count() != 2 {
			t.Error("a message whose end had come is lost")
		}
		if s.shelf.open() != 0 {
			t.Errorf("%d drafts are left", s.shelf.open())
		}
	})
}

// SRV-34: whatever the client leaves unfinished is nothing, and leaves nothing.
func TestUnfinishedIsNothing(t *testing.T) {
	for _, end := range []string{"Subject: x\r\n\r\nhi\r\n", "Subject: x\r\n\r\nhi\r\n.", "Subject: x\r\n\r\nhi\r\n.\r"} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, nil)
			s.say("EHLO a.example\r\n")
			s.say(begin + "DATA\r\n")
			s.say(end)
			s.leave()
			if s.shelf.count() != 0 || s.shelf.open() != 0 {
				t.Errorf("%q: %d messages, %d drafts", end, s.shelf.count(), s.shelf.open())
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		s.say("EHLO a.example\r\n")
		s.say(begin + "BDAT 14\r\nSubject: x\r\n\r\nBDAT 10 LAST\r\nabc")
		s.leave()
		if s.shelf.count() != 0 || s.shelf.open() != 0 {
			t.Errorf("BDAT: %d messages, %d drafts", s.shelf.count(), s.shelf.open())
		}
	})
}

// TE-15, TLS-1: a client with old versions only.
func TestOldTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		s.say("EHLO a.example\r\n")
		s.say("STARTTLS\r\n")
		s.reader.stop(s.conn)
		err := tls.Client(s.raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}).Handshake()
		if err == nil || !strings.Contains(err.Error(), "protocol version not supported") {
			t.Errorf("the client hears %v", err)
		}
		<-s.over
		if !s.emitted("session.tls_failed", "version") {
			t.Error("no event tells the versions")
		}
	})
}

func (s *stage) emitted(name, text string) bool {
	for _, e := range s.seen.all() {
		if e.Name() == name && strings.Contains(describe(e), text) {
			return true
		}
	}
	return false
}

// TLS-13: what the handshake settled is known.
func TestTLSFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		s.say("EHLO a.example\r\n")
		s.say("STARTTLS\r\n")
		s.secure()
		s.say("EHLO a.example\r\n")
		s.say(begin + "DATA\r\n")
		s.say("Subject: x\r\n\r\n.\r\n")
		f := s.shelf.messages[0].env.Origin.TLS
		if f == nil || f.Version != "TLS 1.3" || f.Cipher == "" || f.Group == "" || f.SNI != "mx.example" || f.Verified != "none" {
			t.Errorf("%+v", f)
		}
		s.leave()
	})
}

// The dialogue is kept only when asked for, and holds no secret and no content.
func TestDialogue(t *testing.T) {
	for _, keep := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, func(c *Config) { c.KeepDialogue, c.AuthOnMX = keep, true })
			s.say("EHLO a.example\r\n")
			s.say("STARTTLS\r\n")
			s.secure()
			s.say("EHLO a.example\r\n")
			s.say("AUTH c2VjcmV0\r\n") // the mechanism forgotten
			s.say("AUTH PLAIN AGFubkBoZXJlLmV4YW1wbGUAd3Jvbmc=\r\n")
			time.Sleep(time.Second)
			s.say("AUTH LOGIN\r\n")
			s.say("YW5uQGhlcmUuZXhhbXBsZQ==\r\n")
			s.say("c2VjcmV0\r\n")
			s.say("c2VjcmV0\r\n")
			s.say("MAIL FROM:<ann@here.example>\r\n" + begin[len("MAIL FROM:<a@b.example>\r\n"):] + "DATA\r\n")
			s.say("Subject: private\r\n\r\nprivate\r\n.\r\n")
			s.say("QUIT\r\n")
			<-s.over
			all := s.seen.all()
			lines := all[len(all)-1].(event.SessionEnded).Dialogue
			if !keep {
				if lines != nil {
					t.Errorf("%d lines kept", len(lines))
				}
				return
			}
			for _, e := range all {
				if a, ok := e.(event.MessageAccepted); ok && a.Dialogue[len(a.Dialogue)-1].Text != "250 2.0.0 Ok: queued as "+a.Envelope.ID.String() {
					t.Errorf("the dialogue of a message ends with %q", a.Dialogue[len(a.Dialogue)-1].Text)
				}
			}
			var text strings.Builder
			for _, l := range lines {
				fmt.Fprintf(&text, "%v %v %s\n", l.Client, l.TLS, l.Text)
			}
			for _, secret := range []string{"c2VjcmV0", "secret", "AGFubk", "YW5u", "private", "d3Jvbmc"} {
				if strings.Contains(text.String(), secret) {
					t.Errorf("%q is in the dialogue:\n%s", secret, text.String())
				}
			}
			for _, want := range []string{"true true AUTH PLAIN (hidden)", "false true 235 2.7.0", "true false STARTTLS", "true true (29 octets of content)"} {
				if !strings.Contains(text.String(), want) {
					t.Errorf("%q is not in the dialogue:\n%s", want, text.String())
				}
			}
		})
	}
}

// RC-5: a client that does not finish its transaction is cut off when the time
// for it is over; what was being stored is stored.
func TestShutdownEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		s.say("EHLO a.example\r\n")
		s.say(begin)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		at := time.Now()
		if err := s.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(at) != 20*time.Second {
			t.Errorf("%v after %v", err, time.Since(at))
		}
		<-s.over
		if s.server.Sessions() != 0 {
			t.Error("sessions are left")
		}
		if err := s.server.Shutdown(ctx); err != nil {
			t.Errorf("the second time: %v", err)
		}
	})
}

// A connection that comes while the server ends is told so.
func TestServeAfterShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t)
		srv := New(p.cfg, Needs{Policy: p.policy, Store: p.shelf, IDs: newIDs(t), Events: p.seen})
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		client, server := wire(nil, nil)
		srv.Serve(t.Context(), server, p.origin, nil)
		got, _ := io.ReadAll(client)
		if !strings.HasPrefix(string(got), "421 4.3.2 ") {
			t.Errorf("%q", got)
		}
	})
}

// A fault of ours in one session is that session's end only.
func TestPanicEndsOneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t)
		srv := New(p.cfg, Needs{Policy: nil, Store: p.shelf, IDs: newIDs(t), Events: p.seen})
		client, server := wire(nil, nil)
		srv.Serve(t.Context(), server, p.origin, nil)
		if _, err := io.ReadAll(client); err != nil {
			t.Error(err)
		}
		last := p.seen.all()[len(p.seen.all())-1].(event.SessionEnded)
		if last.Reason != "fault" || !strings.Contains(last.Fault, "hello.go") || last.Level() != event.Alarm || srv.Sessions() != 0 {
			t.Errorf("%+v", last)
		}
	})
}

// PC-17, EXT-3: replies to pipelined commands go out together.
func TestRepliesAreBatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(t)
		srv := New(p.cfg, Needs{Policy: p.policy, Store: p.shelf, IDs: newIDs(t), Events: p.seen})
		client, server := wire(nil, nil)
		counted := &writeCounter{Conn: server}
		go srv.Serve(t.Context(), counted, p.origin, nil)
		io.WriteString(client, "EHLO a.example\r\n")
		synctest.Wait()
		before := counted.writes
		io.WriteString(client, begin+"RCPT TO:<d@here.example>\r\nRCPT TO:<e@here.example>\r\nDATA\r\n")
		synctest.Wait()
		if n := counted.writes - before; n != 1 {
			t.Errorf("%d writes for five replies", n)
		}
		client.Close()
	})
}

type writeCounter struct {
	net.Conn
	writes int
}

func (w *writeCounter) Write(p []byte) (int, error) {
	w.writes++
	return w.Conn.Write(p)
}

// SRV-3: allow is for listed networks.
func TestBareAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(c *Config) { c.BareAllowed = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
		s.say("EHLO a.example\r\n")
		s.say(begin + "DATA\r\n")
		if out := s.say("Subject: x\r\n\r\na\nb\rc\r\n.\r\n"); !strings.HasPrefix(out, "250") || !strings.HasSuffix(s.shelf.text(0), "a\nb\rc\r\n") {
			t.Errorf("%s: %q", out, s.shelf.text(0))
		}
		s.leave()
	})
}

// The envelope has what the event shows, and the event does not share what the
// queue will change.
func TestEventHasItsOwnEnvelope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		s.say("EHLO a.example\r\n")
		s.say(begin + "DATA\r\n")
		s.say("Subject: =?utf-8?q?gr=C3=BCn?=\r\nMessage-ID: <1@b.example>\r\nTLS-Required: No\r\n\r\nbody\r\n.\r\n")
		env := s.shelf.messages[0].env
		if env.Subject != "grün" || env.MessageID != "1@b.example" || !env.Params.TLSNotReq || env.Size != int64(len(s.shelf.text(0))) {
			t.Errorf("%+v", env)
		}
		for _, e := range s.seen.all() {
			if a, ok := e.(event.MessageAccepted); ok {
				if a.Envelope == env || &a.Envelope.Recipients[0] == &env.Recipients[0] {
					t.Error("shared")
				}
				if a.Envelope.ID != env.ID || a.Envelope.Size != env.Size {
					t.Errorf("%+v", a.Envelope)
				}
			}
		}
		s.leave()
	})
}

// Any input ends: no panic, no draft left, no more said than is bounded.
func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"EHLO a\r\n" + begin + "DATA\r\nSubject: x\r\n\r\nhi\r\n.\r\nQUIT\r\n",
		"EHLO a\r\n" + begin + "BDAT 5\r\nhelloBDAT 0 LAST\r\nRSET\r\n",
		"HELO a\r\nMAIL FROM:<>\r\nAUTH PLAIN\r\n*\r\n\x16\x03",
		"EHLO a\r\nSTARTTLS\r\n",
		"GET / HTTP/1.1\r\n",
		"EHLO a\r\nAUTH LOGIN\r\nYQ==\r\n*\r\nXCLIENT ADDR=[UNAVAILABLE]\r\nXFORWARD NAME=a\r\n",
	} {
		f.Add([]byte(s), byte(0), byte(7))
		f.Add([]byte(s), byte(1), byte(255))
	}
	f.Fuzz(func(t *testing.T, in []byte, kind, cut byte) {
		if len(in) > 20000 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, func(c *Config) {
				if kind&1 != 0 {
					*c = Defaults(mail.RoleSubmission)
					c.Hostname, c.ClearAuth = "mx.example", true
				}
				c.BinaryMIME, c.DeliverBy, c.MTPriority, c.FutureMax = true, true, true, time.Hour
				c.XClient = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
			})
			at := 0
			if i := strings.Index(string(in), "\r\n"); i >= 0 && kind&2 == 0 {
				at = i + 2 // EHLO alone, so that fuzzing gets past it
			}
			out := s.say(string(in[:at]))
			mid := min(len(in), at+int(cut)*len(in)/255)
			out += s.say(string(in[at:mid])) + s.say(string(in[mid:]))
			s.raw.(*wireEnd).CloseWrite()
			<-s.over
			synctest.Wait()
			rest, _ := s.reader.take()
			out += rest
			all := s.seen.all()
			last, ok := all[len(all)-1].(event.SessionEnded)
			switch {
			case !ok || strings.HasPrefix(last.Reason, "fault"):
				t.Fatalf("%+v", all[len(all)-1])
			case s.shelf.open() != 0:
				t.Fatalf("%d drafts left", s.shelf.open())
			case len(out) > 1000+600*(1+strings.Count(string(in), "\n")):
				t.Fatalf("%d octets said to %d", len(out), len(in))
			}
			for i := range s.shelf.count() {
				if strings.Contains(s.shelf.text(i)[:20], "\x00") {
					t.Fatal("NUL stored")
				}
			}
		})
	})
}
