package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"paquebot/internal/mail"
	"paquebot/internal/provider"
)

// Catalogued returns the provider that a smart host names, and its region; nil
// if it names none. The error says which spelling was meant.
func (s Smarthost) Catalogued() (*provider.Provider, *provider.Region, error) {
	name := s.Provider
	if name == "" || name == "generic" {
		return nil, nil, nil
	}
	if s.Region != "" {
		name, _, _ = strings.Cut(name, ":")
		name += ":" + s.Region
	}
	return provider.Find(name)
}

// HostName is the smart host's own, without the brackets that mean "no MX"
// (SH-8); the provider's if none is given.
func (s Smarthost) HostName() string {
	if s.Host != "" {
		return strings.TrimSuffix(strings.TrimPrefix(s.Host, "["), "]")
	}
	if _, region, err := s.Catalogued(); err == nil && region != nil {
		return region.Host
	}
	return ""
}

// User is the name for AUTH: the one given, or the provider's fixed one (SH-14).
func (s Smarthost) User() string {
	if s.Username != "" || s.Password.IsZero() {
		return s.Username
	}
	if p, _, err := s.Catalogued(); err == nil && p != nil {
		return p.Auth.User
	}
	return ""
}

// implicitPort knows the ports on which TLS comes first (SH-2).
func implicitPort(p int) bool { return p == 465 || p == 2465 || p == 8465 || p == 443 }

// EndpointList returns the endpoints in the order to try, each with its host,
// its port and how TLS begins (SH-1, SH-2, SH-5).
func (s Smarthost) EndpointList() []Endpoint {
	host := s.HostName()
	var out []Endpoint
	switch p, _, _ := s.Catalogued(); {
	case len(s.Endpoints) > 0:
		out = slices.Clone(s.Endpoints)
	case len(s.Ports) > 0:
		for _, n := range s.Ports {
			out = append(out, Endpoint{Port: n, TLS: portMode(p, n)})
		}
	case p != nil:
		for _, port := range p.TryOrder() {
			out = append(out, Endpoint{Port: int(port.Number), TLS: portMode(p, int(port.Number))})
		}
	default:
		for _, n := range []int{587, 465, 2525, 25} {
			out = append(out, Endpoint{Port: n})
		}
	}
	for i := range out {
		e := &out[i]
		if e.Host == "" {
			e.Host = host
		}
		e.Host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(e.Host, "["), "]"))
		if e.TLS == "" {
			e.TLS = portMode(nil, e.Port)
		}
		if s.TLS == string(mail.Clear) && e.TLS == "starttls" {
			e.TLS = "none"
		}
	}
	return out
}

// portMode is how TLS begins on a port, as the provider says or as is usual.
func portMode(p *provider.Provider, port int) string {
	implicit := implicitPort(port)
	if p != nil {
		if known, ok := p.Port(uint16(port)); ok {
			implicit = known.Mode == mail.Implicit
		}
	}
	if implicit {
		return "tls"
	}
	return "starttls"
}

// toml is the endpoint as it stands in a file.
func (e Endpoint) toml() string {
	var parts []string
	if e.Host != "" {
		parts = append(parts, "host = "+quote(e.Host))
	}
	parts = append(parts, fmt.Sprintf("port = %d", e.Port))
	if e.TLS != "" {
		parts = append(parts, "tls = "+quote(e.TLS))
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

// isNear: an address that no stranger can be at.
func isNear(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && (a.IsLoopback() || a.IsPrivate())
}
