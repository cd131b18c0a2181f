package catch

import (
	"bytes"
	"io"
	"strings"

	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// Query chooses messages. The zero Query matches all.
type Query struct {
	Mailbox string // exactly this one; "" for any
	terms   []term
}

type term struct {
	field string // "" means anywhere
	value string // in lower case
	not   bool
}

// queryMax bounds a query's text in bytes, termsMax its terms.
const (
	queryMax = 1000
	termsMax = 20
)

// ParseQuery reads the search language of the page and the API: words, all of
// which must be found; "phrases in quotes"; -word for its absence; and
//
//	from: to: subject: user: mailbox: rcpt: port: tls:yes tls:no message-id: body:
//
// from: and to: look at envelope and header both, rcpt: at the envelope alone.
// A word without a field is looked for in all of them and in the text.
func ParseQuery(mailbox, text string) Query {
	q := Query{Mailbox: mailbox}
	for _, word := range queryWords(clip(text, queryMax)) {
		t := term{value: strings.ToLower(word)}
		t.value, t.not = strings.CutPrefix(t.value, "-")
		if field, value, ok := strings.Cut(t.value, ":"); ok && knownField(field) {
			t.field, t.value = field, value
		}
		if t.value = strings.Trim(t.value, `"`); t.value == "" {
			continue
		}
		if q.terms = append(q.terms, t); len(q.terms) == termsMax {
			break
		}
	}
	return q
}

func knownField(f string) bool {
	switch f {
	case "from", "to", "subject", "user", "mailbox", "rcpt", "port", "tls", "message-id", "body":
		return true
	}
	return false
}

// queryWords splits at spaces outside quotes.
func queryWords(s string) []string {
	var words []string
	var word strings.Builder
	quoted := false
	for _, r := range s {
		if r == '"' {
			quoted = !quoted
		}
		if r == ' ' && !quoted {
			words = append(words, word.String())
			word.Reset()
			continue
		}
		word.WriteRune(r)
	}
	return append(words, word.String())
}

// match asks for the text, by words, only when nothing else decides.
func (q Query) match(m *Message, words func() string) bool {
	if q.Mailbox != "" && m.Mailbox != q.Mailbox {
		return false
	}
	text, read := "", false
	lazily := func() string {
		if !read {
			text, read = strings.ToLower(words()), true
		}
		return text
	}
	for _, t := range q.terms {
		if t.found(m, lazily) == t.not {
			return false
		}
	}
	return true
}

func (t term) found(m *Message, words func() string) bool {
	has := func(values ...string) bool {
		for _, v := range values {
			if strings.Contains(strings.ToLower(v), t.value) {
				return true
			}
		}
		return false
	}
	rcpt := func() bool {
		for _, r := range m.Recipients {
			if has(r.Address) {
				return true
			}
		}
		return false
	}
	switch t.field {
	case "from":
		return has(m.From, m.HeaderFrom)
	case "to":
		return has(m.HeaderTo) || rcpt()
	case "rcpt":
		return rcpt()
	case "subject":
		return has(m.Subject)
	case "user":
		return has(m.Origin.Account)
	case "mailbox":
		return has(m.Mailbox)
	case "message-id":
		return has(m.MessageID)
	case "port":
		return itoa(int(m.Origin.Local.Port())) == t.value || strings.HasSuffix(m.Origin.Listener, ":"+t.value)
	case "tls":
		return (m.Origin.TLS != nil) == (t.value != "no")
	case "body":
		return strings.Contains(words(), t.value)
	}
	return has(m.From, m.HeaderFrom, m.HeaderTo, m.Subject, m.Mailbox, m.MessageID, m.ID.String()) || rcpt() || strings.Contains(words(), t.value)
}

// searchMax is how much of a message is searched, in octets.
const searchMax = 256 << 10

// words returns what a search in the text of a message looks at.
func (s *Store) words(id mail.ID) string {
	b, err := s.Raw(id)
	if err != nil {
		return ""
	}
	defer b.Close()
	raw, err := io.ReadAll(io.LimitReader(mail.Reader(b), searchMax))
	if err != nil {
		return ""
	}
	root, _ := message.Parse(bytes.NewReader(raw), message.Limits{Bytes: searchMax, Parts: 100})
	c := root.Contents()
	text := c.Plain(searchMax)
	if c.HTML != nil && c.Text != nil {
		text += "\n" + message.TextOfHTML(c.HTML.Text(), searchMax)
	}
	return text
}

// Match reports whether a message matches, its text included.
func (s *Store) Match(q Query, m *Message) bool {
	return q.match(m, func() string { return s.words(m.ID) })
}
