package smtpserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/message"
	"paquebot/internal/smtp"
)

var startInput = smtp.Reply{Code: 354, Text: "Start mail input; end with <CRLF>.<CRLF>"} // RC-37

// mayBring says what stands against content now.
func (s *Session) mayBring() (smtp.Reply, bool) {
	switch {
	case !s.tx.open:
		return smtp.BadOrder.WithText("Need MAIL first"), false
	case len(s.tx.recipients) == 0:
		return smtp.BadOrder.WithText("No valid recipients"), false // SRV-24, RC-33
	}
	return smtp.Reply{}, true
}

// data takes a message that ends with CRLF "." CRLF and answers when it is
// durable, or not wanted.
func (s *Session) data(ctx context.Context, arg []byte) smtp.Reply {
	r, ok := s.mayBring()
	switch {
	case len(arg) > 0:
		r, ok = smtp.BadArg, false
	case ok && s.tx.content != nil:
		r, ok = smtp.BadOrder.WithText("DATA after BDAT"), false // EXT-4
	case ok && s.tx.params.Body == mail.BodyBinary:
		r, ok = smtp.BadOrder.WithText("BINARYMIME needs BDAT"), false // EXT-5
	}
	if ok {
		var struck bool
		r, struck = s.strike(mail.StageData, Moment{})
		ok = !struck
	}
	if !ok {
		if len(s.in.pending()) > 0 && !s.closing { // content sent ahead would be taken for commands
			s.say(r, smtp.VerbData.String())
			return syncError
		}
		return r
	}
	s.say(startInput, "")
	c := s.newContent(s.bareLines())
	s.expect(c, false)
	if err := s.readContent(c); err != nil {
		c.discard()
		s.connectionFault(err)
		return smtp.Reply{} // SRV-34: incomplete, nothing is delivered
	}
	s.dialogue.content(s, c.dots.Facts.Octets)
	return s.finish(ctx, c)
}

// bareLines is the rule for this peer's bare CR and LF (SRV-3).
func (s *Session) bareLines() smtp.BarePolicy {
	if within(s.cfg.BareAllowed, s.origin.Client.Addr()) {
		return smtp.BareAllow
	}
	return s.cfg.BareLines
}

// readContent reads to the end of data. What is too big is read on, and
// dropped, so that the reply is understood; up to a limit.
func (s *Session) readContent(c *content) error {
	s.in.enlarge()
	pace := newPace(s)
	for {
		have := s.in.pending()
		if len(have) > 0 {
			out, used, done := c.dots.Decode(c.scratch(), have[:min(len(have), decodeMost)])
			s.in.take(used)
			c.take(out)
			if !s.midway(c, c.dots.Facts.Octets) {
				return errHungUp
			}
			if done {
				return nil
			}
			if c.dots.Facts.Octets > overrun*s.cfg.Limits.MessageSize {
				s.say(smtp.TooBig.AndClose(), smtp.VerbData.String())
				return errOverrun
			}
			continue
		}
		if err := pace.fill(); err != nil {
			return err
		}
	}
}

var errOverrun = errors.New("content without end")

// pace reads content at a rate that is worth waiting for (SRV-36).
type pace struct {
	s     *Session
	since time.Time // of the window
	start int64     // octets read when it began
}

func newPace(s *Session) pace { return pace{s: s, since: time.Now(), start: s.in.total} }

func (p *pace) fill() error {
	s := p.s
	now := time.Now()
	if now.Sub(p.since) >= rateWindow {
		if s.in.total-p.start < rateFloor*int64(rateWindow/time.Second) {
			return errTooSlow
		}
		p.since, p.start = now, s.in.total
	}
	s.deadline = now.Add(s.cfg.Timeouts.Data)
	if end := p.since.Add(rateWindow); end.Before(s.deadline) {
		s.deadline = end
	}
	err := s.in.fill()
	if errors.Is(err, os.ErrDeadlineExceeded) && s.cfg.Timeouts.Data > time.Since(now) {
		return p.fill() // the window ended, not the patience
	}
	return err
}

