package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/console"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

var ports = console.Ports{Submission: 1587, Submissions: 1465, Alternative: 2525, MX: 1025}

type page struct {
	t     testing.TB
	store *catch.Store
	h     http.Handler
}

func open(t testing.TB) *page {
	t.Helper()
	s, err := catch.Open(catch.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &page{t, s, console.New(console.Config{Version: "0.1.0"}, console.Needs{Store: s, CA: []byte("PEM"), Ports: ports})}
}

func id(n int) mail.ID {
	return mail.ID{0, 0, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

func envelope(n int, to ...string) *mail.Envelope {
	e := &mail.Envelope{ID: id(n), Arrived: time.Now(), From: "me@example.com", Origin: mail.Origin{
		Session: fmt.Sprint("s", n), Role: mail.RoleSubmission, Listener: "127.0.0.1:1587", Account: "app", Method: "PLAIN", Helo: "laptop", ESMTP: true,
		Local: netip.MustParseAddrPort("127.0.0.1:1587"), Client: netip.MustParseAddrPort("127.0.0.1:50000"),
		TLS: &mail.TLS{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256"}}}
	for _, a := range to {
		e.Recipients = append(e.Recipients, mail.Recipient{Address: a})
	}
	return e
}

func (p *page) put(n int, raw string, to ...string) {
	p.t.Helper()
	if to == nil {
		to = []string{"you@example.com"}
	}
	e := envelope(n, to...)
	raw = strings.ReplaceAll(raw, "\n", "\r\n")
	if err := p.store.Catch(context.Background(), e, e.Recipients, mail.Bytes(raw)); err != nil {
		p.t.Fatal(err)
	}
}

// ask makes a request as a browser on this machine does; header pairs follow.
func (p *page) ask(method, target string, header ...string) *http.Response {
	p.t.Helper()
	return p.askWith(method, target, nil, header...)
}

// askWith is ask with a body.
func (p *page) askWith(method, target string, body io.Reader, header ...string) *http.Response {
	p.t.Helper()
	r := httptest.NewRequest(method, "http://localhost:8025"+target, body)
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, r)
	return w.Result()
}

func (p *page) get(target string) string {
	p.t.Helper()
	r := p.ask("GET", target)
	b, _ := io.ReadAll(r.Body)
	if r.StatusCode != http.StatusOK {
		p.t.Fatalf("GET %s: %s\n%s", target, r.Status, b)
	}
	return string(b)
}

const plain = "From: Anna <anna@example.com>\nTo: you@example.com\nSubject: hello\n\nYour code is 123456, see https://example.com/reset?t=1.\n"

const rich = `From: =?utf-8?q?J=C3=B6rg?= <j@example.com>
To: you@example.com
Subject: <script>alert(1)</script>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=m

--m
Content-Type: multipart/related; boundary=r

--r
Content-Type: text/html; charset=utf-8

<!DOCTYPE html><html><head><meta http-equiv=refresh content="0;url=http://evil.example/"><base href="http://evil.example/"><link rel=preconnect href=http://evil.example></head>
<body onload="evil()"><script>evil('<b>')</script><iframe src="http://evil.example"><script>x</script></iframe><form action="http://evil.example"><input></form>
<img src="cid:logo@x"><img src="http://evil.example/pixel.gif"><a href="https://example.com/verify">verify</a></body></html>
--r
Content-Type: image/png; name=logo.png
Content-ID: <logo@x>
Content-Transfer-Encoding: base64

iVBORw==
--r--
--m
Content-Type: text/html; name="../evil.html"
Content-Disposition: attachment; filename="../ev\"il.html"

<script>evil()</script>
--m--
`

func TestPages(t *testing.T) {
	p := open(t)
	empty := p.get("/")
	for _, want := range []string{"No mail yet", "--ssl-reqd", "SMTP_SSL", "nodemailer", "swaks", "http://localhost:8025/ca.pem", "smtp://localhost:1587"} {
		if !strings.Contains(empty, want) {
			t.Errorf("the empty page lacks %q", want)
		}
	}
	p.put(1, plain)
	p.put(2, rich, "you@example.com", "hidden@example.com")
	p.store.Emit(event.MessageAccepted{Envelope: envelope(2), Dialogue: []event.Line{
		{Text: "220 hi"}, {Client: true, Text: "EHLO <laptop>"}, {Client: true, TLS: true, Text: "QUIT"}}})
	list := p.get("/")
	for _, want := range []string{"hello", `title="Anna &lt;anna@example.com&gt;"`, "Jörg", "1587", "TLS 1.3", ">app<", "/m/" + id(1).String(), "&lt;script&gt;alert(1)"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list lacks %q", want)
		}
	}
	for _, c := range []struct{ target, want string }{
		{"/m/%s?tab=html", "sandbox=\"allow-popups allow-popups-to-escape-sandbox\""},
		{"/m/%s?tab=html", "Remote content is not loaded"},
		{"/m/%s", "/m/" + id(2).String() + "/html"},
		{"/m/%s?tab=text", "words of the HTML"},
		{"/m/%s?tab=headers", "=?utf-8?q?J=C3=B6rg?="},
		{"/m/%s?tab=source", "Content-Type: multipart/mixed"},
		{"/m/%s?tab=attachments", "logo.png"},
		{"/m/%s?tab=envelope", "In no header"},
		{"/m/%s?tab=envelope", "TLS_AES_128_GCM_SHA256"},
		{"/m/%s?tab=dialogue", "EHLO &lt;laptop&gt;"},
		{"/m/%s?tab=nonsense", "class=\"mail\""},
		{"/m/latest?fragment=message", "class=\"msg\""},
		{"/help", "/api/dev/wait"},
		{"/sessions", "None so far."},
	} {
		if strings.Contains(c.target, "%") {
			c.target = fmt.Sprintf(c.target, id(2))
		}
		got := p.get(c.target)
		if !strings.Contains(got, c.want) {
			t.Errorf("%s lacks %q", c.target, c.want)
		}
		if strings.Contains(got, "<script>alert") || strings.Contains(got, " style=\"") || strings.Contains(got, "ZgotmplZ") {
			t.Errorf("%s holds script or style of its own", c.target)
		}
	}
	if r := p.ask("GET", "/m/"+id(99).String()); r.StatusCode != http.StatusNotFound {
		t.Error(r.Status)
	}
}

// A hostile mail: whatever it says, the frame's policy and the missing tags
// leave it nothing to do.
func TestHostileHTML(t *testing.T) {
	p := open(t)
	p.put(2, rich)
	r := p.ask("GET", "/m/"+id(2).String()+"/html")
	b, _ := io.ReadAll(r.Body)
	policy := r.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "form-action 'none'", "base-uri 'none'", "sandbox allow-popups", "frame-ancestors 'self'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %q", policy, want)
		}
	}
	for _, never := range []string{"allow-scripts", "allow-same-origin", "allow-forms", "allow-top", "http: https:", "script-src", "*"} {
		if strings.Contains(policy, never) {
			t.Errorf("policy %q has %q", policy, never)
		}
	}
	got := string(b)
	for _, never := range []string{"<script", "evil('", "<iframe", "http-equiv", "<base href", "preconnect"} {
		if strings.Contains(got, never) {
			t.Errorf("%q is still in %s", never, got)
		}
	}
	if !strings.HasPrefix(got, `<!DOCTYPE html><base target="_blank">`) || !strings.Contains(got, `src="/api/dev/messages/`+id(2).String()+`/parts/3"`) {
		t.Error(got)
	}
	for _, query := range []string{"remote=1", "remote=1&scheme=forced", "scheme=dark&print=1"} {
		if again := p.ask("GET", "/m/"+id(2).String()+"/html?"+query).Header.Get("Content-Security-Policy"); again != policy {
			t.Errorf("%s: %q, want %q", query, again, policy) // nobody gave it anything to dial with
		}
	}
}

func TestParts(t *testing.T) {
	p := open(t)
	p.put(2, rich)
	for n, want := range map[int][2]string{3: {"image/png", "inline"}, 4: {"application/octet-stream", "attachment"}} {
		r := p.ask("GET", fmt.Sprintf("/api/dev/messages/%s/parts/%d", id(2), n))
		if r.Header.Get("Content-Type") != want[0] || !strings.HasPrefix(r.Header.Get("Content-Disposition"), want[1]) ||
			!strings.Contains(r.Header.Get("Content-Security-Policy"), "sandbox") || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("part %d: %v", n, r.Header)
		}
	}
	if r := p.ask("GET", "/api/dev/messages/latest/parts/4"); strings.ContainsAny(r.Header.Get("Content-Disposition"), "/\n") {
		t.Error(r.Header)
	}
	if r := p.ask("GET", "/api/dev/messages/latest/parts/99"); r.StatusCode != 404 {
		t.Error(r.Status)
	}
}

