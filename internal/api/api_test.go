package api

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/accounts"
	"paquebot/internal/config"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/observe"
	"paquebot/internal/smtp"
	"paquebot/internal/store"
)

var update = flag.Bool("update", false, "rewrite goldens and the reference page")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s is not current (run with -update and review)\n%s", file, got)
	}
}

var testID = mail.ID{1, 0x93, 0x5a, 0x10, 0x20, 0x30, 4, 5, 6, 7}

var arrived = time.Date(2026, 11, 23, 14, 2, 7, 0, time.UTC)

func testEnvelope() *mail.Envelope {
	return &mail.Envelope{
		ID: testID, Arrived: arrived, From: "anna@example.org", Size: 312, Subject: "Hello", MessageID: "1@example.org",
		Origin: mail.Origin{Role: mail.RoleSubmission, Listener: ":587", TLS: &mail.TLS{Version: "TLS 1.3"}, Account: "app-7"},
		Recipients: []mail.Recipient{
			{Address: "paul@corp.example", Standing: mail.Standing{
				State: mail.Waiting, Due: arrived.Add(5 * time.Minute), Tries: 1, Site: "corp.example",
				Last: mail.Outcome{Result: mail.Deferred, Reply: smtp.Reply{Code: 450, Enhanced: smtp.Enhanced{Class: 4, Subject: 7, Detail: 1}, Text: "Greylisted"}, Stage: mail.StageRcpt, At: arrived.Add(time.Second)},
			}},
			{Address: "vera@corp.example", Standing: mail.Standing{State: mail.Delivered}},
		},
	}
}

type spoolFake struct{}

func (spoolFake) Envelope(_ context.Context, id mail.ID) (*mail.Envelope, error) {
	if id != testID {
		return nil, fmt.Errorf("spool: %w", mail.ErrNotFound)
	}
	return testEnvelope(), nil
}

func (s spoolFake) Open(ctx context.Context, id mail.ID) (*mail.Envelope, mail.Body, error) {
	e, err := s.Envelope(ctx, id)
	return e, mail.Bytes("Subject: Hello\r\n\r\nIt works.\r\n"), err
}

func (spoolFake) Stat() SpoolStat { return SpoolStat{Messages: 1} }

type historyFake struct{}

func (historyFake) Of(id mail.ID) ([]observe.Entry, error) {
	if id != testID && id != (mail.ID{9}) {
		return nil, nil
	}
	return []observe.Entry{
		{Time: arrived, Type: "message.routed", Facts: json.RawMessage(`{"site":"corp.example"}`)},
		{Time: arrived.Add(time.Millisecond), Type: "message.accepted", Facts: json.RawMessage(`{"sender":"<>","recipients":["paul@corp.example"],"listener":":587","size_bytes":312}`)},
		{Time: arrived.Add(time.Second), Type: "recipient.settled", Facts: json.RawMessage(`{"recipient":"paul@corp.example","state":"delivered","tries":1}`)},
		{Time: arrived.Add(time.Second), Type: "recipient.settled", Facts: json.RawMessage(`{"recipient":"team@corp.example","state":"failed","tries":1}`)},
	}, nil
}

func (historyFake) Find(name string) (mail.ID, bool, error) {
	return testID, name == "0102-000000@eu-west-1.amazonses.com", nil
}

type queueFake struct{ acted []Action }

func (*queueFake) Summary(context.Context) (QueueSummary, error) {
	return QueueSummary{Time: arrived, Total: 3, Waiting: 3, Sites: []SiteView{{Site: "b.example", Waiting: 1}, {Site: "a.example", Waiting: 2}}}, nil
}

func (*queueFake) List(_ context.Context, f Filter, after mail.ID) iter.Seq2[Envelope, error] {
	return func(yield func(Envelope, error) bool) {
		for i := after[0] + 1; i < 10; i++ {
			e := testEnvelope()
			e.ID = mail.ID{i}
			if !yield(View(e), nil) {
				return
			}
		}
	}
}

func (q *queueFake) Act(_ context.Context, a Action) (ActionResult, error) {
	q.acted = append(q.acted, a)
	return ActionResult{Messages: 2, Recipients: 3}, nil
}

func (*queueFake) Rules(context.Context) ([]Rule, error)         { return nil, nil }
func (*queueFake) EndRule(context.Context, string, string) error { return ErrNotFound }

