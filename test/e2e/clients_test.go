package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// security is how a client is told to begin.
type security string

const (
	clear    security = "clear"    // no TLS at all
	starttls security = "starttls" // 25, 587, 2525
	implicit security = "implicit" // 465
)

// sending is one message as a client program is asked to send it.
type sending struct {
	host, port     string
	security       security
	user, password string // none: no AUTH
	from, to       string
	message        string // header and body as they are to arrive, CRLF
	ca             string // file
}

// client is a program that submits mail. It returns all it printed.
type client struct {
	name string
	send func(context.Context, sending) *exec.Cmd
}

var clients = []client{
	{"curl", curl},
	{"swaks", swaks},
	{"msmtp", msmtp},
	{"smtplib", smtplib},
	{"nodemailer", nodemailer},
}

// What each client must achieve on each port, and what it must be told
// otherwise (standards 3.3, 3.8). An empty reply means: accepted.
var submissions = []struct {
	name     string
	port     string
	security security
	account  string // "" for no AUTH
	password string
	from     string // a local part of our domain; default: the account
	to       string // default: anna at our domain; "@" is replaced by "@our domain"
	with     string // of the Received field, when accepted
	reply    string // that the client must have been told, when refused
	refused  bool   // refused, but clients differ in how far they get
}{
	{name: "587", port: "587", security: starttls, account: "bert", with: "ESMTPSA"},
	{name: "465", port: "465", security: implicit, account: "bert", with: "ESMTPSA"},
	{name: "2525", port: "2525", security: starttls, account: "bert", with: "ESMTPSA"},

	// TE-6
	{name: "587 wrong password", port: "587", security: starttls, account: "bert", password: "wrong", reply: "535 5.7.8"},
	{name: "465 wrong password", port: "465", security: implicit, account: "bert", password: "wrong", reply: "535 5.7.8"},
	{name: "2525 wrong password", port: "2525", security: starttls, account: "bert", password: "wrong", reply: "535 5.7.8"},
	{name: "587 unknown user", port: "587", security: starttls, account: "nobody", reply: "535 5.7.8"},

	// TE-5
	{name: "587 no AUTH", port: "587", security: starttls, from: "bert", reply: "530 5.7.0 Authentication required"},
	{name: "465 no AUTH", port: "465", security: implicit, from: "bert", reply: "530 5.7.0 Authentication required"},
	{name: "2525 no AUTH", port: "2525", security: starttls, from: "bert", reply: "530 5.7.0 Authentication required"},

	// TE-1, TE-2
	{name: "587 no TLS", port: "587", security: clear, from: "bert", reply: "530 5.7.0 Must issue a STARTTLS command first"},
	{name: "2525 no TLS", port: "2525", security: clear, from: "bert", reply: "530 5.7.0 Must issue a STARTTLS command first"},
	{name: "587 AUTH without TLS", port: "587", security: clear, account: "bert", refused: true},
	{name: "2525 AUTH without TLS", port: "2525", security: clear, account: "bert", refused: true},

	// P25-1, P25-2, P25-7, TE-11, TE-12: port 25 takes mail for its own domain from
	// anybody, and AUTH from nobody.
	{name: "25 for us", port: "25", security: clear, from: "stranger@postfix.test", with: "ESMTP"},
	{name: "25 for us, TLS", port: "25", security: starttls, from: "stranger@postfix.test", with: "ESMTPS"},
	{name: "25 relay", port: "25", security: starttls, from: "bert", to: "anna@postfix.test", reply: "550 5.7.1"},
	{name: "25 unknown user", port: "25", security: starttls, from: "stranger@postfix.test", to: "nobody@", reply: "550 5.1.1"},
	{name: "25 AUTH", port: "25", security: starttls, account: "bert", to: "anna@postfix.test", refused: true},

	// TE-7, TE-10, MX-7, RC-25
	{name: "sender of somebody else", port: "587", security: starttls, account: "bert", from: "anna", reply: "550 5.7.1"},
	{name: "unknown recipient", port: "587", security: starttls, account: "bert", to: "nobody@", reply: "550 5.1.1"},
	{name: "unknown domain", port: "587", security: starttls, account: "bert", to: "anna@nowhere.test", reply: "550 5.1.2"},
	{name: "null MX", port: "587", security: starttls, account: "bert", to: "anna@null.test", reply: "556 5.1.10"},
}

