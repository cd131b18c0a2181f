package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpclient"
)

const (
	// firstMax is how many octets are kept of what a peer says first (DIAG-4).
	firstMax = 512
	// dialogueMax bounds the lines kept of a dialogue; a healthy one has some
	// forty.
	dialogueMax = 200
	// repliesMax bounds the lines of one reply; servers offer some thirty
	// keywords.
	repliesMax = 100
)

type lines = *bufio.Reader

// recorder keeps the first octets a peer says, before TLS.
type recorder struct {
	net.Conn
	first []byte
	count int // octets received in all
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	if room := firstMax - len(r.first); room > 0 {
		r.first = append(r.first, b[:min(n, room)]...)
	}
	r.count += n
	return n, err
}

// use makes conn the one to talk over.
func (l *look) use(conn net.Conn) {
	l.conn, l.lines = conn, bufio.NewReaderSize(conn, smtp.ReplyLineMax)
}

// limit gives the next read or write its own deadline, unless ctx has ended.
func (l *look) limit(d time.Duration) {
	l.conn.SetDeadline(time.Now().Add(d))
	if l.ctx.Err() != nil {
		l.conn.SetDeadline(time.Unix(1, 0))
	}
}

// greet hears the greeting. A silent port that was not asked for TLS may be one
// that waits for it (DIAG-30).
func (l *look) greet() bool {
	from := time.Now()
	before := l.raw.count
	r, err := l.hear(l.o.Limits.Greeting)
	l.seen.GreetIn = time.Since(from)
	if err == nil {
		l.seen.Greeting = r
		return r.Code/100 == 2
	}
	if isTimeout(err) && !l.under && l.raw.count == before && l.ctx.Err() == nil {
		l.seen.Silent = true
		l.note("no greeting within %s; is this a port with TLS from the first byte?", l.o.Limits.Greeting)
		if l.e.Mode != mail.Clear && l.handshake() {
			l.seen.GreetIn = 0
			return l.greet()
		}
		if l.seen.TLS != nil && (len(l.seen.TLS.Chain) > 0 || l.seen.TLS.Plain != nil) {
			return false // somebody did answer; the handshake has said how
		}
	}
	if l.under && isTimeout(err) {
		l.seen.Silent = true
	}
	l.cut("greeting", err)
	return false
}

// hello says EHLO, or HELO to who does not know it (DIAG-35).
func (l *look) hello() bool {
	stage := "ehlo"
	if l.under {
		stage = "secure ehlo"
	}
	l.seen.Ext = smtp.Extensions{}
	from := time.Now()
	r, err := l.command(stage, "EHLO "+l.o.Ehlo)
	if err != nil {
		return false
	}
	if l.under {
		l.seen.Secure = r
	} else {
		l.seen.Ehlo = r
	}
	l.seen.EhloIn = max(l.seen.EhloIn, time.Since(from))
	switch r.Code {
	case 500, 501, 502, 504:
		if h, err := l.command(stage, "HELO "+l.o.Ehlo); err == nil {
			l.seen.Helo = h
		}
		return false
	}
	if r.Code/100 != 2 {
		return false
	}
	l.seen.Ext = smtp.ParseExtensions(*r)
	l.seen.Auth = l.seen.Ext.Auth()
	return true
}

// starttls turns to TLS where it is offered. Without it nothing more is said,
// but to an MX, which may be without (RFC 7435).
func (l *look) starttls() bool {
	optional := l.e.Mode == mail.Opportunistic
	if !l.seen.Ext.Has("STARTTLS") {
		return optional
	}
	r, err := l.command("starttls", "STARTTLS")
	if err != nil {
		return false
	}
	l.seen.StartTLS = r
	if r.Code != 220 {
		return optional && r.Code != 421
	}
	if n := l.lines.Buffered(); n > 0 {
		l.seen.Injected = n
		l.deaf = true
		l.note("%d octets came before TLS: broken off", n)
		l.seen.Cut, l.seen.CutBy = "starttls", "injected"
		return false
	}
	return l.handshake() && l.hello()
}

