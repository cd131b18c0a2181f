package console

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"html/template"
	"io"
	"net/http"
	"strings"

	"paquebot/internal/catch"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// messageView is one message, opened at one tab.
type messageView struct {
	catch.Message
	Tab      string
	Tabs     []tab
	Contents message.Contents
	Date     string
	To, Cc   string
	ReplyTo  string
	Newer    mail.ID
	Older    mail.ID
	Notes    []string
	HasHTML  bool
	Cut      bool // only the beginning is shown

	// Of the tab that is open.
	Remote    bool // the HTML would load pictures from elsewhere
	RemoteOn  bool // and a person allowed it
	Scheme    string
	Text      string
	Markup    template.HTML
	Fields    []fieldView
	Source    string
	Tree      *treeView
	Parts     []partView
	Links     []linkView
	Codes     []string
	Calendars []calendarView
	Bcc       []string // recipients that no header names
	Dialogue  []event.Line
	Steps     []Step
	Findings  []Finding
	Trouble   string // why the tab cannot show what it should
}

// tab is a way to look at a message.
type tab struct {
	Name, Label string
	Count       int
	Group       int // a line is drawn between groups
}

type fieldView struct{ Name, Value, Raw string }

type partView struct {
	*message.Part
	Size        int
	Image       bool
	TooLarge    bool // an image of more points than a browser should be asked to hold
	Inline      bool
	SHA256, MD5 string
}

type linkView struct {
	URL  string
	Host string
	// Secure reports https.
	Secure bool
}

func (c *console) messagePage(w http.ResponseWriter, r *http.Request) {
	m, err := c.find(r)
	if err != nil {
		f := c.frame(r, "mail", "Not found")
		f.List = c.list(r, mail.ID{})
		f.Notice = "There is no such message: it may have been deleted, or it had to make room."
		c.withHelp(f, r)
		c.renderAs(w, http.StatusNotFound, "page", f)
		return
	}
	view, err := c.view(r, m)
	if err != nil {
		fail(w, err)
		return
	}
	if !m.Read && r.Header.Get("Purpose") != "prefetch" && r.Header.Get("Sec-Purpose") == "" {
		_, _ = c.needs.Store.MarkRead(true, m.ID) // to have read a mail twice is no loss
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
	v.Notes = v.Contents.Notes
	v.Date = clip(root.Header.Get("Date"), 100)
	v.To, v.Cc = clip(message.DecodeWords(root.Header.Get("To")), 1000), clip(message.DecodeWords(root.Header.Get("Cc")), 1000)
	v.ReplyTo = clip(message.DecodeWords(root.Header.Get("Reply-To")), 300)
	v.Newer, v.Older = c.needs.Store.Neighbours(m.ID)
	v.withLinks()
	v.Tabs = c.tabs(v)
	v.Tab = chooseTab(v.Tabs, r.URL.Query().Get("tab"))
	v.RemoteOn = r.URL.Query().Get("remote") == "1" && c.needs.Dial != nil
	v.Scheme = scheme(r.URL.Query().Get("scheme"))
	return v, c.fill(r.Context(), v, root)
}

// withLinks reads what a person would click or type.
func (v *messageView) withLinks() {
	text, document := v.Contents.Plain(textMax), ""
	if v.Contents.HTML != nil {
		document = cut(v.Contents.HTML.Text(), textMax)
	}
	for _, l := range links(text, document) {
		host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(l, "https://"), "http://"), "/")
		v.Links = append(v.Links, linkView{l, host, strings.HasPrefix(l, "https://")})
	}
	v.Codes = codes(v.Subject + "\n" + text)
}

