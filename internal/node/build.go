package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"paquebot/internal/accounts"
	"paquebot/internal/config"
	"paquebot/internal/dns"
	"paquebot/internal/event"
	"paquebot/internal/listen"
	"paquebot/internal/mail"
	"paquebot/internal/queue"
	"paquebot/internal/route"
	"paquebot/internal/smtpserver"
)

// This file turns the configuration into each room's own.

// futureMax is how far ahead a message may ask to be released (RFC 4865): long
// enough for a campaign, short enough that nobody forgets that it is there.
const futureMax = 30 * 24 * time.Hour

func certificates(c *config.Config, w World, ev event.Sink) (*listen.Certs, error) {
	if c.TLS.Cert != "" {
		return listen.LoadCerts([]listen.Files{{Cert: c.TLS.Cert, Key: c.TLS.Key}}, ev)
	}
	ca, err := listen.NewAuthority("Paquebot of "+c.Hostname, w.Rand)
	if err != nil {
		return nil, err
	}
	cert, err := ca.Issue(c.Hostname)
	if err != nil {
		return nil, err
	}
	return listen.OwnCerts(cert, ev), nil
}

// serverTLS is what sessions and listeners show; min_version may raise it.
func serverTLS(c *config.Config, certs *listen.Certs) *tls.Config {
	t := certs.Config(c.Auth.ClientCA != "")
	if c.TLS.MinVersion == "1.3" {
		t.MinVersion = tls.VersionTLS13
	}
	return t
}

func doorConfig(c *config.Config, l config.Listener, t *tls.Config) listen.Config {
	d := listen.Config{
		Name: l.Address, Role: mail.Role(l.Role), TLS: t, TLSFirst: l.Role == string(mail.RoleSubmissions),
		ProxyFrom: l.ProxyProtocol, Trusted: l.Trusted,
		Connections:   l.MaxConnections,
		PerAddress:    c.Limits.ConnectionsPerIP,
		PerMinute:     perMinute(c.Limits.ConnectionRate),
		HandshakesMin: perMinute(c.Limits.HandshakeRate),
	}
	// Programs on this machine are no strangers: the limits for one address meet
	// them only where the operator set some.
	if usual := config.Default().Limits; c.Limits.ConnectionsPerIP == usual.ConnectionsPerIP && c.Limits.ConnectionRate == usual.ConnectionRate {
		d.Exempt = loopback
	}
	return d
}

// perMinute turns a rate into whole events a minute; a rate that is set never
// becomes "no limit".
func perMinute(r config.Rate) int {
	if r.N == 0 || r.Per <= 0 {
		return 0
	}
	return max(1, int(float64(r.N)*60/r.Per.Seconds()))
}

func sessionConfig(c *config.Config, l config.Listener, t *tls.Config) smtpserver.Config {
	s := smtpserver.Defaults(mail.Role(l.Role))
	s.Listener, s.Hostname, s.AuthservID = l.Address, c.Hostname, c.Hostname
	s.TLS = t
	s.Trusted, s.XClient = l.Trusted, l.XClient
	s.ClearAuth = l.InsecureAuth
	s.GreetingPause = l.GreetingDelay
	if l.RequireTLS {
		s.TLSRequired = true
	}
	s.HideClient = s.HideClient && !l.ShowClient
	for _, x := range l.Extensions {
		switch x {
		case "binarymime":
			s.BinaryMIME = true
		case "deliverby":
			s.DeliverBy = true
		case "mt-priority":
			s.MTPriority = true
		case "futurerelease":
			s.FutureMax = futureMax
		}
	}
	// REQUIRETLS needs verified next hops (DANE or MTA-STS), which this version
	// cannot give: it is not offered rather than promised in vain.
	s.RequireTLS = false
	s.Limits.MessageSize = int64(c.Limits.MessageSize)
	if l.MaxMessageSize > 0 {
		s.Limits.MessageSize = int64(l.MaxMessageSize)
	}
	s.Limits.Recipients = c.Limits.Recipients
	s.Limits.Errors = c.Limits.ProtocolErrors
	s.Limits.AuthFailures = c.Limits.AuthFailuresPerSession
	s.Limits.Hops = c.Limits.Hops
	s.Limits.Messages, s.Limits.BadRecipients = c.Limits.MessagesPerSession, c.Limits.BadRecipients
	if s.Role == mail.RoleMX {
		s.Limits.Messages, s.Limits.BadRecipients = c.Limits.MessagesPerSessionMX, c.Limits.BadRecipientsMX
	}
	return s
}

