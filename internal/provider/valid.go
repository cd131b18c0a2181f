package provider

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// pattern is a compiled regular expression of the catalogue.
type pattern = *regexp.Regexp

// compile prepares every regular expression of the catalogue once.
func (c *Catalogue) compile() error {
	var bad []error
	add := func(where string, texts ...string) {
		for _, t := range texts {
			if t == "" || c.patterns[t] != nil {
				continue
			}
			re, err := regexp.Compile(t)
			if err != nil {
				bad = append(bad, fmt.Errorf("%s: %w", where, err))
				continue
			}
			c.patterns[t] = re
		}
	}
	for _, p := range c.Providers {
		add(p.Name, p.Auth.UserShape, p.Auth.PassShape, p.Auth.SameIf, p.Headers.MessageIDReply)
		for _, r := range p.Replies {
			add(p.Name, r.Text)
		}
		for _, w := range p.Auth.Wrong {
			add(p.Name, w.User, w.Pass)
		}
	}
	return errors.Join(bad...)
}

// classes are those of RC-73.
var classes = []string{"hard", "soft", "throttle", "policy", "auth", "reputation", "config"}

// valid says everything that is wrong with the catalogue.
func (c *Catalogue) valid() error {
	var bad []error
	seen := map[string]string{}
	for _, p := range c.Providers {
		for _, name := range append([]string{p.Name}, p.Aliases...) {
			if other := seen[fold(name)]; other != "" {
				bad = append(bad, fmt.Errorf("%s: the name %q is %s's already", p.Name, name, other))
			}
			seen[fold(name)] = p.Name
		}
		for _, problem := range p.problems() {
			bad = append(bad, fmt.Errorf("provider %q: %s", p.Name, problem))
		}
		for _, r := range p.Replies {
			if _, rest := splitReply(r.Example); r.Text != "" && !c.patterns[r.Text].MatchString(rest) {
				bad = append(bad, fmt.Errorf("provider %q: %q does not find its example %q", p.Name, r.Text, r.Example))
			}
		}
	}
	for _, n := range c.Networks {
		for _, problem := range n.problems() {
			bad = append(bad, fmt.Errorf("network %q: %s", n.Name, problem))
		}
	}
	return errors.Join(bad...)
}

func (p *Provider) problems() []string {
	out := stamp(p.Source, p.Checked, p.Confidence)
	if !nameRE.MatchString(p.Name) || p.Title == "" || p.ID == "" {
		out = append(out, "needs id, name (a-z, 0-9, -) and title")
	}
	if len(p.Ports) == 0 && !p.OwnHost {
		out = append(out, "has no port")
	}
	if len(p.Regions) == 0 && !p.OwnHost {
		out = append(out, "has no host; own_host = true if only its user knows it")
	}
	for i, r := range p.Regions {
		if !hostRE.MatchString(r.Host) || !known(r.Confidence) {
			out = append(out, fmt.Sprintf("region %q: host %q or confidence %q is wrong", r.Name, r.Host, r.Confidence))
		}
		if slices.ContainsFunc(p.Regions[:i], func(o Region) bool { return o.Name == r.Name || o.Host == r.Host }) {
			out = append(out, fmt.Sprintf("region %q or host %q stands twice", r.Name, r.Host))
		}
	}
	for i, port := range p.Ports {
		if port.Number == 0 || slices.ContainsFunc(p.Ports[:i], func(o Port) bool { return o.Number == port.Number }) {
			out = append(out, fmt.Sprintf("port %d is none or stands twice", port.Number))
		}
	}
	for _, h := range slices.Concat(p.MX, p.Patterns) {
		if !hostRE.MatchString(placeholder.Replace(h)) {
			out = append(out, fmt.Sprintf("%q is no host name", h))
		}
	}
	for _, r := range p.Replies {
		out = append(out, r.problems()...)
	}
	if p.Auth.Hint == "" {
		out = append(out, "auth.hint must say what user and password are here")
	}
	return out
}

func (r ReplyHint) problems() (out []string) {
	if code, _ := splitReply(r.Example); r.Example == "" || r.Code != 0 && code != r.Code {
		out = append(out, fmt.Sprintf("reply %q: the example %q is none of code %d", r.Text, r.Example, r.Code))
	}
	if !slices.Contains(classes, r.Class) || r.Means == "" || r.Do == "" || !known(r.Confidence) {
		out = append(out, fmt.Sprintf("reply %q needs a class (%s), means and do", r.Text, strings.Join(classes, ", ")))
	}
	if r.Code == 0 && r.Text == "" {
		out = append(out, "a reply with neither code nor text fits everything")
	}
	return out
}

func (n Network) problems() []string {
	out := stamp(n.Source, n.Checked, n.Confidence)
	if !nameRE.MatchString(n.Name) || n.Title == "" || n.ID == "" || n.WayOut == "" {
		out = append(out, "needs id, name, title and way_out")
	}
	if !slices.Contains([]string{"cloud", "access", "local"}, n.Kind) {
		out = append(out, "kind is cloud, access or local")
	}
	for _, port := range []uint16{25, 465, 587, 2525} {
		f, ok := n.On(port)
		if !ok || !known(f.Confidence) || !slices.Contains([]string{Open, Blocked, Restricted, Intercepted, Mixed, Policy}, f.State) {
			out = append(out, fmt.Sprintf("says nothing, or nothing known, of port %d", port))
		}
	}
	return out
}

// stamp holds that nobody ships a fact without where and when it was read.
func stamp(source, checked, confidence string) (out []string) {
	if source == "" {
		out = append(out, "has no source")
	}
	if _, err := time.Parse(time.DateOnly, checked); err != nil {
		out = append(out, fmt.Sprintf("checked = %q is no date (2006-01-02)", checked))
	}
	if !known(confidence) {
		out = append(out, fmt.Sprintf("confidence %q is not verified, reported or unconfirmed", confidence))
	}
	return out
}

func known(confidence string) bool {
	return confidence == Verified || confidence == Reported || confidence == Unconfirmed
}

var (
	nameRE = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
	// hostRE is a full host name in lower case (RFC 1123 §2.1).
	hostRE      = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$`)
	placeholder = strings.NewReplacer("{region}", "region", "{any}", "any")
)
