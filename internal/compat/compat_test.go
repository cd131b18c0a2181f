package compat

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/mail"
	"paquebot/internal/mishap"
)

var update = flag.Bool("update", false, "rewrite what is expected")

func open(t testing.TB, c Config, n Needs) *API {
	t.Helper()
	if n.Store == nil {
		s, err := catch.Open(catch.Config{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		n.Store = s
	}
	next := 100
	if n.IDs == nil {
		n.IDs = func() mail.ID { next++; return id(next) }
	}
	return New(c, n)
}

func id(n int) mail.ID { return mail.ID{0, 0, 0, 0, 0, 0, 0, 0, byte(n >> 8), byte(n)} }

// put catches a message as SMTP would bring it.
func put(t testing.TB, a *API, n int, user, from string, raw []byte, to ...string) {
	t.Helper()
	env := &mail.Envelope{ID: id(n), Arrived: time.Now(), From: from, Origin: mail.Origin{
		Session: "s" + strconv.Itoa(n), Role: mail.RoleSubmission, Listener: ":1587", Account: user, Helo: "app.example.com",
		Client: netip.MustParseAddrPort("127.0.0.1:40000"), Local: netip.MustParseAddrPort("127.0.0.1:1587"), TLS: &mail.TLS{Version: "TLS 1.3"},
	}}
	for _, r := range to {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: r})
	}
	if err := a.needs.Store.Catch(context.Background(), env, env.Recipients, mail.Bytes(raw)); err != nil {
		t.Fatal(err)
	}
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func simple(subject string) []byte {
	return []byte("From: a@example.com\r\nTo: b@example.com\r\nSubject: " + subject + "\r\n\r\nhello\r\n")
}

func mux(a *API) http.Handler {
	m := http.NewServeMux()
	for pattern, h := range a.Handlers() {
		m.HandleFunc(pattern, h)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, max(1000, a.BodyMax(r)))
		m.ServeHTTP(w, r)
	})
}

