package oauth

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Presets there are.
const (
	Microsoft = "microsoft" // Microsoft 365, Exchange Online, Outlook.com
	Google    = "google"    // Gmail and Workspace
)

// Config says who gives tokens, to whom and for what.
type Config struct {
	Preset       string // Microsoft, Google or "": fields below that are empty have its values
	Tenant       string // Microsoft's directory: a domain or an ID; "" is "organizations", for login only
	ClientID     string
	ClientSecret string // "" for a public client, which can only log in
	TokenURL     string
	DeviceURL    string // for Login
	Scopes       []string
	RefreshToken string // of the configuration; one that was kept later counts more
}

// Endpoint is a Config with all its defaults: where to ask and for what.
type Endpoint struct {
	TokenURL  string
	DeviceURL string // "" where there is no login by device code
	Scopes    []string
}

// MicrosoftSend and friends are what a program must ask for to send mail.
const (
	microsoftApp  = "https://outlook.office365.com/.default"    // as itself, by client credentials
	microsoftSend = "https://outlook.office.com/SMTP.Send"      // as a person
	googleMail    = "https://mail.google.com/"                  // as a person
	offline       = "offline_access"                            // with a refresh token
	googleToken   = "https://oauth2.googleapis.com/token"       // #nosec: an address
	googleDevice  = "https://oauth2.googleapis.com/device/code" // RFC 8628 §3.1
	microsoftBase = "https://login.microsoftonline.com/%s/oauth2/v2.0/"
)

// preset returns the preset in force: a tenant is Microsoft's.
func (c Config) preset() string {
	if c.Preset == "" && c.Tenant != "" {
		return Microsoft
	}
	return c.Preset
}

// Endpoint fills in what the preset knows. person says that tokens are for
// somebody who logs in, not for the program itself. The error says what is
// missing or wrong.
func (c Config) Endpoint(person bool) (Endpoint, error) {
	e := Endpoint{TokenURL: c.TokenURL, DeviceURL: c.DeviceURL, Scopes: c.Scopes}
	or := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	switch c.preset() {
	case "":
	case Microsoft:
		tenant := c.Tenant
		if tenant == "" {
			tenant = "organizations"
		}
		base := fmt.Sprintf(microsoftBase, url.PathEscape(tenant))
		or(&e.TokenURL, base+"token")
		or(&e.DeviceURL, base+"devicecode")
		if len(e.Scopes) == 0 {
			e.Scopes = []string{microsoftApp}
			if person {
				e.Scopes = []string{microsoftSend, offline}
			}
		}
	case Google:
		or(&e.TokenURL, googleToken)
		or(&e.DeviceURL, googleDevice)
		if len(e.Scopes) == 0 {
			e.Scopes = []string{googleMail}
		}
	default:
		return e, fmt.Errorf("preset %q is unknown; there are %s and %s", c.Preset, Microsoft, Google)
	}
	if e.TokenURL == "" {
		return e, errors.New("nothing says where tokens come from")
	}
	for _, u := range []string{e.TokenURL, e.DeviceURL} {
		if u != "" && !secure(u) {
			return e, fmt.Errorf("%s is not https", u)
		}
	}
	if c.ClientID == "" {
		return e, errors.New("there is no client_id")
	}
	return e, nil
}

func secure(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil
}

// Issuer is the host that gives the tokens, for people.
func (c Config) Issuer() string {
	e, _ := c.Endpoint(false)
	u, err := url.Parse(e.TokenURL)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}
