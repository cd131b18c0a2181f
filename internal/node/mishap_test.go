package node

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/config"
	"paquebot/internal/event"
	"paquebot/internal/listen"
	"paquebot/internal/mail"
	"paquebot/internal/mishap"
)

// laptop is a Node as `paquebot dev` runs it: four ports, all mail caught.
type laptop struct {
	*server
	roots *x509.CertPool
	ports map[string]net.Addr // by the number of the standard port
}

func startDev(t *testing.T) *laptop {
	t.Helper()
	w := System(io.Discard)
	ca, err := listen.NewAuthority("dev", w.Rand)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue("localhost")
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Hostname, c.DataDir = "localhost", t.TempDir()
	c.Listeners = nil
	for _, role := range []string{"mx", "submission", "submissions", "submission"} {
		c.Listeners = append(c.Listeners, config.Listener{Address: "127.0.0.1:0", Role: role})
	}
	c.Routes = []config.Route{{Via: "catch"}}
	c.Limits.ConnectionsPerIP, c.Limits.ConnectionRate, c.Limits.ConnectionsPerAccount = 2000, config.Rate{}, -1
	c.Queue.MinFree = 1
	watch := newWatch()
	n, err := Start(context.Background(), w, c, Options{Log: watch, Dev: &Dev{Certs: listen.OwnCerts(cert, event.Discard), CA: ca}})
	if err != nil {
		t.Fatal(err)
	}
	d := &laptop{server: &server{Node: n, t: t, watch: watch}, roots: x509.NewCertPool()}
	t.Cleanup(d.halt)
	d.roots.AppendCertsFromPEM(ca.PEM)
	d.ports = map[string]net.Addr{
		"25": n.Addr(mail.RoleMX, 0), "587": n.Addr(mail.RoleSubmission, 0),
		"465": n.Addr(mail.RoleSubmissions, 0), "2525": n.Addr(mail.RoleSubmission, 1),
	}
	return d
}

// connect opens a connection and reads nothing.
func (d *laptop) connect(port string) *client {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.ports[port].String())
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	if port == "465" {
		conn = d.secure(conn)
	}
	return &client{t: d.t, conn: conn, in: bufio.NewReader(conn)}
}

func (d *laptop) secure(conn net.Conn) *tls.Conn {
	return tls.Client(conn, &tls.Config{RootCAs: d.roots, ServerName: "localhost"})
}

// arrive comes as far as MAIL may be said: EHLO, TLS and login as the port asks.
func (d *laptop) arrive(port, user string) *client {
	d.t.Helper()
	cl := d.connect(port)
	cl.want("220")
	cl.say("EHLO x", "250")
	if port == "25" {
		return cl
	}
	if port != "465" {
		cl.say("STARTTLS", "220")
		cl.conn = d.secure(cl.conn)
		cl.in = bufio.NewReader(cl.conn)
		cl.say("EHLO x", "250")
	}
	cl.say(login(user), "235")
	return cl
}

func login(user string) string {
	return "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00x"))
}

// hears reads until there is nothing more, and says how that was: "silence" is
// a server that neither speaks nor closes.
func (cl *client) hears() string {
	_ = cl.conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	defer func() { _ = cl.conn.SetDeadline(time.Now().Add(patience)) }()
	switch line, err := cl.in.ReadString('\n'); {
	case err == nil:
		return line
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "silence"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	default:
		return "reset"
	}
}

func (cl *client) send(line string) {
	cl.t.Helper()
	if _, err := io.WriteString(cl.conn, line+"\r\n"); err != nil {
		cl.t.Fatal(err)
	}
}

// told is a sentence of a dialogue, "" for none, and how the answer begins;
// "closed", "reset" and "silence" are what hears says.
type told struct{ line, want string }

func (cl *client) speak(script []told) {
	cl.t.Helper()
	for _, s := range script {
		switch s.want {
		case "closed", "reset", "silence":
			if s.line != "" {
				cl.send(s.line)
			}
			if got := cl.hears(); got != s.want {
				cl.t.Errorf("%q: %q, want %s", s.line, got, s.want)
			}
		default:
			cl.say(s.line, s.want)
		}
	}
}

const (
	text   = "From: app@example.com\r\nSubject: hi\r\n\r\nhello\r\n."
	bdat   = "BDAT 45 LAST\r\nFrom: app@example.com\r\nSubject: hi\r\n\r\nhello" // with the CRLF that send adds
	from   = "MAIL FROM:<app@example.com>"
	queued = "250 2.0.0 Ok: queued as"
	rcptOK = "250 2.1.5"
	atSign = "@any.example"
)

