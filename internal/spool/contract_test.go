package spool_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
	"paquebot/internal/spool"
)

// contract is what every Spool promises. open returns a spool on the same disk
// each time it is called; for Memory it returns the same spool.
func contract(t *testing.T, open func(t *testing.T) (s spool.Spool, reopen func() spool.Spool)) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s spool.Spool, reopen func() spool.Spool)
	}{
		{"a committed message can be opened", committedOpens},
		{"committing twice keeps one", committingTwice},
		{"a discarded draft leaves nothing", discarded},
		{"a large message comes back whole", largeMessage},
		{"a draft shows its content before commit", draftContent},
		{"a recorded standing is seen at once", recordSeen},
		{"a line is in the order of due times", lineOrder},
		{"a line can be walked in steps", lineSteps},
		{"lines are told apart", linesApart},
		{"held recipients are in no line", heldApart},
		{"a finished message is gone", finishedGone},
		{"recover yields what is in no line", recoverLoose},
		{"each walks in the order of IDs", eachInOrder},
		{"updates of unknown messages are ignored", unknownIgnored},
		{"stat counts", statCounts},
		{"a closed spool refuses", closedRefuses},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, reopen := open(t)
			c.run(t, s, reopen)
		})
	}
}

func TestMemoryKeepsTheContract(t *testing.T) {
	contract(t, func(t *testing.T) (spool.Spool, func() spool.Spool) {
		m := spool.NewMemory()
		return m, func() spool.Spool { return m }
	})
}

