package smtpserver

import (
	"context"

	"paquebot/internal/smtp"
)

// gate is what stands between a verb and its handler in a state.
type gate uint8

const (
	pass       gate = iota
	tlsFirst        // 530 5.7.0 Must issue a STARTTLS command first
	authFirst       // 530 5.7.0 Authentication required
	orderFirst      // 503 5.5.1
)

// row is how one verb is answered. clear rules while TLS is required and not
// active, unauth while authentication is required and has not happened; the
// columns are those of standards §3.3.
type row struct {
	run           func(s *Session, ctx context.Context, arg []byte) smtp.Reply
	clear, unauth gate
	needsHello    bool // 503 5.5.1 before EHLO or HELO (SRV-22)
	noMail        bool // does not bring mail nearer: Limits.Mailless counts these
}

// verbs is the table of standards §3.3. A verb without run is known and not
// implemented, 502 5.5.1; VerbUnknown has its row too.
var verbs = [smtp.VerbCount]row{
	smtp.VerbUnknown:  {run: (*Session).unknown, clear: tlsFirst},
	smtp.VerbEhlo:     {run: (*Session).ehlo, noMail: true},
	smtp.VerbHelo:     {run: (*Session).helo, clear: tlsFirst, noMail: true},
	smtp.VerbStarttls: {run: (*Session).starttls},
	smtp.VerbAuth:     {run: (*Session).auth, clear: tlsFirst, needsHello: true},
	smtp.VerbMail:     {run: (*Session).mail, clear: tlsFirst, unauth: authFirst, needsHello: true},
	smtp.VerbRcpt:     {run: (*Session).rcpt, clear: tlsFirst, unauth: authFirst, needsHello: true},
	smtp.VerbData:     {run: (*Session).data, clear: tlsFirst, unauth: authFirst, needsHello: true},
	smtp.VerbBdat:     {run: (*Session).bdat, clear: tlsFirst, unauth: authFirst, needsHello: true},
	smtp.VerbRset:     {run: (*Session).rset, clear: tlsFirst, noMail: true},
	smtp.VerbNoop:     {run: (*Session).noop, noMail: true},
	smtp.VerbQuit:     {run: (*Session).quit},
	smtp.VerbVrfy:     {run: (*Session).vrfy, clear: tlsFirst, unauth: authFirst, noMail: true},
	smtp.VerbExpn:     {clear: tlsFirst},
	smtp.VerbHelp:     {run: (*Session).help, clear: tlsFirst, noMail: true},
	smtp.VerbXclient:  {run: (*Session).xclient, clear: tlsFirst},
	smtp.VerbXforward: {run: (*Session).xforward, clear: tlsFirst},
	smtp.VerbLhlo:     {run: (*Session).unknown, clear: tlsFirst}, // INT-4: never here
	smtp.VerbTurn:     {clear: tlsFirst},
	smtp.VerbAtrn:     {clear: tlsFirst},
	smtp.VerbEtrn:     {clear: tlsFirst},
	smtp.VerbSend:     {clear: tlsFirst},
	smtp.VerbSoml:     {clear: tlsFirst},
	smtp.VerbSaml:     {clear: tlsFirst},
	smtp.VerbBurl:     {clear: tlsFirst},
}

// gateFor returns the reply that stands before a verb in the present state, if
// any does.
func (s *Session) gateFor(verb smtp.Verb) (smtp.Reply, bool) {
	r := verbs[verb]
	g := pass
	switch {
	case s.unwelcome && verb != smtp.VerbQuit: // SRV-40
		g = orderFirst
	case s.mustTLS():
		g = r.clear
	case r.needsHello && !s.greeted():
		g = orderFirst
	case s.mustAuth():
		g = r.unauth
	}
	switch g {
	case tlsFirst:
		return smtp.NeedTLS, true
	case authFirst:
		return smtp.NeedAuth, true
	case orderFirst:
		if s.unwelcome {
			return smtp.BadOrder.WithText("No service here, say QUIT"), true
		}
		return smtp.BadOrder.WithText("Say EHLO first"), true
	}
	return smtp.Reply{}, false
}

// answer runs one command line.
func (s *Session) answer(ctx context.Context, verb smtp.Verb, arg []byte) smtp.Reply {
	if r, refused := s.gateFor(verb); refused {
		if verb == smtp.VerbBdat {
			return s.refuseBdat(arg, r)
		}
		return r
	}
	if len(s.hidden) > 0 && s.hides(hiddenVerbs[verb]) {
		if verb == smtp.VerbBdat {
			return s.refuseBdat(arg, smtp.NotDone)
		}
		return smtp.NotDone
	}
	run := verbs[verb].run
	if run == nil {
		return smtp.NotDone // SRV-30, EXT-14
	}
	return run(s, ctx, arg)
}

func (s *Session) unknown(context.Context, []byte) smtp.Reply { return smtp.Unknown }

func (s *Session) noop(context.Context, []byte) smtp.Reply { return smtp.OK }

func (s *Session) rset(_ context.Context, arg []byte) smtp.Reply {
	if len(arg) > 0 {
		return smtp.BadArg
	}
	s.tx.reset() // keeps EHLO, TLS and AUTH (SRV-26, TRAP-16)
	return smtp.OK
}

func (s *Session) quit(context.Context, []byte) smtp.Reply {
	if r, struck := s.strike(StageQuit, Moment{}); struck {
		return r
	}
	s.why = "quit"
	return smtp.Reply{Code: 221, Enhanced: smtp.Enhanced{Class: 2}, Text: "Bye", Close: true}
}

func (s *Session) vrfy(_ context.Context, arg []byte) smtp.Reply {
	if len(arg) == 0 {
		return smtp.BadArg
	}
	return smtp.Reply{Code: 252, Enhanced: smtp.Enhanced{Class: 2}, Text: "Cannot verify, send mail and see"}
}

func (s *Session) help(context.Context, []byte) smtp.Reply {
	return smtp.Reply{Code: 214, Enhanced: smtp.Enhanced{Class: 2}, Text: "RFC 5321; commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT"}
}