func TestClientsSubmit(t *testing.T) {
	t.Parallel()
	s := startServer(t, settings{})
	for _, c := range clients {
		for i, row := range submissions {
			t.Run(c.name+"/"+row.name, func(t *testing.T) {
				t.Parallel()
				mark := fmt.Sprintf("%s-%d-%d", c.name, i, time.Now().UnixNano())
				job := sending{
					host: s.name, port: row.port, security: row.security, ca: s.w.ca.caFile,
					user: row.account, password: row.password, from: row.from, to: row.to,
				}
				if job.user != "" && job.password == "" {
					job.password = password
				}
				if job.from == "" {
					job.from = row.account
				}
				if !strings.Contains(job.from, "@") {
					job.from = s.at(job.from)
				}
				if job.to == "" {
					job.to = "anna@"
				}
				if strings.HasSuffix(job.to, "@") {
					job.to += s.name
				}
				// Neither Date nor Message-ID, and a Bcc: submission repairs it.
				job.message = fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nBcc: <secret@example.org>\r\nSubject: %s\r\n\r\n.A line with a dot.\r\n", job.from, job.to, mark)

				said, err := c.run(t, job)
				if row.reply != "" || row.refused {
					if err == nil {
						t.Fatalf("sent, although it had to be refused:\n%s", said)
					}
					mustContain(t, "what "+c.name+" printed", said, row.reply)
					return
				}
				if err != nil {
					t.Fatalf("refused: %v\n%s", err, said)
				}
				l := arrives(t, s.box("anna"), mark)
				mustContain(t, "Received", l.Header.Get("Received"), " with "+row.with, "by "+s.name)
				if !strings.Contains(l.Body, "\n.A line with a dot.") && !strings.HasPrefix(l.Body, ".A line with a dot.") {
					t.Errorf("body changed: %q", l.Body)
				}
				if row.account != "" {
					repaired(t, s, l)
				}
			})
		}
	}
}

// repaired checks what submission owes a message (standards 8).
func repaired(t *testing.T, s *server, l letter) {
	t.Helper()
	if _, err := l.Header.Date(); err != nil { // SUB-20
		t.Errorf("Date: %v", err)
	}
	mustContain(t, "Message-ID", l.Header.Get("Message-ID"), "@"+s.name+">") // SUB-21
	if l.Header.Get("Bcc") != "" || strings.Contains(l.String(), "secret@example.org") {
		t.Errorf("SUB-24: Bcc is still there:\n%s", l)
	}
	if n := len(l.Header["Return-Path"]); n != 1 { // RCV-8
		t.Errorf("%d Return-Path fields, want one", n)
	}
}

// run runs the program, with a limit to its patience.
func (c client) run(t *testing.T, s sending) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := c.send(ctx, s)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return string(out), errors.New("it took too long")
	}
	return string(out), err
}

func curl(ctx context.Context, s sending) *exec.Cmd {
	url := "smtp://"
	if s.security == implicit {
		url = "smtps://"
	}
	args := []string{"-sSv", "--url", url + s.host + ":" + s.port + "/client.test", "--cacert", s.ca,
		"--mail-from", s.from, "--mail-rcpt", s.to, "--upload-file", "-"}
	if s.security == starttls {
		args = append(args, "--ssl-reqd")
	}
	if s.user != "" {
		args = append(args, "--user", s.user+":"+s.password)
	}
	cmd := exec.CommandContext(ctx, "curl", args...)
	cmd.Stdin = strings.NewReader(s.message)
	return cmd
}

func swaks(ctx context.Context, s sending) *exec.Cmd {
	args := []string{"--server", s.host + ":" + s.port, "--helo", "client.test", "--timeout", "20",
		"--from", s.from, "--to", s.to, "--data", "-"}
	switch s.security {
	case starttls:
		args = append(args, "--tls", "--tls-verify", "--tls-ca-path", s.ca)
	case implicit:
		args = append(args, "--tls-on-connect", "--tls-verify", "--tls-ca-path", s.ca)
	}
	if s.user != "" {
		args = append(args, "--auth", "PLAIN,LOGIN", "--auth-user", s.user, "--auth-password", s.password)
	}
	cmd := exec.CommandContext(ctx, "swaks", args...)
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(s.message, "\r\n", "\n"))
	return cmd
}

func msmtp(ctx context.Context, s sending) *exec.Cmd {
	args := []string{"--debug", "--host=" + s.host, "--port=" + s.port, "--domain=client.test", "--from=" + s.from}
	switch s.security {
	case clear:
		args = append(args, "--tls=off")
	case starttls:
		args = append(args, "--tls=on", "--tls-starttls=on", "--tls-trust-file="+s.ca)
	case implicit:
		args = append(args, "--tls=on", "--tls-starttls=off", "--tls-trust-file="+s.ca)
	}
	if s.user != "" {
		args = append(args, "--auth=on", "--user="+s.user, "--passwordeval=echo '"+s.password+"'")
	}
	cmd := exec.CommandContext(ctx, "msmtp", append(args, "--", s.to)...)
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(s.message, "\r\n", "\n"))
	return cmd
}

// fields hands a job to a script: host, port, security, user, password, from,
// to, CA; the message comes on standard input.
func (s sending) fields() []string {
	return []string{s.host, s.port, string(s.security), s.user, s.password, s.from, s.to, s.ca}
}

func smtplib(ctx context.Context, s sending) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "python3", append([]string{"testdata/send.py"}, s.fields()...)...)
	cmd.Stdin = strings.NewReader(s.message)
	return cmd
}

func nodemailer(ctx context.Context, s sending) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "node", append([]string{"node/send.js"}, s.fields()...)...)
	cmd.Stdin = strings.NewReader(s.message)
	return cmd
}