var (
	ctx   = context.Background()
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func id(n int) mail.ID {
	return mail.ID{1, 0, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

func envelope(n int, rcpts ...string) *mail.Envelope {
	e := &mail.Envelope{ID: id(n), Arrived: start, From: "sender@example.com", Subject: "test"}
	for _, r := range rcpts {
		e.Recipients = append(e.Recipients, mail.Recipient{Address: r})
	}
	return e
}

const head = "Subject: test\r\n\r\n"

func put(t *testing.T, s spool.Spool, env *mail.Envelope, body string) {
	t.Helper()
	d := s.NewDraft()
	defer d.Discard()
	if _, err := io.WriteString(d, body); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(ctx, env, []byte(head)); err != nil {
		t.Fatal(err)
	}
}

func record(t *testing.T, s spool.Spool, us ...mail.Update) {
	t.Helper()
	if err := s.Record(ctx, us); err != nil {
		t.Fatal(err)
	}
}

func waits(n, rcpt int, site string, due time.Time) mail.Update {
	return mail.Update{Message: id(n), Recipient: rcpt, Standing: mail.Standing{State: mail.Waiting, Site: site, Due: due, Tries: 1}}
}

func stands(n, rcpt int, st mail.State, reported bool) mail.Update {
	return mail.Update{Message: id(n), Recipient: rcpt, Standing: mail.Standing{State: st, Reported: reported}}
}

func content(t *testing.T, s spool.Spool, n int) string {
	t.Helper()
	_, body, err := s.Open(ctx, id(n))
	if err != nil {
		t.Fatalf("open %d: %v", n, err)
	}
	defer body.Close()
	b, err := io.ReadAll(mail.Reader(body))
	if err != nil {
		t.Fatalf("read %d: %v", n, err)
	}
	return string(b)
}

func entries(t *testing.T, s spool.Spool, site string, after spool.Entry, limit int) []spool.Entry {
	t.Helper()
	es, err := s.Waiting(ctx, site, "example.com", 0, after, limit)
	if err != nil {
		t.Fatal(err)
	}
	return es
}

func numbers(es []spool.Entry) (ns []int) {
	for _, e := range es {
		ns = append(ns, int(e.ID[9]))
	}
	return ns
}

func committedOpens(t *testing.T, s spool.Spool, reopen func() spool.Spool) {
	env := envelope(1, "a@example.net")
	put(t, s, env, "hello\r\n")
	if want := int64(len(head) + 7); env.Size != want {
		t.Errorf("size %d, want %d", env.Size, want)
	}
	for range 2 {
		got, err := s.Envelope(ctx, id(1))
		if err != nil || got.From != env.From || got.Recipients[0].Address != "a@example.net" || got.Size != env.Size {
			t.Errorf("got %+v, error %v", got, err)
		}
		if got := content(t, s, 1); got != head+"hello\r\n" {
			t.Errorf("content %q", got)
		}
		s = reopen()
	}
}

func committingTwice(t *testing.T, s spool.Spool, reopen func() spool.Spool) {
	put(t, s, envelope(1, "a@example.net"), "first")
	put(t, s, envelope(1, "a@example.net"), "second")
	if got := content(t, s, 1); got != head+"first" {
		t.Errorf("content %q", got)
	}
	record(t, s, waits(1, 0, "x", start)) // now in the index
	put(t, s, envelope(1, "a@example.net"), "third")
	if err := s.Finish(ctx, id(1)); err != nil {
		t.Fatal(err)
	}
	put(t, s, envelope(1, "a@example.net"), "fourth")
	s = reopen()
	if _, err := s.Envelope(ctx, id(1)); !errors.Is(err, spool.ErrNotFound) {
		t.Errorf("after finish: %v", err)
	}
}

func discarded(t *testing.T, s spool.Spool, reopen func() spool.Spool) {
	d := s.NewDraft()
	io.WriteString(d, strings.Repeat("x", 3<<20))
	d.Discard()
	d.Discard()
	s = reopen()
	if n := s.Stat().Messages; n != 0 {
		t.Errorf("%d messages", n)
	}
}

func largeMessage(t *testing.T, s spool.Spool, reopen func() spool.Spool) {
	body := strings.Repeat("0123456789abcdef", 5<<20/16) + "tail"
	put(t, s, envelope(1, "a@example.net"), body)
	if got := content(t, s, 1); got != head+body {
		t.Errorf("content differs, %d octets, want %d", len(got), len(head)+len(body))
	}
	s = reopen()
	if got := content(t, s, 1); got != head+body {
		t.Errorf("content differs after reopening, %d octets, want %d", len(got), len(head)+len(body))
	}
	_, b, err := s.Open(ctx, id(1))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p := make([]byte, 100)
	if n, err := b.ReadAt(p, b.Size()-4); n != 4 || err != io.EOF || string(p[:4]) != "tail" {
		t.Errorf("read at the end: %q, %v", p[:n], err)
	}
	if n, err := b.ReadAt(p[:5], int64(len(head))-1); n != 5 || err != nil || string(p[:5]) != "\n0123" {
		t.Errorf("read across the header's end: %q, %v", p[:n], err)
	}
}

func draftContent(t *testing.T, s spool.Spool, _ func() spool.Spool) {
	for _, size := range []int{0, 100, 1 << 20, 3<<20 + 17} {
		d := s.NewDraft()
		body := strings.Repeat("y", size)
		io.WriteString(d, body)
		if d.Size() != int64(size) {
			t.Errorf("size %d, want %d", d.Size(), size)
		}
		c := d.Content([]byte(head))
		got, err := io.ReadAll(mail.Reader(c))
		if err != nil || string(got) != head+body {
			t.Errorf("%d: content differs, error %v", size, err)
		}
		c.Close()
		d.Discard()
	}
}

func recordSeen(t *testing.T, s spool.Spool, reopen func() spool.Spool) {
	put(t, s, envelope(1, "a@example.net", "b@example.net"), "x")
	last := mail.Outcome{Result: mail.Deferred, Reply: smtp.Reply{Code: 451, Text: "later"}, Stage: mail.StageRcpt, At: start}
	u := waits(1, 1, "net", start.Add(time.Hour))
	u.Standing.Last = last
	record(t, s, u)
	for range 2 {
		env, err := s.Envelope(ctx, id(1))
		if err != nil {
			t.Fatal(err)
		}
		if got := env.Recipients[1].Standing; got.Last.Reply.Code != 451 || !got.Due.Equal(u.Standing.Due) || got.Tries != 1 {
			t.Errorf("got %+v", got)
		}
		if !spool.Fresh(&env.Recipients[0].Standing) {
			t.Errorf("the other one changed: %+v", env.Recipients[0])
		}
		if es := entries(t, s, "net", spool.Entry{}, 10); len(es) != 1 || es[0].Recipient != 1 {
			t.Errorf("line: %+v", es)
		}
		s = reopen()
	}
}

func lineOrder(t *testing.T, s spool.Spool, reopen func() spool.Spool) {
	for n, minutes := range []int{30, 10, 20, 0, 10} {
		put(t, s, envelope(n, "a@example.net"), "x")
		record(t, s, waits(n, 0, "net", start.Add(time.Duration(minutes)*time.Minute)))
	}
	record(t, s, waits(3, 0, "net", start.Add(time.Hour))) // moves
	record(t, s, waits(2, 0, "elsewhere", start))          // leaves
	for range 2 {
		if got := numbers(entries(t, s, "net", spool.Entry{}, 10)); !slices.Equal(got, []int{1, 4, 0, 3}) {
			t.Errorf("order %v", got)
		}
		s = reopen()
	}
}

func lineSteps(t *testing.T, s spool.Spool, _ func() spool.Spool) {
	const all = 25
	var us []mail.Update
	for n := range all {
		put(t, s, envelope(n, "a@example.net", "b@example.net"), "x")
		us = append(us, waits(n, 0, "net", start), waits(n, 1, "net", start.Add(time.Minute)))
	}
	record(t, s, us...)
	var after spool.Entry
	seen := 0
	for {
		es := entries(t, s, "net", after, 7)
		if len(es) == 0 {
			break
		}
		seen += len(es)
		after = es[len(es)-1]
	}
	if seen != 2*all {
		t.Errorf("saw %d of %d", seen, 2*all)
	}
}

func linesApart(t *testing.T, s spool.Spool, reopen func() spool.Spool) {
	from := func(n int, sender string, prio int) *mail.Envelope {
		e := envelope(n, "a@example.net")
		e.From, e.Params.Priority = sender, prio
		return e
	}
	put(t, s, from(1, "a@one.example", 0), "x")
	put(t, s, from(2, "", 0), "x")
	put(t, s, from(3, "a@one.example", 9), "x")
	put(t, s, from(4, "a@one.example", -9), "x")
	put(t, s, from(5, "a@one.example", 0), "x")
	put(t, s, from(6, "a@one.example", 0), "x")
	for n := 1; n <= 4; n++ {
		record(t, s, waits(n, 0, "net", start.Add(time.Duration(n)*time.Second)))
	}
	record(t, s, waits(5, 0, "net\x00one.example", start), waits(6, 0, "", start))
	want := map[spool.Line]bool{
		{Site: "net", Tenant: "one.example", FirstDue: start.Add(time.Second)}:                   true,
		{Site: "net", Tenant: "<>", FirstDue: start.Add(2 * time.Second)}:                        true,
		{Site: "net", Tenant: "one.example", Priority: 9, FirstDue: start.Add(3 * time.Second)}:  true,
		{Site: "net", Tenant: "one.example", Priority: -9, FirstDue: start.Add(4 * time.Second)}: true,
		{Site: "net\x00one.example", Tenant: "one.example", FirstDue: start}:                     true,
		{Site: "", Tenant: "one.example", FirstDue: start}:                                       true,
	}
	for range 2 {
		got := map[spool.Line]bool{}
		for l, err := range s.Lines(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			l.FirstDue = l.FirstDue.UTC()
			if got[l] || !want[l] {
				t.Errorf("unexpected %+v", l)
			}
			got[l] = true
		}
		if len(got) != len(want) {
			t.Errorf("%d lines, want %d", len(got), len(want))
		}
		for l := range want {
			es, err := s.Waiting(ctx, l.Site, l.Tenant, l.Priority, spool.Entry{}, 10)
			if err != nil || len(es) != 1 || !es[0].Due.Equal(l.FirstDue) {
				t.Errorf("%+v: %+v, error %v", l, es, err)
			}
		}
		s = reopen()
	}
}

func heldApart(t *testing.T, s spool.Spool, reopen func() spool.Spool) {
	hold := func(n int, until time.Time) mail.Update {
		return mail.Update{Message: id(n), Standing: mail.Standing{State: mail.Held, Site: "net", Due: until}}
	}
	for n := 1; n <= 3; n++ {
		put(t, s, envelope(n, "a@example.net"), "x")
	}
	born := envelope(4, "a@example.net") // held from the beginning, by policy
	born.Recipients[0].State = mail.Held
	put(t, s, born, "x")
	record(t, s, hold(1, time.Time{}), hold(2, start.Add(time.Hour)), hold(3, start))
	for range 2 {
		if es := entries(t, s, "net", spool.Entry{}, 10); len(es) != 0 {
			t.Errorf("in a line: %+v", es)
		}
		es, err := s.Held(ctx, spool.Entry{}, 10)
		if err != nil || !slices.Equal(numbers(es), []int{3, 2, 1, 4}) || !es[2].Due.IsZero() {
			t.Errorf("held %+v, error %v", es, err)
		}
		if es, _ := s.Held(ctx, es[2], 10); !slices.Equal(numbers(es), []int{4}) {
			t.Errorf("held after the third: %+v", es)
		}
		s = reopen()
	}
	record(t, s, waits(1, 0, "net", start))
	if es := entries(t, s, "net", spool.Entry{}, 10); len(es) != 1 {
		t.Errorf("released: %+v", es)
	}
	if es, _ := s.Held(ctx, spool.Entry{}, 10); len(es) != 3 {
		t.Errorf("held after release: %+v", es)
	}
}

func finishedGone(t *testing.T, s spool.Spool, reopen func() spool.Spool) {
	for n := 1; n <= 3; n++ {
		put(t, s, envelope(n, "a@example.net"), "x")
	}
	record(t, s, waits(2, 0, "net", start), stands(1, 0, mail.Delivered, true))
	_, body, err := s.Open(ctx, id(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(ctx, id(1), id(2), id(99)); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(mail.Reader(body)); err != nil || string(b) != head+"x" {
		t.Errorf("a body opened before: %q, %v", b, err)
	}
	body.Close()
	for range 2 {
		for n := 1; n <= 2; n++ {
			if _, _, err := s.Open(ctx, id(n)); !errors.Is(err, spool.ErrNotFound) {
				t.Errorf("open %d: %v", n, err)
			}
		}
		if es := entries(t, s, "net", spool.Entry{}, 10); len(es) != 0 {
			t.Errorf("line: %+v", es)
		}
		if st := s.Stat(); st.Messages != 1 || st.Recipients != 1 {
			t.Errorf("stat %+v", st)
		}
		s = reopen()
	}
}

func recoverLoose(t *testing.T, s spool.Spool, reopen func() spool.Spool) {
	for n := 1; n <= 6; n++ {
		put(t, s, envelope(n, "a@example.net", "b@example.net"), "x")
	}
	record(t, s,
		waits(2, 0, "net", start), // its other recipient is fresh
		waits(3, 0, "net", start), waits(3, 1, "net", start),
		stands(4, 0, mail.Failed, false), waits(4, 1, "net", start), // a report is owed
		stands(5, 0, mail.Delivered, true), stands(5, 1, mail.Delivered, true), // only Finish is missing
		stands(6, 0, mail.Delivered, true), waits(6, 1, "net", start))
	s = reopen()
	var got []int
	for e, err := range s.Recover(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, int(e.ID[9]))
	}
	slices.Sort(got)
	if !slices.Equal(got, []int{1, 2, 4, 5}) {
		t.Errorf("recovered %v", got)
	}
}

func eachInOrder(t *testing.T, s spool.Spool, reopen func() spool.Spool) {
	for _, n := range []int{5, 3, 9, 1, 7} {
		put(t, s, envelope(n, "a@example.net"), "x")
	}
	record(t, s, waits(3, 0, "net", start), waits(9, 0, "net", start))
	for range 2 {
		var got []int
		for e, err := range s.Each(ctx, id(3)) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, int(e.ID[9]))
		}
		if !slices.Equal(got, []int{3, 5, 7, 9}) {
			t.Errorf("walked %v", got)
		}
		s = reopen()
	}
}

func unknownIgnored(t *testing.T, s spool.Spool, reopen func() spool.Spool) {
	put(t, s, envelope(1, "a@example.net"), "x")
	record(t, s, waits(2, 0, "net", start), waits(1, 1, "net", start), waits(1, -1, "net", start))
	if err := s.Intend(ctx, id(7), []int{3}); err != nil {
		t.Fatal(err)
	}
	s = reopen()
	if es := entries(t, s, "net", spool.Entry{}, 10); len(es) != 0 {
		t.Errorf("line: %+v", es)
	}
	if _, err := s.Envelope(ctx, id(2)); !errors.Is(err, spool.ErrNotFound) {
		t.Error(err)
	}
}

func statCounts(t *testing.T, s spool.Spool, reopen func() spool.Spool) {
	put(t, s, envelope(1, "a@example.net", "b@example.net"), "12345")
	put(t, s, envelope(2, "a@example.net"), "x")
	record(t, s, waits(1, 0, "net", start), mail.Update{Message: id(2), Standing: mail.Standing{State: mail.Held}}, stands(1, 1, mail.Delivered, true))
	for range 2 {
		st := s.Stat()
		if st.Messages != 2 || st.Recipients != 3 || st.Bytes != int64(2*len(head)+6) {
			t.Errorf("stat %+v", st)
		}
		if st.States[mail.Waiting] != 1 || st.States[mail.Held] != 1 || st.States[mail.Delivered] != 1 {
			t.Errorf("states %v", st.States)
		}
		s = reopen()
	}
}

func closedRefuses(t *testing.T, s spool.Spool, _ func() spool.Spool) {
	put(t, s, envelope(1, "a@example.net"), "x")
	d := s.NewDraft()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	err := d.Commit(ctx, envelope(2, "a@example.net"), []byte(head))
	if !errors.Is(err, spool.ErrClosed) || smtp.AsReply(err).Code != 451 {
		t.Errorf("commit: %v", err)
	}
	if err := s.Record(ctx, []mail.Update{waits(1, 0, "net", start)}); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("record: %v", err)
	}
}

func TestMemoryRefusesAsATestWants(t *testing.T) {
	m := spool.NewMemory()
	m.Refuse(spool.ErrFull)
	d := m.NewDraft()
	err := d.Commit(ctx, envelope(1, "a@example.net"), []byte(head))
	if !errors.Is(err, spool.ErrFull) || smtp.AsReply(err).Code != 452 {
		t.Errorf("got %v", err)
	}
	m.Refuse(nil)
	if err := d.Commit(ctx, envelope(1, "a@example.net"), []byte(head)); err != nil {
		t.Error(err)
	}
}
