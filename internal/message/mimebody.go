package message

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bytes returns the body with its transfer encoding undone, as far as that can
// be done: an unknown encoding is left, broken base64 or quoted-printable is
// decoded around the faults.
func (p *Part) Bytes() []byte {
	switch p.Encoding {
	case "base64":
		return lenientBase64(p.Body)
	case "quoted-printable":
		return lenientQuotedPrintable(p.Body)
	}
	return p.Body
}

// Text returns the body of a text part in UTF-8, with LF line ends. Octets that
// the named charset does not know become U+FFFD; a charset nobody knows is read
// as UTF-8 or else windows-1252.
func (p *Part) Text() string {
	octets := p.Bytes()
	name := p.Params["charset"]
	if name == "" && p.Type == "text/html" {
		name = htmlCharset(octets)
	}
	text, known := fromCharset(name, octets)
	if !known {
		text = toUTF8(string(octets))
	}
	text = strings.TrimPrefix(text, "\uFEFF")
	return strings.ReplaceAll(text, "\r\n", "\n")
}

// htmlCharset looks for a charset that an HTML document declares of itself,
// within the 1024 octets where HTML wants it. "" if there is none.
func htmlCharset(b []byte) string {
	head := strings.ToLower(string(b[:min(len(b), 1024)]))
	at := strings.Index(head, "charset=")
	if at < 0 || utf8.Valid(b) {
		return ""
	}
	value := strings.TrimLeft(head[at+len("charset="):], `"' `)
	if end := strings.IndexAny(value, `"' ;>/`); end >= 0 {
		value = value[:end]
	}
	return value
}

// lenientQuotedPrintable undoes RFC 2045 §6.7: a soft line break goes, white
// space at a line's end goes (§6.7 rule 3), a lone "=" stays as it is.
func lenientQuotedPrintable(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for pos := 0; pos < len(b); {
		end := lineEnd(b, pos)
		line := trimLineEnd(b[pos:end])
		ending := b[pos+len(line) : end]
		line = bytes.TrimRight(line, " \t")
		soft := bytes.HasSuffix(line, []byte("="))
		if soft {
			line = line[:len(line)-1]
		}
		for i := 0; i < len(line); i++ {
			if line[i] == '=' && i+2 < len(line) && unhex(line[i+1]) >= 0 && unhex(line[i+2]) >= 0 {
				out = append(out, byte(unhex(line[i+1])<<4|unhex(line[i+2])))
				i += 2
				continue
			}
			out = append(out, line[i])
		}
		if !soft {
			out = append(out, ending...)
		}
		pos = end
	}
	return out
}

// Contents is what a person looks for in a message.
type Contents struct {
	Text        *Part   // first text/plain meant to be read, nil if none
	More        []*Part // further ones, such as the footer of a mailing list
	HTML        *Part   // first text/html meant to be read, nil if none
	Calendar    *Part   // first text/calendar, nil if none
	Attachments []*Part // to be saved: attachments, embedded messages, and all that is not shown otherwise
	Inline      []*Part // with a Content-ID the HTML may show, nothing else asks for it to be saved
	Notes       []string
}

// Contents sorts the leaves of the tree below p.
func (p *Part) Contents() Contents {
	var c Contents
	c.sort(p)
	c.Notes = notesOf(p)
	return c
}

// notesOf gathers the notes of a tree; what is wrong with many parts is said
// once, with the first of them.
func notesOf(root *Part) []string {
	var notes []string
	first, more := map[string]int{}, map[int]int{} // note to its place; place to how many more parts
	for n := range root.Walk() {
		for _, note := range n.Notes {
			if at, said := first[note]; said {
				more[at]++
				continue
			}
			if len(notes) == contentNotesMax {
				continue
			}
			first[note] = len(notes)
			if n != root && n.Path != "" {
				note = "part " + n.Path + ": " + note
			}
			notes = append(notes, note)
		}
	}
	for at, n := range more {
		notes[at] += fmt.Sprintf(" (and %d more like this)", n)
	}
	return notes
}

// contentNotesMax is more than anybody reads.
const contentNotesMax = 50

func (c *Contents) sort(p *Part) {
	if strings.HasPrefix(p.Type, "multipart/") {
		for _, child := range p.Children {
			c.sort(child)
		}
		return
	}
	named := p.FileName != "" && p.Disposition != "inline"
	switch {
	case p.Disposition == "attachment":
		c.Attachments = append(c.Attachments, p)
	case p.Type == "text/plain" && c.Text == nil && !named:
		c.Text = p
	case p.Type == "text/plain" && len(c.More) < moreMax && !named:
		c.More = append(c.More, p)
	case p.Type == "text/html" && c.HTML == nil && !named:
		c.HTML = p
	case p.Type == "text/calendar" && c.Calendar == nil:
		c.Calendar = p
		c.Attachments = append(c.Attachments, p)
	case p.ContentID != "" && !strings.HasPrefix(p.Type, "message/"):
		c.Inline = append(c.Inline, p)
	default:
		c.Attachments = append(c.Attachments, p)
	}
}

// moreMax bounds the texts shown as one; more are attachments.
const moreMax = 20

// Plain returns the words of the message: its text/plain parts, else what its HTML
// says (RFC 2046 §5.1.4: the plain one is there for this), at most max bytes.
func (c Contents) Plain(max int) string {
	if c.Text != nil {
		text := c.Text.Text()
		for _, p := range c.More {
			if len(text) >= max {
				break
			}
			text = strings.TrimRight(text, "\n") + "\n\n" + p.Text()
		}
		return cutText(text, max)
	}
	if c.HTML != nil {
		return TextOfHTML(c.HTML.Text(), max)
	}
	return ""
}

// Preview returns the beginning of the words on one line, at most max bytes.
func (c Contents) Preview(max int) string {
	text := c.Plain(8 * max)
	if c.Text != nil && strings.TrimSpace(text) == "" && c.HTML != nil {
		text = TextOfHTML(c.HTML.Text(), 8*max)
	}
	return printable(strings.Join(strings.Fields(text), " "), max)
}

// cutText shortens s to at most max bytes without cutting a character.
func cutText(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}