// tabs are the ways there are to look at this message, in order.
func (c *console) tabs(v *messageView) []tab {
	var out []tab
	add := func(there bool, group int, name, label string, count int) {
		if there {
			out = append(out, tab{name, label, count, group})
		}
	}
	files := len(v.Contents.Attachments) + len(v.Contents.Inline)
	found := len(v.Links) + len(v.Codes)
	add(v.HasHTML, 0, "html", "HTML", 0)
	add(true, 0, "text", "Text", 0)
	add(files > 0, 0, "attachments", "Attachments", files)
	add(found > 0, 0, "links", "Links", found)
	add(len(calendarParts(v.Contents)) > 0, 0, "calendar", "Calendar", 0)
	add(true, 1, "headers", "Headers", 0)
	add(v.HasHTML, 1, "markup", "HTML source", 0)
	add(true, 1, "source", "Raw", 0)
	add(true, 1, "structure", "Structure", 0)
	add(true, 2, "envelope", "Envelope", 0)
	add(true, 2, "dialogue", "Dialogue", 0)
	add(c.needs.Trace != nil, 2, "trace", "Trace", 0)
	add(c.needs.Critique != nil, 3, "production", "In production", 0)
	return out
}

func chooseTab(tabs []tab, asked string) string {
	for _, t := range tabs {
		if t.Name == asked {
			return t.Name
		}
	}
	return tabs[0].Name
}

// fill reads what the chosen tab shows, and nothing else.
func (c *console) fill(ctx context.Context, v *messageView, root *message.Part) error {
	switch v.Tab {
	case "html":
		text := v.Contents.HTML.Text()
		v.Remote, v.Cut = mayLoadRemote(text), len(text) > frameMax
	case "text":
		v.Text = foldLong(v.Contents.Plain(textMax))
	case "headers":
		v.Fields = fields(root.Header)
	case "markup":
		text := v.Contents.HTML.Text()
		v.Cut = len(text) > markupMax
		v.Markup = highlight(cut(text, markupMax))
	case "source":
		return c.source(v)
	case "structure":
		v.Tree = tree(root)
	case "attachments":
		v.Parts = append(partViews(v.Contents.Attachments, false), partViews(v.Contents.Inline, true)...)
	case "calendar":
		v.Calendars = calendars(v.Contents)
	case "envelope":
		v.Bcc = unnamed(v.Recipients, root.Header)
	case "dialogue":
		lines, err := c.needs.Store.Dialogue(v.ID)
		v.Dialogue = lines
		return err
	case "trace":
		var err error
		if v.Steps, err = c.needs.Trace(ctx, v.ID); err != nil {
			v.Trouble = err.Error()
		}
	case "production":
		var err error
		if v.Findings, err = c.needs.Critique(ctx, v.ID); err != nil {
			v.Trouble = err.Error()
		}
	}
	return nil
}

// partsShown is how many attachments a page lists.
const partsShown = 200

func partViews(parts []*message.Part, inline bool) []partView {
	var out []partView
	for _, p := range parts[:min(len(parts), partsShown)] {
		body := p.Bytes()
		full, weak := sha256.Sum256(body), md5.Sum(body)
		safe := safeImage(p.Type)
		bomb := safe && tooManyPoints(body)
		out = append(out, partView{
			Part: p, Size: len(body), Image: safe && !bomb, TooLarge: bomb, Inline: inline,
			SHA256: hex.EncodeToString(full[:]), MD5: hex.EncodeToString(weak[:]),
		})
	}
	return out
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
	defer func() { _ = body.Close() }()
	b, err := io.ReadAll(io.LimitReader(mail.Reader(body), sourceMax))
	if err != nil {
		return err
	}
	v.Source = foldLong(strings.ToValidUTF8(string(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))), "\uFFFD"))
	v.Cut = body.Size() > sourceMax
	return nil
}

// lineShown is how much of one line is shown, in bytes: browsers take seconds
// to lay out a line of megabytes.
const lineShown = 8 << 10

// foldLong cuts lines that are too long to show and says how much is missing.
func foldLong(text string) string {
	if len(text) <= lineShown {
		return text
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		if len(line) <= lineShown+1 {
			out.WriteString(line)
			continue
		}
		out.WriteString(cut(line, lineShown))
		out.WriteString(" […" + thousands(len(line)-lineShown) + " bytes more in this line]\n")
	}
	return out.String()
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
