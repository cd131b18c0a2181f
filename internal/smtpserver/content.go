package smtpserver

import (
	"bytes"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"paquebot/internal/mail"
	"paquebot/internal/message"
	"paquebot/internal/smtp"
)

// decodeMost is how many octets are decoded at a time: normalising may double
// them, and the result must fit in a bigBuffer.
const decodeMost = bufferSize/2 - 8

// headFirst is the room for a header section that most fit in, in octets.
const headFirst = 8 << 10

// content is a message on its way from the wire into a draft: the header
// section is kept, so that it can be repaired, the body is passed on.
type content struct {
	s      *Session
	id     mail.ID
	draft  Draft
	policy smtp.BarePolicy
	binary bool // BINARYMIME
	dots   smtp.DotDecoder
	ends   smtp.LineEnds
	out    *bigBuffer // what was decoded last
	head   []byte     // the header section, as far as it has come
	seen   int        // octets of head known to hold no end of header
	body   bool       // the header is complete
	text   utf8Check
	fault  smtp.Reply // the first reason to refuse; the rest is consumed

	mid      *Fault // what is to go wrong when so much has come
	eightBit bool   // in the body
	first    [headFirst]byte
}

func (s *Session) newContent(policy smtp.BarePolicy) *content {
	c := s.srv.contents.Get().(*content)
	c.s, c.policy = s, policy
	c.id = s.srv.needs.IDs.Next(time.Now())
	c.draft = s.srv.needs.Store.NewDraft()
	c.out = s.srv.buffers.Get().(*bigBuffer)
	c.head = c.first[:0]
	c.dots = smtp.DotDecoder{Policy: policy}
	c.ends = smtp.LineEnds{Policy: policy}
	return c
}

// discard gives everything back, and c itself: it is not used afterwards. What
// was committed stays.
func (c *content) discard() {
	srv := c.s.srv
	c.draft.Discard()
	srv.buffers.Put(c.out)
	c.s, c.draft, c.out, c.head, c.mid = nil, nil, nil, nil, nil
	c.binary, c.seen, c.body, c.text, c.fault, c.eightBit = false, 0, false, utf8Check{}, smtp.Reply{}, false
	srv.contents.Put(c)
}

func (c *content) scratch() []byte { return c.out[:0] }

// facts are those of the decoder that was used.
func (c *content) facts() smtp.ContentFacts {
	if c.dots.Facts.Octets > 0 {
		return c.dots.Facts
	}
	return c.ends.Facts
}

func (c *content) size() int64 { return c.facts().Octets }

// blame notes the first reason to refuse.
func (c *content) blame(r smtp.Reply) {
	if c.fault.Code == 0 {
		c.fault = r
	}
}

// take sorts decoded octets into header and body.
func (c *content) take(p []byte) {
	switch {
	case len(p) == 0 || c.fault.Code != 0:
	case c.size() > c.s.cfg.Limits.MessageSize:
		c.blame(c.s.tooBig())
	case c.body:
		c.write(p)
	default:
		c.takeHead(p)
	}
}

// takeHead collects the header section until the empty line that ends it.
func (c *content) takeHead(p []byte) {
	c.head = append(c.head, p...)
	if end := headerEnd(c.head, c.seen); end >= 0 {
		c.split(end)
		return
	}
	c.seen = max(0, len(c.head)-3)
	if len(c.head) > message.HeaderMax {
		c.breakHeader()
	}
}

// headerEnd returns where the body begins, -1 if that is not known yet. from is
// where looking makes sense.
func headerEnd(b []byte, from int) int {
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return 2
	}
	if i := bytes.Index(b[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 4
	}
	return -1
}

// split cuts what has come at the beginning of the body.
func (c *content) split(at int) {
	rest := c.head[at:]
	c.body = true
	c.head = c.head[:at]
	if len(rest) > 0 {
		c.write(rest)
	}
}