// wire is what each form of an address does to a client. TestAddressesOnTheWire
// speaks all of it on all four ports; a form of the table that is not here fails.
func wire(form, port string) []told {
	to := func(word, want string) told { return told{"RCPT TO:<anna." + port + word + atSign + ">", want} }
	data := told{"DATA", "354"}
	once := func(replies ...told) []told { return append([]told{{from, "250"}}, replies...) }
	switch form {
	case "550@ or +550":
		return once(told{"RCPT TO:<550" + atSign + ">", "550 5.1.1"}, to("+452", "452 4.2.2"), to("+551", "551 5.1.6"),
			to("", rcptOK), to("+421", "421 4.3.2"), told{"", "closed"})
	case "+data-554":
		return once(to("+data-554", rcptOK), data, told{text, "554 5.7.1"}, told{from, "250"}, to("+data-452", rcptOK), told{bdat, "452 4.3.1"})
	case "+bdat-552":
		return once(to("+bdat-552", rcptOK), told{bdat, "552 5.3.4"}, data, told{text, queued})
	case "+defer-2":
		return once(to("+defer-2", "451 4.3.0"), to("+DEFER-2", "451 4.3.0"), to("+defer-2", rcptOK), data, told{text, queued})
	case "+greylist":
		return once(to("+greylist", "451 4.7.1"), to("+greylist", rcptOK))
	case "+quota":
		return once(to("+quota", "452 4.2.2"), to("+quota-552", "552 5.2.2"))
	case "+slow-5s":
		return once(to("+slow-400ms", "silence"), told{"NOOP", rcptOK})
	case "+data-slow-5s":
		return once(to("+data-slow-400ms", rcptOK), data, told{text, "silence"}, told{"NOOP", queued})
	case "+stall":
		return once(to("+stall", "silence"))
	case "+data-stall":
		return once(to("+data-stall", rcptOK), data, told{text, "silence"})
	case "+drop":
		return once(to("+drop", "closed"))
	case "+drop-data":
		return once(to("+drop-data", rcptOK), data, told{"Subject: hi", "closed"})
	case "+drop-dot":
		return once(to("+drop-dot", rcptOK), data, told{text, "closed"})
	case "+reset":
		return once(to("+reset", "reset"))
	case "+bounce":
		return once(to("+bounce", rcptOK), data, told{text, queued})
	case "+complain":
		return once(to("+complain", rcptOK), data, told{text, queued})
	case "+mail-550":
		return []told{{"MAIL FROM:<app+mail-550@example.com>", "550 5.7.1"}, {"MAIL FROM:<app+mail-451@example.com>", "451 4.3.0"}, {from, "250"}}
	}
	return nil
}

func TestAddressesOnTheWire(t *testing.T) {
	d := startDev(t)
	for _, row := range mishap.Addresses() {
		for _, port := range []string{"25", "587", "465", "2525"} {
			t.Run(strings.Trim(row.Form, "+")+" on "+port, func(t *testing.T) {
				if row.Where == "user name" {
					d.logIn(t, row.Example, port)
					return
				}
				script := wire(row.Form, port)
				if script == nil {
					t.Fatalf("nobody says what %s does on the wire", row.Form)
				}
				cl := d.arrive(port, "box-"+port)
				cl.t = t
				cl.speak(script)
			})
		}
	}
}

// logIn speaks the rows that are about user names, on the ports that take them.
func (d *laptop) logIn(t *testing.T, user, port string) {
	want := map[string]string{"inbox-7+454": "454 4.7.0", "wrong": "535 5.7.8", "temp": "454 4.7.0", "expired": "432 4.7.12", "disabled": "535 5.7.13"}[user]
	if want == "" {
		t.Fatalf("nobody says what user %s hears", user)
	}
	if port == "25" {
		cl := d.arrive(port, "")
		cl.say(login(user), "502") // P25-7: no AUTH there, on purpose or not
		return
	}
	cl := d.connect(port)
	cl.t = t
	cl.want("220")
	cl.say("EHLO x", "250")
	if port != "465" {
		cl.say("STARTTLS", "220")
		cl.conn = d.secure(cl.conn)
		cl.in = bufio.NewReader(cl.conn)
		cl.say("EHLO x", "250")
	}
	cl.say(login(user), want)
}

