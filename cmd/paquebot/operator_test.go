package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/accounts"
	"paquebot/internal/api"
	"paquebot/internal/config"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/observe"
	"paquebot/internal/smtp"
	"paquebot/internal/store"
)

var update = flag.Bool("update", false, "rewrite goldens")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s is not current (run with -update and review)\n%s", file, got)
	}
	for l := range strings.Lines(got) {
		if runes(strings.TrimRight(l, "\n")) > 80 && !strings.HasPrefix(l, "$") && !strings.Contains(l, "\t") && !strings.HasPrefix(strings.TrimLeft(l, " "), "\"") && !strings.Contains(l, "://") {
			t.Errorf("wider than 80: %s", l)
		}
	}
}

// testPage is a page at a fixed moment.
func testPage() *page { return &page{width: 80, now: noon, zone: time.UTC} }

var noon = time.Date(2026, 11, 23, 14, 22, 10, 0, time.UTC)

// ---- pages ----

func TestSummaryPage(t *testing.T) {
	s := api.QueueSummary{
		Total: 12473, Ready: 47, InAttempt: 46, Waiting: 12340, Held: 40, OldestSeconds: 11520, LeavingPerMinute: 214,
		Sites: []api.SiteView{
			{Site: "yahoo", InAttempt: 2, Waiting: 11902, OldestSeconds: 11520, Next: noon.Add(4 * time.Minute), Reply: "421 4.7.0 [TSS04] Messages from 192.0.2.10 temporarily deferred", Why: "they limit our rate"},
			{Site: "corp.example", Waiting: 318, OldestSeconds: 6000, Next: noon.Add(9 * time.Minute), Reply: "450 4.4.1 mx1.corp.example: timeout", Why: "cannot be reached"},
			{Site: "outlook", Ready: 4, InAttempt: 18, Waiting: 96, OldestSeconds: 360, Next: noon.Add(time.Minute), Reply: "451 4.7.500 Server busy", Why: "busy"},
			{Site: "gmail", Ready: 43, InAttempt: 26, Waiting: 24, OldestSeconds: 120, Next: noon},
			{Site: "a-very-long-domain-name.example", Held: 40, OldestSeconds: 180000, Why: "held: wrong footer"},
		},
		Rules: []api.Rule{{ID: "069NM4106020A1G7", Action: "hold", Match: "site=a-very-long-domain-name.example", By: "anna", Reason: "wrong footer", Until: noon.Add(4 * time.Hour)}},
	}
	var b strings.Builder
	for _, s := range []api.QueueSummary{s, {}, {Total: 1, Waiting: 1, WithoutNextEvent: 2, Sites: []api.SiteView{{Site: "x.example", Waiting: 1}}}} {
		p := testPage()
		summaryPage(p, s)
		b.WriteString(p.String() + "--\n")
	}
	p := testPage()
	groupsPage(p, s, "reason", groupReasons(s))
	golden(t, "testdata/queue-summary.txt", b.String()+p.String())
}

func ev(name string, at time.Duration, facts string) api.Event {
	return api.Event{Time: time.Date(2026, 11, 23, 14, 2, 7, 114e6, time.UTC).Add(at), Type: name, Facts: []byte(facts)}
}

