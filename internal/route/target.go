package route

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"paquebot/internal/mail"
)

// ParseTarget reads a destination:
//
//	smtp://HOST[:25]       hand over by SMTP; the name is looked up as A/AAAA (SH-8)
//	lmtp://HOST[:24]       hand over by LMTP
//	lmtp:/PATH             the same over a unix socket
//	maildir:/PATH/{local}  write into a maildir; {local} and {domain} are replaced
//	https://HOST/PATH      post to a web application (http:// only to loopback)
//	catch, catch:NAME      keep in the catch store
func ParseTarget(s string) (mail.Route, error) {
	scheme, rest, _ := strings.Cut(s, ":")
	switch scheme {
	case "smtp":
		return hostTarget(s, mail.SMTP, 25)
	case "lmtp":
		if strings.HasPrefix(rest, "/") && !strings.HasPrefix(rest, "//") {
			return mail.Route{Site: s, Transport: mail.LMTP, Security: mail.Clear, Hops: []mail.Hop{{Name: rest}}}, nil
		}
		return hostTarget(s, mail.LMTP, 24)
	case "maildir":
		if !strings.HasPrefix(rest, "/") {
			return mail.Route{}, fmt.Errorf("%q: a maildir needs its whole path", s)
		}
		return mail.Route{Site: "maildir", Transport: mail.Maildir, Target: rest}, nil
	case "https", "http":
		return webTarget(s)
	case "catch":
		return mail.Route{Site: "catch", Transport: mail.Catch, Target: rest}, nil
	}
	return mail.Route{}, fmt.Errorf("%q is no destination: want smtp://HOST:PORT, lmtp://HOST:PORT, lmtp:/PATH, maildir:/PATH, https://… or catch", s)
}

func hostTarget(s string, transport mail.Transport, port uint16) (mail.Route, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return mail.Route{}, fmt.Errorf("%q is not %s://HOST:PORT", s, transport)
	}
	if u.Port() != "" {
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || n == 0 {
			return mail.Route{}, fmt.Errorf("%q: %q is no port", s, u.Port())
		}
		port = uint16(n)
	}
	hop := mail.Hop{Name: strings.ToLower(u.Hostname()), Port: port}
	if addr, err := netip.ParseAddr(hop.Name); err == nil {
		hop.Addrs = []netip.Addr{addr.Unmap()}
	}
	return mail.Route{
		Site:      net.JoinHostPort(hop.Name, strconv.Itoa(int(port))),
		Transport: transport,
		Hops:      []mail.Hop{hop},
		Security:  mail.Opportunistic,
	}, nil
}

func webTarget(s string) (mail.Route, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return mail.Route{}, fmt.Errorf("%q is not an address of the web", s)
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return mail.Route{}, fmt.Errorf("%q would carry mail in clear; use https", s)
	}
	return mail.Route{Site: u.Host, Transport: mail.Webhook, Target: s}, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// smarthostRoute makes the endpoints of a smart host, equally secure each
// (SH-2, SH-4). Its name serves for the credential and for shaping.
func smarthostRoute(name string, s Smarthost) (mail.Route, error) {
	if len(s.Endpoints) > 0 {
		return endpointsRoute(name, s), nil
	}
	if s.Host == "" {
		return mail.Route{}, fmt.Errorf("smart host %q has no host", name)
	}
	r := mail.Route{Site: name, Transport: mail.SMTP, Security: s.Security, Account: name, Ehlo: s.Ehlo}
	if r.Security == "" {
		r.Security = mail.Verify
	}
	ports := s.Ports
	if len(ports) == 0 {
		ports = defaultPorts()
	}
	for _, p := range ports {
		hop := mail.Hop{Name: strings.ToLower(s.Host), Port: p}
		if implicitPort(p) && (r.Security == mail.Verify || r.Security == mail.Implicit) {
			hop.Security = mail.Implicit
		} else if r.Security == mail.Implicit && len(s.Ports) != 1 {
			hop.Security = mail.Verify
		}
		if addr, err := netip.ParseAddr(hop.Name); err == nil {
			hop.Addrs = []netip.Addr{addr.Unmap()}
		}
		r.Hops = append(r.Hops, hop)
	}
	return r, nil
}

// endpointsRoute takes the endpoints as they are given.
func endpointsRoute(name string, s Smarthost) mail.Route {
	r := mail.Route{Site: name, Transport: mail.SMTP, Security: s.Security, Account: name, Ehlo: s.Ehlo}
	if r.Security == "" {
		r.Security = mail.Verify
	}
	for _, hop := range s.Endpoints {
		hop.Name = strings.ToLower(hop.Name)
		if addr, err := netip.ParseAddr(hop.Name); err == nil {
			hop.Addrs = []netip.Addr{addr.Unmap()}
		}
		r.Hops = append(r.Hops, hop)
	}
	return r
}
