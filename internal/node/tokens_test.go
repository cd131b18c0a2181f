package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/config"
	"paquebot/internal/event"
	"paquebot/internal/oauth"
)

type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

func source(t *testing.T, o *config.OAuth2, web http.RoundTripper) *oauth.Source {
	t.Helper()
	n := &Node{world: World{HTTP: &http.Client{Transport: web}}, events: event.Discard}
	s, err := n.tokens(t.TempDir(), "provider", o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// P6: an issuer of tokens that never answers does not hold deliveries for ever.
func TestSilentIssuer(t *testing.T) {
	for _, o := range []*config.OAuth2{{TokenURL: "https://issuer.example/", ClientID: "id", ClientSecret: config.NewSecret("x")}, {TokenURL: "https://issuer.example/", ClientID: "id", RefreshToken: config.NewSecret("x")}} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			s := source(t, o, silent{})
			_, err := s.Token(t.Context())
			if took := time.Since(start); err == nil || took > 20*time.Second {
				t.Errorf("after %s: %v", took, err)
			}
		})
	}
}

// issuer gives a token for each question, and with it another refresh token.
type issuer struct {
	n    int
	seen []string // the refresh tokens shown
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.n++
	i.seen = append(i.seen, formValue(r, "refresh_token"))
	body := fmt.Sprintf(`{"access_token":"token-%d","token_type":"Bearer","expires_in":3600,"refresh_token":"refresh-%[1]d"}`, i.n)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// AUTH-16: a token is kept for its hour; one that was refused is exchanged
// once, however many sessions were refused with it.
func TestTokensAreKeptAndRenewedOnce(t *testing.T) {
	for name, flow := range map[string]struct {
		o    config.OAuth2
		seen []string
	}{
		"client credentials": {config.OAuth2{TokenURL: "https://issuer.test/token", ClientID: "id", ClientSecret: config.NewSecret("x")}, []string{"", ""}},
		"refresh token":      {config.OAuth2{TokenURL: "https://issuer.test/token", ClientID: "id", RefreshToken: config.NewSecret("refresh-0")}, []string{"refresh-0", "refresh-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			web := &issuer{}
			s := source(t, &flow.o, web)
			want := func(got string, err error, word string) {
				t.Helper()
				if err != nil || got != word {
					t.Errorf("got %q, %v; want %q", got, err, word)
				}
			}
			for range 3 {
				got, err := s.Token(t.Context())
				want(got, err, "token-1")
			}
			for range 3 { // three sessions were refused with it
				got, err := s.Renew(t.Context(), "token-1")
				want(got, err, "token-2")
			}
			got, err := s.Token(t.Context())
			want(got, err, "token-2")
			if !slices.Equal(web.seen, flow.seen) {
				t.Errorf("the issuer saw %q, want %q", web.seen, flow.seen)
			}
		})
	}
}

// formValue reads what a client is about to send.
func formValue(r *http.Request, name string) string {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err.Error()
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return err.Error()
	}
	return form.Get(name)
}
