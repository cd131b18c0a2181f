package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// draft is a message as a person describes it with flags.
type draft struct {
	From    string
	To      []string
	Subject string
	Text    string
	Headers []string // "Name: value"
	Attach  []string // file names
}

// compose writes the message with CRLF line ends, quoted-printable text and
// base64 attachments, so that it can go to any server.
func (d draft) compose(now time.Time) ([]byte, error) {
	var b bytes.Buffer
	field := func(name, value string) {
		b.Write(message.NewField(name, value).Raw)
	}
	ids, err := mail.NewIDs(rand.Reader)
	if err != nil {
		return nil, err
	}
	field("From", d.From)
	field("To", strings.Join(d.To, ", "))
	field("Subject", mime.QEncoding.Encode("utf-8", d.Subject))
	field("Date", message.FormatDate(now))
	field("Message-ID", message.NewMessageID(ids.Next(now), mail.Domain(d.From)))
	for _, h := range d.Headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || name == "" || strings.ContainsAny(h, "\r\n") {
			return nil, fmt.Errorf("%q is not a header; write \"Name: value\"", h)
		}
		field(name, strings.TrimSpace(value))
	}
	field("MIME-Version", "1.0")
	text := textproto.MIMEHeader{
		"Content-Type":              {"text/plain; charset=utf-8"},
		"Content-Transfer-Encoding": {"quoted-printable"},
	}
	if len(d.Attach) == 0 {
		field("Content-Type", text.Get("Content-Type"))
		field("Content-Transfer-Encoding", "quoted-printable")
		b.WriteString("\r\n")
		err := quote(&b, d.Text)
		return b.Bytes(), err
	}
	parts := multipart.NewWriter(&b)
	field("Content-Type", "multipart/mixed;\r\n boundary=\""+parts.Boundary()+"\"")
	b.WriteString("\r\n")
	w, err := parts.CreatePart(text)
	if err != nil {
		return nil, err
	}
	if err := quote(w, d.Text); err != nil {
		return nil, err
	}
	for _, name := range d.Attach {
		if err := attach(parts, name); err != nil {
			return nil, err
		}
	}
	err = parts.Close()
	return b.Bytes(), err
}

func quote(w io.Writer, text string) error {
	q := quotedprintable.NewWriter(w)
	if _, err := io.WriteString(q, strings.TrimSuffix(text, "\n")+"\n"); err != nil {
		return err
	}
	return q.Close()
}

func attach(parts *multipart.Writer, name string) error {
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	kind := mime.TypeByExtension(filepath.Ext(name))
	if kind == "" {
		kind = "application/octet-stream"
	}
	w, err := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {kind},
		"Content-Transfer-Encoding": {"base64"},
		"Content-Disposition":       {mime.FormatMediaType("attachment", map[string]string{"filename": filepath.Base(name)})},
	})
	if err != nil {
		return err
	}
	text := base64.StdEncoding.EncodeToString(content)
	for len(text) > 0 {
		n := min(76, len(text)) // RFC 2045 §6.8
		if _, err := io.WriteString(w, text[:n]+"\r\n"); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

// crlf gives a text from a Unix pipe the line ends of mail.
func crlf(text []byte) []byte {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
}
