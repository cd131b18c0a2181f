package node

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"paquebot/internal/accounts"
	"paquebot/internal/config"
	"paquebot/internal/event"
	"paquebot/internal/listen"
	"paquebot/internal/mail"
	"paquebot/internal/queue"
)

// patience bounds every wait of these tests; none of them needs it.
const patience = 20 * time.Second

// watch is a Sink that lets a test wait for an event.
type watch struct {
	mu   sync.Mutex
	all  []event.Event
	more chan struct{}
}

func newWatch() *watch { return &watch{more: make(chan struct{}, 1)} }

func (w *watch) Emit(e event.Event) {
	w.mu.Lock()
	w.all = append(w.all, e)
	w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
}

func (w *watch) until(t *testing.T, what string, is func(event.Event) bool) event.Event {
	t.Helper()
	end := time.After(patience)
	for {
		w.mu.Lock()
		for _, e := range w.all {
			if is(e) {
				w.mu.Unlock()
				return e
			}
		}
		w.mu.Unlock()
		select {
		case <-w.more:
		case <-end:
			t.Fatalf("never happened: %s", what)
		}
	}
}

// server is a Node on loopback with one port of each role and a Maildir.
type server struct {
	*Node
	t     *testing.T
	watch *watch
	conf  *config.Config // what the next reload reads
	mail  string
}

func serverConfig(t *testing.T, dir, mailDir string) *config.Config {
	c := config.Default()
	c.Hostname = "mx.example.org"
	c.DataDir = filepath.Join(dir, "data")
	c.Listeners = []config.Listener{
		{Address: "127.0.0.1:0", Role: "mx"}, {Address: "127.0.0.2:0", Role: "submission"}, {Address: "127.0.0.3:0", Role: "submissions"},
	}
	c.Domains = []config.Domain{{Name: "example.org", Deliver: "maildir:" + mailDir + "/{local}", Recipients: config.Recipients{Any: true}}}
	c.Queue.MinFree = 1
	return c
}

func start(t *testing.T) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{t: t, watch: newWatch(), mail: filepath.Join(dir, "mail")}
	s.conf = serverConfig(t, dir, s.mail)
	s.boot()
	return s
}

func (s *server) boot() {
	s.t.Helper()
	n, err := Start(context.Background(), System(io.Discard), s.conf, Options{
		Version: "test", Log: s.watch,
		Load: func() (*config.Config, []config.Problem) { return s.conf, nil },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.Node = n
	s.t.Cleanup(s.halt)
}

// halt stops the server if it runs.
func (s *server) halt() {
	if s.Node == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.Stop(ctx)
	s.Node = nil
}

// client is a talk with a server, line by line.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (s *server) dial(role mail.Role) *client {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.Addr(role, 0).String())
	if err != nil {
		s.t.Fatal(err)
	}
	if role == mail.RoleSubmissions {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := &client{t: s.t, conn: conn, in: bufio.NewReader(conn)}
	c.want("220")
	return c
}

// want reads one reply and compares how it begins.
func (c *client) want(code string) string {
	c.t.Helper()
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			c.t.Fatalf("waiting for %s: %v", code, err)
		}
		if !strings.HasPrefix(line, code) {
			c.t.Fatalf("%q, want %s", line, code)
		}
		if len(line) > 3 && line[3] == ' ' {
			return strings.TrimSpace(line)
		}
	}
}

func (c *client) say(line, code string) string {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, line+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
	return c.want(code)
}

// bring hands in a message and returns its ID.
func (c *client) bring(from, to, subject string) mail.ID {
	c.t.Helper()
	c.say("MAIL FROM:<"+from+">", "250")
	c.say("RCPT TO:<"+to+">", "250")
	c.say("DATA", "354")
	text := c.say("From: "+from+"\r\nSubject: "+subject+"\r\n\r\nhello\r\n.", "250 2.0.0 Ok: queued as")
	id, err := mail.ParseID(text[strings.LastIndexByte(text, ' ')+1:])
	if err != nil {
		c.t.Fatal(err)
	}
	return id
}

