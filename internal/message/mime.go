package message

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"strings"
)

// Limits bound what Parse reads (ABU-10). The zero value means DefaultLimits;
// so does each field that is zero.
type Limits struct {
	Depth int   // multiparts and messages within each other
	Parts int   // of the whole tree
	Bytes int64 // of the whole message; what is beyond is cut off with a note
}

// DefaultLimits are standards ABU-10, with a message of the largest size that
// a server takes by default (ABU-9) and room for the trace fields.
var DefaultLimits = Limits{Depth: 100, Parts: 5000, Bytes: 51 << 20}

func (l Limits) orDefault() Limits {
	if l.Depth <= 0 {
		l.Depth = DefaultLimits.Depth
	}
	if l.Parts <= 0 {
		l.Parts = DefaultLimits.Parts
	}
	if l.Bytes <= 0 {
		l.Bytes = DefaultLimits.Bytes
	}
	return l
}

// Part is a node of a MIME tree: the message itself, a part of a multipart, or
// the message within a message/rfc822.
type Part struct {
	Number   int    // position in Walk: the root is 0
	Path     string // as IMAP counts: "" for the root of a multipart, "1", "1.2"
	Header   Header
	Type     string            // media type in lower case, "text/plain" when none is given
	Params   map[string]string // of Content-Type, names in lower case, values decoded (RFC 2231)
	Encoding string            // Content-Transfer-Encoding in lower case, "" if none
	// Disposition is "attachment", "inline" or "" (RFC 2183); unknown words
	// count as "attachment" as that RFC asks.
	Disposition string
	FileName    string // decoded, without any path; "" if none
	ContentID   string // without angle brackets (RFC 2392)
	Body        []byte // as transferred: still encoded
	Children    []*Part
	Notes       []string // what is wrong with this very part, in plain words
}

// Parse reads a message into its tree, for people. A broken message gives the
// part of the tree that can be read and Notes that say what is wrong; err is
// only what r itself failed with, and the tree up to there comes with it. Lone
// LFs end a line here: stored messages of other programs may have them.
func Parse(r io.Reader, l Limits) (*Part, error) {
	l = l.orDefault()
	raw, err := io.ReadAll(io.LimitReader(r, l.Bytes+1))
	p := &parser{limits: l}
	cut := int64(len(raw)) > l.Bytes
	if cut {
		raw = raw[:l.Bytes]
	}
	root := p.part(raw, "", 0, "text/plain")
	if cut {
		root.note("the message is longer than %d bytes; the rest is not shown", l.Bytes)
	}
	if err != nil {
		root.note("the message could not be read to its end")
	}
	return root, err
}

// parser counts what the limits bound while the tree grows.
type parser struct {
	limits Limits
	parts  int
}

func (p *Part) note(format string, args ...any) {
	if len(p.Notes) < notesMax {
		p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
	}
}

// notesMax is enough to say what is wrong with one part.
const notesMax = 10

// part reads one node from all its octets, header and body. fallback is the
// type of a part that names none (RFC 2046 §5.1.5: a digest's parts are messages).
func (p *parser) part(raw []byte, path string, depth int, fallback string) *Part {
	n := &Part{Number: p.parts, Path: path}
	p.parts++
	head, body, found := splitMessage(raw)
	n.Header = lenientHeader(n, head)
	n.Body = body
	if !found && len(body) == 0 && len(n.Header.Fields) == 0 && len(raw) > 0 {
		n.Body = raw
	}
	readContentFields(n, fallback)
	switch {
	case strings.HasPrefix(n.Type, "multipart/"):
		p.multipart(n, depth)
	case n.Type == "message/rfc822" || n.Type == "message/global":
		p.embedded(n, depth)
	default:
		if n.Path == "" {
			n.Path = "1"
		}
	}
	return n
}

// embedded reads the message within a message.
func (p *parser) embedded(n *Part, depth int) {
	if n.Path == "" {
		n.Path = "1"
	}
	if !p.room(n, depth) {
		return
	}
	inner := n.Bytes()
	if len(inner) == 0 {
		return
	}
	child := p.part(inner, n.Path+".0", depth+1, "text/plain")
	n.Children = []*Part{child}
}

// room says whether another level and another part may be read.
func (p *parser) room(n *Part, depth int) bool {
	switch {
	case depth >= p.limits.Depth:
		n.note("parts are nested deeper than %d levels; what is inside is not shown", p.limits.Depth)
	case p.parts >= p.limits.Parts:
		n.note("the message has more than %d parts; the rest is not shown", p.limits.Parts)
	default:
		return true
	}
	return false
}

func (p *parser) multipart(n *Part, depth int) {
	boundary := n.Params["boundary"]
	if boundary == "" {
		n.note("a multipart without boundary: shown as text")
		n.Type = "text/plain"
		if n.Path == "" {
			n.Path = "1"
		}
		return
	}
	fallback := "text/plain"
	if n.Type == "multipart/digest" {
		fallback = "message/rfc822"
	}
	closed, any := false, false
	for piece := range pieces(n.Body, boundary, &closed) {
		any = true
		if !p.room(n, depth) {
			return
		}
		path := fmt.Sprint(len(n.Children) + 1)
		if n.Path != "" {
			path = n.Path + "." + path
		}
		child := p.part(piece, path, depth+1, fallback)
		n.Children = append(n.Children, child)
	}
	switch {
	case !any:
		n.note("the boundary of the multipart does not occur in it")
	case !closed:
		n.note("the multipart has no closing boundary: the message may be cut short")
	}
}

