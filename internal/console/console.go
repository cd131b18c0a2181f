package console

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/mail"
	"paquebot/internal/message"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

type console struct {
	config Config
	needs  Needs
	pages  *template.Template
	static fs.FS
	parses chan struct{} // one for each message being parsed

	glances  glances
	pictures *pictures
}

// parsesMax is how many messages are parsed at once: each may take twice
// its size of memory.
const parsesMax = 4

// New makes the handler of the page and its interface.
func New(c Config, n Needs) http.Handler {
	static, err := fs.Sub(staticFiles, "static")
	if err != nil {
		panic(err) // the files are part of the program
	}
	c.BasePath = basePath(c.BasePath)
	k := &console{
		config: c, needs: n, static: static,
		pages:    template.Must(template.New("").Funcs(templateFuncs(c.BasePath, n)).ParseFS(templateFiles, "templates/*.html")),
		parses:   make(chan struct{}, parsesMax),
		pictures: newPictures(n.Dial),
	}
	k.glances.known = map[mail.ID]glance{}
	return k.guard(k.below(k.routes()))
}

// basePath makes "/mail" of "mail/", and "" of "/".
func basePath(path string) string {
	if path = strings.Trim(path, "/"); path == "" {
		return ""
	}
	return "/" + path
}

// below serves what lies under the base path.
func (c *console) below(next http.Handler) http.Handler {
	if c.config.BasePath == "" {
		return next
	}
	strip := http.StripPrefix(c.config.BasePath, next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == c.config.BasePath, r.URL.Path == "/":
			http.Redirect(w, r, c.at("/"), http.StatusFound)
		case !strings.HasPrefix(r.URL.Path, c.config.BasePath+"/"):
			http.NotFound(w, r)
		default:
			strip.ServeHTTP(w, r)
		}
	})
}

// at is the address of one of our pages.
func (c *console) at(path string) string { return c.config.BasePath + path }

func (c *console) routes() http.Handler {
	mux := http.NewServeMux()
	all := c.handlers()
	maps.Copy(all, c.needs.More)
	for pattern, handle := range all {
		mux.HandleFunc(pattern, handle)
	}
	return mux
}

// handlers is the whole surface. What is under /api/dev is told about in
// openapi.go as well.
func (c *console) handlers() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		// for people
		"GET /{$}":                  c.listPage,
		"POST /delete":              c.deleteManyPost,
		"POST /read":                c.readPost,
		"GET /rules":                c.rulesPage,
		"POST /rules":               c.rulesPost,
		"POST /rules/clear":         c.rulesClearPost,
		"POST /rules/{rule}/delete": c.ruleDeletePost,
		"POST /clear":               c.clearPost,
		"GET /m/{id}":               c.messagePage,
		"GET /m/{id}/html":          c.mailFrame,
		"GET /m/{id}/remote":        c.remotePicture,
		"GET /m/{id}/release":       c.releasePage,
		"POST /m/{id}/release":      c.releasePost,
		"GET /m/{id}/reply":         c.replyPage,
		"POST /m/{id}/reply":        c.replyPost,
		"POST /m/{id}/delete":       c.deletePost,
		"GET /sessions":             c.sessionsPage,
		"POST /sessions/clear":      c.clearSessionsPost,
		"GET /help":                 c.helpPage,
		"GET /keys":                 c.keysPage,
		"GET /static/{file}":        c.staticFile,

		// for programs
		"GET /ca.pem":                          c.caFile,
		"GET /livez":                           c.live,
		"GET /readyz":                          c.ready,
		"GET /api/dev/info":                    c.apiInfo,
		"GET /api/dev/messages":                c.apiList,
		"DELETE /api/dev/messages":             c.apiDeleteMany,
		"GET /api/dev/messages/{id}":           c.apiMessage,
		"DELETE /api/dev/messages/{id}":        c.apiDelete,
		"GET /api/dev/messages/{id}/raw":       c.apiRaw,
		"GET /api/dev/messages/{id}/text":      c.apiText,
		"GET /api/dev/messages/{id}/html":      c.mailFrame,
		"GET /api/dev/messages/{id}/dialogue":  c.apiDialogue,
		"GET /api/dev/messages/{id}/findings":  c.apiFindings,
		"GET /api/dev/messages/{id}/parts/{n}": c.apiPart,
		"GET /api/dev/sessions":                c.apiSessions,
		"DELETE /api/dev/sessions":             c.apiClearSessions,
		"GET /api/dev/mailboxes":               c.apiMailboxes,
		"GET /api/dev/events":                  c.apiEvents,
		"GET /api/dev/wait":                    c.apiWait,
		"POST /api/dev/assert":                 c.apiAssert,
		"GET /api/dev/openapi.json":            c.apiDescription,
		"GET /api/dev/rules":                   c.apiRules,
		"PUT /api/dev/rules":                   c.apiPutRules,
		"POST /api/dev/rules":                  c.apiPostRules,
		"DELETE /api/dev/rules":                c.apiClearRules,
		"GET /api/dev/rules/{id}":              c.apiRule,
		"DELETE /api/dev/rules/{id}":           c.apiDeleteRule,
		"GET /api/dev/addresses":               c.apiAddresses,
		"GET /view/latest":                     c.viewLatest,
	}
}

// staticFile serves an embedded file; the browser asks again each time and is
// told when it has it already.
func (c *console) staticFile(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeFileFS(w, r, c.static, r.PathValue("file"))
}

func (c *console) caFile(w http.ResponseWriter, _ *http.Request) {
	if len(c.needs.CA) == 0 {
		http.Error(w, "This instance has no CA of its own.", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	w.Header().Set("Content-Disposition", `attachment; filename="ca.pem"`)
	w.Write(c.needs.CA)
}

func (c *console) live(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }

func (c *console) ready(w http.ResponseWriter, _ *http.Request) {
	if c.needs.Ready != nil {
		if err := c.needs.Ready(); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	fmt.Fprintln(w, "ready")
}

// find returns the message a path names, by its ID or as "latest"; then
// ?mailbox= and ?q= narrow what latest is.
func (c *console) find(r *http.Request) (catch.Message, error) {
	name := r.PathValue("id")
	if name == "latest" {
		return c.needs.Store.Latest(query(r))
	}
	id, err := mail.ParseID(name)
	if err != nil {
		return catch.Message{}, catch.ErrNotFound
	}
	return c.needs.Store.Get(id)
}

func query(r *http.Request) catch.Query {
	v := r.URL.Query()
	return catch.ParseQuery(v.Get("mailbox"), v.Get("q"))
}

// parse reads a message for people, at most parsesMax at once.
func (c *console) parse(r *http.Request, id mail.ID) (*message.Part, error) {
	select {
	case c.parses <- struct{}{}:
		defer func() { <-c.parses }()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	body, err := c.needs.Store.Raw(id)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	root, _ := message.Parse(mail.Reader(body), message.Limits{}) // a read error is a note in the tree
	return root, nil
}

// fail answers an error of the store.
func fail(w http.ResponseWriter, err error) {
	if errors.Is(err, catch.ErrNotFound) {
		http.Error(w, "No such message: it may have been deleted.", http.StatusNotFound)
		return
	}
	http.Error(w, "Could not read it: "+err.Error(), http.StatusInternalServerError)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(true)
	e.SetIndent("", "  ")
	e.Encode(v)
}

// number reads a bounded number of a query string.
func number(text string, fallback, most int) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return fallback
	}
	return min(n, most)
}

func clip(s string, max int) string {
	if len(s) > max {
		return s[:max] + "…"
	}
	return s
}

// slow is how long one write to a browser may take.
const slow = 30 * time.Second
