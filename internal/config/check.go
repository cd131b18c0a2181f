package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// check finds what is wrong beyond spelling, from the text alone.
func (c *Config) check(r *report) {
	c.checkAllowed(r)
	c.checkNames(r)
	c.checkTLS(r)
	c.checkListeners(r)
	c.checkDomains(r)
	c.checkSmarthosts(r)
	c.checkPools(r)
	c.checkRoutes(r)
	c.checkShapes(r)
	c.checkQueue(r)
	c.checkLimits(r)
	c.checkAuth(r)
	c.checkAccounts(r)
	c.checkServices(r)
}

// checkAllowed compares with the Values of the table of keys, so that the
// reference page and the check cannot differ.
func (c *Config) checkAllowed(r *report) {
	for _, e := range flatten(c) {
		k, ok := FindKey(e.path)
		if !ok || k.Values == "" || e.empty {
			continue
		}
		allowed := strings.Split(k.Values, "|")
		for _, got := range words(e.value) {
			if slices.Contains(allowed, got) {
				continue
			}
			remedy := "one of: " + strings.Join(allowed, ", ")
			if n := Nearest(got, allowed); n != "" {
				remedy = "Did you mean " + strconv.Quote(n) + "? " + remedy
			}
			r.faultDo(e.path, remedy, "%s cannot be %q", keyName(e.path), got)
		}
	}
}

// isTarget: an alias leads to an address, or to a local part of its own domain.
func isTarget(s string) bool {
	return isAddress(s) || !strings.Contains(s, "@") && isAddress(s+"@example.org")
}

// words are the strings of a value written as TOML: one, or a list's. None of
// the words that are allowed anywhere holds a quotation mark.
func words(value string) []string {
	if !strings.HasPrefix(value, "[") {
		one, _ := strconv.Unquote(value)
		return []string{one}
	}
	var all []string
	for i, part := range strings.Split(value, `"`) {
		if i%2 == 1 {
			all = append(all, part)
		}
	}
	return all
}

func (c *Config) checkNames(r *report) {
	if c.Hostname != "" && !isDomain(c.Hostname) {
		r.faultDo("hostname", `a full name such as "mx1.example.org"`, "hostname %q is not a host name", c.Hostname)
	} else if c.Hostname != "" && !strings.Contains(c.Hostname, ".") {
		r.warn("hostname", "servers refuse mail from a name without a domain; give the full name", "hostname %q has no domain", c.Hostname)
	}
	if c.DataDir == "" || !strings.HasPrefix(c.DataDir, "/") {
		r.faultDo("data_dir", "write the whole path, from /", "data_dir %q depends on where the server is started", c.DataDir)
	}
}

func (c *Config) checkTLS(r *report) {
	switch {
	case c.TLS.Cert != "" && c.TLS.Key == "":
		r.faultDo("tls.cert", "add key = \"…\", the file with its private key", "[tls] has a certificate and no key")
	case c.TLS.Key != "" && c.TLS.Cert == "":
		r.faultDo("tls.key", "add cert = \"…\", the file with its certificate", "[tls] has a key and no certificate")
	}
}

// standardPort is whose port it is (standards §2).
var standardPort = map[string]string{"25": "mx", "465": "submissions", "587": "submission"}

func (c *Config) checkListeners(r *report) {
	if len(c.Listeners) == 0 {
		r.faultDo("listener", "delete this line for the four standard ports", "with no listener the server takes no mail")
	}
	seen := map[string]int{}
	for i, l := range c.Listeners {
		path := fmt.Sprintf("listener[%d]", i)
		host, port, err := net.SplitHostPort(l.Address)
		if err != nil || !isPort(port) || host != "" && !isAddr(host) {
			r.faultDo(path+".address", `write ":587" or "192.0.2.1:587"`, "address %q is not an IP address with a port", l.Address)
			continue
		}
		if j, twice := seen[l.Address]; twice && port != "0" {
			r.faultDo(path+".address", "delete one of them", "address %q is listened on already by listener %d", l.Address, j+1)
		}
		seen[l.Address] = i
		if l.Role == "" {
			r.faultDo(path+".role", `say role = "mx", "submission" or "submissions"`, "listener %q has no role", l.Address)
			continue
		}
		l.checkRole(r, path, port)
		l.checkExtras(r, path, host)
	}
	for a := range seen { // ":25" and "192.0.2.1:25" cannot both be had
		host, port, _ := net.SplitHostPort(a)
		if j, all := seen[":"+port]; host != "" && all && port != "0" {
			r.faultDo(fmt.Sprintf("listener[%d].address", seen[a]), "delete one of them, or give each an address of its own",
				"address %q is listened on already by listener %d, which takes all addresses", a, j+1)
		}
	}
}

