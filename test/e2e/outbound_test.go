package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

func TestWeDeliverByMX(t *testing.T) {
	t.Parallel()
	startPostfix(t)
	startChasquid(t)
	sink, alone := smtpSink(t), newPlace(t)
	s := startServer(t, settings{})

	t.Run("Postfix", func(t *testing.T) {
		t.Parallel()
		id := s.submit(t, "anna", "", s.note("anna", "to Postfix"), "anna@postfix.test")
		l := arrives(t, postfixBox(t, "anna"), "Subject: to Postfix")
		mustContain(t, "Postfix's Received", l.Header["Received"][0], "from "+s.name, "ESMTPS", "TLSv1.3")
		mustContain(t, "our Received", l.Header["Received"][1], "by "+s.name, "ESMTPSA", id)
		if l.Header.Get("Return-Path") != "<"+s.at("anna")+">" || len(l.Header["Return-Path"]) != 1 {
			t.Errorf("Return-Path: %q", l.Header["Return-Path"])
		}
		s.happens(t, id, "delivery.tried", "accepted", "mx.postfix.test")
	})

	t.Run("chasquid", func(t *testing.T) {
		t.Parallel()
		s.submit(t, "anna", "", s.note("anna", "to chasquid"), "anna@chasquid.test")
		l := arrives(t, chasquidBox(t, "anna"), "Subject: to chasquid")
		mustContain(t, "chasquid's copy", l.String(), s.name, "ESMTPS")
	})

	t.Run("both at once, and one unknown", func(t *testing.T) {
		t.Parallel()
		s.submit(t, "anna", "", s.note("anna", "to many"), "anna@postfix.test", "nobody@postfix.test", "anna@chasquid.test")
		arrives(t, postfixBox(t, "anna"), "Subject: to many")
		arrives(t, chasquidBox(t, "anna"), "Subject: to many")
		d := bounced(t, s, "anna", "to many")
		if len(d.recipients) != 1 { // CLI-36, DSN-10
			t.Fatalf("the report names %d recipients, want one:\n%s", len(d.recipients), d)
		}
		mustContain(t, "Final-Recipient", d.recipients[0].Get("Final-Recipient"), "nobody@postfix.test")
		mustContain(t, "Diagnostic-Code", d.recipients[0].Get("Diagnostic-Code"), "smtp; 550", "User unknown")
		mustContain(t, "Remote-MTA", d.recipients[0].Get("Remote-MTA"), "mx.postfix.test")
	})

	t.Run("SMTPUTF8", func(t *testing.T) {
		t.Parallel()
		s.submit(t, "anna", " SMTPUTF8", s.note("anna", "Grüße"), "jörg@postfix.test")
		l := arrives(t, postfixBox(t, "joerg"), "Subject: Grüße")
		mustContain(t, "Postfix's Received", l.Header["Received"][0], "UTF8SMTPS")
	})

	t.Run("a big message", func(t *testing.T) {
		t.Parallel()
		body := strings.Repeat(".A line that begins with a dot and is there often.\r\n", 100_000)
		s.submit(t, "anna", "", s.note("anna", "big out")+body, "bulk@postfix.test")
		l := arrives(t, postfixBox(t, "bulk"), "Subject: big out")
		if got := strings.Count(l.Body, "\n.A line"); got != 100_000 { // SRV-6
			t.Errorf("%d of 100000 lines arrived as they were", got)
		}
	})

	for _, c := range []struct{ name, domain string }{
		{"the address itself when there is no MX", "implicit." + sink.domain},
		{"the second exchanger when the first is dead", "second." + sink.domain},
		{"the exchanger of a CNAME's target", "alias." + sink.domain},
	} {
		t.Run(c.name, func(t *testing.T) { // MX-1, MX-2, MX-4
			t.Parallel()
			s.submit(t, "anna", "", s.note("anna", c.name), "anna@"+c.domain)
			got := reaches(t, sink, "Subject: "+c.name)
			mustContain(t, "what the sink got", got, "X-Rcpt-Args: <anna@"+c.domain+">")
		})
	}

	for _, c := range []struct {
		name, to string
		bounce   []string // what the report says; none: it waits
		wait     []string // what the trace says
	}{
		{name: "we are the exchanger: a loop", to: "anna@loop." + s.name, wait: []string{"deferred", "4.4.6"}}, // MX-8: the DNS may be changing
		{name: "only exchangers before us count", to: "anna@backup." + s.name, wait: []string{"deferred", "4.4.1"}},
		{name: "nobody answers", to: "anna@dead-mx." + alone.domain, wait: []string{"deferred", "4.4.1"}},  // CLI-20
		{name: "the DNS is broken", to: "anna@broken.test", wait: []string{"deferred", "4.4.3"}},           // MX-9
		{name: "the exchanger is in somebody's cellar", to: "anna@inside.test", bounce: []string{"5.4.4"}}, // MX-10
		{name: "the exchanger has no address", to: "anna@lost.test", bounce: []string{"5.4.4"}},            // MX-9
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			id := s.submit(t, "anna", "", s.note("anna", c.name), c.to)
			if c.bounce != nil {
				d := bounced(t, s, "anna", "Subject: "+c.name)
				mustContain(t, "Status", d.recipients[0].Get("Status"), c.bounce...)
				return
			}
			s.happens(t, id, "delivery.tried", append(c.wait, c.to)...)
		})
	}
}

