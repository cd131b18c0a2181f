package smtpserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Session is one connection, from greeting to the end. It is used by one
// goroutine; only idle, holding, conn and stop are shared, under mu.
type Session struct {
	srv *Server
	cfg *Config

	mu      sync.Mutex
	conn    net.Conn
	idle    bool // waits for a command outside a transaction
	holding bool // waits on purpose

	in       input
	out      []byte // replies not yet sent
	outSmall [256]byte
	wait     time.Duration // for the next octets
	deadline time.Time     // of the line that is being read; zero: wait counts anew with each read

	origin mail.Origin
	peer   mail.Origin // as the connection came: XCLIENT does not change who may say XCLIENT
	tls    *tls.ConnectionState

	leaveAccount func() // gives back the place that enter took; nil: none

	hello     bool // EHLO or HELO was said in this TLS state
	unwelcome bool // greeted with 554
	tx        transaction
	hidden    []string // keywords of EHLO that a Mishap hides

	closing      bool
	why          string // how the session ended
	advice       string
	began        time.Time
	sent         int64 // octets written
	accepted     int   // messages
	transactions int
	refusals     int
	errors       int // protocol errors
	overlong     int
	mailless     int
	badRcpts     int
	authFailures int
	dialogue     dialogue
}

func (s *Session) greeted() bool { return s.hello }

// mustTLS reports that nothing but TLS can be next. Networks trusted may stay
// in clear on loopback only (PC-19).
func (s *Session) mustTLS() bool {
	return s.cfg.TLSRequired && s.tls == nil && !s.cfg.ClearAuth &&
		!(s.origin.Trusted && s.origin.Client.Addr().IsLoopback())
}

// mustAuth reports that somebody has to log in before mail.
func (s *Session) mustAuth() bool {
	return s.cfg.Role.IsSubmission() && s.origin.Account == "" && !s.origin.Trusted
}

// Run serves the connection to its end. It does not close it.
func (s *Session) Run(ctx context.Context) {
	if !s.greet(ctx) {
		s.flush()
		return
	}
	for !s.closing {
		line, err := s.readLine(smtp.CommandLineMax)
		if err != nil {
			s.lineFault(err)
			continue
		}
		s.command(ctx, line)
	}
	s.flush()
}

// command answers one line.
func (s *Session) command(ctx context.Context, line []byte) {
	if looksLikeHTTP(line) {
		s.attacked("cross-protocol", smtp.Printable(string(line)))
		s.say(smtp.Reply{Code: 421, Enhanced: smtp.Enhanced{Class: 4, Subject: 7}, Text: "This is not a web server", Close: true}, "")
		return
	}
	switch {
	case len(line) == 0:
		s.say(smtp.BadSyntax.WithText("Empty line"), "")
		return
	case !utf8.Valid(line):
		s.say(smtp.BadSyntax.WithText("Command is not valid UTF-8"), "")
		return
	}
	if s.srv.needs.Mishap != nil { // who waits within a command reads on
		line = bytes.Clone(line)
	}
	verb, arg := smtp.CutCommand(line)
	s.dialogue.client(s, verb, line)
	if !s.outOfStep(verb) {
		r := s.answer(ctx, verb, arg)
		r = s.countMailless(verb, r)
		switch {
		case r.Code >= 400:
			s.say(r, s.named(verb, arg))
		case r.Code != 0: // else the handler has said it all
			s.say(r, "")
		}
	}
}

// outOfStep refuses what came before its time: commands sent before the reply
// to EHLO, that tells whether they may be, was (SRV-13). Those we trust are no
// attackers: a batch piped into `sendmail -bs` waits for nothing.
func (s *Session) outOfStep(verb smtp.Verb) bool {
	if s.origin.Trusted {
		return false
	}
	if verb != smtp.VerbEhlo && verb != smtp.VerbHelo || len(s.in.pending()) == 0 {
		return false
	}
	s.attacked("out-of-step", "commands before the reply to "+verb.String())
	s.say(syncError, verb.String())
	return true
}

var syncError = smtp.Reply{Code: 554, Enhanced: smtp.Enhanced{Class: 5, Subject: 5}, Text: "SMTP protocol synchronisation error", Close: true} // RC-57