func testServer(t *testing.T) (*Server, *queueFake) {
	t.Helper()
	db, err := store.Open(vfs.NewMem(), "t", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	a, err := accounts.Open(accounts.Config{Accounts: []accounts.Declared{{Name: "declared"}}}, accounts.Needs{Accounts: db.Table("accounts"), Events: event.Discard})
	if err != nil {
		t.Fatal(err)
	}
	q := &queueFake{}
	return New(Needs{
		Queue: q, Accounts: a, Spool: spoolFake{}, History: historyFake{},
		Status: func(context.Context) Status { return Status{Version: "test", Started: arrived} },
		Reload: func(context.Context) ReloadResult {
			return ReloadResult{Problems: []config.Problem{{Severity: config.Error, Message: "unknown key", Line: 3}}}
		},
	}), q
}

// Requests and answers as they go over the wire; the file is the contract.
func TestWire(t *testing.T) {
	s, _ := testServer(t)
	id := testID.String()
	var b strings.Builder
	for _, line := range []string{
		"GET /v1/status",
		"POST /v1/reload",
		"GET /v1/spool",
		"GET /v1/queue/summary",
		"GET /v1/queue/messages?limit=1&site=corp.example",
		"GET /v1/queue/messages?limit=0",
		"GET /v1/queue/messages?sight=x",
		"GET /v1/queue/messages/" + id,
		"GET /v1/queue/messages/" + id + "/raw",
		"GET /v1/queue/messages/AAAAAAAAAAAAAAAA",
		"GET /v1/queue/messages/AAAAAAAAAAAAAAAA/raw",
		"GET /v1/queue/messages/x",
		`POST /v1/queue/actions {"action":"hold","filter":{"site":"a.example"},"seconds":60}`,
		`POST /v1/queue/actions {"action":"delete","filter":{}}`,
		`POST /v1/queue/actions {"action":"delete","filter":{"all":true},"dry_run":true}`,
		`POST /v1/queue/actions {"action":"explode","filter":{"all":true}}`,
		`POST /v1/queue/actions {"action":"retry","filter":{"all":true},"seconds":5}`,
		`POST /v1/queue/actions {"action":"hold","filter":{"sight":"x"}}`,
		`POST /v1/queue/actions {"action":`,
		"GET /v1/queue/rules",
		"DELETE /v1/queue/rules/x",
		"GET /v1/messages/" + id + "/trace",
		"GET /v1/messages/" + mail.ID{9}.String() + "/trace",
		"GET /v1/messages/AAAAAAAAAAAAAAAA/trace",
		"GET /v1/accounts",
		`POST /v1/accounts {"name":"anna@example.org","password":"hunter22"}`,
		`POST /v1/accounts {"name":"anna@example.org"}`,
		`POST /v1/accounts {"name":"a b"}`,
		`PUT /v1/accounts/anna@example.org/senders ["*@example.org"]`,
		`POST /v1/accounts/anna@example.org/password {"password":"hunter33"}`,
		`POST /v1/accounts/anna@example.org/disable {"why":"leaked"}`,
		"POST /v1/accounts/anna@example.org/enable",
		"DELETE /v1/accounts/anna@example.org/tokens/x",
		"POST /v1/accounts/declared/disable",
		"DELETE /v1/accounts/anna@example.org",
		"GET /v1/accounts/anna@example.org",
		"GET /v1/nothing",
		"PATCH /v1/accounts",
	} {
		method, rest, _ := strings.Cut(line, " ")
		path, body, _ := strings.Cut(rest, " ")
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		fmt.Fprintf(&b, "> %s\n%d %s\n", line, w.Code, strings.TrimSpace(w.Body.String()))
	}
	golden(t, "testdata/wire.txt", strings.ReplaceAll(b.String(), "\r", ""))
}

// A secret is in the answer that made it and nowhere else.
func TestSecretsAreShownOnce(t *testing.T) {
	s, _ := testServer(t)
	c := NewClient(inProcess{s.Handler()})
	ctx := context.Background()
	made, err := c.AddAccount(ctx, NewAccount{Name: "app"})
	if err != nil || made.Secret == "" {
		t.Fatal(made, err)
	}
	token, err := c.MakeToken(ctx, "app", NewToken{Name: "x"})
	if err != nil || token.Secret == "" || token.Secret == made.Secret {
		t.Fatal(token, err)
	}
	all, err := c.Accounts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(all)
	for _, no := range []string{made.Secret, token.Secret, "argon2", "SCRAM-SHA-256$", "hash"} {
		if strings.Contains(string(text), no) {
			t.Errorf("%s is shown: %s", no, text)
		}
	}
}

// inProcess is a transport without a network.
type inProcess struct{ h http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	p.h.ServeHTTP(w, r)
	return w.Result(), nil
}

// The client has a method for each route, and they understand each other.
func TestClient(t *testing.T) {
	s, q := testServer(t)
	c := NewClient(inProcess{s.Handler()})
	ctx := context.Background()
	id := testID.String()
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := c.Status(ctx)
	check("status", err)
	r, err := c.Reload(ctx)
	check("reload", err)
	if r.InForce || len(r.Problems) != 1 {
		t.Errorf("%+v", r)
	}
	_, err = c.SpoolStat(ctx)
	check("spool", err)
	sum, err := c.QueueSummary(ctx)
	check("summary", err)
	if sum.Sites[0].Site != "a.example" {
		t.Error("the site with most mail comes first")
	}
	var seen []string
	for after := ""; ; {
		page, err := c.QueueList(ctx, Filter{OlderThanSeconds: 1.5, State: "held"}, after, 4)
		check("list", err)
		for _, m := range page.Messages {
			seen = append(seen, m.ID.String())
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if len(seen) != 9 {
		t.Errorf("%d of 9 listed", len(seen))
	}
	_, err = c.Act(ctx, Action{Action: Bounce, Filter: Filter{ID: testID}})
	check("act", err)
	if !reflect.DeepEqual(q.acted[0].Filter, Filter{ID: testID}) {
		t.Errorf("%+v", q.acted[0])
	}
	raw, err := c.Raw(ctx, id)
	check("raw", err)
	text, _ := io.ReadAll(raw)
	if !strings.Contains(string(text), "It works.") {
		t.Errorf("%q", text)
	}
	if _, err := c.Raw(ctx, "AAAAAAAAAAAAAAAA"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := c.EndRule(ctx, "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := c.Account(ctx, "nobody/x y"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// short gives a folder whose socket fits into an address.
func short(t *testing.T) string {
	dir, err := os.MkdirTemp("", "pq")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestSocket(t *testing.T) {
	for name, dir := range map[string]string{"short": short(t), "deep": filepath.Join(short(t), strings.Repeat("d", 100))} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			if _, err := Dial(ctx, dir); !errors.Is(err, ErrNotRunning) {
				t.Errorf("before: %v", err)
			}
			l, err := Listen(dir)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(filepath.Join(dir, SocketName))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v %v", info.Mode(), err)
			}
			if _, err := Listen(dir); !errors.Is(err, ErrRunning) {
				t.Errorf("a second server: %v", err)
			}
			s, q := testServer(t)
			done := make(chan error, 1)
			go func() { done <- s.Serve(l) }()
			c, err := Dial(ctx, dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Act(ctx, Action{Action: Retry, Filter: Filter{All: true}}); err != nil {
				t.Error(err)
			}
			if by := q.acted[0].By; by != UserName(os.Geteuid()) {
				t.Errorf("the audit says %q", by)
			}
			if err := s.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if _, err := Dial(ctx, dir); !errors.Is(err, ErrNotRunning) {
				t.Errorf("after: %v", err)
			}
		})
	}
}

// A server that was killed leaves its socket; the next one replaces it.
func TestStaleSocketIsReplaced(t *testing.T) {
	dir := short(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, SocketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

// Plain words come from a table; its rows are its specification.
func TestPlainWords(t *testing.T) {
	var b strings.Builder
	for _, c := range []struct {
		stage string
		ours  bool
		reply string
	}{
		{"rcpt", false, "550 5.1.1 <x@y.example> User unknown"},
		{"rcpt", false, "550 No such user here, user unknown"},
		{"rcpt", false, "450 4.7.1 Greylisted, come back in 5 minutes"},
		{"rcpt", false, "451 4.7.1 Please try again later"},
		{"mail", false, "421 4.7.0 [TSS04] Messages from 192.0.2.10 temporarily deferred"},
		{"mail", false, "421 4.7.28 Our system has detected an unusual rate of mail"},
		{"greeting", false, "554 5.7.1 blocked using zen.spamhaus.org"},
		{"dot", false, "552 5.2.2 Mailbox full"},
		{"dot", false, "552 5.3.4 Message too big"},
		{"dot", false, "550 5.7.26 Unauthenticated email"},
		{"dot", false, "554 5.6.0 bad content"},
		{"mail", false, "451 4.7.500 Server busy"},
		{"connect", true, "451 4.4.1 No answer from host"},
		{"starttls", true, "451 4.7.5 certificate does not fit"},
		{"auth", false, "535 5.7.8 Authentication failed"},
		{"route", true, "550 5.1.2 Domain does not exist"},
		{"route", true, "550 5.1.10 Domain takes no mail"},
		{"route", true, "451 4.4.3 DNS failure"},
		{"data", false, "451 weird"},
		{"data", false, "554 weird"},
		{"data", false, "250 2.0.0 Ok"},
		{"data", false, "nonsense"},
	} {
		fmt.Fprintf(&b, "%-9s %-60s %s\n", c.stage, c.reply, PlainText(c.reply, c.stage, c.ours))
	}
	golden(t, "testdata/plain.txt", b.String())
}

func TestPaceForgetsAfterAMinute(t *testing.T) {
	p := NewPace()
	now := time.Now()
	for range 7 {
		p.Emit(event.RecipientSettled{Standing: mail.Standing{State: mail.Delivered}})
	}
	p.Emit(event.RecipientSettled{Standing: mail.Standing{State: mail.Waiting}})
	if n := p.leaving(now.Add(time.Second)); n != 7 {
		t.Errorf("%v", n)
	}
	if n := p.leaving(now.Add(2 * time.Minute)); n != 0 {
		t.Errorf("%v", n)
	}
	for i := range wordsMax + 10 {
		p.Emit(event.DeliveryTried{Site: fmt.Sprint(i), Outcome: mail.Outcome{Stage: mail.StageDot}})
	}
	if len(p.words) > wordsMax {
		t.Errorf("%d sites remembered", len(p.words))
	}
	var none *Pace
	if _, ok := none.last("x"); ok || none.leaving(now) != 0 || none.stray() != 0 {
		t.Error("a nil Pace knows something")
	}
}

func TestReferencePageIsCurrent(t *testing.T) {
	golden(t, "../../docs/reference/api.md", Reference())
}
