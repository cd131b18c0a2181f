package message

import (
	"strings"

	"paquebot/internal/mail"
)

// NewMessageID makes the Message-ID of a message that came without one, angle
// brackets included (SUB-21). domain is the submission domain: neither a host
// nor a user is named.
func NewMessageID(id mail.ID, domain string) string {
	if domain == "" {
		domain = "localhost"
	}
	return "<" + strings.ToLower(id.String()) + "@" + traceName(domain, false) + ">"
}

// messageIDMax keeps a Message-ID on one line of LineMax with its name.
const messageIDMax = LineMax - len("Message-ID: ")

// ValidMessageID reports whether a field's value is one msg-id (RFC 5322
// §3.6.4): angle brackets, a left part, "@", a right part, no white space in it.
// What stands on either side is not looked at closer: the world writes odd ones.
func ValidMessageID(value string) bool {
	value = strings.TrimSpace(value)
	if len(value) > messageIDMax || len(value) < len("<a@b>") || value[0] != '<' || value[len(value)-1] != '>' {
		return false
	}
	inside := value[1 : len(value)-1]
	at := strings.LastIndexByte(inside, '@')
	if at <= 0 || at == len(inside)-1 {
		return false
	}
	for _, c := range []byte(inside) {
		if c <= ' ' || c == 0x7f || c == '<' || c == '>' {
			return false
		}
	}
	return true
}

// MessageID returns the header's Message-ID without angle brackets, for people.
func (h Header) MessageID() string {
	v := h.Get("Message-ID")
	if cut := strings.IndexByte(v, '>'); cut >= 0 {
		v = v[:cut]
	}
	return printable(strings.TrimPrefix(v, "<"), messageIDMax)
}

// Subject returns the header's Subject, decoded and cut at max bytes, for people.
func (h Header) Subject(max int) string { return printable(DecodeWords(h.Get("Subject")), max) }