// Others' messages, sound and broken: every view of every one is a page.
func TestEveryMessageHasItsPages(t *testing.T) {
	p := open(t)
	names, _ := filepath.Glob("../message/testdata/mime/*/*")
	if len(names) < 100 {
		t.Fatalf("only %d messages found", len(names))
	}
	for n, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p.put(n+1, string(raw))
		for _, tab := range []string{"html", "text", "headers", "source", "attachments", "envelope", "dialogue"} {
			got := p.get("/m/latest?fragment=message&tab=" + tab)
			if !strings.Contains(got, `class="view view-`) || strings.Contains(got, "<script") || strings.Contains(got, " onload=") {
				t.Errorf("%s, %s: %.300s", name, tab, got)
			}
		}
		var d console.Detail
		p.json("/api/dev/messages/latest", &d)
		for _, a := range d.Attachments {
			p.get(fmt.Sprintf("/api/dev/messages/latest/parts/%d", a.Part))
		}
	}
	p.get("/")
}

// ux finding 4: a dev catcher is an attack surface.
func TestGuard(t *testing.T) {
	p := open(t)
	p.put(1, plain)
	one := "/api/dev/messages/" + id(1).String()
	for _, c := range []struct {
		name, method, target string
		header               []string
		want                 int
	}{
		{"this machine", "GET", "/", []string{"Host", "localhost:8025"}, 200},
		{"by number", "GET", "/", []string{"Host", "127.0.0.1:8025"}, 200},
		{"by number, IPv6", "GET", "/", []string{"Host", "[::1]:8025"}, 200},
		{"a name under localhost", "GET", "/", []string{"Host", "mail.localhost"}, 200},
		{"DNS rebinding", "GET", "/", []string{"Host", "evil.example"}, 421},
		{"DNS rebinding, dressed up", "GET", "/", []string{"Host", "localhost.evil.example:8025"}, 421},
		{"an address that is not loopback", "GET", "/", []string{"Host", "192.0.2.1:8025"}, 421},
		{"no name", "GET", "/livez", []string{"Host", ""}, 421},
		{"curl deletes", "DELETE", one, nil, 200},
		{"our page posts", "POST", "/clear", []string{"Origin", "http://localhost:8025", "Sec-Fetch-Site", "same-origin"}, 303},
		{"another site posts", "POST", "/clear", []string{"Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		{"another port posts", "POST", "/clear", []string{"Origin", "http://localhost:3000"}, 403},
		{"a mail's frame posts", "POST", "/clear", []string{"Origin", "null"}, 403},
		{"another site deletes", "DELETE", "/api/dev/messages", []string{"Origin", "http://evil.example"}, 403},
		{"another site listens", "GET", "/api/dev/events", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"}, 403},
		{"another site frames", "GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		{"a link from another site", "GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{"a mail's frame shows its image", "GET", one + "/parts/0", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, 404},
		{"a method that is none", "PUT", "/api/dev/messages", nil, 405},
		{"a path upwards", "GET", "/static/..%2fconsole.go", nil, 400},
	} {
		r := p.ask(c.method, c.target, c.header...)
		if r.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", c.name, r.Status, c.want)
		}
		if r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Content-Security-Policy") == "" || r.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", c.name, r.Header)
		}
	}
}

func TestKnownHostIsConfigurable(t *testing.T) {
	s, err := catch.Open(catch.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := &page{t, s, console.New(console.Config{Hosts: []string{"mail.lan"}}, console.Needs{Store: s, Ready: func() error { return errors.New("no ports yet") }})}
	if r := p.ask("GET", "/livez", "Host", "MAIL.lan:80"); r.StatusCode != 200 {
		t.Error(r.Status)
	}
	if r := p.ask("GET", "/readyz"); r.StatusCode != 503 {
		t.Error(r.Status)
	}
	if r := p.ask("GET", "/ca.pem"); r.StatusCode != 404 {
		t.Error(r.Status)
	}
}

func (p *page) json(target string, v any) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(p.get(target)), v); err != nil {
		p.t.Fatal(target, err)
	}
}

