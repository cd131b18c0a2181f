package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/event"
)

// imitation is an issuer in memory: it answers from a script, the last line
// again and again.
type imitation struct {
	mu     sync.Mutex
	script []string // "200 {json}", "silence", "502 <html>"
	asked  []url.Values
	paths  []string
	at     []time.Duration
	began  time.Time
}

func (i *imitation) RoundTrip(r *http.Request) (*http.Response, error) {
	b, _ := io.ReadAll(r.Body)
	form, err := url.ParseQuery(string(b))
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	if i.began.IsZero() {
		i.began = time.Now()
	}
	line := i.script[min(len(i.asked), len(i.script)-1)]
	i.asked, i.paths, i.at = append(i.asked, form), append(i.paths, r.URL.String()), append(i.at, time.Since(i.began))
	i.mu.Unlock()
	if line == "silence" {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	time.Sleep(100 * time.Millisecond)
	var status int
	fmt.Sscan(line, &status)
	h := http.Header{"Content-Type": {"application/json"}}
	if status == 302 {
		h.Set("Location", "https://elsewhere.test/")
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(line[4:])), Request: r}, nil
}

func (i *imitation) questions() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.asked)
}

var byClient = Config{ClientID: "id", ClientSecret: "hush-client", TokenURL: "https://issuer.test/token", DeviceURL: "https://issuer.test/device", Scopes: []string{"smtp"}}

func byRefresh() Config {
	c := byClient
	c.ClientSecret, c.RefreshToken = "", "hush-0"
	return c
}

func source(t *testing.T, c Config, n Needs, web http.RoundTripper) *Source {
	t.Helper()
	n.Name, n.HTTP = "provider", &http.Client{Transport: web}
	s, err := New(c, n)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func want(t *testing.T, s *Source, token string) {
	t.Helper()
	if got, err := s.Token(t.Context()); err != nil || got != token {
		t.Errorf("got %q, %v; want %q", got, err, token)
	}
}

// A token is asked for once, however many want it, and again shortly before it
// ends; while the issuer is away the old one is used to its end.
func TestTokenIsSharedAndRenewedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := &imitation{script: []string{`200 {"access_token":"one","expires_in":3600}`, "silence", `200 {"access_token":"two","token_type":"Bearer","expires_in":"600"}`}}
		s := source(t, byClient, Needs{}, web)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { want(t, s, "one") })
		}
		all.Wait()
		time.Sleep(56 * time.Minute)
		want(t, s, "one")
		if n := web.questions(); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
		time.Sleep(90 * time.Second) // within three minutes of its end
		want(t, s, "one")            // the issuer is silent
		time.Sleep(pauseTransient)
		want(t, s, "two")
		if n := web.questions(); n != 3 {
			t.Errorf("asked %d times, want 3", n)
		}
		if f := web.asked[0]; f.Get("grant_type") != "client_credentials" || f.Get("scope") != "smtp" || f.Get("client_id") != "id" || f.Get("client_secret") != "hush-client" {
			t.Errorf("asked %v", f)
		}
		if st := s.Status(); st.Grant != "client credentials" || time.Until(st.Expires) < 9*time.Minute {
			t.Errorf("status %+v", st)
		}
	})
}

// AUTH-16: a token refused before its time is exchanged once, not for ever.
func TestRefusedTokenIsRenewedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := &imitation{script: []string{`200 {"access_token":"one"}`, `200 {"access_token":"two"}`}}
		s := source(t, byClient, Needs{}, web)
		want(t, s, "one")
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if got, err := s.Renew(t.Context(), "one"); got != "two" || err != nil {
					t.Errorf("renewed to %q, %v", got, err)
				}
			})
		}
		all.Wait()
		if _, err := s.Renew(t.Context(), "two"); !errors.Is(err, errJustRenewed) {
			t.Errorf("a fresh token that is refused: %v", err)
		}
		if n := web.questions(); n != 2 {
			t.Errorf("asked %d times, want 2", n)
		}
	})
}

