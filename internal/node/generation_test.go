package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/config"
	"paquebot/internal/deliver"
	"paquebot/internal/dns"
	"paquebot/internal/mail"
)

// A generation is retired when the last delivery in it is over, and none begins
// in it afterwards, however often the configuration changes meanwhile.
func TestNothingBeginsInARetiredGeneration(t *testing.T) {
	newGeneration := func() *generation {
		return &generation{names: dns.New(dns.Config{}, nil), courier: deliver.New(deliver.Config{}, deliver.Needs{})}
	}
	var c current
	c.generation.Store(newGeneration())
	var busy, retiring sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					c.Deliver(t.Context(), mail.Attempt{})
				}
			}
		})
	}
	for range 200 {
		old := c.generation.Swap(newGeneration())
		retiring.Go(old.retire)
	}
	close(stop)
	busy.Wait()
	retiring.Wait()
	c.generation.Swap(nil).retire()
	if out := c.Deliver(t.Context(), mail.Attempt{Recipients: []int{0, 1}}); len(out) != 2 || out[0].Result != mail.Untried {
		t.Errorf("after the end: %+v", out)
	}
}

type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

// P6: an issuer of tokens that never answers does not hold deliveries for ever.
func TestSilentIssuer(t *testing.T) {
	for _, o := range []*config.OAuth2{{TokenURL: "https://issuer.example/"}, {TokenURL: "https://issuer.example/", RefreshToken: config.NewSecret("x")}} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			token, _ := tokens(o, &http.Client{Transport: silent{}})
			_, err := token(t.Context())
			if took := time.Since(start); err == nil || took > tokenTime {
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
		"client credentials": {config.OAuth2{TokenURL: "https://issuer.test/token", ClientID: "id"}, []string{"", ""}},
		"refresh token":      {config.OAuth2{TokenURL: "https://issuer.test/token", ClientID: "id", RefreshToken: config.NewSecret("refresh-0")}, []string{"refresh-0", "refresh-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			web := &issuer{}
			token, renew := tokens(&flow.o, &http.Client{Transport: web})
			want := func(got string, err error, word string) {
				t.Helper()
				if err != nil || got != word {
					t.Errorf("got %q, %v; want %q", got, err, word)
				}
			}
			for range 3 {
				got, err := token(t.Context())
				want(got, err, "token-1")
			}
			for range 3 { // three sessions were refused with it
				got, err := renew(t.Context(), "token-1")
				want(got, err, "token-2")
			}
			got, err := token(t.Context())
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
