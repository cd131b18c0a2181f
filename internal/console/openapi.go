package console

import (
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"paquebot/internal/mishap"
)

// operation tells of one route under /api/dev.
type operation struct {
	pattern string // as in handlers
	summary string
	query   []parameter
	request any // of the body; nil: none
	answers []answer
}

type parameter struct {
	name string
	doc  string
	kind string // "string", "integer"
}

type answer struct {
	status int
	doc    string
	body   any // nil: none; a string: a media type that is not JSON
}

var (
	inMailbox  = parameter{"mailbox", "Mailbox, which is the SMTP user name.", "string"}
	search     = parameter{"q", "Search, in the language of the page: words, \"phrases\", -not, from: to: subject: rcpt: …", "string"}
	afterOne   = parameter{"after", "Only what was caught after this message: its ID or number.", "string"}
	sinceThen  = parameter{"since", "Only what was caught since this time (RFC 3339).", "string"}
	noMessage  = answer{http.StatusNotFound, "No such message.", "text/plain"}
	notRead    = answer{http.StatusBadRequest, "The request was not understood; the text says why.", "text/plain"}
	ofMailbox  = parameter{"mailbox", "Only rules of this mailbox (match.user); those sent become its own.", "string"}
	badRule    = answer{http.StatusBadRequest, "No rule was taken: which key of which one, and why.", RuleFault{}}
	manyRules  = answer{http.StatusConflict, "There would be too many rules.", RuleFault{}}
	noMishap   = answer{http.StatusNotFound, "Nothing fails on purpose here: this is no paquebot dev.", "text/plain"}
	wholeMails = answer{http.StatusOK, "The messages in full.", Found{}}
)

// operations are told in the order of the page. A test holds them against
// handlers.
func operations() []operation {
	return []operation{
		{"GET /api/dev/messages", "List messages, newest first",
			[]parameter{inMailbox, search, afterOne, sinceThen, {"before", "The next of an earlier answer.", "integer"}, {"limit", "At most so many, 50 if absent, never more than 500.", "integer"}},
			nil, []answer{{http.StatusOK, "A stretch of the list.", List{}}, notRead}},
		{"DELETE /api/dev/messages", "Delete messages: all, those of a mailbox, or those that match",
			[]parameter{inMailbox, search}, nil, []answer{{http.StatusOK, "How many went.", Deleted{}}}},
		{"GET /api/dev/messages/{id}", "Read a message in full; id may be latest, narrowed by mailbox and q",
			[]parameter{inMailbox, search}, nil, []answer{{http.StatusOK, "The message.", Detail{}}, noMessage}},
		{"DELETE /api/dev/messages/{id}", "Delete a message", nil, nil, []answer{{http.StatusOK, "How many went.", Deleted{}}, noMessage}},
		{"GET /api/dev/messages/{id}/raw", "The message as it came", []parameter{{"dl", "1: as a download.", "string"}}, nil,
			[]answer{{http.StatusOK, "RFC 5322 octets.", "text/plain"}, noMessage}},
		{"GET /api/dev/messages/{id}/text", "The text of a message, made of its HTML where it has none", nil, nil,
			[]answer{{http.StatusOK, "The text.", "text/plain"}, noMessage}},
		{"GET /api/dev/messages/{id}/html", "The HTML of a message, made harmless", nil, nil, []answer{{http.StatusOK, "The page.", "text/html"}, noMessage}},
		{"GET /api/dev/messages/{id}/dialogue", "The SMTP dialogue that brought a message", nil, nil, []answer{{http.StatusOK, "The lines.", Dialogue{}}, noMessage}},
		{"GET /api/dev/messages/{id}/findings", "What production would have said of a message", nil, nil, []answer{{http.StatusOK, "The findings.", Findings{}}, noMessage}},
		{"GET /api/dev/messages/{id}/parts/{n}", "One part of a message, decoded", []parameter{{"dl", "1: as a download.", "string"}}, nil,
			[]answer{{http.StatusOK, "Its octets.", "application/octet-stream"}, noMessage}},
		{"GET /api/dev/wait", "Wait until messages match, or prove that none does",
			[]parameter{inMailbox, search, afterOne, sinceThen,
				{"timeout", "How long, as 10s or 500ms; 10s if absent, never more than 5m.", "string"},
				{"count", "How many must match, up to 100; 1 if absent.", "integer"},
				{"explain", "1: when the time is over answer 408 with what did arrive.", "string"},
				{"none", "1: the other way round, 204 when nothing matched in time.", "string"}},
			nil, []answer{wholeMails, {http.StatusNoContent, "The time is over and not enough matched; with none=1, that is what was asked.", nil},
				{http.StatusRequestTimeout, "With explain=1: what did arrive.", Missed{}},
				{http.StatusConflict, "With none=1: these came.", Found{}}, notRead}},
		{"POST /api/dev/assert", "State what is expected and have it judged", nil, Assertion{},
			[]answer{{http.StatusOK, "It holds.", Judgement{}}, {http.StatusConflict, "It does not, and why.", Judgement{}}, notRead}},
		{"GET /api/dev/mailboxes", "List the mailboxes that hold mail", nil, nil, []answer{{http.StatusOK, "The mailboxes.", Mailboxes{}}}},
		{"GET /api/dev/sessions", "List the sessions that failed, with what to change", nil, nil, []answer{{http.StatusOK, "The sessions.", Sessions{}}}},
		{"DELETE /api/dev/sessions", "Forget the sessions that failed", nil, nil, []answer{{http.StatusNoContent, "They are gone.", nil}}},
		{"GET /api/dev/events", "Server-sent events: hello, caught, deleted, failed",
			[]parameter{inMailbox, search, {"last_event_id", "Resume after this event, as the header Last-Event-ID does.", "string"}},
			nil, []answer{{http.StatusOK, "The stream.", "text/event-stream"}}},
		{"GET /api/dev/rules", "List what goes wrong on purpose, with what became of it", []parameter{ofMailbox}, nil,
			[]answer{{http.StatusOK, "The rules, and how far addresses that count have come.", Rules{}}, noMishap}},
		{"PUT /api/dev/rules", "Replace all rules, or those of a mailbox; all of these are taken or none", []parameter{ofMailbox}, RuleList{},
			[]answer{{http.StatusOK, "The rules in force.", Rules{}}, badRule, manyRules, noMishap}},
		{"POST /api/dev/rules", "Add a rule or several; one whose id is there takes its place", []parameter{ofMailbox}, mishap.Rule{},
			[]answer{{http.StatusCreated, "They are in force.", Rules{}}, badRule, manyRules, noMishap}},
		{"DELETE /api/dev/rules", "Remove all rules, or those of a mailbox, and forget what was deferred", []parameter{ofMailbox}, nil,
			[]answer{{http.StatusOK, "How many went.", Deleted{}}, noMishap}},
		{"GET /api/dev/rules/{id}", "Read a rule", nil, nil, []answer{{http.StatusOK, "The rule.", mishap.View{}}, {http.StatusNotFound, "No such rule.", "text/plain"}}},
		{"DELETE /api/dev/rules/{id}", "Remove a rule", nil, nil, []answer{{http.StatusOK, "It is gone.", Deleted{}}, {http.StatusNotFound, "No such rule.", "text/plain"}}},
		{"GET /api/dev/addresses", "What addresses mean, without any rule", nil, nil, []answer{{http.StatusOK, "The table.", Addresses{}}}},
		{"GET /api/dev/info", "This instance: version, ports, how much it keeps", nil, nil, []answer{{http.StatusOK, "What it is.", Info{}}}},
		{"GET /api/dev/openapi.json", "This description", nil, nil, []answer{{http.StatusOK, "OpenAPI 3.1.", "application/json"}}},
	}
}

