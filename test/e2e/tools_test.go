package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// paquebot send, to software we did not write and to ourselves.
func TestSendCommand(t *testing.T) {
	t.Parallel()
	startPostfix(t)
	s := startServer(t, settings{})
	for _, c := range []struct {
		name  string
		args  []string
		stdin string
		code  int
		box   string
		words []string // of the dialogue shown
	}{
		{name: "submission", stdin: password + "\n", box: s.box("bert"), words: []string{"STARTTLS", "235 2.7.0", "queued as"},
			args: []string{"--server", s.name + ":587", "--ca", s.w.ca.caFile, "--user", "anna", "--password-file", "-", "--from", s.at("anna"), "--to", s.at("bert")}},
		{name: "submissions", stdin: password + "\n", box: s.box("bert"), words: []string{"235 2.7.0", "queued as"},
			args: []string{"--server", s.name + ":465", "--ca", s.w.ca.caFile, "--user", "anna", "--password-file", "-", "--from", s.at("anna"), "--to", s.at("bert")}},
		{name: "a certificate nobody vouches for", stdin: password + "\n", code: 1, words: []string{"certificate"}, // P4
			args: []string{"--server", s.name + ":587", "--user", "anna", "--password-file", "-", "--from", s.at("anna"), "--to", s.at("bert")}},
		{name: "wrong password", stdin: "wrong\n", code: 1, words: []string{"535 5.7.8"},
			args: []string{"--server", s.name + ":587", "--ca", s.w.ca.caFile, "--user", "anna", "--password-file", "-", "--from", s.at("anna"), "--to", s.at("bert")}},
		{name: "Postfix", box: postfixBox(t, "anna"), words: []string{"STARTTLS", "250 2.0.0 Ok", "queued as"},
			args: []string{"--server", "mx.postfix.test:25", "--from", s.at("anna"), "--to", "anna@postfix.test"}},
		{name: "refused by Postfix", code: 1, words: []string{"550 5.1.1"},
			args: []string{"--server", "mx.postfix.test:25", "--from", s.at("anna"), "--to", "nobody@postfix.test"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			subject := "sent by the tool: [" + c.name + "]"
			r := s.w.cli(t, c.stdin, append([]string{"send", "--subject", subject}, c.args...)...)
			if r.code != c.code {
				t.Errorf("want exit code %d: %s", c.code, r)
			}
			mustContain(t, "what it showed", r.stdout+r.stderr, c.words...)
			if strings.Contains(r.stdout+r.stderr, strings.TrimSpace(c.stdin)) && c.stdin != "" && c.name != "wrong password" {
				t.Errorf("the password was shown: %s", r)
			}
			if c.box != "" {
				arrives(t, c.box, "Subject: "+subject)
			}
		})
	}
}

