package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"paquebot/internal/config"
	"paquebot/internal/mail"
	"paquebot/internal/message"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpclient"
)

// Exit codes that callers of /usr/sbin/sendmail know (sysexits.h).
const (
	exOK          = 0
	exUsage       = 64
	exDataErr     = 65
	exNoUser      = 67
	exUnavailable = 69
	exIOErr       = 74
	exTempFail    = 75
	exConfig      = 78
)

// submitSocket is where local programs hand in mail: SMTP over a unix socket
// in the data directory.
const submitSocket = "submit.sock"

// SendmailCmd is /usr/sbin/sendmail for programs that expect one.
//
// Its arguments are its own: kong would take "-bs" for "-b -s", so run hands
// them over untouched (sendmailArgs).
type SendmailCmd struct {
	Args []string `arg:"" optional:"" help:"-t -i -oi -f ADDR -F NAME -bs -bm -N WHEN -R WHAT -V ENVID, recipients."`
}

// Help is shown below the usage of the command.
func (SendmailCmd) Help() string {
	return `Reads a message from standard input and hands it to the server on this machine.
Install it for programs that call sendmail: ln -s paquebot /usr/sbin/sendmail

Examples:
  paquebot sendmail -t < message.eml
  echo "Subject: hello" | paquebot sendmail anna@example.org
  paquebot sendmail -bs        (SMTP on standard input and output)

Exit codes are those of sysexits.h: 0 taken, 64 usage, 65 bad data,
69 refused, 75 not now (nothing was taken), 78 no configuration.`
}

// Run never returns an error of its own: the exit code is the answer.
func (c *SendmailCmd) Run(g *Globals) error {
	return exitCode(runSendmail(g, c.Args))
}

// sendmailCall is what the arguments ask for.
type sendmailCall struct {
	host       string // what addresses without a domain are completed with
	fromHeader bool   // -t
	dots       bool   // a line with a lone dot does not end the message: -i, -oi
	sender     string // -f, -r; "" with nobody: the null sender
	nobody     bool   // -f "" or -f "<>"
	fullName   string // -F
	smtp       bool   // -bs
	notify     string // -N
	ret        string // -R
	envid      string // -V
	to         []string
}

func parseSendmail(args []string) (sendmailCall, error) {
	var s sendmailCall
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			s.to = append(s.to, args[i+1:]...)
			break
		}
		if !strings.HasPrefix(a, "-") || a == "-" {
			s.to = append(s.to, a)
			continue
		}
		value := func() (string, error) {
			if len(a) > 2 {
				return a[2:], nil
			}
			i++
			if i >= len(args) {
				return "", fmt.Errorf("%s needs a value", a)
			}
			return args[i], nil
		}
		var err error
		switch {
		case a == "-t":
			s.fromHeader = true
		case a == "-i" || a == "-oi":
			s.dots = true
		case a == "-ti" || a == "-it":
			s.fromHeader, s.dots = true, true
		case a == "-bs":
			s.smtp = true
		case strings.HasPrefix(a, "-b"):
			if a != "-bm" {
				return s, fmt.Errorf("%s is not supported; the queue is shown by: paquebot queue list", a)
			}
		case a[1] == 'f' || a[1] == 'r':
			s.sender, err = value()
			s.sender = strings.TrimSuffix(strings.TrimPrefix(s.sender, "<"), ">")
			s.nobody = s.sender == ""
		case a[1] == 'F':
			s.fullName, err = value()
		case a[1] == 'N':
			s.notify, err = value()
		case a[1] == 'R':
			s.ret, err = value()
		case a[1] == 'V':
			s.envid, err = value()
		case a[1] == 'B' || a[1] == 'h' || a[1] == 'O' || a[1] == 'X' || a[1] == 'L' || a[1] == 'C':
			_, err = value() // known to callers, of no meaning here
		case a[1] == 'o' || a[1] == 'e' || a == "-m" || a == "-n" || a == "-v" || a == "-U" || a[1] == 'q' || a == "-G":
		default:
			return s, fmt.Errorf("unknown option %s", a)
		}
		if err != nil {
			return s, err
		}
	}
	if !s.smtp && !s.fromHeader && len(s.to) == 0 {
		return s, errors.New("no recipients: name them, or use -t")
	}
	return s, nil
}

