package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"time"

	"paquebot/internal/console"
	"paquebot/internal/mail"
	"paquebot/internal/message"
	"paquebot/internal/node"
	"paquebot/internal/smtpclient"
)

// DevImportCmd sends messages from files to the catcher by SMTP, as a program
// would: they take the same way and meet the same refusals.
type DevImportCmd struct {
	devAsk
	From  string   `placeholder:"ADDRESS" help:"Sender of the envelope; without it Return-Path or From says."`
	To    []string `placeholder:"ADDRESS" help:"Recipient; may be repeated; without it To, Cc and Bcc say."`
	Files []string `arg:"" name:"file" help:"Messages (.eml) and mailboxes (mbox)."`
}

// Help is shown below the usage of the command.
func (DevImportCmd) Help() string {
	return `Examples:
  paquebot dev import message.eml
  paquebot dev import --mailbox app *.eml
  paquebot dev import --mailbox archive old.mbox

With --mailbox they are sent as that user on the port like 587; without it on
the port like 25. Bare LF becomes CR LF.`
}

// Run sends each message; one that is refused does not stop the others.
func (c *DevImportCmd) Run(g *Globals) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	peer, err := c.peer(ctx)
	if err != nil {
		return err
	}
	sent, refused := 0, 0
	for _, name := range c.Files {
		b, err := os.ReadFile(name)
		if err != nil {
			return problem("cannot read", err, "")
		}
		for n, raw := range messagesIn(b) {
			if err := c.send(ctx, peer, raw); err != nil {
				refused++
				fmt.Fprintf(g.Stderr, "%s, message %d: %s\n", name, n+1, oneLine(err.Error()))
				continue
			}
			sent++
		}
	}
	fmt.Fprintf(g.Stdout, "%d sent, %d refused\n", sent, refused)
	if refused > 0 {
		return exitCode(exitNo)
	}
	return nil
}

// devPeer is where the catcher takes mail.
type devPeer struct {
	addr  string
	roots *x509.CertPool
}

func (c *DevImportCmd) peer(ctx context.Context) (devPeer, error) {
	status, body, err := c.call(ctx, http.MethodGet, "/api/dev/info", nil, 64<<10)
	if err != nil {
		return devPeer{}, err
	}
	var info console.Info
	if status != http.StatusOK || json.Unmarshal(body, &info) != nil {
		return devPeer{}, unsure("the catcher did not say its ports", said(status, body), "")
	}
	at, err := url.Parse(c.base())
	if err != nil {
		return devPeer{}, unsure("--url "+c.URL, err, "")
	}
	like := "25"
	if c.Mailbox != "" {
		like = "587"
	}
	p := devPeer{addr: net.JoinHostPort(at.Hostname(), strconv.Itoa(int(info.Ports[like])))}
	status, pem, err := c.call(ctx, http.MethodGet, "/ca.pem", nil, 64<<10)
	if err == nil && status == http.StatusOK {
		p.roots = x509.NewCertPool()
		p.roots.AppendCertsFromPEM(pem)
	}
	return p, err
}

func (c *DevImportCmd) send(ctx context.Context, p devPeer, raw []byte) error {
	m, err := c.envelope(raw)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return errors.New(plainCause(err))
	}
	o := smtpclient.Options{Ehlo: "localhost", Security: mail.Clear}
	if c.Mailbox != "" {
		o.Security, o.Verified = mail.Verify, "pkix"
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "localhost", RootCAs: p.roots}
		o.Login = &smtpclient.Login{User: c.Mailbox, Password: "import"}
	}
	client, err := smtpclient.Open(ctx, conn, o)
	if err != nil {
		return err
	}
	defer client.Quit()
	for _, a := range client.Send(ctx, m) {
		if !a.Good() {
			return a
		}
	}
	return nil
}

// envelope takes sender and recipients from flags, else from the header.
func (c *DevImportCmd) envelope(raw []byte) (smtpclient.Message, error) {
	raw = crlf(raw)
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	h, err := message.SplitHeader(append(slices.Clone(head), "\r\n\r\n"...))
	if err != nil {
		return smtpclient.Message{}, err
	}
	m := smtpclient.Message{From: c.From, Body: mail.Bytes(raw)}
	if m.From == "" {
		m.From = first(h, "Return-Path", "From", "Sender")
	}
	for _, to := range c.To {
		m.Recipients = append(m.Recipients, mail.Recipient{Address: to})
	}
	for _, field := range []string{"To", "Cc", "Bcc"} {
		if len(c.To) > 0 {
			break
		}
		for _, f := range h.All(field) {
			list, _ := message.Addresses(f.Value())
			for _, a := range list {
				m.Recipients = append(m.Recipients, mail.Recipient{Address: a})
			}
		}
	}
	if len(m.Recipients) == 0 {
		return m, errors.New("no recipient in the header; say who: --to ADDRESS")
	}
	return m, nil
}

func first(h message.Header, names ...string) string {
	for _, n := range names {
		if list, err := message.Addresses(h.Get(n)); err == nil && len(list) > 0 {
			return list[0]
		}
	}
	return ""
}

var mboxQuoted = regexp.MustCompile(`(?m)^>(>*From )`)

// messagesIn splits an mbox file, which begins with "From "; anything else is
// one message.
func messagesIn(b []byte) [][]byte {
	if !bytes.HasPrefix(b, []byte("From ")) {
		return [][]byte{b}
	}
	var all [][]byte
	for part := range bytes.SplitSeq(append([]byte("\n"), bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))...), []byte("\nFrom ")) {
		if _, text, ok := bytes.Cut(part, []byte("\n")); ok && len(bytes.TrimSpace(text)) > 0 {
			text = mboxQuoted.ReplaceAll(text, []byte("$1"))
			all = append(all, append(bytes.TrimRight(text, "\n"), '\n'))
		}
	}
	return all
}

// failure says what to do when a port of the catcher is taken: who has it, and
// which one near it is free.
func (c *DevCmd) failure(w node.World, err error) error {
	port, flag := c.taken(err)
	if flag == "" {
		return startFailure(err)
	}
	remedy := "stop that program, or let free ports be chosen:\n  paquebot dev --ports random"
	if free := nextFree(w, c, port); free != 0 {
		remedy = fmt.Sprintf("port %d is free:\n  paquebot dev %s %d\nor let free ports be chosen:\n  paquebot dev --ports random", free, flag, free)
	}
	return problem("cannot start", err, remedy)
}

// nearby is how many ports beyond a taken one are looked at.
const nearby = 20

func nextFree(w node.World, c *DevCmd, port int) int {
	own := []int{c.MX, c.Submission, c.Submissions, c.Alternative, c.HTTP}
	for p := port + 1; p <= min(port+nearby, 65535); p++ {
		if slices.Contains(own, p) {
			continue
		}
		if l, err := w.Listen(c.address(p)); err == nil {
			l.Close()
			return p
		}
	}
	return 0
}

// taken returns which of our ports is in use by another, and its flag.
func (c *DevCmd) taken(err error) (int, string) {
	_, text, _ := net.SplitHostPort(inUse(err))
	port, _ := strconv.Atoi(cmp.Or(text, "0"))
	for flag, p := range map[string]int{"--mx": c.MX, "--submission": c.Submission, "--submissions": c.Submissions,
		"--alternative": c.Alternative, "--http": c.HTTP, "--pop3": c.POP3} {
		if p == port && p != 0 {
			return port, flag
		}
	}
	return 0, ""
}
