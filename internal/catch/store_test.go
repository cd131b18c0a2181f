package catch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

func open(t testing.TB, c catch.Config) *catch.Store {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	s, err := catch.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func id(n int) mail.ID {
	return mail.ID{0, 0, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

func envelope(n int, account string, to ...string) *mail.Envelope {
	e := &mail.Envelope{ID: id(n), Arrived: time.Now(), From: "me@example.com",
		Origin: mail.Origin{Session: fmt.Sprint("s", n), Role: mail.RoleSubmission, Listener: ":1587", Account: account,
			Local: netip.MustParseAddrPort("127.0.0.1:1587"), TLS: &mail.TLS{Version: "TLS 1.3"}}}
	for _, a := range to {
		e.Recipients = append(e.Recipients, mail.Recipient{Address: a})
	}
	return e
}

func raw(n int) mail.Bytes {
	return mail.Bytes(fmt.Sprintf("From: Me <me@example.com>\r\nTo: you@example.com, b@c\r\nSubject: =?utf-8?q?n=C2=B0?= %d\r\n\r\nbody of %d\r\n", n, n))
}

func put(t testing.TB, s *catch.Store, n int, account string, to ...string) {
	t.Helper()
	if to == nil {
		to = []string{"you@example.com"}
	}
	e := envelope(n, account, to...)
	if err := s.Catch(context.Background(), e, e.Recipients, raw(n)); err != nil {
		t.Fatal(err)
	}
}

func content(t testing.TB, s *catch.Store, n int) string {
	t.Helper()
	b, err := s.Raw(id(n))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	out, err := io.ReadAll(mail.Reader(b))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func subjects(ms []catch.Message) string {
	var out []string
	for _, m := range ms {
		out = append(out, strings.TrimPrefix(m.Subject, "n° "))
	}
	return strings.Join(out, " ")
}

func TestCaughtMessageComesBackAsItWas(t *testing.T) {
	s := open(t, catch.Config{})
	put(t, s, 1, "app", "hidden@example.com", "you@example.com")
	m, err := s.Get(id(1))
	if err != nil {
		t.Fatal(err)
	}
	if m.Mailbox != "app" || m.From != "me@example.com" || m.Count != 2 || m.Recipients[0].Address != "hidden@example.com" ||
		m.Subject != "n° 1" || m.HeaderFrom != "Me <me@example.com>" || m.HeaderTo != "you@example.com +1" || m.Origin.TLS.Version != "TLS 1.3" {
		t.Errorf("%+v", m)
	}
	if got := content(t, s, 1); got != string(raw(1)) {
		t.Errorf("%q", got)
	}
	put(t, s, 2, "", "box@example.com")
	if m, _ := s.Get(id(2)); m.Mailbox != "box@example.com" { // port 25's twin: nobody signs in
		t.Errorf("mailbox %q", m.Mailbox)
	}
	if _, err := s.Get(id(3)); !errors.Is(err, catch.ErrNotFound) {
		t.Error(err)
	}
}

func TestListNewestFirstInPages(t *testing.T) {
	s := open(t, catch.Config{})
	for n := range 7 {
		put(t, s, n+1, "app")
	}
	var got []string
	var before uint64
	for {
		p := s.List(catch.Query{}, before, 3)
		got = append(got, subjects(p.Messages))
		if before = p.Next; before == 0 {
			break
		}
	}
	if fmt.Sprint(got) != "[7 6 5 4 3 2 1]" || len(got) != 3 {
		t.Errorf("%q", got)
	}
	newer, older := s.Neighbours(id(4))
	if newer != id(5) || older != id(3) {
		t.Errorf("%v %v", newer, older)
	}
}

// The queue may deliver twice when a crash hid the first success: no second message.
func TestCatchingAgainAddsRecipients(t *testing.T) {
	dir := t.TempDir()
	s := open(t, catch.Config{Dir: dir})
	put(t, s, 1, "app", "a@x")
	put(t, s, 2, "app", "a@x")
	put(t, s, 1, "app", "a@x")
	if st := s.Stat(); st.Messages != 2 || st.LastSeq != 2 {
		t.Errorf("%+v", st)
	}
	put(t, s, 1, "app", "b@x", "a@x")
	for range 2 {
		m, _ := s.Get(id(1))
		if m.Count != 2 || m.Recipients[1].Address != "b@x" || s.Stat().Messages != 2 {
			t.Errorf("%+v", m)
		}
		s.Close()
		s = open(t, catch.Config{Dir: dir})
	}
}

func TestOldestGoFirst(t *testing.T) {
	dir := t.TempDir()
	s := open(t, catch.Config{Dir: dir, MaxMessages: 3})
	for n := range 5 {
		put(t, s, n+1, "app")
	}
	if got := subjects(s.List(catch.Query{}, 0, 10).Messages); got != "5 4 3" {
		t.Errorf("%q", got)
	}
	s.Close()
	s = open(t, catch.Config{Dir: dir, MaxMessages: 10}) // what went stays gone
	if got := subjects(s.List(catch.Query{}, 0, 10).Messages); got != "5 4 3 2" && got != "5 4 3" {
		t.Errorf("%q", got)
	}

	s = open(t, catch.Config{MaxBytes: 10 << 10})
	for n := range 5 {
		e := envelope(n+1, "app", "a@b")
		if err := s.Catch(context.Background(), e, e.Recipients, append(raw(n+1), make([]byte, 4<<10)...)); err != nil {
			t.Fatal(err)
		}
	}
	if st := s.Stat(); st.Messages != 2 || st.Bytes > 10<<10 {
		t.Errorf("%+v", st)
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, catch.Config{Dir: dir, Sync: true})
	for n := range 6 {
		put(t, s, n+1, "app")
	}
	if n, err := s.Delete(id(2), id(2), id(99)); n != 1 || err != nil {
		t.Error(n, err)
	}
	if n, err := s.DeleteWhere(catch.ParseQuery("", "subject:4")); n != 1 || err != nil {
		t.Error(n, err)
	}
	s.Close()
	if err := s.Catch(context.Background(), envelope(9, ""), nil, raw(9)); err == nil || smtp.AsReply(err).Code != 451 {
		t.Error("a closed store caught a message", err)
	}

	s = open(t, catch.Config{Dir: dir})
	if got := subjects(s.List(catch.Query{}, 0, 10).Messages); got != "6 5 3 1" {
		t.Errorf("%q", got)
	}
	put(t, s, 2, "app") // caught again after it was deleted
	if got := subjects(s.List(catch.Query{}, 0, 10).Messages); got != "2 6 5 3 1" || content(t, s, 3) != string(raw(3)) {
		t.Errorf("%q", got)
	}
	if n, _ := s.Clear(); n != 5 {
		t.Errorf("cleared %d", n)
	}
	s.Close()
	s = open(t, catch.Config{Dir: dir})
	if st := s.Stat(); st.Messages != 0 || st.LastSeq != 7 {
		t.Errorf("%+v", st)
	}
}

// A crash leaves a record cut short: it goes, all before it stays, and the
// store goes on.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	s := open(t, catch.Config{Dir: dir})
	put(t, s, 1, "app")
	put(t, s, 2, "app")
	s.Close()
	names, _ := filepath.Glob(filepath.Join(dir, "*.catch"))
	whole, _ := os.ReadFile(names[0])
	for cut := len(whole); cut > 0; cut -= 7 {
		if err := os.WriteFile(names[0], whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, catch.Config{Dir: dir})
		st := s.Stat()
		if want := map[bool]int{true: 2, false: 1}[cut == len(whole)]; st.Messages > want {
			t.Fatalf("cut at %d: %d messages", cut, st.Messages)
		}
		if st.Messages > 0 && content(t, s, 1) != string(raw(1)) {
			t.Fatalf("cut at %d: the first message changed", cut)
		}
		put(t, s, 3, "app")
		s.Close()
		s = open(t, catch.Config{Dir: dir})
		if s.Stat().Messages != st.Messages+1 {
			t.Fatalf("cut at %d: %d messages after one more", cut, s.Stat().Messages)
		}
		s.Close()
		for _, n := range glob(dir) {
			os.Remove(n)
		}
	}
}

// A disk that rots costs the record it touched, not those after it.
func TestDamagedRecord(t *testing.T) {
	for _, row := range []struct {
		name string
		last bool
		at   func(b []byte) int // the octet that changes
		want string
		size bool // the file keeps its size
	}{
		{"body, last segment", true, second, "3 1", true},
		{"body, older segment", false, second, "4 3 1", true},
		{"body of the last record, older segment", false, func(b []byte) int { return len(b) - 10 }, "4 2 1", true},
		{"head, older segment", false, func(b []byte) int { return bytes.Index(b[1:], []byte("PCRM")) + 1 }, "4 1", true},
		{"head, last segment", true, func(b []byte) int { return bytes.Index(b[1:], []byte("PCRM")) + 1 }, "1", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, catch.Config{Dir: dir})
			for n := range 3 {
				put(t, s, n+1, "app")
			}
			s.Close()
			name := glob(dir)[0]
			if !row.last {
				s := open(t, catch.Config{Dir: dir})
				put(t, s, 4, "app")
				s.Close()
			}
			b, _ := os.ReadFile(name)
			b[row.at(b)] ^= 1
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			s = open(t, catch.Config{Dir: dir})
			defer s.Close()
			if got := subjects(s.List(catch.Query{}, 0, 10).Messages); got != row.want {
				t.Errorf("%q, want %q", got, row.want)
			}
			if content(t, s, 1) != string(raw(1)) {
				t.Error("the first changed")
			}
			if now, err := os.ReadFile(name); err != nil || (len(now) == len(b)) != row.size {
				t.Errorf("%d octets of %d, %v", len(now), len(b), err)
			}
		})
	}
}

// second is an octet of the second message.
func second(b []byte) int { return bytes.Index(b, raw(2)) + 5 }

func glob(dir string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, "*.catch"))
	return names
}

