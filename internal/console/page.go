package console

import (
	"bytes"
	"html/template"
	"net/http"
	"net/url"
	"strconv"

	"paquebot/internal/catch"
	"paquebot/internal/mail"
)

const (
	pageSize   = 100      // messages of one stretch of the list
	sourceMax  = 1 << 20  // bytes of source shown; the rest is a download
	textMax    = 1 << 20  // bytes of text shown
	fieldMax   = 16 << 10 // bytes of one header field shown
	sessionTop = 100      // failed sessions shown
)

// frame is what every page has around its own.
type frame struct {
	Title   string
	Active  string // "mail", "sessions", "rules", "help"
	Version string
	Mailbox string
	Q       string
	Stat    catch.Stat
	Boxes   []catch.Box
	Notice  string // what the last action did

	List *listView
	View *messageView
	Form any // of release and reply

	Sessions []catch.Session
	Rules    *rulesView
	Recipes  []Recipe
	CAURL    string
	Origin   string // "http://localhost:8025"
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

// Narrowed reports whether the list shows less than all there is.
func (f *frame) Narrowed() bool { return f.Mailbox != "" || f.Q != "" }

// Empty reports that nothing was ever caught or refused: the page teaches then.
func (f *frame) Empty() bool {
	return f.Stat.Messages == 0 && !f.Narrowed() && f.Stat.Failed == 0
}

func (c *console) listPage(w http.ResponseWriter, r *http.Request) {
	f := c.frame(r, "mail", "Mail")
	selected, _ := mail.ParseID(r.URL.Query().Get("selected"))
	f.List = c.list(r, selected)
	c.withHelp(f, r)
	if r.URL.Query().Get("fragment") == "list" {
		c.render(w, "lists", f)
		return
	}
	c.render(w, "page", f)
}

// withHelp adds the lines to paste.
func (c *console) withHelp(f *frame, r *http.Request) {
	f.Origin = "http://" + r.Host + c.config.BasePath
	if r.TLS != nil {
		f.Origin = "https://" + r.Host + c.config.BasePath
	}
	f.CAURL = f.Origin + "/ca.pem"
	f.Recipes = Recipes(c.needs.Ports, f.CAURL)
}

func (c *console) helpPage(w http.ResponseWriter, r *http.Request) {
	f := c.frame(r, "help", "How to send")
	c.withHelp(f, r)
	c.render(w, "page", f)
}

// keysPage is what "?" shows: keys and the words of the search.
func (c *console) keysPage(w http.ResponseWriter, r *http.Request) {
	f := c.frame(r, "keys", "Keys and search")
	if r.URL.Query().Get("fragment") != "" {
		c.render(w, "keys", f)
		return
	}
	c.render(w, "page", f)
}

func (c *console) sessionsPage(w http.ResponseWriter, r *http.Request) {
	f := c.frame(r, "sessions", "Refused")
	f.Sessions = c.needs.Store.Sessions()
	if len(f.Sessions) > sessionTop {
		f.Sessions = f.Sessions[:sessionTop]
	}
	if r.URL.Query().Get("fragment") == "sessions" {
		c.render(w, "sessions-fragment", f)
		return
	}
	c.render(w, "page", f)
}

// render makes a page whole before it sends any of it.
func (c *console) render(w http.ResponseWriter, name string, f *frame) {
	c.renderAs(w, http.StatusOK, name, f)
}

func (c *console) renderAs(w http.ResponseWriter, status int, name string, f *frame) {
	var out bytes.Buffer
	if err := c.pages.ExecuteTemplate(&out, name, f); err != nil {
		http.Error(w, "The page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // who is gone needs no page
}

// viewLatest sends a browser, or a person with a failing test, to the newest
// message; ?mailbox= and ?q= narrow it.
func (c *console) viewLatest(w http.ResponseWriter, r *http.Request) {
	m, err := c.needs.Store.Latest(query(r))
	if err != nil {
		fail(w, err)
		return
	}
	http.Redirect(w, r, c.at("/m/"+m.ID.String()), http.StatusFound)
}

func itoa(n int) string { return strconv.Itoa(n) }
