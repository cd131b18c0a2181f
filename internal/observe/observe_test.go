package observe

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
	"paquebot/internal/store"
)

var update = flag.Bool("update", false, "rewrite goldens")

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

var (
	id     = mail.ID{1, 0x93, 0x5a, 0x10, 0x20, 0x30, 4, 5, 6, 7}
	at     = time.Date(2026, 11, 23, 14, 2, 7, 114e6, time.UTC)
	origin = mail.Origin{
		Session: "S1", Role: mail.RoleSubmission, Listener: ":587", Client: netip.MustParseAddrPort("192.0.2.44:50123"),
		Helo: "app.example.org", ESMTP: true, TLS: &mail.TLS{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256"}, Account: "app-7", Method: "SCRAM-SHA-256",
	}
	envelope = &mail.Envelope{
		ID: id, Arrived: at, From: "anna@example.org", Size: 49152, Subject: "Invoice 2291", MessageID: "2291.app7@example.org", Origin: origin,
		Recipients: []mail.Recipient{{Address: "paul@corp.example"}, {Address: "vera@corp.example"}},
	}
	greylisted = mail.Outcome{
		Result: mail.Deferred, Reply: smtp.Reply{Code: 450, Enhanced: smtp.Enhanced{Class: 4, Subject: 7, Detail: 1}, Text: "Greylisted,\ncome back"},
		Host: "mx1.corp.example", Addr: netip.MustParseAddrPort("198.51.100.7:25"), Source: netip.MustParseAddr("192.0.2.10"), Stage: mail.StageRcpt, At: at, Took: 270 * time.Millisecond,
		TLS: &mail.TLS{Version: "TLS 1.3"},
	}
)

// samples has one of each event type that has more than plain fields.
func samples() []event.Event {
	return []event.Event{
		event.ServerStarted{Version: "0.1.0", Hostname: "mx1.example.org", Listeners: []string{":25", ":587"}, TookSeconds: 0.0412345678},
		event.SessionStarted{Origin: origin},
		event.CommandRefused{Origin: origin, Command: "RCPT TO:<x@elsewhere.example>", Reply: smtp.RelayDeny.Because(errors.New("no route")), Rule: "relay", Advice: "use AUTH"},
		event.AuthFailed{Origin: origin, User: "root\nlevel=alarm msg=forged", Method: "PLAIN", Reply: smtp.Reply{Code: 535, Text: "no"}, Reason: "wrong password"},
		event.MessageAccepted{Envelope: envelope, TookSeconds: .003, Repaired: []string{"Date added"}, Dialogue: []event.Line{{Text: "220 hi"}, {Client: true, Text: "EHLO a"}}},
		event.MessageRouted{ID: id, Recipients: []string{"paul@corp.example"}, Site: "corp.example", Transport: mail.SMTP, Hops: []string{"mx1.corp.example:25 (10)"}},
		event.DeliveryTried{ID: id, Recipient: "paul@corp.example", Number: 1, Site: "corp.example", Outcome: greylisted},
		event.RecipientSettled{ID: id, Recipient: "paul@corp.example", Sender: "anna@example.org", Standing: mail.Standing{State: mail.Waiting, Due: at.Add(5 * time.Minute), Tries: 1, Site: "corp.example", Last: greylisted}, Why: "greylisting"},
		event.ReportSent{ID: id, Report: id, Action: "failed", To: "anna@example.org"},
		event.MessageFinished{ID: id, Delivered: 1, Failed: 1, TookSeconds: 901.5},
		event.SessionEnded{Origin: origin, Reason: "quit", Messages: 1, TookSeconds: 1.25, BytesIn: 50000, BytesOut: 700},
		event.SpoolSynced{Records: 31, Bytes: 126976, TookSeconds: .0041},
		event.SpoolTroubled{Operation: "append", Error: "no space left on device", Stopped: true},
		event.WatchdogRan{Recipients: 12473},
		event.CertificateLoaded{File: "a.pem", Names: []string{"mx1.example.org"}, NotAfter: at},
	}
}

var clock = regexp.MustCompile(`(time=|"time":")20[0-9TZ:.-]+`)

func logged(t *testing.T, c LogConfig, events ...event.Event) string {
	t.Helper()
	var b bytes.Buffer
	l := NewLog(&b, c)
	for _, e := range events {
		l.Emit(e)
	}
	l.Close()
	l.Emit(events[0]) // harmless after Close
	return clock.ReplaceAllString(b.String(), "${1}T")
}

func TestLogLines(t *testing.T) {
	golden(t, "testdata/text.log", logged(t, LogConfig{}, samples()...))
	golden(t, "testdata/json.log", logged(t, LogConfig{JSON: true}, samples()...))
	golden(t, "testdata/private.log", logged(t, LogConfig{Private: true}, samples()...))
}

// CMP-2: a subject is never logged; the dialogue belongs to traces.
func TestLogHoldsNoContent(t *testing.T) {
	text := logged(t, LogConfig{}, samples()...)
	for _, no := range []string{"Invoice", "EHLO a"} {
		if strings.Contains(text, no) {
			t.Errorf("%q is in the log", no)
		}
	}
	private := logged(t, LogConfig{Private: true}, samples()...)
	for _, no := range []string{"anna@", "paul@", "192.0.2.44", "198.51.100.7"} {
		if strings.Contains(private, no) {
			t.Errorf("%q is in the private log", no)
		}
	}
}

// Nothing a peer says begins a line or moves a terminal's cursor.
func TestLogCannotBeForged(t *testing.T) {
	evil := "x\r\ntime=now level=alarm msg=forged\x1b[2J\x00\u2028\u0085\u202e\xff{\"a\":1}\" key=v"
	e := event.AuthFailed{Origin: mail.Origin{Helo: evil, Name: evil}, User: evil, Reason: evil, Reply: smtp.Reply{Code: 535, Text: evil, Cause: errors.New(evil)}}
	for _, json := range []bool{false, true} {
		text := logged(t, LogConfig{JSON: json}, e)
		if n := strings.Count(text, "\n"); n != 1 {
			t.Errorf("%d lines", n)
		}
		if strings.ContainsAny(text, "\r\x1b\x00\u2028\u0085\u202e") {
			t.Errorf("%q", text)
		}
	}
}

func TestLogLevel(t *testing.T) {
	got := logged(t, LogConfig{Level: event.Alarm}, samples()...)
	if strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=alarm msg=spool.troubled") {
		t.Error(got)
	}
}