var errTooSlow = fmt.Errorf("content too slow: %w", os.ErrDeadlineExceeded)

// bdat takes one chunk (RFC 3030 §2).
func (s *Session) bdat(ctx context.Context, arg []byte) smtp.Reply {
	size, last, ok := smtp.ParseBdat(arg)
	if !ok {
		return badBdat
	}
	if r, may := s.mayBring(); !may {
		return s.skip(size, r)
	}
	c := s.tx.content
	if c == nil {
		if r, struck := s.strike(mail.StageData, Moment{BDAT: true}); struck {
			if s.closing {
				return r
			}
			return s.skip(size, r)
		}
		policy := s.bareLines()
		if s.tx.params.Body == mail.BodyBinary {
			policy = smtp.BareAllow // SRV-5: byte-exact
		}
		c = s.newContent(policy)
		c.binary = s.tx.params.Body == mail.BodyBinary
		s.tx.content = c
		s.expect(c, true)
	}
	if err := s.readChunk(c, size); err != nil {
		s.connectionFault(err)
		return smtp.Reply{}
	}
	s.dialogue.content(s, size)
	if last {
		c.take(c.ends.Finish(c.scratch()))
		return s.finish(ctx, c)
	}
	if c.fault.Code != 0 {
		r := c.fault
		s.tx.reset() // what follows is skipped until the next MAIL
		return r
	}
	return smtp.Reply{Code: 250, Enhanced: smtp.Enhanced{Class: 2}, Text: strconv.FormatInt(size, 10) + " octets"} // RC-38
}

// badBdat closes: without a count nobody can tell chunk from commands.
var badBdat = smtp.BadArg.WithText("Syntax: BDAT octets [LAST]").AndClose()

// refuseBdat answers a BDAT that a gate refused: its octets are consumed first
// (CM-1, TRAP-2).
func (s *Session) refuseBdat(arg []byte, r smtp.Reply) smtp.Reply {
	size, _, ok := smtp.ParseBdat(arg)
	if !ok {
		return badBdat
	}
	return s.skip(size, r)
}

// skip reads a chunk and forgets it.
func (s *Session) skip(size int64, r smtp.Reply) smtp.Reply {
	if size > overrun*s.cfg.Limits.MessageSize {
		return smtp.TooBig.AndClose()
	}
	err := s.eachPiece(size, func([]byte) {})
	if err != nil {
		s.connectionFault(err)
		return smtp.Reply{}
	}
	return r
}

func (s *Session) readChunk(c *content, size int64) error {
	if c.size()+size > overrun*s.cfg.Limits.MessageSize {
		s.say(smtp.TooBig.AndClose(), smtp.VerbBdat.String())
		return errOverrun
	}
	if c.size()+size > s.cfg.Limits.MessageSize { // cumulative (EXT-4)
		c.blame(s.tooBig())
	}
	return s.eachPiece(size, func(piece []byte) {
		c.take(c.ends.Convert(c.scratch(), piece))
		s.midway(c, c.size())
	})
}

// eachPiece reads exactly size octets.
func (s *Session) eachPiece(size int64, use func([]byte)) error {
	pace := newPace(s)
	for size > 0 {
		if have := s.in.pending(); len(have) > 0 {
			n := int(min(size, int64(len(have)), decodeMost))
			use(have[:n])
			s.in.take(n)
			size -= int64(n)
			if s.closing {
				return errHungUp
			}
			continue
		}
		if size > idleSize {
			s.in.enlarge()
		}
		if err := pace.fill(); err != nil {
			return err
		}
	}
	return nil
}