// pieces ranges over the parts between delimiter lines (RFC 2046 §5.1.1), header
// and body. The line end before a delimiter belongs to it. closed becomes true
// at the closing delimiter.
func pieces(body []byte, boundary string, closed *bool) iter.Seq[[]byte] {
	delimiter := []byte("--" + boundary)
	return func(yield func([]byte) bool) {
		start := -1 // of the piece being read
		for pos := 0; pos < len(body); {
			at := bytes.Index(body[pos:], delimiter)
			if at < 0 {
				break
			}
			at += pos
			end := lineEnd(body, at)
			if at > 0 && body[at-1] != '\n' {
				pos = at + len(delimiter)
				continue
			}
			isDelimiter, last := matchDelimiter(body[at:end], delimiter)
			if isDelimiter {
				if start >= 0 && !yield(trimLineEnd(body[start:max(at, start)])) {
					return
				}
				start = end
				if last {
					*closed = true
					return
				}
			}
			pos = end
		}
		if start >= 0 && start < len(body) {
			yield(body[start:])
		}
	}
}

// lineEnd returns the index after the LF of the line at from.
func lineEnd(b []byte, from int) int {
	if i := bytes.IndexByte(b[from:], '\n'); i >= 0 {
		return from + i + 1
	}
	return len(b)
}

// matchDelimiter compares a line with a delimiter; white space may follow it.
func matchDelimiter(line, delimiter []byte) (is, last bool) {
	rest, ok := bytes.CutPrefix(line, delimiter)
	if !ok {
		return false, false
	}
	rest = bytes.TrimRight(rest, " \t\r\n")
	if string(rest) == "--" {
		return true, true
	}
	return len(rest) == 0, false
}

func trimLineEnd(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
}

// splitMessage cuts octets at the first empty line. Where a line comes that is
// neither field nor fold, the header is taken to end before it: many forget the
// empty line. found tells whether there was one.
func splitMessage(raw []byte) (head, body []byte, found bool) {
	for pos := 0; pos < len(raw); {
		end := lineEnd(raw, pos)
		line := raw[pos:end]
		switch {
		case len(trimLineEnd(line)) == 0:
			return raw[:pos], raw[end:], true
		case pos == 0 && isMboxLine(line):
		case line[0] != ' ' && line[0] != '\t' && !BeginsField(line):
			if pos > 0 && looksLikeBrokenFold(raw, end) {
				break // one bad line within a header: the fields below it still count
			}
			return raw[:pos], raw[pos:], false
		case pos == 0 && (line[0] == ' ' || line[0] == '\t'):
			if !BeginsField(raw[end:lineEnd(raw, end)]) {
				return nil, raw, false
			}
		}
		pos = end
	}
	return raw, nil, false
}

// looksLikeBrokenFold reports whether a field follows a line that is none.
func looksLikeBrokenFold(raw []byte, next int) bool {
	return next < len(raw) && BeginsField(raw[next:lineEnd(raw, next)])
}

// lenientHeader is SplitHeader for people: lone LFs are line ends, and a header
// beyond the limits is read as far as they go.
func lenientHeader(n *Part, head []byte) Header {
	if len(head) > HeaderMax {
		n.note("the header is longer than %d bytes; the rest is not read", HeaderMax)
		head = head[:HeaderMax]
	}
	if bytes.Count(head, []byte("\n")) != bytes.Count(head, crlf) {
		n.note("header lines end in LF alone")
		head = bytes.ReplaceAll(bytes.ReplaceAll(head, crlf, []byte("\n")), []byte("\n"), crlf)
	}
	var h Header
	for len(head) > 0 && len(h.Fields) < FieldsMax {
		end := fieldEnd(head)
		f := Field{Name: fieldName(head[:end]), Raw: head[:end:end]}
		if f.Name == "" && !isMboxLine(f.Raw) {
			n.note("a header line is no field: %q", printable(string(f.Raw), 60))
		}
		h.Fields = append(h.Fields, f)
		head = head[end:]
	}
	if len(head) > 0 {
		n.note("the header has more than %d fields; the rest is not read", FieldsMax)
	}
	return h
}

// Walk ranges over the part and all below it, in the order they stand in the message.
func (p *Part) Walk() iter.Seq[*Part] {
	return func(yield func(*Part) bool) { p.walk(yield) }
}

func (p *Part) walk(yield func(*Part) bool) bool {
	if !yield(p) {
		return false
	}
	for _, c := range p.Children {
		if !c.walk(yield) {
			return false
		}
	}
	return true
}

// Find returns the part with that Number, nil if there is none.
func (p *Part) Find(number int) *Part {
	for c := range p.Walk() {
		if c.Number == number {
			return c
		}
	}
	return nil
}
