package smtpserver

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// The replies of standards AUTH-3 that the session itself gives.
var (
	authOK       = smtp.Reply{Code: 235, Enhanced: smtp.Enhanced{Class: 2, Subject: 7}, Text: "Authentication successful"}
	authBadB64   = smtp.Reply{Code: 501, Enhanced: smtp.Enhanced{Class: 5, Subject: 5, Detail: 2}, Text: "Not valid base64"}
	authCancel   = smtp.Reply{Code: 501, Enhanced: smtp.Enhanced{Class: 5, Subject: 7}, Text: "Authentication cancelled"}
	authTooLong  = smtp.Reply{Code: 500, Enhanced: smtp.Enhanced{Class: 5, Subject: 5, Detail: 6}, Text: "Authentication line too long"}
	authTooOften = smtp.Reply{Code: 421, Enhanced: smtp.Enhanced{Class: 4, Subject: 7}, Text: "Too many failed authentications", Close: true} // AUTH-14
	authNotHere  = smtp.NotDone.WithText("Authentication is not offered on this port")
)

// auth runs one exchange (RFC 4954 §4).
func (s *Session) auth(ctx context.Context, arg []byte) smtp.Reply {
	switch {
	case !s.authHere():
		return authNotHere // P25-7
	case s.tls == nil && !s.cfg.ClearAuth:
		return smtp.NeedTLS // EH-3
	case s.origin.Account != "":
		return smtp.BadOrder.WithText("Already authenticated") // AUTH-2
	case s.tx.open:
		return smtp.BadOrder.WithText("Not within a transaction") // TRAP-18
	case !s.origin.ESMTP:
		return smtp.BadOrder.WithText("Say EHLO first")
	}
	mech, initial, given := strings.Cut(string(arg), " ")
	mech = strings.ToUpper(mech)
	if mech == "" {
		return smtp.BadArg.WithText("Syntax: AUTH mechanism")
	}
	x, err := s.srv.needs.Accounts.Begin(mech, s.authSession())
	if err != nil {
		return smtp.AsReply(err)
	}
	began := time.Now()
	err = s.exchange(ctx, x, strings.TrimLeft(initial, " "), given)
	if s.closing {
		return smtp.Reply{}
	}
	if err != nil {
		return s.authFailed(mech, x, err)
	}
	if r, struck := s.strike(mail.StageAuth, Moment{User: x.Account()}); struck {
		return r
	}
	if err := s.enter(x.Account()); err != nil {
		return smtp.AsReply(err)
	}
	s.origin.Account, s.origin.Method = x.Account(), mech
	s.srv.needs.Events.Emit(event.AuthSucceeded{Origin: s.origin, TookSeconds: time.Since(began).Seconds()})
	return authOK
}

// enter takes a place among the account's sessions (ABU-1), which the end of
// the session gives back. Where nobody keeps accounts, nobody counts.
func (s *Session) enter(account string) error {
	s.leave()
	if account == "" || s.srv.needs.Accounts == nil {
		return nil
	}
	leave, err := s.srv.needs.Accounts.Enter(account)
	if err == nil {
		s.leaveAccount = leave
	}
	return err
}

func (s *Session) leave() {
	if s.leaveAccount != nil {
		s.leaveAccount()
		s.leaveAccount = nil
	}
}

func (s *Session) authSession() AuthSession {
	return AuthSession{Client: s.origin.Client.Addr(), TLS: s.tls, Hostname: s.cfg.Hostname, Port: s.origin.Local.Port()}
}

// exchange passes challenges and responses to and fro. nil is success.
func (s *Session) exchange(ctx context.Context, x Exchange, initial string, given bool) error {
	var response []byte // nil: none was given
	if given {
		var err error
		if response, err = decodeResponse(initial, true); err != nil {
			return err
		}
	}
	for {
		challenge, done, err := x.Next(ctx, response)
		switch {
		case err != nil:
			return err
		case done && len(challenge) == 0:
			return nil
		}
		// A last word with success is a challenge to be answered with nothing
		// (RFC 4954 §4).
		if response, err = s.challenge(challenge); err != nil || done {
			return err
		}
	}
}

// challenge says 334 and reads the response.
func (s *Session) challenge(challenge []byte) ([]byte, error) {
	s.out = append(s.out, "334 "...)
	s.out = base64.StdEncoding.AppendEncode(s.out, challenge)
	s.out = append(s.out, '\r', '\n')
	s.dialogue.note(s, false, "334 (challenge)")
	line, err := s.readLine(smtp.AuthLineMax)
	switch {
	case errors.Is(err, smtp.ErrLineTooLong):
		return nil, authTooLong
	case errors.Is(err, smtp.ErrNUL):
		return nil, authBadB64 // one reply to one line
	case err != nil:
		s.lineFault(err) // which ends the session
		return nil, err
	}
	s.dialogue.note(s, true, "(response)")
	if string(line) == "*" {
		return nil, authCancel
	}
	return decodeResponse(string(line), false)
}

// decodeResponse never returns nil without an error. "=" stands for an empty
// initial response (AUTH-4).
func decodeResponse(line string, initial bool) ([]byte, error) {
	if initial && line == "=" {
		return []byte{}, nil
	}
	if strings.ContainsAny(line, "\r\n") {
		return nil, authBadB64
	}
	out, err := base64.StdEncoding.DecodeString(line)
	if err != nil {
		return nil, authBadB64
	}
	if out == nil {
		out = []byte{}
	}
	return out, nil
}

// authFailed counts what looks like guessing, and slows it down (AUTH-14).
func (s *Session) authFailed(mech string, x Exchange, err error) smtp.Reply {
	r := smtp.AsReply(err)
	reason := ""
	if r.Cause != nil {
		reason = r.Cause.Error()
	}
	o := s.origin
	s.srv.needs.Events.Emit(event.AuthFailed{Origin: o, User: smtp.Printable(x.Claimed()), Method: mech, Reply: r, Reason: reason})
	if r.Code != 535 {
		return r
	}
	s.authFailures++
	s.pause(min(time.Duration(s.authFailures)*authDelay, authSlowest))
	if s.authFailures < s.cfg.Limits.AuthFailures {
		return r
	}
	s.say(r, smtp.VerbAuth.String())
	return authTooOften
}