// Deleting most of it gives the disk back, and loses nothing of the rest.
func TestDiskIsReclaimed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, catch.Config{Dir: dir})
	big := make([]byte, 9<<20)
	for n := range 24 {
		e := envelope(n+1, "app", "a@b")
		if err := s.Catch(context.Background(), e, e.Recipients, append(raw(n+1), big...)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 24 {
		if n%6 != 0 {
			s.Delete(id(n + 1))
		}
	}
	var disk int64
	for _, name := range glob(dir) {
		st, _ := os.Stat(name)
		disk += st.Size()
	}
	if kept := s.Stat().Bytes; disk > 2*kept+(65<<20) {
		t.Errorf("%d MiB on disk for %d MiB kept", disk>>20, kept>>20)
	}
	for range 2 {
		if got := subjects(s.List(catch.Query{}, 0, 10).Messages); got != "19 13 7 1" || !strings.HasPrefix(content(t, s, 1), string(raw(1))) {
			t.Errorf("%q", got)
		}
		s.Close()
		s = open(t, catch.Config{Dir: dir})
	}
}

func TestBodyStaysReadableAfterDelete(t *testing.T) {
	s := open(t, catch.Config{})
	put(t, s, 1, "app")
	b, _ := s.Raw(id(1))
	defer b.Close()
	s.Clear()
	got, err := io.ReadAll(mail.Reader(b))
	if err != nil || !bytes.Equal(got, raw(1)) {
		t.Error(err)
	}
}

func TestQuery(t *testing.T) {
	s := open(t, catch.Config{})
	put(t, s, 1, "anna", "bcc@example.com")
	put(t, s, 2, "bob", "you@example.com")
	for _, c := range []struct{ box, q, want string }{
		{"", "", "2 1"}, {"anna", "", "1"}, {"nobody", "", ""},
		{"", "user:bob", "2"}, {"", "-user:bob", "1"}, {"", "rcpt:bcc@", "1"}, {"", "to:bcc", "1"}, {"", "rcpt:b@c", ""}, {"", "to:YOU@example", "2 1"},
		{"", "port:1587", "2 1"}, {"", "port:25", ""}, {"", "tls:yes", "2 1"}, {"", "tls:no", ""},
		{"", `subject:"n° 2"`, "2"}, {"", `"body of 1"`, "1"}, {"", `body -"of 1"`, "2"}, {"", "body:nothing", ""}, {"", "from:me@", "2 1"},
	} {
		if got := subjects(s.List(catch.ParseQuery(c.box, c.q), 0, 10).Messages); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.box, c.q, got, c.want)
		}
	}
}

