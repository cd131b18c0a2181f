package compat

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	visitTime     = 10 * time.Second // one link
	visitsAll     = 60 * time.Second // all links of a message
	visitsAtOnce  = 5
	redirectsMax  = 3
	addressesMax  = 8       // of one name that are looked at
	visitHeadMax  = 1 << 16 // octets of an answer's header
	statusBlocked = 451     // as Mailpit's: an internal address, not visited
)

// errInternal means that a link leads to an internal address.
//
//lint:ignore ST1005 these are Mailpit's words, which clients compare
var errInternal = errors.New("Blocked private/reserved address")

// visit asks links, a few at a time. No answer's body is read.
func (a *API) visit(ctx context.Context, links []string, follow bool) LinkCheck {
	ctx, cancel := context.WithTimeout(ctx, visitsAll)
	defer cancel()
	transport := &http.Transport{
		DialContext: a.dialOutside, MaxResponseHeaderBytes: visitHeadMax, DisableKeepAlives: true,
		TLSHandshakeTimeout: visitTime, Proxy: nil, // a proxy would reach for us what we must not
	}
	client := &http.Client{Transport: transport, Timeout: visitTime, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		switch {
		case !follow:
			return http.ErrUseLastResponse
		case len(via) >= redirectsMax:
			return errors.New("too many redirects")
		}
		return visitable(r.URL)
	}}
	out := LinkCheck{Links: make([]Link, len(links))}
	room := make(chan struct{}, visitsAtOnce)
	var wait sync.WaitGroup
	for i, link := range links {
		room <- struct{}{}
		wait.Go(func() {
			defer func() { <-room }()
			out.Links[i] = head(ctx, client, link)
		})
	}
	wait.Wait()
	for _, l := range out.Links {
		if l.StatusCode == 0 || l.StatusCode >= 400 {
			out.Errors++
		}
	}
	return out
}

func head(ctx context.Context, client *http.Client, link string) Link {
	l := Link{URL: link}
	u, err := url.Parse(link)
	if err == nil {
		err = visitable(u)
	}
	if err == nil {
		var req *http.Request
		if req, err = http.NewRequestWithContext(ctx, http.MethodHead, link, nil); err == nil {
			req.Header.Set("User-Agent", "paquebot")
			var answer *http.Response
			if answer, err = client.Do(req); err == nil {
				answer.Body.Close()
				l.StatusCode, l.Status = answer.StatusCode, http.StatusText(answer.StatusCode)
				return l
			}
		}
	}
	if l.Status = lastCause(err); errors.Is(err, errInternal) {
		l.StatusCode = statusBlocked
	}
	return l
}

// visitable refuses what is no plain web address, before anything is looked up.
func visitable(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return errors.New("not a web address")
	case u.User != nil:
		return errors.New("the address holds a user name")
	}
	return nil
}

// lastCause is the end of a chain of errors, which is what people can use.
func lastCause(err error) string {
	if errors.Is(err, errInternal) {
		return errInternal.Error()
	}
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}

// dialOutside connects to a name's addresses, none of which may be internal:
// looked up once, and what was looked at is what is dialled, so that no second
// answer of a name server can lead elsewhere (DNS rebinding).
func (a *API) dialOutside(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	list, err := a.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	if len(list) > addressesMax {
		list = list[:addressesMax]
	}
	var good []netip.Addr
	for _, ip := range list {
		addr, ok := netip.AddrFromSlice(ip.IP)
		if !ok || ip.Zone != "" || internal(addr) {
			return nil, errInternal // one is enough: the name means to lead inside
		}
		good = append(good, addr.Unmap())
	}
	err = errors.New("no such host")
	for _, addr := range good {
		var conn net.Conn
		if conn, err = a.dial(ctx, network, netip.AddrPortFrom(addr, portNumber(port)).String()); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func portNumber(text string) uint16 {
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' || n > 65535 {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return uint16(n)
}

func (a *API) resolve(ctx context.Context, host string) ([]net.IPAddr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []net.IPAddr{{IP: addr.AsSlice(), Zone: addr.Zone()}}, nil
	}
	if a.needs.Resolve != nil {
		return a.needs.Resolve(ctx, host)
	}
	return net.DefaultResolver.LookupIPAddr(ctx, host)
}

func (a *API) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if a.needs.Dial != nil {
		return a.needs.Dial(ctx, network, address)
	}
	d := net.Dialer{Timeout: visitTime}
	return d.DialContext(ctx, network, address)
}

// internal reports whether an address is not one of the public internet, by
// itself or by an IPv4 address it carries within (RFC 6890 and the registries it
// names; SSRF).
func internal(a netip.Addr) bool {
	a = a.Unmap().WithZone("") // ::ffff:a.b.c.d (RFC 4291 §2.5.5.2)
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return true
	}
	for _, p := range reserved() {
		if p.Contains(a) {
			return true
		}
	}
	if within, carries := carried(a); carries {
		return internal(within)
	}
	return false
}

// carried returns the IPv4 address within one of IPv6.
func carried(a netip.Addr) (netip.Addr, bool) {
	if a.Is4() {
		return netip.Addr{}, false
	}
	b := a.As16()
	at := func(i int) (netip.Addr, bool) { return netip.AddrFrom4([4]byte(b[i : i+4])), true }
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a): // NAT64 (RFC 6052)
		return at(12)
	case netip.MustParsePrefix("2002::/16").Contains(a): // 6to4 (RFC 3056)
		return at(2)
	case netip.MustParsePrefix("::/96").Contains(a): // IPv4-compatible (RFC 4291 §2.5.5.1)
		return at(12)
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP (RFC 5214)
		return at(12)
	}
	return netip.Addr{}, false
}

// reserved are networks that net/netip does not know for what they are.
func reserved() []netip.Prefix {
	var out []netip.Prefix
	for _, text := range []string{
		"0.0.0.0/8",       // this network (RFC 1122)
		"100.64.0.0/10",   // carrier-grade NAT (RFC 6598)
		"192.0.0.0/24",    // protocol assignments (RFC 6890)
		"192.0.2.0/24",    // documentation (RFC 5737)
		"192.88.99.0/24",  // 6to4 relays (RFC 7526)
		"198.18.0.0/15",   // benchmarks (RFC 2544)
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"240.0.0.0/4",     // reserved, and broadcast (RFC 1112)
		"100::/64",        // discard (RFC 6666)
		"64:ff9b:1::/48",  // local NAT64 (RFC 8215)
		"2001::/23",       // protocol assignments, Teredo among them (RFC 4380)
		"2001:db8::/32",   // documentation (RFC 3849)
		"3fff::/20",       // documentation (RFC 9637)
		"5f00::/16",       // segment routing (RFC 9602)
		"fec0::/10",       // site-local, of old (RFC 3879)
	} {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}
