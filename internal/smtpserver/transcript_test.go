package smtpserver

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

var update = flag.Bool("update", false, "write what the server said into testdata")

// A transcript is a conversation. Its lines:
//
//	# text         a comment; "# rows: CM:MAIL/clear RC-18" names rows of the standards
//	= key value    a setting, before the first line that is said
//	S: text        the server says this line
//	S(end):        the server closes; S(deaf): what the client said next had nobody to hear it
//	C: text        the client says this and CR LF; several in a row go as one segment after "C+:"
//	C+: text       the same, and the next client line joins it in one segment
//	C-: "text"     the client says exactly this: Go escapes, no CR LF added
//	C(tls):        the client begins TLS; C(close): it closes
//	~: 6m          time passes
//	E: name text   this event was emitted since the last E: line; text is part of its fields
//	M: text        a line of the message stored last, header and body; "M*:" all of its lines follow
//
// Server lines are compared after each action, and none may be left out.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.smtp")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".smtp"), func(t *testing.T) {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			synctest.Test(t, func(t *testing.T) { got = newPlay(t).run(string(raw)) })
			if got == string(raw) {
				return
			}
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("differs from what was expected:\n%s", diff(string(raw), got))
		})
	}
}

// play is one transcript being played.
type play struct {
	t      *testing.T
	cfg    Config
	policy *plainPolicy
	shelf  *shelf
	book   book
	seen   *record
	events int // already looked at
	origin mail.Origin
	server *Server
	ctx    context.Context

	raw    net.Conn
	conn   net.Conn
	reader *lineCollector
	out    strings.Builder
	joined string

	patient bool // each action takes 1.1 s longer: error delays pass unseen
}

func newPlay(t *testing.T) *play {
	p := &play{t: t, cfg: Defaults(mail.RoleMX), policy: &plainPolicy{}, shelf: &shelf{}, seen: &record{}, ctx: t.Context()}
	p.cfg.Hostname = "mx.example"
	p.cfg.TLS = testTLS(t)
	p.origin.Client = netip.MustParseAddrPort("192.0.2.7:40000")
	p.origin.Local = netip.MustParseAddrPort("192.0.2.1:25")
	return p
}

func (p *play) run(script string) string {
	lines := strings.Split(strings.TrimSuffix(script, "\n"), "\n")
	for _, l := range lines {
		kind, text, _ := strings.Cut(l, ": ")
		kind = strings.TrimSuffix(kind, ":")
		switch {
		case strings.HasPrefix(l, "#"), l == "":
			p.out.WriteString(l + "\n")
			continue
		case strings.HasPrefix(l, "= "):
			p.out.WriteString(l + "\n")
			p.set(l[2:])
			continue
		case kind == "S", kind == "S(end)", kind == "S(deaf)", kind == "M":
			continue // what is expected; said again below if it still is
		}
		if p.conn == nil {
			p.start()
		}
		p.out.WriteString(l + "\n")
		p.act(kind, text)
	}
	if p.conn == nil {
		p.start()
	}
	p.conn.Close()
	synctest.Wait()
	return p.out.String()
}

func (p *play) set(line string) {
	key, value, _ := strings.Cut(line, " ")
	switch key {
	case "role":
		p.cfg = Defaults(mail.Role(value))
		p.cfg.Hostname, p.cfg.TLS = "mx.example", testTLS(p.t)
	case "trusted":
		p.origin.Trusted = true
		p.cfg.Trusted = []netip.Prefix{netip.MustParsePrefix(value)}
	case "client":
		p.origin.Client = netip.MustParseAddrPort(value)
	case "xclient":
		p.cfg.XClient = []netip.Prefix{netip.MustParsePrefix(value)}
	case "connect":
		p.policy.connect = parseReply(value)
	case "crowded":
		p.book.full = true
	case "patient":
		p.patient = true
	case "slow":
		p.policy.slow = mustDuration(value)
	case "fail":
		if p.shelf.fail = fmt.Errorf("%s", value); value == "full" {
			p.shelf.fail = smtp.DiskFull
		}
	default:
		p.setConfig(key, value)
	}
}