func (s *server) delivered(id mail.ID) {
	s.t.Helper()
	s.watch.until(s.t, id.String()+" finished", func(e event.Event) bool {
		f, ok := e.(event.MessageFinished)
		return ok && f.ID == id && f.Delivered == 1
	})
}

func TestMailGoesThrough(t *testing.T) {
	s := start(t)
	if _, err := s.people.Add(accounts.New{Name: "anna", Password: "secret", Senders: []string{"anna@example.org"}}, "test"); err != nil {
		t.Fatal(err)
	}
	c := s.dial(mail.RoleMX)
	c.say("EHLO client.example", "250")
	c.say("AUTH PLAIN AGFubmEAc2VjcmV0", "5") // P5: never on 25
	c.say("MAIL FROM:<>", "250")
	c.say("RCPT TO:<x@elsewhere.example>", "550 5.7.1") // REL-1
	c.say("RSET", "250")
	s.delivered(c.bring("", "bo@example.org", "by 25"))

	c = s.dial(mail.RoleSubmissions)
	c.say("EHLO client.example", "250")
	c.say("MAIL FROM:<anna@example.org>", "530 5.7.0") // P587-1
	c.say("AUTH PLAIN AGFubmEAc2VjcmV0", "235 2.7.0")
	c.say("MAIL FROM:<eve@example.org>", "550 5.7.1") // SUB-5
	id := c.bring("anna@example.org", "bo@example.org", "by 465")
	s.delivered(id)

	box, err := os.ReadDir(filepath.Join(s.mail, "bo", "new"))
	if err != nil || len(box) != 2 {
		t.Fatalf("%d messages in the Maildir, %v", len(box), err)
	}
	life, err := s.disk.History.Of(id)
	if err != nil {
		t.Fatal(err)
	}
	for len(life) < 5 { // written behind, in batches
		if life, err = s.disk.History.Of(id); err != nil {
			t.Fatal(err)
		}
	}
}

// A reload puts the whole configuration in force and drops nobody.
func TestReloadKeepsSessions(t *testing.T) {
	s := start(t)
	before := s.Addr(mail.RoleMX, 0).String()
	old := s.dial(mail.RoleMX)
	old.say("EHLO client.example", "250")
	old.say("MAIL FROM:<>", "250")

	next := *s.conf
	next.Domains = append(next.Domains[:1:1], config.Domain{Name: "example.net", Deliver: next.Domains[0].Deliver, Recipients: config.Recipients{Any: true}})
	s.conf = &next
	r := s.Reload(context.Background())
	if !r.InForce || len(r.Changes) == 0 {
		t.Fatalf("%+v", r)
	}
	if now := s.Addr(mail.RoleMX, 0).String(); now != before {
		t.Errorf("the port moved from %s to %s", before, now)
	}
	old.say("RCPT TO:<bo@example.net>", "550 5.7.1") // it began under the old settings
	old.say("RCPT TO:<bo@example.org>", "250")
	old.say("DATA", "354")
	old.say("Subject: still here\r\n\r\nhello\r\n.", "250")

	fresh := s.dial(mail.RoleMX)
	fresh.say("EHLO client.example", "250")
	s.delivered(fresh.bring("", "bo@example.net", "new domain"))
}

func TestReloadThatFailsChangesNothing(t *testing.T) {
	s := start(t)
	for name, spoil := range map[string]func(*config.Config){
		"certificate": func(c *config.Config) { c.TLS = config.TLS{Cert: "/nowhere.pem", Key: "/nowhere.key"} },
		"route":       func(c *config.Config) { c.Routes = []config.Route{{Via: "gopher://x"}} },
		"port": func(c *config.Config) {
			c.Listeners = append(c.Listeners[:3:3], config.Listener{Address: "203.0.113.1:25", Role: "mx"})
		},
	} {
		good := s.conf
		bad := *good
		spoil(&bad)
		s.conf = &bad
		if r := s.Reload(context.Background()); r.InForce || len(r.Problems) == 0 {
			t.Errorf("%s: %+v", name, r)
		}
		s.conf = good
		c := s.dial(mail.RoleMX)
		c.say("EHLO client.example", "250")
		s.delivered(c.bring("", "bo@example.org", name))
	}
}