// breakHeader ends a header that has no end at the first line that cannot be
// part of it (RFC 5322 §3.5 wants an empty line; some bodies come without).
func (c *content) breakHeader() {
	at := strayLine(c.head)
	if at < 0 || at > message.HeaderMax {
		c.blame(smtp.TooBig.WithText("Header section exceeds %d octets", message.HeaderMax)) // SUB-33
		return
	}
	c.split(at)
}

// strayLine returns where the first line is that neither begins nor folds a
// field, -1 if there is none. An mbox line on top is let be.
func strayLine(b []byte) int {
	for at := 0; at < len(b); {
		end := bytes.Index(b[at:], []byte("\r\n"))
		if end < 0 {
			end = len(b) - at
		}
		line := b[at : at+end]
		folds := at > 0 && len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
		mbox := at == 0 && (bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From ")))
		if !folds && !mbox && !message.BeginsField(line) {
			return at
		}
		at += end + 2
	}
	return -1
}

// end settles a header that the whole content was too short to end.
func (c *content) end() {
	if c.body || c.fault.Code != 0 {
		return
	}
	if at := strayLine(c.head); at >= 0 {
		c.split(at)
	}
	c.body = true
}

func (c *content) header() []byte { return c.head }

// write passes body octets to the draft.
func (c *content) write(p []byte) {
	c.eightBit = c.text.add(p) || c.eightBit
	if _, err := c.draft.Write(p); err != nil {
		c.blame(smtp.AsReply(notStored(err)))
	}
}

// utf8Check tells whether a text that comes in pieces is UTF-8.
type utf8Check struct {
	bad  bool
	tail []byte // of a character cut by the end of a piece
	room [utf8.UTFMax]byte
}

// add takes the next piece and reports whether it holds octets above 127.
func (u *utf8Check) add(p []byte) bool {
	if isASCII(p) {
		u.bad = u.bad || len(u.tail) > 0 && len(p) > 0
		return false
	}
	for len(u.tail) > 0 && len(p) > 0 && !utf8.FullRune(u.tail) {
		u.tail, p = append(u.tail, p[0]), p[1:]
	}
	if utf8.FullRune(u.tail) && len(u.tail) > 0 {
		u.bad = u.bad || !utf8.Valid(u.tail)
		u.tail = nil
	}
	end := len(p)
	for back := 1; back <= min(utf8.UTFMax-1, len(p)); back++ {
		if i := len(p) - back; utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				end = i
			}
			break
		}
	}
	u.bad = u.bad || !utf8.Valid(p[:end])
	if end < len(p) {
		u.tail = append(u.room[:0], p[end:]...)
	}
	return true
}

func (u *utf8Check) broken() bool { return u.bad || len(u.tail) > 0 }

func isASCII(p []byte) bool {
	const high = 0x8080808080808080
	for len(p) >= 8 {
		w := uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 |
			uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56
		if w&high != 0 {
			return false
		}
		p = p[8:]
	}
	return !slices.ContainsFunc(p, func(c byte) bool { return c >= 0x80 })
}

// forPeople returns Subject, decoded and cut, and Message-ID without brackets.
func forPeople(h message.Header) (subject, id string) {
	const subjectMax = 200
	subject = h.Get("Subject")
	if strings.Contains(subject, "=?") {
		subject = message.DecodeWords(subject)
	}
	if len(subject) > subjectMax {
		subject = strings.ToValidUTF8(subject[:subjectMax], "")
	}
	id = h.Get("Message-ID")
	id = strings.TrimSuffix(strings.TrimPrefix(id, "<"), ">")
	return smtp.Printable(subject), smtp.Printable(id)
}

// tlsNotRequired reads "TLS-Required: No" (RFC 8689 §5); anything else in that
// field is ignored.
func tlsNotRequired(h message.Header) bool { return strings.EqualFold(h.Get("TLS-Required"), "no") }