func (p *play) setConfig(key, value string) {
	n, _ := strconv.Atoi(value)
	switch key {
	case "no-tls":
		p.cfg.TLS = nil
	case "tls-required":
		p.cfg.TLSRequired = true
	case "clear-auth":
		p.cfg.ClearAuth = true
	case "auth-on-mx":
		p.cfg.AuthOnMX = true
	case "pause":
		p.cfg.GreetingPause = mustDuration(value)
	case "bare":
		p.cfg.BareLines = map[string]smtp.BarePolicy{"reject": smtp.BareReject, "normalise": smtp.BareNormalise, "allow": smtp.BareAllow}[value]
	case "all-extensions":
		p.cfg.BinaryMIME, p.cfg.DeliverBy, p.cfg.MTPriority = true, true, true
		p.cfg.DeliverByMin, p.cfg.FutureMax = time.Minute, 24*time.Hour
	case "size":
		p.cfg.Limits.MessageSize = int64(n)
	case "messages":
		p.cfg.Limits.Messages = n
	case "recipients":
		p.cfg.Limits.Recipients = n
	case "bad-recipients":
		p.cfg.Limits.BadRecipients = n
	case "errors":
		p.cfg.Limits.Errors = n
	case "mailless":
		p.cfg.Limits.Mailless = n
	case "authserv-id":
		p.cfg.AuthservID = value
	case "dialogue":
		p.cfg.KeepDialogue = true
	default:
		p.t.Fatalf("unknown setting %q", key)
	}
}

func parseReply(s string) smtp.Reply {
	code, rest, _ := strings.Cut(s, " ")
	n, _ := strconv.Atoi(code)
	word, text, _ := strings.Cut(rest, " ")
	if e, ok := smtp.ParseEnhanced(word); ok {
		return smtp.Reply{Code: n, Enhanced: e, Text: text}
	}
	return smtp.Reply{Code: n, Text: rest}
}

func mustDuration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return d
}

// start connects. On submissions TLS comes first, as package listen does it.
func (p *play) start() {
	client, server := wire(net.TCPAddrFromAddrPort(p.origin.Client), net.TCPAddrFromAddrPort(p.origin.Local))
	p.server = New(p.cfg, Needs{Policy: p.policy, Accounts: &p.book, Store: p.shelf, IDs: newIDs(p.t), Events: p.seen})
	go p.serve(server)
	p.raw = client
	p.conn = p.raw
	if p.cfg.Role == mail.RoleSubmissions {
		p.secure()
	} else {
		p.reader = collect(p.conn)
	}
	p.gather()
}

func (p *play) serve(conn net.Conn) {
	var state *tls.ConnectionState
	if p.cfg.Role == mail.RoleSubmissions {
		secure := tls.Server(conn, p.cfg.TLS)
		if secure.Handshake() != nil {
			conn.Close()
			return
		}
		s := secure.ConnectionState()
		state, conn = &s, secure
	}
	p.server.Serve(p.ctx, conn, p.origin, state)
}

func (p *play) secure() {
	if p.reader != nil {
		p.reader.stop(p.conn)
	}
	client := tls.Client(p.raw, &tls.Config{InsecureSkipVerify: true, ServerName: "mx.example"})
	if err := client.Handshake(); err != nil {
		p.out.WriteString("S(end):\n")
		p.reader = nil
		return
	}
	p.conn = client
	p.reader = collect(client)
}

func (p *play) act(kind, text string) {
	switch kind {
	case "C":
		p.send(text + "\r\n")
	case "C+":
		p.joined += text + "\r\n"
		return
	case "C-":
		s, err := strconv.Unquote(text)
		if err != nil {
			p.t.Fatalf("%s: %v", text, err)
		}
		p.send(s)
	case "C(tls)":
		p.secure()
	case "C(close)":
		p.conn.Close()
	case "C(half)":
		p.raw.(*wireEnd).CloseWrite()
	case "~":
		time.Sleep(mustDuration(text))
	case "X(shutdown)":
		go p.server.Shutdown(context.Background())
	case "E":
		p.event(text)
		return
	case "M*":
		p.message()
		return
	default:
		p.t.Fatalf("unknown line %q", kind)
	}
	p.gather()
}

func (p *play) send(s string) {
	if _, err := io.WriteString(p.conn, p.joined+s); err != nil {
		p.out.WriteString("S(deaf):\n")
	}
	p.joined = ""
}