func TestWeDeliverByLMTP(t *testing.T) {
	t.Parallel()
	startDovecot(t)
	s := startServer(t, settings{
		domain: fmt.Sprintf("deliver = \"lmtp://%s:24\"\nrecipients = \"any\"", dovecotAddr),
		more:   "[[domain]]\nname = \"verify.test\"\ndeliver = \"lmtp://" + dovecotAddr + ":24\"\nrecipients = \"verify\"\n",
	})
	t.Run("each recipient has its own reply", func(t *testing.T) { // INT-4
		t.Parallel()
		k, err := dial(s.addr+":25", nil)
		check(t, err)
		defer k.close()
		check(t, k.must("250", "EHLO client.test"))
		// A sender who can be told: Dovecot keeps anna's mail, so the report comes there.
		reply, err := k.transaction(s.at("bert"), s.note("bert", "by LMTP"), s.at("anna"), s.at("nobody"))
		check(t, err)
		_, err = queuedAs(reply)
		check(t, err)
		l := arrives(t, dovecotBox(t, "anna"), "Subject: by LMTP")
		mustContain(t, "Dovecot's copy", l.String(), "Return-Path: <"+s.at("bert")+">", "with LMTP", "by "+s.name)
		bounce := arrives(t, dovecotBox(t, "bert"), "multipart/report", "Subject: by LMTP")
		d := openReport(t, bounce)
		mustContain(t, "Final-Recipient", d.recipients[0].Get("Final-Recipient"), s.at("nobody"))
		mustContain(t, "Diagnostic-Code", d.recipients[0].Get("Diagnostic-Code"), "550")
	})
	t.Run("the next hop is asked at RCPT", func(t *testing.T) {
		t.Parallel()
		k, err := dial(s.addr+":25", nil)
		check(t, err)
		defer k.close()
		check(t, k.must("250", "EHLO client.test"))
		check(t, k.must("250", "MAIL FROM:<>"))
		check(t, k.must("550 5.1.1", "RCPT TO:<nobody@verify.test>"))
		check(t, k.must("250", "RCPT TO:<anna@verify.test>"))
		check(t, k.must("221", "QUIT"))
	})
}

