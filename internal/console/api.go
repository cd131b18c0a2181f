package console

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/message"
)

const (
	apiPageMax = 500      // messages of one answer
	apiTextMax = 10 << 20 // bytes of text or HTML in one answer
	waitMax    = 5 * time.Minute
	waitCount  = 100 // messages one wait may ask for
)

// Summary is a message as lists and events have it.
type Summary struct {
	ID         mail.ID   `json:"id"`
	Seq        uint64    `json:"seq"`
	Mailbox    string    `json:"mailbox"`
	Time       time.Time `json:"time"`
	From       string    `json:"from"` // of the header
	To         string    `json:"to"`   // of the header
	Subject    string    `json:"subject"`
	MessageID  string    `json:"message_id"`
	Size       int64     `json:"size"`
	Port       string    `json:"port"`
	Like       uint16    `json:"like,omitempty"` // the standard port it stands for
	TLS        string    `json:"tls"`            // "TLS 1.3", "" in clear
	User       string    `json:"user"`
	MailFrom   string    `json:"envelope_from"`
	RcptTo     []string  `json:"envelope_to"`
	Recipients int       `json:"recipients"` // all of them; lists show at most 100
}

// List is a stretch of what was caught, newest first.
type List struct {
	Total    int       `json:"total" doc:"Messages that match."`
	Next     uint64    `json:"next,omitempty" doc:"Give as before= for what is older; absent at the end."`
	Messages []Summary `json:"messages"`
}

// Found are messages in full.
type Found struct {
	Messages []Detail `json:"messages"`
}

// Dialogue is the SMTP dialogue that brought a message.
type Dialogue struct {
	ID       mail.ID `json:"id"`
	Dialogue []Line  `json:"dialogue"`
}

// Deleted says how many messages went.
type Deleted struct {
	Deleted int `json:"deleted"`
}

// Sessions are those that failed, newest first.
type Sessions struct {
	Sessions []SessionView `json:"sessions"`
}

// Mailboxes are those that hold mail.
type Mailboxes struct {
	Mailboxes []catch.Box `json:"mailboxes"`
}

// Info is about this instance. Ports are by the standard port whose twin they
// are.
type Info struct {
	Version string            `json:"version"`
	Store   catch.Stat        `json:"store"`
	Ports   map[string]uint16 `json:"ports"`
}

// Detail is a message in full.
type Detail struct {
	Summary
	Envelope    Envelope      `json:"envelope"`
	Headers     []HeaderField `json:"headers"`
	Text        string        `json:"text"`
	HTML        string        `json:"html"`
	Links       []string      `json:"links"`
	Codes       []string      `json:"codes"`
	Attachments []Attachment  `json:"attachments"`
	Notes       []string      `json:"notes"` // what is wrong with the MIME structure
}

// Envelope is what SMTP said, apart from the header.
type Envelope struct {
	From       string            `json:"from"`
	Recipients []catch.Recipient `json:"recipients"`
	Helo       string            `json:"helo"`
	Client     string            `json:"client"`
	Listener   string            `json:"listener"`
	Role       mail.Role         `json:"role"`
	Method     string            `json:"auth_method,omitempty"`
	TLS        *TLS              `json:"tls"`
	EnvelopeID string            `json:"envid,omitempty"`
	Return     mail.ReturnWhat   `json:"ret,omitempty"`
	Body       mail.BodyType     `json:"body,omitempty"`
	UTF8       bool              `json:"smtputf8,omitempty"`
	RequireTLS bool              `json:"requiretls,omitempty"`
	Session    string            `json:"session"`
}

// TLS is what the handshake settled.
type TLS struct {
	Version string `json:"version"`
	Cipher  string `json:"cipher"`
	Group   string `json:"group,omitempty"`
	SNI     string `json:"sni,omitempty"`
	Resumed bool   `json:"resumed,omitempty"`
}

// HeaderField is one field of the header, decoded.
type HeaderField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Attachment is a part that is not shown as text. Part is its number for
// /parts/{n}.
type Attachment struct {
	Part      int    `json:"part"`
	FileName  string `json:"file_name"`
	Type      string `json:"type"`
	ContentID string `json:"content_id,omitempty"`
	Inline    bool   `json:"inline"`
	Size      int    `json:"size"`
}

