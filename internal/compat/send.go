package compat

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/message"
	"paquebot/internal/smtp"
)

// SendRequest is a message to make.
type SendRequest struct {
	From        Person
	To          []Person
	Cc          []Person
	Bcc         []string
	ReplyTo     []Person
	Subject     string
	Text        string
	HTML        string
	Attachments []NewAttachment
	Tags        []string
	Headers     map[string]string
}

// Person is an address in a SendRequest.
type Person struct{ Name, Email string }

// NewAttachment is a file of a SendRequest. With a ContentID it is shown within
// the HTML.
type NewAttachment struct {
	Content     string // base64, or a data: URL
	Filename    string
	ContentType string // found out if ""
	ContentID   string
}

// Sent is the answer to a SendRequest.
type Sent struct{ ID string }

const (
	sendRecipients = 1000 // recipients of one message, as on the SMTP ports
	sendParts      = 500  // attachments of one
)

// send makes a message and catches it at once: it never leaves the machine, and
// can be read when the answer is here. The user name of the request, if it has
// one, is the mailbox, as that of AUTH is.
func (a *API) send(w http.ResponseWriter, r *http.Request) {
	var s SendRequest
	if err := readJSON(r, &s, false); err != nil {
		status := http.StatusBadRequest
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		jsonError(w, status, err.Error())
		return
	}
	env, err := s.envelope()
	if err != nil {
		jsonError(w, http.StatusBadRequest, err.Error())
		return
	}
	env.ID, env.Arrived = a.needs.IDs(), time.Now()
	env.Origin = originOf(r)
	body, err := s.compose(env)
	switch {
	case err != nil:
		jsonError(w, http.StatusBadRequest, err.Error())
		return
	case int64(len(body)) > a.config.MessageSize:
		jsonError(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the message has %d octets, more than %d", len(body), a.config.MessageSize))
		return
	}
	env.Size = int64(len(body))
	if err := a.needs.Store.Catch(context.WithoutCancel(r.Context()), env, env.Recipients, mail.Bytes(body)); err != nil {
		jsonError(w, http.StatusBadRequest, err.Error())
		return
	}
	writeJSON(w, Sent{env.ID.String()})
}

// originOf is whence a message came that HTTP brought.
func originOf(r *http.Request) mail.Origin {
	o := mail.Origin{Session: "http", Role: mail.RoleSubmission, Listener: "/api/v1/send", Method: "HTTP"}
	o.Client, _ = netip.ParseAddrPort(r.RemoteAddr)
	if user, _, given := r.BasicAuth(); given {
		o.Account = user
	}
	return o
}

// envelope checks the addresses.
func (s *SendRequest) envelope() (*mail.Envelope, error) {
	env := &mail.Envelope{From: s.From.Email, Subject: s.Subject}
	if s.From.Email == "" {
		return nil, errors.New("from not set")
	}
	if _, err := smtp.ParseAddress(s.From.Email, true); err != nil {
		return nil, fmt.Errorf("invalid From address: %s", s.From.Email)
	}
	add := func(field, address string) error {
		if _, err := smtp.ParseAddress(address, true); err != nil {
			return fmt.Errorf("invalid %s address: %s", field, address)
		}
		if !slices.ContainsFunc(env.Recipients, func(r mail.Recipient) bool { return r.Address == address }) {
			env.Recipients = append(env.Recipients, mail.Recipient{Address: address})
		}
		return nil
	}
	if len(s.To)+len(s.Cc)+len(s.Bcc) > sendRecipients || len(s.ReplyTo) > sendRecipients {
		return nil, fmt.Errorf("more than %d addresses", sendRecipients)
	}
	var errs []error
	for _, p := range s.To {
		errs = append(errs, add("To", p.Email))
	}
	for _, p := range s.Cc {
		errs = append(errs, add("Cc", p.Email))
	}
	for _, address := range s.Bcc {
		errs = append(errs, add("Bcc", address))
	}
	for _, p := range s.ReplyTo {
		if _, err := smtp.ParseAddress(p.Email, true); err != nil {
			errs = append(errs, fmt.Errorf("invalid Reply-To address: %s", p.Email))
		}
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	if len(env.Recipients) == 0 {
		return nil, errors.New("to, cc, bcc not set")
	}
	return env, nil
}

// compose writes the message. Bcc is in the envelope alone.
func (s *SendRequest) compose(env *mail.Envelope) ([]byte, error) {
	var out bytes.Buffer
	w := &headerWriter{out: &out}
	w.field("From", people([]Person{s.From})...)
	w.field("To", people(s.To)...)
	w.field("Cc", people(s.Cc)...)
	w.field("Reply-To", people(s.ReplyTo)...)
	w.text("Subject", s.Subject)
	w.text("Date", message.FormatDate(env.Arrived))
	own := false // a Message-ID of the request's
	for _, name := range sortedKeys(s.Headers) {
		if err := s.allowed(name, s.Headers[name]); err != nil {
			return nil, err
		}
		own = own || strings.EqualFold(name, "Message-ID")
		w.text(name, s.Headers[name])
	}
	if !own {
		_, domain, _ := strings.Cut(s.From.Email, "@")
		env.MessageID = message.NewMessageID(env.ID, domain)
		w.text("Message-ID", env.MessageID)
	}
	if len(s.Tags) > 0 {
		w.text("X-Tags", strings.Join(s.Tags, ", "))
	}
	w.text("MIME-Version", "1.0")
	body, err := s.body()
	if err != nil {
		return nil, err
	}
	body.writeTo(&out)
	if !bytes.HasSuffix(out.Bytes(), []byte("\r\n")) {
		// A message ends with a line end. Quoted-printable has one that is not part
		// of the text (RFC 2045 §6.7), and no other encoding ends without.
		out.WriteString("=\r\n")
	}
	return out.Bytes(), nil
}

// allowed refuses what would make another message of this one.
func (s *SendRequest) allowed(name, value string) error {
	for _, own := range []string{"To", "From", "Cc", "Bcc", "Reply-To", "Date", "Subject", "Content-Type", "Content-Transfer-Encoding", "Mime-Version"} {
		if strings.EqualFold(name, own) || strings.EqualFold(name, "X-Tags") && len(s.Tags) > 0 {
			return fmt.Errorf("cannot overwrite header: %q", name)
		}
	}
	if !message.BeginsField([]byte(name+":")) || strings.ContainsAny(name, " \t") {
		return fmt.Errorf("not the name of a header: %q", name)
	}
	if strings.ContainsAny(value, "\r\n\x00") { // a header must not forge others
		return fmt.Errorf("the header %q has a line break in it", name)
	}
	return nil
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// people writes addresses with their names, encoded where they must be.
func people(list []Person) []string {
	var out []string
	for _, p := range list {
		name := strings.Join(strings.Fields(strings.Map(noControl, p.Name)), " ")
		if name == "" {
			out = append(out, p.Email)
			continue
		}
		quoted := mime.QEncoding.Encode("utf-8", name)
		if quoted == name {
			quoted = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
		}
		out = append(out, quoted+" <"+p.Email+">")
	}
	return out
}

func noControl(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}

// headerWriter writes fields, folded so that no line is too long (RFC 5322 §2.1.1).
type headerWriter struct{ out *bytes.Buffer }

func (w *headerWriter) field(name string, values ...string) {
	if len(values) > 0 {
		w.out.WriteString(name + ": " + strings.Join(values, ",\r\n ") + "\r\n")
	}
}

const foldAt = 76

// text writes a value, encoded if it is not ASCII, folded at its spaces.
func (w *headerWriter) text(name, value string) {
	value = mime.QEncoding.Encode("utf-8", strings.Map(noControl, value))
	w.out.WriteString(name + ":")
	column := len(name) + 1
	for word := range strings.SplitSeq(value, " ") {
		if column+1+len(word) > foldAt && column > len(name)+1 {
			w.out.WriteString("\r\n")
			column = 0
		}
		w.out.WriteString(" " + word)
		column += 1 + len(word)
	}
	w.out.WriteString("\r\n")
}

// entity is a part to write: a leaf, or parts within a multipart.
type entity struct {
	header textproto.MIMEHeader
	body   []byte // encoded
	kind   string // of a multipart
	parts  []*entity
}

// body is the tree: texts side by side, what is shown within beside them, what
// is attached around it all.
func (s *SendRequest) body() (*entity, error) {
	if len(s.Attachments) > sendParts {
		return nil, fmt.Errorf("more than %d attachments", sendParts)
	}
	var inline, attached []*entity
	for _, a := range s.Attachments {
		e, err := a.entity()
		switch {
		case err != nil:
			return nil, err
		case a.ContentID != "":
			inline = append(inline, e)
		default:
			attached = append(attached, e)
		}
	}
	main := textEntity("text/plain", s.Text)
	switch document := textEntity("text/html", s.HTML); {
	case s.HTML != "" && s.Text != "":
		main = &entity{kind: "alternative", parts: []*entity{main, document}}
	case s.HTML != "":
		main = document
	}
	if len(inline) > 0 {
		main = &entity{kind: "related", parts: append([]*entity{main}, inline...)}
	}
	if len(attached) > 0 {
		main = &entity{kind: "mixed", parts: append([]*entity{main}, attached...)}
	}
	return main, nil
}

// textEntity keeps a text exactly. Mail has CRLF line ends; a text with others
// goes as base64, so that a test finds what it sent.
func textEntity(kind, text string) *entity {
	h := textproto.MIMEHeader{"Content-Type": {kind + "; charset=utf-8"}}
	if strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\n") || strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\r") {
		h.Set("Content-Transfer-Encoding", "base64")
		return &entity{header: h, body: base64Lines([]byte(text))}
	}
	h.Set("Content-Transfer-Encoding", "quoted-printable")
	var out bytes.Buffer
	q := quotedprintable.NewWriter(&out)
	q.Write([]byte(text))
	q.Close()
	return &entity{header: h, body: out.Bytes()}
}

func (a NewAttachment) entity() (*entity, error) {
	_, content, isURL := strings.Cut(a.Content, ",") // data:image/png;base64,…
	if !isURL {
		content = a.Content
	}
	b, err := base64.StdEncoding.DecodeString(content)
	if err != nil {
		return nil, fmt.Errorf("error decoding base64 attachment %q: %w", a.Filename, err)
	}
	kind := a.ContentType
	if kind == "" {
		kind = http.DetectContentType(b)
	}
	media, params, err := mime.ParseMediaType(kind)
	if err != nil || strings.HasPrefix(media, "multipart/") {
		return nil, fmt.Errorf("attachment %q: %q is no content type", a.Filename, a.ContentType)
	}
	h := textproto.MIMEHeader{"Content-Transfer-Encoding": {"base64"}}
	way, name := "attachment", map[string]string{}
	if a.Filename != "" {
		name["filename"], params["name"] = a.Filename, a.Filename
	}
	if a.ContentID != "" {
		if strings.ContainsAny(a.ContentID, "<> \t\r\n\x00") {
			return nil, fmt.Errorf("attachment %q: %q is no content id", a.Filename, a.ContentID)
		}
		way = "inline"
		h.Set("Content-Id", "<"+a.ContentID+">")
	}
	h.Set("Content-Type", mime.FormatMediaType(media, params))
	h.Set("Content-Disposition", mime.FormatMediaType(way, name))
	return &entity{header: h, body: base64Lines(b)}, nil
}

// base64Lines is base64 in lines of 76 (RFC 2045 §6.8).
func base64Lines(b []byte) []byte {
	text := base64.StdEncoding.EncodeToString(b)
	var out bytes.Buffer
	for len(text) > 0 {
		n := min(76, len(text))
		out.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	return out.Bytes()
}

// writeTo writes the fields that tell what the entity is, and its body.
func (e *entity) writeTo(out *bytes.Buffer) {
	if e.kind == "" {
		for _, name := range []string{"Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-Id"} {
			if v := e.header.Get(name); v != "" {
				out.WriteString(name + ": " + v + "\r\n")
			}
		}
		out.WriteString("\r\n")
		out.Write(e.body)
		return
	}
	boundary := multipart.NewWriter(out).Boundary()
	out.WriteString("Content-Type: multipart/" + e.kind + ";\r\n boundary=" + boundary + "\r\n\r\n")
	for _, p := range e.parts {
		out.WriteString("--" + boundary + "\r\n")
		p.writeTo(out)
		out.WriteString("\r\n")
	}
	out.WriteString("--" + boundary + "--\r\n")
}