// What becomes of mail for a server with bad manners (standards 13.2, 13.4).
var manners = []struct {
	name    string
	options string // of smtp-sink
	then    string // delivered, deferred, bounced
	with    []string
}{
	{"good ones", "", "delivered", []string{"X-Client-Proto: ESMTP"}},
	{"no ESMTP", "-e", "delivered", []string{"X-Client-Proto: SMTP"}},
	{"a Cisco PIX in between", "-P", "delivered", nil},
	{"no 8BITMIME", "-8", "delivered", nil},
	{"no pipelining", "-p", "delivered", nil},
	{"no DSN", "-N", "delivered", nil},
	{"no enhanced codes", "-E", "delivered", nil},
	{"slow to take the content", "-H 1", "delivered", nil},
	{"slow to answer DATA", "-w 1", "delivered", nil},
	{"EHLO refused, HELO taken", "-f EHLO", "delivered", []string{"X-Client-Proto: SMTP"}}, // CLI-22
	{"QUIT refused", "-f QUIT", "delivered", nil},                                          // CLI-35
	{"QUIT unanswered", "-q QUIT", "delivered", nil},                                       // MIS-16

	{"421 as a greeting", "-Q CONNECT", "deferred", []string{"421"}}, // CLI-21
	{"5xx as a greeting", "-f CONNECT", "deferred", []string{"500"}}, // CLI-21: once, an hour later it bounces
	{"hangs up at once", "-q CONNECT", "deferred", []string{"4.4.2"}},
	{"hangs up after EHLO", "-q EHLO", "deferred", []string{"4.4.2"}},
	{"neither EHLO nor HELO", "-f EHLO,HELO", "deferred", []string{"500"}},
	{"EHLO answered 421", "-Q EHLO", "deferred", []string{"421"}}, // CLI-33
	{"4xx to MAIL", "-r MAIL", "deferred", []string{"450 4.3.0"}}, // CLI-25
	{"4xx to RCPT", "-r RCPT", "deferred", []string{"450 4.3.0"}}, // CLI-26
	{"4xx to DATA", "-r DATA", "deferred", []string{"450 4.3.0"}}, // CLI-27
	{"4xx to the message", "-r .", "deferred", []string{"450 4.3.0"}},
	{"4xx of its own words", "-r RCPT -b '451_4.7.1_Greylisted'", "deferred", []string{"451 4.7.1 Greylisted"}},
	{"hangs up after MAIL", "-q MAIL", "deferred", []string{"4.4.2"}},
	{"hangs up after RCPT", "-q RCPT", "deferred", []string{"4.4.2"}},
	{"hangs up after DATA", "-q DATA", "deferred", []string{"4.4.2"}},
	{"hangs up after the message", "-q .", "deferred", []string{"4.4.2", `"ambiguous":true`}}, // CLI-29
	{"421 to MAIL", "-Q MAIL", "deferred", []string{"421"}},
	{"421 to DATA", "-Q DATA", "deferred", []string{"421"}},
	{"421 to RCPT", "-Q RCPT", "deferred", []string{"421"}},
	{"421 to the message", "-Q .", "deferred", []string{"421"}},

	{"5xx to MAIL", "-f MAIL", "bounced", []string{"500 5.3.0 Error: command failed"}}, // CLI-25
	{"5xx to RCPT", "-f RCPT", "bounced", []string{"500 5.3.0 Error: command failed"}}, // CLI-26
	{"5xx to DATA", "-f DATA", "bounced", []string{"500 5.3.0 Error: command failed"}}, // CLI-27
	{"5xx to the message", "-f .", "bounced", []string{"500 5.3.0 Error: command failed"}},
	{"5xx of its own words", "-f RCPT -B '550_5.2.1_Gone_fishing'", "bounced", []string{"550 5.2.1 Gone fishing"}},
	{"550 in the middle of the content", "-A 0", "bounced", []string{"550"}}, // CLI-28
}

func TestBadManners(t *testing.T) {
	t.Parallel()
	s := startServer(t, settings{})
	for _, m := range manners {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			sink := smtpSink(t, options(m.options)...)
			to := "anna@" + sink.domain
			id := s.submit(t, "anna", "", s.note("anna", m.name), to)
			switch m.then {
			case "delivered":
				got := reaches(t, sink, "Subject: "+m.name)
				mustContain(t, "what the sink got", got, append(m.with, "X-Rcpt-Args: <"+to+">", "X-Mail-Args: <"+s.at("anna")+">")...)
				s.happens(t, id, "recipient.settled", "delivered")
			case "deferred":
				s.happens(t, id, "delivery.tried", append(m.with, "deferred", to)...)
				s.happens(t, id, "recipient.settled", "waiting")
			case "bounced":
				d := bounced(t, s, "anna", "Subject: "+m.name)
				mustContain(t, "Diagnostic-Code", d.recipients[0].Get("Diagnostic-Code"), append(m.with, "smtp;")...)
				mustContain(t, "Final-Recipient", d.recipients[0].Get("Final-Recipient"), "rfc822;", to)
			}
		})
	}
}

// options splits a command line; "_" stands for a space within an argument.
func options(line string) []string {
	var args []string
	for _, f := range strings.Fields(line) {
		args = append(args, strings.ReplaceAll(strings.Trim(f, "'"), "_", " "))
	}
	return args
}

// Several messages for one site use one connection (CLI-40).
func TestConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	sink := smtpSink(t, "-w", "1") // slow enough that all wait together
	s := startServer(t, settings{more: "[[shape]]\nsite = \"*\"\nconnections = 1\n"})
	const messages = 5
	for i := range messages {
		s.submit(t, "anna", "", s.note("anna", fmt.Sprintf("again %d", i)), "anna@"+sink.domain)
	}
	eventually(t, func() error {
		if n := len(dumped(t, sink, "Subject: again ")); n < messages {
			return fmt.Errorf("%d of %d arrived", n, messages)
		}
		return nil
	})
	// One connection is ours in the log when we looked whether the sink answers.
	if n := strings.Count(here.log("sink-"+sink.domain), "connect (AF_INET 45.77.0.1)") - 1; n >= messages {
		t.Errorf("%d connections for %d messages", n, messages)
	}
}