// mock-up 6: deferred twice, then bounced.
func bouncedTrace() api.Trace {
	id := mail.ID{1, 0x93, 0x5a, 0x10, 0x20, 0x30, 4, 5, 6, 7}
	t := api.Trace{ID: id, Events: []api.Event{
		ev("message.accepted", 0, `{"sender":"anna@example.org","recipients":["paul@corp.example"],"size_bytes":49152,"subject":"Invoice 2291","message_id":"2291.app7@example.org","listener":":587","client":"192.0.2.44:50123","tls":"TLS 1.3","account":"app-7","method":"SCRAM-SHA-256","took_seconds":0.003,"repaired":["Date added"],"dialogue":"S: 220 mx1.example.org ready\nC: EHLO app\n"}`),
		ev("message.routed", 6*time.Millisecond, `{"site":"corp.example","transport":"smtp","hops":["mx1.corp.example:25 (10)","mx2.corp.example:25 (20)"]}`),
		ev("delivery.tried", 276*time.Millisecond, `{"recipient":"paul@corp.example","number":1,"host":"mx1.corp.example","addr":"198.51.100.7:25","tls":"TLS 1.3","verified":"pkix","result":"deferred","stage":"rcpt","reply":"450 4.7.1 Greylisted, come back in 5 minutes"}`),
		ev("recipient.settled", 277*time.Millisecond, `{"recipient":"paul@corp.example","state":"waiting","due":"2026-11-23T14:07:07.114Z","tries":1,"reply":"450 4.7.1 Greylisted, come back in 5 minutes","why":"greylisting"}`),
		ev("delivery.tried", 300*time.Second, `{"recipient":"paul@corp.example","number":2,"host":"mx1.corp.example","addr":"198.51.100.7:25","source":"192.0.2.10","result":"refused","stage":"rcpt","reply":"550 5.1.1 <paul@corp.example> User unknown"}`),
		ev("recipient.settled", 300*time.Second+time.Millisecond, `{"recipient":"paul@corp.example","state":"failed","tries":2,"reply":"550 5.1.1 <paul@corp.example> User unknown","why":"no such user"}`),
		ev("report.sent", 301*time.Second, `{"report":"069NM41060AAAAAA","action":"failed","to":"anna@example.org"}`),
		ev("message.finished", 301*time.Second, `{"failed":1}`),
	}}
	t.Envelope = api.Remembered(id, t.Events)
	t.Envelope.Arrived = t.Events[0].Time
	return t
}

func TestTracePage(t *testing.T) {
	var b strings.Builder
	p := testPage()
	tracePage(p, bouncedTrace(), false)
	b.WriteString(p.String() + "--\n")

	waiting := bouncedTrace()
	waiting.Events = waiting.Events[:4]
	waiting.Envelope = api.Remembered(waiting.ID, waiting.Events)
	waiting.Envelope.Arrived, waiting.Envelope.Live = waiting.Events[0].Time, true
	waiting.Envelope.Recipients[0].Due = noon.Add(4 * time.Minute)
	p = testPage()
	p.now = noon.Add(24 * time.Hour)
	tracePage(p, waiting, true)
	b.WriteString(p.String() + "--\n")

	several := bouncedTrace()
	several.Events = append(several.Events[:6:6],
		ev("delivery.tried", 302*time.Second, `{"recipient":"vera@corp.example","number":1,"host":"mx1.corp.example","result":"accepted","stage":"dot","reply":"250 2.0.0 Ok"}`),
		ev("recipient.settled", 302*time.Second, `{"recipient":"vera@corp.example","state":"delivered","tries":1,"reply":"250 2.0.0 Ok"}`),
		ev("queue.acted", 303*time.Second, `{"action":"hold","by":"anna","reason":"look\u001b[2J first"}`))
	several.Envelope = api.Remembered(several.ID, several.Events)
	p = testPage()
	tracePage(p, several, false)
	b.WriteString(p.String())
	golden(t, "testdata/trace.txt", b.String())
	if strings.Contains(b.String(), "\x1b") {
		t.Error("a control character reaches the terminal")
	}
}

func TestListPage(t *testing.T) {
	p := testPage()
	listPage(p, api.MessageList{Messages: []api.Envelope{
		{ID: mail.ID{1}, Arrived: noon.Add(-3 * time.Hour), Size: 49152, Sender: "anna@example.org", Recipients: []api.Recipient{
			{Address: "paul@corp.example", State: "waiting", Due: noon.Add(5 * time.Minute), Why: "greylisting", Reply: "450 4.7.1 Greylisted"},
			{Address: "vera@corp.example", State: "in_attempt"},
		}},
		{ID: mail.ID{2}, Arrived: noon.Add(-time.Minute), Size: 312, Recipients: []api.Recipient{{Address: strings.Repeat("long", 30) + "@example.org", State: "held"}}},
	}, Next: "x"}, "all mail")
	listPage(p, api.MessageList{}, "mail for site yahoo")
	golden(t, "testdata/queue-list.txt", p.String())
}

func TestErrorsSayWhatWhyAndWhatToDo(t *testing.T) {
	var b bytes.Buffer
	for _, err := range []error{
		nil,
		exitCode(69),
		problem("not sent", errors.New("550 5.7.1 relaying denied\x1b"), "this port wants a login"),
		unsure("cannot reach the server", errors.New("nobody answers"), "Is it running?\nLook."),
		errors.New("something"),
		fromServer("cannot show x", &api.Fault{Status: 404, Message: "account \"x\": no such account", Remedy: "paquebot account list"}),
	} {
		fmt.Fprintf(&b, "%d\n", report(&b, err))
	}
	golden(t, "testdata/errors.txt", b.String())
}

