package policy

import (
	"fmt"
	"strings"

	"paquebot/internal/smtp"
)

// The replies of standards §16.1 that only policy gives.
var (
	notWelcome    = smtp.Reply{Code: 554, Enhanced: enhanced(5, 7, 1), Text: "Client not welcome"}                        // RC-3; the session goes on to QUIT (SRV-40)
	flood         = smtp.Reply{Code: 450, Enhanced: enhanced(4, 7, 28), Text: "Too many messages"}                        // RC-52
	senderUnknown = smtp.Reply{Code: 550, Enhanced: enhanced(5, 1, 8), Text: "Sender's domain does not exist"}            // RC-23
	senderTrouble = smtp.Reply{Code: 451, Enhanced: enhanced(4, 1, 8), Text: "Sender's domain cannot be looked up now"}   // RC-23
	senderNullMX  = smtp.Reply{Code: 550, Enhanced: enhanced(5, 7, 27), Text: "Sender's domain takes no mail (null MX)"}  // RC-23
	senderBare    = smtp.Reply{Code: 501, Enhanced: enhanced(5, 1, 7), Text: "Sender's domain is not fully qualified"}    // SUB-3
	rcptBare      = smtp.Reply{Code: 501, Enhanced: enhanced(5, 1, 3), Text: "Recipient's domain is not fully qualified"} // SUB-3
	rcptDoubt     = smtp.Reply{Code: 451, Enhanced: enhanced(4, 2, 0), Text: "Recipient cannot be verified now"}
	unreadable    = smtp.Reply{Code: 550, Enhanced: enhanced(5, 6, 0), Text: "From or Sender is not an address list"} // SUB-23
)

func enhanced(class, subject, detail uint16) smtp.Enhanced {
	return smtp.Enhanced{Class: class, Subject: subject, Detail: detail}
}

// ruling is the hidden cause of a refusal: which rule, and what would help.
type ruling struct {
	rule, advice string
	cause        error
}

func (r ruling) Error() string {
	if r.cause != nil {
		return r.rule + ": " + r.cause.Error()
	}
	return r.rule
}

func (r ruling) Unwrap() error { return r.cause }

// Rule names the rule, as event.CommandRefused does.
func (r ruling) Rule() string { return r.rule }

// Advice is a sentence on what would help, "" if nothing does.
func (r ruling) Advice() string { return r.advice }

func refuse(r smtp.Reply, rule, advice string) smtp.Reply {
	return r.Because(ruling{rule, advice, r.Cause})
}

// about puts the address before the words, as §3.8 writes it: "<a@b>: no such user".
func about(r smtp.Reply, address, text string) smtp.Reply {
	return r.WithText("<%s>: %s", smtp.Printable(address), text)
}

// judgeSender is MAIL on a submission port.
func judgeSender(f senderFacts) error {
	switch {
	case f.Account == "" && !f.Trusted:
		return refuse(smtp.NeedAuth, "auth-required", "log in before sending") // P587-1, TE-5
	case !f.FromSyntax && !f.AnyDomain:
		return refuse(senderBare, "syntax", "use a full domain name in the sender's address") // SUB-3
	case !f.MaySend:
		return notYours(f.From, f.Account, f.Senders) // SUB-5, RC-24, PC-16
	case f.Quota != nil:
		return f.Quota // RC-54
	}
	return nil
}

func notYours(address, account string, senders []string) smtp.Reply {
	return refuse(about(smtp.NotYours, address, "sender not allowed for this account"), "sender",
		fmt.Sprintf("%s may send as: %s", account, strings.Join(senders, ", "))) // TE-7: the log lists what is
}

// judgeRecipient is RCPT on any port. Its order is the order of importance:
// what must be accepted, then what must not, then what does not exist.
func judgeRecipient(f recipientFacts) error {
	switch {
	case f.Submission && !f.Relay && !f.AcceptAll:
		return refuse(smtp.NeedAuth, "auth-required", "log in before sending")
	case f.Role:
		return nil // P25-3, SUB-8: before any other rule
	case f.AcceptAll:
		return nil
	case f.Literal:
		return relayDenied(f, "address literals are not accepted") // REL-3
	case !f.Ours && !f.Relay:
		return relayDenied(f, "relaying denied") // P25-2, TE-11
	case f.Routing && !f.Relay:
		return relayDenied(f, "relaying denied") // REL-1
	case f.Bare && !f.Ours:
		return refuse(rcptBare, "syntax", "use a full domain name in the recipient's address") // SUB-3
	}
	if err := judgeSenderDomain(f); err != nil {
		return err
	}
	return judgeExistence(f)
}

// judgeSenderDomain is RC-23.
func judgeSenderDomain(f recipientFacts) error {
	switch f.Sender {
	case no:
		return refuse(senderUnknown, "sender-domain", "publish an MX or address record for "+f.FromDomain)
	case nullMX:
		return refuse(senderNullMX, "sender-domain", f.FromDomain+" says in DNS that it takes no mail")
	case doubt:
		return refuse(senderTrouble, "sender-domain", "")
	}
	return nil
}

// judgeExistence is RC-25, SUB-4: doubt about a mailbox of ours waits, doubt
// about a foreign domain is the queue's business.
func judgeExistence(f recipientFacts) error {
	switch {
	case f.Mailbox == no:
		return refuse(about(smtp.NoMailbox, f.To, "no such user").Because(f.VerifyWhy), "no-mailbox", "")
	case f.Mailbox == doubt:
		return refuse(rcptDoubt.Because(f.VerifyWhy), "verify", "")
	case f.Domain == no:
		return refuse(about(smtp.NoDomain, f.To, "domain not found"), "no-domain", "") // TE-10
	case f.Domain == nullMX:
		return refuse(about(smtp.NullMX, f.To, "domain does not accept mail (null MX)"), "null-mx", "")
	}
	return nil
}

func relayDenied(f recipientFacts, text string) smtp.Reply {
	advice := ""
	if looksLikeClient(f.Helo) {
		// TE-11: a mail program on the wrong port.
		advice = "mail programs submit on port 587 or 465, with a login"
		text += "; " + advice
	}
	return refuse(about(smtp.RelayDeny, f.To, text), "relay", advice)
}

// looksLikeClient guesses by the EHLO name: servers have full names, mail
// programs say what their computer is called at home.
func looksLikeClient(helo string) bool {
	return !strings.Contains(helo, ".") || strings.HasPrefix(helo, "[") ||
		strings.HasSuffix(helo, ".local") || strings.HasSuffix(helo, ".lan") || strings.HasSuffix(helo, ".home")
}

// Judge is the end of data: may this message enter? It is pure; judge_test.go
// is its specification.
func Judge(f Facts) Verdict {
	if f.Unreadable {
		return Verdict{Refuse: refuse(unreadable, "author", "write From and Sender as RFC 5322 §3.4 has them")}
	}
	for _, a := range f.Authors {
		if !a.Allowed {
			return Verdict{
				Refuse:  notYours(a.Address, f.Account, f.Senders), // SUB-5, TE-7
				Reasons: []string{a.Field + " is not the account's"},
			}
		}
	}
	return Verdict{}
}
