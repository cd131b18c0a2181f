package message

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

func submission() Submission {
	id, _ := mail.ParseID("01JD8XK3ZB000001")
	return Submission{ID: id, Domain: "example.org", Now: time.Date(2026, 11, 23, 9, 5, 7, 0, time.UTC), AuthservID: "mx.example.org"}
}

const full = "From: a@example.org|Date: Mon, 23 Nov 2026 09:00:00 +0000|Message-ID: <1@example.org>"

// The rows of standards §8. Fields are separated by "|". want is the whole
// header after repair, or the beginning of the refusal.
func TestPrepare(t *testing.T) {
	for _, c := range []struct {
		id   string
		in   string
		with func(*Submission)
		want string
		made string // comma-separated
	}{
		{id: "nothing to do", in: full + "|To: b@c", want: full + "|To: b@c"},

		{id: "SUB-20 missing", in: "From: a@b|Message-ID: <1@b>",
			want: "From: a@b|Message-ID: <1@b>|Date: Mon, 23 Nov 2026 09:05:07 +0000", made: "added Date"},
		{id: "SUB-20 unreadable is kept", in: "From: a@b|Message-ID: <1@b>|Date: yesterday", want: "From: a@b|Message-ID: <1@b>|Date: yesterday"},
		{id: "SUB-20 unreadable, strict", in: "From: a@b|Date: yesterday", with: func(s *Submission) { s.Strict = true }, want: "554 5.6.0"},
		{id: "SUB-20 obsolete form is readable, strict", in: "From: a@b|Message-ID: <1@b>|Date: 23 Nov 26 09:00 EST",
			with: func(s *Submission) { s.Strict = true }, want: "From: a@b|Message-ID: <1@b>|Date: 23 Nov 26 09:00 EST"},

		{id: "SUB-21 missing", in: "From: a@b|Date: x", want: "From: a@b|Date: x|Message-ID: <01jd8xk3zb000001@example.org>", made: "added Message-ID"},
		{id: "SUB-21 invalid", in: "From: a@b|Message-ID: 42|Date: x", want: "From: a@b|Message-ID: <01jd8xk3zb000001@example.org>|Date: x", made: "replaced Message-ID"},
		{id: "SUB-21 empty", in: "From: a@b|Message-ID:|Date: x", want: "From: a@b|Message-ID: <01jd8xk3zb000001@example.org>|Date: x", made: "replaced Message-ID"},

		{id: "SUB-22 off by default", in: full, with: func(s *Submission) { s.Principal = "other@example.org" }, want: full},
		{id: "SUB-22 added", in: full, with: func(s *Submission) { s.Principal, s.AddSender = "other@example.org", true },
			want: full + "|Sender: <other@example.org>", made: "added Sender"},
		{id: "SUB-22 author is the principal", in: full, with: func(s *Submission) { s.Principal, s.AddSender = "a@EXAMPLE.org", true }, want: full},
		{id: "SUB-22 replaced", in: full + "|Sender: x@y", with: func(s *Submission) { s.Principal, s.AddSender = "p@example.org", true },
			want: full + "|Sender: <p@example.org>", made: "replaced Sender"},
		{id: "SUB-22 several authors need one", in: "From: a@b, c@d|Date: x|Message-ID: <1@b>", with: func(s *Submission) { s.MailFrom = "a@b" },
			want: "From: a@b, c@d|Date: x|Message-ID: <1@b>|Sender: <a@b>", made: "added Sender"},
		{id: "SUB-22 several authors and nobody to send", in: "From: a@b, c@d", want: "554 5.6.0"},
		{id: "SUB-22 several authors, one given", in: "From: a@b, c@d|Sender: c@d|Date: x|Message-ID: <1@b>",
			want: "From: a@b, c@d|Sender: c@d|Date: x|Message-ID: <1@b>"},

		{id: "SUB-23 missing", in: "To: b@c", want: "550 5.6.0"},
		{id: "SUB-23 empty", in: "From:", want: "550 5.6.0"},
		{id: "SUB-23 empty group", in: "From: nobody:;", want: "550 5.6.0"},
		{id: "SUB-23 two fields", in: "From: a@b|From: c@d", want: "550 5.6.0"},
		{id: "SUB-23 garbage", in: "From: <<a@b>", want: "550 5.6.0"},
		{id: "SUB-23 made from the principal", in: "Date: x|Message-ID: <1@b>", with: func(s *Submission) { s.Principal, s.MakeFrom = "p@example.org", true },
			want: "Date: x|Message-ID: <1@b>|From: <p@example.org>", made: "added From"},

		{id: "SUB-24", in: full + "|Bcc: s@t,\r\n u@v|To: b@c|bcc: w@x|Resent-Bcc: y@z", want: full + "|To: b@c", made: "removed Bcc"},
		{id: "SUB-25", in: "Return-Path: <x@y>|" + full, want: full, made: "removed Return-Path"},

		{id: "SUB-27 ours", in: "Authentication-Results: MX.example.org 1; spf=pass|" + full, want: full, made: "removed Authentication-Results in our name"},
		{id: "SUB-27 ours behind a comment", in: "Authentication-Results: (x;y) \"mx.example.org\"; none|" + full, want: full, made: "removed Authentication-Results in our name"},
		{id: "SUB-27 another's", in: "Authentication-Results: mx.example.net; spf=pass|" + full, want: "Authentication-Results: mx.example.net; spf=pass|" + full},

		{id: "SUB-28 bare", in: full, with: func(s *Submission) { s.Body8Bit, s.BodyUTF8 = true, true },
			want: full + "|MIME-Version: 1.0|Content-Type: text/plain; charset=utf-8|Content-Transfer-Encoding: 8bit", made: "added MIME-Version"},
		{id: "SUB-28 no MIME-Version", in: full + "|Content-Type: text/html", with: func(s *Submission) { s.Body8Bit = true },
			want: full + "|Content-Type: text/html|MIME-Version: 1.0", made: "added MIME-Version"},
		{id: "SUB-28 no Content-Type", in: full + "|MIME-Version: 1.0|Content-Transfer-Encoding: 8bit", with: func(s *Submission) { s.Body8Bit, s.BodyUTF8 = true, true },
			want: full + "|MIME-Version: 1.0|Content-Transfer-Encoding: 8bit|Content-Type: text/plain; charset=utf-8", made: "added Content-Type"},
		{id: "SUB-28 not UTF-8", in: full, with: func(s *Submission) { s.Body8Bit = true }, want: "554 5.6.0"},
		{id: "SUB-28 7-bit is left", in: full, want: full},

		{id: "SUB-31 off", in: full + "|To: root", want: full + "|To: root"},
		{id: "SUB-31", in: full + "|To: root (the boss), Anna <anna>,\r\n b@c, \"x y\"|Cc: d@e", with: func(s *Submission) { s.QualifyWith = "example.org" },
			want: full + "|To: root@example.org (the boss), Anna <anna@example.org>,\r\n b@c, \"x y\"@example.org|Cc: d@e", made: "qualified addresses with example.org"},

		{id: "SUB-32 Subject", in: full + "|Subject: a|subject: b", want: "554 5.6.0"},
		{id: "SUB-32 To", in: full + "|To: a@b|To: c@d", want: "554 5.6.0"},
		{id: "SUB-32 Message-ID", in: full + "|Message-Id: <2@b>", want: "554 5.6.0"},
		{id: "SUB-32 Content-Type", in: full + "|Content-Type: text/plain|Content-Type: text/html", want: "554 5.6.0"},

		{id: "SUB-33 section", in: full + strings.Repeat("|X-Fill: "+strings.Repeat("a", 500), 600), want: "552 5.3.4"},
		{id: "SUB-33 a word too long", in: full + "|Subject: " + strings.Repeat("a", 1200), want: "552 5.3.4"},

		{id: "SUB-34", in: full, with: func(s *Submission) { s.Unsubscribe, s.OneClick = "<https://u.example/1>", true },
			want: full + "|List-Unsubscribe: <https://u.example/1>|List-Unsubscribe-Post: List-Unsubscribe=One-Click", made: "added List-Unsubscribe"},
		{id: "SUB-34 the sender's own stays", in: full + "|List-Unsubscribe: <mailto:u@b>", with: func(s *Submission) { s.Unsubscribe = "<https://u.example/1>" },
			want: full + "|List-Unsubscribe: <mailto:u@b>"},

		{id: "SUB-35 SUB-36", in: full + "|TLS-Required: No|Disposition-Notification-To: a@b|Return-Receipt-To: a@b",
			want: full + "|TLS-Required: No|Disposition-Notification-To: a@b|Return-Receipt-To: a@b"},
		{id: "SUB-42", in: "X-Paquebot-Idempotency-Key: k1|" + full, want: full, made: "removed X-Paquebot-Idempotency-Key"},

		{id: "SRV-8 NUL", in: full + "|Subject: a\x00b", want: "554 5.6.0"},
		{id: "SRV-1 bare LF", in: full + "|Subject: a\nb", want: "554 5.6.0"},
		{id: "a line that is no field", in: full + "|hello world", want: "554 5.6.0"},
		{id: "mbox line", in: "From a@b Mon Nov 23 09:00:00 2026|" + full, want: full, made: "removed mbox From line"},
	} {
		t.Run(c.id, func(t *testing.T) {
			s := submission()
			if c.with != nil {
				c.with(&s)
			}
			in := []byte(strings.ReplaceAll(c.in, "|", "\r\n") + "\r\n\r\n")
			h := split(in)
			got, made, err := Prepare(h, s)
			if !bytes.Equal(h.Bytes(), in) {
				t.Errorf("the header given was changed")
			}
			if len(c.want) > 3 && c.want[3] == ' ' && c.want[0] == '5' {
				var r smtp.Reply
				if !errors.As(err, &r) || !strings.HasPrefix(r.String(), c.want) {
					t.Errorf("%v, want %s", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.ReplaceAll(c.want, "|", "\r\n") + "\r\n\r\n"; string(got.Bytes()) != want {
				t.Errorf("got  %q\nwant %q", got.Bytes(), want)
			}
			if strings.Join(made, ",") != c.made {
				t.Errorf("repairs %q, want %q", made, c.made)
			}
		})
	}
}

// split reads a header of any size, as a session of a lenient port might hold it.
func split(head []byte) Header {
	var h Header
	for len(head) > 2 {
		n := fieldEnd(head)
		h.Fields = append(h.Fields, Field{Name: fieldName(head[:n]), Raw: head[:n]})
		head = head[n:]
	}
	return h
}

// SUB-33: folding changes line ends only, keeps every line within 998 octets
// and never makes a line of white space.
func TestRefold(t *testing.T) {
	for _, value := range []string{
		strings.Repeat("<0123456789@example.org> ", 50),
		strings.Repeat("a ", 900),
		strings.Repeat("b", 990) + " " + strings.Repeat("c", 990),
		"x" + strings.Repeat(" ", 900) + strings.Repeat("y", 200),
	} {
		h := Header{[]Field{NewField("X-Long", value)}}
		h.Fields = append(h.Fields, split([]byte(strings.ReplaceAll(full, "|", "\r\n")+"\r\n\r\n")).Fields...)
		got, made, err := Prepare(h, submission())
		if err != nil {
			t.Errorf("%.40q: %v", value, err)
			continue
		}
		if got.Get("X-Long") != h.Get("X-Long") {
			t.Errorf("%.40q: the value changed", value)
		}
		if got.LongLines() || !slices.Equal(made, []string{"folded X-Long"}) {
			t.Errorf("%.40q: %q", value, made)
		}
		for line := range got.Lines() {
			if len(bytes.TrimSpace(line)) == 0 {
				t.Errorf("%.40q: a blank line within the header", value)
			}
		}
	}
}

// White space alone cannot be folded, and must not cost time (a header of
// 256 KiB of blanks).
func TestRefoldBlanks(t *testing.T) {
	value := "X: a" + strings.Repeat(" ", HeaderMax-100) + "b\r\n"
	if _, err := refold([]byte(value)); !errors.Is(err, errNoFold) {
		t.Error(err)
	}
}

// SUB-40: refusals come first, so that a refused message was never changed, and
// each row of standards §8 that is about the header stands in a table.
func TestTablesNameTheirRows(t *testing.T) {
	have := map[string]bool{}
	for _, c := range submissionChecks {
		have[c.id] = true
	}
	for _, r := range submissionRepairs {
		have[r.id] = true
	}
	for _, id := range []string{"SUB-20", "SUB-21", "SUB-22", "SUB-23", "SUB-24", "SUB-25", "SUB-27", "SUB-28", "SUB-31", "SUB-32", "SUB-33", "SUB-34", "SUB-42"} {
		if !have[id] {
			t.Errorf("no row for %s", id)
		}
	}
}

func FuzzPrepare(f *testing.F) {
	f.Add([]byte(strings.ReplaceAll(full, "|", "\r\n")+"\r\n"), true, true, true)
	f.Add([]byte("From: a, b\r\nTo: \"x\r\n y\" (z) <c>\r\nBcc: d\r\n\r\n"), false, true, false)
	f.Add([]byte("From x\r\nFrom: a@b\r\nMessage-ID: <<>\r\nX: "+strings.Repeat("a ", 600)+"\r\n"), true, false, true)
	f.Fuzz(func(t *testing.T, head []byte, eight, utf8, more bool) {
		h, err := SplitHeader(head)
		if err != nil {
			return
		}
		s := submission()
		s.Body8Bit, s.BodyUTF8 = eight, utf8
		if more {
			s.Principal, s.MakeFrom, s.AddSender, s.QualifyWith = "p@example.org", true, true, "example.org"
		}
		before := h.Bytes()
		got, _, err := Prepare(h, s)
		if !bytes.Equal(before, h.Bytes()) {
			t.Fatal("the header given was changed")
		}
		if err != nil {
			var r smtp.Reply
			if !errors.As(err, &r) || !r.Permanent() {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		// What comes out is a valid header, and Prepare has nothing more to do.
		again, made, err := Prepare(got, s)
		if err != nil || len(made) > 0 || !bytes.Equal(again.Bytes(), got.Bytes()) {
			t.Fatalf("%q: a second time %v %v: %q", got.Bytes(), made, err, again.Bytes())
		}
		if got.Count("From") != 1 || got.Count("Date") != 1 || got.Count("Message-ID") != 1 || got.Has("Bcc") || got.LongLines() {
			t.Fatalf("%q", got.Bytes())
		}
	})
}
