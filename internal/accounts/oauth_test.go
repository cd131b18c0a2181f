package accounts

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// issuer is an OAuth issuer inside the process: no socket, so that time can be
// virtual.
type issuer struct {
	down     atomic.Bool
	fetches  atomic.Int64
	asks     atomic.Int64
	keys     []map[string]string
	active   map[string]map[string]any // of introspection, by token
	discover map[string]any
}

const issuerURL = "https://login.example"

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	if i.down.Load() {
		return nil, errors.New("connection refused")
	}
	var body any
	switch r.URL.String() {
	case issuerURL + "/.well-known/openid-configuration":
		body = i.discover
	case issuerURL + "/keys":
		i.fetches.Add(1)
		body = map[string]any{"keys": i.keys}
	case issuerURL + "/introspect":
		i.asks.Add(1)
		form, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		token, _, _ := strings.Cut(strings.TrimPrefix(string(form), "token="), "&")
		body = map[string]any{"active": false}
		if known := i.active[token]; known != nil && user == "paquebot" && password == "s" {
			body = known
		}
	default:
		return &http.Response{StatusCode: 404, Status: "404", Body: http.NoBody, Request: r}, nil
	}
	b, err := json.Marshal(body)
	return &http.Response{StatusCode: 200, Status: "200", Body: io.NopCloser(strings.NewReader(string(b))), Request: r}, err
}

func url64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// signer makes tokens with one key.
type signer struct {
	alg, kid string
	key      crypto.Signer
}

func (s signer) public() map[string]string {
	k := map[string]string{"kid": s.kid, "use": "sig"}
	switch pub := s.key.Public().(type) {
	case *rsa.PublicKey:
		k["kty"], k["n"], k["e"] = "RSA", url64(pub.N.Bytes()), "AQAB"
	case *ecdsa.PublicKey:
		point, _ := pub.Bytes()
		k["kty"], k["crv"], k["x"], k["y"] = "EC", "P-256", url64(point[1:33]), url64(point[33:])
	case ed25519.PublicKey:
		k["kty"], k["crv"], k["x"] = "OKP", "Ed25519", url64(pub)
	}
	return k
}