// apiDescription serves the OpenAPI description of everything under /api/dev,
// made of operations and of the types that are sent.
func (c *console) apiDescription(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, c.describe())
}

func (c *console) describe() *huma.OpenAPI {
	types := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	doc := &huma.OpenAPI{
		OpenAPI:    "3.1.0",
		Info:       &huma.Info{Title: "Paquebot dev", Version: c.config.Version, Description: "Read, wait for, judge and delete caught mail."},
		Paths:      map[string]*huma.PathItem{},
		Components: &huma.Components{Schemas: types},
	}
	for _, o := range operations() {
		method, path, _ := strings.Cut(o.pattern, " ")
		if doc.Paths[path] == nil {
			doc.Paths[path] = &huma.PathItem{}
		}
		told := o.tell(types, method, path)
		switch item := doc.Paths[path]; method {
		case "GET":
			item.Get = told
		case "POST":
			item.Post = told
		case "PUT":
			item.Put = told
		case "DELETE":
			item.Delete = told
		}
	}
	return doc
}

func (o operation) tell(types huma.Registry, method, path string) *huma.Operation {
	told := &huma.Operation{Summary: o.summary, OperationID: operationID(method, path), Responses: map[string]*huma.Response{}}
	for _, name := range pathNames(path) {
		told.Parameters = append(told.Parameters, &huma.Param{Name: name, In: "path", Required: true, Schema: &huma.Schema{Type: "string"}})
	}
	for _, p := range o.query {
		told.Parameters = append(told.Parameters, &huma.Param{Name: p.name, In: "query", Description: p.doc, Schema: &huma.Schema{Type: p.kind}})
	}
	if o.request != nil {
		told.RequestBody = &huma.RequestBody{Required: true, Content: content(types, o.request)}
	}
	for _, a := range o.answers {
		told.Responses[strconv.Itoa(a.status)] = &huma.Response{Description: a.doc, Content: content(types, a.body)}
	}
	return told
}

func content(types huma.Registry, body any) map[string]*huma.MediaType {
	switch body := body.(type) {
	case nil:
		return nil
	case string:
		return map[string]*huma.MediaType{body: {}}
	}
	return map[string]*huma.MediaType{"application/json": {Schema: types.Schema(reflect.TypeOf(body), true, "")}}
}

// pathNames returns the names in braces.
func pathNames(path string) []string {
	var names []string
	for part := range strings.SplitSeq(path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			names = append(names, strings.TrimSuffix(name, "}"))
		}
	}
	return names
}

// operationID makes "get-messages-id-raw" of "GET /api/dev/messages/{id}/raw":
// the name generated clients use.
func operationID(method, path string) string {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "/api/dev/"), ".json")
	return strings.ToLower(method) + "-" + strings.NewReplacer("/", "-", "{", "", "}", "").Replace(path)
}
