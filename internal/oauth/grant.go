package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// answerMax bounds what an issuer may answer; tokens with many claims have
	// some 10 KiB.
	answerMax = 256 << 10

	// askTime is how long one answer may take: deliveries to a smart host wait
	// for it.
	askTime = 15 * time.Second

	// lifetimeUnknown is how long a token without expires_in is believed; a
	// refusal renews it sooner.
	lifetimeUnknown = 30 * time.Minute

	// descriptionMax bounds what is told of an issuer's own words.
	descriptionMax = 300
)

// token is what an issuer gave.
type token struct {
	access  string
	refresh string // "" if it gave none
	got     time.Time
	expires time.Time
}

// Error is an issuer's refusal, or why it could not be asked. It holds no
// secret.
type Error struct {
	Issuer      string // its host
	Code        string // of RFC 6749 §5.2, RFC 8628 §3.5; "" if it gave none
	Description string // its words, cut and in one line
	Status      int    // of HTTP; 0: it did not answer
	Cause       error  // why it did not answer
}

func (e *Error) Error() string {
	switch {
	case e.Status == 0:
		return fmt.Sprintf("%s does not answer: %v", e.Issuer, e.Cause)
	case e.Code == "":
		return fmt.Sprintf("%s answers with status %d instead of a token", e.Issuer, e.Status)
	case e.Description == "":
		return e.Issuer + " refuses: " + e.Code
	}
	return fmt.Sprintf("%s refuses: %s (%s)", e.Issuer, e.Code, e.Description)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Permanent reports that asking again brings nothing until somebody has changed
// something.
func (e *Error) Permanent() bool {
	switch e.Code {
	case "invalid_grant", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_request", "access_denied":
		return true
	}
	return false
}

// Remedy says what a person can do; "" if nothing but waiting.
func (e *Error) Remedy() string {
	switch e.Code {
	case "invalid_grant":
		return "the login has ended or was withdrawn; log in again"
	case "invalid_client":
		return "client_id or client_secret is wrong, or the secret has expired; make a new one at the issuer"
	case "unauthorized_client", "unsupported_grant_type":
		return "the issuer does not let this application get tokens in this way; change the application's settings there"
	case "invalid_scope":
		return "the issuer does not give this application these rights; correct scopes, or the application's permissions"
	case "access_denied":
		return "somebody said no; log in again, and agree"
	case "expired_token":
		return "the code was not used in time; log in again"
	}
	return ""
}

// issuer asks one endpoint.
type issuer struct {
	config Config
	http   *http.Client
}

// newIssuer bounds a client and takes its habit of following redirects, which
// would carry secrets elsewhere.
func newIssuer(c Config, base *http.Client) issuer {
	h := &http.Client{Timeout: askTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if base != nil {
		h.Transport = base.Transport
	}
	return issuer{config: c, http: h}
}

// post sends a form and reads the JSON answer into out, whatever the status.
func (i issuer) post(ctx context.Context, address string, form url.Values, out any) (status int, err error) {
	host := i.config.Issuer()
	if u, err := url.Parse(address); err == nil {
		host = u.Hostname()
	}
	if !secure(address) {
		return 0, &Error{Issuer: host, Cause: errors.New("it is not asked by https")}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, &Error{Issuer: host, Cause: errors.New("its address is wrong")}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	res, err := i.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return 0, &Error{Issuer: host, Cause: err}
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, answerMax+1))
	if err != nil {
		return 0, &Error{Issuer: host, Cause: err}
	}
	var refusal struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if len(body) > answerMax || json.Unmarshal(body, &refusal) != nil {
		return res.StatusCode, &Error{Issuer: host, Status: res.StatusCode}
	}
	if refusal.Code != "" || res.StatusCode != http.StatusOK {
		return res.StatusCode, &Error{Issuer: host, Status: res.StatusCode, Code: i.tame(refusal.Code, form), Description: i.tame(refusal.Description, form)}
	}
	if json.Unmarshal(body, out) != nil {
		return res.StatusCode, &Error{Issuer: host, Status: res.StatusCode}
	}
	return res.StatusCode, nil
}

// tame makes an issuer's words fit for one line of a log, without what we told
// it in confidence.
func (i issuer) tame(s string, form url.Values) string {
	for _, name := range []string{"client_secret", "refresh_token", "device_code", "assertion"} {
		if v := form.Get(name); v != "" {
			s = strings.ReplaceAll(s, v, "<redacted>")
		}
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\uFFFD':
			return '?'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > descriptionMax {
		s = string(r[:descriptionMax]) + "…"
	}
	return strings.TrimSpace(s)
}

// grant asks for a token; form says by what right.
func (i issuer) grant(ctx context.Context, e Endpoint, form url.Values) (token, error) {
	form.Set("client_id", i.config.ClientID)
	if i.config.ClientSecret != "" {
		form.Set("client_secret", i.config.ClientSecret)
	}
	var a struct {
		Access  string `json:"access_token"`
		Type    string `json:"token_type"`
		Refresh string `json:"refresh_token"`
		Expires any    `json:"expires_in"`
	}
	began := time.Now()
	status, err := i.post(ctx, e.TokenURL, form, &a)
	if err != nil {
		return token{}, err
	}
	if a.Access == "" || a.Type != "" && !strings.EqualFold(a.Type, "bearer") || strings.ContainsAny(a.Access, "\x01\r\n\x00 ") {
		return token{}, &Error{Issuer: i.config.Issuer(), Status: status}
	}
	return token{access: a.Access, refresh: a.Refresh, got: began, expires: began.Add(lifetime(a.Expires))}, nil
}

// lifetime reads expires_in, which some issuers write as text.
func lifetime(v any) time.Duration {
	n := 0.0
	switch v := v.(type) {
	case float64:
		n = v
	case string:
		n, _ = strconv.ParseFloat(v, 64)
	}
	const longest = 365 * 24 * time.Hour
	if n <= 0 || n != n {
		return lifetimeUnknown
	}
	return time.Duration(min(n, longest.Seconds()) * float64(time.Second))
}

// byClient is RFC 6749 §4.4: the program itself.
func (i issuer) byClient(ctx context.Context) (token, error) {
	e, err := i.config.Endpoint(false)
	if err != nil {
		return token{}, err
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(e.Scopes) > 0 {
		form.Set("scope", strings.Join(e.Scopes, " "))
	}
	return i.grant(ctx, e, form)
}

// byRefresh is RFC 6749 §6: somebody who logged in once. The scope is left to
// what was agreed then, unless the operator names some.
func (i issuer) byRefresh(ctx context.Context, refresh string) (token, error) {
	e, err := i.config.Endpoint(true)
	if err != nil {
		return token{}, err
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}
	if len(i.config.Scopes) > 0 {
		form.Set("scope", strings.Join(i.config.Scopes, " "))
	}
	return i.grant(ctx, e, form)
}
