package mishap

import (
	"fmt"
	"strconv"
	"strings"

	"paquebot/internal/smtp"
)

// known is what a bare code means, by stage; a row without stages is for all
// that have none of their own. It is the part of standards §16.1 that a test
// may want to meet.
type known struct {
	code   int
	stages string // separated by spaces; "" is any
	code2  string // enhanced
	text   string
}

// meanings is searched from the top.
var meanings = []known{
	{421, "connect greeting", "4.7.0", "Too many connections, try again later"}, // RC-4
	{421, "", "4.3.2", "Service not available, closing connection"},             // RC-5
	{432, "", "4.7.12", "A password transition is needed"},                      // AUTH-3
	{450, "mail", "4.7.1", "Rate limit exceeded, retry later"},                  // RC-54
	{450, "dot data", "4.7.28", "Too many messages, retry later"},               // RC-52
	{450, "", "4.2.1", "Mailbox is receiving too fast, try again later"},        // RC-29
	{451, "", "4.3.0", "Local error in processing, try again later"},            // RC-36
	{452, "rcpt delivery", "4.2.2", "Mailbox full, try again later"},            // RC-27
	{452, "", "4.3.1", "Insufficient system storage, try again later"},          // RC-35
	{454, "starttls", "4.7.0", "TLS not available due to temporary reason"},     // RC-17
	{454, "auth", "4.7.0", "Temporary authentication failure, try again later"}, // AUTH-3
	{454, "", "4.7.0", "Temporary security failure, try again later"},
	{455, "", "4.5.4", "Parameters cannot be honoured now"},                   // RFC 5321 §4.1.1.11
	{500, "auth", "5.5.6", "Authentication line too long"},                    // AUTH-3
	{500, "", "5.5.1", "Command not recognised"},                              // RC-9
	{501, "mail", "5.1.7", "Sender address syntax"},                           // RC-16
	{501, "rcpt", "5.1.3", "Recipient address syntax"},                        // RC-16
	{501, "", "5.5.4", "Syntax error in parameters or arguments"},             // RC-13
	{502, "", "5.5.1", "Command not implemented"},                             // RC-11
	{503, "", "5.5.1", "Bad sequence of commands"},                            // RC-12
	{504, "", "5.5.4", "Parameter not implemented"},                           // RC-15
	{521, "", "5.3.2", "Host does not accept mail"},                           // RC-2, RFC 7504
	{523, "", "5.7.10", "Encryption needed"},                                  // RFC 5248 registry
	{525, "", "5.7.13", "User account disabled"},                              // RFC 5248 registry
	{530, "", "5.7.0", "Authentication required"},                             // AUTH-3
	{534, "", "5.7.9", "Authentication mechanism is too weak"},                // AUTH-3
	{535, "", "5.7.8", "Authentication credentials invalid"},                  // AUTH-3
	{538, "", "5.7.11", "Encryption required for this mechanism"},             // AUTH-3
	{550, "mail", "5.7.1", "Sender not allowed"},                              // RC-24
	{550, "dot data content", "5.7.1", "Message refused by policy"},           // RC-40
	{550, "rcpt delivery", "5.1.1", "No such user"},                           // RC-25
	{550, "", "5.7.1", "Refused by policy"},                                   // RC-30
	{551, "", "5.1.6", "User has moved"},                                      // RC-26
	{552, "rcpt delivery", "5.2.2", "Mailbox full"},                           // RC-27
	{552, "", "5.3.4", "Message size exceeds fixed limit"},                    // RC-34
	{553, "mail", "5.1.7", "Sender address not allowed"},                      // RC-16
	{553, "", "5.1.3", "Mailbox name not allowed"},                            // RC-16
	{554, "rcpt mail connect greeting", "5.7.1", "Client or address refused"}, // RC-3
	{554, "", "5.7.1", "Message refused as spam"},                             // RC-40
	{555, "", "5.5.4", "Parameter not recognised or not implemented"},         // RC-14
	{556, "", "5.1.10", "Domain does not accept mail (null MX)"},              // RC-25, RFC 7505
}

// meaning returns what a code says at a stage when nobody says it better.
func meaning(code int, at Stage) smtp.Reply {
	r := smtp.Reply{Code: code, Enhanced: smtp.Enhanced{Class: uint16(code / 100)}, Text: "Refused"}
	for _, m := range meanings {
		if m.code == code && (m.stages == "" || contains(m.stages, string(at))) {
			r.Enhanced, _ = smtp.ParseEnhanced(m.code2)
			r.Text = m.text
			break
		}
	}
	if at == Ehlo || at == Helo || at == Greeting || at == Connect {
		r.Enhanced = smtp.Enhanced{} // RFC 2034 §4: these have none
	}
	r.Close = code == 421 || code == 521 && (at == Greeting || at == Connect)
	return r
}

func contains(words, word string) bool {
	for w := range strings.FieldsSeq(words) {
		if w == word {
			return true
		}
	}
	return false
}

// replyOf reads what a rule says in Do.Reply: a code, with an enhanced code and
// a text or without.
func replyOf(text string, at Stage) (smtp.Reply, error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	code, err := strconv.Atoi(word)
	if err != nil || code < 400 || code > 599 {
		return smtp.Reply{}, fmt.Errorf("%q does not begin with a code from 400 to 599", text)
	}
	r := meaning(code, at)
	rest = strings.TrimSpace(rest)
	word, after, _ := strings.Cut(rest, " ")
	if e, ok := smtp.ParseEnhanced(word); ok {
		if int(e.Class) != code/100 {
			return smtp.Reply{}, fmt.Errorf("the enhanced code %s does not fit to %d: both begin with the same digit (RFC 2034 §4)", word, code)
		}
		r.Enhanced, rest = e, strings.TrimSpace(after)
	}
	if rest != "" {
		r.Text = rest
	}
	return r, nil
}
