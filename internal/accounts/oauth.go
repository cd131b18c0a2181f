package accounts

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// OAuth lets clients log in with a bearer token of one issuer, instead of a
// password (AUTH-9, AUTH-10).
type OAuth struct {
	Issuer    string   // https URL, exactly as the tokens' "iss"
	Audiences []string // the token must be meant for one of these
	UserClaim string   // the claim that is the account's name; "": email
	Scope     string   // the token must have it; "": any will do
	KeysURL   string   // of the signing keys; "": found by OpenID discovery
	// Introspect asks the issuer about tokens that are not JWTs (RFC 7662).
	Introspect *Introspection
	// Unlisted admits users that have no account here, who may send as their
	// own address alone.
	Unlisted bool
	Timeout  time.Duration // of one login's questions to the issuer; 0: 5 s
}

// Introspection is the issuer's endpoint and our credential there.
type Introspection struct {
	URL, ClientID, ClientSecret string
}

func (o OAuth) check() error {
	if !secureURL(o.Issuer) || o.KeysURL != "" && !secureURL(o.KeysURL) {
		return errors.New("the OAuth issuer must be an https URL")
	}
	if len(o.Audiences) == 0 {
		return errors.New("OAuth needs an audience: without one, a token made for any other service would open this one")
	}
	if o.Introspect != nil && !secureURL(o.Introspect.URL) {
		return errors.New("the introspection endpoint must be an https URL")
	}
	return nil
}

var (
	errScope  = errors.New("token lacks the scope")
	errNoUser = errors.New("token names no user")
	errDead   = errors.New("token not active")
	errIssuer = errors.New("issuer cannot be asked")
)

const (
	// asksMax are the questions to the introspection endpoint at once.
	asksMax = 16
	// answersMax and answerTTL bound what is remembered of its answers.
	answersMax = 4096
	answerTTL  = time.Minute
)

// oauthServer judges tokens by one OAuth.
type oauthServer struct {
	OAuth
	keys *keySet
	http *http.Client
	asks chan struct{}

	mu      sync.Mutex
	answers *lru[[32]byte, answer]
}

type answer struct {
	claims claims
	until  time.Time
}

