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

// Why a message cannot be made 7-bit (EXT-22).
var (
	errSigned    = errors.New("it is signed or encrypted")
	errHuge      = errors.New("it is too large to convert")
	errRawHeader = errors.New("its header has 8-bit octets")
	errMalformed = errors.New("its MIME structure is broken")
)

// ToSevenBit returns a form of a message that holds 7-bit octets only: 8-bit
// and binary parts become quoted-printable (text) or base64 (all else), and
// nothing else changes (RFC 6152 §3, RFC 2045 §6). It fails for a message that
// carries a signature over its parts, for a conversion would break it
// (EXT-22).
func ToSevenBit(body mail.Body) (mail.Bytes, error) {
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
	if err := convertEntity(&out, in, 0, true); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// convertEntity converts a message or a body part, header and all.
func convertEntity(out *bytes.Buffer, in []byte, depth int, isMessage bool) error {
	head, body := cutHeader(in)
	h, err := message.SplitHeader(head)
	switch {
	case err != nil || depth > partsDeepMax:
		return errMalformed
	case !ascii(head):
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
		if !ascii(body) {
			return errMalformed // says it is encoded, and is not
		}
		_, err := out.Write(in)
		return err
	}
	switch {
	case strings.HasPrefix(kind, "multipart/"):
		writeHead(out, h, "7bit", false)
		return convertParts(out, body, params["boundary"], depth)
	case kind == "message/rfc822" || kind == "message/global":
		writeHead(out, h, "7bit", false)
		return convertEntity(out, body, depth+1, true)
	}
	return convertLeaf(out, h, body, kind, encoding, unlabelled)
}

func convertLeaf(out *bytes.Buffer, h message.Header, body []byte, kind, encoding string, unlabelled bool) error {
	switch {
	case ascii(body) && encoding != "binary":
		writeHead(out, h, "7bit", false)
		out.Write(body)
		return nil
	case strings.HasPrefix(kind, "message/"):
		return errMalformed // RFC 2046 §5.2: no encoding but 7bit, 8bit, binary
	case strings.HasPrefix(kind, "text/") && encoding != "binary":
		writeHead(out, h, "quoted-printable", unlabelled)
		w := quotedprintable.NewWriter(out)
		if _, err := w.Write(body); err != nil {
			return err
		}
		return w.Close()
	}
	writeHead(out, h, "base64", unlabelled)
	writeBase64(out, body)
	return nil
}

// writeHead writes a header with another Content-Transfer-Encoding, keeping
// every other field as it was.
func writeHead(out *bytes.Buffer, h message.Header, encoding string, unlabelled bool) {
	had := false
	for _, f := range h.Fields {
		if !strings.EqualFold(f.Name, "Content-Transfer-Encoding") {
			out.Write(f.Raw)
			continue
		}
		had = true
	}
	if unlabelled { // RFC 1428: 8-bit text of which nobody said what it is
		out.WriteString("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n")
	}
	if had || encoding != "7bit" {
		out.WriteString("Content-Transfer-Encoding: " + encoding + "\r\n")
	}
	out.WriteString("\r\n")
}

// convertParts converts what lies between the boundaries of a multipart.
func convertParts(out *bytes.Buffer, body []byte, boundary string, depth int) error {
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
		if err := endPart(out, part, inside, depth); err != nil {
			return err
		}
		part, inside = part[:0], tail == ""
		out.Write(line)
		if tail == "--" {
			part = append(part, body...)
			break
		}
	}
	return endPart(out, part, inside, depth)
}

// endPart writes a part. The line end before a delimiter belongs to the
// delimiter (RFC 2046 §5.1.1), and must not be encoded.
func endPart(out *bytes.Buffer, part []byte, inside bool, depth int) error {
	if !inside { // preamble or epilogue
		if !ascii(part) {
			return errMalformed
		}
		out.Write(part)
		return nil
	}
	if content, ok := bytes.CutSuffix(part, []byte("\r\n")); ok && len(content) > 0 {
		err := convertEntity(out, content, depth+1, false)
		out.WriteString("\r\n")
		return err
	}
	return convertEntity(out, part, depth+1, false)
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
