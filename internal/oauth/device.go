package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Code is what a person must do to log in: open the page and type the code.
type Code struct {
	Page    string    // address to open
	User    string    // code to type there
	Whole   string    // the address with the code in it; "" if the issuer gives none
	Message string    // the issuer's own words; may be ""
	Expires time.Time // of the code
}

const (
	pollFirst = 5 * time.Second  // RFC 8628 §3.2, where the issuer says nothing
	pollSlow  = 5 * time.Second  // added at each slow_down (§3.5)
	pollMax   = 5 * time.Minute  // bounds an issuer's wish for slowness
	codeLife  = 15 * time.Minute // where the issuer says nothing, and
	codeMax   = time.Hour        // at most
	// unheardMax is how many questions in a row may go unanswered.
	unheardMax = 5
)

// ErrTooLate: the code ended before anybody used it.
var ErrTooLate = errors.New("the code was not used in time")

// ErrNoDevice: the issuer has no login by device code.
var ErrNoDevice = errors.New("nothing says where device codes come from")

// ErrNoRefresh: the issuer let somebody log in, but only for an hour.
var ErrNoRefresh = errors.New("the issuer gave no refresh token")

// Login is RFC 8628: it asks for a code, shows it, and waits until somebody has
// used it, has refused, or the code has ended. What it returns is to be kept.
func Login(ctx context.Context, c Config, web *http.Client, show func(Code)) (Kept, error) {
	e, err := c.Endpoint(true)
	if err != nil {
		return Kept{}, err
	}
	if e.DeviceURL == "" {
		return Kept{}, ErrNoDevice
	}
	i := newIssuer(c, web)
	var a struct {
		Device   string      `json:"device_code"`
		User     string      `json:"user_code"`
		Page     string      `json:"verification_uri"`
		PageOld  string      `json:"verification_url"` // Google's
		Whole    string      `json:"verification_uri_complete"`
		Message  string      `json:"message"` // Microsoft's
		Expires  json.Number `json:"expires_in"`
		Interval json.Number `json:"interval"`
	}
	form := url.Values{"client_id": {c.ClientID}}
	if len(e.Scopes) > 0 {
		form.Set("scope", strings.Join(e.Scopes, " "))
	}
	began := time.Now()
	status, err := i.post(ctx, e.DeviceURL, form, &a)
	if err != nil {
		return Kept{}, err
	}
	if a.Page == "" {
		a.Page = a.PageOld
	}
	if a.Device == "" || a.User == "" || !secure(a.Page) {
		return Kept{}, &Error{Issuer: c.Issuer(), Status: status}
	}
	if !secure(a.Whole) {
		a.Whole = ""
	}
	code := Code{Page: i.tame(a.Page, form), User: i.tame(a.User, form), Whole: i.tame(a.Whole, form), Message: i.tame(a.Message, form),
		Expires: began.Add(bounded(a.Expires, codeLife, codeMax))}
	show(code)
	return i.await(ctx, e, a.Device, code.Expires, bounded(a.Interval, pollFirst, pollMax))
}

// bounded reads seconds.
func bounded(n json.Number, unset, most time.Duration) time.Duration {
	f, err := n.Float64()
	if err != nil || f <= 0 {
		return unset
	}
	return min(time.Duration(min(f, most.Seconds())*float64(time.Second)), most)
}

// await asks again and again whether somebody has logged in (§3.4, §3.5).
func (i issuer) await(ctx context.Context, e Endpoint, device string, end time.Time, every time.Duration) (Kept, error) {
	unheard := 0
	for {
		select {
		case <-ctx.Done():
			return Kept{}, context.Cause(ctx)
		case <-time.After(every):
		}
		if !time.Now().Before(end) {
			return Kept{}, ErrTooLate
		}
		t, err := i.grant(ctx, e, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {device}})
		var refusal *Error
		switch {
		case err == nil && t.refresh == "":
			return Kept{}, ErrNoRefresh
		case err == nil:
			return Kept{RefreshToken: t.refresh, Obtained: t.got.UTC(), Seed: seed(i.config.RefreshToken), By: "login"}, nil
		case !errors.As(err, &refusal) || ctx.Err() != nil:
			return Kept{}, err
		case refusal.Code == "authorization_pending":
			unheard = 0
		case refusal.Code == "slow_down":
			unheard, every = 0, min(every+pollSlow, pollMax)
		case refusal.Code == "expired_token":
			return Kept{}, ErrTooLate
		case refusal.Code == "" && unheard < unheardMax: // no answer, or a gateway's
			unheard, every = unheard+1, min(2*every, pollMax)
		default:
			return Kept{}, err
		}
	}
}
