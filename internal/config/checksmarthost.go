package config

import (
	"fmt"
	"strings"
)

func (c *Config) checkSmarthosts(r *report) {
	for _, name := range keysIn(c.Smarthosts) {
		s, path := c.Smarthosts[name], "smarthost."+name
		if name == "mx" || strings.Contains(name, ":") {
			r.faultDo(path, "give it another name", "a smart host cannot be called %q", name)
		}
		switch {
		case s.Provider != "":
			r.faultDo(path+".provider", `write host = "…" instead (and ports, if not 587, 465, 2525, 25)`,
				"provider %q is unknown: this version has no catalogue of providers yet", s.Provider)
		case s.Host == "":
			r.faultDo(path, `add host = "smtp.provider.example"`, "[smarthost.%s] has no host", name)
		case !isDomain(s.Host) && !isAddr(s.Host):
			r.faultDo(path+".host", `only the name; ports stand in ports = [587]`, "host %q is not a host name", s.Host)
		}
		s.checkSecurity(r, path)
		for i, p := range s.Ports {
			if p < 1 || p > 65535 {
				r.fault(fmt.Sprintf("%s.ports[%d]", path, i), "%d is no port", p)
			}
		}
		if len(s.Ports) == 0 {
			r.faultDo(path+".ports", "delete this line for the usual ones", "ports is empty")
		}
	}
}

// checkSecurity: security never falls back (P4), and is not configured away
// where there is something to lose.
func (s Smarthost) checkSecurity(r *report, path string) {
	secret := !s.Password.IsZero() || s.OAuth2 != nil
	switch {
	case s.TLS == "clear" && !isLoopback(s.Host):
		r.faultDo(path+".tls", `delete this line; a relay of your own network without TLS is a route with via = "smtp://HOST:PORT"`,
			"mail and password would go to %q in clear", s.Host)
	case s.TLS == "encrypt" && secret:
		r.faultDo(path+".tls", `delete this line, and name the host's own root with ca = "…" if it has one`,
			"tls = \"encrypt\" shows the password to whoever answers for %q", s.Host)
	}
	if s.Username != "" && !secret || s.Username == "" && !s.Password.IsZero() {
		r.faultDo(path, "give both username and password, or neither", "%s has half of a credential", path)
	}
	if !s.Password.IsZero() && s.OAuth2 != nil {
		r.faultDo(path+".oauth2", "delete one of the two", "%s has both a password and oauth2", path)
	}
	if o := s.OAuth2; o != nil && o.TokenURL == "" && o.Tenant == "" {
		r.faultDo(path+".oauth2", "add token_url (or tenant, for Microsoft)", "%s.oauth2 does not say where tokens come from", path)
	}
	if o := s.OAuth2; o != nil && o.TokenURL != "" && !isHTTPS(o.TokenURL) {
		r.faultDo(path+".oauth2.token_url", "use https", "token_url %q would show the client secret", o.TokenURL)
	}
	if (s.ClientCert == "") != (s.ClientKey == "") {
		r.faultDo(path, "give both client_cert and client_key", "%s has half of a client certificate", path)
	}
}
