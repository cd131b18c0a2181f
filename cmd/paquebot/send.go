package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpclient"
)

// SendCmd sends one message and shows the dialogue, as people do with swaks.
type SendCmd struct {
	From         string        `required:"" placeholder:"ADDRESS" help:"Sender, in the envelope and in the header."`
	To           []string      `required:"" placeholder:"ADDRESS" help:"Recipient; may be repeated."`
	Subject      string        `default:"Test from paquebot" help:"Subject."`
	Body         string        `default:"It works." help:"Text; @FILE reads it from a file, - from standard input."`
	Header       []string      `placeholder:"FIELD" help:"Another header field, \"Name: value\"; may be repeated." sep:"none"`
	Attach       []string      `placeholder:"FILE" help:"File to attach; may be repeated." sep:"none"`
	Message      string        `placeholder:"FILE" help:"A whole message to send as it is: a file, or - for standard input."`
	Server       string        `required:"" placeholder:"HOST" help:"HOST or HOST:PORT. Without a port 587, 465, 2525 and 25 are tried in that order."`
	TLS          string        `name:"tls" enum:"auto,starttls,tls,none" default:"auto" help:"auto: by the port's number. starttls. tls: from the first byte. none: in clear, without credentials."`
	CA           string        `name:"ca" placeholder:"FILE" help:"File with the CA to trust, such as the one of paquebot dev."`
	TLSName      string        `name:"tls-name" placeholder:"NAME" help:"The name the certificate must prove, where it is not the one of --server."`
	User         string        `placeholder:"NAME" help:"User name for AUTH."`
	PasswordFile string        `placeholder:"FILE" help:"File with the password, - for standard input."`
	Ehlo         string        `placeholder:"NAME" help:"Our name in EHLO."`
	DryRun       bool          `short:"n" help:"Stop before DATA: ask whether the recipients would be taken."`
	Timeout      time.Duration `default:"30s" help:"For connecting and for each answer."`
}

// Help is shown below the usage of the command.
func (SendCmd) Help() string {
	return `Examples:
  paquebot send --server mail.example.org --user anna --password-file pw \
    --from anna@example.org --to paul@example.net
  paquebot send --server localhost:1587 --ca ca.pem --user app \
    --password-file - --from a@example.org --to b@example.org
  paquebot send --server mx1.example.net:25 --dry-run \
    --from anna@example.org --to paul@example.net

The password never stands on the command line. Certificates are verified;
only --tls none goes without, and then no credentials are sent.`
}

// endpoint is one port to try, with the job that ports of this number have.
type endpoint struct {
	host string
	port uint16
	mode mail.Security
}

func (e endpoint) String() string { return net.JoinHostPort(e.host, strconv.Itoa(int(e.port))) }

// Run sends the message to the first port that can be reached.
func (c *SendCmd) Run(g *Globals) error {
	if err := c.addresses(); err != nil {
		return err
	}
	body, err := c.message(g)
	if err != nil {
		return unsure("cannot compose the message", errors.New(plainCause(err)), "")
	}
	login, err := c.login(g)
	if err != nil {
		return unsure("cannot read the password", errors.New(plainCause(err)), "--password-file FILE, or - for standard input")
	}
	roots, err := c.roots()
	if err != nil {
		return unsure("cannot read the CA", errors.New(plainCause(err)), "--ca takes a file with certificates, PEM")
	}
	endpoints, err := c.endpoints()
	if err != nil {
		return unsure("--server "+c.Server, err, "write HOST or HOST:PORT")
	}
	out := g.Stdout // the dialogue is the answer, unless a machine asks
	if g.JSON || g.Plain {
		out = g.Stderr
	}
	ctx := context.Background()
	var last error
	for _, e := range endpoints {
		d := dialogue{w: out, tls: e.mode == mail.Implicit}
		conn, err := c.dial(ctx, e)
		if err != nil {
			d.note("***", "%s: %s", e, plainCause(err))
			last = err
			continue // only reachability moves on to the next port (P4)
		}
		d.note("===", "connected to %s [%s]", e, conn.RemoteAddr())
		if login != nil && (e.mode == mail.Clear || e.mode == mail.Opportunistic) {
			d.note("===", "no login: credentials go only where TLS is verified")
		}
		reply, err := c.talk(ctx, conn, e, &d, login, roots, body)
		return c.tell(g, e, reply, err)
	}
	return c.tell(g, endpoints[0], "", c.unreached(last))
}