// checkRole keeps one port to one job (P5).
func (l Listener) checkRole(r *report, path, port string) {
	if job, ok := standardPort[port]; ok && job != l.Role && !l.AnyPort {
		why := map[string]string{
			"25":  "25 is where servers bring mail, without AUTH",
			"465": "clients begin with TLS on 465",
			"587": "clients expect STARTTLS and AUTH on 587",
		}[port]
		r.faultDo(path+".role", fmt.Sprintf("%s: say role = %q, take another port, or add any_port = true", why, job),
			"port %s is not for role %q", port, l.Role)
	}
	if l.Role == "mx" && l.InsecureAuth {
		r.faultDo(path+".insecure_auth", "delete this line, or make it a submission listener", "an mx listener never offers AUTH")
	}
	if l.Role != "mx" && l.GreetingDelay > 0 {
		r.faultDo(path+".greeting_delay", "delete this line", "greeting_delay is for mx listeners; here it would only make people wait")
	}
	if l.GreetingDelay > 10*time.Second {
		r.faultDo(path+".greeting_delay", "at most 10s", "greeting_delay of %s makes honest servers hang up", FormatDuration(l.GreetingDelay))
	}
}

func (l Listener) checkExtras(r *report, path, host string) {
	if l.InsecureAuth && l.Role != "mx" && !isLoopback(host) {
		r.faultDo(path+".insecure_auth", "passwords would cross the network in clear; listen on 127.0.0.1, or delete this line",
			"insecure_auth is for loopback only, and %q is not", l.Address)
	}
	for i, p := range l.Trusted {
		if p.Bits() == 0 {
			r.faultDo(fmt.Sprintf("%s.trusted[%d]", path, i), "name the networks of your own machines", "trusting %s makes this server an open relay", p)
		}
	}
	for i, p := range l.XClient {
		if p.Bits() == 0 {
			r.faultDo(fmt.Sprintf("%s.xclient[%d]", path, i), "name the proxy's address", "xclient from %s lets anybody pretend to be anybody", p)
		}
	}
	if l.MaxConnections < 1 {
		r.faultDo(path+".max_connections", "delete this line for the default", "a listener with max_connections = %d takes nobody", l.MaxConnections)
	}
}

func (c *Config) checkDomains(r *report) {
	seen := map[string]bool{}
	for i, d := range c.Domains {
		path := fmt.Sprintf("domain[%d]", i)
		name := strings.ToLower(d.Name)
		if !isDomain(strings.TrimPrefix(name, "*.")) {
			r.faultDo(path+".name", `write name = "example.org"`, "domain name %q is not a domain", d.Name)
		}
		if seen[name] {
			r.faultDo(path+".name", "delete one of them", "domain %q stands here twice", d.Name)
		}
		seen[name] = true
		if d.Deliver == "" {
			r.faultDo(path, `add deliver = "lmtp://127.0.0.1:24", or where its mail goes`, "domain %q is delivered nowhere", d.Name)
		} else if err := checkDestination(d.Deliver); err != nil {
			r.faultDo(path+".deliver", destinationRemedy, "deliver: %v", err)
		}
		if d.Recipients.Verify && !strings.Contains(d.Deliver, "mtp:") {
			r.faultDo(path+".recipients", `only smtp and lmtp can be asked; give a list, or "any"`, "recipients = \"verify\" needs a next hop that speaks SMTP or LMTP")
		}
		if d.CatchAll != "" && !isTarget(d.CatchAll) {
			r.faultDo(path+".catch_all", `an address, "anna@example.org", or a local part of this domain`, "catch_all %q is not an address", d.CatchAll)
		}
		for name, to := range d.Aliases.Table {
			for _, t := range to {
				if !isTarget(t) {
					r.faultDo(join(path+".aliases", name), `an address, "anna@example.org", or a local part of this domain`, "alias %q leads to %q, which is not an address", name, t)
				}
			}
		}
	}
}