// finish judges what has come, and takes responsibility for it or does not. The
// transaction is over either way.
func (s *Session) finish(ctx context.Context, c *content) smtp.Reply {
	began := time.Now()
	env := &mail.Envelope{
		ID: c.id, Arrived: began, From: s.tx.from, Recipients: s.tx.recipients,
		Params: s.tx.params, Origin: s.origin,
	}
	s.tx.content = nil
	s.tx.reset()
	defer c.discard()
	c.end()
	told, late, err := s.accept(ctx, env, c)
	switch {
	case s.closing: // on purpose: the client hears nothing
		return smtp.Reply{}
	case err != nil:
		return s.refuseMessage(env, smtp.AsReply(err))
	}
	id := told.Envelope.ID // env belongs to the queue now
	s.accepted++
	told.TookSeconds = time.Since(began).Seconds()
	reply := smtp.Reply{Code: 250, Enhanced: smtp.Enhanced{Class: 2}, Text: "Ok: queued as " + id.String()} // RC-39, SUB-41
	if late != nil {
		told.Dialogue = slices.Clip(s.dialogue.lines)
		s.srv.needs.Events.Emit(told)
		if r, struck := s.suffer(*late); struck {
			return r
		}
		return reply
	}
	told.Dialogue = s.dialogue.upTo(s, reply)
	s.srv.needs.Events.Emit(told)
	return reply
}

// accept is SUB-40: line ends are settled already; validate, repair, judge,
// store.
func (s *Session) accept(ctx context.Context, env *mail.Envelope, c *content) (told event.MessageAccepted, late *Fault, err error) {
	if err := s.sound(c); err != nil {
		return told, nil, err
	}
	h, err := message.SplitHeader(c.header())
	if err != nil {
		return told, nil, err
	}
	if s.loops(h) {
		return told, nil, smtp.LoopFound
	}
	if h, told.Repaired, err = s.repair(h, env, c); err != nil {
		return told, nil, err
	}
	env.Subject, env.MessageID = forPeople(h)
	env.Params.TLSNotReq = tlsNotRequired(h)
	env.Size = int64(h.Size()) + c.draft.Size() // for the account's limit; exact below
	verdict := s.judge(ctx, env, h)
	if verdict.Refuse != nil {
		return told, nil, verdict.Refuse
	}
	if late, err = s.atDot(env, h, c); err != nil || s.closing {
		return told, nil, err
	}
	head := s.compose(env, h, verdict.Prepend)
	env.Size = int64(len(head)) + c.draft.Size()
	told.Verdict = verdict.Reasons
	told.Envelope = snapshot(env)
	if err := c.draft.Commit(ctx, env, head); err != nil {
		return told, nil, notStored(err)
	}
	return told, late, nil
}

// loops finds mail that goes round: too many hops at all (REL-4), or too often
// here (REL-5). Most mail has not been here, and is not looked at closely.
func (s *Session) loops(h message.Header) bool {
	hops, here := 0, 0
	name := []byte(s.cfg.Hostname)
	for _, f := range h.Fields {
		if f.Is("Received") {
			hops++
			if bytes.Contains(f.Raw, name) {
				here++
			}
		}
	}
	return hops > s.cfg.Limits.Hops || here >= visitsMax && h.Visits(s.cfg.Hostname) >= visitsMax
}

// snapshot is what events show: the queue owns env once it is committed, and
// changes its standings.
func snapshot(env *mail.Envelope) *mail.Envelope {
	shown := *env
	shown.Recipients = slices.Clone(env.Recipients)
	return &shown
}

// notStored is SRV-32: the store's own reply, else 451 4.3.0.
func notStored(err error) error {
	if errors.As(err, new(smtp.Reply)) {
		return err
	}
	return smtp.Undurable.Because(err)
}

// sound refuses content that no server should pass on.
func (s *Session) sound(c *content) error {
	f := c.facts()
	switch {
	case c.fault.Code != 0:
		return c.fault
	case f.Octets > s.cfg.Limits.MessageSize:
		return s.tooBig() // EXT-1: undeclared, found at the end
	case f.Bare() && c.policy == smtp.BareReject: // SRV-3
		s.attacked("smuggling", fmt.Sprintf("%d bare CR and %d bare LF in content", f.BareCR, f.BareLF))
		return bareRefused
	case f.NUL && !c.binary:
		return smtp.BadContent.WithText("Message holds NUL") // SRV-8
	case f.Longest > s.cfg.Limits.TextLine && !c.binary:
		return smtp.BadContent.WithText("Message holds a line of more than %d octets", s.cfg.Limits.TextLine) // SRV-12
	}
	return nil
}

