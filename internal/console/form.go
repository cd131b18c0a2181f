package console

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/http"
	"strings"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// formView is what a form of release or reply shows.
type formView struct {
	Message catch.Message
	Error   string
	Done    string  // what was done
	NewID   mail.ID // of what was queued

	// Release.
	Routes []Route
	Via    string
	To     []string // the envelope's recipients
	Chosen map[string]bool
	Other  string

	// Reply.
	From, Sender, Subject, Text string
}

// recipientsMax bounds whom one release goes to: it is for a look in a real
// mail program, not for sending.
const recipientsMax = 50

func (c *console) releasePage(w http.ResponseWriter, r *http.Request) {
	if v := c.releaseForm(w, r); v != nil {
		c.form(w, r, http.StatusOK, "release", "Release", v)
	}
}

func (c *console) releaseForm(w http.ResponseWriter, r *http.Request) *formView {
	if c.needs.Release == nil {
		http.Error(w, "There is no route to send by.", http.StatusNotFound)
		return nil
	}
	m, err := c.find(r)
	if err != nil {
		fail(w, err)
		return nil
	}
	v := &formView{Message: m, Routes: c.needs.Release.Routes(), Chosen: map[string]bool{}}
	for _, p := range m.Recipients[:min(len(m.Recipients), recipientsMax)] {
		v.To = append(v.To, p.Address)
	}
	return v
}

// releasePost sends for real, to those who were ticked or typed and nobody else.
func (c *console) releasePost(w http.ResponseWriter, r *http.Request) {
	v := c.releaseForm(w, r)
	if v == nil {
		return
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, "This form cannot be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	v.Via, v.Other = r.PostForm.Get("via"), clip(r.PostForm.Get("other"), 2000)
	to := r.PostForm["to"]
	for _, a := range to {
		v.Chosen[a] = true
	}
	other, err := typed(v.Other)
	to = append(to, other...)
	switch {
	case err != nil:
		v.Error = "Other recipients: " + err.Error() + "."
	case len(to) == 0:
		v.Error = "Tick or write at least one recipient: nothing is sent to anybody who is not named here."
	case len(to) > recipientsMax:
		v.Error = "At most " + itoa(recipientsMax) + " recipients at once."
	default:
		v.NewID, err = c.needs.Release.Send(r.Context(), v.Message.ID, v.Via, to)
		if err != nil {
			v.Error = sentence(err.Error())
		} else {
			v.Done = "Queued for " + strings.Join(to, ", ")
		}
	}
	c.form(w, r, statusOf(v), "release", "Release", v)
}

// typed reads addresses that a person wrote.
func typed(text string) ([]string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	return message.Addresses(text)
}

func statusOf(v *formView) int {
	if v.Error != "" {
		return http.StatusUnprocessableEntity
	}
	return http.StatusOK
}

func (c *console) form(w http.ResponseWriter, r *http.Request, status int, name, title string, v *formView) {
	f := c.frame(r, name, title)
	f.Form = v
	if r.URL.Query().Get("fragment") != "" {
		name += "-form"
	} else {
		name = "page"
	}
	c.renderAs(w, status, name, f)
}

// ---- reply ----

func (c *console) replyPage(w http.ResponseWriter, r *http.Request) {
	v, root := c.replyForm(w, r)
	if v == nil {
		return
	}
	v.Sender = firstAddress(root.Header.Get("Reply-To"), root.Header.Get("From"), v.Message.From)
	if len(v.To) > 0 {
		v.From = v.To[0]
	}
	v.Subject = v.Message.Subject
	if !strings.HasPrefix(strings.ToLower(v.Subject), "re:") {
		v.Subject = "Re: " + v.Subject
	}
	v.Text = quoted(root.Contents().Plain(4 << 10))
	c.form(w, r, http.StatusOK, "reply", "Reply", v)
}

func (c *console) replyForm(w http.ResponseWriter, r *http.Request) (*formView, *message.Part) {
	if c.needs.Submit == nil {
		http.Error(w, "This instance takes no replies.", http.StatusNotFound)
		return nil, nil
	}
	m, err := c.find(r)
	if err != nil {
		fail(w, err)
		return nil, nil
	}
	root, err := c.parse(r, m.ID)
	if err != nil {
		fail(w, err)
		return nil, nil
	}
	v := &formView{Message: m}
	for _, p := range m.Recipients[:min(len(m.Recipients), recipientsMax)] {
		v.To = append(v.To, p.Address)
	}
	return v, root
}

// replyPost composes an answer and hands it in at the port for mail from other
// servers: what the application does with inbound mail can be tried.
func (c *console) replyPost(w http.ResponseWriter, r *http.Request) {
	v, root := c.replyForm(w, r)
	if v == nil {
		return
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, "This form cannot be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	v.From, v.Sender = r.PostForm.Get("from"), r.PostForm.Get("sender")
	v.Subject, v.Text = r.PostForm.Get("subject"), r.PostForm.Get("text")
	from, to := firstAddress(v.From), firstAddress(v.Sender)
	switch {
	case from == "" || to == "":
		v.Error = "From and To each need one address."
	default:
		answer, err := c.needs.Submit(r.Context(), from, []string{to}, reply(v, root.Header, from, to, time.Now()))
		if err != nil {
			v.Error = "The server did not take it: " + err.Error()
		} else {
			v.Done = "Handed in. The server said: " + answer
		}
	}
	c.form(w, r, statusOf(v), "reply", "Reply", v)
}

// firstAddress returns the first address found in any of the values.
func firstAddress(values ...string) string {
	for _, v := range values {
		if list, err := message.Addresses(v); err == nil && len(list) > 0 {
			return list[0]
		}
	}
	return ""
}

func quoted(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	return "\n\n> " + strings.ReplaceAll(text, "\n", "\n> ") + "\n"
}

// reply writes the answer as a mail program would (RFC 5322 §3.6.4: In-Reply-To
// and References thread it).
func reply(v *formView, h message.Header, from, to string, now time.Time) []byte {
	var out bytes.Buffer
	field := func(name, value string) {
		if value != "" {
			out.Write(message.NewField(name, value).Raw)
		}
	}
	field("From", from)
	field("To", to)
	field("Subject", mime.QEncoding.Encode("utf-8", clip(v.Subject, 500)))
	field("Date", message.FormatDate(now))
	field("Message-ID", fmt.Sprintf("<%s@%s>", nonce(), mail.Domain(from)))
	if parent := h.Get("Message-ID"); message.ValidMessageID(parent) {
		field("In-Reply-To", parent)
		field("References", strings.TrimSpace(clip(h.Get("References"), 800)+" "+parent))
	}
	field("MIME-Version", "1.0")
	field("Content-Type", "text/plain; charset=utf-8")
	field("Content-Transfer-Encoding", "quoted-printable")
	out.WriteString("\r\n")
	w := quotedprintable.NewWriter(&out)
	_, _ = w.Write([]byte(strings.ReplaceAll(strings.ReplaceAll(v.Text, "\r\n", "\n"), "\n", "\r\n"))) // a buffer takes all
	_ = w.Close()
	out.WriteString("\r\n")
	return out.Bytes()
}

func nonce() string {
	b := make([]byte, 12)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