func (s signer) sign(t testing.TB, head, claims map[string]any) string {
	t.Helper()
	h := map[string]any{"alg": s.alg, "kid": s.kid, "typ": "at+jwt"}
	maps.Copy(h, head)
	hb, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	cb, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed := url64(hb) + "." + url64(cb)
	sum := sha256.Sum256([]byte(signed))
	var sig []byte
	switch k := s.key.(type) {
	case *rsa.PrivateKey:
		if s.alg == "PS256" {
			sig, err = rsa.SignPSS(rand.Reader, k, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			sig, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
		}
	case *ecdsa.PrivateKey:
		r, ss, e := ecdsa.Sign(rand.Reader, k, sum[:])
		sig, err = append(r.FillBytes(make([]byte, 32)), ss.FillBytes(make([]byte, 32))...), e
	case ed25519.PrivateKey:
		sig = ed25519.Sign(k, []byte(signed))
	}
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + url64(sig)
}

func signers(t testing.TB) (rs, ps, es, ed signer) {
	t.Helper()
	r, err1 := rsa.GenerateKey(rand.Reader, 2048)
	e, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, d, err3 := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return signer{"RS256", "r", r}, signer{"PS256", "r", r}, signer{"ES256", "e", e}, signer{"EdDSA", "d", d}
}

func oauthWorld(t *testing.T, c OAuth) (*Accounts, *issuer, signer, signer, signer, signer) {
	t.Helper()
	rs, ps, es, ed := signers(t)
	is := &issuer{
		keys:     []map[string]string{rs.public(), es.public(), ed.public(), {"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB"}, {"kty": "weird"}},
		discover: map[string]any{"issuer": issuerURL, "jwks_uri": issuerURL + "/keys"},
		active:   map[string]map[string]any{},
	}
	c.Issuer, c.Audiences = issuerURL, []string{"smtp", "mail-api"}
	a := open(t, Config{OAuth: &c}, Needs{HTTP: &http.Client{Transport: is}})
	addAccount(t, a, "anna@example.org", "s3cret")
	addAccount(t, a, "bob@example.org", "s3cret")
	return a, is, rs, ps, es, ed
}

func good() map[string]any {
	return map[string]any{"iss": issuerURL, "aud": "smtp", "exp": time.Now().Add(time.Hour).Unix(), "email": "anna@example.org", "scope": "profile smtp.send"}
}

func with(key string, value any) map[string]any {
	c := good()
	c[key] = value
	if value == nil {
		delete(c, key)
	}
	return c
}

func bearerLogin(t *testing.T, a *Accounts, mech, user, token string) (string, string) {
	t.Helper()
	x, err := a.Begin(mech, inTLS(home))
	must(t, err)
	first, then := "n,a="+user+",\x01host=mx.example\x01port=587\x01auth=Bearer "+token+"\x01\x01", []byte("\x01")
	if user == "" {
		first = "n,,\x01auth=Bearer " + token + "\x01\x01"
	}
	if mech == "XOAUTH2" {
		first, then = "user="+user+"\x01auth=Bearer "+token+"\x01\x01", []byte{}
	}
	challenges, end := run(x, []byte(first), then)
	return strings.Join(challenges, " "), end
}

func TestBearerTokens(t *testing.T) { // AUTH-9, AUTH-10, AUTH-15
	a, is, rs, ps, es, ed := oauthWorld(t, OAuth{Scope: "smtp.send"})
	const ok = "235 anna@example.org"
	none := url64([]byte(`{"alg":"none"}`)) + "." + url64([]byte(`{"iss":"`+issuerURL+`","aud":"smtp","email":"anna@example.org"}`)) + "."
	for _, c := range []struct {
		name, user, token string
		want              string
	}{
		{"RS256", "anna@example.org", rs.sign(t, nil, good()), ok},
		{"PS256", "anna@example.org", ps.sign(t, nil, good()), ok},
		{"ES256", "Anna@Example.org", es.sign(t, nil, good()), ok},
		{"EdDSA", "anna@example.org", ed.sign(t, nil, good()), ok},
		{"a list of audiences", "anna@example.org", es.sign(t, nil, with("aud", []string{"x", "mail-api"})), ok},
		{"scp", "anna@example.org", es.sign(t, nil, func() map[string]any { c := with("scope", nil); c["scp"] = []string{"smtp.send"}; return c }()), ok},
		{"another user", "bob@example.org", es.sign(t, nil, good()), refused},
		{"nobody here", "eve@example.org", es.sign(t, nil, with("email", "eve@example.org")), refused},
		{"another issuer", "anna@example.org", es.sign(t, nil, with("iss", "https://evil.example")), refused},
		{"another audience", "anna@example.org", es.sign(t, nil, with("aud", "web")), refused},
		{"no audience", "anna@example.org", es.sign(t, nil, with("aud", nil)), refused},
		{"expired", "anna@example.org", es.sign(t, nil, with("exp", time.Now().Add(-2*time.Minute).Unix())), refused},
		{"without end", "anna@example.org", es.sign(t, nil, with("exp", nil)), refused},
		{"not yet", "anna@example.org", es.sign(t, nil, with("nbf", time.Now().Add(time.Hour).Unix())), refused},
		{"without scope", "anna@example.org", es.sign(t, nil, with("scope", "smtp.sender")), refused},
		{"address not verified", "anna@example.org", es.sign(t, nil, with("email_verified", false)), refused},
		{"no user", "anna@example.org", es.sign(t, nil, with("email", nil)), refused},
		{"crit", "anna@example.org", es.sign(t, map[string]any{"crit": []string{"x"}}, good()), refused},
		{"alg of another key", "anna@example.org", es.sign(t, map[string]any{"alg": "RS256"}, good()), refused},
		{"alg none", "anna@example.org", none, refused},
		{"HMAC with the public key", "anna@example.org", hmacToken(rs), refused},
		{"cut", "anna@example.org", es.sign(t, nil, good())[:100], refused},
		{"not a JWT", "anna@example.org", "ya29.opaque", refused},
	} {
		for _, mech := range []string{"OAUTHBEARER", "XOAUTH2"} {
			a.backoff = newBackoff()
			said, end := bearerLogin(t, a, mech, c.user, c.token)
			if end != c.want {
				t.Errorf("%s, %s: %s, want %s", mech, c.name, end, c.want)
			}
			if c.want == refused && !strings.HasPrefix(said, `{"`) {
				t.Errorf("%s, %s: the challenge %q is no JSON", mech, c.name, said)
			}
		}
	}
	if _, end := bearerLogin(t, a, "OAUTHBEARER", "", es.sign(t, nil, good())); end != ok {
		t.Errorf("without authzid: %s", end)
	}
	if is.fetches.Load() != 1 {
		t.Errorf("keys fetched %d times", is.fetches.Load())
	}
	said, _ := bearerLogin(t, a, "OAUTHBEARER", "anna@example.org", es.sign(t, nil, with("scope", "x")))
	if said != `{"openid-configuration":"https://login.example/.well-known/openid-configuration","scope":"smtp.send","status":"insufficient_scope"}` {
		t.Errorf("RFC 7628 §3.2.2: %s", said)
	}
	said, _ = bearerLogin(t, a, "XOAUTH2", "anna@example.org", "x")
	if said != `{"schemes":"bearer","scope":"smtp.send","status":"401"}` {
		t.Errorf("XOAUTH2: %s", said)
	}
}

// hmacToken is the classical confusion: HS256 keyed with the public key.
func hmacToken(s signer) string {
	signed := url64([]byte(`{"alg":"HS256","kid":"r"}`)) + "." + url64([]byte(`{}`))
	mac := hmac.New(sha256.New, []byte(s.public()["n"]))
	mac.Write([]byte(signed))
	return signed + "." + url64(mac.Sum(nil))
}

func TestIssuerTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, is, _, _, es, _ := oauthWorld(t, OAuth{})
		is.down.Store(true)
		token := es.sign(t, nil, with("exp", time.Now().Add(1000*time.Hour).Unix()))
		const later = "454 4.7.0 Temporary authentication failure, try again later"
		login := func() string { _, end := bearerLogin(t, a, "XOAUTH2", "anna@example.org", token); return end }
		if got := login(); got != later {
			t.Errorf("issuer down: %s", got)
		}
		is.down.Store(false)
		if got := login(); got != later {
			t.Errorf("within the pause: %s", got)
		}
		time.Sleep(keysPause)
		if got := login(); got != "235 anna@example.org" {
			t.Errorf("issuer back: %s", got)
		}
		// Tokens with unknown keys do not make us fetch each time.
		before := is.fetches.Load()
		for range 20 {
			other := signer{"ES256", "unknown", es.key}
			bearerLogin(t, a, "XOAUTH2", "anna@example.org", other.sign(t, nil, good()))
			a.backoff = newBackoff()
		}
		if n := is.fetches.Load() - before; n > 1 {
			t.Errorf("%d fetches for unknown keys", n)
		}
		// Known keys serve a while without the issuer, not for ever.
		is.down.Store(true)
		time.Sleep(2 * time.Hour)
		if got := login(); got != "235 anna@example.org" {
			t.Errorf("issuer down for two hours: %s", got)
		}
		time.Sleep(keysStale)
		if got := login(); got != later {
			t.Errorf("issuer down for a day: %s", got)
		}
		is.down.Store(false)
		is.keys = nil
		time.Sleep(keysPause)
		if got := login(); got != later {
			t.Errorf("issuer without keys: %s", got)
		}
	})
}