var bareRefused = smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{Class: 5, Subject: 5, Detail: 2}, Text: "Message holds bare CR or LF", Close: true}

// repair applies standards §8 on submission. On 25 nothing changes but forged
// results of our own checks, which RFC 8601 §5 wants gone (TRAP-23).
func (s *Session) repair(h message.Header, env *mail.Envelope, c *content) (message.Header, []string, error) {
	if !s.cfg.Role.IsSubmission() {
		if s.cfg.AuthservID == "" {
			return h, nil, nil
		}
		h, n := message.StripAuthResults(h, s.cfg.AuthservID)
		if n > 0 {
			return h, []string{"Authentication-Results of ours removed"}, nil
		}
		return h, nil, nil
	}
	domain := s.cfg.Repair.Domain
	if domain == "" {
		domain = s.cfg.Hostname
	}
	return message.Prepare(h, message.Submission{
		ID: env.ID, Domain: domain, Now: env.Arrived, AuthservID: s.cfg.AuthservID,
		Body8Bit: c.eightBit, BodyUTF8: !c.text.broken(), Strict: s.cfg.Repair.Strict,
		MailFrom: env.From, Principal: principal(env), AddSender: s.cfg.Repair.AddSender,
		MakeFrom: s.cfg.Repair.MakeFrom, QualifyWith: s.cfg.Repair.QualifyWith,
	})
}

// principal is an address of who sends: the account where it is one, else the
// envelope's sender, which policy has allowed.
func principal(env *mail.Envelope) string {
	if mail.Domain(env.Origin.Account) != "" {
		return env.Origin.Account
	}
	return env.From
}

// judge asks policy, for a limited time (SRV-33).
func (s *Session) judge(ctx context.Context, env *mail.Envelope, h message.Header) Verdict {
	limit := newDeadline(ctx, s.cfg.Timeouts.Checks)
	defer limit.stop()
	v := s.srv.needs.Policy.Content(limit, env, h)
	if limit.Err() != nil && v.Refuse != nil {
		v.Refuse = smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 3, Detail: 2}, Text: "Checks took too long, try again later", Cause: v.Refuse}
	}
	return v
}

// compose puts what policy adds on top, then our trace field, then the header
// (RCV-1, RCV-9).
func (s *Session) compose(env *mail.Envelope, h message.Header, prepend [][]byte) []byte {
	to := ""
	if len(env.Recipients) == 1 {
		to = env.Recipients[0].Address // RCV-3
		if alias := env.Recipients[0].Alias; alias != "" {
			to = alias // as the client said it: what it stands for is not the client's business
		}
	}
	trace := message.Received(env.Origin, s.cfg.Hostname, env.ID, to, env.Params.UTF8, s.cfg.HideClient, env.Arrived)
	n := len(trace) + h.Size()
	for _, p := range prepend {
		n += len(p)
	}
	head := make([]byte, 0, n)
	for _, p := range prepend {
		head = append(head, p...)
	}
	head = append(head, trace...)
	for _, f := range h.Fields {
		head = append(head, f.Raw...)
	}
	if len(head) > 2 && head[len(head)-1] != '\n' {
		head = append(head, '\r', '\n')
	}
	return append(head, '\r', '\n')
}

// refuseMessage tells about a message that was seen and not taken.
func (s *Session) refuseMessage(env *mail.Envelope, r smtp.Reply) smtp.Reply {
	rule, _ := s.explain(r, "")
	s.srv.needs.Events.Emit(event.MessageRefused{Envelope: env, Reply: r, Rule: rule})
	return r
}
