package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/console"
)

// devAsk are the flags of the commands that ask a catcher that runs.
type devAsk struct {
	URL     string `name:"url" env:"PAQUEBOT_DEV_URL" placeholder:"URL" help:"Where the catcher's page is; http://localhost:8025 without it."`
	Mailbox string `placeholder:"NAME" help:"Only this mailbox, which is the SMTP user name."`
}

func (a devAsk) base() string {
	return strings.TrimSuffix(cmp.Or(a.URL, "http://localhost:8025"), "/")
}

// call asks the catcher; the answer's body is at most most octets. The error is
// for people.
func (a devAsk) call(ctx context.Context, method, path string, query url.Values, most int64) (int, []byte, error) {
	return a.send(ctx, method, path, query, nil, most)
}

// send is call with something to say.
func (a devAsk) send(ctx context.Context, method, path string, query url.Values, content io.Reader, most int64) (int, []byte, error) {
	target := a.base() + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return 0, nil, unsure("--url "+a.URL, err, "write http://HOST:PORT")
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, unsure("cannot reach the catcher on "+a.base(), errors.New(plainCause(err)), "start it with: paquebot dev\nor say where it is: --url http://HOST:PORT")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return 0, nil, unsure("cannot read the catcher's answer", errors.New(plainCause(err)), "")
	}
	return resp.StatusCode, body, nil
}

// answerMax bounds what is read of one answer, in octets.
const answerMax = 64 << 20

func said(status int, body []byte) error {
	return fmt.Errorf("%s (HTTP %d)", cmp.Or(oneLine(cut(string(body), 300)), "no reason given"), status)
}

// DevWaitCmd waits for mail from a shell.
type DevWaitCmd struct {
	devAsk
	Q       string `name:"q" placeholder:"SEARCH" help:"What to look for, as on the page: words, from: to: subject: rcpt: …"`
	Count   int    `default:"1" help:"How many messages."`
	Timeout string `default:"10s" placeholder:"TIME" help:"How long."`
	After   string `placeholder:"ID" help:"Only what was caught after this message."`
	Since   string `placeholder:"TIME" help:"Only what was caught since this time, as 2006-01-02T15:04:05Z."`
	None    bool   `help:"The other way round: exit 0 when nothing matched in time."`
}

// Help is shown below the usage of the command.
func (DevWaitCmd) Help() string {
	return `Examples:
  paquebot dev wait --mailbox app --q "subject:welcome"
  paquebot dev wait --mailbox app --json | jq -r '.messages[0].codes[0]'
  paquebot dev wait --none --timeout 500ms --q rcpt:nobody@example.com

Exit code 0: they came (with --none: nothing came); 1: not so, and what did
arrive is listed; 2: the catcher could not be asked.`
}

// Run asks once; the catcher does the waiting.
func (c *DevWaitCmd) Run(g *Globals) error {
	limit, err := waitBound(c.Timeout)
	if err != nil {
		return err
	}
	q := url.Values{"timeout": {c.Timeout}, "count": {strconv.Itoa(c.Count)}, "explain": {"1"}}
	for name, value := range map[string]string{"mailbox": c.Mailbox, "q": c.Q, "after": c.After, "since": c.Since} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if c.None {
		q.Set("none", "1")
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit+10*time.Second)
	defer cancel()
	status, body, err := c.call(ctx, http.MethodGet, "/api/dev/wait", q, answerMax)
	if err != nil {
		return err
	}
	if g.JSON && json.Valid(body) {
		fmt.Fprintln(g.Stdout, strings.TrimSpace(string(body)))
	}
	switch status {
	case http.StatusNoContent:
		return nil
	case http.StatusOK:
		return c.show(g, body)
	case http.StatusConflict:
		return errors.Join(c.show(g, body), problem("mail came that should not have come", nil, ""))
	case http.StatusRequestTimeout:
		return c.missed(g, body)
	}
	return unsure("the catcher did not understand", said(status, body), "")
}

func waitBound(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > 5*time.Minute {
		return 0, unsure("cannot wait for "+text, errors.New("not a time up to 5m"), "write 10s or 500ms")
	}
	return d, nil
}