// SRV-35, RC-5: who is idle hears 421; who is in a transaction may finish it.
func TestStopIsGraceful(t *testing.T) {
	s := start(t)
	idle, busy := s.dial(mail.RoleMX), s.dial(mail.RoleMX)
	idle.say("EHLO client.example", "250")
	busy.say("EHLO client.example", "250")
	busy.say("MAIL FROM:<>", "250")
	busy.say("RCPT TO:<bo@example.org>", "250")
	busy.say("DATA", "354")
	stopped := make(chan struct{})
	go func() { s.halt(); close(stopped) }()
	idle.want("421 4.3.2")
	busy.say("Subject: last\r\n\r\nhello\r\n.", "250 2.0.0")
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("it does not stop")
	}
}

// What was accepted is there after a restart, and is delivered then.
func TestMailSurvivesARestart(t *testing.T) {
	s := start(t)
	// The Maildir cannot be made: its place is taken by a file.
	if err := os.WriteFile(s.mail, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := s.dial(mail.RoleMX)
	c.say("EHLO client.example", "250")
	id := c.bring("", "bo@example.org", "wait")
	s.watch.until(t, "deferred", func(e event.Event) bool {
		r, ok := e.(event.RecipientSettled)
		return ok && r.ID == id && r.Standing.State == mail.Waiting
	})
	s.halt()
	if err := os.Remove(s.mail); err != nil {
		t.Fatal(err)
	}
	s.boot()
	if env, err := s.disk.Spool.Envelope(context.Background(), id); err != nil || env.Subject != "wait" {
		t.Fatalf("%v %v", env, err)
	}
	done, err := s.queue.Act(context.Background(), queue.Action{Verb: queue.Retry, By: "test"})
	if err != nil || done.Recipients != 1 {
		t.Fatalf("%+v %v", done, err)
	}
	s.delivered(id)
}

func TestSecondServerIsTurnedAway(t *testing.T) {
	s := start(t)
	second := *s.conf
	_, err := Start(context.Background(), System(io.Discard), &second, Options{Log: event.Discard})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("%v", err)
	}
}

// On a laptop any user and password will do, inside TLS, and mail is caught.
func TestDevCatches(t *testing.T) {
	dir := t.TempDir()
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
	c.Hostname, c.DataDir = "localhost", dir
	c.Listeners = []config.Listener{{Address: "127.0.0.1:0", Role: "submissions"}}
	c.Routes = []config.Route{{Via: "catch"}}
	watch := newWatch()
	n, err := Start(context.Background(), w, c, Options{Log: watch, Dev: &Dev{Certs: listen.OwnCerts(cert, event.Discard)}})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Node: n, t: t, watch: watch}
	defer s.halt()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM)
	raw, err := tls.Dial("tcp", n.Addr(mail.RoleSubmissions, 0).String(), &tls.Config{RootCAs: roots, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	cl := &client{t: t, conn: raw, in: bufio.NewReader(raw)}
	cl.want("220")
	cl.say("EHLO x", "250")
	cl.say("AUTH PLAIN AHdyb25nAHdyb25n", "535 5.7.8") // user "wrong"
	cl.say("AUTH PLAIN AGFwcABhbnk=", "235")
	id := cl.bring("me@example.com", "you@anywhere.example", "caught")
	s.delivered(id)
	page, err := n.Caught().Get(id)
	if err != nil || page.Mailbox != "app" || page.Subject != "caught" {
		t.Errorf("%+v %v", page, err)
	}
	if lines, err := n.Caught().Dialogue(id); err != nil || !dialogueHolds(lines, "MAIL FROM:<me@example.com>") || dialogueHolds(lines, "AGFwcABhbnk=") {
		t.Errorf("dialogue %v %v", lines, err)
	}
}

func dialogueHolds(lines []event.Line, text string) bool {
	for _, l := range lines {
		if strings.Contains(l.Text, text) {
			return true
		}
	}
	return false
}

// Every series that is served stands on the reference page.
func TestServedMetricsAreDocumented(t *testing.T) {
	s := start(t)
	page, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	families, err := s.metrics.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if name := f.GetName(); strings.HasPrefix(name, "paquebot_") && !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("%s is served and not documented", name)
		}
	}
}
