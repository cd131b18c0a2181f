package console_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"paquebot/internal/catch"
	"paquebot/internal/console"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/message"
	"paquebot/internal/mishap"
	"paquebot/internal/smtp"
)

// openWith is open with needs beyond the store.
func openWith(t *testing.T, c console.Config, n console.Needs) *page {
	t.Helper()
	p := open(t)
	n.Store, n.Ports = p.store, ports
	p.h = console.New(c, n)
	return p
}

// submit sends a form as our own page does.
func (p *page) submit(target string, form url.Values) *http.Response {
	p.t.Helper()
	return p.askWith("POST", target, strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded", "Origin", "http://localhost:8025", "Sec-Fetch-Site", "same-origin")
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sentOut is a way out that remembers.
type sentOut struct {
	via string
	to  []string
	err error
}

func (s *sentOut) Routes() []console.Route {
	return []console.Route{{Name: "ses", What: "mail.example"}}
}

func (s *sentOut) Send(_ context.Context, _ mail.ID, via string, to []string) (mail.ID, error) {
	s.via, s.to = via, to
	return id(77), s.err
}

// Nothing leaves but to those who were named.
func TestRelease(t *testing.T) {
	out := &sentOut{}
	p := openWith(t, console.Config{}, console.Needs{Release: out})
	p.put(1, plain, "you@example.com", "other@example.com")
	at := "/m/" + id(1).String() + "/release"
	if got := p.get(at); !strings.Contains(got, "mail.example") || strings.Contains(got, `value="you@example.com" checked`) {
		t.Error("the form lacks its route, or somebody is ticked beforehand")
	}
	for _, c := range []struct {
		name   string
		form   url.Values
		status int
		to     string
	}{
		{"nobody", url.Values{"via": {"ses"}}, 422, ""},
		{"not an address", url.Values{"via": {"ses"}, "other": {"you"}}, 422, ""},
		{"one of them", url.Values{"via": {"ses"}, "to": {"you@example.com"}}, 200, "you@example.com"},
		{"somebody else as well", url.Values{"via": {"ses"}, "to": {"you@example.com"}, "other": {"me@example.org, Eve <eve@example.org>"}}, 200, "you@example.com me@example.org eve@example.org"},
		{"too many", url.Values{"via": {"ses"}, "other": {strings.Repeat("a@example.org,", 51) + "b@example.org"}}, 422, ""},
	} {
		*out = sentOut{}
		r := p.submit(at+"?fragment=form", c.form)
		body := text(t, r)
		if r.StatusCode != c.status || strings.Join(out.to, " ") != c.to {
			t.Errorf("%s: %s, to %q: %s", c.name, r.Status, out.to, body)
		}
		if c.status == 200 && (out.via != "ses" || !strings.Contains(body, id(77).String())) {
			t.Errorf("%s: via %q: %s", c.name, out.via, body)
		}
	}
	out.err = errors.New("the spool is full")
	if got := text(t, p.submit(at, url.Values{"via": {"ses"}, "to": {"you@example.com"}})); !strings.Contains(got, "The spool is full.") {
		t.Error(got)
	}
	if r := p.ask("POST", at, "Origin", "http://evil.example"); r.StatusCode != http.StatusForbidden {
		t.Error(r.Status)
	}
	p = open(t)
	p.put(1, plain)
	if r := p.ask("GET", at); r.StatusCode != http.StatusNotFound || strings.Contains(p.get("/m/latest"), "Release") {
		t.Error("it offers what it cannot do")
	}
}

func TestReply(t *testing.T) {
	var from, raw string
	var to []string
	p := openWith(t, console.Config{}, console.Needs{Submit: func(_ context.Context, f string, rcpt []string, m []byte) (string, error) {
		from, to, raw = f, rcpt, string(m)
		return "250 2.0.0 Ok", nil
	}})
	p.put(1, "Message-ID: <one@example.com>\nReferences: <zero@example.com>\nReply-To: Desk <desk@example.com>\n"+plain)
	at := "/m/" + id(1).String() + "/reply"
	if got := p.get(at); !strings.Contains(got, "desk@example.com") || !strings.Contains(got, "Re: hello") || !strings.Contains(got, "&gt; Your code is 123456") {
		t.Error(got)
	}
	r := p.submit(at, url.Values{"from": {"you@example.com"}, "sender": {"desk@example.com"}, "subject": {"Re: h\u00e9llo\r\nBcc: evil@example.com"}, "text": {"Danke, J\u00f6rg\r\n.\r\nend"}})
	if got := text(t, r); r.StatusCode != 200 || !strings.Contains(got, "250 2.0.0 Ok") {
		t.Error(r.Status, got)
	}
	if from != "you@example.com" || strings.Join(to, " ") != "desk@example.com" {
		t.Error(from, to)
	}
	root, err := message.Parse(strings.NewReader(raw), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	h := root.Header
	if h.Get("In-Reply-To") != "<one@example.com>" || h.Get("References") != "<zero@example.com> <one@example.com>" || h.Has("Bcc") || !message.ValidMessageID(h.Get("Message-ID")) {
		t.Errorf("%s", h.Bytes())
	}
	if got := root.Contents().Plain(1000); strings.TrimSpace(got) != "Danke, J\u00f6rg\n.\nend" {
		t.Errorf("%q", got)
	}
	if r := p.submit(at, url.Values{"from": {"nobody"}, "sender": {"desk@example.com"}}); r.StatusCode != 422 {
		t.Error(r.Status)
	}
}

func TestBelowAPath(t *testing.T) {
	p := openWith(t, console.Config{BasePath: "mail/"}, console.Needs{})
	p.put(1, rich)
	list := p.get("/mail/")
	for _, want := range []string{`href="/mail/static/console.css"`, `data-base="/mail"`, `href="/mail/m/` + id(1).String()} {
		if !strings.Contains(list, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, wrong := range []string{`="/static`, `="/m/`, `="/help`, `="/sessions`} {
		if strings.Contains(list, wrong) {
			t.Errorf("the page has %s", wrong)
		}
	}
	frame := p.ask("GET", "/mail/m/"+id(1).String()+"/html")
	if policy := frame.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "http://localhost:8025/mail/api/dev/messages/"+id(1).String()+"/parts/") {
		t.Error(policy)
	}
	if got := text(t, frame); !strings.Contains(got, `src="/mail/api/dev/messages/`) {
		t.Error(got)
	}
	for target, want := range map[string]int{"/mail": 302, "/": 302, "/mail/livez": 200, "/livez": 404, "/mailbox": 404, "/mail/view/latest": 302} {
		if r := p.ask("GET", target); r.StatusCode != want {
			t.Errorf("%s: %s", target, r.Status)
		}
	}
	if at := p.ask("GET", "/mail/view/latest").Header.Get("Location"); at != "/mail/m/"+id(1).String() {
		t.Error(at)
	}
}

// ux 1.1: what failed stands beside what was caught, in the order of time.
func TestRefusedBesideCaught(t *testing.T) {
	p := open(t)
	refuse := func(session, account string) {
		p.store.Emit(event.CommandRefused{Origin: mail.Origin{Session: session, Account: account}, Command: "RCPT TO:<x@y>", Reply: smtp.Reply{Code: 550, Text: "refused " + session}})
	}
	p.put(1, plain)
	refuse("one", "app")
	p.put(2, plain)
	refuse("two", "other")
	got := p.get("/")
	order := []string{"refused two", "/m/" + id(2).String(), "refused one", "/m/" + id(1).String()}
	at := -1
	for _, want := range order {
		i := strings.Index(got, want)
		if i < at || i < 0 {
			t.Errorf("%s is not in its place", want)
		}
		at = i
	}
	if got := p.get("/?mailbox=app"); !strings.Contains(got, "refused one") || strings.Contains(got, "refused two") {
		t.Error("a mailbox shows others' refusals, or not its own")
	}
	if got := p.get("/?q=hello"); strings.Contains(got, "refused one") {
		t.Error("a search shows what it cannot have found")
	}
}

func TestReadAndSelected(t *testing.T) {
	p := open(t)
	for n := 1; n <= 3; n++ {
		p.put(n, plain)
	}
	unread := func() int { return strings.Count(p.get("/"), `class="row unread"`) }
	if n := unread(); n != 3 {
		t.Error(n)
	}
	p.get("/m/" + id(2).String())
	if n := unread(); n != 2 {
		t.Error(n, "after one was opened")
	}
	p.submit("/read?unread=1", url.Values{"id": {id(2).String()}})
	if n := unread(); n != 3 {
		t.Error(n, "after it was marked again")
	}
	p.submit("/read", url.Values{"id": {"nonsense"}})
	if n := unread(); n != 3 {
		t.Error("nobody named means nobody, not all")
	}
	if r := p.submit("/delete?q=hello", url.Values{"id": {id(1).String(), id(3).String(), "nonsense"}}); r.StatusCode != 303 || r.Header.Get("Location") != "/?q=hello" {
		t.Error(r.Status, r.Header)
	}
	if n := p.store.Stat().Messages; n != 1 {
		t.Error(n)
	}
}

func TestVerdictAndTrace(t *testing.T) {
	p := openWith(t, console.Config{}, console.Needs{
		Critique: func(context.Context, mail.ID) ([]console.Finding, error) {
			return []console.Finding{{Level: console.Warning, Title: "nobody signed <it>", Fix: "sign"}, {Level: console.Failing, Title: "a"}, {Level: console.Failing, Title: "b"}, {Level: console.Good, Title: "c"}}, nil
		},
		Trace: func(context.Context, mail.ID) ([]console.Step, error) { return nil, errors.New("history is <off>") },
	})
	p.put(1, plain)
	if got := p.get("/"); !strings.Contains(got, `class="v failing"`) || !strings.Contains(got, "✕ 2") {
		t.Error("the list lacks the verdict")
	}
	if got := p.get("/m/latest?tab=production"); !strings.Contains(got, "Nobody signed &lt;it&gt;.") || !strings.Contains(got, "What to change") {
		t.Error(got)
	}
	if got := p.get("/m/latest?tab=trace"); !strings.Contains(got, "History is &lt;off&gt;.") {
		t.Error(got)
	}
}

func TestRulesPage(t *testing.T) {
	p := openWith(t, console.Config{}, console.Needs{Mishap: mishap.New(mishap.Config{})})
	for _, c := range []struct {
		form   url.Values
		status int
		want   string
	}{
		{url.Values{"stage": {"rcpt"}, "what": {"reply"}, "reply": {"452"}, "recipient": {"*@full.example"}, "times": {"3"}}, 303, "to *@full.example"},
		{url.Values{"stage": {"dot"}, "what": {"drop"}, "user": {"app"}}, 303, "user app"},
		{url.Values{"stage": {"rcpt"}, "what": {"none"}, "delay": {"5s"}}, 303, "everybody"},
		{url.Values{"json": {`{"stage":"mail","match":{"sender":"<>"},"do":{"stall":true}}`}}, 303, "from &lt;&gt;"},
		{url.Values{"stage": {"rcpt"}, "what": {"none"}, "delay": {"soon"}}, 422, "written 5s"},
		{url.Values{"stage": {"rcpt"}, "what": {"reply"}, "reply": {"250"}}, 422, "400"},
		{url.Values{"stage": {"lunch"}, "what": {"drop"}}, 422, "lunch"},
		{url.Values{"json": {`{"stage":"rcpt","rply":"x"}`}}, 422, "rply"},
	} {
		r := p.submit("/rules", c.form)
		got := text(t, r)
		if r.StatusCode == 303 {
			got = p.get("/rules")
		}
		if r.StatusCode != c.status || !strings.Contains(got, c.want) {
			t.Errorf("%v: %s, without %q", c.form, r.Status, c.want)
		}
	}
	if got := p.get("/rules"); !strings.Contains(got, "&#43;defer-") {
		t.Error("the table of addresses is missing")
	}
	p.submit("/rules/clear", nil)
	if got := p.get("/rules"); !strings.Contains(got, "None.") {
		t.Error("rules are left")
	}
	if r := open(t).ask("GET", "/rules"); r.StatusCode != 404 {
		t.Error(r.Status)
	}
}

// The list finds what the help says can be found.
func TestGrammarIsTrue(t *testing.T) {
	p := open(t)
	p.put(1, plain)
	help := p.get("/keys")
	for q, want := range map[string]int{"from:anna": 1, "-from:anna": 0, "rcpt:you": 1, "user:app": 1, "port:1587": 1, "tls:no": 0, "body:code": 1, `"code is"`: 1, "mailbox:app": 1, "subject:hello": 1} {
		word, _, _ := strings.Cut(strings.TrimPrefix(q, "-"), ":")
		if n := p.store.List(catch.ParseQuery("", q), 0, 10).Total; n != want {
			t.Errorf("%s finds %d", q, n)
		}
		if strings.Contains(q, ":") && !strings.Contains(help, word+":") {
			t.Errorf("the help does not tell of %s:", word)
		}
	}
}
