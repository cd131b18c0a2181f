package e2e

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
)

// relayPostfix hands a message to Postfix, which has to bring it to us.
func relayPostfix(t *testing.T, from, message string, to ...string) {
	t.Helper()
	k, err := dial(postfixAddr+":25", nil)
	check(t, err)
	defer k.close()
	check(t, k.must("250", "EHLO client.test"))
	reply, err := k.transaction(from, message, to...)
	check(t, expected(reply, err, "250"))
}

// relayChasquid hands a message to chasquid, as its account anna.
func relayChasquid(t *testing.T, message string, to ...string) {
	t.Helper()
	k, err := dial(chasquidAddr+":465", here.ca.client("mx.chasquid.test"))
	check(t, err)
	defer k.close()
	check(t, k.must("250", "EHLO client.test"))
	check(t, k.must("235", "AUTH PLAIN %s", plain("anna@chasquid.test", "secret")))
	reply, err := k.transaction("anna@chasquid.test", message, to...)
	check(t, expected(reply, err, "250"))
}

func TestServersDeliverToUs(t *testing.T) {
	t.Parallel()
	startPostfix(t)
	startChasquid(t)
	s := startServer(t, settings{})

	t.Run("Postfix with STARTTLS", func(t *testing.T) {
		t.Parallel()
		relayPostfix(t, "anna@postfix.test", s.note("anna", "from Postfix"), s.at("anna"))
		l := arrives(t, s.box("anna"), "Subject: from Postfix")
		// P25-8: a name in the certificate; RCV-2, RCV-4.
		mustContain(t, "our Received", l.Header["Received"][0], "from mx.postfix.test", "["+"45.77.", "by "+s.name, " with ESMTPS", "id ")
		if got := l.Header.Get("Return-Path"); got != "<anna@postfix.test>" {
			t.Errorf("Return-Path: %q", got)
		}
		if n := len(l.Header["Received"]); n != 2 { // RCV-1: one for each hop, theirs kept
			t.Errorf("%d Received fields, want 2:\n%s", n, l)
		}
	})

	t.Run("chasquid with STARTTLS", func(t *testing.T) {
		t.Parallel()
		relayChasquid(t, s.note("anna", "from chasquid"), s.at("anna"))
		l := arrives(t, s.box("anna"), "Subject: from chasquid")
		mustContain(t, "our Received", l.Header["Received"][0], "from mx.chasquid.test", " with ESMTPS")
	})

	t.Run("a big message in 8 bits, unchanged", func(t *testing.T) {
		t.Parallel()
		line := "Grüße an alle, die hier mitlesen: äöü ÄÖÜ ß € – “quoted”. .\r\n..two dots\r\n"
		body := strings.Repeat(line, 5<<20/len(line))
		message := "From: <anna@postfix.test>\r\nSubject: big one\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + body
		relayPostfix(t, "<anna@postfix.test> BODY=8BITMIME", message, s.at("bert"))
		l := arrives(t, s.box("bert"), "Subject: big one")
		sum := func(s string) [32]byte { return sha256.Sum256([]byte(strings.ReplaceAll(s, "\r\n", "\n"))) }
		if sum(l.Body) != sum(body) { // REL-7
			t.Errorf("the body changed: %d octets came, %d were sent", len(l.Body), len(body))
		}
	})

	t.Run("SMTPUTF8", func(t *testing.T) {
		t.Parallel()
		message := "From: <grüße@postfix.test>\r\nSubject: Überseepost\r\n\r\nHallo.\r\n"
		relayPostfix(t, "<grüße@postfix.test> SMTPUTF8", message, s.at("anna"))
		l := arrives(t, s.box("anna"), "Subject: Überseepost")
		mustContain(t, "our Received", l.Header["Received"][0], " with UTF8SMTPS") // RFC 6531 section 4.3
		if got := l.Header.Get("Return-Path"); got != "<grüße@postfix.test>" {
			t.Errorf("Return-Path: %q", got) // TRAP-11
		}
	})

	t.Run("several recipients, one unknown", func(t *testing.T) {
		t.Parallel()
		mark := "some of you"
		relayPostfix(t, "anna@postfix.test", s.note("anna", mark), s.at("anna"), s.at("nobody"), s.at("bert"))
		arrives(t, s.box("anna"), "Subject: "+mark) // SRV-25: the others are served
		arrives(t, s.box("bert"), "Subject: "+mark)
		bounce := arrives(t, postfixBox(t, "anna"), mark, "multipart/report")
		mustContain(t, "Postfix's bounce", bounce.String(), "rfc822;"+s.at("nobody"), "5.1.1", "Remote-MTA: dns; "+s.name) // P25-5
		if strings.Contains(bounce.String(), fmt.Sprintf("Final-Recipient: rfc822; %s", s.at("anna"))) {
			t.Errorf("an accepted recipient bounced:\n%s", bounce)
		}
	})

	t.Run("postmaster without a domain", func(t *testing.T) { // P25-3, TRAP-32
		t.Parallel()
		k, err := dial(s.addr+":25", nil)
		check(t, err)
		defer k.close()
		check(t, k.must("250", "EHLO client.test"))
		reply, err := k.transaction("", s.note("anna", "to postmaster"), "<PostMaster>")
		check(t, err)
		if _, err := queuedAs(reply); err != nil {
			t.Error(err)
		}
		check(t, k.must("221", "QUIT"))
		arrives(t, s.box("postmaster"), "Subject: to postmaster")
	})
}