func TestAPI(t *testing.T) {
	p := open(t)
	p.put(1, plain)
	p.put(2, rich, "you@example.com", "hidden@example.com")
	p.put(3, plain, "other@example.com")

	var list struct {
		Total    int
		Next     uint64
		Messages []console.Summary
	}
	p.json("/api/dev/messages?limit=2", &list)
	if list.Total != 3 || len(list.Messages) != 2 || list.Messages[0].ID != id(3) || list.Next == 0 {
		t.Errorf("%+v", list)
	}
	p.json(fmt.Sprintf("/api/dev/messages?before=%d", list.Next), &list)
	if len(list.Messages) != 1 || list.Messages[0].ID != id(1) {
		t.Errorf("%+v", list)
	}
	list.Messages = nil
	p.json("/api/dev/messages?after="+id(2).String(), &list)
	if len(list.Messages) != 1 || list.Messages[0].ID != id(3) {
		t.Errorf("%+v", list)
	}

	var d console.Detail
	p.json("/api/dev/messages/latest?q=rcpt:you@example.com", &d)
	if d.ID != id(2) || d.Port != "1587" || d.Like != 587 || d.TLS != "TLS 1.3" || d.User != "app" || d.MailFrom != "me@example.com" ||
		fmt.Sprint(d.RcptTo) != "[you@example.com hidden@example.com]" || d.Envelope.TLS.Cipher == "" ||
		fmt.Sprint(d.Links) != "[https://example.com/verify]" || len(d.Attachments) != 2 || d.Attachments[0].FileName != `ev"il.html` || !strings.Contains(d.HTML, "<script>") {
		t.Errorf("%+v", d)
	}
	p.json("/api/dev/messages/"+id(1).String(), &d)
	if fmt.Sprint(d.Codes) != "[123456]" || fmt.Sprint(d.Links) != "[https://example.com/reset?t=1]" {
		t.Errorf("%q %q", d.Codes, d.Links)
	}
	if got := p.get("/api/dev/messages/latest/raw"); got != strings.ReplaceAll(plain, "\n", "\r\n") {
		t.Errorf("%q", got)
	}
	if got := p.get("/api/dev/messages/latest/text"); !strings.HasPrefix(got, "Your code") {
		t.Errorf("%q", got)
	}
	if r := p.ask("DELETE", "/api/dev/messages?q=rcpt:other"); r.StatusCode != 200 || p.store.Stat().Messages != 2 {
		t.Error(r.Status)
	}
	if r := p.ask("GET", "/api/dev/messages/"+id(3).String()); r.StatusCode != 404 {
		t.Error(r.Status)
	}
}

