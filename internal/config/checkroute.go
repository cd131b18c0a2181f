package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

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
	for _, s := range c.Smarthosts {
		used[s.Failover] = true
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
