package api

import (
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// What a filter writes into a query, the server reads as the same filter.
func FuzzListQuery(f *testing.F) {
	f.Add("site=yahoo&limit=10&after=069NM4106020A1G7&state=held&older_than_seconds=1.5")
	f.Add("limit=-1&site=%00")
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		filter, after, limit, err := parseList(q)
		if err != nil {
			return
		}
		id := ""
		if !after.IsZero() {
			id = after.String()
		}
		again, after2, limit2, err := parseList(filter.Query(id, limit))
		if err != nil || !reflect.DeepEqual(filter, again) || after != after2 || limit != limit2 {
			t.Errorf("%q: %+v, then %+v (%v)", query, filter, again, err)
		}
	})
}

// No body, whatever it holds, does more than a refusal or an answer.
func FuzzActionBody(f *testing.F) {
	f.Add(`{"action":"hold","filter":{"site":"a.example"},"seconds":60}`)
	f.Add(`{"action":"delete","filter":{"all":true},"seconds":1e308}`)
	f.Add("[]")
	q := &queueFake{}
	h := New(Needs{Queue: q}).Handler()
	f.Fuzz(func(t *testing.T, body string) {
		q.acted = nil
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/queue/actions", strings.NewReader(body)))
		if w.Code != 200 && w.Code != 400 || len(q.acted) > 0 != (w.Code == 200) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		for _, a := range q.acted {
			if a.Filter.Empty() && !a.Filter.All {
				t.Errorf("everything was touched by %q", body)
			}
		}
	})
}

func FuzzPlainText(f *testing.F) {
	f.Add("450 4.7.1 Greylisted", "rcpt", false)
	f.Add("550", "", true)
	f.Fuzz(func(t *testing.T, reply, stage string, ours bool) { PlainText(reply, stage, ours) })
}