const destinationRemedy = `one of: lmtp://HOST:PORT, lmtp:/PATH, smtp://HOST:PORT, maildir:/PATH/{local}, https://HOST/PATH, catch`

// checkDestination tells whether a text says where mail goes.
func checkDestination(s string) error {
	scheme, rest, ok := strings.Cut(s, ":")
	if s == "catch" {
		return nil
	}
	if !ok {
		return fmt.Errorf("%q does not say how", s)
	}
	switch scheme {
	case "lmtp", "smtp", "smtps":
		if scheme == "lmtp" && strings.HasPrefix(rest, "/") && !strings.HasPrefix(rest, "//") {
			return nil
		}
		return checkHostPort(s)
	case "maildir":
		if !strings.HasPrefix(rest, "/") {
			return fmt.Errorf("%q: a maildir needs its whole path", s)
		}
		return nil
	case "https", "http":
		u, err := url.Parse(s)
		if err != nil || u.Host == "" {
			return fmt.Errorf("%q is not an address of the web", s)
		}
		if scheme == "http" && !isLoopback(u.Hostname()) {
			return fmt.Errorf("%q would carry mail in clear; use https", s)
		}
		return nil
	case "catch":
		return nil
	}
	return fmt.Errorf("%q: %q is no way to deliver", s, scheme)
}

func checkHostPort(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Path != "" && u.Path != "/" {
		return fmt.Errorf("%q is not HOST:PORT", s)
	}
	if u.Port() == "0" || u.Port() != "" && !isPort(u.Port()) {
		return fmt.Errorf("%q: %q is no port", s, u.Port())
	}
	if !isDomain(u.Hostname()) && !isAddr(u.Hostname()) {
		return fmt.Errorf("%q is no host name", u.Hostname())
	}
	return nil
}

func (c *Config) checkRoutes(r *report) {
	names := append(keysIn(c.Smarthosts), keysIn(c.Pools)...)
	used := map[string]bool{}
	for i, t := range c.Routes {
		path := fmt.Sprintf("route[%d]", i)
		used[t.Via], used[t.Pool] = true, true
		switch {
		case t.Via == "" && t.Pool == "":
			r.faultDo(path, `add via = "mx", a smart host's name, or smtp://HOST:PORT`, "route %d leads nowhere", i+1)
		case t.Via == "" || t.Via == "mx" || slices.Contains(names, t.Via):
		case strings.Contains(t.Via, ":") || t.Via == "catch":
			if err := checkDestination(t.Via); err != nil {
				r.faultDo(path+".via", destinationRemedy, "via: %v", err)
			}
		default:
			r.faultDo(path+".via", viaRemedy(t.Via, names), "via %q is neither a smart host nor a pool", t.Via)
		}
		if _, ok := c.Pools[t.Pool]; t.Pool != "" && !ok {
			r.faultDo(path+".pool", viaRemedy(t.Pool, keysIn(c.Pools)), "there is no [pool.%s]", t.Pool)
		}
		if i < len(c.Routes)-1 && t.Match.isAll() {
			r.warn(path, "the first route that matches is taken; put this one last", "route %d takes all mail, so those below are never reached", i+1)
		}
	}
	for _, name := range keysIn(c.Smarthosts) {
		if !used[name] {
			r.warn("smarthost."+name, unusedRemedy(name, c.Routes), "[smarthost.%s] is used by no route", name)
		}
	}
	for _, name := range keysIn(c.Pools) {
		if !used[name] {
			r.warn("pool."+name, `add pool = "`+name+`" to a route`, "[pool.%s] is used by no route", name)
		}
	}
}

