package doctor

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/provider"
)

// Discovery finds the mail servers of a domain by what the domain publishes:
// its MX, the SRV records of RFC 6186 and RFC 8314 §5.1, and Mozilla's
// configuration file (DISC-1, DISC-3).
type Discovery struct {
	Names *dns.Resolver
	// Dial opens connections to web servers; nil: the system.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Roots are the authorities that web servers must be certified by; nil: the
	// system's.
	Roots *x509.CertPool
	// NoAutoconfig leaves web servers unasked, the domain's and Mozilla's: the
	// latter learn which domain is looked at.
	NoAutoconfig bool
	// AllowInternal lets autoconfig be fetched from addresses that are not
	// public. Otherwise a domain could point us at our own network.
	AllowInternal bool
}

const (
	// discoverTime bounds all of a discovery, within DIAG-5's 30 s.
	discoverTime = 6 * time.Second

	// Bounds of how many hosts of each kind are looked at: enough for any
	// domain met in practice, few enough for the run's budget.
	exchangersMax = 5
	servicesMax   = 4
)

// published is all a domain says about its mail, as it was found.
type published struct {
	domain, local       string // as asked for; local is "" without an address
	exists              dns.Answer[netip.Addr]
	mx                  dns.Answer[dns.MX]
	submissions         dns.Answer[dns.SRV] // port 465
	submission          dns.Answer[dns.SRV] // port 587
	pages               []page              // autoconfig, in the order of preference
	guesses             []string            // hosts of the usual names that exist
	mine                *provider.Provider  // whose exchangers these are; nil: nobody the catalogue knows
	autoconfigForbidden bool
}

// Discover looks up what a mail domain, or the domain of an address, offers to
// its users and to other servers, and returns it as a target: exchangers on
// port 25, submission services in the order a client should try them (DISC-7).
func (d Discovery) Discover(ctx context.Context, address string) Target {
	ctx, cancel := context.WithTimeout(ctx, discoverTime)
	defer cancel()
	p := published{domain: address, autoconfigForbidden: d.NoAutoconfig}
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		p.local, p.domain = address[:at], address[at+1:]
	}
	if ascii, err := dns.ToASCII(p.domain); err == nil {
		p.domain = ascii
	}
	d.gather(ctx, &p)
	return weigh(address, &p)
}

// gather asks all questions at once.
func (d Discovery) gather(ctx context.Context, p *published) {
	var all sync.WaitGroup
	ask := func(f func()) { all.Go(f) }
	ask(func() { p.exists = d.Names.Addrs(ctx, p.domain) })
	ask(func() { p.mx = d.Names.MX(ctx, p.domain) })
	ask(func() { p.submissions = d.Names.SRV(ctx, "submissions", "tcp", p.domain) })
	ask(func() { p.submission = d.Names.SRV(ctx, "submission", "tcp", p.domain) })
	if !d.NoAutoconfig {
		ask(func() { p.pages = d.fetchAll(ctx, p.domain, p.local) })
	}
	all.Wait()
	p.recognize()
	if !p.announces() {
		p.guesses = d.guess(ctx, p.domain)
	}
}

// recognize asks the catalogue whose exchangers these are.
func (p *published) recognize() {
	for _, mx := range p.mx.Records {
		if found, ok := provider.ByMX(mx.Host); ok {
			p.mine = found
			return
		}
	}
}

// announces reports whether the domain, or somebody for it, names a submission
// service, so that nothing need be guessed.
func (p *published) announces() bool {
	return p.mine != nil || p.config() != nil || offered(p.submissions) || offered(p.submission)
}

func offered(a dns.Answer[dns.SRV]) bool {
	return a.Status == dns.OK && !dns.NotOffered(a.Records)
}

// config returns the preferred autoconfig file; nil if there is none.
func (p *published) config() *autoconfig {
	for _, g := range p.pages {
		if g.config != nil {
			return g.config
		}
	}
	return nil
}

// guess looks which of the names exist that clients try when nothing is
// published.
func (d Discovery) guess(ctx context.Context, domain string) []string {
	names := []string{"smtp." + domain, "mail." + domain}
	found := make([]bool, len(names))
	var all sync.WaitGroup
	for i, n := range names {
		all.Go(func() { found[i] = d.Names.Addrs(ctx, n).Status == dns.OK })
	}
	all.Wait()
	var exist []string
	for i, n := range names {
		if found[i] {
			exist = append(exist, n)
		}
	}
	return exist
}
