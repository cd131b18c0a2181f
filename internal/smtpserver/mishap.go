package smtpserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/message"
	"paquebot/internal/smtp"
)

// Mishap lets things go wrong on purpose, where a developer wants to see what
// his program makes of it.
type Mishap interface {
	// At says what is to go wrong at this moment; false: nothing.
	At(m Moment) (Fault, bool)
	// Handshake returns the settings of a handshake with what may go wrong in it.
	Handshake(t *tls.Config, o *mail.Origin) *tls.Config
}

// Stages that only a Mishap knows; the others are package mail's.
const (
	StageHelo mail.Stage = "helo"
	StageQuit mail.Stage = "quit"
)

// Moment is what is known when a Mishap is asked.
type Moment struct {
	Stage      mail.Stage
	Origin     mail.Origin
	User       string // at auth: who proved to be it; else Origin has the account
	From       string
	HasFrom    bool // MAIL was said: From "" is the null sender
	To         string
	Recipients []mail.Recipient // accepted so far
	Subject    string
	Header     func(name string) []string // at the final dot; nil before
	Size       int64                      // at the final dot: octets so far as they are known
	Messages   int                        // accepted in this session
	BDAT       bool
}

// Fault is what goes wrong: first Delay, Throttle and Hide, then one of the
// others or none.
type Fault struct {
	Rule, Note string // whose doing; what, in words, for the dialogue

	Delay    time.Duration
	Throttle int      // octets a second from here on
	Hide     []string // keywords of EHLO

	Reply              smtp.Reply // Code 0: none
	Stall, Drop, Reset bool       // never answer; close; close with a TCP reset

	After int64 // octets of content that come before it
	Keep  bool  // at the final dot: only after the message was kept
}

// Bounds of what is done on purpose.
const (
	stallMost  = 10 * time.Minute // as long as the most patient client waits for the final dot (RFC 5321 §4.5.3.2.6)
	drainTime  = 2 * time.Second  // to read on after a drop: to close on unread octets is a reset
	drainMost  = 1 << 20          // octets
	slowSlices = 10               // reads a second of a connection that is slowed down
)

// onPurpose is the hidden cause of a reply that a Mishap gave.
type onPurpose struct{ rule string }

func (o onPurpose) Error() string { return "on purpose: " + o.rule }

// Rule implements Ruling.
func (o onPurpose) Rule() string { return "mishap:" + o.rule }

// Advice implements Adviser.
func (o onPurpose) Advice() string { return "refused on purpose by " + o.rule }

func meant(r smtp.Reply) bool { return r.Cause != nil && errors.As(r.Cause, new(onPurpose)) }

// strike lets go wrong what is to go wrong now. It reports whether that is the
// answer: r, or none when the session is over. This is the one place where a
// session asks; without a Mishap it costs a comparison.
func (s *Session) strike(stage mail.Stage, m Moment) (r smtp.Reply, struck bool) {
	if s.srv.needs.Mishap == nil {
		return smtp.Reply{}, false
	}
	f, some := s.mishap(stage, m)
	if !some {
		return smtp.Reply{}, false
	}
	return s.suffer(f)
}

// mishap asks.
func (s *Session) mishap(stage mail.Stage, m Moment) (Fault, bool) {
	m.Stage, m.Origin, m.Messages, m.Recipients = stage, s.origin, s.accepted, s.tx.recipients
	if s.tx.open && !m.HasFrom {
		m.From, m.HasFrom = s.tx.from, true
	}
	return s.srv.needs.Mishap.At(m)
}

// suffer lets a fault happen.
func (s *Session) suffer(f Fault) (r smtp.Reply, struck bool) {
	s.dialogue.note(s, false, "("+f.Note+")")
	if f.Throttle > 0 {
		s.slowDown(f.Throttle)
	}
	s.hidden = append(s.hidden, f.Hide...)
	if s.advice == "" && (f.Stall || f.Drop || f.Reset || len(f.Hide) > 0) {
		s.advice = onPurpose{f.Rule}.Advice()
	}
	if f.Delay > 0 && !s.hold(f.Delay) {
		return smtp.Reply{}, true
	}
	switch {
	case f.Stall:
		s.hold(stallMost)
		s.hangUp("stalled on purpose by "+f.Rule, false)
	case f.Drop, f.Reset:
		s.hangUp("dropped on purpose by "+f.Rule, f.Reset)
	case f.Reply.Code != 0:
		return f.Reply.Because(onPurpose{f.Rule}), true
	default:
		return smtp.Reply{}, false
	}
	return smtp.Reply{}, true
}

// hold waits. What comes meanwhile is kept; a client that leaves, and our own
// end, end the waiting and the session. It reports whether that goes on.
func (s *Session) hold(d time.Duration) bool {
	until := time.Now().Add(d)
	s.setHolding(true)
	defer s.setHolding(false)
	for !s.closing {
		s.deadline = until
		err := s.in.fill()
		switch {
		case err == nil:
		case errors.Is(err, io.ErrShortBuffer): // no room to notice that it left
			return s.sit(until)
		case errors.Is(err, os.ErrDeadlineExceeded) && !time.Now().Before(until):
			s.deadline = time.Time{}
			return true
		default:
			s.connectionFault(err)
		}
	}
	return false
}

func (s *Session) setHolding(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holding = is
}

func (s *Session) sit(until time.Time) bool {
	select {
	case <-time.After(time.Until(until)):
		return true
	case <-s.srv.draining:
		s.connectionFault(errDraining)
		return false
	}
}