func (m Match) isAll() bool { return len(m.Recipient)+len(m.Sender)+len(m.Account) == 0 }

func viaRemedy(name string, names []string) string {
	if n := Nearest(name, names); n != "" {
		return "Did you mean " + strconv.Quote(n) + "?"
	}
	return fmt.Sprintf("add [smarthost.%s] with host = \"…\", or say via = \"mx\" or \"smtp://HOST:PORT\"", name)
}

func unusedRemedy(name string, routes []Route) string {
	for _, t := range routes {
		if Nearest(t.Via, []string{name}) != "" {
			return fmt.Sprintf("A route asks for %q. Same name meant?", t.Via)
		}
	}
	return fmt.Sprintf("add [[route]] with via = %q, else mail goes to the MX of its domain", name)
}

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

func (c *Config) checkPools(r *report) {
	for _, name := range keysIn(c.Pools) {
		path := "pool." + name
		if _, both := c.Smarthosts[name]; both {
			r.faultDo(path, "give one of them another name", "%q is both a pool and a smart host", name)
		}
		for i, s := range c.Pools[name].Sources {
			at := fmt.Sprintf("%s.sources[%d]", path, i)
			if !s.Address.IsValid() {
				r.faultDo(at, `add address = "192.0.2.10"`, "a source of pool %q has no address", name)
			}
			if s.Ehlo != "" && !isDomain(s.Ehlo) {
				r.faultDo(at+".ehlo", `a full name such as "out1.example.org"`, "ehlo %q is not a host name", s.Ehlo)
			}
		}
		if len(c.Pools[name].Sources) == 0 {
			r.faultDo(path, `add sources = [{ address = "192.0.2.10", ehlo = "out1.example.org" }]`, "[%s] has no sources", path)
		}
	}
}

func (c *Config) checkShapes(r *report) {
	for i, s := range c.Shapes {
		path := fmt.Sprintf("shape[%d]", i)
		if s.Site == "" {
			r.faultDo(path, `add site = "…"`, "shape %d is for no site", i+1)
		}
		if s.Connections < 1 || s.MessagesPerConnection < 1 {
			r.faultDo(path, "to stop a site for a while: paquebot queue hold --site "+s.Site, "with 0 connections or messages nothing ever leaves for site %q", s.Site)
		}
	}
}

func (c *Config) checkQueue(r *report) {
	q := c.Queue
	if len(q.Retry) == 0 {
		r.faultDo("queue.retry", "delete this line for the default", "retry is empty, so nothing would be tried again")
	}
	for i, d := range q.Retry {
		if d < time.Second {
			r.faultDo(fmt.Sprintf("queue.retry[%d]", i), "at least 1s; sites take minutes for polite", "a pause of %s is none", FormatDuration(d))
		}
	}
	if len(q.Retry) > 0 && q.Retry[0] > q.Expire && q.Expire > 0 {
		r.warn("queue.retry", "", "the first retry comes after a message has expired")
	}
	if q.Expire < time.Minute {
		r.faultDo("queue.expire", `the standard asks for 4 to 5 days: "5d"`, "expire of %s gives mail up before it was tried", FormatDuration(q.Expire))
	}
	if q.Workers < 1 {
		r.fault("queue.workers", "with workers = %d nothing ever leaves", q.Workers)
	}
}

func (c *Config) checkLimits(r *report) {
	l := c.Limits
	if l.Recipients < 100 {
		r.faultDo("limits.recipients", "RFC 5321 §4.5.3.1.8 demands 100", "recipients = %d refuses mail that every server must take", l.Recipients)
	}
	if l.MessageSize < 64<<10 {
		r.faultDo("limits.message_size", "RFC 5321 §4.5.3.1.7 demands 64KiB", "message_size = %s refuses mail that every server must take", l.MessageSize)
	}
	for _, e := range flatten(c) {
		if strings.HasPrefix(e.path, "limits.") && e.value == "0" && !strings.HasPrefix(e.path, "limits.account_") {
			r.faultDo(e.path, "delete this line for the default", "%s = 0 would refuse everything", e.path)
		}
	}
}

