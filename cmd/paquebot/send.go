package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpclient"
)

// SendCmd sends one message and shows the dialogue, as people do with swaks.
type SendCmd struct {
	From    string   `placeholder:"ADDRESS" help:"Sender, in the envelope and in the header; <> is nobody."`
	To      []string `placeholder:"ADDRESS" help:"Recipient; may be repeated."`
	Cc      []string `placeholder:"ADDRESS" help:"Recipient who is named as a copy's; may be repeated."`
	Bcc     []string `placeholder:"ADDRESS" help:"Recipient who is not named; may be repeated."`
	Subject string   `default:"Test from paquebot" help:"Subject."`
	Body    string   `default:"It works." help:"Text; @FILE reads it from a file, - from standard input."`
	HTML    string   `name:"html" placeholder:"HTML" help:"The same as HTML, beside the text; @FILE reads it from a file, - from standard input."`
	Header  []string `placeholder:"FIELD" help:"Another header field, \"Name: value\", in place of ours of that name; may be repeated." sep:"none"`
	Attach  []string `placeholder:"FILE" help:"File to attach; may be repeated." sep:"none"`
	Message string   `placeholder:"FILE" help:"A whole message to send as it is: a file, or - for standard input."`

	Server string `group:"Where to" placeholder:"HOST" help:"HOST or HOST:PORT. Without a port 587, 465, 2525 and 25 are tried in that order."`
	Via    string `group:"Where to" placeholder:"NAME" help:"A [smarthost] of the configuration, or a provider: sendgrid, ses:eu-west-1."`
	MX     bool   `name:"mx" group:"Where to" help:"The recipient's own servers, found by MX, on port 25."`

	TLS          string `name:"tls" group:"TLS and login" enum:"auto,starttls,tls,none" default:"auto" help:"auto: as is usual on the port. starttls. tls: from the first byte. none: in clear, without credentials."`
	CA           string `name:"ca" group:"TLS and login" placeholder:"FILE" help:"File with the CA to trust, such as the one of paquebot dev."`
	TLSName      string `name:"tls-name" group:"TLS and login" placeholder:"NAME" help:"The name the certificate must prove, where it is not the host's."`
	User         string `group:"TLS and login" placeholder:"NAME" help:"User name for AUTH."`
	PasswordFile string `group:"TLS and login" placeholder:"FILE" help:"File with the password, - for standard input."`
	Auth         string `group:"TLS and login" placeholder:"MECHANISM" help:"Log in by this one alone; for XOAUTH2 and OAUTHBEARER the password file holds a token."`
	Ehlo         string `group:"TLS and login" placeholder:"NAME" help:"Our name in EHLO."`

	DryRun      bool          `short:"n" help:"Stop before DATA: ask whether the recipients would be taken."`
	QuitAfter   string        `placeholder:"STAGE" enum:",connect,greeting,ehlo,tls,auth,rcpt" default:"" help:"Stop after: connect, greeting, ehlo, tls, auth or rcpt."`
	BodyShown   bool          `help:"Show the message in the dialogue, too."`
	Profile     string        `placeholder:"NAME" help:"Flags that were saved under this name; others given here count more."`
	SaveProfile string        `placeholder:"NAME" help:"Save where to, TLS, login and --from for the next time, without secrets."`
	Timeout     time.Duration `default:"30s" help:"For connecting and for each answer."`
}

// Help is shown below the usage of the command.
func (SendCmd) Help() string {
	return `Examples:
  paquebot send --server mail.example.org --user anna --password-file pw \
    --from anna@example.org --to paul@example.net
  paquebot send --via sendgrid --password-file sendgrid.key \
    --from anna@example.org --to paul@example.net --attach report.pdf
  paquebot send --mx --dry-run --from anna@example.org --to paul@example.net
  paquebot send --server localhost:1587 --ca ca.pem --user app \
    --password-file - --from a@example.org --to b@example.org \
    --save-profile laptop
  paquebot send --profile laptop --to b@example.org --subject "Once more"

Without --server, --via and --mx it goes as the configuration's routes say.
Of several ports the first that can be reached is used; one that cannot be
trusted ends the matter. The password never stands on the command line.

Signs, as swaks has them: === what happens, -> said, <- heard, ~ instead of -
under TLS, * with a refusal, *** trouble. At the right, the time it took.

See also: paquebot doctor TARGET says which port works, and why.`
}

