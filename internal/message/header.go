package message

import (
	"bytes"
	"iter"
	"strings"

	"paquebot/internal/smtp"
)

// HeaderMax is the largest header section in octets, the empty line included
// (SUB-33, ABU-10). Long lists of recipients and ten rounds of ARC fit in a
// quarter of it.
const HeaderMax = 256 << 10

// FieldsMax is the most fields of a header. A hundred hops that each leave
// eight fields stay below; without it a header of HeaderMax octets could make
// 80,000 of them.
const FieldsMax = 2000

// LineMax is the longest line in octets without CRLF (RFC 5322 §2.1.1).
const LineMax = 998

// Field is one header field, or one line of a header section that is none:
// then Name is empty. Raw is all of it: name, colon, folds and final CRLF.
type Field struct {
	Name string // as written, without the white space that may precede the colon
	Raw  []byte
}

// Value returns what follows the colon, unfolded and trimmed. Encoded words
// stay encoded (see DecodeWords).
func (f Field) Value() string {
	colon := bytes.IndexByte(f.Raw, ':')
	if colon < 0 || f.Name == "" {
		return strings.TrimSpace(unfold(string(f.Raw)))
	}
	return strings.TrimSpace(unfold(string(f.Raw[colon+1:])))
}

// Is reports whether the field has that name; case does not count.
func (f Field) Is(name string) bool { return strings.EqualFold(f.Name, name) }

// NewField makes a field of one line. The value must be without CR, LF and NUL;
// where it is not, they become spaces, so that no value can forge a field.
func NewField(name, value string) Field {
	clean := strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == 0 {
			return ' '
		}
		return r
	}, value)
	return Field{Name: name, Raw: []byte(name + ": " + clean + "\r\n")}
}

// unfold joins folded lines (RFC 5322 §2.2.3): a CRLF before white space goes,
// the white space stays. A lone LF is taken for a CRLF here: it is for reading.
func unfold(s string) string {
	if !strings.ContainsAny(s, "\r\n") {
		return s
	}
	s = strings.ReplaceAll(s, "\r\n", "")
	return strings.ReplaceAll(s, "\n", "")
}

// Header is a header section, in order, topmost field first.
type Header struct{ Fields []Field }

// SplitHeader cuts a header section into fields. head ends with the empty line
// or without it. The fields keep slices of head: it must not change afterwards.
//
// Only CRLF ends a line (SRV-1). A line that neither begins a field nor folds
// one is kept as a Field without a name, so that Bytes gives back what came in.
// The only errors are the limits, as smtp.Reply: 552 5.3.4 for HeaderMax,
// 554 5.6.0 for FieldsMax.
func SplitHeader(head []byte) (Header, error) {
	if len(head) > HeaderMax {
		return Header{}, smtp.TooBig.WithText("Header section exceeds %d octets", HeaderMax) // SUB-33
	}
	var h Header
	for len(head) > 0 && !bytes.HasPrefix(head, crlf) {
		n := fieldEnd(head)
		if len(h.Fields) == FieldsMax {
			return Header{}, smtp.BadContent.WithText("Header section has more than %d fields", FieldsMax) // ABU-10
		}
		h.Fields = append(h.Fields, Field{Name: fieldName(head[:n]), Raw: head[:n:n]})
		head = head[n:]
	}
	return h, nil
}

var crlf = []byte("\r\n")

// fieldEnd returns where the field at the beginning of b ends: after the CRLF
// that no white space follows, else at the end of b.
func fieldEnd(b []byte) int {
	from := 0
	for {
		i := bytes.Index(b[from:], crlf)
		if i < 0 {
			return len(b)
		}
		end := from + i + 2
		if end >= len(b) || (b[end] != ' ' && b[end] != '\t') {
			return end
		}
		from = end
	}
}

// fieldName returns the name of a field, "" if the line begins none: a name is
// printable ASCII but the colon (RFC 5322 §2.2); white space before the colon
// is the obsolete syntax of §4.5.
func fieldName(line []byte) string {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return ""
	}
	name := bytes.TrimRight(line[:colon], " \t")
	if len(name) == 0 {
		return ""
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return ""
		}
	}
	return string(name)
}

// BeginsField reports whether a line, with or without CRLF, begins a header
// field. It helps those who look for the end of a header that has no empty line.
func BeginsField(line []byte) bool { return fieldName(line) != "" }

// Get returns the value of the topmost field with that name, "" if there is none.
func (h Header) Get(name string) string {
	for _, f := range h.Fields {
		if f.Is(name) {
			return f.Value()
		}
	}
	return ""
}

// Has reports whether there is a field with that name, be it empty.
func (h Header) Has(name string) bool {
	for _, f := range h.Fields {
		if f.Is(name) {
			return true
		}
	}
	return false
}

// Count returns how many fields have that name.
func (h Header) Count(name string) int {
	n := 0
	for _, f := range h.Fields {
		if f.Is(name) {
			n++
		}
	}
	return n
}

// All returns the fields with that name, topmost first.
func (h Header) All(name string) []Field {
	var out []Field
	for _, f := range h.Fields {
		if f.Is(name) {
			out = append(out, f)
		}
	}
	return out
}

// Lines ranges over the physical lines of the header, without their CRLF.
func (h Header) Lines() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, f := range h.Fields {
			for line := range bytes.SplitSeq(bytes.TrimSuffix(f.Raw, crlf), crlf) {
				if !yield(line) {
					return
				}
			}
		}
	}
}

// Hops counts the Received fields (REL-4).
func (h Header) Hops() int { return h.Count("Received") }

// Visits counts the Received fields whose "by" is one of our names (REL-5):
// how often the message has been here before.
func (h Header) Visits(by ...string) int {
	n := 0
	for _, f := range h.All("Received") {
		host := receivedBy(f.Value())
		for _, name := range by {
			if host != "" && strings.EqualFold(host, strings.TrimSuffix(name, ".")) {
				n++
				break
			}
		}
	}
	return n
}

// NonASCII reports whether the header holds octets above 127: then a next hop
// must know SMTPUTF8 (RFC 6531 §3.1, EXT-8).
func (h Header) NonASCII() bool {
	for _, f := range h.Fields {
		for _, c := range f.Raw {
			if c >= 0x80 {
				return true
			}
		}
	}
	return false
}

// Size returns the octets of Bytes.
func (h Header) Size() int {
	n := len(crlf)
	for _, f := range h.Fields {
		n += len(f.Raw)
		if !bytes.HasSuffix(f.Raw, crlf) {
			n += len(crlf)
		}
	}
	return n
}

// Bytes returns the fields as they came, and the empty line that ends a header.
func (h Header) Bytes() []byte {
	b := make([]byte, 0, h.Size())
	for _, f := range h.Fields {
		b = append(b, f.Raw...)
		if !bytes.HasSuffix(f.Raw, crlf) {
			b = append(b, crlf...) // a last line cut short
		}
	}
	return append(b, crlf...)
}

// Without returns the header without the fields that drop says yes to, and how
// many those were. The receiver is not changed.
func (h Header) Without(drop func(Field) bool) (Header, int) {
	kept := make([]Field, 0, len(h.Fields))
	for _, f := range h.Fields {
		if !drop(f) {
			kept = append(kept, f)
		}
	}
	return Header{kept}, len(h.Fields) - len(kept)
}

// Prepend returns the header with fields on top, first one topmost (RCV-1:
// trace goes above everything). The receiver is not changed.
func (h Header) Prepend(fields ...Field) Header {
	return Header{append(append(make([]Field, 0, len(fields)+len(h.Fields)), fields...), h.Fields...)}
}
