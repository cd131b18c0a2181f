package report

import (
	"bytes"
	"flag"
	"io"
	"mime"
	"net/mail"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/textproto"

	house "paquebot/internal/mail"
	"paquebot/internal/smtp"
)

var update = flag.Bool("update", false, "rewrite the goldens")

var (
	arrived = time.Date(2026, 11, 20, 8, 30, 0, 0, time.UTC)
	now     = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	source  = "Received: from client by mx.here.example; Fri, 20 Nov 2026 08:30:00 +0000\r\n" +
		"From: Ada <ada@here.example>\r\nTo: bob@there.example\r\nSubject: Plans\r\nMessage-ID: <plans@here.example>\r\n\r\n" +
		"--not a boundary\r\n.\r\nThe body.\r\n"
	peer   = netip.MustParseAddrPort("192.0.2.25:25")
	noUser = house.Outcome{Result: house.Refused, Stage: house.StageRcpt, Host: "mx.there.example", Addr: peer, At: now,
		Reply: smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{Class: 5, Subject: 1, Detail: 1}, Text: "No such user here.\nSee https://there.example/help?code=550-5.1.1 for what that means and what you can do about it, if anything."}}
	greylisted = house.Outcome{Result: house.Deferred, Stage: house.StageRcpt, Host: "mx.there.example", Addr: peer, At: now.Add(-time.Hour),
		Reply: smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 7, Detail: 1}, Text: "Greylisted"}}
	noAnswer = house.Outcome{Result: house.Deferred, Stage: house.StageConnect, Ours: true, Reply: smtp.NoHost, At: now}
	tookIt   = house.Outcome{Result: house.Accepted, Stage: house.StageDot, Host: "mx.there.example", NoDSN: true, At: now,
		Reply: smtp.Reply{Code: 250, Enhanced: smtp.Enhanced{Class: 2}, Text: "Ok: queued as 4711"}}
)

