package node

import (
	"crypto/tls"
	"fmt"
	"maps"
	"sync"
	"time"

	"paquebot/internal/config"
	"paquebot/internal/deliver"
	"paquebot/internal/dns"
	"paquebot/internal/listen"
	"paquebot/internal/mail"
	"paquebot/internal/policy"
	"paquebot/internal/route"
	"paquebot/internal/shaping"
	"paquebot/internal/smtpserver"
)

type wait = time.Duration

// generation is what one configuration makes: a reload builds another one
// beside it, and what is under way ends where it began.
type generation struct {
	config   *config.Config
	certs    *listen.Certs
	tls      *tls.Config
	names    *dns.Resolver
	router   *route.Router
	waysOut  map[string]*route.Router // for released mail, by smart host; nil unless mail is caught
	shaper   *shaping.Shaper
	policy   *policy.Policy
	courier  *deliver.Deliverer
	failover *route.Failover
	use      sync.RWMutex // read: a delivery or a look-up is under way; written: it is retired
}

// build makes the rooms of a configuration. Nothing is in force yet when it
// returns an error.
func (n *Node) build(c *config.Config) (g *generation, err error) {
	g = &generation{config: c, shaper: n.shaper, failover: n.failover}
	if n.opts.Dev != nil {
		g.certs = n.opts.Dev.Certs
	} else if g.certs, err = certificates(c, n.world, n.events); err != nil {
		return nil, err
	}
	g.tls = serverTLS(c, g.certs)
	d, err := dnsConfig(c)
	if err != nil {
		return nil, err
	}
	g.names = dns.New(d, n.world.dialDNS)
	if g.router, err = route.New(routeConfig(c, ownAddrs(c)), route.Needs{Names: g.names, Dial: n.world.Dial, Failover: n.failover}); err != nil {
		return nil, err
	}
	if n.caught != nil {
		if g.waysOut, err = waysOut(c, route.Needs{Names: g.names, Dial: n.world.Dial}); err != nil {
			return nil, err
		}
	}
	credentials, err := n.credentials(c)
	if err != nil {
		return nil, err
	}
	profiles := profiles(c)
	needs := deliver.Needs{Names: g.names, Dial: n.world.Dial, Events: n.events, PerConnection: n.shaper.PerConnection,
		Endpoints: n.endpoints, Network: n.network.of, Unheard: unheard,
		Profile:    func(name string) deliver.Profile { return profiles[name] },
		Credential: func(name string) (deliver.Credential, bool) { v, ok := credentials[name]; return v, ok }}
	if n.caught != nil {
		needs.Catcher = n.caught
	}
	g.courier = deliver.New(deliver.Config{Hostname: c.Hostname, Webhooks: webhooks(c)}, needs)
	if g.policy, err = n.policy(c, g); err != nil {
		g.courier.Close()
		return nil, err
	}
	return g, nil
}

func (n *Node) policy(c *config.Config, g *generation) (*policy.Policy, error) {
	p := policy.Config{Hostname: c.Hostname, Addresses: ownAddrs(c)}
	if n.opts.Dev != nil {
		p.AcceptAll, p.AuthorUnchecked = true, true
	}
	for i := range c.Domains {
		d, err := policyDomain(&c.Domains[i])
		if err != nil {
			return nil, err
		}
		p.Domains = append(p.Domains, d)
	}
	return policy.New(p, policy.Needs{DNS: g.names, Accounts: n.people, Verifier: g.router, ByMX: func(address string) bool {
		return g.router.ByMX(address)
	}})
}

func policyDomain(d *config.Domain) (policy.Domain, error) {
	p := policy.Domain{Name: d.Name, CatchAll: d.CatchAll, Aliases: map[string][]string{},
		Recipients: policy.Recipients{Any: d.Recipients.Any, Verify: d.Recipients.Verify, List: d.Recipients.List}}
	if d.Recipients.File != "" {
		list, err := config.Lines(d.Recipients.File)
		if err != nil {
			return p, fmt.Errorf("recipients of %s: %w", d.Name, err)
		}
		p.Recipients.List = append(p.Recipients.List, list...)
		if p.Recipients.List == nil {
			p.Recipients.List = []string{} // an empty file: nobody, not everybody
		}
	}
	maps.Copy(p.Aliases, d.Aliases.Table)
	if d.Aliases.File != "" {
		table, err := config.ReadAliases(d.Aliases.File)
		if err != nil {
			return p, fmt.Errorf("aliases of %s: %w", d.Name, err)
		}
		maps.Copy(p.Aliases, table)
	}
	return p, nil
}

// webhooks are the secrets of the web applications that mail is posted to.
func webhooks(c *config.Config) map[string]deliver.Webhook {
	all := map[string]deliver.Webhook{}
	for _, d := range c.Domains {
		if !d.Secret.IsZero() {
			all[d.Deliver] = deliver.Webhook{Secret: []byte(d.Secret.Reveal())}
		}
	}
	return all
}

// desk makes the sessions of one listener in this generation.
func (n *Node) desk(g *generation, l config.Listener) *smtpserver.Server {
	s := sessionConfig(g.config, l, g.tls)
	s.KeepDialogue = n.opts.Dev != nil
	if n.opts.Dev != nil && n.opts.Dev.ClearMX && s.Role == mail.RoleMX {
		s.TLS, s.ClearAuth, s.AuthOnMX = nil, true, true
	}
	s.SubmitOn, s.SubmitTLSOn = n.submitOn, n.submitTLSOn
	return smtpserver.New(s, smtpserver.Needs{
		Policy: judge{g.policy}, Accounts: people{n.people}, Store: n.intake, IDs: n.ids, Events: n.events,
		Mishap: n.sessionMishap(),
	})
}

// retire ends what a generation held, once nothing of it is under way. It must
// be in force no more (current.hold).
func (g *generation) retire() {
	g.use.Lock()
	g.courier.Close()
	g.names.Close()
}

// shapingConfig is the operator's limits for receiving sites.
func shapingConfig(c *config.Config) shaping.Config {
	var s shaping.Config
	for _, r := range c.Shapes {
		s.Rules = append(s.Rules, shaping.Limits{
			Site: r.Site, Connections: r.Connections, PerConnection: r.MessagesPerConnection,
			Rate: shaping.Rate{Messages: r.Rate.N, Per: r.Rate.Per},
		})
	}
	s.Rules = append(s.Rules, smarthostLimits(c)...)
	return s
}

// doorway is a listener with the desk behind it.
type doorway struct {
	config   config.Listener
	listener *listen.Listener
	door     *door
}

// submitListener is where programs on this machine hand in mail: SMTP over a
// unix socket. Who may open the socket needs no password (PC-19).
func submitListener(dir string) config.Listener {
	return config.Listener{Address: "unix:" + dir + "/submit.sock", Role: string(mail.RoleSubmission), Trusted: loopback}
}