// DSN parameters: who is told what (standards 15).
func TestReportsAreSentAsAsked(t *testing.T) {
	t.Parallel()
	good, bad := smtpSink(t, "-N"), smtpSink(t, "-f", "RCPT")
	s := startServer(t, settings{})
	for _, c := range []struct {
		name, mail, rcpt string
		to               place
		action           string // of the report; "" for none
		words            []string
		not              []string
	}{
		{name: "failure", mail: " RET=HDRS ENVID=QQ314159", rcpt: " NOTIFY=FAILURE ORCPT=rfc822;Carol+2Bx@example.org", to: bad,
			action: "failed", words: []string{"Original-Envelope-Id: QQ314159", "Original-Recipient: rfc822;Carol+x@example.org", "text/rfc822-headers"}, not: []string{"Hello."}},
		{name: "the whole message", mail: " RET=FULL", to: bad, action: "failed", words: []string{"message/rfc822", "Hello."}, not: []string{"Original-Envelope-Id", "Original-Recipient"}},
		{name: "never", rcpt: " NOTIFY=NEVER", to: bad},
		{name: "success only", rcpt: " NOTIFY=SUCCESS", to: bad},
		{name: "success, relayed to a server without DSN", rcpt: " NOTIFY=SUCCESS", to: good, action: "relayed", words: []string{"Status: 2.", "text/rfc822-headers"}},
		{name: "nothing asked, nothing told", to: good},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			id := s.submit(t, "anna", c.mail, s.note("anna", c.name), "<anna@"+c.to.domain+">"+c.rcpt)
			if c.action == "" {
				s.happens(t, id, "message.finished")
				if found, err := maildir(s.box("anna"), "Subject: "+c.name); err != nil || len(found) > 0 {
					t.Errorf("nobody wanted to be told: %v %v", err, found)
				}
				return
			}
			d := bounced(t, s, "anna", "Subject: "+c.name)
			if got := d.recipients[0].Get("Action"); !strings.HasPrefix(got, c.action) {
				t.Errorf("Action: %q, want %s", got, c.action)
			}
			mustContain(t, "the report", d.String(), c.words...)
			for _, w := range c.not {
				if strings.Contains(d.String(), w) {
					t.Errorf("the report holds %q:\n%s", w, d)
				}
			}
		})
	}
}

// A next hop that speaks DSN is handed the wishes, and sends the reports itself
// (EXT-7, TRAP-12).
func TestReportsOfTheNextHop(t *testing.T) {
	t.Parallel()
	startPostfix(t)
	s := startServer(t, settings{})
	id := s.submit(t, "anna", " RET=HDRS ENVID=QQ+2B27", s.note("anna", "tell me"), "<anna@postfix.test> NOTIFY=SUCCESS ORCPT=rfc822;Anna+2BX@example.org")
	arrives(t, postfixBox(t, "anna"), "Subject: tell me")
	told := arrives(t, s.box("anna"), "multipart/report", "Subject: tell me")
	mustContain(t, "Postfix's report", told.String(), "Reporting-MTA: dns; mx.postfix.test", "Original-Envelope-Id: QQ+27", "Action: delivered", "Anna+X@example.org", "text/rfc822-headers")
	s.happens(t, id, "message.finished")
	if ours, err := maildir(s.box("anna"), "Reporting-MTA: dns; "+s.name); err != nil || len(ours) > 0 {
		t.Errorf("a report of ours beside the next hop's: %v %v", err, ours)
	}
}