func TestWait(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, catch.Config{Dir: dir})
		defer s.Close()
		put(t, s, 1, "app")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()

		got, err := s.Wait(ctx, catch.Query{}, 0, 1)
		if err != nil || subjects(got) != "1" {
			t.Error("what is there is there at once", got, err)
		}
		go func() {
			time.Sleep(2 * time.Second)
			put(t, s, 2, "other")
			time.Sleep(2 * time.Second)
			put(t, s, 3, "app")
		}()
		start := time.Now()
		got, err = s.Wait(ctx, catch.Query{Mailbox: "app"}, s.SeqOf(id(1)), 1)
		if err != nil || subjects(got) != "3" || time.Since(start) != 4*time.Second {
			t.Error(got, err, time.Since(start))
		}
		got, err = s.Wait(ctx, catch.Query{Mailbox: "app"}, 0, 3)
		if !errors.Is(err, context.DeadlineExceeded) || subjects(got) != "1 3" {
			t.Error("what did arrive is told", got, err)
		}
	})
}

func TestSlowWatchIsClosedNotWaitedFor(t *testing.T) {
	s := open(t, catch.Config{})
	w, err := s.Subscribe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for n := range 300 {
		put(t, s, n+1, "app")
	}
	got := 0
	for range w.C {
		got++
	}
	if got != 256 {
		t.Errorf("%d changes", got)
	}
}

