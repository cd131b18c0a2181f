package compat

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/mail"
)

// API answers for Mailpit and for MailHog.
type API struct {
	config  Config
	needs   Needs
	began   time.Time
	digests digests
	parses  chan struct{} // one for each message being parsed
	checks  chan struct{} // one for each link-check
}

const (
	parsesMax = 4           // messages parsed at once; each may take twice its size of memory
	checksMax = 2           // link-checks at once
	listMax   = 10_000      // messages of one answer; no more are kept by default
	bodyMax   = 5 << 20     // octets of a request, but for /api/v1/send
	sizeMax   = 50 << 20    // octets of a message, by default
	textMax   = 10 << 20    // octets of text or HTML in one answer
	slowest   = time.Minute // what one write to a reader may take
)

// New makes the two interfaces.
func New(c Config, n Needs) *API {
	if c.MessageSize <= 0 {
		c.MessageSize = sizeMax
	}
	return &API{
		config: c, needs: n, began: time.Now(),
		digests: digests{kept: map[mail.ID]*digest{}},
		parses:  make(chan struct{}, parsesMax), checks: make(chan struct{}, checksMax),
	}
}

// Handlers are all routes by their pattern, as net/http.ServeMux reads it. Who
// mounts them sees to Host names and to pages of other sites, takes BasePath
// off, and leaves request bodies as large as BodyMax says.
func (a *API) Handlers() map[string]http.HandlerFunc {
	out := map[string]http.HandlerFunc{
		// Browsers that ask first (CORS) are answered, and told of no permission.
		"OPTIONS /api/v1/": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/plain") },
		"OPTIONS /api/v2/": func(w http.ResponseWriter, _ *http.Request) {},
	}
	for _, r := range a.routes() {
		out[r.pattern] = r.handle
	}
	return out
}

// BodyMax is how many octets the body of a request may have; 0 if it is none of
// ours.
func (a *API) BodyMax(r *http.Request) int64 {
	switch path := strings.TrimPrefix(r.URL.Path, a.config.BasePath); {
	case path == "/api/v1/send":
		return a.config.MessageSize/3*4 + bodyMax // base64, and the rest
	case strings.HasPrefix(path, "/api/v1/"), strings.HasPrefix(path, "/api/v2/"):
		return bodyMax
	}
	return 0
}

// route is one row of what is answered; swagger.go tells of it.
type route struct {
	pattern string
	handle  http.HandlerFunc
	of      string // whose it is
	summary string
	query   string // names of parameters, apart by spaces
	request any    // of the body; nil: none
	answer  any    // a string is a media type
}

const (
	mailpit = "Mailpit"
	mailhog = "MailHog"
)

