package compat

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// Message is a message in full, as Mailpit writes it.
type Message struct {
	ID              string
	MessageID       string
	From            Address
	To              []Address
	Cc              []Address
	Bcc             []Address
	ReplyTo         []Address
	ReturnPath      string
	Subject         string
	ListUnsubscribe ListUnsubscribe
	Date            time.Time
	Tags            []string
	Username        string
	Text            string
	HTML            string
	Size            int64
	Inline          []Attachment
	Attachments     []Attachment
}

// Attachment is a part that is not shown as text.
type Attachment struct {
	PartID      string
	FileName    string
	ContentType string
	ContentID   string
	Size        int
	Checksums   Checksums
}

// Checksums are of the decoded octets.
type Checksums struct {
	MD5    string
	SHA1   string
	SHA256 string
}

// letterOf opens the message a path names; it answers the request itself if
// there is none.
func (a *API) letterOf(w http.ResponseWriter, r *http.Request, name string) *letter {
	m, err := a.find(r, name)
	if err != nil {
		fail(w, err)
		return nil
	}
	l, err := a.open(r.Context(), m)
	if err != nil {
		fail(w, err)
		return nil
	}
	return l
}

// message answers a message in full; who has seen it has read it.
func (a *API) message(w http.ResponseWriter, r *http.Request) {
	l := a.letterOf(w, r, r.PathValue("id"))
	if l == nil {
		return
	}
	a.seen(l)
	writeJSON(w, l.full())
}

// seen marks as read. That it cannot be noted is no reason not to show the mail.
func (a *API) seen(l *letter) { _, _ = a.needs.Store.MarkRead(true, l.ID) }

func (l *letter) full() Message {
	h, d := l.root.Header, l.digest()
	out := Message{
		ID: l.ID.String(), MessageID: d.messageID, From: d.from,
		To: list(d.to), Cc: list(d.cc), Bcc: list(d.bcc), ReplyTo: list(d.replyTo),
		ReturnPath: l.From, Subject: d.subject, ListUnsubscribe: listUnsubscribe(h),
		Date: l.Caught, Tags: list(l.Tags), Username: l.Origin.Account,
		Text: l.text(), HTML: l.html(), Size: l.Size, Inline: []Attachment{}, Attachments: []Attachment{},
	}
	if t, err := message.ParseDate(h.Get("Date")); err == nil {
		out.Date = t
	}
	for _, p := range l.attachments {
		out.Attachments = appendNamed(out.Attachments, p)
	}
	for _, p := range l.inline {
		out.Inline = appendNamed(out.Inline, p)
	}
	return out
}

// appendNamed leaves out, as Mailpit does, what has neither name nor Content-ID.
func appendNamed(list []Attachment, p *message.Part) []Attachment {
	name := partName(p)
	if name == "" {
		return list
	}
	body := p.Bytes()
	m, s1, s2 := md5.Sum(body), sha1.Sum(body), sha256.Sum256(body)
	return append(list, Attachment{
		PartID: p.Path, FileName: name, ContentType: p.Type, ContentID: p.ContentID, Size: len(body),
		Checksums: Checksums{hex.EncodeToString(m[:]), hex.EncodeToString(s1[:]), hex.EncodeToString(s2[:])},
	})
}

func partName(p *message.Part) string {
	if p.FileName != "" {
		return p.FileName
	}
	return p.ContentID
}

func (a *API) headers(w http.ResponseWriter, r *http.Request) {
	if l := a.letterOf(w, r, r.PathValue("id")); l != nil {
		writeJSON(w, l.headerMap())
	}
}

// sandboxed is for what a mail brought: whatever it is, it runs nothing.
const sandboxed = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"

func (a *API) raw(w http.ResponseWriter, r *http.Request) {
	m, err := a.find(r, r.PathValue("id"))
	if err != nil {
		fail(w, err)
		return
	}
	name := ""
	if r.URL.Query().Get("dl") == "1" {
		name = m.ID.String() + ".eml"
	}
	a.octets(w, m.ID, "text/plain; charset=utf-8", name)
}

// octets serves a stored message, as a download if it has a name.
func (a *API) octets(w http.ResponseWriter, id mail.ID, kind, name string) {
	body, err := a.needs.Store.Raw(id)
	if err != nil {
		fail(w, err)
		return
	}
	defer body.Close()
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Security-Policy", sandboxed)
	if name != "" {
		h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	}
	h.Set("Content-Length", strconv.FormatInt(body.Size(), 10))
	io.Copy(w, mail.Reader(body))
}

// part serves an attachment as what it says it is; the policy keeps it from
// running anything in a browser.
func (a *API) part(w http.ResponseWriter, r *http.Request) {
	l, p := a.partOf(w, r)
	if l == nil {
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", sandboxed)
	h.Set("Cross-Origin-Resource-Policy", "cross-origin") // a mail's frame may have an origin of its own
	h.Set("Content-Type", p.Type)
	h.Set("Content-Disposition", `inline; filename="`+url.PathEscape(partName(p))+`"`)
	body := p.Bytes()
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// partOf finds the part a path names, or answers 404.
func (a *API) partOf(w http.ResponseWriter, r *http.Request) (*letter, *message.Part) {
	l := a.letterOf(w, r, r.PathValue("id"))
	if l == nil {
		return nil, nil
	}
	for p := range l.root.Walk() {
		if p.Path == r.PathValue("partID") && len(p.Children) == 0 {
			return l, p
		}
	}
	for p := range l.root.Walk() { // a message within the message
		if p.Path == r.PathValue("partID") && p.Path != "" {
			return l, p
		}
	}
	notFound(w)
	return nil, nil
}