// login tries the credential, under verified TLS only (TLS-7).
func (l *look) login() {
	if l.o.Login == nil {
		return
	}
	tc, ok := l.conn.(*tls.Conn)
	if !ok || !l.seen.Verified() || l.lines.Buffered() > 0 {
		l.seen.LoginErr = errors.New("not tried: credentials go over verified TLS only")
		return
	}
	secret := false // what SCRAM's server says would let a password be guessed offline
	a := smtpclient.LogIn(l.ctx, tc, l.seen.Ext, smtpclient.Options{
		Ehlo: l.o.Ehlo, TLS: &tls.Config{ServerName: l.sni()}, Verified: "pkix", Login: l.o.Login,
		Timeouts: smtpclient.Timeouts{Auth: l.o.Limits.Reply, Block: l.o.Limits.Reply},
		Transcript: func(client bool, text string) {
			secret = secret || strings.HasPrefix(text, "AUTH ")
			if secret && !client && strings.HasPrefix(text, "334") {
				text = "334 <redacted>"
			}
			l.line(client, text)
		},
	})
	if a.Kind == smtpclient.Said {
		l.seen.Login = &a.Reply
		l.deaf = a.Reply.Code == 421
		return
	}
	l.seen.LoginErr = a
	if a.Kind == smtpclient.Lost || a.Kind == smtpclient.Garbage {
		l.deaf = true
		l.cut("auth", a)
	}
}

// envelope asks whether the host would take a message for somebody; none is
// sent.
func (l *look) envelope() {
	e := l.o.Envelope
	if e == nil {
		return
	}
	r, err := l.command("mail", "MAIL FROM:<"+e.From+">")
	if err != nil {
		return
	}
	if l.seen.Mail = r; r.Code/100 != 2 {
		return
	}
	if l.seen.Rcpt, err = l.command("mail", "RCPT TO:<"+e.To+">"); err == nil {
		l.command("mail", "RSET")
	}
}

// quit says goodbye where somebody can hear it (DIAG-1, CLI-35).
func (l *look) quit() {
	if l.deaf || l.seen.Cut != "" || l.seen.Greeting == nil || l.seen.Greeting.Code == 421 {
		return
	}
	if _, err := l.say("QUIT"); err != nil {
		return
	}
	if r, err := l.hear(l.o.Limits.Quit); err == nil {
		l.seen.Quit = r.Code/100 == 2
	}
}

// command says one line and hears its reply; an error is noted as a cut.
func (l *look) command(stage, text string) (*smtp.Reply, error) {
	_, err := l.say(text)
	if err != nil {
		// The peer may have said why before it closed.
		if r, late := l.hear(l.o.Limits.Quit); late == nil {
			l.deaf = true
			return r, nil
		}
		l.cut(stage, err)
		return nil, err
	}
	r, err := l.hear(l.o.Limits.Reply)
	if err != nil {
		l.cut(stage, err)
		return nil, err
	}
	if r.Code == 421 {
		l.deaf = true // CLI-33
	}
	return r, nil
}

func (l *look) say(text string) (int, error) {
	l.line(true, text)
	l.limit(l.o.Limits.Reply)
	return io.WriteString(l.conn, text+"\r\n")
}

func (l *look) hear(wait time.Duration) (*smtp.Reply, error) {
	l.limit(wait)
	r, err := smtp.ReadReply(l.lines, smtp.ReplyLimits{Lines: repliesMax})
	if err != nil {
		return nil, err
	}
	for text := range strings.SplitSeq(strings.TrimSuffix(string(r.AppendWire(nil)), "\r\n"), "\r\n") {
		l.line(false, text)
	}
	return &r, nil
}

// cut notes where and how the connection broke. The first break counts.
func (l *look) cut(stage string, err error) {
	if l.seen.Cut != "" {
		return
	}
	l.deaf = true
	l.seen.Cut, l.seen.CutBy = stage, cutBy(err)
	l.note("%s at %s", cutWords[l.seen.CutBy], stage)
}

var cutWords = map[string]string{
	"reset": "connection reset", "closed": "connection closed", "timeout": "no answer in time",
	"garbage": "what came is not SMTP",
}

func cutBy(err error) string {
	closed := []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.Canceled}
	switch {
	case errors.Is(err, smtp.ErrReplySyntax), errors.Is(err, smtp.ErrReplyTooLong):
		return "garbage"
	case isTimeout(err):
		return "timeout"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case slices.ContainsFunc(closed, func(e error) bool { return errors.Is(err, e) }):
		return "closed"
	}
	return "closed"
}

func (l *look) line(client bool, text string) {
	l.add(Line{Client: client, Secure: l.under, Text: text})
}

func (l *look) note(format string, args ...any) {
	l.add(Line{Secure: l.under, Note: true, Text: fmt.Sprintf(format, args...)})
}

func (l *look) add(n Line) {
	if len(l.seen.Dialogue) < dialogueMax {
		n.At = time.Since(l.began)
		l.seen.Dialogue = append(l.seen.Dialogue, n)
	}
}