func accepted(n int, text string) event.MessageAccepted {
	return event.MessageAccepted{Envelope: envelope(n, "app"), Dialogue: []event.Line{{Client: true, Text: text}}}
}

// The event and the delivery come in either order.
func TestDialogueIsKeptWithItsMessage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, catch.Config{Dir: dir})
	s.Emit(accepted(1, "EHLO one"))
	put(t, s, 1, "app")
	put(t, s, 2, "app")
	s.Emit(accepted(2, "EHLO two"))
	put(t, s, 3, "app")
	s.Close()
	s = open(t, catch.Config{Dir: dir})
	for n, want := range map[int]string{1: "EHLO one", 2: "EHLO two", 3: ""} {
		lines, err := s.Dialogue(id(n))
		got := ""
		if len(lines) > 0 {
			got = lines[0].Text
		}
		if err != nil || got != want {
			t.Errorf("%d: %q %v", n, got, err)
		}
	}
}

// A message on a connection that carried others shows its own transaction.
func TestDialogueOfTheNthMessage(t *testing.T) {
	s := open(t, catch.Config{})
	put(t, s, 1, "app")
	var lines []event.Line
	for _, text := range []string{"S220 hi", "CEHLO x", "Cmail from:<a@b>", "S250", "CRCPT TO:<c@d>", "S250", "CMAIL FROM:<e@f>", "CDATA"} {
		lines = append(lines, event.Line{Client: text[0] == 'C', Text: text[1:]})
	}
	s.Emit(event.MessageAccepted{Envelope: envelope(1, "app"), Dialogue: lines})
	got := ""
	kept, err := s.Dialogue(id(1))
	for _, l := range kept {
		got += l.Text + "|"
	}
	if want := "220 hi|EHLO x|(4 lines of earlier transactions)|MAIL FROM:<e@f>|DATA|"; got != want || err != nil {
		t.Errorf("%q %v, want %q", got, err, want)
	}
}