// A message nobody takes is given up, and its sender told so (DSN-5). A minute
// is the least that a queue may keep mail, so this is the longest of the tests.
func TestMailIsGivenUp(t *testing.T) {
	t.Parallel()
	sink := smtpSink(t, "-r", "RCPT")
	s := startServer(t, settings{queue: "retry = [\"5s\"]\nexpire = \"1m\"\nnotify_delay = \"1s\""})
	began := time.Now()
	s.submit(t, "anna", "", s.note("anna", "in vain"), "anna@"+sink.domain)

	delayed := openReport(t, arrives(t, s.box("anna"), "Subject: in vain", "Action: delayed"))
	mustContain(t, "Will-Retry-Until", delayed.recipients[0].Get("Will-Retry-Until"), began.Add(time.Minute).UTC().Format("2 Jan 2006"))

	ctx, cancel := context.WithTimeout(t.Context(), 80*time.Second)
	defer cancel()
	check(t, until(ctx, func() error {
		found, err := maildir(s.box("anna"), "Subject: in vain", "Action: failed")
		if err == nil && len(found) == 0 {
			err = errors.New("no failure report yet")
		}
		return err
	}))
	failed := openReport(t, arrives(t, s.box("anna"), "Subject: in vain", "Action: failed"))
	if got := failed.recipients[0].Get("Status"); !strings.HasPrefix(got, "5.") {
		t.Errorf("Status %q: class 5 is owed for what failed for good", got)
	}
	mustContain(t, "Diagnostic-Code", failed.recipients[0].Get("Diagnostic-Code"), "450 4.3.0")
	if took := time.Since(began); took < 55*time.Second {
		t.Errorf("given up after %v, want a minute", took)
	}
	arrives(t, s.box("anna"), "Subject: in vain", "Action: delayed") // still only one
}

// reaches waits until smtp-sink has exactly one message with all the words.
func reaches(t *testing.T, p place, words ...string) string {
	t.Helper()
	var got []string
	eventually(t, func() error {
		if got = dumped(t, p, words...); len(got) == 0 {
			return fmt.Errorf("nothing with %q at %s:\n%s", words, p.domain, cut(here.log("sink-"+p.domain)))
		}
		return nil
	})
	if len(got) > 1 {
		t.Errorf("%d copies of %q", len(got), words)
	}
	return got[0]
}

// report is a delivery status notification, taken to pieces (RFC 3464).
type report struct {
	letter
	message    textproto.MIMEHeader
	recipients []textproto.MIMEHeader
}

// bounced waits for the report about a message in its sender's mailbox.
func bounced(t *testing.T, s *server, box string, words ...string) report {
	t.Helper()
	return openReport(t, arrives(t, s.box(box), append(words, "multipart/report")...))
}

// openReport checks a report's structure and takes it to pieces.
func openReport(t *testing.T, l letter) report {
	t.Helper()
	d := report{letter: l}
	if got := l.Header.Get("Return-Path"); got != "<>" { // DSN-1
		t.Errorf("Return-Path of a report: %q, want <>", got)
	}
	for _, f := range []string{"From", "To", "Date", "Message-Id", "Subject", "Mime-Version"} { // DSN-8
		if len(l.Header[f]) != 1 {
			t.Errorf("%d fields %s in the report", len(l.Header[f]), f)
		}
	}
	mustContain(t, "Auto-Submitted", l.Header.Get("Auto-Submitted"), "auto-replied")
	kind, params, err := mime.ParseMediaType(l.Header.Get("Content-Type"))
	check(t, err)
	if kind != "multipart/report" || params["report-type"] != "delivery-status" { // DSN-3
		t.Fatalf("Content-Type: %s %v", kind, params)
	}
	parts := multipart.NewReader(strings.NewReader(l.Body), params["boundary"])
	var kinds []string
	for {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		check(t, err)
		kinds = append(kinds, kind)
		b, err := io.ReadAll(p)
		check(t, err)
		if kind == "message/delivery-status" || kind == "message/global-delivery-status" {
			d.message, d.recipients = statusGroups(t, b)
		}
	}
	if len(kinds) != 3 || kinds[0] != "text/plain" || d.message == nil {
		t.Fatalf("parts of the report: %q", kinds)
	}
	mustContain(t, "Reporting-MTA", d.message.Get("Reporting-MTA"), "dns;") // DSN-4
	for _, r := range d.recipients {
		for _, f := range []string{"Final-Recipient", "Action", "Status"} {
			if r.Get(f) == "" {
				t.Errorf("%s is missing in %v", f, r)
			}
		}
	}
	if len(d.recipients) == 0 {
		t.Fatalf("a report about nobody:\n%s", l)
	}
	return d
}

func statusGroups(t *testing.T, b []byte) (message textproto.MIMEHeader, recipients []textproto.MIMEHeader) {
	t.Helper()
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	for i, group := range strings.Split(strings.TrimSpace(string(b)), "\n\n") {
		h, err := readHeader(group)
		check(t, err)
		if i == 0 {
			message = h
		} else {
			recipients = append(recipients, h)
		}
	}
	return message, recipients
}