func (c *DevWaitCmd) show(g *Globals, body []byte) error {
	var found console.Found
	if err := json.Unmarshal(body, &found); err != nil {
		return unsure("cannot read the catcher's answer", err, "is it another program's page?")
	}
	for _, m := range found.Messages {
		switch {
		case g.JSON:
		case g.Plain:
			g.record(m.ID, m.Time, m.Mailbox, m.MailFrom, strings.Join(m.RcptTo, ","), m.Subject)
		default:
			fmt.Fprintf(g.Stdout, "%s  %s > %s  %q\n", m.ID, cmp.Or(m.MailFrom, "<>"), strings.Join(m.RcptTo, ", "), m.Subject)
			for _, code := range m.Codes {
				fmt.Fprintf(g.Stdout, "  code %s\n", code)
			}
			for _, link := range m.Links {
				fmt.Fprintf(g.Stdout, "  link %s\n", link)
			}
		}
	}
	return nil
}

func (c *DevWaitCmd) missed(g *Globals, body []byte) error {
	var m console.Missed
	if err := json.Unmarshal(body, &m); err != nil {
		return unsure("cannot read the catcher's answer", err, "")
	}
	for _, s := range m.Arrived {
		if !g.JSON {
			fmt.Fprintf(g.Stderr, "  arrived  %s  mailbox %s  %s > %s  %q\n", s.ID, cmp.Or(s.Mailbox, "-"), cmp.Or(s.MailFrom, "<>"), strings.Join(s.RcptTo, ", "), s.Subject)
		}
	}
	remedy := ""
	if m.Failures > 0 {
		remedy = fmt.Sprintf("%d sessions failed; see why: %s/sessions", m.Failures, c.base())
	}
	return problem("it did not come", errors.New(m.Error), remedy)
}

// waitReady is paquebot dev --wait: the ports of a catcher listen.
func (c *DevCmd) waitReady(g *Globals) error {
	limit, err := waitBound(c.Within)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := c.readMailpit(os.Getenv); err != nil {
		return err
	}
	a := devAsk{URL: c.pageURL()}
	for {
		status, body, err := a.call(ctx, http.MethodGet, "/readyz", nil, 4<<10)
		if err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
			continue
		case <-ctx.Done():
		}
		if err == nil {
			err = said(status, body)
		}
		var f *failure
		if errors.As(err, &f) {
			err = f.why
		}
		return problem("no catcher is ready on "+a.base()+" after "+c.Within, err, "start it with: paquebot dev")
	}
}

// pageURL is where a catcher with these flags and variables has its page.
func (c *DevCmd) pageURL() string {
	host := "localhost"
	if at := c.alike.ui; at.IsValid() && !at.Addr().IsUnspecified() {
		host = at.Addr().String()
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(c.HTTP)) + c.basePath()
}

// DevClearCmd deletes caught mail.
type DevClearCmd struct {
	devAsk
	Q string `name:"q" placeholder:"SEARCH" help:"Only what matches."`
}

// Help is shown below the usage of the command.
func (DevClearCmd) Help() string {
	return `Examples:
  paquebot dev clear
  paquebot dev clear --mailbox app
  paquebot dev clear --q "from:newsletter@example.org"`
}