// unreached is a server that answers on none of its ports.
func (c *SendCmd) unreached(err error) error {
	var timed net.Error
	remedy := "is the name right, and does something listen there?"
	if errors.As(err, &timed) && timed.Timeout() {
		remedy = "a network may filter these ports; name another one with --server HOST:PORT"
	}
	return problem("nothing could be reached on "+c.Server, errors.New(plainCause(err)), remedy)
}

// tell writes the document or the record that --json and --plain ask for.
func (c *SendCmd) tell(g *Globals, e endpoint, reply string, err error) error {
	doc := struct {
		Schema string `json:"schema"`
		OK     bool   `json:"ok"`
		DryRun bool   `json:"dry_run"`
		Server string `json:"server"`
		Reply  string `json:"reply,omitempty"` // the server's last word
		Error  string `json:"error,omitempty"`
	}{Schema: "paquebot.send/1", OK: err == nil, DryRun: c.DryRun, Server: e.String(), Reply: reply}
	if err != nil {
		doc.Error = err.Error()
	}
	switch {
	case g.JSON:
		err = cmp.Or(err, g.printJSON(doc))
	case g.Plain:
		g.record(doc.OK, doc.Server, doc.Reply, doc.Error)
	}
	return err
}

// addresses refuses before anything is sent what no server could take.
func (c *SendCmd) addresses() error {
	for i, a := range append([]string{c.From}, c.To...) {
		if i == 0 && (a == "" || a == "<>") {
			c.From = ""
			continue // the null sender, for testing
		}
		if _, err := smtp.ParseAddress(a, true); err != nil {
			flag := "--to"
			if i == 0 {
				flag = "--from"
			}
			return unsure(flag, fmt.Errorf("%q is not an address", a), "write anna@example.org")
		}
	}
	return nil
}

func (c *SendCmd) dial(ctx context.Context, e endpoint) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return (&net.Dialer{}).DialContext(ctx, "tcp", e.String())
}

func (c *SendCmd) talk(ctx context.Context, conn net.Conn, e endpoint, d *dialogue, login *smtpclient.Login, roots *x509.CertPool, body mail.Bytes) (string, error) {
	o := smtpclient.Options{
		Ehlo:       c.ehlo(),
		Security:   e.mode,
		Timeouts:   c.timeouts(),
		Transcript: d.line,
	}
	if e.mode != mail.Clear {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cmp.Or(c.TLSName, e.host), RootCAs: roots}
		o.Verified = "pkix"
	}
	if e.mode == mail.Opportunistic { // a server's port 25: any certificate (RFC 7435)
		o.TLS.InsecureSkipVerify = true
		o.Verified = "none"
	} else if e.mode != mail.Clear {
		o.Login = login
	}
	client, err := smtpclient.Open(ctx, conn, o)
	if err != nil {
		return "", c.refused(d, e, err)
	}
	defer client.Quit()
	if c.DryRun {
		for _, to := range c.To {
			if a := client.Check(ctx, c.From, to); !a.Good() {
				return "", c.refused(d, e, a)
			}
		}
		d.note("===", "all recipients would be taken; nothing was sent")
		return "", nil
	}
	m := smtpclient.Message{From: c.From, Body: body}
	for _, to := range c.To {
		m.Recipients = append(m.Recipients, mail.Recipient{Address: to})
	}
	var bad error
	reply := ""
	for _, a := range client.Send(ctx, m) {
		if !a.Good() {
			bad = a
			continue
		}
		reply = a.Reply.String()
	}
	if bad != nil {
		return reply, c.refused(d, e, bad)
	}
	d.note("===", "taken by %s", e)
	return reply, nil
}

// refused ends with exit code 1 and the peer's words; the remedy comes last.
func (c *SendCmd) refused(d *dialogue, e endpoint, err error) error {
	var a smtpclient.Answer
	if !errors.As(err, &a) {
		return problem("not sent", err, "")
	}
	why := a.Reply.String()
	if a.Kind != smtpclient.Said && a.Reply.Cause != nil { // our words; the cause is what happened
		if cause := plainCause(a.Reply.Cause); !strings.Contains(strings.ToLower(why), strings.ToLower(cause)) {
			why += " (" + cause + ")"
		}
	}
	d.note("***", "refused at %s: %s", a.Stage, a.Reply.String())
	remedy := ""
	switch {
	case a.Kind == smtpclient.Lost && a.Stage == mail.StageGreeting && e.mode != mail.Implicit:
		remedy = "the server never spoke; if this port has TLS from the first byte, as 465 has, add --tls tls"
	case a.Kind == smtpclient.Untrusted && c.CA != "":
		remedy = "the certificate is for another name, or not of this CA; if the name is the trouble: --tls-name NAME"
	case a.Kind == smtpclient.Handshake && e.mode == mail.Implicit:
		remedy = "if this port begins in clear, as 587 does, use --tls starttls"
	case a.Kind == smtpclient.NoLogin:
		remedy = "is the password file empty? else the server offers no way to log in that is safe here"
	case a.Stage == mail.StageMail && a.Reply.Code == 550 && c.User != "":
		remedy = "on a Paquebot server: paquebot account senders " + c.User + " ADDRESS... says who may send as whom"
	case a.Kind == smtpclient.Untrusted:
		remedy = "the certificate does not prove the host's name; give --ca FILE if it is signed by a CA of your own"
	case a.Kind == smtpclient.NoTLS:
		remedy = "the server offers no TLS here; try port 465, or ask its operator"
	case a.Reply.Code == 530 && c.User == "":
		remedy = "this port wants a login: --user NAME --password-file FILE"
	case a.Reply.Code == 535:
		remedy = "check the user name and the password"
	}
	return problem("not sent", errors.New(why), remedy)
}

