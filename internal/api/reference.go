package api

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Reference writes docs/reference/api.md from the table of routes and the views.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	b.WriteString("| request | answer | what |\n|---|---|---|\n")
	for _, r := range New(Needs{}).routes() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.pattern, answers[r.pattern], r.help)
	}
	b.WriteString("\n")
	for _, v := range views {
		fmt.Fprintf(&b, "## %s\n\n| key | type |\n|---|---|\n", v.Name())
		for _, f := range jsonFields(v) {
			fmt.Fprintf(&b, "| `%s` | %s |\n", f.name, f.kind)
		}
		b.WriteString("\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// views are the documents, in the order of the page.
var views = []reflect.Type{
	reflect.TypeFor[Status](), reflect.TypeFor[Listener](), reflect.TypeFor[SpoolStat](), reflect.TypeFor[ReloadResult](),
	reflect.TypeFor[QueueSummary](), reflect.TypeFor[SiteView](), reflect.TypeFor[Rule](), reflect.TypeFor[RuleList](),
	reflect.TypeFor[MessageList](), reflect.TypeFor[Message](), reflect.TypeFor[Envelope](), reflect.TypeFor[Origin](), reflect.TypeFor[Recipient](),
	reflect.TypeFor[Action](), reflect.TypeFor[Filter](), reflect.TypeFor[ActionResult](),
	reflect.TypeFor[Trace](), reflect.TypeFor[Event](),
	reflect.TypeFor[AccountList](), reflect.TypeFor[Account](), reflect.TypeFor[NewAccount](), reflect.TypeFor[NewPassword](), reflect.TypeFor[NewToken](), reflect.TypeFor[Disabling](),
	reflect.TypeFor[Made](), reflect.TypeFor[Done](), reflect.TypeFor[Fault](),
}

// answers names each route's document, and the one it takes.
var answers = map[string]string{
	"GET /v1/status":                            "Status",
	"POST /v1/reload":                           "ReloadResult",
	"GET /v1/spool":                             "SpoolStat",
	"GET /v1/queue/summary":                     "QueueSummary",
	"GET /v1/queue/messages":                    "MessageList",
	"GET /v1/queue/messages/{id}":               "Message",
	"GET /v1/queue/messages/{id}/raw":           "message/rfc822",
	"POST /v1/queue/actions":                    "ActionResult; takes Action",
	"GET /v1/queue/rules":                       "RuleList",
	"DELETE /v1/queue/rules/{id}":               "Done",
	"GET /v1/messages/{id}/trace":               "Trace",
	"GET /v1/accounts":                          "AccountList",
	"POST /v1/accounts":                         "Made; takes NewAccount",
	"GET /v1/accounts/{name}":                   "Account",
	"DELETE /v1/accounts/{name}":                "Done",
	"POST /v1/accounts/{name}/password":         "Made; takes NewPassword",
	"POST /v1/accounts/{name}/disable":          "Done; takes Disabling",
	"POST /v1/accounts/{name}/enable":           "Done",
	"PUT /v1/accounts/{name}/senders":           "Done; takes a list of patterns",
	"POST /v1/accounts/{name}/tokens":           "Made; takes NewToken",
	"DELETE /v1/accounts/{name}/tokens/{token}": "Done",
}

type jsonField struct{ name, kind string }

func jsonFields(t reflect.Type) (out []jsonField) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case tag == "-":
		case f.Anonymous && tag == "":
			out = append(out, jsonFields(f.Type)...)
		default:
			out = append(out, jsonField{tag, kindOf(f.Type)})
		}
	}
	return out
}

func kindOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time, RFC 3339 UTC"
	case t.String() == "mail.ID":
		return "ID"
	case t.String() == "json.RawMessage":
		return "object"
	case t.Kind() == reflect.Pointer:
		return kindOf(t.Elem())
	case t.Kind() == reflect.Slice:
		return "list of " + kindOf(t.Elem())
	case t.Kind() == reflect.Map:
		return "object of " + kindOf(t.Elem())
	case t.Kind() == reflect.Struct:
		return t.Name()
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Float64 || t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		return "number"
	}
	return "text"
}

const referenceHead = `# The operator's API

After this page you can ask a running server anything the commands ask. It is HTTP with JSON over a unix socket in the data directory, open to the server's user and root:

` + "```sh\ncurl --unix-socket /var/lib/paquebot/paquebot.sock http://paquebot/v1/queue/summary\n```" + `

Every document has a ` + "`schema`" + `; keys are only ever added to it. An error is a document ` + "`paquebot.error/1`" + ` with ` + "`error.message`" + ` and perhaps ` + "`error.remedy`" + `; its status is 400 for a request that is not understood, 404 for what is not there, 409 for what stands in the way, 5xx for faults here.

`