// What an issuer rotates is on disk before it is used; what somebody logs in
// with counts at once, without a restart.
func TestRotatedAndNewLogins(t *testing.T) {
	dir := t.TempDir()
	k, err := NewKeeper(filepath.Join(dir, "oauth"), "provider")
	if err != nil {
		t.Fatal(err)
	}
	web := &imitation{script: []string{
		`200 {"access_token":"one","refresh_token":"hush-1","expires_in":60}`,
		`400 {"error":"invalid_grant","error_description":"hush-1 was\nwithdrawn"}`,
		`200 {"access_token":"three","expires_in":3600}`}}
	var told []event.TokenTroubled
	s := source(t, byRefresh(), Needs{Keeper: k, Events: event.SinkFunc(func(e event.Event) {
		if e, ok := e.(event.TokenTroubled); ok {
			told = append(told, e)
		}
	})}, web)
	want(t, s, "one")
	kept, ok, err := k.Load()
	if !ok || err != nil || kept.RefreshToken != "hush-1" || kept.By != "rotation" {
		t.Fatalf("kept %+v, %v, %v", kept, ok, err)
	}
	if info, err := os.Stat(k.File()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}

	// A restart goes on with what was kept, and hears that it is void.
	s = source(t, byRefresh(), Needs{Keeper: k, Events: s.needs.Events}, web)
	for range 3 {
		_, err = s.Token(t.Context())
	}
	var e *Error
	if !errors.As(err, &e) || !e.Permanent() || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "\n") || e.Remedy() == "" {
		t.Errorf("refusal: %v", err)
	}
	if n := web.questions(); n != 2 {
		t.Errorf("asked %d times; an issuer that refused for good is left alone", n)
	}
	if len(told) != 1 || told[0].Level() != event.Alarm || strings.Contains(told[0].Error, "hush") {
		t.Errorf("told %+v", told)
	}
	if got := web.asked[1].Get("refresh_token"); got != "hush-1" {
		t.Errorf("asked with %q", got)
	}

	// Somebody logs in.
	if err := k.Save(Kept{RefreshToken: "hush-2", Obtained: time.Now(), Seed: seed("hush-0"), By: "login"}); err != nil {
		t.Fatal(err)
	}
	want(t, s, "three")
	if got := web.asked[2].Get("refresh_token"); got != "hush-2" {
		t.Errorf("asked with %q", got)
	}
	if st := s.Status(); st.Error != "" || st.KeptSince.IsZero() {
		t.Errorf("status %+v", st)
	}

	// The operator configures another one: that counts now.
	c := byRefresh()
	c.RefreshToken = "hush-new"
	s = source(t, c, Needs{Keeper: k}, web)
	want(t, s, "three")
	if got := web.asked[3].Get("refresh_token"); got != "hush-new" {
		t.Errorf("asked with %q", got)
	}
}

// A rotation never undoes a login that came meanwhile.
func TestLoginDuringRotation(t *testing.T) {
	k, _ := NewKeeper(filepath.Join(t.TempDir(), "oauth"), "provider")
	if err := k.Rotate("", Kept{RefreshToken: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := k.Save(Kept{RefreshToken: "b", By: "login"}); err != nil {
		t.Fatal(err)
	}
	if err := k.Rotate("a", Kept{RefreshToken: "c"}); !errors.Is(err, errOvertaken) {
		t.Errorf("got %v", err)
	}
	if kept, _, _ := k.Load(); kept.RefreshToken != "b" {
		t.Errorf("kept %+v", kept)
	}
	for _, bad := range []string{"", "../x", "a/b", ".lock"} {
		if _, err := NewKeeper("x", bad); err == nil {
			t.Errorf("%q is a name", bad)
		}
	}
}

// Errors are plain and hold no secret, whatever an issuer answers.
func TestAnswersThatAreNoTokens(t *testing.T) {
	for line, word := range map[string]string{
		`200 {"token_type":"bearer"}`:                 "issuer.test answers with status 200 instead of a token",
		`200 {"access_token":"x","token_type":"mac"}`: "status 200",
		`200 {"access_token":"a\u0001b"}`:             "status 200",
		`200 not JSON`:                                "status 200",
		`302 `:                                        "status 302",
		`502 <html>hush-client</html>`:                "status 502",
		`401 {"error":"invalid_client"}`:              "refuses: invalid_client",
		`400 {"error":"bad\u001b[0m","error_description":"hush-client"}`: "refuses: bad?[0m (<redacted>)",
		"200 " + strings.Repeat(" ", answerMax) + `{}`:                   "status 200",
		"silence": "issuer.test does not answer",
	} {
		synctest.Test(t, func(t *testing.T) {
			s := source(t, byClient, Needs{}, &imitation{script: []string{line}})
			_, err := s.Token(t.Context())
			if err == nil || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "hush") {
				t.Errorf("%.60s: %v, want %q", line, err, word)
			}
		})
	}
}

// Who waits no longer does not end the question for the others.
func TestWaitingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := source(t, byClient, Needs{}, &imitation{script: []string{"silence"}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := s.Token(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		time.Sleep(askTime)
	})
}

func TestEndpoints(t *testing.T) {
	for _, c := range []struct {
		c            Config
		person       bool
		token, scope string
		fault        string
	}{
		{Config{Tenant: "contoso.example", ClientID: "x"}, false, "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token", "https://outlook.office365.com/.default", ""},
		{Config{Preset: "microsoft", ClientID: "x"}, true, "https://login.microsoftonline.com/organizations/oauth2/v2.0/token", "https://outlook.office.com/SMTP.Send offline_access", ""},
		{Config{Preset: "google", ClientID: "x"}, true, "https://oauth2.googleapis.com/token", "https://mail.google.com/", ""},
		{Config{Preset: "google", ClientID: "x", TokenURL: "https://own.test/", Scopes: []string{"a", "b"}}, true, "https://own.test/", "a b", ""},
		{Config{ClientID: "x"}, true, "", "", "nothing says where"},
		{Config{TokenURL: "https://own.test/"}, true, "https://own.test/", "", "no client_id"},
		{Config{ClientID: "x", TokenURL: "http://own.test/"}, true, "http://own.test/", "", "not https"},
		{Config{ClientID: "x", TokenURL: "https://own.test/", DeviceURL: "ftp://x"}, true, "https://own.test/", "", "not https"},
		{Config{ClientID: "x", Preset: "yahoo"}, true, "", "", "unknown"},
	} {
		e, err := c.c.Endpoint(c.person)
		if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%+v: %v", c.c, err)
		}
		if err == nil && (e.TokenURL != c.token || strings.Join(e.Scopes, " ") != c.scope) {
			t.Errorf("%+v: %+v", c.c, e)
		}
	}
}

