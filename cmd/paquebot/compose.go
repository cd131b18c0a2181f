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
	Cc      []string
	Subject string
	Text    string
	HTML    string   // the same as HTML; "" for none
	Headers []string // "Name: value", in place of ours of that name
	Attach  []string // file names
}

// compose writes the message with CRLF line ends, quoted-printable text and
// base64 attachments, so that it can go to any server.
func (d draft) compose(now time.Time) ([]byte, error) {
	ids, err := mail.NewIDs(rand.Reader)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	own := map[string]bool{}
	for _, h := range d.Headers {
		name, _, ok := strings.Cut(h, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") || strings.ContainsAny(h, "\r\n") {
			return nil, fmt.Errorf("%q is not a header; write \"Name: value\"", h)
		}
		own[strings.ToLower(name)] = true
	}
	field := func(name, value string) {
		if value != "" && !own[strings.ToLower(name)] {
			b.Write(message.NewField(name, value).Raw)
		}
	}
	field("From", d.From)
	to := strings.Join(d.To, ", ")
	if len(d.To)+len(d.Cc) == 0 {
		to = "undisclosed-recipients:;" // RFC 5322 §3.6.3 asks for none; some servers do
	}
	field("To", to)
	field("Cc", strings.Join(d.Cc, ", "))
	field("Subject", mime.QEncoding.Encode("utf-8", d.Subject))
	field("Date", message.FormatDate(now))
	field("Message-ID", message.NewMessageID(ids.Next(now), mail.Domain(d.From)))
	for _, h := range d.Headers {
		name, value, _ := strings.Cut(h, ":")
		b.Write(message.NewField(name, mime.QEncoding.Encode("utf-8", strings.TrimSpace(value))).Raw)
	}
	field("MIME-Version", "1.0")
	whole, err := d.content()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"Content-Type", "Content-Transfer-Encoding"} {
		if v := whole.header.Get(name); v != "" {
			b.WriteString(name + ": " + v + "\r\n")
		}
	}
	b.WriteString("\r\n")
	b.Write(whole.body)
	return b.Bytes(), nil
}

// entity is a part of a message, or all of it (RFC 2045 §2.4).
type entity struct {
	header textproto.MIMEHeader
	body   []byte
}

// content is the text, its HTML beside it, and what is attached.
func (d draft) content() (entity, error) {
	whole, err := textEntity("text/plain", d.Text)
	if err == nil && d.HTML != "" {
		var page entity
		if page, err = textEntity("text/html", d.HTML); err == nil {
			whole, err = join("multipart/alternative", []entity{whole, page})
		}
	}
	if err != nil || len(d.Attach) == 0 {
		return whole, err
	}
	parts := []entity{whole}
	for _, name := range d.Attach {
		file, err := attached(name)
		if err != nil {
			return entity{}, err
		}
		parts = append(parts, file)
	}
	return join("multipart/mixed", parts)
}

func textEntity(kind, text string) (entity, error) {
	var b bytes.Buffer
	err := quote(&b, text)
	return entity{textproto.MIMEHeader{
		"Content-Type":              {kind + "; charset=utf-8"},
		"Content-Transfer-Encoding": {"quoted-printable"},
	}, b.Bytes()}, err
}

func join(kind string, parts []entity) (entity, error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		to, err := w.CreatePart(p.header)
		if err != nil {
			return entity{}, err
		}
		if _, err := to.Write(p.body); err != nil {
			return entity{}, err
		}
	}
	err := w.Close()
	return entity{textproto.MIMEHeader{"Content-Type": {kind + ";\r\n boundary=\"" + w.Boundary() + "\""}}, b.Bytes()}, err
}

func quote(w io.Writer, text string) error {
	q := quotedprintable.NewWriter(w)
	if _, err := io.WriteString(q, strings.TrimSuffix(text, "\n")+"\n"); err != nil {
		return err
	}
	return q.Close()
}

func attached(name string) (entity, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return entity{}, err
	}
	kind := mime.TypeByExtension(filepath.Ext(name))
	if kind == "" {
		kind = "application/octet-stream"
	}
	var b bytes.Buffer
	text := base64.StdEncoding.EncodeToString(content)
	for len(text) > 0 {
		n := min(76, len(text)) // RFC 2045 §6.8
		b.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	return entity{textproto.MIMEHeader{
		"Content-Type":              {kind},
		"Content-Transfer-Encoding": {"base64"},
		"Content-Disposition":       {mime.FormatMediaType("attachment", map[string]string{"filename": filepath.Base(name)})},
	}, b.Bytes()}, nil
}

// crlf gives a text from a Unix pipe the line ends of mail.
func crlf(text []byte) []byte {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
}