func (c *console) summary(m catch.Message) Summary {
	s := Summary{
		ID: m.ID, Seq: m.Seq, Mailbox: m.Mailbox, Time: m.Caught, From: m.HeaderFrom, To: m.HeaderTo,
		Subject: m.Subject, MessageID: m.MessageID, Size: m.Size, Port: portOf(m.Origin),
		Like: c.needs.Ports.Like(m.Origin.Local.Port()), User: m.Origin.Account,
		MailFrom: m.From, RcptTo: []string{}, Recipients: m.Count,
	}
	if m.Origin.TLS != nil {
		s.TLS = m.Origin.TLS.Version
	}
	for _, r := range m.Recipients {
		s.RcptTo = append(s.RcptTo, r.Address)
	}
	return s
}

func (c *console) detail(r *http.Request, m catch.Message) (Detail, error) {
	root, err := c.parse(r, m.ID)
	if err != nil {
		return Detail{}, err
	}
	contents := root.Contents()
	d := Detail{Summary: c.summary(m), Envelope: envelopeOf(m), Headers: []HeaderField{}, Attachments: []Attachment{}, Notes: append([]string{}, contents.Notes...)}
	for _, f := range fields(root.Header) {
		d.Headers = append(d.Headers, HeaderField{f.Name, f.Value})
	}
	d.Text = contents.Plain(apiTextMax)
	if contents.HTML != nil {
		d.HTML = cut(contents.HTML.Text(), apiTextMax)
	}
	d.Links, d.Codes = links(d.Text, d.HTML), codes(d.Subject+"\n"+d.Text)
	for i, list := range [][]*message.Part{contents.Attachments, contents.Inline} {
		for _, p := range list {
			d.Attachments = append(d.Attachments, Attachment{p.Number, p.FileName, p.Type, p.ContentID, i == 1, len(p.Bytes())})
		}
	}
	return d, nil
}

func envelopeOf(m catch.Message) Envelope {
	e := Envelope{
		From: m.From, Recipients: m.Recipients, Helo: m.Origin.Helo, Client: m.Origin.Client.String(),
		Listener: m.Origin.Listener, Role: m.Origin.Role, Method: m.Origin.Method, Session: m.Origin.Session,
		EnvelopeID: m.Params.EnvelopeID, Return: m.Params.Return, Body: m.Params.Body, UTF8: m.Params.UTF8, RequireTLS: m.Params.RequireTLS,
	}
	if t := m.Origin.TLS; t != nil {
		e.TLS = &TLS{t.Version, t.Cipher, t.Group, t.SNI, t.Resumed}
	}
	return e
}

func cut(s string, max int) string {
	if len(s) > max {
		return strings.ToValidUTF8(s[:max], "")
	}
	return s
}

// after reads ?after=, a message's ID or a number of the order of catching, and
// ?since=, a time.
func (c *console) after(r *http.Request) (uint64, error) {
	v := r.URL.Query()
	var since time.Time
	if text := v.Get("since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return 0, errors.New("since: write a time as 2006-01-02T15:04:05.000Z")
		}
	}
	if err := isPlace(v.Get("after")); err != nil {
		return 0, err
	}
	return c.place(v.Get("after"), since), nil
}

// isPlace refuses what names no message: taken for the beginning, it would let
// a test see the mail of an earlier one.
func isPlace(text string) error {
	if _, err := mail.ParseID(text); text == "" || err == nil {
		return nil
	}
	if _, err := strconv.ParseUint(text, 10, 64); err != nil {
		return errors.New("after: write the ID of a message, or its seq")
	}
	return nil
}

func (c *console) afterText(text string) uint64 {
	if id, err := mail.ParseID(text); err == nil {
		return c.needs.Store.SeqOf(id)
	}
	n, _ := strconv.ParseUint(text, 10, 64)
	return n
}

func (c *console) apiList(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	before, _ := strconv.ParseUint(v.Get("before"), 10, 64)
	after, err := c.after(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p := c.needs.Store.List(query(r), before, number(v.Get("limit"), 50, apiPageMax))
	out := List{Total: p.Total, Next: p.Next, Messages: []Summary{}}
	for _, m := range p.Messages {
		if m.Seq <= after {
			out.Next = 0
			break
		}
		out.Messages = append(out.Messages, c.summary(m))
	}
	writeJSON(w, http.StatusOK, out)
}

func (c *console) apiMessage(w http.ResponseWriter, r *http.Request) {
	m, err := c.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	d, err := c.detail(r, m)
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, d)
}

