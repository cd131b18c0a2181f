package message

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"paquebot/internal/mail"
)

func TestReceived(t *testing.T) {
	id, _ := mail.ParseID("01JD8XK3ZB000001")
	at := time.Date(2026, 11, 23, 9, 5, 7, 0, time.FixedZone("", 3600))
	tls := &mail.TLS{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256"}
	client := netip.MustParseAddrPort("192.0.2.1:5000")
	date := ";\r\n\tMon, 23 Nov 2026 09:05:07 +0100\r\n"

	for _, c := range []struct {
		name   string
		o      mail.Origin
		rcpt   string
		utf8   bool
		hide   bool
		want   string
		absent string
	}{
		{name: "RCV-2 RCV-3 RCV-4 clear, no reverse name",
			o:    mail.Origin{Role: mail.RoleMX, Client: client, Helo: "mail.example", ESMTP: true},
			rcpt: "b@example.org",
			want: "from mail.example ([192.0.2.1])\r\n\tby mx.test with ESMTP\r\n\tid 01JD8XK3ZB000001\r\n\tfor <b@example.org>"},
		{name: "RCV-2 RCV-5 IPv6, reverse name, TLS",
			o: mail.Origin{Role: mail.RoleMX, Client: netip.MustParseAddrPort("[2001:db8::1]:25"), Helo: "mail.example",
				Name: "out.example", ESMTP: true, TLS: tls},
			want: "from mail.example (out.example [IPv6:2001:db8::1])\r\n\tby mx.test with ESMTPS\r\n\tid 01JD8XK3ZB000001\r\n\ttls TLS_AES_128_GCM_SHA256"},
		{name: "RCV-4 HELO", o: mail.Origin{Role: mail.RoleMX, Client: client, Helo: "x"}, want: " with SMTP\r\n"},
		{name: "RCV-4 SMTPUTF8", o: mail.Origin{Role: mail.RoleMX, Client: client, Helo: "bücher.example", ESMTP: true}, utf8: true,
			rcpt: "jörg@bücher.example",
			want: "from bücher.example ([192.0.2.1])\r\n\tby mx.test with UTF8SMTP\r\n\tid 01JD8XK3ZB000001\r\n\tfor <jörg@bücher.example>"},
		{name: "SUB-26 RCV-3 submission hides the client and the recipient",
			o: mail.Origin{Role: mail.RoleSubmission, Client: client, Helo: "laptop.home", ESMTP: true, TLS: tls,
				Account: "anna", Name: "dsl.example"},
			rcpt: "b@example.org", hide: true,
			want:   "from [authenticated]\r\n\tby mx.test with ESMTPSA\r\n\tid 01JD8XK3ZB000001\r\n\ttls TLS_AES_128_GCM_SHA256",
			absent: "laptop|192.0.2|dsl|anna|for <"},
		{name: "SUB-26 hidden without AUTH does not claim it",
			o:    mail.Origin{Role: mail.RoleSubmission, Client: client, Helo: "x", ESMTP: true, Trusted: true},
			hide: true, want: "from [submission]", absent: "authenticated|192.0.2"},
		{name: "made here", o: mail.Origin{Role: mail.RoleLocal}, want: "Received: by mx.test\r\n\tid 01JD8XK3ZB000001;", absent: "from|with"},
		{name: "a greeting cannot forge",
			o:      mail.Origin{Role: mail.RoleMX, Client: client, Helo: "x) by evil (\r\nSubject: y;", ESMTP: true},
			want:   "from x??by?evil????Subject:?y? ([192.0.2.1])",
			absent: "\nSubject"},
		{name: "an address cannot forge", o: mail.Origin{Role: mail.RoleMX, Client: client, Helo: "x"},
			rcpt: "\"a\r\nb\"@example.org", want: "by mx.test", absent: "for"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := string(Received(c.o, "mx.test", id, c.rcpt, c.utf8, c.hide, at))
			if !strings.HasPrefix(got, "Received: ") || !strings.HasSuffix(got, date) { // RCV-7
				t.Errorf("%q", got)
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("%q\nlacks %q", got, c.want)
			}
			if c.absent != "" {
				for word := range strings.SplitSeq(c.absent, "|") {
					if strings.Contains(got, word) {
						t.Errorf("%q\nhas %q", got, word)
					}
				}
			}
			h, err := SplitHeader([]byte(got))
			if err != nil || len(h.Fields) != 1 || h.LongLines() {
				t.Errorf("%q is not one field", got)
			}
		})
	}
}

func TestReturnPath(t *testing.T) { // RCV-8
	if got := string(ReturnPath("")) + string(ReturnPath("a@b")); got != "Return-Path: <>\r\nReturn-Path: <a@b>\r\n" {
		t.Errorf("%q", got)
	}
}