func runSendmail(g *Globals, args []string) int {
	fail := func(code int, what string, err error) int {
		fmt.Fprintf(g.Stderr, "paquebot: sendmail: %s: %v\n", what, err)
		return code
	}
	call, err := parseSendmail(args)
	if err != nil {
		return fail(exUsage, "wrong use", err)
	}
	dir, problems := config.DataDir(g.configFile())
	if config.Failed(problems) {
		return fail(exConfig, "configuration", problems[0])
	}
	call.host = mailName(config.Hostname(g.configFile()))
	path := filepath.Join(dir, submitSocket)
	conn, err := net.DialTimeout("unix", path, 10*time.Second)
	if err != nil {
		fail(exTempFail, "the server does not answer on "+path, errors.New(plainCause(err)))
		fmt.Fprintln(g.Stderr, "  Nothing was taken. Is it running, and may this user open the socket?")
		return exTempFail
	}
	if call.smtp {
		return pipeSMTP(g, conn)
	}
	return submit(g, conn, call, fail)
}

// pipeSMTP joins standard input and output to the server's session (-bs). The
// greeting goes first: a caller that wrote everything at once is no early talker.
func pipeSMTP(g *Globals, conn net.Conn) int {
	first := make([]byte, 4096)
	n, err := conn.Read(first)
	if err == nil {
		_, err = g.Stdout.Write(first[:n])
	}
	if err != nil {
		return exIOErr
	}
	go func() {
		_, _ = io.Copy(conn, g.Stdin)
		if u, ok := conn.(*net.UnixConn); ok {
			_ = u.CloseWrite()
		}
	}()
	if _, err := io.Copy(g.Stdout, conn); err != nil {
		return exIOErr
	}
	return exOK
}

func submit(g *Globals, conn net.Conn, call sendmailCall, fail func(int, string, error) int) int {
	m, err := call.message(g.Stdin)
	if err != nil {
		_ = conn.Close()
		return fail(exDataErr, "message", err)
	}
	ctx := context.Background()
	client, err := smtpclient.Open(ctx, conn, smtpclient.Options{Ehlo: "localhost", Security: mail.Clear})
	if err != nil {
		return fail(exTempFail, "server", err)
	}
	defer client.Quit()
	code := exOK
	for i, a := range client.Send(ctx, m) {
		if a.Good() {
			continue
		}
		code = exUnavailable
		if a.Reply.Transient() {
			code = exTempFail
		}
		if a.Stage == mail.StageRcpt && a.Reply.Code == 550 {
			code = exNoUser
		}
		fail(code, m.Recipients[i].Address, errors.New(a.Reply.String()))
	}
	return code
}

// message reads standard input and decides sender and recipients.
func (s sendmailCall) message(r io.Reader) (smtpclient.Message, error) {
	raw, err := readMail(r, s.dots)
	if err != nil {
		return smtpclient.Message{}, err
	}
	m := smtpclient.Message{From: s.sender}
	if m.From == "" && !s.nobody {
		m.From = localUser()
	}
	m.From = s.qualify(m.From)
	head, body := splitMessage(raw)
	h, err := message.SplitHeader(head)
	if err != nil {
		return m, err
	}
	to := s.to
	if s.fromHeader {
		if to, err = headerRecipients(h, to); err != nil {
			return m, err
		}
		h, _ = h.Without(func(f message.Field) bool { return f.Is("Bcc") || f.Is("Resent-Bcc") }) // INT-7
	}
	if len(to) == 0 {
		return m, errors.New("no recipients in To, Cc or Bcc")
	}
	if !h.Has("From") {
		h = h.Prepend(message.NewField("From", withName(s.fullName, cmp.Or(m.From, s.qualify("MAILER-DAEMON")))))
	}
	for _, a := range to {
		rcpt := mail.Recipient{Address: s.qualify(strings.Trim(a, "<>"))}
		if rcpt.Notify, err = parseNotify(s.notify); err != nil {
			return m, err
		}
		m.Recipients = append(m.Recipients, rcpt)
	}
	switch strings.ToLower(s.ret) {
	case "":
	case "hdrs":
		m.Params.Return = mail.ReturnHeaders
	case "full":
		m.Params.Return = mail.ReturnFull
	default:
		return m, fmt.Errorf("-R %s: write full or hdrs", s.ret)
	}
	m.Params.EnvelopeID = s.envid
	m.Body = mail.Bytes(append(h.Bytes(), body...))
	m.Params.UTF8 = h.NonASCII()
	return m, nil
}

