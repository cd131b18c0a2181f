package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// pySend sends by smtplib and prints what it was told: "ok", "451 4.3.0", or the
// name of what went wrong. Arguments: port, user, sender, recipient, CA ("-": do
// not verify, in clear on port 25's twin).
const pySend = `
import smtplib, ssl, sys
port, user, sender, to, ca = sys.argv[1:6]
def first(code, text): return "%d %s" % (code, text.decode().split(" ")[0])
try:
    if user == "-":
        s = smtplib.SMTP("localhost", int(port), timeout=20)
    else:
        s = smtplib.SMTP("localhost", int(port), timeout=20)
        s.starttls(context=ssl.create_default_context(cafile=ca))
        s.login(user, "any")
    s.sendmail(sender, [to], "From: %s\r\nTo: %s\r\nSubject: to %s\r\n\r\nhello\r\n" % (sender, to, to))
    print("ok")
    s.quit()
except smtplib.SMTPRecipientsRefused as e: print(first(*e.recipients[to]))
except smtplib.SMTPResponseException as e: print(first(e.smtp_code, e.smtp_error))
except Exception as e: print(type(e).__name__, getattr(e, "verify_message", ""))
`

func (d *dev) ca(t *testing.T) string {
	t.Helper()
	return d.save(t, d.get(t, "/ca.pem"))
}

func (d *dev) save(t *testing.T, ca string) string {
	t.Helper()
	name := d.tmp + ".ca.pem"
	check(t, write(map[string]string{name: ca}))
	return name
}

func pySays(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "python3", append([]string{"-c", pySend}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("python3: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// A mail library that is not ours hears what the address says, with no set-up.
func TestMailFailsByAddress(t *testing.T) {
	d := startDev(t)
	ca := d.ca(t)
	for _, c := range []struct{ user, from, to, want string }{
		{"t1", "app@example.com", "550@shop.example", "550 5.1.1"},
		{"t1", "app@example.com", "anna+452@shop.example", "452 4.2.2"},
		{"t1", "app@example.com", "anna+data-554@shop.example", "554 5.7.1"},
		{"t1", "app@example.com", "anna+421@shop.example", "421 4.3.2"},
		{"t1", "app@example.com", "anna+drop@shop.example", "SMTPServerDisconnected"},
		{"t1", "app@example.com", "anna+drop-data@shop.example", "SMTPServerDisconnected"},
		{"t1", "app@example.com", "anna+reset@shop.example", "SMTPServerDisconnected"},
		{"t1", "app+mail-451@example.com", "anna@shop.example", "451 4.3.0"},
		{"temp", "app@example.com", "anna@shop.example", "454 4.7.0"},
		{"wrong", "app@example.com", "anna@shop.example", "535 5.7.8"},
		{"-", "app@example.com", "anna+551@shop.example", "551 5.1.6"},
		{"t1", "app@example.com", "anna@shop.example", "ok"},
	} {
		port := "1587"
		if c.user == "-" {
			port = "1025"
		}
		if got := pySays(t, port, c.user, c.from, c.to, ca); got != c.want {
			t.Errorf("%s to %s as %s: %s, want %s", c.from, c.to, c.user, got, c.want)
		}
	}
	var s struct {
		Sessions []struct {
			Mishap   string
			Dialogue []struct{ Text string }
		}
	}
	check(t, json.Unmarshal([]byte(d.get(t, "/api/dev/sessions")), &s))
	shown := map[string]bool{}
	for _, x := range s.Sessions {
		for _, l := range x.Dialogue {
			shown[x.Mishap] = shown[x.Mishap] || strings.Contains(l.Text, "on purpose, "+x.Mishap)
		}
	}
	for _, rule := range []string{"+550", "+452", "+data-554", "+421", "+drop", "+drop-data", "+reset", "+mail-451", "+temp"} {
		if !shown[rule] {
			t.Errorf("%s is not shown among the sessions, with its dialogue", rule)
		}
	}
}

// Twenty clients at once, each with a mailbox of its own, are deferred exactly
// twice each.
func TestDeferralIsTheSameForEveryTest(t *testing.T) {
	d := startDev(t)
	ca := d.ca(t)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			user, heard := fmt.Sprintf("suite-%d", i), ""
			for range 4 {
				out, err := exec.CommandContext(t.Context(), "python3", "-c", pySend, "1587", user, "app@example.com", "anna+defer-2@shop.example", ca).Output()
				heard += strings.TrimSpace(string(out)) + ","
				if err != nil {
					t.Error(err)
				}
			}
			if heard != "451 4.3.0,451 4.3.0,ok,ok," {
				t.Errorf("%s heard %s", user, heard)
			}
		})
	}
	all.Wait()
}

