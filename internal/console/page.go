package console

import (
	"bytes"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/message"
)

const (
	pageSize   = 100      // messages of one stretch of the list
	sourceMax  = 1 << 20  // bytes of source shown; the rest is a download
	textMax    = 1 << 20  // bytes of text shown
	fieldMax   = 16 << 10 // bytes of one header field shown
	sessionTop = 100      // failed sessions shown
)

func itoa(n int) string { return strconv.Itoa(n) }

// frame is what every page has around its own.
type frame struct {
	Title   string
	Active  string // "mail", "sessions", "help"
	Version string
	Mailbox string
	Q       string
	Stat    catch.Stat
	Boxes   []catch.Box

	List *listView
	View *messageView

	Sessions []catch.Session
	Snippets []Snippet
	CAURL    string
}

func (c *console) frame(r *http.Request, active, title string) *frame {
	v := r.URL.Query()
	return &frame{
		Title: title, Active: active, Version: c.config.Version,
		Mailbox: clip(v.Get("mailbox"), 300), Q: clip(v.Get("q"), 300),
		Stat: c.needs.Store.Stat(), Boxes: c.needs.Store.Mailboxes(),
	}
}

// Scope is the part of an address that keeps what the list is narrowed to.
func (f *frame) Scope() template.URL {
	v := url.Values{}
	if f.Mailbox != "" {
		v.Set("mailbox", f.Mailbox)
	}
	if f.Q != "" {
		v.Set("q", f.Q)
	}
	if len(v) == 0 {
		return ""
	}
	return template.URL("?" + v.Encode())
}

// ScopeAnd is Scope with one parameter more.
func (f *frame) ScopeAnd(name, value string) template.URL {
	if s := f.Scope(); s != "" {
		return s + template.URL("&"+url.QueryEscape(name)+"="+url.QueryEscape(value))
	}
	return template.URL("?" + url.QueryEscape(name) + "=" + url.QueryEscape(value))
}

// listView is a stretch of the list.
type listView struct {
	Messages []catch.Message
	Total    int
	Next     uint64
	Older    bool // not the newest stretch
	Selected mail.ID
}

func (c *console) list(r *http.Request, selected mail.ID) *listView {
	before, _ := strconv.ParseUint(r.URL.Query().Get("before"), 10, 64)
	p := c.needs.Store.List(query(r), before, pageSize)
	return &listView{Messages: p.Messages, Total: p.Total, Next: p.Next, Older: before != 0, Selected: selected}
}

func (c *console) listPage(w http.ResponseWriter, r *http.Request) {
	f := c.frame(r, "mail", "Mail")
	selected, _ := mail.ParseID(r.URL.Query().Get("selected"))
	f.List = c.list(r, selected)
	c.withHelp(f, r)
	if r.URL.Query().Get("fragment") == "list" {
		c.render(w, "list", f)
		return
	}
	c.render(w, "page", f)
}

// withHelp adds the lines to paste.
func (c *console) withHelp(f *frame, r *http.Request) {
	f.CAURL = "http://" + r.Host + "/ca.pem"
	if r.TLS != nil {
		f.CAURL = "https://" + r.Host + "/ca.pem"
	}
	f.Snippets = Snippets(c.needs.Ports, f.CAURL)
}

func (c *console) helpPage(w http.ResponseWriter, r *http.Request) {
	f := c.frame(r, "help", "How to send")
	c.withHelp(f, r)
	c.render(w, "page", f)
}

func (c *console) sessionsPage(w http.ResponseWriter, r *http.Request) {
	f := c.frame(r, "sessions", "Failed sessions")
	f.Sessions = c.needs.Store.Sessions()
	if len(f.Sessions) > sessionTop {
		f.Sessions = f.Sessions[:sessionTop]
	}
	if r.URL.Query().Get("fragment") == "sessions" {
		c.render(w, "sessions", f)
		return
	}
	c.render(w, "page", f)
}

// messageView is one message, opened at one tab.
type messageView struct {
	catch.Message
	Tab      string
	Contents message.Contents
	Date     string
	To, Cc   string
	Newer    mail.ID
	Older    mail.ID
	Notes    []string

	Remote     bool // the HTML would load things from elsewhere
	RemoteOn   bool // and a person allowed it
	Text       string
	Fields     []fieldView
	Source     string
	Cut        bool
	Parts      []partView
	Bcc        []string // recipients that no header names
	Dialogue   []event.Line
	HasHTML    bool
	Attachment int
}

type fieldView struct{ Name, Value, Raw string }