// Run deletes and says how many went.
func (c *DevClearCmd) Run(g *Globals) error {
	q := url.Values{}
	if c.Mailbox != "" {
		q.Set("mailbox", c.Mailbox)
	}
	if c.Q != "" {
		q.Set("q", c.Q)
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	status, body, err := c.call(ctx, http.MethodDelete, "/api/dev/messages", q, 4<<10)
	if err != nil {
		return err
	}
	var gone console.Deleted
	if status != http.StatusOK || json.Unmarshal(body, &gone) != nil {
		return unsure("the catcher did not delete", said(status, body), "")
	}
	if g.JSON {
		return g.printJSON(gone)
	}
	fmt.Fprintf(g.Stdout, "%d deleted\n", gone.Deleted)
	return nil
}

// DevExportCmd writes caught mail to files.
type DevExportCmd struct {
	devAsk
	Q    string `name:"q" placeholder:"SEARCH" help:"Only what matches."`
	Out  string `placeholder:"DIR" help:"Directory for ID.eml, ID.json (envelope, headers, links) and ID.dialogue.txt; made if missing."`
	Mbox string `placeholder:"FILE" help:"All in one file, mboxrd; - for standard output."`
}

// Help is shown below the usage of the command.
func (DevExportCmd) Help() string {
	return `Examples:
  paquebot dev export --out artefacts/
  paquebot dev export --mailbox app --out artefacts/
  paquebot dev export --mbox - > caught.mbox

For the artefacts of a failing test: what came, and what was said on the wire.`
}

// Run writes oldest first.
func (c *DevExportCmd) Run(g *Globals) error {
	if (c.Out == "") == (c.Mbox == "") {
		return unsure("nowhere to write", nil, "--out DIR for files, or --mbox FILE")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	list, err := c.list(ctx)
	if err != nil {
		return err
	}
	write, done, err := c.writer(g)
	if err != nil {
		return problem("cannot write", err, "")
	}
	for i := len(list) - 1; i >= 0; i-- {
		if err := write(ctx, list[i]); err != nil {
			return errors.Join(err, done())
		}
	}
	if err := done(); err != nil {
		return problem("cannot write", err, "")
	}
	fmt.Fprintf(g.Stderr, "%d messages written\n", len(list))
	return nil
}

// list reads the whole list, newest first.
func (c *DevExportCmd) list(ctx context.Context) ([]console.Summary, error) {
	var all []console.Summary
	q := url.Values{"limit": {"500"}}
	if c.Mailbox != "" {
		q.Set("mailbox", c.Mailbox)
	}
	if c.Q != "" {
		q.Set("q", c.Q)
	}
	for {
		status, body, err := c.call(ctx, http.MethodGet, "/api/dev/messages", q, answerMax)
		if err != nil {
			return nil, err
		}
		var page console.List
		if status != http.StatusOK || json.Unmarshal(body, &page) != nil {
			return nil, unsure("the catcher did not list its mail", said(status, body), "")
		}
		all = append(all, page.Messages...)
		if page.Next == 0 {
			return all, nil
		}
		q.Set("before", strconv.FormatUint(page.Next, 10))
	}
}

type exportFunc func(context.Context, console.Summary) error

func (c *DevExportCmd) writer(g *Globals) (exportFunc, func() error, error) {
	if c.Out != "" {
		if err := os.MkdirAll(c.Out, 0o700); err != nil {
			return nil, nil, err
		}
		return c.toFiles, func() error { return nil }, nil
	}
	if c.Mbox == "-" {
		return c.toMbox(g.Stdout), func() error { return nil }, nil
	}
	f, err := os.OpenFile(c.Mbox, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, nil, err
	}
	return c.toMbox(f), f.Close, nil
}

// read fetches one part of a message; a message deleted meanwhile is none.
func (c *DevExportCmd) read(ctx context.Context, m console.Summary, what string) ([]byte, error) {
	status, body, err := c.call(ctx, http.MethodGet, "/api/dev/messages/"+m.ID.String()+what, nil, 1<<30)
	if err != nil || status == http.StatusNotFound {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, unsure("the catcher did not give message "+m.ID.String(), said(status, body), "")
	}
	return body, nil
}

func (c *DevExportCmd) toFiles(ctx context.Context, m console.Summary) error {
	for suffix, what := range map[string]string{".eml": "/raw", ".json": "", ".dialogue.txt": "/dialogue"} {
		body, err := c.read(ctx, m, what)
		if err != nil {
			return err
		}
		if body == nil {
			continue
		}
		if what == "/dialogue" {
			body = dialogueText(body)
		}
		if err := os.WriteFile(filepath.Join(c.Out, m.ID.String()+suffix), body, 0o600); err != nil {
			return problem("cannot write", err, "")
		}
	}
	return nil
}

// dialogueText writes a dialogue with the signs of paquebot send.
func dialogueText(doc []byte) []byte {
	var d console.Dialogue
	if json.Unmarshal(doc, &d) != nil {
		return doc
	}
	var b bytes.Buffer
	for _, l := range d.Dialogue {
		sign := map[[2]bool]string{{true, false}: " ->", {true, true}: " ~>", {false, false}: "<- ", {false, true}: "<~ "}[[2]bool{l.From == "client", l.TLS}]
		fmt.Fprintf(&b, "%s %s %s\n", l.Time.UTC().Format("15:04:05.000"), sign, l.Text)
	}
	return b.Bytes()
}

// toMbox writes mboxrd: lines that begin with ">"s and From are quoted with one
// more, so that reading them back gives what was there.
func (c *DevExportCmd) toMbox(w io.Writer) exportFunc {
	return func(ctx context.Context, m console.Summary) error {
		raw, err := c.read(ctx, m, "/raw")
		if err != nil || raw == nil {
			return err
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "From %s %s\n", cmp.Or(strings.ReplaceAll(m.MailFrom, " ", "_"), "MAILER-DAEMON"), m.Time.UTC().Format(time.ANSIC))
		for line := range bytes.Lines(raw) {
			if bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
				b.WriteByte('>')
			}
			b.Write(bytes.TrimRight(line, "\r\n"))
			b.WriteByte('\n')
		}
		b.WriteByte('\n')
		_, err = w.Write(b.Bytes())
		return err
	}
}
