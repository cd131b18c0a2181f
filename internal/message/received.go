package message

import (
	"net/netip"
	"strings"
	"time"

	"paquebot/internal/mail"
)

// Received makes the trace field of this hop (RFC 5321 §4.4; RCV-1..7), folded,
// with its CRLF.
//
// by is our host name. forRcpt is the recipient's address when the transaction
// has exactly one, else "": more would disclose Bcc (RCV-3); on submission it is
// left out whatever is given. utf8 says that SMTPUTF8 was asked for. hideClient
// keeps the client's name and address out of what the world sees (SUB-26).
func Received(o mail.Origin, by string, id mail.ID, forRcpt string, utf8 bool, hideClient bool, at time.Time) []byte {
	var b strings.Builder
	b.WriteString("Received: ")
	if from := receivedFrom(o, utf8, hideClient); from != "" {
		b.WriteString("from " + from + "\r\n\t")
	}
	b.WriteString("by " + traceName(by, utf8))
	if o.Role != mail.RoleLocal {
		b.WriteString(" with " + o.With(utf8))
	}
	b.WriteString("\r\n\tid " + id.String())
	if forRcpt != "" && !o.Role.IsSubmission() && traceable(forRcpt, utf8) {
		b.WriteString("\r\n\tfor <" + forRcpt + ">")
	}
	if o.TLS != nil && o.TLS.Cipher != "" {
		// An additional registered clause comes last (RFC 5321 §4.4, RFC 8314 §4.3; RCV-5).
		b.WriteString("\r\n\ttls " + traceName(o.TLS.Cipher, false))
	}
	b.WriteString(";\r\n\t" + FormatDate(at) + "\r\n")
	return []byte(b.String())
}

// receivedFrom is the from clause: the name the client gave, and in a comment
// what TCP says (RCV-2). "" for mail that was made here.
func receivedFrom(o mail.Origin, utf8, hide bool) string {
	switch {
	case o.Role == mail.RoleLocal && !o.Client.IsValid():
		return ""
	case hide && o.Account != "":
		return "[authenticated]"
	case hide:
		return "[submission]" // a trusted network: nobody authenticated, so we do not say so
	}
	helo := traceName(o.Helo, utf8)
	if !o.Client.IsValid() {
		return helo
	}
	literal := addressLiteral(o.Client.Addr())
	if o.Name != "" {
		return helo + " (" + traceName(o.Name, utf8) + " " + literal + ")"
	}
	return helo + " (" + literal + ")"
}

// addressLiteral is RFC 5321 §4.1.3: [192.0.2.1], [IPv6:2001:db8::1].
func addressLiteral(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return "[" + a.String() + "]"
	}
	return "[IPv6:" + a.String() + "]"
}

// traceName makes a name that a peer gave fit for a trace field: what is no
// part of a host name or address literal becomes "?", so that no comment, no
// clause and no line can be forged.
func traceName(s string, utf8 bool) string {
	if len(s) > 255 { // RFC 5321 §4.5.3.1.2
		s = s[:255]
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9',
			r == '.', r == '-', r == '_', r == ':', r == '[', r == ']':
			return r
		case r > 0xa0 && r != '\uFFFD' && r != '\u2028' && r != '\u2029' && utf8:
			return r
		}
		return '?'
	}, s)
	if s == "" {
		return "unknown"
	}
	return s
}

// traceable reports whether an address may stand in a for clause as it is.
func traceable(address string, utf8 bool) bool {
	for _, c := range []byte(address) {
		if c < ' ' || c == 0x7f || c == '<' || c == '>' || (c >= 0x80 && !utf8) {
			return false
		}
	}
	return len(address) <= 256 // RFC 5321 §4.5.3.1.3
}

// receivedBy returns the host of a Received field's by clause, "" if it is not
// to be found. Comments are skipped: a peer may write "by" in them.
func receivedBy(value string) string {
	words := strings.Fields(stripComments(value))
	for i := 0; i+1 < len(words); i++ {
		if strings.EqualFold(words[i], "by") {
			return strings.TrimSuffix(strings.TrimSuffix(words[i+1], ";"), ".")
		}
	}
	return ""
}

// ReturnPath makes the field that only final delivery adds (RFC 5321 §4.4;
// RCV-8), with its CRLF. from is the reverse path, "" for the null sender.
func ReturnPath(from string) []byte {
	return NewField("Return-Path", "<"+from+">").Raw
}