type partView struct {
	*message.Part
	Size   int
	Image  bool
	Inline bool
}

// tabs are the ways to look at a message, in order.
var tabNames = []string{"html", "text", "headers", "source", "attachments", "envelope", "dialogue"}

func (c *console) messagePage(w http.ResponseWriter, r *http.Request) {
	m, err := c.find(r)
	if err != nil {
		f := c.frame(r, "mail", "Not found")
		f.List = c.list(r, mail.ID{})
		w.WriteHeader(http.StatusNotFound)
		c.render(w, "page", f)
		return
	}
	view, err := c.view(r, m)
	if err != nil {
		fail(w, err)
		return
	}
	f := c.frame(r, "mail", m.Subject)
	if m.Subject == "" {
		f.Title = "(no subject)"
	}
	f.View = view
	if r.URL.Query().Get("fragment") == "message" {
		c.render(w, "message", f)
		return
	}
	f.List = c.list(r, m.ID)
	c.render(w, "page", f)
}

func (c *console) view(r *http.Request, m catch.Message) (*messageView, error) {
	root, err := c.parse(r, m.ID)
	if err != nil {
		return nil, err
	}
	v := &messageView{Message: m, Contents: root.Contents()}
	v.HasHTML = v.Contents.HTML != nil
	v.Attachment = len(v.Contents.Attachments) + len(v.Contents.Inline)
	v.Notes = v.Contents.Notes
	v.Date = clip(root.Header.Get("Date"), 100)
	v.To, v.Cc = clip(message.DecodeWords(root.Header.Get("To")), 1000), clip(message.DecodeWords(root.Header.Get("Cc")), 1000)
	v.Newer, v.Older = c.needs.Store.Neighbours(m.ID)
	v.Tab = chooseTab(r.URL.Query().Get("tab"), v.HasHTML)
	v.RemoteOn = r.URL.Query().Get("remote") == "1"
	return v, c.fill(v, root)
}

func chooseTab(asked string, hasHTML bool) string {
	for _, t := range tabNames {
		if t == asked && (t != "html" || hasHTML) {
			return t
		}
	}
	if hasHTML {
		return "html"
	}
	return "text"
}

// fill reads what the chosen tab shows, and nothing else.
func (c *console) fill(v *messageView, root *message.Part) error {
	switch v.Tab {
	case "html":
		text := v.Contents.HTML.Text()
		v.Remote, v.Cut = mayLoadRemote(text), len(text) > frameMax
	case "text":
		v.Text = v.Contents.Plain(textMax)
	case "headers":
		v.Fields = fields(root.Header)
	case "source":
		return c.source(v)
	case "attachments":
		for _, p := range v.Contents.Attachments {
			v.Parts = append(v.Parts, partView{p, len(p.Bytes()), safeImage(p.Type), false})
		}
		for _, p := range v.Contents.Inline {
			v.Parts = append(v.Parts, partView{p, len(p.Bytes()), safeImage(p.Type), true})
		}
	case "envelope":
		v.Bcc = unnamed(v.Recipients, root.Header)
	case "dialogue":
		lines, err := c.needs.Store.Dialogue(v.ID)
		v.Dialogue = lines
		return err
	}
	return nil
}

func fields(h message.Header) []fieldView {
	var out []fieldView
	for _, f := range h.Fields {
		raw := strings.ReplaceAll(f.Value(), "\t", " ") // what folds leave
		value := message.DecodeWords(raw)
		fv := fieldView{Name: f.Name, Value: clip(value, fieldMax)}
		if value != raw {
			fv.Raw = clip(strings.ToValidUTF8(raw, "\uFFFD"), fieldMax)
		}
		out = append(out, fv)
	}
	return out
}

func (c *console) source(v *messageView) error {
	body, err := c.needs.Store.Raw(v.ID)
	if err != nil {
		return err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(mail.Reader(body), sourceMax))
	if err != nil {
		return err
	}
	v.Source = strings.ToValidUTF8(string(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))), "\uFFFD")
	v.Cut = body.Size() > sourceMax
	return nil
}

// unnamed returns the recipients that neither To nor Cc names: what Bcc was, or
// what a list or an alias made of it.
func unnamed(recipients []catch.Recipient, h message.Header) []string {
	named := map[string]bool{}
	for _, field := range []string{"To", "Cc"} {
		for _, f := range h.All(field) {
			boxes, _ := message.Mailboxes(f.Value())
			for _, b := range boxes {
				named[strings.ToLower(b.Address)] = true
			}
		}
	}
	var out []string
	for _, r := range recipients {
		if !named[strings.ToLower(r.Address)] {
			out = append(out, r.Address)
		}
	}
	return out
}

