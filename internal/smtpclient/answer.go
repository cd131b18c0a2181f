package smtpclient

import (
	"fmt"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Kind says what sort of thing happened; only Said comes from the peer's mouth.
type Kind uint8

const (
	Said       Kind = iota // the peer gave Reply, positive or negative
	Lost                   // EOF, reset or timeout where a reply was due
	Garbage                // what came is not SMTP, or never ends (MIS-11, MIS-12)
	Confused               // a reply that cannot belong to its command (MIS-5)
	NoTLS                  // TLS is demanded; the peer does not offer it or refuses (TLS-7)
	Handshake              // TLS failed for another reason than trust
	Untrusted              // the certificate does not prove who it should (TLS-6)
	Injected               // octets came between STARTTLS's 220 and TLS (TLS-10)
	NoLogin                // we cannot authenticate here: no common mechanism, no verified TLS
	Unfit                  // the message cannot go to this peer: size, conversion, UTF-8
	RequireTLS             // REQUIRETLS cannot be kept with this peer (RTLS-2)
	Local                  // a fault of ours: the body could not be read
)

var kindNames = [...]string{"said", "lost", "garbage", "confused", "no-tls", "handshake", "untrusted", "injected", "no-login", "unfit", "requiretls", "local"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// ParseKind is the inverse of String, for tables.
func ParseKind(s string) (Kind, bool) {
	for k, name := range kindNames {
		if name == s {
			return Kind(k), true
		}
	}
	return 0, false
}

// Answer is what became of a step: of opening a session, or of a transaction
// for one recipient. It is an error when it is not Good.
type Answer struct {
	Kind  Kind
	Stage mail.Stage
	Reply smtp.Reply // the peer's if Said, else ours (§16.2)
	// Ambiguous: the connection was lost, or what came made no sense, when the
	// peer had the whole content, so that it may have taken the message (RFC
	// 1047, CLI-29).
	Ambiguous bool
	// Virgin: trouble before the first reply in this transaction (CLI-42).
	Virgin bool
	// NoDSN: the peer took the message but does not speak DSN (EXT-7).
	NoDSN bool
	// Pipelined: the trouble came within a group of pipelined commands (MIS-5).
	Pipelined bool
	// Chunked: BDAT was used, so trouble with the content may be its fault (MIS-13).
	Chunked bool
}

// Good reports that the peer took the message for this recipient.
func (a Answer) Good() bool { return a.Kind == Said && a.Reply.Code/100 == 2 }

// Error implements error.
func (a Answer) Error() string {
	if a.Kind == Said {
		return fmt.Sprintf("%s: host said %s", a.Stage, a.Reply.Error())
	}
	return fmt.Sprintf("%s (%s): %s", a.Stage, a.Kind, a.Reply.Error())
}

// Unwrap gives the reply, and through it its cause, to errors.As.
func (a Answer) Unwrap() error { return a.Reply }

func said(stage mail.Stage, r smtp.Reply) *Answer { return &Answer{Kind: Said, Stage: stage, Reply: r} }

func ours(kind Kind, stage mail.Stage, r smtp.Reply) *Answer {
	return &Answer{Kind: kind, Stage: stage, Reply: r}
}

// Replies of our own making (§16.2).
func notSMTP(cause error) smtp.Reply {
	return smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 5}, Text: "Host does not speak SMTP", Cause: cause}
}

func unfit(subject, detail uint16, text string) smtp.Reply {
	return smtp.Reply{Code: 554, Enhanced: smtp.Enhanced{Class: 5, Subject: subject, Detail: detail}, Text: text}
}
