package compat

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"paquebot/internal/catch"
	"paquebot/internal/mail"
)

// List is Mailpit's answer to a list and to a search.
type List struct {
	Total          int       `json:"total"`           // of the whole store
	Unread         int       `json:"unread"`          // of the whole store
	Count          int       `json:"count"`           // in this answer
	MessagesCount  int       `json:"messages_count"`  // that match
	MessagesUnread int       `json:"messages_unread"` // that match
	Start          int       `json:"start"`
	Tags           []string  `json:"tags"`
	Messages       []Summary `json:"messages"`
}

// ReadStatus marks messages: those named, those that match, or all.
type ReadStatus struct {
	Read   bool
	IDs    []string
	Search string
}

// IDs names messages.
type IDs struct{ IDs []string }

func (a *API) list(w http.ResponseWriter, r *http.Request) {
	limit := number(r, "limit", 50, 0)
	if limit == 0 { // Mailpit's way to ask for all
		limit = listMax
	}
	q := questionOf(r)
	q.terms = nil // only a search has them
	a.answer(w, r, q, limit)
}

func (a *API) search(w http.ResponseWriter, r *http.Request) {
	if strings.TrimSpace(r.URL.Query().Get("query")) == "" {
		refuse(w, "Error: no search query")
		return
	}
	a.answer(w, r, questionOf(r), number(r, "limit", 50, 0))
}

func (a *API) answer(w http.ResponseWriter, r *http.Request, q question, limit int) {
	start := number(r, "start", 0, 0)
	f := a.matching(r, q, start, min(limit, listMax))
	out := List{
		Total: a.needs.Store.Stat().Messages, Unread: a.needs.Store.Unread(), Start: start, Tags: a.tagNames(),
		Count: len(f.page), MessagesCount: f.total, MessagesUnread: f.unread, Messages: []Summary{},
	}
	for i := range f.page {
		out.Messages = append(out.Messages, a.summary(r.Context(), &f.page[i]))
	}
	writeJSON(w, out)
}

func (a *API) tagNames() []string {
	names := []string{}
	for t := range a.needs.Store.Tags() {
		names = append(names, t)
	}
	slices.Sort(names)
	return names
}

func (a *API) setRead(w http.ResponseWriter, r *http.Request) {
	var s ReadStatus
	if err := readJSON(r, &s, false); err != nil {
		refuse(w, err.Error())
		return
	}
	if len(s.IDs) > 0 && s.Search != "" {
		refuse(w, "You may specify either IDs or a search query, not both")
		return
	}
	ids := known(s.IDs)
	narrowed := r.URL.Query().Get("mailbox") != ""
	if s.Search != "" || len(s.IDs) == 0 && narrowed {
		q := ask(s.Search, r.URL.Query().Get("tz"))
		q.mailbox = r.URL.Query().Get("mailbox")
		ids = idsOf(a.matching(r, q, 0, -1).all)
	}
	if len(ids) > 0 || len(s.IDs) == 0 && s.Search == "" && !narrowed {
		if _, err := a.needs.Store.MarkRead(s.Read, ids...); err != nil {
			refuse(w, err.Error())
			return
		}
	}
	ok(w)
}

// known reads IDs and leaves out what is none.
func known(texts []string) []mail.ID {
	var ids []mail.ID
	for _, t := range texts {
		if id, err := parseID(t); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func idsOf(list []catch.Message) []mail.ID {
	ids := make([]mail.ID, len(list))
	for i, m := range list {
		ids[i] = m.ID
	}
	return ids
}

// deleteMany deletes the messages named. A body that names none, or none at
// all, means every message, as both Mailpit and MailHog have it.
func (a *API) deleteMany(w http.ResponseWriter, r *http.Request) {
	var named IDs
	_ = json.NewDecoder(r.Body).Decode(&named)
	var err error
	switch box := r.URL.Query().Get("mailbox"); {
	case len(named.IDs) > 0:
		_, err = a.needs.Store.Delete(known(named.IDs)...)
	case box != "":
		_, err = a.needs.Store.DeleteWhere(catch.Query{Mailbox: box})
	default:
		_, err = a.needs.Store.Clear()
	}
	switch {
	case err != nil:
		refuse(w, err.Error())
	case a.config.MailHog || r.Header.Get("Accept") == "" && r.ContentLength == 0:
		// MailHog's clients expect JSON or nothing; the commonest says nothing of
		// what it accepts, which those of Mailpit do.
		w.Header().Set("Content-Type", "text/json")
	default:
		ok(w)
	}
}

func (a *API) deleteSearch(w http.ResponseWriter, r *http.Request) {
	if strings.TrimSpace(r.URL.Query().Get("query")) == "" {
		refuse(w, "Error: no search query")
		return
	}
	if ids := idsOf(a.matching(r, questionOf(r), 0, -1).all); len(ids) > 0 {
		if _, err := a.needs.Store.Delete(ids...); err != nil {
			refuse(w, err.Error())
			return
		}
	}
	ok(w)
}
