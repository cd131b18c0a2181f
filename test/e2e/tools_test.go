package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
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
