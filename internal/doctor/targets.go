package doctor

import (
	"net/netip"
	"slices"

	"paquebot/internal/mail"
	"paquebot/internal/provider"
)

// ForProvider is the target of an entry of the catalogue: every port it offers,
// in the order of the catalogue's advice.
func ForProvider(name string, p *provider.Provider, region *provider.Region) Target {
	t := Target{Kind: KindProvider, Name: name, Provider: p, Region: region, Title: region.Host + " (" + p.Title + ")"}
	for _, port := range p.TryOrder() {
		t.Endpoints = append(t.Endpoints, Endpoint{Host: region.Host, Port: port.Number, Mode: port.Mode, Role: Submission, Known: true})
	}
	return t
}

// ForHost is the target of a host: the ports given, or those that mail has. own
// says that it is a server of the operator's.
func ForHost(host string, ports []uint16, own bool) Target {
	p, region, known := provider.ByHost(host)
	t := Target{Kind: KindHost, Name: host, Title: host, Own: own}
	if known {
		t.Provider, t.Region, t.Title = p, region, host+" ("+p.Title+")"
	}
	if len(ports) == 0 && known && len(p.Ports) > 0 {
		for _, port := range p.TryOrder() {
			ports = append(ports, port.Number)
		}
	}
	if len(ports) == 0 {
		ports = []uint16{587, 465, 2525, smtpPort}
	}
	for _, number := range ports {
		t.Endpoints = append(t.Endpoints, endpointOf(host, number, p, known, own))
	}
	return t
}

func endpointOf(host string, number uint16, p *provider.Provider, known, own bool) Endpoint {
	e := Endpoint{Host: host, Port: number, Mode: ModeOf(number), Role: Submission}
	if known {
		if at, ok := p.Port(number); ok {
			e.Mode, e.Known = at.Mode, true
		}
	}
	if own && number == smtpPort {
		e.Role, e.Mode = Exchange, mail.Opportunistic
	}
	return e
}

// ModeOf is the mode a port has by convention (SH-2), where no catalogue and no
// configuration says otherwise.
func ModeOf(port uint16) mail.Security {
	if slices.Contains([]uint16{465, 1465, 2465, 8465, 443}, port) {
		return mail.Implicit
	}
	return mail.Verify
}

// Literal reports that a target's name is an address.
func Literal(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
