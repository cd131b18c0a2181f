package report

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"net/netip"
	"strings"
	"testing"
	"time"

	"paquebot/internal/mail"
)

// complaint is one about original.
func complaint(original string) Complaint {
	return Complaint{
		ID: mail.ID{1}, Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Hostname: "mx.example.org", Recipient: "anna@example.net",
		Envelope: &mail.Envelope{
			From: "bounces@news.example", Arrived: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC), Params: mail.Params{EnvelopeID: "e-1"},
			Origin: mail.Origin{Client: netip.MustParseAddrPort("192.0.2.7:4000")},
		},
		Original: mail.Bytes(original),
	}
}

// FBL-1: three parts, read by a parser that is not ours.
func TestARF(t *testing.T) {
	original := "From: News <news@shop.example>\r\nSubject: hi\r\n\r\nhello\r\n"
	head, body, to, err := ARF(complaint(original))
	if err != nil || to != "bounces@news.example" {
		t.Fatal(to, err)
	}
	if n := bytes.Count(append(head, body...), []byte("\n")); n != bytes.Count(append(head, body...), []byte("\r\n")) {
		t.Error("a line does not end in CR LF") // DSN-8
	}
	m, err := netmail.ReadMessage(bytes.NewReader(append(head, body...)))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "feedback-report" {
		t.Fatal(kind, params, err)
	}
	r := multipart.NewReader(m.Body, params["boundary"])
	var parts []string
	for _, want := range []string{"text/plain", "message/feedback-report", "message/rfc822"} {
		p, err := r.NextPart()
		if err != nil || !strings.HasPrefix(p.Header.Get("Content-Type"), want) {
			t.Fatal(want, p, err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, string(b))
	}
	want := "Feedback-Type: abuse\r\nUser-Agent: Paquebot/1.0\r\nVersion: 1\r\nOriginal-Envelope-Id: e-1\r\n" +
		"Original-Mail-From: <bounces@news.example>\r\nOriginal-Rcpt-To: <anna@example.net>\r\n" +
		"Arrival-Date: Fri, 2 Jan 2026 03:00:00 +0000\r\nReporting-MTA: dns; mx.example.org\r\nSource-IP: 192.0.2.7\r\nReported-Domain: shop.example\r\n"
	if parts[1] != want {
		t.Errorf("%s\nwant\n%s", parts[1], want)
	}
	if parts[2] != original {
		t.Errorf("%q", parts[2])
	}
}

// RFC 9477: the message names where complaints go. Nothing in it can add a
// field, or name more than one address.
func TestARFGoesWhereTheMessageSays(t *testing.T) {
	for field, want := range map[string]string{
		"": "bounces@news.example",
		"CFBL-Address: fbl@shop.example; report=arf\r\n":   "fbl@shop.example",
		"CFBL-Address: fbl@shop.example\r\n":               "fbl@shop.example",
		"CFBL-Address: <fbl@shop.example>; report=arf\r\n": "fbl@shop.example",
		"CFBL-Address: fbl@shop.example; report=xarf\r\n":  "bounces@news.example",
		"CFBL-Address: a@b.example, c@d.example\r\n":       "bounces@news.example",
		"CFBL-Address: nonsense\r\n":                       "bounces@news.example",
	} {
		head, _, to, err := ARF(complaint(field + "From: a@shop.example\r\n\r\nhello\r\n"))
		if err != nil || to != want || !strings.Contains(string(head), "\r\nTo: <"+want+">\r\n") {
			t.Errorf("%q: to %s, want %s (%v)", field, to, want, err)
		}
	}
}

// DSN-2: who sent with the null path hears nothing.
func TestNoComplaintToNobody(t *testing.T) {
	c := complaint("Subject: hi\r\n\r\n")
	c.Envelope.From = ""
	if _, _, _, err := ARF(c); err == nil {
		t.Error("a complaint to nobody")
	}
}

// A large message is complained about by its header (DSN-7).
func TestARFOfALargeMessage(t *testing.T) {
	_, body, _, err := ARF(complaint("Subject: large\r\n\r\n" + strings.Repeat("x\r\n", originalMax)))
	if err != nil || len(body) > 4<<10 || !strings.Contains(string(body), "text/rfc822-headers") {
		t.Errorf("%d octets, %v", len(body), err)
	}
}