func TestFailedSessions(t *testing.T) {
	s := open(t, catch.Config{})
	o := mail.Origin{Session: "S1", Helo: "laptop", Listener: ":1025"}
	s.Emit(event.SessionEnded{Origin: mail.Origin{Session: "S0"}, Messages: 1})
	s.Emit(event.AuthFailed{Origin: o, Method: "PLAIN", Reply: smtp.BadLogin, Reason: "wrong password"})
	s.Emit(event.CommandRefused{Origin: o, Command: "AUTH", Reply: smtp.BadLogin, Rule: "credentials", Advice: "Use another password."})
	s.Emit(event.CommandRefused{Origin: o, Command: "MAIL FROM:<a@b>", Reply: smtp.NeedAuth, Advice: "Use port 1587."})
	s.Emit(event.SessionEnded{Origin: o, Reason: "quit", Refusals: 1, Dialogue: []event.Line{{Text: "220 hi"}}})
	s.Emit(event.TLSFailed{Origin: mail.Origin{Session: "S2"}, Error: "first record does not look like TLS", Advice: "Use SSL/TLS on 1465."})
	got := s.Sessions()
	if len(got) != 2 || got[0].ID != "S2" || got[0].Advice == "" {
		t.Fatalf("%+v", got)
	}
	f := got[1]
	if f.Ended != "quit" || len(f.Problems) != 2 || f.Problems[0].Advice != "Use another password." || f.Advice != "Use port 1587." || len(f.Dialogue) != 1 {
		t.Errorf("%+v", f)
	}
	for n := range 500 {
		s.Emit(event.TLSFailed{Origin: mail.Origin{Session: fmt.Sprint("x", n)}})
	}
	if got := len(s.Sessions()); got != 200 {
		t.Errorf("%d sessions kept", got)
	}
}

// A client that wants AUTH on port 25's twin sees none and leaves: that it was
// there, and why nothing came, is told.
func TestSilentLeaverIsExplained(t *testing.T) {
	s := open(t, catch.Config{})
	hello := []event.Line{{Text: "220 hi"}, {Client: true, Text: "EHLO x"}, {Client: true, Text: "QUIT"}}
	mx := mail.Origin{Session: "S1", Role: mail.RoleMX, ESMTP: true}
	s.Emit(event.SessionEnded{Origin: mail.Origin{Session: "S0", Role: mail.RoleMX}, Dialogue: hello[:1]}) // a probe
	s.Emit(event.SessionEnded{Origin: mail.Origin{Session: "S2", Role: mail.RoleSubmission, ESMTP: true}, Dialogue: hello})
	s.Emit(event.SessionEnded{Origin: mx, Messages: 1, Dialogue: hello})
	s.Emit(event.SessionEnded{Origin: mx, Dialogue: hello})
	got := s.Sessions()
	if len(got) != 1 || !strings.Contains(got[0].Advice, "submission port") || len(got[0].Problems) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestManyAtOnce(t *testing.T) {
	s := open(t, catch.Config{Sync: true, MaxMessages: 150})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := range 50 {
				put(t, s, w*50+n+1, "app")
				s.Emit(accepted(w*50+n+1, "EHLO"))
				s.List(catch.Query{}, 0, 10)
				if n%10 == 0 {
					s.Delete(id(w*50 + n))
				}
			}
		})
	}
	wg.Wait()
	st := s.Stat()
	if st.Messages > 150 || st.Messages < 100 || st.LastSeq != 400 {
		t.Errorf("%+v", st)
	}
	for _, m := range s.List(catch.Query{}, 0, 200).Messages {
		b, err := s.Raw(m.ID)
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
	}
}

func BenchmarkCatch(b *testing.B) {
	s := open(b, catch.Config{})
	body := append(raw(1), make([]byte, 4<<10)...)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		e := envelope(n, "app", "a@b")
		if err := s.Catch(context.Background(), e, e.Recipients, body); err != nil {
			b.Fatal(err)
		}
	}
}

// What submission mended is told with how the message came in.
func TestRepairsAreKeptWithTheDialogue(t *testing.T) {
	s := open(t, catch.Config{})
	line := event.Line{Client: true, Text: "MAIL FROM:<a@b>"}
	s.Emit(event.MessageAccepted{Envelope: envelope(1, "app", "b@example.com"), Repaired: []string{"Date added", "Message-ID added"}, Dialogue: []event.Line{line}})
	put(t, s, 1, "app", "b@example.com")
	lines, err := s.Dialogue(id(1))
	if err != nil || len(lines) != 2 || strings.Join(catch.Repairs(lines), ",") != "Date added,Message-ID added" {
		t.Errorf("%+v %v", lines, err)
	}
	if got := catch.Repairs([]event.Line{line}); got != nil {
		t.Errorf("%q", got)
	}
}