// Run sends the message to the first port that can be reached.
func (c *SendCmd) Run(g *Globals) error {
	if err := c.useProfile(); err != nil {
		return err
	}
	if err := c.addresses(); err != nil {
		return err
	}
	if err := c.oneStdin(); err != nil {
		return err
	}
	body, err := c.message(g)
	if err != nil {
		return unsure("cannot compose the message", errors.New(plainCause(err)), "")
	}
	ctx := context.Background()
	t, err := c.target(ctx, g)
	if err != nil {
		return c.tell(g, &sendResult{Schema: sendSchema, DryRun: c.DryRun, QuitAfter: c.QuitAfter, Target: cmp.Or(c.Server, c.Via)}, err)
	}
	if c.SaveProfile != "" {
		if err := c.saveProfile(g); err != nil {
			return unsure("cannot save the profile", errors.New(plainCause(err)), "")
		}
	}
	return c.deliver(ctx, g, t, body)
}

// addresses refuses before anything is sent what no server could take.
func (c *SendCmd) addresses() error {
	switch {
	case c.From == "":
		return unsure("--from is missing", nil, "--from ADDRESS; --from \"<>\" for the null sender")
	case len(c.recipients()) == 0:
		return unsure("--to is missing", nil, "--to ADDRESS")
	case c.From == "<>":
		c.From = "" // the null sender, for testing
	default:
		if err := isAddress("--from", c.From); err != nil {
			return err
		}
	}
	for _, list := range []struct {
		flag  string
		addrs []string
	}{{"--to", c.To}, {"--cc", c.Cc}, {"--bcc", c.Bcc}} {
		for _, a := range list.addrs {
			if err := isAddress(list.flag, a); err != nil {
				return err
			}
		}
	}
	return nil
}

func isAddress(flag, a string) error {
	if _, err := smtp.ParseAddress(a, true); err != nil {
		return unsure(flag, fmt.Errorf("%q is not an address", a), "write anna@example.org")
	}
	return nil
}

// recipients are those of the envelope, each once.
func (c *SendCmd) recipients() (all []string) {
	for _, a := range slices.Concat(c.To, c.Cc, c.Bcc) {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// oneStdin: standard input can be read but once.
func (c *SendCmd) oneStdin() error {
	n := 0
	for _, name := range []string{c.Body, c.HTML, c.Message, c.PasswordFile} {
		if name == "-" || name == "@-" {
			n++
		}
	}
	if n > 1 {
		return unsure("standard input was named more than once", nil, "put the password into a file, with mode 0600")
	}
	return nil
}

func (c *SendCmd) message(g *Globals) (mail.Bytes, error) {
	if c.Message != "" {
		b, err := readInput(g, c.Message)
		return mail.Bytes(crlf(b)), err
	}
	text, err := given(g, c.Body)
	if err != nil {
		return nil, err
	}
	html, err := given(g, c.HTML)
	if err != nil {
		return nil, err
	}
	d := draft{From: cmp.Or(c.From, "MAILER-DAEMON@"+c.ehlo()), To: c.To, Cc: c.Cc, Subject: c.Subject, Text: text, HTML: html, Headers: c.Header, Attach: c.Attach}
	return d.compose(time.Now())
}

// given is a flag's value, or what it says where to read.
func given(g *Globals, value string) (string, error) {
	name, ok := strings.CutPrefix(value, "@")
	if !ok && value != "-" {
		return value, nil
	}
	b, err := readInput(g, name)
	return string(b), err
}

// inputMax bounds what is read into memory to be sent.
const inputMax = 100 << 20

func readInput(g *Globals, name string) ([]byte, error) {
	r := g.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, inputMax+1))
	if err == nil && len(b) > inputMax {
		err = fmt.Errorf("more than %d MiB", inputMax>>20)
	}
	return b, err
}

func (c *SendCmd) roots() (*x509.CertPool, error) {
	if c.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("it holds no certificate in PEM form")
	}
	return pool, nil
}

func (c *SendCmd) ehlo() string {
	if c.Ehlo != "" {
		return c.Ehlo
	}
	if name, err := os.Hostname(); err == nil && strings.Contains(name, ".") {
		return name
	}
	return "localhost.localdomain"
}

func (c *SendCmd) timeouts() smtpclient.Timeouts {
	t := smtpclient.DefaultTimeouts()
	for _, d := range []*time.Duration{&t.Greeting, &t.Ehlo, &t.StartTLS, &t.Handshake, &t.Auth, &t.Mail, &t.Rcpt, &t.Data} {
		*d = min(*d, c.Timeout)
	}
	return t
}
