package message

import (
	"errors"
	"strings"
)

// Mailbox is one address of an address list, with the name people see.
type Mailbox struct {
	Name    string // decoded display name or comment, "" if none
	Address string // addr-spec, byte-exact but for comments and folds; may lack a domain
	// Beside is an address that stands unquoted where the name should, other
	// than Address: "ceo@x.example <app@y.example>". RFC 5322 allows none there,
	// and readers differ over which of the two they show.
	Beside string
	end    int // where the addr-spec ends in the value that was read
}

// ErrBadAddress means that a value is no address list.
var ErrBadAddress = errors.New("not an address list of RFC 5322")

// addressesMax bounds what one field may name; a header of HeaderMax can hold
// no more than some 40,000.
const addressesMax = 50_000

// Addresses returns the addr-specs of an address-list value, groups opened
// (RFC 5322 §3.4). An address without a domain is an error.
func Addresses(value string) ([]string, error) {
	boxes, err := Mailboxes(value)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(boxes))
	for _, m := range boxes {
		if !qualified(m.Address) {
			return nil, ErrBadAddress
		}
		out = append(out, m.Address)
	}
	return out, nil
}

// qualified reports whether an addr-spec has both its sides.
func qualified(address string) bool {
	at := strings.LastIndexByte(address, '@')
	return at > 0 && at < len(address)-1
}

// Mailboxes reads an address-list value with its names. Unlike Addresses it
// lets a local part stand alone. An empty list and an empty group ("Undisclosed
// recipients:;") are no error.
func Mailboxes(value string) ([]Mailbox, error) {
	p := addressParser{s: value}
	return p.list()
}

// addressParser walks an address list once, from the left.
type addressParser struct {
	s       string
	pos     int
	boxes   []Mailbox
	phrase  strings.Builder // the words before "<", or the bare address
	bare    strings.Builder // the same without white space and quotes kept: an addr-spec if no "<" comes
	bareEnd int
	spaced  bool      // two bare words had only space between them: not an addr-spec
	beside  [2]string // unquoted words with "@"
	besides int       // how many there were
	comment string
	angle   string
	angEnd  int
	seenAng bool
}

func (p *addressParser) list() ([]Mailbox, error) {
	for p.pos < len(p.s) {
		if err := p.token(); err != nil {
			return p.boxes, err
		}
		if len(p.boxes) > addressesMax {
			return p.boxes, ErrBadAddress
		}
	}
	return p.boxes, p.endMailbox()
}

// token takes one token and does what it means.
func (p *addressParser) token() error {
	c := p.s[p.pos]
	switch {
	case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		p.pos++
		p.phrase.WriteByte(' ')
	case c == '(':
		return p.takeComment()
	case c == '"':
		return p.takeQuoted()
	case c == '<':
		return p.takeAngle()
	case c == ',' || c == ';':
		p.pos++
		return p.endMailbox()
	case c == ':':
		if p.seenAng || p.besides > 0 {
			return ErrBadAddress // some reader would take what is before it for the address
		}
		p.pos++
		p.reset() // the name of a group
	case c == '[':
		return p.takeLiteral()
	case c == '>' || c == ')' || c == ']' || c == '\\':
		return ErrBadAddress
	default:
		p.takeAtom()
	}
	return nil
}

func (p *addressParser) takeAtom() {
	end := p.pos
	for end < len(p.s) && !strings.ContainsRune(" \t\r\n()<>[]:;,\"\\", rune(p.s[end])) {
		end++
	}
	word := p.s[p.pos:end]
	if strings.Contains(word, "@") {
		p.beside[min(p.besides, 1)] = word
		p.besides++
	}
	p.word(word, word, end)
}

// strayAddress is Mailbox.Beside. Two at once are no mistake that honest
// programs make.
func (p *addressParser) strayAddress() (string, error) {
	switch {
	case p.besides == 0, p.besides == 1 && strings.EqualFold(p.beside[0], p.angle):
		return "", nil
	case p.besides > 1:
		return "", ErrBadAddress
	case !qualified(p.beside[0]): // "ceo @ x.example"
		return p.bare.String(), nil
	}
	return p.beside[0], nil
}

// word adds a piece to both readings of what is before a "<".
func (p *addressParser) word(asPhrase, asAddress string, end int) {
	if p.bare.Len() > 0 && p.bareEnd < p.pos && !joins(p.bare.String(), asAddress) {
		p.spaced = true
	}
	p.phrase.WriteString(asPhrase)
	p.bare.WriteString(asAddress)
	p.bareEnd, p.pos = end, end
}