// endpoints lists the ports to try. A port's role decides how TLS begins, an
// explicit --tls overrides it.
func (c *SendCmd) endpoints() ([]endpoint, error) {
	host, ports := c.Server, []int{587, 465, 2525, 25}
	if h, p, err := net.SplitHostPort(c.Server); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is not a port", p)
		}
		host, ports = h, []int{int(n)}
	} else if strings.Count(c.Server, ":") == 1 {
		return nil, err
	}
	var all []endpoint
	for _, p := range ports {
		all = append(all, endpoint{host: host, port: uint16(p), mode: c.mode(p)})
	}
	return all, nil
}

func (c *SendCmd) mode(port int) mail.Security {
	switch c.TLS {
	case "starttls":
		return mail.Verify
	case "tls":
		return mail.Implicit
	case "none":
		return mail.Clear
	}
	switch port {
	case 465, 2465, 8465, 443, 1465:
		return mail.Implicit
	case 25, 1025:
		return mail.Opportunistic
	}
	return mail.Verify
}

func (c *SendCmd) message(g *Globals) (mail.Bytes, error) {
	if c.Message != "" {
		b, err := readInput(g, c.Message)
		return mail.Bytes(crlf(b)), err
	}
	text := c.Body
	if name, ok := strings.CutPrefix(text, "@"); ok || text == "-" {
		if text == "-" {
			name = "-"
		}
		b, err := readInput(g, name)
		if err != nil {
			return nil, err
		}
		text = string(b)
	}
	d := draft{From: cmp.Or(c.From, "MAILER-DAEMON@"+c.ehlo()), To: c.To, Subject: c.Subject, Text: text, Headers: c.Header, Attach: c.Attach}
	return d.compose(time.Now())
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

func (c *SendCmd) login(g *Globals) (*smtpclient.Login, error) {
	if c.User == "" {
		return nil, nil
	}
	if c.PasswordFile == "" {
		return nil, errors.New("--user is given without --password-file")
	}
	b, err := readInput(g, c.PasswordFile)
	if err != nil {
		return nil, err
	}
	return &smtpclient.Login{User: c.User, Password: strings.TrimRight(string(b), "\r\n")}, nil
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

// dialogue prints a session with swaks' signs, which people in mail can read:
// " -> " sent, "<- " received, "~" instead of "-" under TLS, "*" for a refusal.
type dialogue struct {
	w        io.Writer
	tls      bool
	starting bool // STARTTLS was sent
	login    bool // within AUTH
}

func (d *dialogue) note(sign, format string, args ...any) {
	fmt.Fprintf(d.w, "%s %s\n", sign, fmt.Sprintf(format, args...))
}

func (d *dialogue) line(client bool, line string) {
	dash := "-"
	if d.tls {
		dash = "~"
	}
	if client {
		fmt.Fprintf(d.w, " %s> %s\n", dash, line)
		d.starting = strings.EqualFold(line, "STARTTLS")
		d.login = strings.HasPrefix(line, "AUTH ") || strings.HasPrefix(line, "<redacted")
		return
	}
	if d.login && strings.HasPrefix(line, "334 ") && !strings.HasPrefix(line, "334 <redacted ") {
		line = "334 <redacted>" // SCRAM's last word lets passwords be guessed at leisure
	}
	mark := " "
	if line != "" && (line[0] == '4' || line[0] == '5') {
		mark = "*"
	}
	fmt.Fprintf(d.w, "<%s%s %s\n", dash, mark, line)
	if d.starting && strings.HasPrefix(line, "220") {
		d.tls, d.starting = true, false
	}
}