// The bounce and the complaint come back as mail, into the mailbox of the test
// that sent.
func TestMailComesBack(t *testing.T) {
	d := startDev(t)
	ca := d.ca(t)
	for word, q := range map[string]string{"bounce": "subject:undelivered", "complain": "subject:complaint"} {
		if got := pySays(t, "1587", "suite-"+word, "app@example.com", "anna+"+word+"@shop.example", ca); got != "ok" {
			t.Fatal(got)
		}
		var found struct {
			Messages []struct{ ID, Mailbox string }
		}
		check(t, json.Unmarshal([]byte(d.get(t, "/api/dev/wait?timeout=15s&mailbox=suite-"+word+"&q="+q)), &found))
		if len(found.Messages) != 1 {
			t.Fatalf("%+v", found)
		}
		raw := d.get(t, "/api/dev/messages/"+found.Messages[0].ID+"/raw")
		// Python's own parser takes it apart.
		cmd := exec.CommandContext(t.Context(), "python3", "-c", `
import sys, email
m = email.message_from_bytes(sys.stdin.buffer.read())
print(m.get_content_type(), m.get_param("report-type"), [p.get_content_type() for p in m.get_payload()])`)
		cmd.Stdin = strings.NewReader(raw)
		out, err := cmd.CombinedOutput()
		want := map[string]string{
			"bounce":   "multipart/report delivery-status ['text/plain', 'message/delivery-status', 'message/rfc822']",
			"complain": "multipart/report feedback-report ['text/plain', 'message/feedback-report', 'message/rfc822']",
		}[word]
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%v %s, want %s\n%s", err, out, want, raw)
		}
	}
}

// Rules are made, listed and ended from a shell; a certificate that is wrong is
// found out by a client that is not ours.
func TestRulesFromAShell(t *testing.T) {
	d := startDev(t, "--ports", "random")
	p := d.ports(t)
	res, err := http.Get(p.CA)
	check(t, err)
	pem, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	check(t, err)
	ca := d.save(t, string(pem))
	submit := fmt.Sprint(p.Submission)
	send := func() string { return pySays(t, submit, "suite", "app@example.com", "anna@shop.example", ca) }
	for _, c := range []struct {
		add  []string
		want string
	}{
		{[]string{"--stage", "tls", "--port", "587", "--certificate", "expired"}, "SSLCertVerificationError certificate has expired"},
		{[]string{"--stage", "tls", "--port", submit, "--certificate", "unknown-ca"}, "SSLCertVerificationError unable to get local issuer certificate"},
		{[]string{"--stage", "tls", "--certificate", "wrong-name"}, "SSLCertVerificationError Hostname mismatch, certificate is not valid for 'localhost'."},
		{[]string{"--stage", "ehlo", "--hide", "STARTTLS"}, "SMTPNotSupportedError"},
		{[]string{"--stage", "starttls", "--reply", "454"}, "454 4.7.0"},
		{[]string{"--stage", "connect", "--drop"}, "SMTPServerDisconnected"},
		{[]string{"--stage", "greeting", "--reply", "421"}, "421 Too"},
		{[]string{"--stage", "dot", "--user", "suite", "--subject", "*anna*", "--reply", "552 5.3.4 Too big"}, "552 5.3.4"},
		{[]string{"--stage", "dot", "--user", "somebody else", "--reply", "552"}, "ok"},
	} {
		p.must(t, 0, append([]string{"rules", "add", "--id", "r"}, c.add...)...)
		if got := send(); got != c.want {
			t.Errorf("%v: %s, want %s", c.add, got, c.want)
		}
	}
	listed := p.must(t, 0, "rules", "list")
	if !strings.Contains(listed, "somebody else") || !strings.Contains(listed, "struck 0 of 0") {
		t.Error(listed)
	}
	if out := p.must(t, 1, "rules", "add", "--stage", "rctp", "--drop"); !strings.Contains(out, `"rctp" is no stage`) {
		t.Error(out)
	}
	p.must(t, 0, "rules", "remove", "r")
	p.must(t, 1, "rules", "remove", "r")
	p.must(t, 0, "rules", "clear")
	if got := send(); got != "ok" {
		t.Error(got)
	}
}

// In production none of this exists: the same words are part of an address.
func TestAServerFailsNothingOnPurpose(t *testing.T) {
	s := startServer(t, settings{})
	k, err := dial(s.addr+":25", nil)
	check(t, err)
	defer k.close()
	check(t, k.must("250", "EHLO client.example"))
	check(t, k.must("250", "MAIL FROM:<>"))
	for _, local := range []string{"anna+550", "anna+drop", "anna+reset", "anna+data-554", "anna+bounce", "anna+defer-2", "anna+stall"} {
		if err := k.must("250 2.1.5", "RCPT TO:<%s>", s.at(local)); err != nil {
			t.Error(local, err)
		}
	}
	check(t, k.must("354", "DATA"))
	check(t, k.must("250 2.0.0 Ok: queued as", "Subject: ordinary addresses\r\n\r\nhello\r\n."))
	for _, local := range []string{"anna+550", "anna+data-554", "anna+bounce"} {
		arrives(t, s.box(local), "ordinary addresses")
	}
}