// hangUp closes the connection without another word, after the replies that
// were given.
func (s *Session) hangUp(why string, reset bool) {
	s.flush()
	s.close(why)
	raw := bare(s.conn)
	if tcp, ok := raw.(interface{ SetLinger(int) error }); ok && reset {
		_ = tcp.SetLinger(0)
		_ = raw.Close()
		return
	}
	half, ok := raw.(interface{ CloseWrite() error })
	if !ok {
		_ = raw.Close()
		return
	}
	if t, ok := s.conn.(*tls.Conn); ok {
		_ = t.CloseWrite()
	}
	_ = half.CloseWrite()
	_ = raw.SetReadDeadline(time.Now().Add(drainTime))
	_, _ = io.CopyN(io.Discard, raw, drainMost)
}

// bare is the connection under TLS and what slows it down.
func bare(c net.Conn) net.Conn {
	for {
		switch w := c.(type) {
		case *tls.Conn:
			c = w.NetConn()
		case *slowConn:
			c = w.Conn
		default:
			return c
		}
	}
}

var errHungUp = fmt.Errorf("hung up on purpose: %w", net.ErrClosed)

// midway lets happen what waits for c to have come so far. It reports whether
// reading goes on.
func (s *Session) midway(c *content, octets int64) bool {
	if c.mid == nil || octets < max(1, c.mid.After) {
		return true
	}
	f := *c.mid
	c.mid = nil
	if f.Stall { // unread, so that the client's own sending stalls
		s.dialogue.note(s, false, "("+f.Note+")")
		s.flush()
		s.sit(time.Now().Add(stallMost))
		s.hangUp("stalled on purpose by "+f.Rule, false)
		return false
	}
	s.suffer(f)
	return !s.closing
}

// expect asks once what is to happen while content comes.
func (s *Session) expect(c *content, bdat bool) {
	if s.srv.needs.Mishap == nil {
		return
	}
	if f, some := s.mishap(mail.StageContent, Moment{BDAT: bdat}); some {
		c.mid = &f
		if f.Throttle > 0 && f.After == 0 { // a small message comes in one piece
			s.slowDown(f.Throttle)
		}
	}
}

// atDot asks what goes wrong with a message that has come and is not kept yet.
// What is to happen only when it is kept comes back.
func (s *Session) atDot(env *mail.Envelope, h message.Header, c *content) (late *Fault, err error) {
	if s.srv.needs.Mishap == nil {
		return nil, nil
	}
	f, some := s.srv.needs.Mishap.At(Moment{
		Stage: mail.StageDot, Origin: s.origin, From: env.From, HasFrom: true, Recipients: env.Recipients, Subject: env.Subject,
		Header: func(name string) []string { return values(h, name) }, Size: env.Size, Messages: s.accepted, BDAT: c.dots.Facts.Octets == 0,
	})
	switch {
	case !some:
		return nil, nil
	case f.Keep:
		return &f, nil
	}
	if r, struck := s.suffer(f); struck && !s.closing {
		return nil, r
	}
	return nil, nil
}

func values(h message.Header, name string) []string {
	var all []string
	for _, f := range h.All(name) {
		all = append(all, message.DecodeWords(f.Value()))
	}
	return all
}

// slowDown limits the speed of the connection from here on.
func (s *Session) slowDown(perSecond int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slow, ok := s.conn.(*slowConn); ok {
		slow.perSecond = perSecond
		return
	}
	s.conn = &slowConn{Conn: s.conn, perSecond: perSecond, patience: s.cfg.Timeouts.Write}
}

// slowConn passes so many octets a second in each direction. Unlike a slow line
// it does not know its peer's patience.
type slowConn struct {
	net.Conn
	perSecond int
	patience  time.Duration // for each piece that is written
}

func (c *slowConn) slice(p []byte) []byte { return p[:min(len(p), max(1, c.perSecond/slowSlices))] }

func (c *slowConn) pay(n int) {
	time.Sleep(time.Duration(n) * time.Second / time.Duration(c.perSecond))
}

// Read implements net.Conn.
func (c *slowConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(c.slice(p))
	c.pay(n)
	return n, err
}

// Write implements net.Conn.
func (c *slowConn) Write(p []byte) (int, error) {
	written := 0
	for len(p) > written {
		_ = c.SetWriteDeadline(time.Now().Add(c.patience))
		n, err := c.Conn.Write(c.slice(p[written:]))
		if written += n; err != nil {
			return written, err
		}
		c.pay(n)
	}
	return written, nil
}

// hides reports that a keyword of EHLO is hidden in this session.
func (s *Session) hides(keyword string) bool {
	return slices.ContainsFunc(s.hidden, func(h string) bool { return strings.EqualFold(h, keyword) })
}

// hiddenVerbs are those that hidden keywords stand for.
var hiddenVerbs = map[smtp.Verb]string{smtp.VerbStarttls: "STARTTLS", smtp.VerbAuth: "AUTH", smtp.VerbBdat: "CHUNKING"}

// hiddenParams are the parameters that hidden keywords stand for.
var hiddenParams = map[string]smtp.ParamSet{
	"SIZE": smtp.ParamSize, "8BITMIME": smtp.ParamBody, "SMTPUTF8": smtp.ParamUTF8, "DSN": smtp.ParamDSN, "BINARYMIME": smtp.ParamBinary,
	"FUTURERELEASE": smtp.ParamHold, "DELIVERBY": smtp.ParamBy, "MT-PRIORITY": smtp.ParamPriority, "REQUIRETLS": smtp.ParamRequireTLS,
}

// without removes hidden keywords from a reply to EHLO.
func (s *Session) without(text string) string {
	if len(s.hidden) == 0 {
		return text
	}
	lines := strings.Split(text, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool {
		word, _, _ := strings.Cut(l, " ")
		return l != lines[0] && s.hides(word)
	}), "\n")
}
