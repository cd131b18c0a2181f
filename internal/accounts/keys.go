package accounts

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// fetchMax bounds what an issuer may send: discovery documents and key
	// sets are a few KiB.
	fetchMax = 1 << 20
	keysMax  = 64
	// keysFresh is when keys are fetched anew in any case, so that a withdrawn
	// one stops working; keysStale is how long they serve while that fails.
	keysFresh = time.Hour
	keysStale = 24 * time.Hour
	// keysPause is the least time between two fetches: a token with an unknown
	// "kid" costs its sender nothing and must not cost us a request each.
	keysPause = 10 * time.Second
)

// keySet is an issuer's signing keys, fetched when first needed.
type keySet struct {
	issuer string
	url    string // of the set; "": found by discovery
	http   *http.Client

	turn  chan struct{} // holds one token: its holder may read and change what follows
	keys  []issuerKey
	got   time.Time // of the last success
	tried time.Time
	err   error // of the last try
}

type issuerKey struct {
	kid string
	key crypto.PublicKey
}

func newKeySet(issuer, url string, client *http.Client) *keySet {
	return &keySet{issuer: issuer, url: url, http: client, turn: make(chan struct{}, 1)}
}

// candidates returns the keys that may have signed a token with that kid, at
// most keysMax. An error means that the issuer cannot be reached.
func (s *keySet) candidates(ctx context.Context, kid string) ([]crypto.PublicKey, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now := time.Now()
	match := s.match(kid)
	if (len(match) == 0 || now.Sub(s.got) >= keysFresh) && now.Sub(s.tried) >= keysPause {
		s.tried = now
		s.err = s.fetch(ctx, now)
		match = s.match(kid)
	}
	if s.err != nil && now.Sub(s.got) >= keysStale {
		return nil, s.err
	}
	return match, nil
}

func (s *keySet) match(kid string) []crypto.PublicKey {
	var list []crypto.PublicKey
	for _, k := range s.keys {
		if kid == "" || k.kid == "" || k.kid == kid {
			list = append(list, k.key)
		}
	}
	return list
}

func (s *keySet) fetch(ctx context.Context, now time.Time) error {
	if s.url == "" {
		var found struct {
			Issuer string `json:"issuer"`
			Keys   string `json:"jwks_uri"`
		}
		if err := getJSON(ctx, s.http, discoveryURL(s.issuer), &found); err != nil {
			return err
		}
		if found.Issuer != s.issuer {
			return fmt.Errorf("the issuer calls itself %q, not %q", found.Issuer, s.issuer)
		}
		if !secureURL(found.Keys) {
			return errors.New("the issuer's jwks_uri is not an https URL")
		}
		s.url = found.Keys
	}
	var set struct{ Keys []jwk }
	if err := getJSON(ctx, s.http, s.url, &set); err != nil {
		return err
	}
	var keys []issuerKey
	for _, k := range set.Keys {
		if pub := k.public(); pub != nil && len(keys) < keysMax {
			keys = append(keys, issuerKey{k.Kid, pub})
		}
	}
	if len(keys) == 0 {
		return errors.New("the issuer has no usable signing key")
	}
	s.keys, s.got = keys, now
	return nil
}

// discoveryURL is OpenID Connect Discovery 1.0 §4.
func discoveryURL(issuer string) string {
	return strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
}

// secureURL allows https, and http on loopback for tests and side-cars.
func secureURL(u string) bool {
	for _, p := range []string{"https://", "http://127.0.0.1", "http://[::1]", "http://localhost"} {
		if rest, ok := strings.CutPrefix(u, p); ok && rest != "" && (p == "https://" || rest[0] == ':' || rest[0] == '/') {
			return true
		}
	}
	return false
}

func getJSON(ctx context.Context, client *http.Client, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	return doJSON(client, req, into)
}

func doJSON(client *http.Client, req *http.Request, into any) error {
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", req.URL.Host, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, fetchMax))
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}