func TestNumbersForPeople(t *testing.T) {
	var b strings.Builder
	for _, n := range []int64{0, 7, 999, 1000, 12473, 1234567} {
		fmt.Fprintln(&b, count(n), plural(n, "message"), size(n))
	}
	for _, d := range []time.Duration{0, 3 * time.Millisecond, 45 * time.Second, 252 * time.Second, 15 * time.Minute, 192 * time.Minute, 51 * time.Hour, -1} {
		fmt.Fprintln(&b, d, "=", span(d))
	}
	golden(t, "testdata/numbers.txt", b.String())
}

// ---- whole commands, against a server's API in this process ----

// commands is the part of the command line that is tested here.
type commands struct {
	Globals
	Queue   QueueCmd   `cmd:""`
	Trace   TraceCmd   `cmd:""`
	Account AccountCmd `cmd:""`
	Config  ConfigCmd  `cmd:""`
}

type box struct {
	t    *testing.T
	dir  string
	conf string
}

func newBox(t *testing.T) *box {
	b := &box{t: t, dir: t.TempDir()}
	b.conf = filepath.Join(b.dir, "paquebot.toml")
	if err := os.WriteFile(b.conf, []byte("hostname = \"mx1.example.org\"\ndata_dir = \""+b.dir+"/data\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(b.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	return b
}

// run returns what the command wrote and its exit code.
func (b *box) run(stdin string, args ...string) (stdout, stderr string, code int) {
	b.t.Helper()
	var out, errs bytes.Buffer
	cli := commands{}
	app, err := kong.New(&cli, kong.Name("paquebot"), kong.Exit(func(int) {}))
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, err := app.Parse(append([]string{"-c", b.conf}, args...))
	if err != nil {
		return "", err.Error(), exitUnsure
	}
	cli.Stdin, cli.Stdout, cli.Stderr = strings.NewReader(stdin), &out, &errs
	code = report(&errs, ctx.Run(&cli.Globals))
	return out.String(), errs.String(), code
}

// transcript runs commands one after the other, as a person would see them.
func (b *box) transcript(lines ...string) string {
	var out strings.Builder
	for _, l := range lines {
		stdin, args, _ := strings.Cut(l, "|")
		if !strings.Contains(l, "|") {
			stdin, args = "", l
		}
		o, e, code := b.run(stdin, strings.Fields(args)...)
		fmt.Fprintf(&out, "$ paquebot %s\n%s%s", strings.TrimSpace(args), e, o)
		if code != 0 {
			fmt.Fprintf(&out, "exit %d\n", code)
		}
		out.WriteByte('\n')
	}
	return b.hide(out.String())
}

var (
	secrets = regexp.MustCompile(`(?m)^[A-Za-z0-9_-]{20,}$`)
	dates   = regexp.MustCompile(`(\d{4}-\d\d-\d\d[T ])?\d\d:\d\d:\d\d(\.\d+Z?)?`)
	hashes  = regexp.MustCompile(`"(\$argon2id\$|SCRAM-SHA-256\$)[^"]*"`)
)

func (b *box) hide(s string) string {
	s = strings.ReplaceAll(s, b.dir, "DIR")
	s = secrets.ReplaceAllString(s, "(secret)")
	s = hashes.ReplaceAllString(s, `"${1}..."`)
	return dates.ReplaceAllString(s, "TIME")
}

// AccountCommands work on the table when no server runs.
func TestAccountCommandsOffline(t *testing.T) {
	golden(t, "testdata/account.txt", newBox(t).transcript(accountSteps...))
}

var accountSteps = []string{
	"account list",
	"account add app-7 --sender *@example.org --per-hour 1000",
	"hunter22\n|account add anna@example.org --password-file -",
	"account add app-7",
	"account list",
	"account token add app-7 --name nightly",
	"account token list app-7",
	"account show app-7",
	"account show ap-7",
	"account disable app-7 --why leaked",
	"account show app-7",
	"account enable app-7",
	"account passwd anna@example.org",
	"account senders app-7 a@example.org b@example.org",
	"account token revoke app-7 nightly",
	"account token revoke app-7 nightly",
	"account remove app-7",
	"account remove app-7",
	"account list --plain",
	"hunter22\n|account add x --hash-only --password-file -",
	"queue summary",
}

// The same through the server's socket; only the last answer differs.
func TestAccountCommandsOnline(t *testing.T) {
	b := newBox(t)
	b.serve(nil)
	got := b.transcript(accountSteps[:len(accountSteps)-1]...)
	want, err := os.ReadFile("testdata/account.txt")
	if err != nil || !strings.HasPrefix(string(want), got) {
		t.Errorf("differs from the offline ones:\n%s", got)
	}
}

// serve starts an API in the data directory.
func (b *box) serve(q api.Queue) {
	dir := filepath.Join(b.dir, "data")
	db, err := store.Open(vfs.NewMem(), "accounts", store.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	a, err := accounts.Open(accounts.Config{}, accounts.Needs{Accounts: db.Table("accounts"), Events: event.Discard})
	if err != nil {
		b.t.Fatal(err)
	}
	l, err := api.Listen(dir)
	if err != nil {
		b.t.Fatal(err)
	}
	s := api.New(api.Needs{Queue: q, Accounts: a, Spool: fakeSpool{}, History: fakeHistory{}})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	b.t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			b.t.Error(err)
		}
		if err := <-done; err != nil {
			b.t.Error(err)
		}
		_ = db.Close()
	})
}

