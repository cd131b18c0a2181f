package smtpclient

import (
	"bytes"
	"encoding/base64"
	"errors"
	"mime"
	"mime/quotedprintable"
	"strings"

	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// convertMax is the largest message that is converted, in octets: the work is
// done in memory, and peers without 8BITMIME take nothing larger.
const convertMax = 32 << 20

// partsDeepMax bounds how deep parts lie within parts.
const partsDeepMax = 20

// Why a message cannot be converted (EXT-22, SRV-12).
var (
	errSigned    = errors.New("it is signed or encrypted")
	errHuge      = errors.New("it is too large to convert")
	errRawHeader = errors.New("its header has 8-bit octets")
	errMalformed = errors.New("its MIME structure is broken")
	errLong      = errors.New("a line of it cannot be broken")
)

// ToSevenBit returns a form of a message that holds 7-bit octets only: 8-bit
// and binary parts become quoted-printable (text) or base64 (all else), and
// nothing else changes (RFC 6152 §3, RFC 2045 §6). It fails for a message that
// carries a signature over its parts, for a conversion would break it
// (EXT-22).
func ToSevenBit(body mail.Body) (mail.Bytes, error) {
	return converter{sevenBit: true}.convert(body)
}

// converter says what a conversion is for.
type converter struct {
	sevenBit bool // no octet above 127, nothing binary
	short    bool // no line longer than message.LineMax (RFC 5321 §4.5.3.1.6, SRV-12)
}

// convert returns another form of a message with the same meaning. One whose
// long lines are all the trouble changes in the parts that have them alone.
func (c converter) convert(body mail.Body) (mail.Bytes, error) {
	if body.Size() > convertMax {
		return nil, errHuge
	}
	in := make([]byte, body.Size())
	if n, err := body.ReadAt(in, 0); n < len(in) {
		return nil, err
	}
	if bytes.Contains(in, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return nil, errSigned
	}
	var out bytes.Buffer
	out.Grow(len(in) + len(in)/4)
	if err := c.entity(&out, in, 0, true); err != nil {
		return nil, err
	}
	if c.short && hasLongLine(out.Bytes()) {
		return nil, errLong
	}
	return out.Bytes(), nil
}

// entity converts a message or a body part, header and all.
func (c converter) entity(out *bytes.Buffer, in []byte, depth int, isMessage bool) error {
	if !c.sevenBit && !hasLongLine(in) {
		_, err := out.Write(in) // signed or not: it stays as it is
		return err
	}
	head, body := cutHeader(in)
	h, err := message.SplitHeader(head)
	switch {
	case err != nil || depth > partsDeepMax:
		return errMalformed
	case c.sevenBit && !ascii(head):
		return errRawHeader
	case isSigned(h):
		return errSigned
	}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	unlabelled := isMessage && !h.Has("MIME-Version") && !h.Has("Content-Type")
	if err != nil {
		kind = "text/plain" // RFC 2045 §5.2
	}
	encoding := strings.ToLower(h.Get("Content-Transfer-Encoding"))
	raw := encoding == "" || encoding == "7bit" || encoding == "8bit" || encoding == "binary"
	if !raw {
		return c.encoded(out, in, h, body, encoding)
	}
	label := sameEncoding
	if c.sevenBit {
		label = "7bit"
	}
	switch {
	case strings.HasPrefix(kind, "multipart/"):
		c.head(out, h, label, "")
		return c.parts(out, body, params["boundary"], depth)
	case kind == "message/rfc822" || kind == "message/global":
		c.head(out, h, label, "")
		return c.entity(out, body, depth+1, true)
	}
	return c.leaf(out, h, body, leafFacts{kind, encoding, label, unlabelled})
}

// encoded passes on what is quoted-printable or base64 already, in shorter
// lines where that is the trouble: neither means anything by its lines' length.
func (c converter) encoded(out *bytes.Buffer, in []byte, h message.Header, body []byte, encoding string) error {
	switch {
	case c.sevenBit && !ascii(body):
		return errMalformed // says it is encoded, and is not
	case !c.short:
		_, err := out.Write(in)
		return err
	}
	c.head(out, h, sameEncoding, "")
	switch {
	case !hasLongLine(body):
		out.Write(body)
	case encoding == "base64":
		rewrapBase64(out, body)
	case encoding == "quoted-printable":
		breakQuoted(out, body)
	default:
		return errLong
	}
	return nil
}

// leafFacts is what is known of a part that has no parts.
type leafFacts struct {
	kind, encoding string // as its header has them, in lower case
	label          string // its Content-Transfer-Encoding if it need not change
	unlabelled     bool   // a message that says nothing about MIME
}

func (c converter) leaf(out *bytes.Buffer, h message.Header, body []byte, f leafFacts) error {
	long := c.short && hasLongLine(body)
	fits := !c.sevenBit || ascii(body) && f.encoding != "binary"
	charset := ""
	if f.unlabelled {
		charset = "us-ascii"
		if !ascii(body) {
			charset = "unknown-8bit" // RFC 1428: nobody said what it is
		}
	}
	switch {
	case fits && !long:
		c.head(out, h, f.label, "")
		out.Write(body)
		return nil
	case strings.HasPrefix(f.kind, "message/"): // RFC 2046 §5.2: no encoding but 7bit, 8bit, binary
		if fits {
			return errLong
		}
		return errMalformed
	case strings.HasPrefix(f.kind, "text/") && f.encoding != "binary":
		c.head(out, h, "quoted-printable", charset)
		w := quotedprintable.NewWriter(out)
		if _, err := w.Write(body); err != nil {
			return err
		}
		return w.Close()
	}
	c.head(out, h, "base64", charset)
	writeBase64(out, body)
	return nil
}

// sameEncoding keeps the Content-Transfer-Encoding as it is.
const sameEncoding = ""

// head writes a header with another Content-Transfer-Encoding, keeping every
// other field as it was, but for folds where a line is too long. A charset
// labels what had no label.
func (c converter) head(out *bytes.Buffer, h message.Header, encoding, charset string) {
	had := false
	for _, f := range h.Fields {
		switch {
		case encoding != sameEncoding && f.Is("Content-Transfer-Encoding"):
			had = true
		case c.short:
			refold(out, f.Raw)
		default:
			out.Write(f.Raw)
		}
	}
	if charset != "" {
		out.WriteString("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=" + charset + "\r\n")
	}
	if encoding != sameEncoding && (had || encoding != "7bit") {
		out.WriteString("Content-Transfer-Encoding: " + encoding + "\r\n")
	}
	out.WriteString("\r\n")
}

// parts converts what lies between the boundaries of a multipart.
func (c converter) parts(out *bytes.Buffer, body []byte, boundary string, depth int) error {
	if boundary == "" {
		return errMalformed
	}
	delimiter := []byte("--" + boundary)
	var part []byte
	inside := false // after the first delimiter, before the closing one
	for len(body) > 0 {
		line := body
		if n := bytes.IndexByte(body, '\n'); n >= 0 {
			line = body[:n+1]
		}
		body = body[len(line):]
		rest, isDelimiter := bytes.CutPrefix(line, delimiter)
		tail := string(bytes.TrimSpace(rest))
		if !isDelimiter || tail != "" && tail != "--" {
			part = append(part, line...)
			continue
		}
		if err := c.endPart(out, part, inside, depth); err != nil {
			return err
		}
		part, inside = part[:0], tail == ""
		out.Write(line)
		if tail == "--" {
			part = append(part, body...)
			break
		}
	}
	return c.endPart(out, part, inside, depth)
}

// endPart writes a part. The line end before a delimiter belongs to the
// delimiter (RFC 2046 §5.1.1), and must not be encoded.
func (c converter) endPart(out *bytes.Buffer, part []byte, inside bool, depth int) error {
	if !inside { // preamble or epilogue
		if c.sevenBit && !ascii(part) {
			return errMalformed
		}
		out.Write(part)
		return nil
	}
	if content, ok := bytes.CutSuffix(part, []byte("\r\n")); ok && len(content) > 0 {
		err := c.entity(out, content, depth+1, false)
		out.WriteString("\r\n")
		return err
	}
	return c.entity(out, part, depth+1, false)
}

// cutHeader splits an entity at its first empty line.
func cutHeader(in []byte) (head, body []byte) {
	if bytes.HasPrefix(in, []byte("\r\n")) {
		return in[:0], in[2:]
	}
	if i := bytes.Index(in, []byte("\r\n\r\n")); i >= 0 {
		return in[:i+2], in[i+4:]
	}
	return in, nil
}

// isSigned reports a signature that covers the octets of a part, or a content
// that nobody but its reader may look into.
func isSigned(h message.Header) bool {
	for _, name := range []string{"DKIM-Signature", "ARC-Message-Signature", "ARC-Seal", "DomainKey-Signature"} {
		if h.Has(name) {
			return true
		}
	}
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	switch kind {
	case "multipart/signed", "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime", "application/pgp-encrypted":
		return true
	}
	return false
}

// writeBase64 writes lines of 76 characters (RFC 2045 §6.8).
func writeBase64(out *bytes.Buffer, b []byte) {
	const octetsPerLine = 57
	for len(b) > 0 {
		n := min(len(b), octetsPerLine)
		out.Write(base64.StdEncoding.AppendEncode(nil, b[:n]))
		b = b[n:]
		out.WriteString("\r\n")
	}
}
