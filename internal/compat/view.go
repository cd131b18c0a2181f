package compat

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"paquebot/internal/catch"
)

// view serves ID.html and ID.txt, and sends a browser that asks for an ID to
// its page.
func (a *API) view(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if id, found := strings.CutSuffix(name, ".html"); found {
		a.viewHTML(w, r, id)
		return
	}
	if id, found := strings.CutSuffix(name, ".txt"); found {
		a.viewText(w, r, id)
		return
	}
	m, err := a.find(r, name)
	if err != nil {
		say(w, http.StatusNotFound, "Message not found")
		return
	}
	a.goTo(w, r, m)
}

// viewLatest sends a browser to the newest message that matches ?query= in
// Mailpit's language, or ?q= in that of the page.
func (a *API) viewLatest(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	var m catch.Message
	var err error
	if v.Has("q") {
		m, err = a.needs.Store.Latest(catch.ParseQuery(v.Get("mailbox"), v.Get("q")))
	} else {
		m, err = a.find(r, "latest")
	}
	if err != nil {
		say(w, http.StatusNotFound, "Message not found")
		return
	}
	a.goTo(w, r, m)
}

func (a *API) goTo(w http.ResponseWriter, r *http.Request, m catch.Message) {
	http.Redirect(w, r, a.config.BasePath+"/m/"+m.ID.String(), http.StatusFound)
}

// viewHTML serves a mail's HTML as a page of its own, for browser tests. It runs
// no script and sends no form; its links work. Nothing leaves the machine because
// somebody looked: the page of the catcher loads pictures for who asks, and from
// public addresses alone.
func (a *API) viewHTML(w http.ResponseWriter, r *http.Request, id string) {
	l := a.letterOf(w, r, id)
	if l == nil {
		return
	}
	document := l.html()
	if document == "" {
		say(w, http.StatusNotFound, "This message does not contain a HTML part")
		return
	}
	a.seen(l)
	document = a.withInline(document, l)
	document = rewritten(document, r.URL.Query().Get("embed") == "1")
	parts := r.Host + a.config.BasePath + "/api/v1/message/" + l.ID.String() + "/part/"
	w.Header().Set("Content-Security-Policy", viewPolicy("http://"+parts+" https://"+parts))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write([]byte(document))
}

// viewPolicy: without allow-scripts nothing of a mail runs, so it may keep our
// origin, which its inline images need. It loads its own parts and nothing else
// of ours: a picture that names the link check would have us visit the mail's
// links, though nobody asked.
func viewPolicy(parts string) string {
	return "default-src 'none'; img-src " + parts + " data:; style-src 'unsafe-inline'; font-src data:; media-src " + parts + " data:" +
		"; form-action 'none'; base-uri 'none'; frame-ancestors 'self'; " +
		"sandbox allow-same-origin allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation"
}

func (a *API) viewText(w http.ResponseWriter, r *http.Request, id string) {
	l := a.letterOf(w, r, id)
	if l == nil {
		return
	}
	a.seen(l)
	say(w, http.StatusOK, l.text())
}

// inlineMax bounds how many parts a document's cid: addresses may name.
const inlineMax = 500

// withInline points cid: addresses at the parts they name (RFC 2392).
func (a *API) withInline(document string, l *letter) string {
	if !strings.Contains(document, "cid:") {
		return document
	}
	var pairs []string
	for p := range l.root.Walk() {
		if p.ContentID == "" || len(pairs) >= 2*inlineMax {
			continue
		}
		to := a.config.BasePath + "/api/v1/message/" + l.ID.String() + "/part/" + p.Path
		pairs = append(pairs, "cid:"+p.ContentID, to)
		if escaped := url.PathEscape(p.ContentID); escaped != p.ContentID {
			pairs = append(pairs, "cid:"+escaped, to)
		}
	}
	return strings.NewReplacer(pairs...).Replace(document)
}

// rewritten lets links open in a window of their own (outside), and takes <link>
// and frames out (still): no policy keeps a browser from connecting ahead of
// need, as rel=preconnect asks and Chromium does for a frame that the policy then
// refuses; nothing of them would be loaded anyway.
func rewritten(document string, outside bool) string {
	low := strings.ToLower(document)
	still := strings.Contains(low, "<link") || strings.Contains(low, "<iframe") || strings.Contains(low, "<frame")
	if !outside && !still {
		return document
	}
	// As the sandbox has it, <noscript> holds elements, not text.
	doc, err := html.ParseWithOptions(strings.NewReader(document), html.ParseOptionEnableScripting(false))
	if err != nil {
		return document
	}
	var links []*html.Node
	for n := range doc.Descendants() {
		switch {
		case n.Type != html.ElementNode:
		case still && (n.Data == "link" || n.Data == "iframe" || n.Data == "frame"): // an SVG's as well
			links = append(links, n)
		case outside && n.DataAtom == atom.A:
			setAttr(n, "target", "_blank")
			setAttr(n, "rel", "noreferrer noopener")
		}
	}
	for _, n := range links {
		n.Parent.RemoveChild(n)
	}
	var out bytes.Buffer
	if html.Render(&out, doc) != nil {
		return document
	}
	return out.String()
}

func setAttr(n *html.Node, key, value string) {
	for i := range n.Attr {
		if n.Attr[i].Key == key {
			n.Attr[i].Val = value
			return
		}
	}
	n.Attr = append(n.Attr, html.Attribute{Key: key, Val: value})
}