// paquebot send to where a provider, a configuration or MX records say; another
// program's server is at the other end.
func TestSendFindsTheWay(t *testing.T) {
	t.Parallel()
	startPostfix(t)
	startChasquid(t)
	w := need(t)
	pass := filepath.Join(t.TempDir(), "password")
	check(t, os.WriteFile(pass, []byte("secret\n"), 0o600))
	conf := filepath.Join(t.TempDir(), "paquebot.toml")
	check(t, os.WriteFile(conf, fmt.Appendf(nil, `hostname = "out.example.org"
data_dir = %q
[[route]]
match = { recipient = "postfix.test" }
via = "provider"
[smarthost.provider]
host = "mx.chasquid.test"
ports = [2525, 465]
username = "anna@chasquid.test"
password = { file = %q }
ca = %q
`, t.TempDir(), pass, w.ca.caFile), 0o600))
	dialogue := func(r result) string { return r.stdout + r.stderr }
	for _, c := range []struct {
		name  string
		args  []string
		code  int
		box   string
		words []string
		never []string
	}{
		{name: "by MX", args: []string{"--mx"}, box: postfixBox(t, "anna"), words: []string{"mx.postfix.test:25", "=== taken for 1 recipient"}},
		{name: "as the configuration routes it", args: []string{"-c", conf}, box: postfixBox(t, "anna"),
			words: []string{"mx.chasquid.test:2525: connection refused", "connected to mx.chasquid.test:465", "verified as mx.chasquid.test", "AUTH PLAIN <redacted", "=== taken"}},
		{name: "by a smart host of the configuration, as a rehearsal", args: []string{"-c", conf, "--via", "provider", "-n"},
			words: []string{"235 ", "nothing was sent"}, never: []string{"> DATA"}},
		{name: "by its name, and only until AUTH", args: []string{"-c", conf, "--via", "provider", "--quit-after", "auth", "--auth", "PLAIN"},
			words: []string{"~> AUTH PLAIN <redacted", "235 ", "stopped after auth"}, never: []string{"MAIL FROM"}},
		{name: "no such smart host", args: []string{"-c", conf, "--via", "provder"}, code: 2, words: []string{"in the configuration there are: provider"}},
		{name: "no such domain", args: []string{"--mx", "--to", "x@nowhere.postfix.test"}, code: 2, words: []string{"one domain at a time"}},
		{name: "nobody vouches for it", args: []string{"--server", "mx.chasquid.test", "--user", "anna@chasquid.test", "--password-file", pass}, code: 1,
			words: []string{"certificate", "No other port is"}, never: []string{"AUTH PLAIN", ":465 ["}}, // SH-3
		{name: "a login that is wrong", args: []string{"--server", "mx.chasquid.test:587", "--ca", w.ca.caFile, "--user", "anna@chasquid.test", "--password-file", conf}, code: 1,
			words: []string{"refused at the login", "check the user name and the password"}},
		{name: "for a machine", args: []string{"--mx", "--json"}, box: postfixBox(t, "anna"), words: []string{`"schema": "paquebot.send/1"`, `"ok": true`, `"server": "mx.postfix.test:25"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			subject := "finds the way: [" + c.name + "]"
			r := w.cli(t, "", append([]string{"send", "--subject", subject, "--from", "anna@chasquid.test", "--to", "anna@postfix.test"}, c.args...)...)
			if r.code != c.code {
				t.Errorf("want exit code %d: %s", c.code, r)
			}
			mustContain(t, "what it showed", dialogue(r), c.words...)
			for _, word := range append(c.never, "secret") {
				if strings.Contains(dialogue(r), word) {
					t.Errorf("%q is in it: %s", word, r)
				}
			}
			if c.box != "" {
				arrives(t, c.box, "Subject: "+subject)
			}
		})
	}
}

// paquebot sendmail, as programs call /usr/sbin/sendmail.
func TestSendmailCommand(t *testing.T) {
	t.Parallel()
	s := startServer(t, settings{})
	sendmail := func(stdin string, args ...string) result {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, s.w.bin, append([]string{"sendmail"}, args...)...)
		cmd.Env = append(os.Environ(), "PAQUEBOT_CONFIG="+s.conf)
		var out, errs bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
	}
	message := fmt.Sprintf("From: <%s>\nTo: <%s>\nBcc: <%s>\nSubject: from cron\n\nHello.\n", s.at("cron"), s.at("anna"), s.at("bert"))
	if r := sendmail(message, "-t", "-i", "-f", s.at("cron")); r.code != 0 {
		t.Fatal(r)
	}
	l := arrives(t, s.box("anna"), "Subject: from cron")
	if strings.Contains(l.String(), "Bcc") { // INT-7
		t.Errorf("Bcc is still there:\n%s", l)
	}
	arrives(t, s.box("bert"), "Subject: from cron")
	if r := sendmail(message, "-i", "-f", s.at("cron"), s.at("nobody")); r.code == 0 {
		t.Errorf("for nobody: %s", r)
	}
	s.kill()
	if r := sendmail(message, "-t"); r.code != 75 {
		t.Errorf("without a server, want 75 (EX_TEMPFAIL): %s", r)
	}
}