// countMailless makes an error of the many commands that bring no mail nearer.
func (s *Session) countMailless(verb smtp.Verb, r smtp.Reply) smtp.Reply {
	if !verbs[verb].noMail {
		return r
	}
	s.mailless++
	if s.mailless > s.cfg.Limits.Mailless && r.Positive() {
		s.errors++
	}
	return r
}

// say gives one reply, counts it and tells about refusals. what names the
// command for events.
func (s *Session) say(r smtp.Reply, what string) {
	if r.Code >= 400 {
		s.refused(&r, what)
	}
	s.dialogue.server(s, r)
	s.out = r.AppendWire(s.out)
	if r.Close {
		s.close(reasonOf(r))
		return
	}
	if s.errors >= s.cfg.Limits.Errors { // SRV-39
		s.errors = 0
		s.say(smtp.Reply{Code: 421, Enhanced: smtp.Enhanced{Class: 4, Subject: 7}, Text: "Too many errors", Close: true}, what)
		return
	}
	if len(s.out) > outMost {
		s.flush()
	}
}

// outMost is how many octets of replies wait for each other: a client that
// pipelines without reading must not fill its own window (RFC 2920 §3.1).
const outMost = 4 << 10

// refused counts a refusal and slows down who makes many.
func (s *Session) refused(r *smtp.Reply, what string) {
	s.refusals++
	if isProtocolError(*r) && !meant(*r) {
		s.errors++
		if s.errors > freeErrors {
			s.pause(errorDelay)
		}
	}
	rule, advice := s.explain(*r, what)
	if s.advice == "" {
		s.advice = advice
	}
	s.srv.needs.Events.Emit(event.CommandRefused{Origin: s.origin, Command: what, Reply: *r, Rule: rule, Advice: advice})
}

// isProtocolError tells mistakes in the protocol from refusals of mail.
func isProtocolError(r smtp.Reply) bool {
	switch r.Code {
	case 500, 501, 502, 503, 504, 530, 555:
		return true
	}
	return false
}

// close ends the session after this command.
func (s *Session) close(why string) {
	s.closing = true
	if s.why == "" {
		s.why = why
	}
}

func reasonOf(r smtp.Reply) string {
	if r.Close && r.Code >= 400 && r.Text != "" {
		return strings.ToLower(r.Text[:1]) + r.Text[1:]
	}
	return ""
}

// pause makes a client wait, and gives it its earlier replies before.
func (s *Session) pause(d time.Duration) {
	s.flush()
	if s.closing {
		return
	}
	select {
	case <-time.After(d):
	case <-s.srv.draining:
	}
}

// readLine reads a command line, or one of an AUTH exchange. Replies are sent
// only when there is nothing more to read: pipelined commands get theirs in one
// piece (EXT-3).
func (s *Session) readLine(most int) ([]byte, error) {
	s.wait, s.deadline = s.cfg.Timeouts.Command, time.Time{}
	return s.in.line(most, smtp.AuthLineMax, s.tls == nil)
}

// receive is how input reads: replies out first, then wait. While a line is
// being read its deadline stands, so that one octet a minute is no way to stay
// (SRV-36).
func (s *Session) receive(p []byte) (int, error) {
	s.flush()
	if s.closing {
		return 0, net.ErrClosed
	}
	if s.deadline.IsZero() {
		s.deadline = time.Now().Add(s.wait)
	}
	if err := s.waitStart(); err != nil {
		return 0, err
	}
	n, err := s.conn.Read(p)
	s.mu.Lock()
	s.idle = false
	s.mu.Unlock()
	if err != nil && s.srv.isDraining() && errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(s.deadline) {
		err = errDraining
	}
	return n, err
}

var errDraining = errors.New("shutting down")

func (s *Session) waitStart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = !s.tx.open || s.holding
	if s.idle && s.srv.isDraining() {
		return errDraining
	}
	return s.conn.SetReadDeadline(s.deadline)
}

// interrupt wakes an idle session so that it can say 421 4.3.2; those in a
// transaction finish it first.
func (s *Session) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle {
		s.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// abort closes the connection under the session.
func (s *Session) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn.Close()
}