func (a *API) routes() []route {
	list := route{"GET /api/v1/messages", a.list, mailpit, "List messages, newest first", "start limit before mailbox", nil, List{}}
	if a.config.MailHog {
		list = route{"GET /api/v1/messages", a.hogList1, mailhog, "List at most 1000 messages, newest first", "mailbox", nil, []HogMessage{}}
	}
	return []route{
		list,
		{"PUT /api/v1/messages", a.setRead, mailpit, "Mark messages as read or unread: those named, those that match, or all", "tz mailbox", ReadStatus{}, "text/plain"},
		{"DELETE /api/v1/messages", a.deleteMany, mailpit, "Delete the messages named, or all of them", "mailbox", IDs{}, "text/plain"},
		{"GET /api/v1/search", a.search, mailpit, "List the messages that match", "query start limit before tz mailbox", nil, List{}},
		{"DELETE /api/v1/search", a.deleteSearch, mailpit, "Delete the messages that match", "query tz mailbox", nil, "text/plain"},
		{"POST /api/v1/send", a.send, mailpit, "Make a message and catch it", "", SendRequest{}, Sent{}},
		{"GET /api/v1/message/{id}", a.message, mailpit, "Read a message and mark it as read; the id may be latest, narrowed by query", "query tz mailbox", nil, Message{}},
		{"GET /api/v1/message/{id}/headers", a.headers, mailpit, "The header of a message", "query tz mailbox", nil, map[string][]string{}},
		{"GET /api/v1/message/{id}/raw", a.raw, mailpit, "A message as it came", "dl query tz mailbox", nil, "text/plain"},
		{"GET /api/v1/message/{id}/part/{partID}", a.part, mailpit, "An attachment", "query tz mailbox", nil, "application/octet-stream"},
		{"GET /api/v1/message/{id}/part/{partID}/thumb", a.thumb, mailpit, "A small picture of an attachment, 180 by 120", "query tz mailbox", nil, "image/jpeg"},
		{"GET /api/v1/message/{id}/html-check", a.htmlCheck, mailpit, "What mail programs make of the HTML", "query tz mailbox", nil, "application/json"},
		{"GET /api/v1/message/{id}/link-check", a.linkCheck, mailpit, "Ask the links of a message whether they work", "follow query tz mailbox", nil, LinkCheck{}},
		{"GET /api/v1/message/{id}/sa-check", a.spamCheck, mailpit, "SpamAssassin, which is not part of this", "query tz mailbox", nil, "text/plain"},
		{"POST /api/v1/message/{id}/release", a.release, mailpit, "Send a message on through a configured route", "", Recipients{}, "text/plain"},
		{"GET /api/v1/tags", a.tags, mailpit, "The tags in use", "", nil, []string{}},
		{"PUT /api/v1/tags", a.setTags, mailpit, "Give messages these tags and no others", "", TagRequest{}, "text/plain"},
		{"PUT /api/v1/tags/{tag}", a.renameTag, mailpit, "Rename a tag", "", TagName{}, "text/plain"},
		{"DELETE /api/v1/tags/{tag}", a.deleteTag, mailpit, "Take a tag off all messages", "", nil, "text/plain"},
		{"GET /api/v1/info", a.info, mailpit, "This instance", "", nil, AppInfo{}},
		{"GET /api/v1/webui", a.webui, mailpit, "What this instance can do", "", nil, WebUI{}},
		{"GET /api/v1/chaos", a.getChaos, mailpit, "Failures on purpose", "", nil, Chaos{}},
		{"PUT /api/v1/chaos", a.setChaos, mailpit, "Set failures on purpose", "", Chaos{}, Chaos{}},
		{"GET /api/v1/swagger.json", a.describe, mailpit, "This description", "", nil, "application/json"},
		{"GET /api/events", a.socket, mailpit, "WebSocket: new, update, delete, prune, truncate, stats, error", "", nil, "application/json"},
		{"GET /view/latest", a.viewLatest, mailpit, "Go to the newest message, narrowed by query", "query tz mailbox q", nil, "text/html"},
		{"GET /view/{name}", a.view, mailpit, "ID.html and ID.txt: the bodies of a message, for browser tests", "embed query tz mailbox", nil, "text/html"},

		{"GET /api/v2/messages", a.hogList, mailhog, "List messages, newest first", "start limit mailbox", nil, HogPage{}},
		{"GET /api/v2/search", a.hogSearch, mailhog, "List the messages that match; kind is from, to or containing", "kind query start limit mailbox", nil, HogPage{}},
		{"GET /api/v2/jim", a.getJim, mailhog, "Failures on purpose", "", nil, Jim{}},
		{"POST /api/v2/jim", a.wakeJim, mailhog, "Begin to fail on purpose", "", Jim{}, ""},
		{"PUT /api/v2/jim", a.changeJim, mailhog, "Change the failures", "", Jim{}, ""},
		{"DELETE /api/v2/jim", a.sleepJim, mailhog, "End the failures", "", nil, ""},
		{"GET /api/v2/outgoing-smtp", a.hogRelays, mailhog, "The configured routes, without passwords", "", nil, map[string]HogRelay{}},
		{"GET /api/v2/websocket", a.hogSocket, mailhog, "WebSocket: each message as it comes", "", nil, HogMessage{}},
		{"GET /api/v1/messages/{id}", a.hogMessage, mailhog, "Read a message", "", nil, HogMessage{}},
		{"DELETE /api/v1/messages/{id}", a.hogDelete, mailhog, "Delete a message", "", nil, ""},
		{"GET /api/v1/messages/{id}/download", a.hogDownload, mailhog, "A message as it came", "", nil, "message/rfc822"},
		{"GET /api/v1/messages/{id}/mime/part/{n}/download", a.hogPart, mailhog, "A MIME part, counted from 0; base64 is decoded", "", nil, "application/octet-stream"},
		{"POST /api/v1/messages/{id}/release", a.hogRelease, mailhog, "Send a message on through a configured route", "", HogRelay{}, ""},
		{"GET /api/v1/events", a.hogEvents, mailhog, "Server-sent events: each message as it comes", "", nil, "text/event-stream"},
	}
}

// ---- how answers are written ----

// refuse answers 400 as Mailpit does: the sentence, as text.
func refuse(w http.ResponseWriter, sentence string) { say(w, http.StatusBadRequest, sentence) }

func notFound(w http.ResponseWriter) { say(w, http.StatusNotFound, "404 page not found") }

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, text)
}

func ok(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain")
	io.WriteString(w, "ok")
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// fail answers an error of the store.
func fail(w http.ResponseWriter, err error) {
	if errors.Is(err, catch.ErrNotFound) {
		notFound(w)
		return
	}
	refuse(w, err.Error())
}

// readJSON reads a body. An empty one leaves v as it is and is no error when
// optional.
func readJSON(r *http.Request, v any, optional bool) error {
	err := json.NewDecoder(r.Body).Decode(v)
	if optional && err == io.EOF {
		return nil
	}
	return err
}

// number reads a number of a query string that is at least least.
func number(r *http.Request, name string, fallback, least int) int {
	n, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil || n < least {
		return fallback
	}
	return n
}

// parseID reads an ID as either interface writes it.
func parseID(text string) (mail.ID, error) {
	text, _, _ = strings.Cut(text, "@") // MailHog's have its host name
	id, err := mail.ParseID(text)
	if err != nil {
		return id, catch.ErrNotFound
	}
	return id, nil
}

// find returns the message a path names, by its ID or as "latest"; then
// ?query= and ?mailbox= narrow what latest is.
func (a *API) find(r *http.Request, name string) (catch.Message, error) {
	if name != "latest" {
		id, err := parseID(name)
		if err != nil {
			return catch.Message{}, err
		}
		return a.needs.Store.Get(id)
	}
	found := a.matching(r, questionOf(r), 0, 1)
	if len(found.page) == 0 {
		return catch.Message{}, catch.ErrNotFound
	}
	return a.needs.Store.Get(found.page[0].ID)
}
