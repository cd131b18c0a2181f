package provider

import (
	"fmt"
	"slices"
	"strings"
)

// All returns the providers of the program's catalogue, in its order. They are
// shared: whoever needs another one copies it.
func All() []*Provider {
	if c, err := Load(); err == nil {
		return c.Providers
	}
	return nil
}

// Networks returns the networks of the program's catalogue, in its order.
func Networks() []Network {
	if c, err := Load(); err == nil {
		return c.Networks
	}
	return nil
}

// Find looks a provider up by what people write: "sendgrid", "ses:eu-west-1",
// an alias, in any case. Without a region it is the first one. Where the host
// is the operator's own (OwnHost), region is nil. The error of an unknown name
// or region names the nearest that exists.
func Find(name string) (*Provider, *Region, error) {
	c, err := Load()
	if err != nil {
		return nil, nil, err
	}
	return c.Find(name)
}

// Find is the function Find, on this catalogue.
func (c *Catalogue) Find(name string) (*Provider, *Region, error) {
	base, region, given := strings.Cut(strings.TrimSpace(name), ":")
	p := c.named(base)
	if p == nil {
		return nil, nil, c.unknown(base)
	}
	if !given {
		if len(p.Regions) == 0 {
			return p, nil, nil
		}
		return p, &p.Regions[0], nil
	}
	for i := range p.Regions {
		if strings.EqualFold(p.Regions[i].Name, region) && region != "" {
			return p, &p.Regions[i], nil
		}
	}
	return nil, nil, p.unknownRegion(region)
}

func (c *Catalogue) named(name string) *Provider {
	for _, p := range c.Providers {
		if slices.ContainsFunc(append([]string{p.Name}, p.Aliases...), func(s string) bool { return fold(s) == fold(name) }) {
			return p
		}
	}
	return nil
}

// fold makes the spellings of a name equal: "Send Grid", "send-grid", "SendGrid".
func fold(name string) string {
	return strings.NewReplacer(" ", "", "-", "", "_", "", ".", "").Replace(strings.ToLower(name))
}

func (c *Catalogue) unknown(name string) error {
	var names []string
	for _, p := range c.Providers {
		names = append(append(names, p.Name), p.Aliases...)
	}
	if near := nearest(name, names); near != "" {
		return fmt.Errorf("no provider is called %q; did you mean %q?", clip(name), near)
	}
	return fmt.Errorf("no provider is called %q; `paquebot doctor --providers` lists them, and any other is a host with ports", clip(name))
}

func (p *Provider) unknownRegion(region string) error {
	names := p.RegionNames()
	if len(names) == 0 {
		return fmt.Errorf("%s has no regions: write %q", p.Title, p.Name)
	}
	if near := nearest(region, names); near != "" {
		return fmt.Errorf("%s has no region %q here; did you mean %q?", p.Title, clip(region), p.Name+":"+near)
	}
	return fmt.Errorf("%s has no region %q here, only %s; give its host instead if it is new", p.Title, clip(region), strings.Join(names, ", "))
}

// RegionNames returns the names of a provider's regions, none if there is but
// one place without a name.
func (p *Provider) RegionNames() (names []string) {
	for _, r := range p.Regions {
		if r.Name != "" {
			names = append(names, r.Name)
		}
	}
	return names
}

// ByHost says whose submission host a name is. A host that fits a pattern but
// no listed region gets a Region of its own, unconfirmed.
func ByHost(host string) (*Provider, *Region, bool) {
	if c, err := Load(); err == nil {
		return c.ByHost(host)
	}
	return nil, nil, false
}

// ByHost is the function ByHost, on this catalogue.
func (c *Catalogue) ByHost(host string) (*Provider, *Region, bool) {
	host = canonical(host)
	for _, p := range c.Providers {
		for i := range p.Regions {
			if p.Regions[i].Host == host {
				return p, &p.Regions[i], true
			}
		}
	}
	for _, p := range c.Providers {
		for _, pattern := range p.Patterns {
			if region, ok := fits(host, pattern); ok {
				return p, &Region{Name: region, Host: host, Confidence: Unconfirmed}, true
			}
		}
	}
	return nil, nil, false
}