// flush sends the replies that wait.
func (s *Session) flush() {
	if len(s.out) == 0 {
		return
	}
	s.conn.SetWriteDeadline(time.Now().Add(s.cfg.Timeouts.Write))
	n, err := s.conn.Write(s.out)
	s.sent += int64(n)
	s.out = s.outSmall[:0]
	if err != nil {
		s.close("client closed")
	}
}

// lineFault answers a line that could not be read.
func (s *Session) lineFault(err error) {
	switch {
	case errors.Is(err, errTLSBytes):
		s.tlsOnClear()
	case errors.Is(err, smtp.ErrLineTooLong):
		s.overlong++
		r := smtp.BadSyntax.WithText("Line too long")
		if errors.Is(err, errAuthTooLong) {
			r = authTooLong
		}
		s.say(r, "")
		if s.overlong >= s.cfg.Limits.Overlong && !s.closing { // SRV-11
			s.say(smtp.Reply{Code: 421, Enhanced: smtp.Enhanced{Class: 4, Subject: 7}, Text: "Too many overlong lines", Close: true}, "")
		}
	case errors.Is(err, smtp.ErrBareLF), errors.Is(err, smtp.ErrBareCR):
		s.say(smtp.BadSyntax.WithText("Lines must end in CR LF").AndClose(), "") // SRV-3
	case errors.Is(err, smtp.ErrNUL):
		s.say(smtp.BadSyntax.WithText("NUL in a command"), "") // SRV-8
	default:
		s.connectionFault(err)
	}
}

// connectionFault ends a session whose connection gives no more input.
func (s *Session) connectionFault(err error) {
	switch {
	case errors.Is(err, errDraining):
		s.say(smtp.ShutDown, "")
		s.why = "shutdown"
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.say(smtp.IdleClose, "") // TRAP-29
		s.why = "idle"
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrUnexpectedEOF):
		s.close("client closed")
	default:
		s.close("connection lost: " + smtp.Printable(err.Error()))
	}
}

// tlsOnClear ends a session whose client speaks TLS where it should not yet
// (PC-18, TE-3): no reply could be understood.
func (s *Session) tlsOnClear() {
	starttls, tls := s.cfg.ports()
	advice := fmt.Sprintf("client uses implicit TLS on a STARTTLS port; use %d or switch mode", tls)
	if s.cfg.Role == mail.RoleMX {
		advice = fmt.Sprintf("client uses implicit TLS on the servers' port; servers use STARTTLS here, senders submit on %d or %d", tls, starttls)
	}
	s.advice = advice
	s.srv.needs.Events.Emit(event.TLSFailed{Origin: s.origin, Error: "TLS on cleartext port", Advice: advice})
	s.out = s.out[:0]
	s.close("TLS on cleartext port")
}

func (s *Session) attacked(kind, detail string) {
	s.srv.needs.Events.Emit(event.Attacked{Origin: s.origin, Kind: kind, Detail: detail})
}

// firstLine is what to tell of octets that came too early: the first line, and
// of AUTH no more than that, for whoever sends a whole script at once sends its
// password too.
func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(b, []byte("\r\n"))
	verb, _ := smtp.CutCommand(line)
	if verb == smtp.VerbAuth {
		return "AUTH (hidden)"
	}
	return smtp.Printable(string(line))
}

// httpVerbs are what a browser that was talked into it would say (SRV-14).
var httpVerbs = [...]string{"GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ", "CONNECT ", "DELETE ", "PATCH ", "HOST:", "USER-AGENT:"}

func looksLikeHTTP(line []byte) bool {
	head := string(line[:min(len(line), 11)])
	for _, v := range httpVerbs {
		if _, ok := smtp.CutKeyword(head, v); ok {
			return true
		}
	}
	return false
}

// named is a command for events: the verb, and the argument of MAIL and RCPT.
func (s *Session) named(verb smtp.Verb, arg []byte) string {
	if verb == smtp.VerbMail || verb == smtp.VerbRcpt {
		return smtp.Printable(verb.String() + " " + string(arg))
	}
	return verb.String()
}

// faultMax bounds what is told of a panic: enough for the frames that matter.
const faultMax = 4 << 10

// faultOf describes a panic for the end of a session, with where it was.
func faultOf(p any) string {
	text := fmt.Sprintf("%v\n%s", p, debug.Stack())
	return text[:min(len(text), faultMax)]
}
