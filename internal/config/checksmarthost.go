package config

import (
	"fmt"
	"slices"
	"strings"

	"paquebot/internal/mail"
)

func (c *Config) checkSmarthosts(r *report) {
	for _, name := range keysIn(c.Smarthosts) {
		s, path := c.Smarthosts[name], "smarthost."+name
		if name == "mx" || strings.Contains(name, ":") {
			r.faultDo(path, "give it another name", "a smart host cannot be called %q", name)
		}
		s.checkHost(r, name, path)
		s.checkSecurity(r, path)
		s.checkEndpoints(r, path)
		s.checkLimits(r, path)
		c.checkFailover(r, name, path)
	}
}

func (s Smarthost) checkHost(r *report, name, path string) {
	known, region, err := s.Catalogued()
	host := strings.TrimSuffix(strings.TrimPrefix(s.Host, "["), "]")
	switch {
	case err != nil && s.Region != "":
		r.faultDo(path+".region", "the list: paquebot doctor --providers", "%v", err)
	case err != nil:
		r.faultDo(path+".provider", `the list: paquebot doctor --providers; or write host = "…" instead`, "%v", err)
	case s.Region != "" && region == nil:
		r.faultDo(path+".region", "delete this line, or name the provider", "region %q belongs to no provider", s.Region)
	case known != nil && known.OwnHost && s.Host == "" && !s.endpointsHaveHosts():
		r.faultDo(path, "add host = \"…\"; "+known.Auth.Hint, "the host of %s is your own, so the catalogue cannot know it", known.Title)
	case s.Host == "" && s.HostName() == "" && !s.endpointsHaveHosts():
		r.faultDo(path, `add provider = "sendgrid", or host = "smtp.provider.example"`, "[smarthost.%s] has no host", name)
	case s.Host != "" && !isDomain(host) && !isAddr(host):
		r.faultDo(path+".host", `only the name; ports stand in ports = [587]`, "host %q is not a host name", s.Host)
	}
	if s.MX && (isAddr(host) || strings.HasPrefix(s.Host, "[") || region != nil && s.Host == "" || len(s.Endpoints) > 0) {
		r.faultDo(path+".mx", "delete this line", "mx = true needs host to be a mail domain, without brackets and without endpoints")
	}
}

func (s Smarthost) endpointsHaveHosts() bool {
	return len(s.Endpoints) > 0 && !slices.ContainsFunc(s.Endpoints, func(e Endpoint) bool { return e.Host == "" })
}

// checkEndpoints: all are equally secure; one without TLS is opted into, near
// by, and without a password (SH-4).
func (s Smarthost) checkEndpoints(r *report, path string) {
	for i, p := range s.Ports {
		if p < 1 || p > 65535 {
			r.fault(fmt.Sprintf("%s.ports[%d]", path, i), "%d is no port", p)
		}
	}
	if s.Ports != nil && len(s.Ports) == 0 {
		r.faultDo(path+".ports", "delete this line for the usual ones", "ports is empty")
	}
	if len(s.Ports) > 0 && len(s.Endpoints) > 0 {
		r.faultDo(path+".ports", "delete one of the two", "%s has both ports and endpoints", path)
	}
	var open, safe int
	for i, e := range s.Endpoints {
		at := fmt.Sprintf("%s.endpoints[%d]", path, i)
		host := strings.ToLower(strings.Trim(e.Host, "[]"))
		if host == "" {
			host = s.HostName()
		}
		if e.Port < 1 || e.Port > 65535 {
			r.faultDo(at, "add port = 587", "%d is no port", e.Port)
		}
		if host != "" && !isDomain(host) && !isAddr(host) {
			r.faultDo(at+".host", "only the name", "host %q is not a host name", e.Host)
		}
		if !slices.Contains([]string{"", "starttls", "tls", "none"}, e.TLS) {
			r.faultDo(at+".tls", "one of: starttls, tls, none", "tls cannot be %q there", e.TLS)
		}
		if e.TLS != "none" {
			safe++
			continue
		}
		open++
		switch {
		case !isNear(host):
			r.faultDo(at+".tls", "delete tls = \"none\"; it is allowed only for a loopback or private address, such as 10.0.0.25", "mail would go to %q in clear", host)
		case s.hasSecret():
			r.faultDo(at+".tls", "use tls = \"starttls\" or \"tls\" there, or no username and password", "the password would go to %q in clear", host)
		}
	}
	if open > 0 && safe > 0 {
		r.faultDo(path+".endpoints", "give those without TLS a [smarthost] of their own", "%s mixes endpoints with TLS and without: whoever blocks the former would get the mail in clear", path)
	}
}

func (s Smarthost) hasSecret() bool { return !s.Password.IsZero() || s.OAuth2 != nil }