// ByMX says which operator receives mail at a host, to explain its replies
// with that provider's table (RC-71: the same code means different things).
func ByMX(host string) (*Provider, bool) {
	host = canonical(host)
	for _, p := range All() {
		for _, suffix := range p.MX {
			if host == suffix || strings.HasSuffix(host, "."+suffix) {
				return p, true
			}
		}
	}
	return nil, false
}

func canonical(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// fits compares a host with a pattern label by label, and returns what stands
// at {region}.
func fits(host, pattern string) (region string, ok bool) {
	have, want := strings.Split(host, "."), strings.Split(pattern, ".")
	if len(have) != len(want) {
		return "", false
	}
	for i, w := range want {
		switch {
		case have[i] == "":
			return "", false
		case w == "{region}":
			region = have[i]
		case w != "{any}" && w != have[i]:
			return "", false
		}
	}
	return region, true
}

// Whose returns the network whose machines name their maker like one of the
// DMI texts given, or whose addresses have reverse names like one of names.
func Whose(dmi, names []string) (Network, bool) {
	for _, n := range Networks() {
		for _, text := range dmi {
			if slices.ContainsFunc(n.Vendors, func(v string) bool { return strings.Contains(strings.ToLower(text), v) }) {
				return n, true
			}
		}
		for _, name := range names {
			if slices.ContainsFunc(n.Names, func(d string) bool { return strings.HasSuffix("."+canonical(name), "."+d) }) {
				return n, true
			}
		}
	}
	return Network{}, false
}

// TryOrder returns the ports in the order to try them (SH-5): 587, 465, 2525,
// the provider's extras as the catalogue lists them, and 25 last.
func (p *Provider) TryOrder() []Port {
	rank := func(port Port) int {
		if i := slices.Index([]uint16{587, 465, 2525}, port.Number); i >= 0 {
			return i
		}
		if port.Number == 25 {
			return 4
		}
		return 3
	}
	ports := slices.Clone(p.Ports)
	slices.SortStableFunc(ports, func(a, b Port) int { return rank(a) - rank(b) })
	return ports
}

// Port returns the mode the provider publishes for a port.
func (p *Provider) Port(number uint16) (Port, bool) {
	for _, port := range p.Ports {
		if port.Number == number {
			return port, true
		}
	}
	return Port{}, false
}

// Private says whether a header field is one of the provider's own, which no
// other route may see (SH-12).
func (p *Provider) Private(field string) bool {
	return slices.ContainsFunc(p.Headers.Private, func(name string) bool {
		if stem, star := strings.CutSuffix(name, "*"); star {
			return len(field) >= len(stem) && strings.EqualFold(field[:len(stem)], stem)
		}
		return strings.EqualFold(field, name)
	}) || p.Headers.Idempotency != "" && strings.EqualFold(field, p.Headers.Idempotency)
}

// MessageID finds the ID a provider gave a message, in its reply to the final
// dot: "<0102…-000000@eu-west-1.amazonses.com>". r may be nil.
func (p *Provider) MessageID(r *Region, reply string) (string, bool) {
	if !p.Headers.RewritesMessageID || p.Headers.MessageIDReply == "" {
		return "", false
	}
	c, err := Load()
	if err != nil || c.patterns[p.Headers.MessageIDReply] == nil {
		return "", false
	}
	m := c.patterns[p.Headers.MessageIDReply].FindStringSubmatch(reply)
	if len(m) < 2 {
		return "", false
	}
	domain := p.Headers.MessageIDDomain
	if r != nil {
		domain = or(r.MessageIDDomain, strings.ReplaceAll(domain, "{region}", strings.TrimSuffix(r.Name, fipsSuffix)))
	}
	return "<" + m[1] + "@" + domain + ">", true
}

// fipsSuffix marks the FIPS host of an AWS region; it is the same region else.
const fipsSuffix = "-fips"

// clipMax keeps a name somebody mistyped from filling the screen.
const clipMax = 40

func clip(s string) string {
	if len(s) > clipMax {
		return s[:clipMax] + "…"
	}
	return s
}
