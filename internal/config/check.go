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
