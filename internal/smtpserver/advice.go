package smtpserver

import (
	"errors"
	"fmt"
	"strings"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// explain names the rule behind a refusal and says what its owner should
// change: the last column of standards §3.8. Policy's own words come first.
func (s *Session) explain(r smtp.Reply, what string) (rule, advice string) {
	var ruling Ruling
	if r.Cause != nil && errors.As(r.Cause, &ruling) {
		var helper Adviser
		if errors.As(r.Cause, &helper) {
			advice = helper.Advice()
		}
		return ruling.Rule(), advice
	}
	verb, _, _ := strings.Cut(what, " ")
	switch {
	case r.Code == 530 && r.Text == smtp.NeedTLS.Text:
		return "tls-required", "client has TLS off; set STARTTLS" // TE-1, TE-2
	case r.Code == 530:
		return "auth-required", "client does not log in; give it an account" // TE-5
	case verb == "AUTH" && r.Code == authNotHere.Code && s.cfg.Role == mail.RoleMX:
		return "auth-on-mx", "client submits on the servers' port; " + s.belongs()
	case r.Code == 535:
		return "credentials", "user name or password is wrong" // TE-6
	case s.cfg.Role == mail.RoleMX && r.Code == 550 && r.Enhanced == smtp.RelayDeny.Enhanced && verb == "RCPT":
		if looksLikeClient(s.origin.Helo) {
			return "relay", s.belongs() // TE-11
		}
		return "relay", ""
	case r.Code == 552 && r.Enhanced == smtp.TooBig.Enhanced:
		return "size", "" // TE-8: the limit is in the reply
	case r.Code == 421:
		return "limit", ""
	case r.Code == 503:
		return "order", ""
	case isProtocolError(r):
		return "syntax", ""
	}
	return "", ""
}

func (s *Session) belongs() string {
	starttls, tls := s.cfg.ports()
	return fmt.Sprintf("submission belongs on %d/%d", starttls, tls)
}