func id(t *testing.T, s string) house.ID {
	t.Helper()
	id, err := house.ParseID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func notice(t *testing.T, recipients ...Recipient) Notice {
	return Notice{
		ID: id(t, "1Q3REP0RT0000001"), Now: now, Hostname: "mx.here.example", Recipients: recipients, Original: house.Bytes(source),
		Envelope: &house.Envelope{ID: id(t, "1Q3MESSAGE000001"), Arrived: arrived, From: "ada@here.example", Subject: "Plans", MessageID: "plans@here.example"},
	}
}

func recipient(a Action, address string, o house.Outcome) Recipient {
	return Recipient{Action: a, Recipient: house.Recipient{Address: address, Standing: house.Standing{Last: o, Tries: 1}}}
}

// cases are the reports whose text is kept in testdata.
func cases(t *testing.T) map[string]Notice {
	all := map[string]Notice{
		"failed":  notice(t, recipient(Failed, "bob@there.example", noUser)),
		"expired": notice(t, recipient(Failed, "bob@there.example", greylisted), recipient(Failed, "carol@dead.example", noAnswer)),
		"relayed": notice(t, recipient(Relayed, "bob@there.example", tookIt)),
		"mixed":   notice(t, recipient(Failed, "bob@there.example", noUser), recipient(Delayed, "carol@dead.example", noAnswer), recipient(Delivered, "dan@here.example", tookIt)),
	}
	delayed := recipient(Delayed, "bob@there.example", greylisted)
	delayed.RetryUntil = arrived.Add(5 * 24 * time.Hour)
	all["delayed"] = notice(t, delayed)

	expanded := notice(t, recipient(Expanded, "list@here.example", house.Outcome{}))
	expanded.Envelope.Params.EnvelopeID = "QQ314159"
	expanded.Recipients[0].Original = "rfc822;list@here.example"
	all["expanded"] = expanded

	headers := notice(t, recipient(Failed, "bob@there.example", noUser))
	headers.Envelope.Params.Return = house.ReturnHeaders
	headers.Envelope.Params.EnvelopeID = "QQ314159"
	headers.Recipients[0].Original = "rfc822;Bob+Plans@there.example"
	all["headers"] = headers

	// DSN-12: the return path cannot take UTF-8, the recipient is UTF-8.
	xtext := notice(t, recipient(Failed, "bø+b@dømi.example", noUser))
	xtext.Recipients[0].Original = "utf-8;bø+b@dømi.example"
	xtext.Envelope.Subject = "Plän"
	all["utf8-xtext"] = xtext

	unitext := notice(t, recipient(Failed, "bø+b@dømi.example", noUser))
	unitext.Envelope.From, unitext.Envelope.Params.UTF8 = "ædá@here.example", true
	unitext.Recipients[0].Original = "utf-8;bø+b@dømi.example"
	all["utf8-global"] = unitext
	return all
}

func TestReports(t *testing.T) {
	for name, n := range cases(t) {
		t.Run(name, func(t *testing.T) {
			head, body, utf8, err := DSN(n)
			if err != nil {
				t.Fatal(err)
			}
			if want := name == "utf8-global"; utf8 != want {
				t.Errorf("needs SMTPUTF8: %v", utf8)
			}
			got := append(head, body...)
			structure(t, got, n)
			golden(t, filepath.Join("testdata", name+".eml"), got)
		})
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (-update rewrites it); got\n%s", path, got)
	}
}

// structure checks what holds for every report, with a parser that is not ours.
func structure(t *testing.T, report []byte, n Notice) {
	t.Helper()
	lines(t, report)
	e, err := message.Read(bytes.NewReader(report))
	if err != nil {
		t.Fatalf("go-message: %v", err)
	}
	kind, params, err := e.Header.ContentType()
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" { // DSN-3
		t.Errorf("%s %v: %v", kind, params, err)
	}
	for _, name := range []string{"Date", "From", "To", "Subject", "Message-Id", "Auto-Submitted", "Mime-Version", "Content-Type"} {
		fields := e.Header.FieldsByKey(name)
		if fields.Len() != 1 {
			t.Errorf("%d fields %s", fields.Len(), name)
		}
	}
	if got := e.Header.Get("Auto-Submitted"); got != "auto-replied" { // DSN-8
		t.Errorf("Auto-Submitted: %s", got)
	}
	if _, err := mail.ParseDate(e.Header.Get("Date")); err != nil {
		t.Error(err)
	}
	if got := strings.Trim(e.Header.Get("To"), "<>"); got != n.Envelope.From {
		t.Errorf("To: %s", got)
	}
	parts := e.MultipartReader()
	var kinds []string
	for i := 0; ; i++ {
		p, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := p.Header.ContentType()
		kinds = append(kinds, kind)
		content, err := io.ReadAll(p.Body)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			blocks(t, content, n)
		}
	}
	if len(kinds) != 3 || kinds[0] != "text/plain" {
		t.Errorf("parts %v", kinds)
	}
}

// lines: CRLF only, none too long (DSN-8, TRAP-19, RFC 5322 §2.1.1).
func lines(t *testing.T, report []byte) {
	t.Helper()
	for l := range bytes.SplitSeq(report, []byte("\r\n")) {
		if len(l) > lineMax || bytes.ContainsAny(l, "\r\n") {
			t.Errorf("line %.80q", l)
		}
	}
	if !bytes.HasSuffix(report, []byte("\r\n")) {
		t.Error("the end is no line end")
	}
}

// blocks reads the delivery-status part: a block for the message, one for each
// recipient, with the fields of DSN-4.
func blocks(t *testing.T, content []byte, n Notice) {
	t.Helper()
	var all []textproto.Header
	for b := range bytes.SplitSeq(bytes.TrimSuffix(content, []byte("\r\n")), []byte("\r\n\r\n")) {
		h, err := readHeader(b)
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		all = append(all, h)
	}
	if len(all) != 1+len(n.Recipients) {
		t.Fatalf("%d blocks for %d recipients", len(all), len(n.Recipients))
	}
	if all[0].Get("Reporting-MTA") != "dns; "+n.Hostname || all[0].Has("Original-Envelope-Id") != (n.Envelope.Params.EnvelopeID != "") {
		t.Errorf("message block %v", all[0].Map())
	}
	for i, r := range n.Recipients {
		h := all[i+1]
		if h.Get("Final-Recipient") == "" || h.Get("Action") != string(r.Action) {
			t.Errorf("block %v", h.Map())
		}
		status, ok := smtp.ParseEnhanced(h.Get("Status"))
		if want := map[Action]uint16{Failed: 5, Delayed: 4}[r.Action]; !ok || status.Class != max(want, 2) {
			t.Errorf("%s has status %s", r.Action, h.Get("Status"))
		}
		if h.Has("Original-Recipient") != (r.Original != "") {
			t.Errorf("Original-Recipient iff ORCPT: %v", h.Map())
		}
		if h.Has("Diagnostic-Code") != (!r.Last.Ours && r.Last.Result != house.Untried) || h.Has("Will-Retry-Until") && r.Action != Delayed {
			t.Errorf("block %v", h.Map())
		}
	}
}