// RFC 8628: pending, slower when asked to, and each way it can end.
func TestLogin(t *testing.T) {
	const code = `200 {"device_code":"hush-device","user_code":"ABCD-EFGH","verification_uri":"https://issuer.test/go","expires_in":900,"interval":5}`
	pending, slow := `400 {"error":"authorization_pending"}`, `400 {"error":"slow_down"}`
	for _, c := range []struct {
		name   string
		script []string
		err    string
		at     []time.Duration // of the questions, in seconds
	}{
		{"agreed", []string{code, pending, pending, `200 {"access_token":"x","refresh_token":"hush-r"}`}, "", []time.Duration{0, 5, 10, 15}},
		{"slow down", []string{code, slow, pending, slow, `200 {"access_token":"x","refresh_token":"hush-r"}`}, "", []time.Duration{0, 5, 15, 25, 40}},
		{"a gateway stumbles", []string{code, "502 oops", pending, `200 {"access_token":"x","refresh_token":"hush-r"}`}, "", []time.Duration{0, 5, 15, 25}},
		{"denied", []string{code, pending, `400 {"error":"access_denied"}`}, "access_denied", []time.Duration{0, 5, 10}},
		{"expired", []string{code, `400 {"error":"expired_token"}`}, "not used in time", nil},
		{"never used", []string{code, pending}, "not used in time", nil},
		{"no refresh token", []string{code, `200 {"access_token":"x"}`}, "no refresh token", nil},
		{"no device", []string{`400 {"error":"invalid_scope","error_description":"not for devices"}`}, "invalid_scope (not for devices)", nil},
		{"a page that is not https", []string{`200 {"device_code":"d","user_code":"u","verification_uri":"javascript:alert(1)"}`}, "status 200", nil},
		{"gone", []string{code, "502 oops"}, "status 502", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				web := &imitation{script: c.script}
				var shown Code
				k, err := Login(t.Context(), byClient, &http.Client{Transport: web}, func(c Code) { shown = c })
				switch {
				case c.err == "" && (err != nil || k.RefreshToken != "hush-r" || shown.User != "ABCD-EFGH" || shown.Page != "https://issuer.test/go"):
					t.Errorf("%+v, %v, shown %+v", k, err, shown)
				case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "hush")):
					t.Errorf("%v, want %q", err, c.err)
				}
				for i, at := range c.at {
					if i >= len(web.at) || web.at[i].Round(time.Second) != at*time.Second {
						t.Errorf("asked at %v, want %v", web.at, c.at)
						break
					}
				}
			})
		})
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{`{"access_token":"x","expires_in":"9e99"}`, `{"error":"invalid_grant","error_description":"\u0000hush-client"}`, `[]`, ``} {
		f.Add(200, s)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		i := newIssuer(byClient, &http.Client{Transport: fixed{status, body}})
		got, err := i.byClient(t.Context())
		if err == nil && (got.access == "" || !got.expires.After(got.got)) {
			t.Errorf("a token that is none: %+v", got)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\r\n\x00\x1b") {
			t.Errorf("not one line: %q", err)
		}
	})
}

type fixed struct {
	status int
	body   string
}

func (f fixed) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: f.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(f.body)), Request: r}, nil
}
