package console_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/console"
	"paquebot/internal/event"
)

// application is one that listens to announcements; it takes a message at the
// n-th try.
type application struct {
	mu     sync.Mutex
	takeAt int
	posts  []*http.Request
	bodies [][]byte
	taken  []string
}

func (a *application) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, _ := io.ReadAll(r.Body)
	a.posts, a.bodies = append(a.posts, r), append(a.bodies, b)
	answer := func(status int) *http.Response {
		return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("")), Header: http.Header{}}
	}
	switch r.Header.Get("X-Paquebot-Attempt") {
	case "1":
		if a.takeAt > 1 {
			return nil, errors.New("connection refused")
		}
	case "2":
		if a.takeAt > 2 {
			return answer(503), nil
		}
	}
	a.taken = append(a.taken, r.Header.Get("X-Paquebot-Id"))
	return answer(204), nil
}

func run(p *page, app *application, path string, events event.Sink) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	a := &console.Announcer{URL: "http://app.example/hook", Secret: []byte("secret"), Store: p.store, Path: path, Client: &http.Client{Transport: app}, Events: events}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Error(err)
		}
	}
}

// Every message is told, in order, however often the application fails, and
// again after a restart; one that is told to the application says who sent it.
func TestAnnouncements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, app, path := open(t), &application{takeAt: 3}, filepath.Join(t.TempDir(), "announced")
		var failed []event.AnnouncementFailed
		var mu sync.Mutex
		stop := run(p, app, path, event.SinkFunc(func(e event.Event) {
			if f, ok := e.(event.AnnouncementFailed); ok {
				mu.Lock()
				failed = append(failed, f)
				mu.Unlock()
			}
		}))
		synctest.Wait()
		p.put(1, plain)
		p.put(2, plain)
		p.put(3, plain)
		time.Sleep(time.Minute)
		stop()
		if want := id(1).String() + id(2).String() + id(3).String(); strings.Join(app.taken, "") != want {
			t.Fatalf("taken %q", app.taken)
		}
		if len(app.posts) != 9 || len(failed) != 6 || failed[0].Error == "" || failed[1].Status != 503 || failed[1].RetrySeconds != 2 {
			t.Errorf("%d posts, failed %+v", len(app.posts), failed)
		}
		p.put(4, plain) // while nobody ran
		stop = run(p, app, path, nil)
		time.Sleep(time.Minute)
		stop()
		if app.taken[len(app.taken)-1] != id(4).String() || len(app.taken) != 4 {
			t.Errorf("after a restart: %q", app.taken)
		}
		checkSignature(t, app)
	})
}

func checkSignature(t *testing.T, app *application) {
	t.Helper()
	when, mac, _ := strings.Cut(strings.TrimPrefix(app.posts[0].Header.Get("X-Paquebot-Signature"), "t="), ",v1=")
	m := hmac.New(sha256.New, []byte("secret"))
	io.WriteString(m, when+"."+string(app.bodies[0]))
	if mac != hex.EncodeToString(m.Sum(nil)) {
		t.Errorf("signature %q", app.posts[0].Header)
	}
	var s console.Summary
	if err := json.Unmarshal(app.bodies[0], &s); err != nil || s.ID != id(1) || s.Subject != "hello" {
		t.Errorf("%v %s", err, app.bodies[0])
	}
}

// What is deleted before it could be told is passed over.
func TestAnnouncementOfWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, app := open(t), &application{takeAt: 2}
		stop := run(p, app, "", nil)
		synctest.Wait()
		p.put(1, plain)
		p.put(2, plain)
		synctest.Wait() // the first try of 1 has failed
		p.store.Delete(id(1))
		time.Sleep(time.Minute)
		stop()
		if len(app.taken) != 1 || app.taken[0] != id(2).String() {
			t.Errorf("taken %q", app.taken)
		}
	})
}

func TestAnnouncerSaysWhatIsWrongWithItsFile(t *testing.T) {
	p, path := open(t), filepath.Join(t.TempDir(), "announced")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &console.Announcer{Store: p.store, Path: path}
	if err := a.Run(context.Background()); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}