// mechanisms that exist here.
var mechanisms = []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2", "EXTERNAL"}

func (c *Config) checkAuth(r *report) {
	for i, m := range c.Auth.Mechanisms {
		path := fmt.Sprintf("auth.mechanisms[%d]", i)
		switch {
		case !slices.Contains(mechanisms, m):
			remedy := "one of: " + strings.Join(mechanisms, ", ")
			if n := Nearest(strings.ToUpper(m), mechanisms); n != "" {
				remedy = "Did you mean " + n + "?"
			}
			r.faultDo(path, remedy, "there is no mechanism %q", m)
		case (m == "OAUTHBEARER" || m == "XOAUTH2") && c.Auth.OAuth.Issuer == "":
			r.faultDo(path, "add [auth.oauth] with issuer and audience", "%s needs to know whose tokens to believe", m)
		case m == "EXTERNAL" && c.Auth.ClientCA == "":
			r.faultDo(path, `add client_ca = "…" to [auth]`, "EXTERNAL needs to know whose certificates to believe")
		}
	}
	if o := c.Auth.OAuth; o.Issuer != "" && !isHTTPS(o.Issuer) {
		r.faultDo("auth.oauth.issuer", "use https", "issuer %q could be anybody", o.Issuer)
	} else if o.Issuer != "" && o.Audience == "" {
		r.faultDo("auth.oauth.issuer", `add audience = "…", else tokens made for any other service open this one`, "[auth.oauth] has no audience")
	}
}

func (c *Config) checkAccounts(r *report) {
	seen := map[string]bool{}
	for i, a := range c.Accounts {
		path := fmt.Sprintf("account[%d]", i)
		switch {
		case a.Name == "":
			r.faultDo(path, `add name = "…"`, "account %d has no name", i+1)
		case seen[a.Name]:
			r.faultDo(path+".name", "delete one of them", "account %q stands here twice", a.Name)
		}
		seen[a.Name] = true
		if a.PasswordHash != "" && !strings.HasPrefix(a.PasswordHash, "$argon2id$") {
			r.faultDo(path+".password_hash", "make it with: paquebot account add NAME --hash-only", "the password_hash of account %q is not an argon2id hash", a.Name)
		}
	}
}

func (c *Config) checkServices(r *report) {
	for i, s := range c.DNS.Servers {
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			host, port = s, "53"
		}
		if !isAddr(host) || !isPort(port) {
			r.faultDo(fmt.Sprintf("dns.servers[%d]", i), `write "127.0.0.1:53"`, "%q is not the address of a resolver", s)
		}
	}
	for path, a := range map[string]string{"console.address": c.Console.Address, "metrics.address": c.Metrics.Address} {
		host, port, err := net.SplitHostPort(a)
		switch {
		case a == "":
		case err != nil || !isPort(port) || host != "" && host != "localhost" && !isAddr(host):
			r.faultDo(path, `write "127.0.0.1:9125"`, "%s %q is not an address with a port", path, a)
		case path == "console.address" && !isLoopback(host):
			r.faultDo(path, `listen on 127.0.0.1 and put a proxy with a password, or "ssh -L", in front`, "the console has no password of its own, and %q is not loopback", a)
		}
	}
	if c.DNS.Timeout <= 0 {
		r.fault("dns.timeout", "timeout must be more than 0s")
	}
}

// ---- small judgements ----

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

func isAddr(s string) bool {
	_, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return err == nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && a.IsLoopback()
}

func isHTTPS(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != ""
}

// isDomain is RFC 5321's Domain, or the same in UTF-8 (RFC 6531).
func isDomain(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for l := range strings.SplitSeq(s, ".") {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for _, c := range []byte(l) {
			if !isBare(c) && c < 0x80 {
				return false
			}
		}
	}
	return true
}

func isAddress(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && isDomain(s[at+1:]) && !strings.ContainsAny(s, " \t\r\n<>,")
}
