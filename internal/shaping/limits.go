package shaping

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limits is what a site gets at most. Zero means: as the next rule that matches
// says.
type Limits struct {
	// Site is the rule's pattern: a site's name ("google.com"), one of the
	// familiar names of operations with several ("google", "microsoft"), a
	// suffix ("*.example.org"), or "*" for all.
	Site          string
	Connections   int  // at one time
	Rate          Rate // of messages
	PerConnection int  // messages on one connection (CLI-41)
	PerDay        int  // recipients in any 24 hours (SH-11); 0: no limit
	Smarthost     bool // it relays for us: what it defers for policy is a request for less
}

// Rate is a number of messages in any window of a length. The zero Rate is no
// limit.
type Rate struct {
	Messages int
	Per      time.Duration
}

// Unlimited is a Rate that overrides a built-in one with no limit.
func Unlimited() Rate { return Rate{Messages: -1} }

// ParseRate reads "600/min", "10/s", "10000/h", "5000/day" or "100/90s".
func ParseRate(s string) (Rate, error) {
	number, per, ok := strings.Cut(s, "/")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if !ok || err != nil || n < 1 {
		return Rate{}, fmt.Errorf("%q is not a rate: write messages/time, as in 600/min", s)
	}
	switch per = strings.TrimSpace(per); per {
	case "s", "sec", "second":
		return Rate{n, time.Second}, nil
	case "m", "min", "minute":
		return Rate{n, time.Minute}, nil
	case "h", "hour":
		return Rate{n, time.Hour}, nil
	case "d", "day":
		return Rate{n, 24 * time.Hour}, nil
	}
	d, err := time.ParseDuration(per)
	if err != nil || d <= 0 {
		return Rate{}, fmt.Errorf("%q is not a rate: %q is no length of time", s, per)
	}
	return Rate{n, d}, nil
}

// String is the inverse of ParseRate.
func (r Rate) String() string {
	switch {
	case r.Messages <= 0:
		return "no limit"
	case r.Per == time.Second:
		return fmt.Sprintf("%d/s", r.Messages)
	case r.Per == time.Minute:
		return fmt.Sprintf("%d/min", r.Messages)
	case r.Per == time.Hour:
		return fmt.Sprintf("%d/h", r.Messages)
	}
	return fmt.Sprintf("%d/%s", r.Messages, r.Per)
}

// defaults are what a site gets that no rule names. A hundred messages on a
// connection is what large receivers ask for at most (CLI-41).
func defaults() Limits {
	return Limits{Site: "*", Connections: 20, PerConnection: 100}
}

// builtin are the limits that large receivers publish or that senders to them
// agreed on (facts as of November 2026; an operator's rules come before them).
// Sites are named by the registrable domain of their MX hosts.
func builtin() []Limits {
	return []Limits{
		{Site: "google.com", Connections: 10, PerConnection: 50},
		{Site: "googlemail.com", Connections: 10, PerConnection: 50},
		{Site: "yahoodns.net", Connections: 10, PerConnection: 20}, // senders.yahooinc.com: 20 a connection
		{Site: "outlook.com", Connections: 10, PerConnection: 50},  // consumer and 365
		{Site: "mx.microsoft", Connections: 10, PerConnection: 50}, // 365 with DANE
		{Site: "icloud.com", Connections: 10, PerConnection: 5},
		{Site: "comcast.net", Connections: 25, PerConnection: 1000},
		{Site: "mimecast.com", Connections: 10},
		{Site: "orange.fr", Connections: 2},
		{Site: "web.de", Connections: 4, PerConnection: 20},
		{Site: "gmx.net", Connections: 4, PerConnection: 20},
		{Site: "yahoo.co.jp", Connections: 2, Rate: Rate{10, time.Second}, PerConnection: 20},
		{Site: "barracudanetworks.com", Connections: 10, PerConnection: 15},
		{Site: "netvigator.com", Connections: 5, PerConnection: 10},
		{Site: "kpnmail.nl", Connections: 10, PerConnection: 10},
		{Site: "qq.com", Connections: 4, PerConnection: 8},
		{Site: "netease.com", Connections: 4, PerConnection: 7},
	}
}

// familiar are the names that people use for operations with several sites.
func familiar(name string) []string {
	switch name {
	case "google", "gmail":
		return []string{"google.com", "googlemail.com"}
	case "yahoo":
		return []string{"yahoodns.net"}
	case "microsoft", "outlook", "microsoft365", "office365":
		return []string{"outlook.com", "mx.microsoft"}
	case "apple", "icloud":
		return []string{"icloud.com"}
	case "gmx", "web.de":
		return []string{"gmx.net", "web.de"}
	}
	return nil
}

// covers reports whether a rule's pattern is for a site.
func covers(pattern, site string) bool {
	pattern, site = strings.ToLower(pattern), strings.ToLower(site)
	if pattern == "*" || pattern == site {
		return true
	}
	for _, f := range familiar(pattern) {
		if f == site {
			return true
		}
	}
	suffix, ok := strings.CutPrefix(pattern, "*")
	return ok && strings.HasPrefix(suffix, ".") && strings.HasSuffix(site, suffix)
}

// limitsFor puts together what the rules say about a site: the operator's in
// their order, but for "*"; then the built-in; then "*"; then the defaults.
func limitsFor(site string, rules []Limits) Limits {
	out := Limits{Site: site}
	fill := func(r Limits, all bool) {
		if (r.Site == "*") != all || !covers(r.Site, site) {
			return
		}
		if out.Connections == 0 {
			out.Connections = r.Connections
		}
		if out.Rate == (Rate{}) {
			out.Rate = r.Rate
		}
		if out.PerConnection == 0 {
			out.PerConnection = r.PerConnection
		}
		if out.PerDay == 0 {
			out.PerDay = r.PerDay
		}
		out.Smarthost = out.Smarthost || r.Smarthost
	}
	for _, r := range rules {
		fill(r, false)
	}
	for _, r := range builtin() {
		fill(r, false)
	}
	for _, r := range rules {
		fill(r, true)
	}
	fill(defaults(), true)
	return out
}
