package catch

import (
	"bytes"
	"io"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// Message is a caught message without its bytes.
type Message struct {
	ID      mail.ID   `json:"id"`
	Seq     uint64    `json:"seq"` // order of catching, 1 first; never used twice
	Mailbox string    `json:"mailbox"`
	Arrived time.Time `json:"arrived"` // by SMTP
	Caught  time.Time `json:"caught"`

	// The envelope, apart from the header (ux: Bcc recipients as given in RCPT).
	From       string      `json:"from"`
	Recipients []Recipient `json:"recipients"` // in lists only the first recipientsShown
	Count      int         `json:"count"`      // of all recipients
	Params     mail.Params `json:"params"`
	Origin     mail.Origin `json:"origin"`

	Size int64 `json:"size"` // octets

	// Of the header, decoded, for people.
	Subject    string `json:"subject"`
	MessageID  string `json:"message_id"`
	HeaderFrom string `json:"header_from"`
	HeaderTo   string `json:"header_to"`

	// What readers made of it: see marks.go.
	Read bool     `json:"read,omitempty"`
	Tags []string `json:"tags,omitempty"` // sorted; shared with the store, never to be changed
}

// Recipient is one RCPT as it was given.
type Recipient struct {
	Address  string `json:"address"`
	Original string `json:"original,omitempty"` // ORCPT
	Notify   string `json:"notify,omitempty"`
	Alias    string `json:"alias,omitempty"`
}

// recipientsShown bounds what a list keeps in memory of one message; Get reads
// all of them from disk.
const recipientsShown = 100

// record is what stands before a body on disk.
type record struct {
	Message
	Dialogue []event.Line `json:"dialogue,omitempty"`
	Floor    uint64       `json:"floor"` // messages before this Seq had to go when this one came
}

// describe makes the Message of an envelope and the beginning of its body.
func describe(env *mail.Envelope, recipients []mail.Recipient, body mail.Body, now time.Time) Message {
	m := Message{
		ID: env.ID, Mailbox: mailboxOf(env, recipients), Arrived: env.Arrived, Caught: now,
		From: env.From, Recipients: asGiven(recipients), Count: len(recipients),
		Params: env.Params, Origin: env.Origin, Size: body.Size(),
	}
	h := readHeader(body)
	m.Subject, m.MessageID = h.Subject(subjectMax), h.MessageID()
	m.HeaderFrom, m.HeaderTo = people(h.Get("From")), people(h.Get("To"))
	m.Tags = tagsOf(env, recipients, h)
	return m
}

// subjectMax is how many bytes of a subject are kept in memory.
const subjectMax = 300

// mailboxOf is the account that sent, for a test isolates itself by its user
// name; without one the address it was sent to.
func mailboxOf(env *mail.Envelope, recipients []mail.Recipient) string {
	if env.Origin.Account != "" {
		return env.Origin.Account
	}
	if len(recipients) > 0 {
		return recipients[0].Address
	}
	return ""
}

func asGiven(recipients []mail.Recipient) []Recipient {
	out := make([]Recipient, len(recipients))
	for i, r := range recipients {
		out[i] = Recipient{Address: r.Address, Original: r.Original, Notify: r.Notify.String(), Alias: r.Alias}
	}
	return out
}

// headerChunk is how much is read of a body to find its header; most fit.
const headerChunk = 16 << 10

func readHeader(body mail.Body) message.Header {
	for size := headerChunk; ; size *= 4 {
		size = min(size, message.HeaderMax)
		b := make([]byte, min(int64(size), body.Size()))
		n, err := body.ReadAt(b, 0)
		if err != nil && err != io.EOF {
			return message.Header{}
		}
		head, _, whole := bytes.Cut(b[:n], []byte("\r\n\r\n"))
		if !whole && int64(n) < body.Size() && size < message.HeaderMax {
			continue
		}
		h, err := message.SplitHeader(append(head, "\r\n"...))
		if err != nil {
			return message.Header{}
		}
		return h
	}
}

// people shortens an address list to what a line of a list shows.
func people(value string) string {
	boxes, err := message.Mailboxes(value)
	if err != nil || len(boxes) == 0 {
		return clip(message.DecodeWords(value), 200)
	}
	first := boxes[0]
	text := first.Address
	if first.Name != "" {
		text = first.Name + " <" + first.Address + ">"
	}
	if len(boxes) > 1 {
		text += " +" + itoa(len(boxes)-1)
	}
	return clip(text, 300)
}