// readMail reads to the end, or to a lone dot unless dots are content.
func readMail(r io.Reader, dots bool) ([]byte, error) {
	in := bufio.NewReader(io.LimitReader(r, inputMax+1))
	var b bytes.Buffer
	for {
		line, err := in.ReadBytes('\n')
		if !dots && (bytes.Equal(line, []byte(".\n")) || bytes.Equal(line, []byte(".\r\n"))) {
			break
		}
		b.Write(line)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if b.Len() > inputMax {
			return nil, fmt.Errorf("more than %d MiB", inputMax>>20)
		}
	}
	out := crlf(b.Bytes())
	if len(out) > 0 && !bytes.HasSuffix(out, []byte("\r\n")) {
		out = append(out, '\r', '\n')
	}
	return out, nil
}

// splitMessage finds the header section, with its empty line. A text that does
// not begin like a header is all body, as with any sendmail.
func splitMessage(raw []byte) (head, body []byte) {
	at := 0
	for at < len(raw) {
		end := bytes.Index(raw[at:], []byte("\r\n"))
		if end < 0 {
			break
		}
		line := raw[at : at+end]
		if len(line) == 0 {
			return raw[:at+2], raw[at+2:]
		}
		folded := at > 0 && (line[0] == ' ' || line[0] == '\t')
		if !folded && !message.BeginsField(line) {
			break
		}
		at += end + 2
	}
	if at == len(raw) {
		return raw, nil
	}
	return append(raw[:at:at], '\r', '\n'), raw[at:]
}

func headerRecipients(h message.Header, to []string) ([]string, error) {
	names := []string{"To", "Cc", "Bcc"}
	if h.Has("Resent-To") || h.Has("Resent-Cc") || h.Has("Resent-Bcc") {
		names = []string{"Resent-To", "Resent-Cc", "Resent-Bcc"}
	}
	for _, name := range names {
		for _, f := range h.All(name) {
			if f.Value() == "" {
				continue
			}
			list, err := message.Addresses(f.Value())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			to = append(to, list...)
		}
	}
	return to, nil
}

func parseNotify(s string) (mail.Notify, error) {
	var n mail.Notify
	if s == "" {
		return 0, nil
	}
	for word := range strings.SplitSeq(strings.ToLower(s), ",") {
		switch word {
		case "never":
			n |= mail.NotifyNever
		case "success":
			n |= mail.NotifySuccess
		case "failure":
			n |= mail.NotifyFailure
		case "delay":
			n |= mail.NotifyDelay
		default:
			return 0, fmt.Errorf("-N %s: write never, or some of success,failure,delay", s)
		}
	}
	if n.Has(mail.NotifyNever) && n != mail.NotifyNever {
		return 0, errors.New("-N never stands alone")
	}
	return n, nil
}

func localUser() string {
	name := "root"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return name
}

// mailName completes addresses without a domain: the server's name, so that
// what cron sends as root has a sender that others can answer; the machine's
// where the configuration gives none.
func mailName(configured string) string {
	if configured != "" {
		return configured
	}
	if host, err := os.Hostname(); err == nil && smtp.ValidDomain(host) {
		return host
	}
	return "localhost"
}

func (s sendmailCall) qualify(address string) string {
	if address == "" || strings.Contains(address, "@") {
		return address
	}
	return address + "@" + cmp.Or(s.host, "localhost")
}

// sendmailArgs splits a command line at the word sendmail: what follows is not
// for kong, but for -c FILE, --config FILE and --help directly behind it.
func sendmailArgs(args []string) (flags, own []string, ok bool) {
	takesValue := func(a string) bool { return a == "-c" || a == "--config" || a == "--color" }
	i := 0
	for ; i < len(args) && args[i] != "sendmail"; i++ {
		if !strings.HasPrefix(args[i], "-") {
			return nil, nil, false
		}
		if takesValue(args[i]) {
			i++
		}
	}
	if i >= len(args) {
		return nil, nil, false
	}
	for i++; i < len(args); i++ {
		a := args[i]
		help := a == "--help" || a == "-h" && len(args) == i+1 // -h N is sendmail's hop count
		if !takesValue(a) && !help && !strings.HasPrefix(a, "--config=") && !strings.HasPrefix(a, "-c") {
			break
		}
		if takesValue(a) {
			i++
		}
	}
	i = min(i, len(args))
	return args[:i], args[i:], true
}

func withName(name, address string) string {
	if name == "" {
		return address
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace(name) + `" <` + address + ">"
}
