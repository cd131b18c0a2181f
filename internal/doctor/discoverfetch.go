package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"paquebot/internal/dns"
)

const (
	// autoconfigOctets is how much of a configuration file is read; real ones
	// have two to five KiB.
	autoconfigOctets = 256 << 10

	// fetchTime bounds one file, redirects included.
	fetchTime = 4 * time.Second

	redirectsMax = 3
)

// page is one place where a configuration was looked for.
type page struct {
	url    string // without the address asked about
	config *autoconfig
	err    error // why there is none
}

// autoconfig is what a client takes from Mozilla's clientConfig: the servers
// for outgoing mail, preferred first.
type autoconfig struct {
	url     string
	servers []outgoing
}

// outgoing is one outgoingServer.
type outgoing struct {
	host  string
	port  uint16
	modes string // socketType: SSL, STARTTLS, plain
	auth  []string
	user  string
}

// fetchAll asks at the places where clients look, all at once: the domain's own
// hosts, then Mozilla's database (DISC-3). The address goes to the domain's own
// hosts only.
func (d Discovery) fetchAll(ctx context.Context, domain, local string) []page {
	query := ""
	if local != "" {
		query = "?emailaddress=" + url.QueryEscape(local+"@"+domain)
	}
	pages := []page{
		{url: "https://autoconfig." + domain + "/mail/config-v1.1.xml"},
		{url: "https://" + domain + "/.well-known/autoconfig/mail/config-v1.1.xml"},
		{url: "https://autoconfig.thunderbird.net/v1.1/" + domain},
	}
	var all sync.WaitGroup
	for i := range pages {
		ask := pages[i].url
		if i < 2 {
			ask += query
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, fetchTime)
			defer cancel()
			pages[i].config, pages[i].err = d.fetch(ctx, ask)
			if pages[i].config != nil {
				pages[i].config.url = pages[i].url
				pages[i].config.fill(domain, local)
			}
		})
	}
	all.Wait()
	return pages
}

// fetch reads one file: by HTTPS with a certificate that fits, also after
// redirects, and never from an address of an inner network.
func (d Discovery) fetch(ctx context.Context, from string) (*autoconfig, error) {
	transport := &http.Transport{
		DialContext:            d.dialPublic,
		TLSClientConfig:        &tls.Config{RootCAs: d.Roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 16 << 10,
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		switch {
		case r.URL.Scheme != "https":
			return errors.New("sent on to a page without TLS")
		case len(via) > redirectsMax:
			return errors.New("sent on too often")
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, shortly(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, autoconfigOctets+1))
	if err != nil {
		return nil, shortly(err)
	}
	return parseAutoconfig(raw)
}

// dialPublic connects to the first public address of a host.
func (d Discovery) dialPublic(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	found := d.Names.Addrs(ctx, host)
	if found.Status != dns.OK {
		return nil, errors.New(found.Status.String())
	}
	open := d.Dial
	if open == nil {
		open = (&net.Dialer{}).DialContext
	}
	err = fmt.Errorf("%s has no public address", host)
	for _, a := range append(onlyFamily(found.Records, 4), onlyFamily(found.Records, 6)...) {
		if !d.AllowInternal && !public(a) {
			continue
		}
		var c net.Conn
		if c, err = open(ctx, network, net.JoinHostPort(a.String(), port)); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// onlyFamily keeps the first address of a family: a web server that needs a
// second one is no reason to wait.
func onlyFamily(addrs []netip.Addr, family int) []netip.Addr {
	for _, a := range addrs {
		if a.Is4() == (family == 4) {
			return []netip.Addr{a}
		}
	}
	return nil
}

// innerNetworks are those that net/netip does not call private, and that no
// web server of a stranger is in (RFC 6890).
var innerNetworks = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

// public reports whether an address is one of the internet at large.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, n := range innerNetworks {
		if n.Contains(a) {
			return false
		}
	}
	return true
}

// clientConfig is the part of Mozilla's format that concerns outgoing mail.
type clientConfig struct {
	XMLName xml.Name `xml:"clientConfig"`
	Email   struct {
		Servers []struct {
			Type   string   `xml:"type,attr"`
			Host   string   `xml:"hostname"`
			Port   string   `xml:"port"`
			Socket string   `xml:"socketType"`
			Auth   []string `xml:"authentication"`
			User   string   `xml:"username"`
		} `xml:"outgoingServer"`
	} `xml:"emailProvider"`
}

// parseAutoconfig reads a clientConfig file. Servers that make no sense are
// left out; a file without any other is an error.
func parseAutoconfig(raw []byte) (*autoconfig, error) {
	if len(raw) > autoconfigOctets {
		return nil, fmt.Errorf("larger than %d KiB", autoconfigOctets>>10)
	}
	var c clientConfig
	dec := xml.NewDecoder(bytes.NewReader(raw))
	dec.CharsetReader = latin1
	if err := dec.Decode(&c); err != nil {
		return nil, errors.New("not a clientConfig file")
	}
	out := new(autoconfig)
	for _, s := range c.Email.Servers {
		port, err := strconv.ParseUint(strings.TrimSpace(s.Port), 10, 16)
		host := strings.ToLower(strings.TrimSpace(s.Host))
		if err != nil || port == 0 || host == "" || s.Type != "smtp" || len(out.servers) == servicesMax {
			continue
		}
		out.servers = append(out.servers, outgoing{host: host, port: uint16(port), modes: strings.TrimSpace(s.Socket), auth: trimAll(s.Auth), user: strings.TrimSpace(s.User)})
	}
	if len(out.servers) == 0 {
		return nil, errors.New("names no outgoing server")
	}
	return out, nil
}

func trimAll(words []string) []string {
	for i, w := range words {
		words[i] = strings.TrimSpace(w)
	}
	return words
}

// latin1 reads the second character set that such files come in.
func latin1(charset string, in io.Reader) (io.Reader, error) {
	switch strings.ToLower(charset) {
	case "utf-8", "us-ascii":
		return in, nil
	case "iso-8859-1", "iso-8859-15", "windows-1252":
		raw, err := io.ReadAll(io.LimitReader(in, autoconfigOctets))
		if err != nil {
			return nil, err
		}
		out := make([]byte, 0, len(raw))
		for _, b := range raw {
			out = utf8.AppendRune(out, rune(b))
		}
		return bytes.NewReader(out), nil
	}
	return nil, fmt.Errorf("character set %q is not known", charset)
}

// fill puts address and domain in the place of the format's variables.
func (a *autoconfig) fill(domain, local string) {
	vars := []string{"%EMAILDOMAIN%", domain}
	if local != "" {
		vars = append(vars, "%EMAILLOCALPART%", local, "%EMAILADDRESS%", local+"@"+domain)
	}
	in := strings.NewReplacer(vars...)
	lower := strings.NewReplacer("%emaildomain%", domain) // hosts were put in lower case
	for i := range a.servers {
		s := &a.servers[i]
		s.host, s.user = strings.TrimSuffix(lower.Replace(s.host), "."), in.Replace(s.user)
	}
}

// shortly drops the address asked for from an error of net/http: it may hold a
// person's.
func shortly(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	return err
}