func TestCodes(t *testing.T) {
	p := open(t)
	for n, c := range []struct{ text, want string }{
		{"Your code: 1234", "[1234]"}, {"code 123-456.", "[123456]"}, {"use 987 654 now", "[987654]"},
		{"on 2026-11-23 you paid 1234.56 for #12345 at http://x/1234?c=5678", "[]"},
		{"123456789 is too long, 12 too short", "[]"}, {"4711\n4711", "[4711]"},
	} {
		p.put(n+1, "From: a@b\nSubject: x\n\n"+c.text+"\n")
		var d console.Detail
		p.json("/api/dev/messages/latest", &d)
		if got := fmt.Sprint(d.Codes); got != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
}

func TestWait(t *testing.T) {
	p := open(t)
	p.put(1, plain)
	if r := p.ask("GET", "/api/dev/wait?mailbox=app"); r.StatusCode != 200 {
		t.Error(r.Status)
	}
	if r := p.ask("GET", "/api/dev/wait?timeout=0s&after="+id(1).String()); r.StatusCode != 204 {
		t.Error(r.Status)
	}
	r := p.ask("GET", "/api/dev/wait?timeout=0s&mailbox=other&explain=1")
	b, _ := io.ReadAll(r.Body)
	if r.StatusCode != 408 || !strings.Contains(string(b), `1 arrived in all`) || !strings.Contains(string(b), id(1).String()) {
		t.Errorf("%s %s", r.Status, b)
	}
	if r := p.ask("GET", "/api/dev/wait?timeout=soon"); r.StatusCode != 400 {
		t.Error(r.Status)
	}
	for _, wrong := range []string{"count=101", "count=0", "count=two", "after=latest"} { // each would be a yes that is not true
		if r := p.ask("GET", "/api/dev/wait?timeout=0s&"+wrong); r.StatusCode != 400 {
			t.Error(wrong, r.Status)
		}
	}
	done := make(chan string)
	go func() {
		r := p.ask("GET", "/api/dev/wait?timeout=20s&after="+id(1).String())
		b, _ := io.ReadAll(r.Body)
		done <- string(b)
	}()
	p.put(2, plain)
	if got := <-done; !strings.Contains(got, id(2).String()) {
		t.Error(got)
	}
}

// Events come as they happen, and who comes back is sent what was missed.
func TestEvents(t *testing.T) {
	p := open(t)
	server := httptest.NewServer(p.h)
	defer server.Close()
	listen := func(last string) (next func() string, end func()) {
		ctx, cancel := context.WithCancel(context.Background())
		r, _ := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/dev/events", nil)
		if last != "" {
			r.Header.Set("Last-Event-ID", last)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		events := make(chan string)
		go func() {
			defer close(events)
			var buf strings.Builder
			b := make([]byte, 1)
			for {
				if _, err := res.Body.Read(b); err != nil {
					return
				}
				buf.Write(b)
				if strings.HasSuffix(buf.String(), "\n\n") {
					select {
					case events <- buf.String():
					case <-ctx.Done():
						return
					}
					buf.Reset()
				}
			}
		}()
		return func() string { return <-events }, func() { cancel(); res.Body.Close() }
	}
	p.put(1, plain)
	next, end := listen("")
	if got := next(); !strings.HasPrefix(got, "id: 1\nevent: hello\n") {
		t.Errorf("%q", got)
	}
	p.put(2, plain)
	if got := next(); !strings.HasPrefix(got, "id: 2\nevent: caught\n") || !strings.Contains(got, `"subject":"hello"`) {
		t.Errorf("%q", got)
	}
	p.store.Delete(id(1))
	if got := next(); !strings.Contains(got, "event: deleted") || !strings.Contains(got, id(1).String()) {
		t.Errorf("%q", got)
	}
	p.store.Emit(event.CommandRefused{Origin: mail.Origin{Session: "S"}, Command: "AUTH", Reply: smtp.NotDone, Advice: "Use 1587."})
	if got := next(); !strings.Contains(got, "event: failed") || !strings.Contains(got, "Use 1587.") {
		t.Errorf("%q", got)
	}
	end()
	p.put(3, plain)
	p.put(4, plain)
	next, end = listen("2")
	defer end()
	next() // hello
	if a, b := next(), next(); !strings.HasPrefix(a, "id: 3\n") || !strings.HasPrefix(b, "id: 4\n") {
		t.Errorf("%q %q", a, b)
	}
	if got := p.get("/sessions"); !strings.Contains(got, "Use 1587.") || !strings.Contains(got, "What to change") {
		t.Error(got)
	}
}