// What comes back is in the sender's mailbox: the bounce is not caught itself,
// the mail that is complained about is.
func TestMailComesBack(t *testing.T) {
	d := startDev(t)
	cl := d.arrive("587", "inbox-7")
	for _, word := range []string{"bounce-552", "complain"} {
		cl.speak([]told{{from + " ENVID=e-1", "250"}, {"RCPT TO:<anna+" + word + "@shop.example>", "250"}, {"DATA", "354"}, {text, queued}})
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	all, err := d.Caught().Wait(ctx, catch.ParseQuery("inbox-7", ""), 0, 3)
	if err != nil {
		t.Fatal(err, len(all))
	}
	found := map[string]string{}
	for _, m := range all {
		b, err := d.Caught().Raw(m.ID)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(mail.Reader(b))
		_ = b.Close()
		if err != nil {
			t.Fatal(err)
		}
		found[m.Subject] = string(raw)
		if m.Subject != "hi" && (m.From != "" || m.Recipients[0].Address != "app@example.com") {
			t.Errorf("%s: from <%s> to %v", m.Subject, m.From, m.Recipients) // DSN-1
		}
	}
	for subject, parts := range map[string][]string{
		"hi":                                  {"hello"},
		"Undelivered mail returned to sender": {"report-type=delivery-status", "Status: 5.2.2", "Diagnostic-Code: smtp; 552 5.2.2", "Original-Envelope-Id: e-1", "Final-Recipient: rfc822; anna+bounce-552@shop.example", "Remote-MTA: dns; mx.shop.example"},
		"Complaint about your mail":           {"report-type=feedback-report", "Feedback-Type: abuse", "Original-Rcpt-To: <anna+complain@shop.example>", "Original-Envelope-Id: e-1", "hello"},
	} {
		for _, p := range parts {
			if !strings.Contains(found[subject], p) {
				t.Errorf("%s lacks %q:\n%s", subject, p, found[subject])
			}
		}
	}
}

// NOTIFY decides about bounces on purpose as about any (DSN-6).
func TestNoBounceUnasked(t *testing.T) {
	d := startDev(t)
	cl := d.arrive("587", "inbox-8")
	cl.speak([]told{{from, "250"}, {"RCPT TO:<anna+bounce@shop.example> NOTIFY=NEVER", "250"}, {"DATA", "354"}, {text, queued}})
	d.watch.until(t, "the bounce is not owed", func(e event.Event) bool {
		r, ok := e.(event.ReportSent)
		return ok && r.Dropped == "NOTIFY=NEVER"
	})
}

// What failed stands among the sessions, with the rule.
func TestFailuresAreShown(t *testing.T) {
	d := startDev(t)
	for _, c := range []struct{ word, want string }{{"550", "250"}, {"drop", "closed"}} {
		cl := d.arrive("465", "inbox-9")
		cl.send(from)
		cl.want("250")
		cl.send("RCPT TO:<anna+" + c.word + "@shop.example>")
		if got := cl.hears(); c.word == "drop" && got != "closed" || c.word == "550" && !strings.HasPrefix(got, "550") {
			t.Fatal(got)
		}
		_ = cl.conn.Close()
		d.shows(t, "+"+c.word)
	}
}

// shows waits until a session that failed by a word is in the store, whole: the
// store hears of its end after the test does.
func (d *laptop) shows(t *testing.T, word string) {
	t.Helper()
	w, err := d.Caught().Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	end := time.After(patience)
	for {
		for _, s := range d.Caught().Sessions() {
			if s.Mishap == word && s.Ended != "" && len(s.Problems) == 1 && s.Problems[0].Mishap == word &&
				s.Problems[0].Command == "rcpt anna"+word+"@shop.example" && dialogueHolds(s.Dialogue, "on purpose, "+word) {
				return
			}
		}
		select {
		case <-w.C:
		case <-end:
			t.Fatalf("%s is not among %+v", word, d.Caught().Sessions())
		}
	}
}

func (d *laptop) rule(t *testing.T, r mishap.Rule) {
	t.Helper()
	if err := d.Mishaps().Replace([]mishap.Rule{r}); err != nil {
		t.Fatal(err)
	}
}

// Rules at every stage, on the wire.
func TestRulesAtEveryStage(t *testing.T) {
	d := startDev(t)
	for _, c := range []struct {
		stage  mishap.Stage
		do     mishap.Action
		script []told // from the greeting on, in clear on 25
	}{
		{mishap.Connect, mishap.Action{Drop: true}, []told{{"", "closed"}}},
		{mishap.Connect, mishap.Action{Stall: true}, []told{{"", "silence"}}},
		{mishap.Greeting, mishap.Action{Reply: "554"}, []told{{"", "554 Client or address refused"}}},
		{mishap.Greeting, mishap.Action{Reply: "421"}, []told{{"", "421 "}}},
		{mishap.Ehlo, mishap.Action{Reply: "502"}, []told{{"", "220"}, {"EHLO x", "502"}, {"HELO x", "250"}, {"MAIL FROM:<a@b>", "250"}}},
		{mishap.Helo, mishap.Action{Reply: "504"}, []told{{"", "220"}, {"HELO x", "504"}, {"MAIL FROM:<a@b>", "503"}}},
		{mishap.Ehlo, mishap.Action{Hide: []string{"starttls", "SIZE", "CHUNKING"}},
			[]told{{"", "220"}, {"EHLO x", "250"}, {"STARTTLS", "502"}, {"MAIL FROM:<a@b> SIZE=5", "555"}, {"MAIL FROM:<a@b>", "250"}, {"RCPT TO:<c@d>", "250"}, {bdat, "502"}}},
		{mishap.StartTLS, mishap.Action{Reply: "454"}, []told{{"", "220"}, {"EHLO x", "250"}, {"STARTTLS", "454 4.7.0"}, {"NOOP", "250"}}},
		{mishap.Mail, mishap.Action{Reply: "452 4.3.1 Disk full", Close: true}, []told{{"", "220"}, {"EHLO x", "250"}, {"MAIL FROM:<a@b>", "452 4.3.1 Disk full"}, {"", "closed"}}},
		{mishap.Rcpt, mishap.Action{Reset: true}, []told{{"", "220"}, {"EHLO x", "250"}, {"MAIL FROM:<a@b>", "250"}, {"RCPT TO:<c@d>", "reset"}}},
		{mishap.Data, mishap.Action{Reply: "451"}, []told{{"", "220"}, {"EHLO x", "250"}, {"MAIL FROM:<a@b>", "250"}, {"RCPT TO:<c@d>", "250"}, {"DATA", "451 4.3.0"}, {bdat, "451 4.3.0"}, {"NOOP", "250"}}},
		{mishap.Content, mishap.Action{Drop: true, After: 12}, []told{{"", "220"}, {"EHLO x", "250"}, {"MAIL FROM:<a@b>", "250"}, {"RCPT TO:<c@d>", "250"}, {"DATA", "354"}, {"12345678", "silence"}, {"9", "closed"}}},
		{mishap.Content, mishap.Action{Stall: true}, []told{{"", "220"}, {"EHLO x", "250"}, {"MAIL FROM:<a@b>", "250"}, {"RCPT TO:<c@d>", "250"}, {bdat, "silence"}}},
		{mishap.Dot, mishap.Action{Reply: "554 5.6.0 No such thing"}, []told{{"", "220"}, {"EHLO x", "250"}, {"MAIL FROM:<a@b>", "250"}, {"RCPT TO:<c@d>", "250"}, {"DATA", "354"}, {text, "554 5.6.0 No such thing"}}},
		{mishap.Dot, mishap.Action{Reply: "451", Keep: true}, []told{{"", "220"}, {"EHLO x", "250"}, {"MAIL FROM:<a@b>", "250"}, {"RCPT TO:<kept@d>", "250"}, {"DATA", "354"}, {text, "451 4.3.0"}}},
		{mishap.Quit, mishap.Action{Drop: true}, []told{{"", "220"}, {"QUIT", "closed"}}},
	} {
		t.Run(string(c.stage)+" "+c.do.String(), func(t *testing.T) {
			d.rule(t, mishap.Rule{ID: "r", Stage: c.stage, Match: mishap.Match{Port: "25"}, Do: c.do})
			cl := d.connect("25")
			cl.t = t
			if first := c.script[0]; first.want != "220" {
				if got := cl.hears(); !strings.HasPrefix(got, first.want) {
					t.Errorf("greeted with %q, want %s", got, first.want)
				}
			} else {
				cl.want("220")
			}
			cl.speak(c.script[1:])
			if v, _ := d.Mishaps().Rule("r"); v.Struck == 0 {
				t.Error("the rule did not strike")
			}
			other := d.connect("587") // whose port it is not
			other.t = t
			other.want("220")
			other.say("QUIT", "221")
		})
	}
}

// Certificates that are wrong, handshakes that break, on the first byte and
// after STARTTLS.
func TestTLSFailsOnPurpose(t *testing.T) {
	d := startDev(t)
	for _, c := range []struct {
		do   mishap.Action
		want string
	}{
		{mishap.Action{Certificate: mishap.Expired}, "expired"},
		{mishap.Action{Certificate: mishap.WrongName}, "not localhost"},
		{mishap.Action{Certificate: mishap.UnknownCA}, "unknown authority"},
		{mishap.Action{Certificate: mishap.SelfSigned}, "unknown authority"},
		{mishap.Action{TLSVersion: "1.1"}, "version"},
		{mishap.Action{Drop: true}, "EOF"},
		{mishap.Action{Reset: true}, "reset"},
	} {
		for _, port := range []string{"465", "587"} {
			t.Run(c.do.String()+" on "+port, func(t *testing.T) {
				d.rule(t, mishap.Rule{ID: "r", Stage: mishap.TLS, Match: mishap.Match{Port: port, SNI: "localhost"}, Do: c.do})
				cl := d.connect(port)
				cl.t = t
				conn, ok := cl.conn.(*tls.Conn)
				if !ok {
					cl.want("220")
					cl.say("EHLO x", "250")
					cl.say("STARTTLS", "220")
					conn = d.secure(cl.conn)
				}
				if err := conn.Handshake(); err == nil || !strings.Contains(fmt.Sprint(err), c.want) {
					t.Errorf("%v, want %s", err, c.want)
				}
			})
		}
	}
	// whoever asks for another name, or comes when it is over, is served
	d.rule(t, mishap.Rule{Stage: mishap.TLS, Match: mishap.Match{SNI: "other"}, Do: mishap.Action{Drop: true}})
	d.arrive("465", "box").say("QUIT", "221")
}

// A server knows nothing of this: what would fail in dev is an ordinary address,
// and there is no room to ask.
func TestAServerHasNoMishaps(t *testing.T) {
	s := start(t)
	if s.Mishaps() != nil || s.sessionMishap() != nil {
		t.Fatal("a server lets mail fail on purpose")
	}
	if _, is := s.courier().(returns); is {
		t.Fatal("a server lets mail come back on purpose")
	}
	cl := s.dial(mail.RoleMX)
	cl.say("EHLO x", "250")
	cl.say("MAIL FROM:<>", "250")
	for _, row := range mishap.Addresses() {
		local, _, is := strings.Cut(row.Example, "@")
		if is && row.Where == "recipient" {
			cl.say("RCPT TO:<"+local+"@example.org>", "250 2.1.5")
		}
	}
	cl.say("RCPT TO:<550@example.org>", "250 2.1.5")
	cl.say("DATA", "354")
	cl.say(text, queued)
}

// A rule can slow the line down: two thousand octets at four thousand a second
// are half a second.
func TestRulesSlowTheLine(t *testing.T) {
	d := startDev(t)
	d.rule(t, mishap.Rule{ID: "r", Stage: mishap.Content, Do: mishap.Action{Throttle: 4000}})
	cl := d.arrive("465", "box")
	cl.speak([]told{{from, "250"}, {"RCPT TO:<anna@shop.example>", "250"}, {"DATA", "354"}})
	began := time.Now()
	cl.say("Subject: slow\r\nFrom: a@b\r\n\r\n"+strings.Repeat(strings.Repeat("x", 48)+"\r\n", 40)+".", queued)
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("took %s", took)
	}
}

// Who waits on purpose holds nobody up: the server stops at once, and a client
// that gives up is noticed.
func TestStallsEnd(t *testing.T) {
	d := startDev(t)
	gone := d.arrive("587", "gives-up")
	gone.speak([]told{{from, "250"}, {"RCPT TO:<anna+stall@shop.example>", "silence"}})
	_ = gone.conn.Close()
	d.watch.until(t, "the client's leaving is noticed", func(e event.Event) bool {
		s, ok := e.(event.SessionEnded)
		return ok && s.Origin.Account == "gives-up"
	})
	for _, to := range []string{"stall", "slow-9m"} {
		d.arrive("587", "stays").speak([]told{{from, "250"}, {"RCPT TO:<anna+" + to + "@shop.example>", "silence"}})
	}
	began := time.Now()
	d.halt()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("the server took %s to stop", took)
	}
}
