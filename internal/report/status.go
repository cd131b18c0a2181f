package report

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// deliveryStatus writes the part that programs read (RFC 3464 §2, DSN-4).
func (n Notice) deliveryStatus(global bool) []byte {
	var b bytes.Buffer
	field := func(name, value string) { b.WriteString(fold(name + ": " + value)) }
	field("Reporting-MTA", "dns; "+n.Hostname)
	if id := n.Envelope.Params.EnvelopeID; id != "" {
		field("Original-Envelope-Id", ascii(id))
	}
	field("Arrival-Date", n.Envelope.Arrived.Format(dateLayout))
	field("X-Paquebot-Queue-ID", n.Envelope.ID.String())
	for _, r := range n.Recipients {
		b.WriteString("\r\n")
		if r.Original != "" {
			field("Original-Recipient", original(r.Original, global))
		}
		field("Final-Recipient", address(r.Address, global))
		field("Action", string(r.Action))
		field("Status", Status(r.Action, r.Last).String())
		if o := r.Last; spoke(o) && r.Action != Expanded {
			if o.Host != "" {
				field("Remote-MTA", "dns; "+ascii(o.Host))
			}
			field("Diagnostic-Code", "smtp; "+diagnostic(o.Reply, global))
		}
		if !r.Last.At.IsZero() && r.Action != Expanded {
			field("Last-Attempt-Date", r.Last.At.Format(dateLayout))
		}
		if r.Action == Delayed && !r.RetryUntil.IsZero() {
			field("Will-Retry-Until", r.RetryUntil.Format(dateLayout))
		}
	}
	return b.Bytes()
}

// spoke reports whether the reply is a peer's.
func spoke(o mail.Outcome) bool { return o.Result != mail.Untried && !o.Ours && o.Reply.Code != 0 }

// address is a final recipient's typed form. One that is not ASCII is written
// as it is in an internationalised report, else in the \x{} form (RFC 6533 §3).
func address(a string, global bool) string {
	switch {
	case isASCII(a):
		return "rfc822; " + printable(a)
	case global:
		return "utf-8; " + printable(a)
	}
	return "utf-8; " + xtext(a)
}

// original writes an ORCPT "type;address" as given, in ASCII forms if need be.
func original(orcpt string, global bool) string {
	kind, a, ok := strings.Cut(orcpt, ";")
	if !ok {
		kind, a = "rfc822", orcpt
	}
	if !isASCII(a) && !global {
		return "utf-8;" + xtext(a)
	}
	return printable(kind) + ";" + printable(a)
}

// xtext is utf-8-addr-xtext: what is not printable ASCII becomes \x{HEX}, and
// so do the characters that would be taken for an escape (RFC 6533 §3).
func xtext(s string) string {
	var b strings.Builder
	for _, c := range s {
		if c > ' ' && c < 0x7f && c != '\\' && c != '+' && c != '=' {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, "\\x{%X}", c)
		}
	}
	return b.String()
}

// diagnostic is the peer's reply with all its lines (DSN-4), each with its code
// as it was on the wire.
func diagnostic(r smtp.Reply, global bool) string {
	clean := ascii
	if global {
		clean = printable
	}
	lines := strings.Split(r.Text, "\n")
	for i, l := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		head := strconv.Itoa(r.Code) + sep
		if !r.Enhanced.IsZero() {
			head += r.Enhanced.String() + " "
		}
		lines[i] = strings.TrimRight(head+clean(l), " ")
	}
	return strings.Join(lines, "\r\n ")
}

// printable replaces control characters, so that no peer writes our fields.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == '\uFFFD' || c >= 0x80 && c < 0xa0 {
			return '?'
		}
		return c
	}, s)
}

// ascii replaces all that is not printable ASCII.
func ascii(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f {
			return '?'
		}
		return c
	}, s)
}

// lineMax is the longest line without CRLF (RFC 5322 §2.1.1); foldAt is where
// we begin a new one if there is a space.
const (
	lineMax = 998
	foldAt  = 78
)

// fold ends a field with CRLF and breaks its lines at spaces.
func fold(field string) string {
	var out []string
	for line := range strings.SplitSeq(field, "\r\n") {
		words := strings.Split(line, " ")
		current := words[0]
		for _, w := range words[1:] {
			if len(current)+1+len(w) > foldAt && w != "" && strings.TrimSpace(current) != "" && !strings.HasSuffix(current, ":") {
				out = append(out, broken(current, "\r\n "))
				current = ""
			}
			current += " " + w
		}
		out = append(out, broken(current, "\r\n "))
	}
	return strings.Join(out, "\r\n") + "\r\n"
}

// broken breaks a line that is longer than any line may be, between characters.
// with is the line end and what the next line begins with, which counts too.
func broken(line, with string) string {
	var b strings.Builder
	for room := lineMax; len(line) > room; room = lineMax - len(with) + len("\r\n") {
		cut := room
		for cut > 1 && !utf8.RuneStart(line[cut]) {
			cut--
		}
		b.WriteString(line[:cut] + with)
		line = line[cut:]
	}
	return b.String() + line
}

// Status is the status code of a recipient (DSN-5, DSN-9): the peer's enhanced
// code if its class fits the action, else ours for the cause, else X.0.0. It is
// never guessed from text.
func Status(a Action, o mail.Outcome) smtp.Enhanced {
	class := uint16(2)
	switch a {
	case Failed:
		class = 5
		if o.Result != mail.Refused { // it was given up
			return smtp.Expired.Enhanced
		}
	case Delayed:
		class = 4
	case Expanded:
		return smtp.Enhanced{Class: 2}
	}
	if o.Reply.Enhanced.Class == class {
		return o.Reply.Enhanced
	}
	if a == Relayed { // X.1.9: relayed to a mailer that does not speak DSN
		return smtp.Enhanced{Class: 2, Subject: 1, Detail: 9}
	}
	subject, detail := cause(o)
	return smtp.Enhanced{Class: class, Subject: subject, Detail: detail}
}

// cause is the subject and detail of our own failures (standards §16.2).
func cause(o mail.Outcome) (subject, detail uint16) {
	switch {
	case o.Result == mail.Accepted:
		return 0, 0
	case o.Ours && !o.Reply.Enhanced.IsZero():
		return o.Reply.Enhanced.Subject, o.Reply.Enhanced.Detail
	case o.Stage == mail.StageConnect && o.Ours:
		return 4, 1
	case o.Stage == mail.StageStartTLS:
		return 7, 5
	case o.Stage == mail.StageAuth:
		return 7, 8
	case o.Ours:
		return 4, 2
	}
	return 0, 0
}