func newOAuthServer(o OAuth, client *http.Client) *oauthServer {
	if o.UserClaim == "" {
		o.UserClaim = "email"
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	return &oauthServer{
		OAuth: o, http: client, keys: newKeySet(o.Issuer, o.KeysURL, client),
		asks: make(chan struct{}, asksMax), answers: newLRU[[32]byte, answer](answersMax),
	}
}

// user verifies a token and returns whose it is. errIssuer means that this
// could not be found out.
func (o *oauthServer) user(ctx context.Context, token string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	c, err := o.claims(ctx, token)
	if err != nil {
		return "", err
	}
	if !c.hasScope(o.Scope) {
		return "", errScope
	}
	name := c.text(o.UserClaim)
	if o.UserClaim == "email" && c["email_verified"] == false {
		name = "" // the issuer says that anybody may have typed this address
	}
	if checkName(name) != nil {
		return "", errNoUser
	}
	return name, nil
}

func (o *oauthServer) claims(ctx context.Context, token string) (claims, error) {
	t, err := parseJWT(token)
	if err != nil && o.Introspect != nil {
		return o.introspect(ctx, token)
	}
	if err != nil {
		return nil, err
	}
	keys, err := o.keys.candidates(ctx, t.kid)
	if err != nil {
		return nil, errors.Join(errIssuer, err)
	}
	err = errSignature
	for _, k := range keys {
		if err = t.verify(k); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	c := claims{}
	if json.Unmarshal(t.payload, &c) != nil {
		return nil, errJWT
	}
	return c, c.check(o.Issuer, o.Audiences, time.Now())
}

// introspect asks about an opaque token (RFC 7662 §2).
func (o *oauthServer) introspect(ctx context.Context, token string) (claims, error) {
	key := sha256.Sum256([]byte(token))
	if c, ok := o.remembered(key); ok {
		return c, nil
	}
	select {
	case o.asks <- struct{}{}:
		defer func() { <-o.asks }()
	case <-ctx.Done():
		return nil, errors.Join(errIssuer, ctx.Err())
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.Introspect.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.Join(errIssuer, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(o.Introspect.ClientID), url.QueryEscape(o.Introspect.ClientSecret)) // RFC 6749 §2.3.1
	c := claims{}
	if err := doJSON(o.http, req, &c); err != nil {
		return nil, errors.Join(errIssuer, err)
	}
	if c["active"] != true {
		return nil, errDead
	}
	issuer := o.Issuer
	if c.text("iss") == "" {
		issuer = "" // optional there (RFC 7662 §2.2); the endpoint is the issuer's own
	}
	if err := c.check(issuer, o.Audiences, time.Now()); err != nil {
		return nil, err
	}
	o.remember(key, c)
	return c, nil
}

func (o *oauthServer) remembered(key [32]byte) (claims, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	a, ok := o.answers.get(key)
	return a.claims, ok && time.Now().Before(a.until)
}

func (o *oauthServer) remember(key [32]byte, c claims) {
	until := time.Now().Add(answerTTL)
	if exp, ok := c.time("exp"); ok && exp.Before(until) {
		until = exp
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers.put(key, answer{c, until})
}

// bearer is OAUTHBEARER (RFC 7628) and XOAUTH2 (Google, Microsoft).
type bearer struct {
	identity
	google  bool
	refusal error // what follows once the client has seen why
}

func (x *bearer) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if x.refusal != nil {
		// Whatever the client answers to the error, a lone ^A (RFC 7628
		// §3.2.3) or nothing (XOAUTH2), it is over.
		return nil, false, x.refusal
	}
	if response == nil {
		return []byte{}, false, nil
	}
	parse := parseOAuthBearer
	if x.google {
		parse = parseXOAuth2
	}
	user, token, ok := parse(response)
	if !ok {
		return nil, false, syntaxReply
	}
	x.claimed = user
	if err := x.accounts.blocked(user, x.session.Client); err != nil {
		return nil, false, err
	}
	oauth := x.accounts.current.Load().oauth
	if oauth == nil {
		return nil, false, unknownReply // a reload took it away meanwhile
	}
	why := x.try(ctx, oauth, user, token)
	if why == nil {
		return nil, true, nil
	}
	if errors.Is(why, errIssuer) {
		return nil, false, busyReply.Because(why)
	}
	x.refusal = x.accounts.failed(ctx, user, x.session.Client, why)
	return oauth.problem(x.google, why), false, nil
}

func (x *bearer) try(ctx context.Context, oauth *oauthServer, user, token string) error {
	name, err := oauth.user(ctx, token)
	if err != nil {
		return err
	}
	e, err := x.accounts.principal(name)
	if err != nil {
		return busyReply.Because(err)
	}
	if e == nil {
		return errNoAccount
	}
	if x.claimed == "" {
		x.claimed = name
	}
	if err := x.accounts.admit(ctx, e, x.claimed, x.session.Client); err != nil {
		return err
	}
	return x.finish(ctx, e, user)
}

// principal finds an account, or makes do without one for a user whom the
// issuer vouches for (OAuth.Unlisted).
func (a *Accounts) principal(name string) (*entry, error) {
	e, err := a.find(name)
	set := a.current.Load()
	switch {
	case e != nil || err != nil:
		return e, err
	case set.AnyPassword:
		return someone(name), nil
	case set.OAuth != nil && set.OAuth.Unlisted && checkName(name) == nil:
		e = &entry{Profile: Profile{Name: name}}
		if strings.Contains(name, "@") {
			e.Senders = []string{name}
		}
		return e, e.compile()
	}
	return nil, nil
}

// problem is the JSON that tells the client what to do better (RFC 7628
// §3.2.2; for XOAUTH2 as Google documents it).
func (o *oauthServer) problem(google bool, why error) []byte {
	said := map[string]string{"status": "invalid_token", "openid-configuration": discoveryURL(o.Issuer)}
	if errors.Is(why, errScope) {
		said["status"] = "insufficient_scope"
	}
	if google {
		said = map[string]string{"status": "401", "schemes": "bearer"}
	}
	if o.Scope != "" {
		said["scope"] = o.Scope
	}
	b, err := json.Marshal(said)
	if err != nil {
		return []byte("{}")
	}
	return b
}

// parseOAuthBearer reads "n,a=user,^Ahost=h^Aport=p^Aauth=Bearer t^A^A". The
// host and port are the client's idea of ours and decide nothing.
func parseOAuthBearer(b []byte) (user, token string, ok bool) {
	head, rest, ok := strings.Cut(string(b), "\x01")
	flag, authzid, ok2 := strings.Cut(head, ",")
	authzid, end, ok3 := strings.Cut(authzid, ",")
	if !ok || !ok2 || !ok3 || end != "" || flag != "n" && flag != "y" {
		return "", "", false
	}
	if authzid != "" {
		if user, ok = strings.CutPrefix(authzid, "a="); !ok {
			return "", "", false
		}
		if user, ok = saslName(user); !ok {
			return "", "", false
		}
	}
	token, ok = bearerToken(rest)
	return user, token, ok && len(user) <= nameMax
}

// parseXOAuth2 reads "user=u^Aauth=Bearer t^A^A".
func parseXOAuth2(b []byte) (user, token string, ok bool) {
	head, rest, ok := strings.Cut(string(b), "\x01")
	user, ok2 := strings.CutPrefix(head, "user=")
	if !ok || !ok2 || user == "" || len(user) > nameMax {
		return "", "", false
	}
	token, ok = bearerToken(rest)
	return user, token, ok
}

// bearerToken finds auth among "key=value^A" pairs that end in one more ^A.
func bearerToken(s string) (token string, ok bool) {
	s, ok = strings.CutSuffix(s, "\x01\x01")
	if !ok || len(s) > responseMax {
		return "", false
	}
	for pair := range strings.SplitSeq(s, "\x01") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return "", false
		}
		if !strings.EqualFold(key, "auth") {
			continue
		}
		scheme, t, _ := strings.Cut(value, " ")
		t = strings.TrimLeft(t, " ")
		if token != "" || !strings.EqualFold(scheme, "Bearer") || t == "" || strings.ContainsFunc(t, notTokenChar) {
			return "", false
		}
		token = t
	}
	return token, token != ""
}

// notTokenChar is outside RFC 6750 §2.1's b64token.
func notTokenChar(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/=", r)
}

// saslName undoes "=2C" and "=3D" (RFC 5801 §4); any other "=" is an error.
func saslName(s string) (string, bool) {
	var out strings.Builder
	for {
		before, after, more := strings.Cut(s, "=")
		out.WriteString(before)
		if !more {
			return out.String(), !strings.ContainsRune(out.String(), 0)
		}
		switch {
		case strings.HasPrefix(after, "2C"):
			out.WriteByte(',')
		case strings.HasPrefix(after, "3D"):
			out.WriteByte('=')
		default:
			return "", false
		}
		s = after[2:]
	}
}