// checkSecurity: security never falls back (P4), and is not configured away
// where there is something to lose.
func (s Smarthost) checkSecurity(r *report, path string) {
	secret := s.hasSecret()
	switch {
	case s.TLS == string(mail.Clear) && !isLoopback(s.HostName()):
		r.faultDo(path+".tls", `delete this line; a relay of your own network without TLS is a route with via = "smtp://HOST:PORT"`,
			"mail and password would go to %q in clear", s.HostName())
	case s.TLS == string(mail.Clear) && secret:
		r.faultDo(path+".tls", "delete this line, or username and password", "a password is never sent in clear, not even to %q", s.HostName())
	case s.TLS == "encrypt" && secret:
		r.faultDo(path+".tls", `delete this line, and name the host's own root with ca = "…" if it has one`,
			"tls = \"encrypt\" shows the password to whoever answers for %q", s.HostName())
	}
	if s.Username != "" && !secret || s.User() == "" && !s.Password.IsZero() {
		r.faultDo(path, "give both username and password, or neither", "%s has half of a credential", path)
	}
	if !s.Password.IsZero() && s.OAuth2 != nil {
		r.faultDo(path+".oauth2", "delete one of the two", "%s has both a password and oauth2", path)
	}
	if s.OAuth2 != nil {
		s.OAuth2.check(r, path+".oauth2")
	}
	if (s.ClientCert == "") != (s.ClientKey == "") {
		r.faultDo(path, "give both client_cert and client_key", "%s has half of a client certificate", path)
	}
}

// checkShape looks whether a credential is one of that provider's at all, before
// the provider does (SH-14). It only warns: providers change their ways.
func (s Smarthost) checkShape(r *report, path string) {
	p, _, err := s.Catalogued()
	if err != nil || p == nil || s.Password.Reveal() == "" {
		return
	}
	if err := p.CheckCredential(s.User(), s.Password.Reveal()); err != nil {
		at := path + ".password"
		if s.Username != "" && p.Auth.User != "" && s.Username != p.Auth.User {
			at = path + ".username"
		}
		r.warn(at, p.Auth.Hint, "this is no credential of %s: %v", p.Title, err)
	}
}

func (s Smarthost) checkLimits(r *report, path string) {
	for _, limit := range []struct {
		key string
		n   int
	}{{"connections", s.Connections}, {"messages_per_connection", s.MessagesPerConnection},
		{"recipients_per_message", s.RecipientsPerMessage}, {"quota_per_day", s.QuotaPerDay}} {
		if limit.n < 0 {
			r.faultDo(path+"."+limit.key, "delete this line for the default", "%s = %d lets nothing leave", limit.key, limit.n)
		}
	}
	if s.Recheck <= 0 {
		r.faultDo(path+".recheck", "delete this line for the default", "recheck must be more than 0s")
	}
}

// checkFailover: another provider takes over only by explicit rule (SH-10).
func (c *Config) checkFailover(r *report, name, path string) {
	s := c.Smarthosts[name]
	if s.Failover == "" {
		return
	}
	other, ok := c.Smarthosts[s.Failover]
	switch {
	case !ok:
		r.faultDo(path+".failover", viaRemedy(s.Failover, keysIn(c.Smarthosts)), "failover %q is no smart host", s.Failover)
	case s.Failover == name:
		r.faultDo(path+".failover", "name another smart host", "%q cannot take over from itself", name)
	case other.Failover != "" && other.Failover != name:
		r.faultDo("smarthost."+s.Failover+".failover", "delete this line", "failover leads one step, not on to %q", other.Failover)
	case other.Failover == name:
		r.faultDo(path+".failover", "delete one of them", "%q and %q take over from each other", name, s.Failover)
	}
	if s.FailoverAfter <= 0 {
		r.faultDo(path+".failover_after", "delete this line for 15m", "with failover_after = 0s every hiccup changes the provider")
	}
}

func (o *OAuth2) check(r *report, path string) {
	if o.TokenURL == "" && o.Tenant == "" && o.Preset == "" {
		r.faultDo(path, `add token_url, or preset = "google", or tenant for Microsoft`, "%s does not say where tokens come from", path)
	}
	if o.ClientID == "" {
		r.faultDo(path, "add the application's id, client_id", "%s has no client_id", path)
	}
	if o.TokenURL != "" && !isHTTPS(o.TokenURL) {
		r.faultDo(path+".token_url", "use https", "token_url %q would show the client secret", o.TokenURL)
	}
	if o.DeviceURL != "" && !isHTTPS(o.DeviceURL) {
		r.faultDo(path+".device_url", "use https", "device_url %q could be anybody", o.DeviceURL)
	}
}