var testID = mail.ID{1, 0x93, 0x5a, 0x10, 0x20, 0x30, 4, 5, 6, 7}

type fakeSpool struct{}

func testEnvelope() *mail.Envelope {
	return &mail.Envelope{
		ID: testID, Arrived: time.Now().Add(-3 * time.Hour), From: "anna@example.org", Size: 312, Subject: "Hello", MessageID: "1@example.org",
		Origin: mail.Origin{Role: mail.RoleSubmission, Listener: ":587", Client: netip.MustParseAddrPort("192.0.2.44:50123"), Account: "app-7"},
		Recipients: []mail.Recipient{{Address: "paul@corp.example", Standing: mail.Standing{
			State: mail.Waiting, Due: time.Now().Add(5*time.Minute + time.Second), Tries: 1, Site: "corp.example",
			Last: mail.Outcome{Result: mail.Deferred, Reply: smtp.Reply{Code: 450, Enhanced: smtp.Enhanced{Class: 4, Subject: 7, Detail: 1}, Text: "Greylisted"}, Stage: mail.StageRcpt, Host: "mx1.corp.example"},
		}}},
	}
}

func (fakeSpool) Envelope(_ context.Context, id mail.ID) (*mail.Envelope, error) {
	if id != testID {
		return nil, mail.ErrNotFound
	}
	return testEnvelope(), nil
}

func (f fakeSpool) Open(ctx context.Context, id mail.ID) (*mail.Envelope, mail.Body, error) {
	e, err := f.Envelope(ctx, id)
	return e, mail.Bytes("Subject: Hello\r\n\r\nIt works.\r\n"), err
}

func (fakeSpool) Stat() api.SpoolStat { return api.SpoolStat{Messages: 1} }

type fakeHistory struct{}

func (fakeHistory) Find(string) (mail.ID, bool, error) { return mail.ID{}, false, nil }

func (fakeHistory) Of(id mail.ID) ([]observe.Entry, error) {
	if id != testID {
		return nil, nil
	}
	return []observe.Entry{{Time: noon, Type: "message.accepted", Facts: []byte(`{"sender":"anna@example.org","recipients":["paul@corp.example"],"listener":":587","took_seconds":0.003}`)}}, nil
}

type fakeQueue struct{ acted []api.Action }

func (*fakeQueue) Summary(context.Context) (api.QueueSummary, error) {
	return api.QueueSummary{Total: 1, Waiting: 1, Sites: []api.SiteView{{Site: "corp.example", Waiting: 1, OldestSeconds: 10801, Why: "greylisting", Reply: "450 4.7.1 Greylisted"}}}, nil
}

func (*fakeQueue) List(_ context.Context, f api.Filter, _ mail.ID) iter.Seq2[api.Envelope, error] {
	return func(yield func(api.Envelope, error) bool) {
		if f.Site == "" || f.Site == "corp.example" {
			yield(api.View(testEnvelope()), nil)
		}
	}
}