func TestIntrospection(t *testing.T) { // RFC 7662
	synctest.Test(t, func(t *testing.T) {
		a, is, _, _, _, _ := oauthWorld(t, OAuth{UserClaim: "username", Introspect: &Introspection{issuerURL + "/introspect", "paquebot", "s"}})
		is.active["opaque-1"] = map[string]any{"active": true, "username": "anna@example.org", "aud": "smtp", "exp": time.Now().Add(time.Hour).Unix()}
		is.active["opaque-2"] = map[string]any{"active": true, "username": "anna@example.org", "aud": "web", "exp": time.Now().Add(time.Hour).Unix()}
		for range 3 {
			if _, end := bearerLogin(t, a, "XOAUTH2", "anna@example.org", "opaque-1"); end != "235 anna@example.org" {
				t.Error(end)
			}
		}
		if is.asks.Load() != 1 {
			t.Errorf("asked %d times within a minute", is.asks.Load())
		}
		for _, token := range []string{"opaque-2", "opaque-3"} {
			if _, end := bearerLogin(t, a, "XOAUTH2", "anna@example.org", token); end != refused {
				t.Errorf("%s: %s", token, end)
			}
		}
		delete(is.active, "opaque-1") // revoked
		time.Sleep(answerTTL)
		if _, end := bearerLogin(t, a, "XOAUTH2", "anna@example.org", "opaque-1"); end != refused {
			t.Errorf("revoked: %s", end)
		}
	})
}

func TestUnlistedUsers(t *testing.T) {
	a, _, _, _, es, _ := oauthWorld(t, OAuth{Unlisted: true})
	token := es.sign(t, nil, with("email", "eve@example.org"))
	if _, end := bearerLogin(t, a, "OAUTHBEARER", "eve@example.org", token); end != "235 eve@example.org" {
		t.Error(end)
	}
	for address, want := range map[string]bool{"eve@example.org": true, "anna@example.org": false, "": false} {
		if ok, err := a.MaySend("eve@example.org", address); ok != want || err != nil {
			t.Errorf("eve as %q: %v %v", address, ok, err)
		}
	}
	must(t, a.Allow("eve@example.org", 1, 1))
	if got := login(t, a, home, "eve@example.org", "any"); got != refused {
		t.Errorf("by password: %s", got)
	}
	must(t, a.Disable("anna@example.org", "", "test"))
	if _, end := bearerLogin(t, a, "OAUTHBEARER", "anna@example.org", es.sign(t, nil, good())); end != "535 5.7.13 Account disabled" {
		t.Errorf("disabled: %s", end)
	}
}

func FuzzJWT(f *testing.F) {
	rs, _, es, ed := signers(f)
	for _, s := range []signer{rs, es, ed} {
		f.Add(s.sign(f, nil, map[string]any{"aud": []string{"a"}, "exp": 1e10, "scope": "x y"}))
	}
	keys := []crypto.PublicKey{rs.key.Public(), es.key.Public()}
	f.Fuzz(func(t *testing.T, s string) {
		j, err := parseJWT(s)
		if err != nil {
			return
		}
		for _, k := range keys {
			_ = j.verify(k)
		}
		c := claims{}
		if json.Unmarshal(j.payload, &c) == nil {
			_ = c.check("i", []string{"a"}, time.Unix(0, 0))
			c.hasScope("x")
		}
	})
}
