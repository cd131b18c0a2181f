package console_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/console"
)

func (p *page) post(target, body string) (int, string) {
	p.t.Helper()
	r := httptest.NewRequest("POST", "http://localhost:8025"+target, strings.NewReader(body))
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, r)
	b, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(b)
}

func TestAssertions(t *testing.T) {
	p := open(t)
	p.put(1, plain)
	p.put(2, rich)
	for _, c := range []struct {
		name, body string
		status     int
		say        string // in the answer
	}{
		{"one came", `{"mailbox":"app","q":"subject:hello","within":"0s"}`, 200, `"matched": 1`},
		{"text and links", `{"q":"hello","text_contains":["123456"],"links_contain":["/reset?t="],"within":"0s"}`, 200, `"ok": true`},
		{"html", `{"html_contains":["verify</a>"],"within":"0s"}`, 200, id(2).String()},
		{"another mailbox", `{"mailbox":"other","within":"0s"}`, 409, `at least 1 matching expected, 0 came; 2 others arrived`},
		{"what it lacks is said", `{"q":"subject:hello","text_contains":["654321"],"within":"0s"}`, 409, `its text does not contain \"654321\"`},
		{"subject", `{"q":"subject:hello","subject_contains":["Hello"],"within":"0s"}`, 409, `its subject does not contain \"Hello\"`},
		{"none may come", `{"mailbox":"other","count":{"max":0},"within":"10ms"}`, 200, `"matched": 0`},
		{"none, but one came", `{"count":{"max":0},"within":"5m"}`, 409, `exactly 0 matching expected, 2 came`},
		{"just two", `{"count":{"min":2,"max":2},"within":"10ms"}`, 200, `"matched": 2`},
		{"after", `{"after":"` + id(2).String() + `","within":"0s"}`, 409, `0 others arrived`},
		{"since", `{"since":"2100-01-01T00:00:00Z","within":"0s"}`, 409, `0 others arrived`},
		{"a misspelt key", `{"mailbx":"app"}`, 400, `unknown field`},
		{"no time", `{"within":"soon"}`, 400, `write 2s or 500ms`},
		{"after what is no message", `{"after":"welcome"}`, 400, `the ID of a message`},
		{"more than are looked at", `{"count":{"min":1001}}`, 400, `no more than 1000`},
		{"a bound out of sight", `{"count":{"max":1000}}`, 400, `no more than 1000`},
		{"impossible", `{"count":{"min":3,"max":2}}`, 400, `do not fit`},
	} {
		status, body := p.post("/api/dev/assert", c.body)
		if status != c.status || !strings.Contains(body, c.say) {
			t.Errorf("%s: %d %s\nwant %d and %q", c.name, status, body, c.status, c.say)
		}
	}
}

// An assertion hears of what comes later, and a maximum is watched to the end.
func TestAssertionWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t)
		began := time.Now()
		answers := make(chan string, 2)
		for _, body := range []string{`{"q":"subject:hello","within":"1m"}`, `{"q":"subject:hello","count":{"max":1},"within":"1m"}`} {
			go func() {
				status, text := p.post("/api/dev/assert", body)
				answers <- http.StatusText(status) + text
			}()
		}
		synctest.Wait()
		time.Sleep(10 * time.Second)
		p.put(1, plain)
		if got := <-answers; !strings.HasPrefix(got, "OK") || time.Since(began) != 10*time.Second {
			t.Errorf("after %v: %s", time.Since(began), got)
		}
		if got := <-answers; !strings.HasPrefix(got, "OK") || time.Since(began) != time.Minute {
			t.Errorf("after %v: %s", time.Since(began), got)
		}
	})
}

func TestNoneWithin(t *testing.T) {
	p := open(t)
	if r := p.ask("GET", "/api/dev/wait?none=1&timeout=10ms"); r.StatusCode != http.StatusNoContent {
		t.Error(r.Status)
	}
	p.put(1, plain)
	r := p.ask("GET", "/api/dev/wait?none=1&timeout=5m")
	var got struct{ Messages []console.Detail }
	if err := json.NewDecoder(r.Body).Decode(&got); err != nil || r.StatusCode != http.StatusConflict || len(got.Messages) != 1 {
		t.Errorf("%s %v %+v", r.Status, err, got)
	}
	since := time.Now().Add(time.Second).UTC().Format(time.RFC3339Nano)
	if r := p.ask("GET", "/api/dev/wait?none=1&timeout=10ms&since="+since); r.StatusCode != http.StatusNoContent {
		t.Error(r.Status)
	}
	if r := p.ask("GET", "/api/dev/wait?since=yesterday"); r.StatusCode != http.StatusBadRequest {
		t.Error(r.Status)
	}
}

func TestViewLatest(t *testing.T) {
	p := open(t)
	if r := p.ask("GET", "/view/latest"); r.StatusCode != http.StatusNotFound {
		t.Error(r.Status)
	}
	p.put(1, plain)
	p.put(2, rich, "b@example.com")
	if r := p.ask("GET", "/view/latest?q=subject:hello"); r.StatusCode != http.StatusFound || r.Header.Get("Location") != "/m/"+id(1).String() {
		t.Error(r.Status, r.Header)
	}
}
