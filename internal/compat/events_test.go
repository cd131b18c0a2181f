package compat

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// socketTo opens a WebSocket; events arrive on the channel as "type data".
func socketTo(t *testing.T, server *httptest.Server, path string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(server.URL, "http")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	t.Cleanup(func() { conn.CloseNow() })
	out := make(chan string, 100)
	go func() {
		defer close(out)
		for {
			_, b, err := conn.Read(ctx)
			if err != nil {
				return
			}
			out <- string(b)
		}
	}()
	return out
}

func next(t *testing.T, events <-chan string, want string) {
	t.Helper()
	for {
		select {
		case got, open := <-events:
			if !open {
				t.Fatalf("the stream ended; want %s", want)
			}
			if strings.Contains(got, `"Type":"stats"`) && !strings.Contains(want, "stats") {
				continue // they come when they come
			}
			if !strings.Contains(got, want) {
				t.Fatalf("got %s, want %s", got, want)
			}
			return
		case <-time.After(10 * time.Second):
			t.Fatalf("nothing came; want %s", want)
		}
	}
}

func TestSocketTellsWhatHappens(t *testing.T) {
	a := open(t, Config{Version: "1.2.3"}, Needs{})
	server := httptest.NewServer(mux(a))
	defer server.Close()
	events := socketTo(t, server, "/api/events")
	next(t, events, `{"Type":"stats","Data":{"Total":0,"Unread":0,"Version":"1.2.3"}}`)
	put(t, a, 1, "", "a@example.com", simple("first"), "b@example.com")
	next(t, events, `{"Type":"new","Data":{"ID":"0000000000000001"`)
	next(t, events, `"stats","Data":{"Total":1,"Unread":1`)
	a.needs.Store.MarkRead(true)
	next(t, events, `{"Type":"update","Data":{"ID":"0000000000000001","Read":true}}`)
	a.needs.Store.SetTags(id(1), []string{"x"})
	next(t, events, `{"Type":"update","Data":{"ID":"0000000000000001","Tags":["x"]}}`)
	a.needs.Store.Delete(id(1))
	next(t, events, `{"Type":"delete","Data":{"ID":"0000000000000001"}}`)
	next(t, events, `"stats","Data":{"Total":0`)
	a.needs.Store.Clear() // nothing is there, and who waits for it hears of it all the same
	next(t, events, `{"Type":"truncate","Data":null}`)
}

func TestStatsComeAtMostFourTimesASecond(t *testing.T) {
	a := open(t, Config{}, Needs{})
	server := httptest.NewServer(mux(a))
	defer server.Close()
	events := socketTo(t, server, "/api/events")
	next(t, events, "stats")
	began := time.Now()
	for n := range 100 {
		put(t, a, n+1, "", "a@example.com", simple("x"), "b@example.com")
	}
	stats := 0
	for {
		select {
		case e := <-events:
			if !strings.Contains(e, `"Type":"stats"`) {
				continue
			}
			stats++
			var s struct{ Data struct{ Total int } }
			json.Unmarshal([]byte(e), &s)
			if s.Data.Total < 100 {
				continue
			}
			if most := int(time.Since(began)/statsEvery) + 1; stats > most {
				t.Errorf("%d times in %s", stats, time.Since(began))
			}
			return
		case <-time.After(10 * time.Second):
			t.Fatal("the last stats never came")
		}
	}
}

// Another site's page must not listen (CVE-2026-22689).
func TestSocketRefusesPagesOfOtherHosts(t *testing.T) {
	a := open(t, Config{}, Needs{})
	server := httptest.NewServer(mux(a))
	defer server.Close()
	for _, path := range []string{"/api/events", "/api/v2/websocket"} {
		for origin, want := range map[string]bool{
			"": true, server.URL: true, "https://evil.example": false, "null": false, "http://localhost.evil.example": false,
		} {
			h := http.Header{}
			if origin != "" {
				h.Set("Origin", origin)
			}
			conn, _, err := websocket.Dial(context.Background(), "ws"+strings.TrimPrefix(server.URL, "http")+path, &websocket.DialOptions{HTTPHeader: h})
			if (err == nil) != want {
				t.Errorf("%s from %q: %v", path, origin, err)
			}
			if conn != nil {
				conn.CloseNow()
			}
		}
	}
}

func TestMailHogStreams(t *testing.T) {
	a := open(t, Config{}, Needs{})
	server := httptest.NewServer(mux(a))
	defer server.Close()
	frames := socketTo(t, server, "/api/v2/websocket")
	answer, err := http.Get(server.URL + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatal(kind)
	}
	put(t, a, 1, "", "a@example.com", simple("first"), "b@example.com")
	next(t, frames, `{"ID":"0000000000000001@mailhog.example"`)
	line, err := bufio.NewReader(answer.Body).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, `data: {"ID":"0000000000000001@mailhog.example"`) {
		t.Errorf("%q %v", line, err)
	}
}
