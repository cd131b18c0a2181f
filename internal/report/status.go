package report

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// deliveryStatus writes the part that programs read (RFC 3464 §2, DSN-4).
func (n Notice) deliveryStatus(utf8 bool) []byte {
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
			field("Original-Recipient", original(r.Original, utf8))
		}
		field("Final-Recipient", address(r.Address, utf8))
		field("Action", string(r.Action))
		field("Status", Status(r.Action, r.Last).String())
		if o := r.Last; spoke(o) && r.Action != Expanded {
			if o.Host != "" {
				field("Remote-MTA", "dns; "+ascii(o.Host))
			}
			field("Diagnostic-Code", "smtp; "+diagnostic(o.Reply, utf8))
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
func address(a string, utf8 bool) string {
	switch {
	case isASCII(a):
		return "rfc822; " + printable(a)
	case utf8:
		return "utf-8; " + printable(a)
	}
	return "utf-8; " + xtext(a)
}

// original writes an ORCPT "type;address" as given, in ASCII forms if need be.
func original(orcpt string, utf8 bool) string {
	kind, a, ok := strings.Cut(orcpt, ";")
	if !ok {
		kind, a = "rfc822", orcpt
	}
	if !isASCII(a) && !utf8 {
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
func diagnostic(r smtp.Reply, utf8 bool) string {
	clean := ascii
	if utf8 {
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
	var b strings.Builder
	for i, line := range strings.Split(field, "\r\n") {
		if i > 0 {
			b.WriteString("\r\n")
		}
		for len(line) > foldAt {
			cut := strings.LastIndexByte(line[:foldAt], ' ')
			if cut <= len(line)-len(strings.TrimLeft(line, " ")) || strings.HasSuffix(line[:cut], ":") {
				cut = strings.IndexByte(strings.TrimLeft(line[min(foldAt, len(line)):], " "), ' ')
				if cut < 0 {
					break
				}
				cut += foldAt
			}
			if strings.TrimSpace(line[cut:]) == "" || strings.TrimSpace(line[:cut]) == "" {
				break
			}
			b.WriteString(line[:cut] + "\r\n")
			line = " " + strings.TrimLeft(line[cut:], " ")
		}
		for len(line) > lineMax {
			b.WriteString(line[:lineMax] + "\r\n ")
			line = line[lineMax:]
		}
		b.WriteString(line)
	}
	return b.String() + "\r\n"
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