func readHeader(b []byte) (textproto.Header, error) {
	e, err := message.Read(bytes.NewReader(append(append([]byte(nil), b...), "\r\n\r\n"...)))
	if e == nil {
		return textproto.Header{}, err
	}
	return e.Header.Header, nil
}

// TestStatus is the table of DSN-5 and DSN-9 (TRAP-19: nothing is guessed from text).
func TestStatus(t *testing.T) {
	plain := func(result house.Result, code int, stage house.Stage, ours bool, e smtp.Enhanced) house.Outcome {
		return house.Outcome{Result: result, Stage: stage, Ours: ours, Reply: smtp.Reply{Code: code, Enhanced: e}}
	}
	e := func(c, s, d uint16) smtp.Enhanced { return smtp.Enhanced{Class: c, Subject: s, Detail: d} }
	for _, row := range []struct {
		name   string
		action Action
		o      house.Outcome
		want   string
	}{
		{"the peer's", Failed, plain(house.Refused, 550, house.StageRcpt, false, e(5, 1, 1)), "5.1.1"},
		{"unknown ones verbatim", Failed, plain(house.Refused, 550, house.StageRcpt, false, e(5, 7, 515)), "5.7.515"},
		{"class does not match the code: not used", Failed, plain(house.Refused, 550, house.StageRcpt, false, e(2, 1, 5)), "5.0.0"},
		{"none given, none guessed", Failed, plain(house.Refused, 550, house.StageRcpt, false, e(0, 0, 0)), "5.0.0"},
		{"given up is class 5", Failed, plain(house.Deferred, 451, house.StageRcpt, false, e(4, 7, 1)), "5.4.7"},
		{"null MX", Failed, house.Outcome{Result: house.Refused, Ours: true, Reply: smtp.NullMX}, "5.1.10"},
		{"delayed", Delayed, plain(house.Deferred, 451, house.StageRcpt, false, e(4, 7, 1)), "4.7.1"},
		{"no answer", Delayed, house.Outcome{Result: house.Deferred, Ours: true, Stage: house.StageConnect, Reply: smtp.NoHost}, "4.4.1"},
		{"delayed, 5yz enhanced on 4yz", Delayed, plain(house.Deferred, 450, house.StageRcpt, false, e(5, 1, 1)), "4.0.0"},
		{"delivered", Delivered, plain(house.Accepted, 250, house.StageDot, false, e(2, 0, 0)), "2.0.0"},
		{"delivered without code", Delivered, plain(house.Accepted, 250, house.StageDot, false, e(0, 0, 0)), "2.0.0"},
		{"relayed to a mailer without DSN", Relayed, plain(house.Accepted, 250, house.StageDot, false, e(0, 0, 0)), "2.1.9"},
		{"expanded", Expanded, house.Outcome{}, "2.0.0"},
	} {
		if got := Status(row.action, row.o).String(); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

// DSN-7, DSN-13: what of the message is returned.
func TestWhatIsReturned(t *testing.T) {
	large := house.Bytes(source + strings.Repeat("0123456789abcdef\r\n", originalMax/16))
	for _, row := range []struct {
		name   string
		action Action
		set    func(*Notice)
		want   string
	}{
		{"failure: whole", Failed, func(*Notice) {}, "message/rfc822"},
		{"RET=FULL", Failed, func(n *Notice) { n.Envelope.Params.Return = house.ReturnFull }, "message/rfc822"},
		{"RET=HDRS", Failed, func(n *Notice) { n.Envelope.Params.Return = house.ReturnHeaders }, "text/rfc822-headers"},
		{"large", Failed, func(n *Notice) { n.Original = large }, "text/rfc822-headers"},
		{"binary", Failed, func(n *Notice) { n.Envelope.Params.Body = house.BodyBinary }, "text/rfc822-headers"},
		{"REQUIRETLS", Failed, func(n *Notice) { n.Envelope.Params.RequireTLS = true }, "text/rfc822-headers"},
		{"gone", Failed, func(n *Notice) { n.Original = nil }, "text/rfc822-headers"},
		{"delay, RET=FULL", Delayed, func(n *Notice) { n.Envelope.Params.Return = house.ReturnFull }, "text/rfc822-headers"},
		{"success", Delivered, func(*Notice) {}, "text/rfc822-headers"},
	} {
		n := notice(t, recipient(row.action, "bob@there.example", noUser))
		row.set(&n)
		_, body, _, err := DSN(n)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
		if !strings.Contains(string(body), "Content-Type: "+row.want+"\r\n") {
			t.Errorf("%s: no %s", row.name, row.want)
		}
		if whole := strings.Contains(string(body), "The body."); whole != (row.want == "message/rfc822") {
			t.Errorf("%s: body returned: %v", row.name, whole)
		}
	}
}

// What a peer says, and what a message holds, cannot write the report.
func TestNobodyElseWritesTheReport(t *testing.T) {
	evil := noUser
	evil.Host = "mx\r\nX-Evil: 1"
	evil.Reply.Text = "a\r\n\r\n--=_\nX-Evil: 2\x00\x1b[2J"
	n := notice(t, recipient(Failed, "bob@there.example\r\nX-Evil: 3", evil))
	n.Envelope.Subject, n.Envelope.MessageID = "x\r\nX-Evil: 4", "x>\r\nX-Evil: 5"
	n.Envelope.Params.EnvelopeID = "x\r\nX-Evil: 6"
	n.Recipients[0].Original = "rfc822;x\r\nX-Evil: 7"
	boundary := n.boundary()
	n.Original = house.Bytes(source + "--" + boundary + "--\r\n")
	head, body, _, err := DSN(n)
	if err != nil {
		t.Fatal(err)
	}
	all := string(head) + string(body)
	if strings.Contains(all, "\nX-Evil") {
		t.Errorf("a field was smuggled in:\n%s", all)
	}
	_, params, _ := mime.ParseMediaType("multipart/report; " + all[strings.Index(all, "boundary="):strings.Index(all, "\r\nContent-Transfer")])
	if params["boundary"] == boundary {
		t.Error("the boundary is in a part")
	}
	structure(t, []byte(all), n)
}

func TestNothingIsToldToNobody(t *testing.T) {
	n := notice(t, recipient(Failed, "bob@there.example", noUser))
	n.Envelope.From = "" // DSN-2
	if _, _, _, err := DSN(n); err == nil {
		t.Error("a report to <>")
	}
}

func FuzzDSN(f *testing.F) {
	f.Add("550 no\r\nsuch", "bob@there.example", "rfc822;x", "Subject: x\r\n\r\nbody")
	f.Add("ø\x00", "bø\\b@x", ";", "")
	f.Add(strings.Repeat("x", 3000), strings.Repeat("y ", 900), "utf-8;ø", strings.Repeat("z", 2000))
	f.Fuzz(func(t *testing.T, said, address, orcpt, content string) {
		o := noUser
		o.Reply.Text = said
		n := notice(t, recipient(Failed, address, o))
		n.Recipients[0].Original, n.Original = orcpt, house.Bytes("Subject: x\r\n\r\n")
		n.Envelope.Subject = said
		head, body, _, err := DSN(n)
		if err != nil {
			t.Fatal(err)
		}
		lines(t, append(head, body...))
		_ = content
	})
}

// TRAP-19, DSN-2: only the null reverse path forbids a report; what a message
// says of itself does not. And no two reports share a Message-ID.
func TestContentForbidsNoReport(t *testing.T) {
	n := notice(t, recipient(Failed, "bob@there.example", noUser))
	n.Original = house.Bytes("Subject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\n" +
		"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b--\r\n")
	first, _, _, err := DSN(n)
	if err != nil {
		t.Fatal(err)
	}
	n.ID = id(t, "1Q3REP0RT0000002")
	second, _, _, err := DSN(n)
	if err != nil {
		t.Fatal(err)
	}
	field := func(head []byte) string {
		_, rest, _ := strings.Cut(string(head), "Message-ID: ")
		value, _, _ := strings.Cut(rest, "\r\n")
		return value
	}
	if field(first) == "" || field(first) == field(second) {
		t.Errorf("Message-ID %q and %q", field(first), field(second))
	}
}