// gather writes down what the server has said by now.
func (p *play) gather() {
	synctest.Wait()
	if p.patient {
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
	}
	if p.reader == nil {
		return
	}
	text, ended := p.reader.take()
	for l := range strings.SplitAfterSeq(text, "\r\n") {
		if l == "" {
			continue
		}
		line, ok := strings.CutSuffix(l, "\r\n")
		if !ok || strings.ContainsAny(line, "\r\n") {
			line = strconv.Quote(l) + " without CR LF"
		}
		p.out.WriteString("S: " + line + "\n")
	}
	if ended {
		p.out.WriteString("S(end):\n")
		p.reader = nil
	}
}

// event checks that an event with this name and text was emitted since the last
// one looked at.
func (p *play) event(want string) {
	name, text, _ := strings.Cut(want, " ")
	all := p.seen.all()
	for i := p.events; i < len(all); i++ {
		if all[i].Name() == name && strings.Contains(describe(all[i]), text) {
			p.events = i + 1
			return
		}
	}
	var names []string
	for _, e := range all[p.events:] {
		names = append(names, e.Name()+" "+describe(e))
	}
	p.t.Errorf("no event %q; there were:\n%s", want, strings.Join(names, "\n"))
}

func describe(e event.Event) string {
	switch e := e.(type) {
	case event.CommandRefused:
		return fmt.Sprintf("%s: %s (%s; %s)", e.Command, e.Reply, e.Rule, e.Advice)
	case event.TLSFailed:
		return e.Error + "; " + e.Advice
	case event.SessionEnded:
		return fmt.Sprintf("%s; messages %d; advice %s", e.Reason, e.Messages, e.Advice)
	case event.Attacked:
		return e.Kind + " " + e.Detail
	case event.AuthFailed:
		return e.User + " " + e.Method + " " + e.Reason
	case event.AuthSucceeded:
		return e.Origin.Account + " " + e.Origin.Method
	case event.MessageAccepted:
		return fmt.Sprintf("%v from <%s> params %+v repaired %q", e.Envelope.Origin.Account, e.Envelope.From, e.Envelope.Params, e.Repaired)
	case event.MessageRefused:
		return e.Reply.String()
	}
	return fmt.Sprintf("%+v", e)
}

// message shows the message stored last.
func (p *play) message() {
	if len(p.shelf.messages) == 0 {
		p.out.WriteString("M: (none)\n")
		return
	}
	last := p.shelf.messages[len(p.shelf.messages)-1]
	for _, r := range last.env.Recipients {
		fmt.Fprintf(&p.out, "M: (to <%s> notify %q original %q alias %q)\n", r.Address, r.Notify, r.Original, r.Alias)
	}
	for l := range strings.SplitSeq(strings.TrimSuffix(last.head+last.body, "\r\n"), "\r\n") {
		if strings.ContainsFunc(l, func(r rune) bool { return r < ' ' && r != '\t' || r == 0xFFFD }) {
			l = strconv.Quote(l)
		}
		p.out.WriteString("M: " + l + "\n")
	}
}

// lineCollector reads all that comes.
type lineCollector struct {
	mu    sync.Mutex
	text  strings.Builder
	ended bool
	over  chan struct{}
}

func collect(conn net.Conn) *lineCollector {
	c := &lineCollector{over: make(chan struct{})}
	go func() {
		defer close(c.over)
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			c.mu.Lock()
			c.text.Write(buf[:n])
			c.ended = err != nil
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return c
}

func (c *lineCollector) take() (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.text.String()
	c.text.Reset()
	return s, c.ended
}

func (c *lineCollector) stop(conn net.Conn) {
	conn.SetReadDeadline(time.Unix(1, 0))
	<-c.over
	conn.SetReadDeadline(time.Time{})
}

func diff(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	var out strings.Builder
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(a) > 0 && len(b) > 0 && a[0] == b[0]:
			out.WriteString("  " + a[0] + "\n")
			a, b = a[1:], b[1:]
		case len(b) > 0 && (len(a) == 0 || contains(a, b[0]) == contains(b, a[0]) || !contains(a, b[0])):
			out.WriteString("+ " + b[0] + "\n")
			b = b[1:]
		default:
			out.WriteString("- " + a[0] + "\n")
			a = a[1:]
		}
	}
	return out.String()
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