// joins reports whether white space or a comment may stand between two pieces
// of an addr-spec: only beside "." and "@" (RFC 5322 §4.4).
func joins(left, right string) bool {
	l, r := left[len(left)-1], byte(0)
	if right != "" {
		r = right[0]
	}
	return l == '@' || l == '.' || r == '@' || r == '.'
}

func (p *addressParser) takeQuoted() error {
	end, text := quotedEnd(p.s, p.pos)
	if end < 0 {
		return ErrBadAddress
	}
	p.word(text, p.s[p.pos:end], end)
	return nil
}

// quotedEnd returns where the quoted string at from ends, -1 if it does not,
// and its text without quotes.
func quotedEnd(s string, from int) (int, string) {
	var text strings.Builder
	for i := from + 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i < len(s) {
				text.WriteByte(s[i])
			}
		case '"':
			return i + 1, text.String()
		default:
			text.WriteByte(s[i])
		}
	}
	return -1, ""
}

func (p *addressParser) takeComment() error {
	end := commentEnd(p.s, p.pos)
	if end < 0 {
		return ErrBadAddress
	}
	p.comment = p.s[p.pos+1 : end-1]
	p.pos = end
	return nil
}

// commentEnd returns where the comment at from ends, nested ones included; -1
// if it does not.
func commentEnd(s string, from int) int {
	depth := 0
	for i := from; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

func (p *addressParser) takeLiteral() error {
	n := strings.IndexByte(p.s[p.pos:], ']')
	if n < 0 {
		return ErrBadAddress
	}
	end := p.pos + n + 1
	p.word(p.s[p.pos:end], p.s[p.pos:end], end)
	return nil
}

// takeAngle reads "<addr-spec>", with the comments and source routes of the
// obsolete syntax (RFC 5322 §4.4).
func (p *addressParser) takeAngle() error {
	if p.seenAng {
		return ErrBadAddress
	}
	p.pos++
	var spec strings.Builder
	end := p.pos
	for p.pos < len(p.s) {
		switch c := p.s[p.pos]; c {
		case '>':
			p.pos++
			p.seenAng, p.angle, p.angEnd = true, dropRoute(spec.String()), end
			return nil
		case '"':
			stop, _ := quotedEnd(p.s, p.pos)
			if stop < 0 {
				return ErrBadAddress
			}
			spec.WriteString(p.s[p.pos:stop])
			p.pos, end = stop, stop
		case '(':
			stop := commentEnd(p.s, p.pos)
			if stop < 0 {
				return ErrBadAddress
			}
			p.pos = stop
		case '<':
			return ErrBadAddress
		case ' ', '\t', '\r', '\n':
			p.pos++
		default:
			spec.WriteByte(c)
			p.pos++
			end = p.pos
		}
	}
	return ErrBadAddress
}

// dropRoute takes "@a,@b:" off an address.
func dropRoute(s string) string {
	if strings.HasPrefix(s, "@") {
		if colon := strings.IndexByte(s, ':'); colon >= 0 {
			return s[colon+1:]
		}
	}
	return s
}

func (p *addressParser) endMailbox() error {
	defer p.reset()
	name := strings.Join(strings.Fields(p.phrase.String()), " ")
	switch {
	case p.seenAng && p.angle == "":
		return ErrBadAddress // "<>" is a reverse path, not an address
	case p.seenAng:
		if name == "" {
			name = p.comment
		}
		beside, err := p.strayAddress()
		if err != nil {
			return err
		}
		p.boxes = append(p.boxes, Mailbox{Name: printable(DecodeWords(name), nameMax), Address: p.angle, Beside: beside, end: p.angEnd})
	case p.bare.Len() == 0:
		return nil // "a@b,,c@d" and a list's last comma
	case p.spaced:
		return ErrBadAddress
	default:
		p.boxes = append(p.boxes, Mailbox{Name: printable(DecodeWords(p.comment), nameMax), Address: p.bare.String(), end: p.bareEnd})
	}
	return nil
}

// nameMax is how many bytes of a display name people are shown.
const nameMax = 200

func (p *addressParser) reset() {
	p.phrase.Reset()
	p.bare.Reset()
	p.beside, p.besides = [2]string{}, 0
	p.bareEnd, p.spaced, p.comment, p.angle, p.angEnd, p.seenAng = 0, false, "", "", 0, false
}

// stripComments takes comments out of a structured value; quoted strings stay.
func stripComments(s string) string {
	if !strings.Contains(s, "(") {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		switch s[i] {
		case '(':
			end := commentEnd(s, i)
			if end < 0 {
				return out.String()
			}
			out.WriteByte(' ')
			i = end
		case '"':
			end, _ := quotedEnd(s, i)
			if end < 0 {
				end = len(s)
			}
			out.WriteString(s[i:end])
			i = end
		default:
			out.WriteByte(s[i])
			i++
		}
	}
	return out.String()
}