func (q *fakeQueue) Act(_ context.Context, a api.Action) (api.ActionResult, error) {
	q.acted = append(q.acted, a)
	if a.Filter.Site == "nowhere.example" {
		return api.ActionResult{}, nil
	}
	r := api.ActionResult{Messages: 318, Recipients: 1318, InAttempt: 2, Until: a.Until(time.Now())}
	if (a.Seconds > 0 || a.Always) && !a.DryRun {
		r.Rule = testID.String()
	}
	return r, nil
}

func (*fakeQueue) Rules(context.Context) ([]api.Rule, error) {
	return []api.Rule{{ID: testID.String(), Action: "hold", Match: "site=yahoo", By: "anna", Reason: "complaints", Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)}}, nil
}

func (*fakeQueue) EndRule(_ context.Context, id, by string) error {
	if id != testID.String() {
		return api.ErrNotFound
	}
	return nil
}

func TestQueueCommands(t *testing.T) {
	b := newBox(t)
	q := &fakeQueue{}
	b.serve(q)
	id := testID.String()
	golden(t, "testdata/queue.txt", b.transcript(
		"queue summary",
		"queue summary --plain",
		"queue summary --by reason",
		"queue summary --by account",
		"queue summary --by sender --json",
		"queue list",
		"queue list --site nowhere.example",
		"queue list --plain",
		"queue show "+id,
		"queue show "+id+" --raw",
		"queue show AAAAAAAAAAAAAAAA",
		"queue show nonsense",
		"trace "+id,
		"trace AAAAAAAAAAAAAAAA",
		"queue hold",
		"queue hold --site yahoo --for 2h --reason complaints",
		"queue hold --site yahoo -n --for 2h",
		"queue hold "+id,
		"queue hold nonsense",
		"queue release --site nowhere.example",
		"queue retry --all",
		"queue bounce --sender @example.org --older-than 2d --yes",
		"queue delete --account app-7 --json",
		"queue delete --older-than yesterday",
		"queue rules",
		"queue end-rule "+id,
		"queue end-rule AAAAAAAAAAAAAAAA",
	))
	for _, a := range q.acted {
		if a.By == "" || a.By == "api" {
			t.Errorf("nobody knows who did %s", a.Action)
		}
	}
}

// The JSON that scripts rely on (design §3).
func TestJSONContract(t *testing.T) {
	b := newBox(t)
	b.serve(&fakeQueue{})
	out, _, _ := b.run("", "queue", "summary", "--json")
	for _, key := range []string{`"schema": "paquebot.queue.summary/1"`, `"total"`, `"ready"`, `"waiting"`, `"held"`, `"in_attempt"`, `"sites": [`, `"site"`} {
		if !strings.Contains(out, key) {
			t.Errorf("%s is missing from\n%s", key, out)
		}
	}
	out, _, _ = b.run("", "trace", testID.String(), "--json")
	for _, key := range []string{`"schema": "paquebot.trace/1"`, `"envelope": {`, `"events": [`, `"time"`, `"type"`, `"facts"`} {
		if !strings.Contains(out, key) {
			t.Errorf("%s is missing from\n%s", key, out)
		}
	}
}

func TestConfigCommands(t *testing.T) {
	b := newBox(t)
	write := func(name, text string) string {
		file := filepath.Join(b.dir, name)
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "DIR", b.dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	wrong := write("wrong.toml", "hostname = \"mx1.example.org\"\ndata_dir = \"DIR/data\"\n\n[[listener]]\naddress = \":587\"\nstarttls = true\nrole = \"submission\"\n\n[[route]]\nvia = \"sendgrid\"\n\n[smarthost.sendgird]\nhost = \"smtp.sendgrid.net\"\n")
	other := write("other.toml", "hostname = \"mx2.example.org\"\ndata_dir = \"DIR/other\"\n[metrics]\naddress = \"127.0.0.1:9125\"\n")
	golden(t, "testdata/config.txt", b.transcript(
		"config check",
		"config check "+wrong,
		"config check "+wrong+" --plain",
		"config check "+other+" --json",
		"config check nowhere.toml",
		"config diff "+other,
		"config diff "+b.conf,
		"config show --changed",
		"config explain queue.retry",
		"config explain queue.retries",
	))
	if _, _, code := b.run("", "config", "check", config.SpoolDir("x")); code != exitNo {
		t.Error("a file that is not there is no configuration")
	}
}