// stuck is a terminal nobody reads.
type stuck struct {
	release chan struct{}
	bytes.Buffer
}

func (s *stuck) Write(b []byte) (int, error) {
	<-s.release
	return s.Buffer.Write(b)
}

func TestLogNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuck{release: make(chan struct{})}
		l := NewLog(w, LogConfig{})
		for range 2 * linesMax { // the writer holds up to batchMax octets of them
			l.Emit(event.SpoolHealed{})
		}
		if l.Dropped() == 0 {
			t.Error("nothing was dropped")
		}
		close(w.release)
		l.Close()
		if !strings.Contains(w.String(), "msg=log.dropped lines=") {
			t.Error("the loss is not told")
		}
	})
}

func TestEveryEventTypeHasFactsAndIsCounted(t *testing.T) {
	m := NewMetrics("test")
	f := Facts{Detail: true}
	for _, e := range samples() {
		if attrs := f.Of(e, nil); len(attrs) == 0 {
			t.Errorf("%T tells nothing", e)
		}
		m.Emit(e)
	}
	golden(t, "testdata/metrics.txt", scrape(t, m))
}

// scrape returns our own series as /metrics shows them.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	(&Health{}).Handler(m).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var b strings.Builder
	for l := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(l, "paquebot_") && !strings.Contains(l, "_bucket") && !strings.Contains(l, "goversion") {
			b.WriteString(l)
		}
	}
	return b.String()
}

// ux.md §3.2.16: a million sites make a hundred labels.
func TestLabelsAreBounded(t *testing.T) {
	m := NewMetrics("test")
	for i := range 1000 {
		m.Emit(event.DeliveryTried{Site: fmt.Sprintf("site%d.example\xff\n", i), Outcome: greylisted})
		m.Emit(event.CommandRefused{Origin: origin, Rule: fmt.Sprint("rule", i)})
	}
	text := scrape(t, m)
	if n := strings.Count(text, "paquebot_deliveries_total{"); n != labelsMax+1 {
		t.Errorf("%d sites", n)
	}
	if !strings.Contains(text, `paquebot_deliveries_total{result="deferred",site="other"} 900`) {
		t.Error("the rest is not counted as other")
	}
	if n := strings.Count(text, "paquebot_refused_total{"); n != labelsMax+1 {
		t.Errorf("%d rules", n)
	}
}

func TestMetricNamesFollowTheHabits(t *testing.T) {
	families, err := NewMetrics("test").Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		name := f.GetName()
		if strings.HasPrefix(name, "paquebot_") && (f.GetHelp() == "" || f.GetType().String() == "COUNTER" && !strings.HasSuffix(name, "_total")) {
			t.Errorf("%s: %s", name, f.GetType())
		}
	}
}

