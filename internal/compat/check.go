package compat

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// htmlCheck answers what mail programs make of a message's HTML, from data that
// came with the program: nothing is fetched.
func (a *API) htmlCheck(w http.ResponseWriter, r *http.Request) {
	l := a.letterOf(w, r, r.PathValue("id"))
	if l == nil {
		return
	}
	document := l.html()
	switch {
	case document == "":
		refuse(w, "message does not contain HTML")
		return
	case a.needs.HTMLCheck == nil:
		say(w, http.StatusNotImplemented, "this instance cannot check HTML")
		return
	}
	verdict, err := a.needs.HTMLCheck(document)
	if err != nil {
		refuse(w, err.Error())
		return
	}
	writeJSON(w, verdict)
}

func (a *API) spamCheck(w http.ResponseWriter, r *http.Request) {
	if _, err := a.find(r, r.PathValue("id")); err != nil {
		fail(w, err)
		return
	}
	refuse(w, "SpamAssassin is not enabled")
}

// LinkCheck is what the links of a message answered.
type LinkCheck struct {
	Errors int
	Links  []Link
}

// Link is one address and its HTTP status; 0 if there was no answer.
type Link struct {
	URL        string
	StatusCode int
	Status     string
}

// linksMax bounds the links that one check asks, for each is a connection.
const linksMax = 100

// linkCheck asks each link whether it works. It is the one thing here that
// leaves the machine, and only when asked for.
func (a *API) linkCheck(w http.ResponseWriter, r *http.Request) {
	l := a.letterOf(w, r, r.PathValue("id"))
	if l == nil {
		return
	}
	a.seen(l)
	follow := r.URL.Query().Get("follow")
	links := linksOf(l.text(), l.html())
	select {
	case a.checks <- struct{}{}:
		defer func() { <-a.checks }()
	case <-r.Context().Done():
		return
	}
	writeJSON(w, a.visit(r.Context(), links, follow == "true" || follow == "1"))
}

// linksOf returns what a message links to: links, images and style sheets of the
// HTML, addresses in the text; each once.
func linksOf(text, document string) []string {
	var out []string
	add := func(link string) {
		link = strings.TrimSpace(link)
		lower := strings.ToLower(link)
		web := strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://")
		if web && len(out) < linksMax && !slices.Contains(out, link) {
			out = append(out, link)
		}
	}
	z := html.NewTokenizer(strings.NewReader(document))
	for kind := z.Next(); kind != html.ErrorToken; kind = z.Next() {
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		name, more := z.TagName()
		want := map[string]string{"a": "href", "area": "href", "link": "href", "img": "src", "source": "src"}[string(name)]
		for more {
			var key, value []byte
			if key, value, more = z.TagAttr(); want != "" && string(key) == want {
				add(string(value))
			}
		}
	}
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`<>"()`, r) || r == 0xa0 }) {
		add(strings.TrimRight(word, ".,;:!?'"))
	}
	return out
}