func (c *console) apiRaw(w http.ResponseWriter, r *http.Request) {
	m, err := c.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	body, err := c.needs.Store.Raw(m.ID)
	if err != nil {
		fail(w, err)
		return
	}
	defer body.Close()
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	if r.URL.Query().Get("dl") != "" {
		h.Set("Content-Type", "message/rfc822")
		h.Set("Content-Disposition", `attachment; filename="`+m.ID.String()+`.eml"`)
	}
	h.Set("Content-Length", strconv.FormatInt(body.Size(), 10))
	io.Copy(w, mail.Reader(body))
}

func (c *console) apiText(w http.ResponseWriter, r *http.Request) {
	m, err := c.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	root, err := c.parse(r, m.ID)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, root.Contents().Plain(apiTextMax))
}

// Line is one line of a dialogue.
type Line struct {
	Time time.Time `json:"time"`
	From string    `json:"from"` // "client" or "server"
	TLS  bool      `json:"tls"`
	Text string    `json:"text"`
}

func dialogueOf(lines []event.Line) []Line {
	out := []Line{}
	for _, l := range lines {
		from := "server"
		if l.Client {
			from = "client"
		}
		out = append(out, Line{l.At, from, l.TLS, l.Text})
	}
	return out
}

func (c *console) apiDialogue(w http.ResponseWriter, r *http.Request) {
	m, err := c.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	lines, err := c.needs.Store.Dialogue(m.ID)
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, Dialogue{m.ID, dialogueOf(lines)})
}

func (c *console) apiDelete(w http.ResponseWriter, r *http.Request) {
	m, err := c.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	n, err := c.needs.Store.Delete(m.ID)
	c.deleted(w, n, err)
}

func (c *console) apiDeleteMany(w http.ResponseWriter, r *http.Request) {
	n, err := c.needs.Store.DeleteWhere(query(r))
	c.deleted(w, n, err)
}

func (c *console) deleted(w http.ResponseWriter, n int, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, Deleted{n})
}

// SessionView is a failed session.
type SessionView struct {
	ID       string          `json:"id"`
	Time     time.Time       `json:"time"`
	Port     string          `json:"port"`
	Like     uint16          `json:"like,omitempty"`
	Client   string          `json:"client"`
	Helo     string          `json:"helo"`
	User     string          `json:"user,omitempty"`
	Problems []catch.Problem `json:"problems"`
	Advice   string          `json:"advice,omitempty"`
	Mishap   string          `json:"mishap,omitempty"` // what failed on purpose: a rule's ID, or an address's word like "+550"
	Ended    string          `json:"ended,omitempty"`
	Dialogue []Line          `json:"dialogue"`
}

func (c *console) sessionView(s catch.Session) SessionView {
	return SessionView{
		ID: s.ID, Time: s.At, Port: portOf(s.Origin), Like: c.needs.Ports.Like(s.Origin.Local.Port()),
		Client: s.Origin.Client.String(), Helo: s.Origin.Helo, User: s.Origin.Account,
		Problems: s.Problems, Advice: s.Advice, Mishap: s.Mishap, Ended: s.Ended, Dialogue: dialogueOf(s.Dialogue),
	}
}

func (c *console) apiSessions(w http.ResponseWriter, _ *http.Request) {
	out := []SessionView{}
	for _, s := range c.needs.Store.Sessions() {
		out = append(out, c.sessionView(s))
	}
	writeJSON(w, http.StatusOK, Sessions{out})
}

func (c *console) apiClearSessions(w http.ResponseWriter, _ *http.Request) {
	c.needs.Store.ClearSessions()
	w.WriteHeader(http.StatusNoContent)
}

func (c *console) apiMailboxes(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, Mailboxes{append([]catch.Box{}, c.needs.Store.Mailboxes()...)})
}

func (c *console) apiInfo(w http.ResponseWriter, _ *http.Request) {
	p := c.needs.Ports
	writeJSON(w, http.StatusOK, Info{
		Version: c.config.Version,
		Store:   c.needs.Store.Stat(),
		Ports:   map[string]uint16{"587": p.Submission, "465": p.Submissions, "2525": p.Alternative, "25": p.MX},
	})
}