func ask1(t testing.TB, a *API, method, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Accept", "*/*")
	w := httptest.NewRecorder()
	mux(a).ServeHTTP(w, r)
	return w
}

// The transcripts in testdata/*.txt are requests, one a line, a body after it;
// below "----" stands the answer. -update writes it.
func TestAnswers(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) < 4 {
		t.Fatal("transcripts are missing")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { transcript(t, file) })
		})
	}
}

func transcript(t *testing.T, file string) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	room := mishap.New(mishap.Config{})
	a := open(t, Config{Version: "1.2.3", Database: "/tmp/mail", MailHog: strings.Contains(file, "mailhog-only")}, Needs{Mishaps: OverMishap(room)})
	put(t, a, 1, "", "root@server.example", sample(t, "plain.eml"), "ops+disk@example.org")
	time.Sleep(time.Second)
	put(t, a, 2, "shop", "bounces@example.com", sample(t, "order.eml"), "anna@example.org", "paul@example.org", "carl@example.org", "hidden@example.org")
	time.Sleep(time.Second)
	var out strings.Builder
	for block := range strings.SplitSeq(string(b), "\n\n====\n\n") {
		request, _, _ := strings.Cut(block, "\n----\n")
		var comment string
		for strings.HasPrefix(request, "#") {
			line, rest, _ := strings.Cut(request, "\n")
			comment, request = comment+line+"\n", rest
		}
		line, body, _ := strings.Cut(strings.TrimSpace(request), "\n")
		method, target, _ := strings.Cut(line, " ")
		if out.Len() > 0 {
			out.WriteString("\n\n====\n\n")
		}
		out.WriteString(comment + strings.TrimSpace(request) + "\n----\n" + show(ask1(t, a, method, target, body)))
		time.Sleep(time.Second)
	}
	got := strings.TrimRight(out.String(), "\n") + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := string(b); got != want {
		g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
		for i := range min(len(g), len(w)) {
			if g[i] != w[i] {
				t.Fatalf("line %d:\n got %s\nwant %s", i+1, g[i], w[i])
			}
		}
		t.Fatalf("%d lines, want %d", len(g), len(w))
	}
}

// show is an answer as people compare it: JSON indented, octets counted.
func show(w *httptest.ResponseRecorder) string {
	out := strconv.Itoa(w.Code) + " " + w.Header().Get("Content-Type") + "\n"
	for _, name := range []string{"Location", "Content-Disposition"} {
		if v := w.Header().Get(name); v != "" {
			out += name + ": " + v + "\n"
		}
	}
	body := w.Body.Bytes()
	var pretty bytes.Buffer
	switch kind := w.Header().Get("Content-Type"); {
	case len(body) == 0:
	case strings.Contains(kind, "json") && json.Indent(&pretty, body, "", "  ") == nil:
		out += pretty.String()
	case strings.HasPrefix(kind, "text/") || kind == "message/rfc822":
		out += strings.ReplaceAll(string(body), "\r\n", "\n")
	default:
		out += strconv.Itoa(len(body)) + " octets"
	}
	return strings.TrimRight(out, "\n")
}

func TestEveryRouteIsDescribed(t *testing.T) {
	a := open(t, Config{}, Needs{})
	w := ask1(t, a, "GET", "/api/v1/swagger.json", "")
	var doc struct {
		Paths map[string]map[string]any
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, methods := range doc.Paths {
		told += len(methods)
	}
	for pattern := range a.Handlers() {
		method, path, _ := strings.Cut(pattern, " ")
		if method == "OPTIONS" {
			told++
			continue
		}
		if doc.Paths[path][strings.ToLower(method)] == nil {
			t.Errorf("%s is not described", pattern)
		}
	}
	if told != len(a.Handlers()) {
		t.Errorf("%d operations described, %d routes", told, len(a.Handlers()))
	}
}

func TestBodiesAreBounded(t *testing.T) {
	a := open(t, Config{MessageSize: 1 << 20}, Needs{})
	big := `{"IDs":["` + strings.Repeat("x", bodyMax) + `"]}`
	for _, row := range []struct {
		method, path string
		status       int
	}{{"PUT", "/api/v1/messages", 400}, {"PUT", "/api/v1/tags", 400}} {
		if w := ask1(t, a, row.method, row.path, big); w.Code != row.status {
			t.Errorf("%s %s: %d", row.method, row.path, w.Code)
		}
	}
	send := `{"From":{"Email":"a@b.example"},"To":[{"Email":"c@d.example"}],"Text":"` + strings.Repeat("x", 8<<20) + `"}`
	if w := ask1(t, a, "POST", "/api/v1/send", send); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("send: %d %s", w.Code, w.Body)
	}
	if got := a.BodyMax(httptest.NewRequest("GET", "/m/1", nil)); got != 0 { // the page keeps its own bound
		t.Errorf("a page's request may have %d octets", got)
	}
}

// A delete that goes wrong because of its body would be everybody's loss, but
// both MailHog and Mailpit take no body, or one without IDs, for "all".
func TestDeleteAnswersAsItsClientsExpect(t *testing.T) {
	a := open(t, Config{}, Needs{})
	r := httptest.NewRequest("DELETE", "/api/v1/messages", nil) // npm mailhog says no Accept, and parses what comes as JSON
	w := httptest.NewRecorder()
	mux(a).ServeHTTP(w, r)
	if w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := ask1(t, a, "DELETE", "/api/v1/messages", ""); w.Body.String() != "ok" {
		t.Errorf("%q", w.Body)
	}
}

func TestMailboxesStayApart(t *testing.T) {
	a := open(t, Config{}, Needs{})
	put(t, a, 1, "one", "a@example.com", simple("first"), "b@example.com")
	put(t, a, 2, "two", "a@example.com", simple("second"), "b@example.com")
	for _, path := range []string{"/api/v1/messages?mailbox=one", "/api/v1/search?query=tag:one", "/api/v1/search?mailbox=one&query=hello", "/api/v2/messages?mailbox=one", "/api/v2/search?kind=to&query=b@&mailbox=one"} {
		body := ask1(t, a, "GET", path, "").Body.String()
		if !strings.Contains(body, "first") || strings.Contains(body, "second") {
			t.Errorf("%s: %s", path, body)
		}
	}
	if w := ask1(t, a, "PUT", "/api/v1/messages?mailbox=two", `{"Read":true}`); w.Code != 200 || a.needs.Store.Unread() != 1 {
		t.Errorf("%d, %d unread", w.Code, a.needs.Store.Unread())
	}
	ask1(t, a, "PUT", "/api/v1/messages?mailbox=nobody", `{"Read":true}`)
	if a.needs.Store.Unread() != 1 {
		t.Error("an empty mailbox marked everybody's mail")
	}
	ask1(t, a, "DELETE", "/api/v1/messages?mailbox=one", "")
	if left := a.needs.Store.Newest(0, -1); len(left) != 1 || left[0].Mailbox != "two" {
		t.Errorf("%+v", left)
	}
}

func TestCaughtAgainShowsMoreRecipients(t *testing.T) {
	a := open(t, Config{}, Needs{})
	put(t, a, 1, "", "a@example.com", simple("x"), "b@example.com")
	ask1(t, a, "GET", "/api/v1/messages", "") // known now
	put(t, a, 1, "", "a@example.com", simple("x"), "late@example.com")
	if body := ask1(t, a, "GET", "/api/v1/messages", "").Body.String(); !strings.Contains(body, "late@example.com") {
		t.Error(body)
	}
}

func TestDigestsAreBounded(t *testing.T) {
	c := digests{kept: map[mail.ID]*digest{}}
	for n := range 100 {
		c.put(id(n), &digest{words: strings.Repeat("x", 1<<20)})
		if c.bytes > digestsBytes {
			t.Fatalf("%d octets after %d", c.bytes, n)
		}
	}
	if len(c.kept) < 20 {
		t.Errorf("only %d kept", len(c.kept))
	}
}