// ---- what changes something ----

func (c *console) deletePost(w http.ResponseWriter, r *http.Request) {
	m, err := c.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	_, older := c.needs.Store.Neighbours(m.ID)
	if _, err := c.needs.Store.Delete(m.ID); err != nil {
		fail(w, err)
		return
	}
	scope := c.frame(r, "", "").Scope()
	if older.IsZero() {
		http.Redirect(w, r, "/"+string(scope), http.StatusSeeOther)
		return
	}
	http.Redirect(w, r, "/m/"+older.String()+string(scope), http.StatusSeeOther)
}

// clearPost deletes what the list shows: all, or what mailbox and search leave.
func (c *console) clearPost(w http.ResponseWriter, r *http.Request) {
	if _, err := c.needs.Store.DeleteWhere(query(r)); err != nil {
		fail(w, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (c *console) clearSessionsPost(w http.ResponseWriter, r *http.Request) {
	c.needs.Store.ClearSessions()
	http.Redirect(w, r, "/sessions", http.StatusSeeOther)
}

// ---- templates ----

func (c *console) render(w http.ResponseWriter, name string, f *frame) {
	var out bytes.Buffer
	if err := c.pages.ExecuteTemplate(&out, name, f); err != nil {
		http.Error(w, "The page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(out.Bytes())
}

func templateFuncs(p Ports) template.FuncMap {
	return template.FuncMap{
		"size":  humanSize,
		"clock": clock,
		"stamp": func(t time.Time) string { return t.Format(time.RFC3339) },
		"full":  func(t time.Time) string { return t.Format("Mon 2 Jan 2006 15:04:05.000 -0700") },
		"other": func(o mail.Origin) uint16 { // the standard port, where it is another one
			if like := p.Like(o.Local.Port()); like != o.Local.Port() {
				return like
			}
			return 0
		},
		"port": portOf,
		"user": func(m catch.Message) string { return m.Origin.Account },
		"tabs": func() []string { return tabNames },
		"offset": func(first, at time.Time) string {
			return "+" + strconv.FormatFloat(at.Sub(first).Seconds(), 'f', 3, 64)
		},
		"sentence":  sentence,
		"untrusted": func(advice string) bool { return strings.Contains(advice, "trust the certificate") },
		"thousands": thousands,
		"binary":    func(n int64) string { return strconv.FormatFloat(float64(n)/(1<<30), 'g', 3, 64) + " GiB" },
		"plural": func(n int, one, many string) string {
			if n == 1 {
				return "1 " + one
			}
			return thousands(n) + " " + many
		},
	}
}

// portOf is the port a message came through, as its listener has it.
func portOf(o mail.Origin) string {
	if o.Local.IsValid() {
		return itoa(int(o.Local.Port()))
	}
	if i := strings.LastIndexByte(o.Listener, ':'); i >= 0 {
		return o.Listener[i+1:]
	}
	return "-"
}

func humanSize(n any) string {
	var b float64
	switch n := n.(type) {
	case int:
		b = float64(n)
	case int64:
		b = float64(n)
	}
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if b < 1024 {
			if unit == "B" || b >= 100 {
				return strconv.FormatFloat(b, 'f', 0, 64) + " " + unit
			}
			return strconv.FormatFloat(b, 'f', 1, 64) + " " + unit
		}
		b /= 1024
	}
	return strconv.FormatFloat(b, 'f', 1, 64) + " GiB"
}

// sentence makes a sentence of what an event says: "client has TLS off".
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return s
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.ContainsAny(s[len(s)-1:], ".!?") {
		s += "."
	}
	return s
}

// thousands writes 10000 as 10,000.
func thousands(n int) string {
	s := itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// clock is the time of day for today, else the day as well.
func clock(t time.Time) string {
	now := time.Now()
	t = t.In(now.Location())
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format("15:04:05")
	}
	return t.Format("2 Jan 15:04")
}

// viewLatest sends a browser, or a person with a failing test, to the newest
// message; ?mailbox= and ?q= narrow it.
func (c *console) viewLatest(w http.ResponseWriter, r *http.Request) {
	m, err := c.needs.Store.Latest(query(r))
	if err != nil {
		fail(w, err)
		return
	}
	http.Redirect(w, r, "/m/"+m.ID.String(), http.StatusFound)
}
