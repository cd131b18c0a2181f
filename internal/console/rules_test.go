package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"paquebot/internal/catch"
	"paquebot/internal/mishap"
)

// ruled is a console with a room of mishaps; ask returns status and body.
func ruled(t *testing.T) (m *mishap.Mishap, ask func(method, path, body string) (int, string)) {
	t.Helper()
	s, err := catch.Open(catch.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	m = mishap.New(mishap.Config{})
	h := New(Config{}, Needs{Store: s, Mishap: m})
	return m, func(method, path, body string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "http://localhost"+path, strings.NewReader(body)))
		return w.Code, w.Body.String()
	}
}

func TestRulesOverHTTP(t *testing.T) {
	m, ask := ruled(t)
	rule := `{"id":"slow","stage":"rcpt","match":{"recipient":"*@slow.example"},"do":{"delay":"5s"},"times":2}`
	code, body := ask("POST", "/api/dev/rules?mailbox=inbox-7", rule)
	var got Rules
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != http.StatusCreated || len(got.Rules) != 1 ||
		got.Rules[0].Match.User != "inbox-7" || got.Rules[0].Times != 2 {
		t.Fatalf("%d %s", code, body)
	}
	if code, body = ask("POST", "/api/dev/rules", `[{"stage":"mail","do":{"reply":"451"}},{"stage":"quit","do":{"drop":true}}]`); code != http.StatusCreated {
		t.Fatalf("%d %s", code, body)
	}
	if code, body = ask("GET", "/api/dev/rules?mailbox=inbox-7", ""); code != 200 || strings.Count(body, `"stage"`) != 1 {
		t.Errorf("%d %s", code, body)
	}
	// what is read can be sent back as it is
	_, all := ask("GET", "/api/dev/rules", "")
	if code, body = ask("PUT", "/api/dev/rules", all); code != 200 || len(m.Rules()) != 3 {
		t.Fatalf("%d %s", code, body)
	}
	if code, body = ask("GET", "/api/dev/rules/slow", ""); code != 200 || !strings.Contains(body, `"5s"`) {
		t.Errorf("%d %s", code, body)
	}
	for range 2 {
		code, _ = ask("DELETE", "/api/dev/rules/slow", "")
	}
	if code != http.StatusNotFound || len(m.Rules()) != 2 {
		t.Errorf("%d, %d rules", code, len(m.Rules()))
	}
	if code, body = ask("DELETE", "/api/dev/rules", ""); code != 200 || !strings.Contains(body, `"deleted": 2`) || len(m.Rules()) != 0 {
		t.Errorf("%d %s", code, body)
	}
}

// A rule that cannot be read or cannot be is refused by name and key, and none
// of those sent with it is in force.
func TestWrongRulesOverHTTP(t *testing.T) {
	m, ask := ruled(t)
	good := `{"stage":"mail","do":{"drop":true}}`
	for _, c := range []struct{ body, key, says string }{
		{`[` + good + `,{"stage":"mail","du":{"drop":true}}]`, "du", "no rule has this key"},
		{`[` + good + `,{"stage":"mail","do":{"replies":"451"}}]`, "replies", "its do has reply"},
		{`[` + good + `,{"stage":"mail","do":{"drop":"yes"}}]`, "do.drop", "cannot be a string"},
		{`[` + good + `,{"stage":"mail","do":{"reply":"250"}}]`, "do.reply", "400 to 599"},
		{`[` + good + `,{"stage":"mail","do":{"delay":"5"}}]`, "", "write"},
		{`{"rules":[` + good + `,{"stage":"nowhere","do":{"drop":true}}]}`, "stage", "one of connect, tls"},
	} {
		for _, method := range []string{"POST", "PUT"} {
			code, body := ask(method, "/api/dev/rules", c.body)
			var fault RuleFault
			if err := json.Unmarshal([]byte(body), &fault); err != nil || code != http.StatusBadRequest || fault.Rule != 2 || fault.Key != c.key || !strings.Contains(fault.Error, c.says) {
				t.Errorf("%s: %d %s", c.body, code, body)
			}
		}
	}
	for _, body := range []string{"", "{", "7", "[[", `{"rules":7}`, good + good, `{"rules":[],"rule":1}`} {
		if code, said := ask("POST", "/api/dev/rules", body); code != http.StatusBadRequest || strings.Contains(said, "rule 0") || strings.Contains(said, ": :") {
			t.Errorf("%q: %d %s", body, code, said)
		}
	}
	if len(m.Rules()) != 0 {
		t.Errorf("in force: %+v", m.Rules())
	}
}

func TestRulesOverHTTPAreBounded(t *testing.T) {
	_, ask := ruled(t)
	list := make([]string, mishap.RulesMax+1)
	for i := range list {
		list[i] = fmt.Sprintf(`{"stage":"mail","note":"number %d","do":{"drop":true}}`, i)
	}
	if code, body := ask("PUT", "/api/dev/rules", "["+strings.Join(list[1:], ",")+"]"); code != 200 {
		t.Errorf("%d %.200s", code, body)
	}
	if code, body := ask("PUT", "/api/dev/rules", "["+strings.Join(list, ",")+"]"); code != http.StatusConflict {
		t.Errorf("%d %.200s", code, body)
	}
	if code, body := ask("PUT", "/api/dev/rules", strings.Repeat(" ", rulesBody+1)); code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %.200s", code, body)
	}
}

// Below a path rules may take as much as without one.
func TestRulesBelowAPath(t *testing.T) {
	h := New(Config{BasePath: "/mail"}, Needs{Mishap: mishap.New(mishap.Config{})})
	body := "[" + strings.Repeat(" ", requestMax) + "]"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("PUT", "http://localhost/mail/api/dev/rules", strings.NewReader(body)))
	if w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Where nothing fails on purpose, no rule can be set.
func TestNoRulesInAServer(t *testing.T) {
	s, err := catch.Open(catch.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h := New(Config{}, Needs{Store: s})
	for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "http://localhost/api/dev/rules", strings.NewReader(`[]`)))
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
}