func accountsConfig(c *config.Config) (accounts.Config, error) {
	a := accounts.Config{
		FailuresPair: c.Limits.AuthFailuresPerHour,
		Sessions:     c.Limits.ConnectionsPerAccount,
		Limits: accounts.Limits{
			MessagesPerHour: c.Limits.AccountMessagesPerHour,
			MessagesPerDay:  c.Limits.AccountMessagesPerDay,
		},
	}
	a.Mechanisms = c.Auth.Mechanisms
	// Sessions of other listeners still offer nothing in clear (EH-3).
	a.ClearText = slices.ContainsFunc(c.Listeners, func(l config.Listener) bool { return l.InsecureAuth })
	for _, d := range c.Accounts {
		a.Accounts = append(a.Accounts, accounts.Declared{
			Name: d.Name, PasswordHash: d.PasswordHash, SCRAM: d.SCRAM, Disabled: d.Disabled, Senders: d.Senders,
			Limits: accounts.Limits{
				MessagesPerHour: d.MessagesPerHour, MessagesPerDay: d.MessagesPerDay,
				Recipients: d.MaxRecipients, Size: int64(d.MaxMessageSize),
			},
		})
	}
	if o := c.Auth.OAuth; o.Issuer != "" {
		a.OAuth = &accounts.OAuth{Issuer: o.Issuer, UserClaim: o.Claim}
		if o.Audience != "" {
			a.OAuth.Audiences = []string{o.Audience}
		}
	}
	if c.Auth.ClientCA != "" {
		roots, err := readRoots(c.Auth.ClientCA)
		if err != nil {
			return a, fmt.Errorf("auth.client_ca: %w", err)
		}
		a.Certificate = &accounts.Certificate{Roots: roots}
	}
	return a, nil
}

// readRoots reads the certificates of a PEM file; nil for "": the system's.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, errors.New(file + " holds no certificate in PEM form")
	}
	return pool, nil
}

func dnsConfig(c *config.Config) (dns.Config, error) {
	d := dns.Config{Timeout: c.DNS.Timeout}
	for _, s := range c.DNS.Servers {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return d, fmt.Errorf("dns.servers: %q is not an address", s)
			}
			ap = netip.AddrPortFrom(a, 53)
		}
		d.Servers = append(d.Servers, ap)
		if c.DNS.TrustAD {
			d.Trusted = append(d.Trusted, ap.Addr())
		}
	}
	return d, nil
}

// routeConfig says where mail goes. own are this machine's addresses: mail
// that would come back to them is a loop (MX-8).
func routeConfig(c *config.Config, own []netip.Addr) route.Config {
	r := route.Config{
		Hostname: c.Hostname, Addrs: own, AllowLocal: c.DNS.AllowLocal,
		Smarthosts: map[string]route.Smarthost{}, Pools: map[string][]mail.Source{},
	}
	for _, d := range c.Domains {
		r.Domains = append(r.Domains, route.Domain{Name: d.Name, Deliver: d.Deliver})
	}
	for _, rule := range c.Routes {
		r.Rules = append(r.Rules, route.Rule{
			Recipient: rule.Match.Recipient, Sender: rule.Match.Sender, Account: rule.Match.Account,
			Via: rule.Via, Pool: rule.Pool, Security: mail.Security(rule.TLS),
		})
	}
	for name, s := range c.Smarthosts {
		r.Smarthosts[name] = smarthostRoute(s)
	}
	for name, p := range c.Pools {
		for _, s := range p.Sources {
			r.Pools[name] = append(r.Pools[name], mail.Source{Addr: s.Address, Ehlo: s.Ehlo})
		}
	}
	return r
}

func queueTerms(c *config.Config) queue.Terms {
	return queue.Terms{Retry: c.Queue.Retry, Expire: c.Queue.Expire, ExpireNull: c.Queue.ExpireBounce, NotifyDelay: c.Queue.NotifyDelay}
}

// ownAddrs are the addresses at which mail for us arrives: what the listeners
// name, or all of this machine's when one listens everywhere.
func ownAddrs(c *config.Config) []netip.Addr {
	var own []netip.Addr
	for _, l := range c.Listeners {
		host, _, err := net.SplitHostPort(l.Address)
		if err != nil {
			continue
		}
		a, err := netip.ParseAddr(host)
		if err != nil || a.IsUnspecified() {
			return interfaceAddrs()
		}
		own = append(own, a)
	}
	return own
}
