package node

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"

	"paquebot/internal/config"
	"paquebot/internal/deliver"
	"paquebot/internal/oauth"
	"paquebot/internal/smtpclient"
)

// credentials are what smart hosts want, by their names.
func (n *Node) credentials(c *config.Config) (map[string]deliver.Credential, error) {
	all := map[string]deliver.Credential{}
	for name, s := range c.Smarthosts {
		v := deliver.Credential{}
		roots, err := readRoots(s.CA)
		if err != nil {
			return nil, fmt.Errorf("smarthost.%s.ca: %w", name, err)
		}
		v.Roots = roots
		if s.ClientCert != "" {
			pair, err := tls.LoadX509KeyPair(s.ClientCert, s.ClientKey)
			if err != nil {
				return nil, fmt.Errorf("smarthost.%s.client_cert: %w", name, err)
			}
			v.Certificates = []tls.Certificate{pair}
		}
		if v.Login, err = n.login(c, name, s); err != nil {
			return nil, fmt.Errorf("smarthost.%s: %w", name, err)
		}
		all[name] = v
	}
	return all, nil
}

// login is how we make ourselves known to a smart host; nil: we do not. Where
// a certificate is all there is, the host may know us by it without AUTH.
func (n *Node) login(c *config.Config, name string, s config.Smarthost) (*smtpclient.Login, error) {
	l := &smtpclient.Login{User: s.User(), Password: s.Password.Reveal(), Only: s.Mechanisms, Certificate: s.ClientCert != ""}
	switch {
	case s.OAuth2 != nil:
		source, err := n.tokens(c.DataDir, name, s.OAuth2)
		if err != nil {
			return nil, fmt.Errorf("oauth2: %w", err)
		}
		l.Token, l.Renew = source.Token, source.Renew
	case s.User() != "" && l.Password != "":
	case l.Certificate:
		l.Optional = !slices.Contains(s.Mechanisms, "EXTERNAL")
	default:
		return nil, nil
	}
	return l, nil
}

// tokensDir is where refresh tokens are kept, in the data directory.
const tokensDir = "oauth"

// Keeper keeps the refresh token of a smart host in a data directory.
func Keeper(dataDir, smarthost string) (*oauth.Keeper, error) {
	return oauth.NewKeeper(filepath.Join(dataDir, tokensDir), smarthost)
}

// Issuer is how a configuration's access tokens are got, and the client to ask
// with.
func Issuer(o *config.OAuth2, web *http.Client) (oauth.Config, *http.Client, error) {
	c := oauth.Config{Preset: o.Preset, Tenant: o.Tenant, ClientID: o.ClientID, ClientSecret: o.ClientSecret.Reveal(),
		TokenURL: o.TokenURL, DeviceURL: o.DeviceURL, Scopes: o.Scopes, RefreshToken: o.RefreshToken.Reveal()}
	roots, err := readRoots(o.CA)
	if err != nil || roots == nil {
		return c, web, err
	}
	return c, trusting(web, roots), nil
}

// trusting is a client that believes an authority of the operator's.
func trusting(web *http.Client, roots *x509.CertPool) *http.Client {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if web != nil {
		if t, mine := web.Transport.(*http.Transport); mine {
			transport, ok = t, true
		}
	}
	if !ok {
		return web
	}
	own := transport.Clone()
	own.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	return &http.Client{Transport: own}
}

// tokens gets access tokens, and keeps what an issuer rotates.
func (n *Node) tokens(dataDir, name string, o *config.OAuth2) (*oauth.Source, error) {
	c, web, err := Issuer(o, n.world.HTTP)
	if err != nil {
		return nil, err
	}
	keeper, err := Keeper(dataDir, name)
	if err != nil {
		return nil, err
	}
	return oauth.New(c, oauth.Needs{Name: name, HTTP: web, Keeper: keeper, Events: n.events})
}
