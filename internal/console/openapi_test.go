package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"paquebot/internal/catch"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/mishap"
	"paquebot/internal/smtp"
)

// The description and the routes are the same list: whoever adds a route tells
// of it, and nothing is told of that is not there.
func TestEveryRouteIsDescribed(t *testing.T) {
	var served, told []string
	for pattern := range (&console{}).handlers() {
		if strings.Contains(pattern, " /api/dev/") {
			served = append(served, pattern)
		}
	}
	ids := map[string]string{}
	for _, o := range operations() {
		told = append(told, o.pattern)
		method, path, _ := strings.Cut(o.pattern, " ")
		if other := ids[operationID(method, path)]; other != "" {
			t.Errorf("%s and %s have one operation id", o.pattern, other)
		}
		ids[operationID(method, path)] = o.pattern
		if o.summary == "" || len(o.answers) == 0 {
			t.Errorf("%s is not explained", o.pattern)
		}
	}
	sort.Strings(served)
	sort.Strings(told)
	if !reflect.DeepEqual(served, told) {
		t.Errorf("served:    %q\ndescribed: %q", served, told)
	}
}

// What is answered fits what is described: the answers of an empty and of a
// filled store are validated against the schemas.
func TestAnswersFitTheDescription(t *testing.T) {
	s, err := catch.Open(catch.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n := range 2 {
		e := &mail.Envelope{ID: mail.ID{9: byte(n + 1)}, Arrived: time.Now(), From: "me@example.com", Recipients: []mail.Recipient{{Address: "you@example.com"}},
			Origin: mail.Origin{Account: "app", TLS: &mail.TLS{Version: "TLS 1.3"}}}
		raw := "From: me@example.com\r\nSubject: hello\r\nContent-Type: text/html\r\n\r\n<a href=http://a.example/>1234</a>\r\n"
		if err := s.Catch(context.Background(), e, e.Recipients, mail.Bytes(raw)); err != nil {
			t.Fatal(err)
		}
	}
	s.Emit(event.CommandRefused{Origin: mail.Origin{Session: "S"}, Command: "AUTH", Reply: smtp.NotDone, Advice: "Use 1587."})
	m := mishap.New(mishap.Config{})
	if _, err := m.Add("app", mishap.Rule{ID: "latest", Stage: mishap.Rcpt, Do: mishap.Action{Reply: "452", Delay: mishap.Duration(time.Second)}}); err != nil {
		t.Fatal(err)
	}
	m.At(mishap.Facts{Stage: mishap.Rcpt, User: "app", Recipient: "a+defer-2@example.com"})
	m.At(mishap.Facts{Stage: mishap.Rcpt, Recipient: "a+defer-2@example.com"})
	c := &console{parses: make(chan struct{}, 1), config: Config{Version: "0"}, needs: Needs{Store: s, Mishap: m, Critique: Judged(s)}}
	doc := c.describe()
	types := doc.Components.Schemas
	for path, item := range doc.Paths {
		if item.Get == nil || item.Get.Responses["200"].Content["application/json"] == nil || strings.HasSuffix(path, "events") || strings.HasSuffix(path, "json") {
			continue
		}
		w := httptest.NewRecorder()
		target := strings.Replace(path, "{id}", "latest", 1)
		if strings.HasSuffix(path, "wait") {
			target += "?timeout=0s&explain=1&count=1&q=hello"
		}
		r := httptest.NewRequest("GET", target, nil)
		r.SetPathValue("id", "latest")
		c.handlers()["GET "+path](w, r)
		answer := item.Get.Responses[map[int]string{200: "200", 408: "408"}[w.Code]]
		if answer == nil {
			t.Errorf("%s answered %d, which is not described", path, w.Code)
			continue
		}
		var body any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(path, err)
		}
		result := &huma.ValidateResult{}
		huma.Validate(types, answer.Content["application/json"].Schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, body, result)
		for _, fault := range result.Errors {
			t.Errorf("%s: %v\n%s", path, fault, w.Body)
		}
	}
}

func TestDescriptionIsServed(t *testing.T) {
	s, err := catch.Open(catch.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := httptest.NewRecorder()
	New(Config{Version: "9.9"}, Needs{Store: s}).ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/api/dev/openapi.json", nil))
	var doc struct {
		OpenAPI string
		Info    struct{ Version string }
		Paths   map[string]map[string]any
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != http.StatusOK {
		t.Fatal(w.Code, err)
	}
	if doc.OpenAPI != "3.1.0" || doc.Info.Version != "9.9" || doc.Paths["/api/dev/assert"]["post"] == nil {
		t.Errorf("%.500s", w.Body)
	}
}