func openHistory(t *testing.T, c HistoryConfig) *History {
	t.Helper()
	db, err := store.Open(vfs.NewMem(), "history", store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	h := NewHistory(db, c)
	t.Cleanup(func() {
		h.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func TestHistoryTellsALife(t *testing.T) {
	h := openHistory(t, HistoryConfig{Retention: 100 * 365 * 24 * time.Hour})
	for _, e := range samples() {
		h.Emit(e)
	}
	h.Emit(event.MessageFinished{ID: mail.ID{9}})
	entries, err := h.Of(id)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		if !json.Valid(e.Facts) {
			t.Errorf("not JSON: %s", e.Facts)
		}
		fmt.Fprintf(&b, "%s %s\n", e.Type, e.Facts)
	}
	golden(t, "testdata/history.txt", b.String())
}

func TestHistoryForgets(t *testing.T) {
	h := openHistory(t, HistoryConfig{Retention: time.Hour})
	ids, err := mail.NewIDs(bytes.NewReader(make([]byte, 8)))
	if err != nil {
		t.Fatal(err)
	}
	old, young := ids.Next(time.Now().Add(-2*time.Hour)), ids.Next(time.Now())
	h.Emit(event.MessageFinished{ID: old})
	h.Emit(event.MessageFinished{ID: young})
	if e, _ := h.Of(old); len(e) != 1 {
		t.Fatal("not written")
	}
	h.Sweep()
	if e, _ := h.Of(old); len(e) != 0 {
		t.Error("too old, and still there")
	}
	if e, _ := h.Of(young); len(e) != 1 {
		t.Error("young, and gone")
	}
}

func TestHistoryDropsRatherThanBlocks(t *testing.T) {
	h := openHistory(t, HistoryConfig{Retention: time.Hour})
	h.Close()
	for range recordsMax + 10 {
		h.Emit(event.MessageFinished{ID: id})
	}
	if h.Dropped() != 10 {
		t.Errorf("%d dropped", h.Dropped())
	}
}

func TestSnakeCase(t *testing.T) {
	for in, want := range map[string]string{"TookSeconds": "took_seconds", "ID": "id", "TLS": "tls", "MessageID": "message_id", "BytesIn": "bytes_in", "TLSVersion": "tls_version"} {
		if got := snake(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

func TestHealth(t *testing.T) {
	var h Health
	get := func(path string) int {
		w := httptest.NewRecorder()
		h.Handler(nil).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code
	}
	if get("/livez") != 200 || get("/readyz") != 503 {
		t.Error("alive and not ready at first")
	}
	h.SetReady(true)
	if get("/readyz") != 200 {
		t.Error("not ready")
	}
	h.Check("spool", func(context.Context) error { return errors.New("stopped\n") })
	if get("/readyz") != 503 || get("/livez") != 200 {
		t.Error("a restart does not help")
	}
}

// Every field type of every event is told or left out on purpose.
func TestNoFieldIsForgotten(t *testing.T) {
	var f Facts
	for _, e := range []event.Event{event.SessionEnded{}, event.MessageAccepted{}, event.DeliveryTried{}, event.RecipientSettled{}, event.ConnectionOpened{}, event.SiteBackedOff{}, event.RuleSet{}} {
		f.Of(e, nil)
		if n := reflect.TypeOf(e).NumField(); n != len(f.plan(reflect.TypeOf(e))) {
			t.Errorf("%T", e)
		}
	}
}

// All readers at once, from many goroutines, while the log closes (for -race).
func TestReadersTogether(t *testing.T) {
	m, l := NewMetrics("test"), NewLog(io.Discard, LogConfig{})
	h := openHistory(t, HistoryConfig{Retention: time.Hour})
	all := event.All(m, l, h)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				for _, e := range samples() {
					all.Emit(e)
				}
			}
		})
	}
	wg.Go(func() { _, _ = h.Of(id) })
	wg.Go(l.Close)
	wg.Go(h.Sweep)
	wg.Wait()
	if !strings.Contains(scrape(t, m), `paquebot_messages_accepted_total{port="587",role="submission"} 400`) {
		t.Error("a message was not counted")
	}
}

// A message is found by its Message-ID and by what a provider calls it, until it
// is forgotten with the rest (SH: SES gives each message an ID of its own).
func TestHistoryFindsByOtherNames(t *testing.T) {
	h := openHistory(t, HistoryConfig{Retention: 24 * time.Hour})
	ids, err := mail.NewIDs(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old, young := ids.Next(time.Now().Add(-72*time.Hour)), ids.Next(time.Now())
	h.Emit(event.MessageAccepted{Envelope: &mail.Envelope{ID: young, MessageID: "a@shop.example"}})
	h.Emit(event.MessageAccepted{Envelope: &mail.Envelope{ID: old, MessageID: "old@shop.example"}})
	h.Emit(event.DeliveryTried{ID: young, Recipient: "b@c", Outcome: mail.Outcome{Result: mail.Accepted, RemoteID: "0102-000000@eu-west-1.amazonses.com"}})
	for _, name := range []string{"a@shop.example", "<a@shop.example>", "0102-000000@eu-west-1.amazonses.com", "0102-000000"} {
		if got, ok, err := h.Find(name); err != nil || !ok || got != young {
			t.Errorf("%s: %v %v %v", name, got, ok, err)
		}
	}
	for _, name := range []string{"old@shop.example", "nobody@shop.example", ""} {
		if _, ok, err := h.Find(name); ok || err != nil {
			t.Errorf("%s: found, %v", name, err)
		}
	}
	h.Sweep()
	if _, ok, _ := h.Find("a@shop.example"); !ok {
		t.Error("forgotten too early")
	}
}
