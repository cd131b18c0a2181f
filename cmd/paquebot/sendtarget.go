package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"paquebot/internal/config"
	"paquebot/internal/mail"
	"paquebot/internal/node"
	"paquebot/internal/provider"
	"paquebot/internal/smtpclient"
)

// sendTarget is where a message goes, and as whom.
type sendTarget struct {
	name      string // as a person calls it, and paquebot doctor understands it
	endpoints []endpoint
	login     *smtpclient.Login // nil: without
	roots     *x509.CertPool    // nil: the system's
	certs     []tls.Certificate
	provider  *provider.Provider // nil: not one that is known
	user      string
	password  string // for looking at its shape after a refusal
}

// target finds out where to: as told, or as the configuration's routes say.
func (c *SendCmd) target(ctx context.Context, g *Globals) (*sendTarget, error) {
	t, err := c.place(ctx, g)
	if err != nil {
		return nil, err
	}
	if err := c.credential(g, t); err != nil {
		return nil, err
	}
	roots, err := c.roots()
	if err != nil {
		return nil, unsure("cannot read the CA", errors.New(plainCause(err)), "--ca takes a file with certificates, PEM")
	}
	if roots != nil {
		t.roots = roots
	}
	if t.provider == nil && len(t.endpoints) > 0 {
		t.provider, _, _ = provider.ByHost(t.endpoints[0].host)
	}
	for i := range t.endpoints {
		e := &t.endpoints[i]
		switch c.TLS {
		case "starttls":
			e.mode = mail.Verify
		case "tls":
			e.mode = mail.Implicit
		case "none":
			e.mode = mail.Clear
		}
	}
	c.equal(t)
	return t, nil
}

// equal: of several ports of a server none is less safe than the others, or
// whoever blocks those chooses it (P4, SH-4). A server that we log in to is to
// prove who it is, on 25 as well; without the login it is not what was asked for.
func (c *SendCmd) equal(t *sendTarget) {
	if c.Server == "" || t.login == nil && len(t.endpoints) == 1 {
		return
	}
	for i := range t.endpoints {
		if e := &t.endpoints[i]; e.mode == mail.Opportunistic {
			e.mode = mail.Verify
		}
	}
}

func (c *SendCmd) place(ctx context.Context, g *Globals) (*sendTarget, error) {
	switch {
	case c.MX && (c.Server != "" || c.Via != ""):
		return nil, unsure("--mx goes to the recipient's servers", nil, "leave out --server and --via, or --mx")
	case c.Via != "":
		return c.via(g, c.Via)
	case c.MX:
		return c.byMX(ctx, g)
	case c.Server != "":
		endpoints, err := c.endpoints()
		if err != nil {
			return nil, unsure("--server "+c.Server, err, "write HOST or HOST:PORT")
		}
		return &sendTarget{name: c.Server, endpoints: endpoints}, nil
	}
	return c.byRoutes(ctx, g)
}

// conf is the configuration that may help: the one named must be sound; the
// usual one need not even be readable for us.
func (g *Globals) conf() (*config.Config, error) {
	if g.ConfigFile != "" {
		return g.load()
	}
	if file := g.configFile(); file != "" {
		c, problems := config.Load(file)
		if !config.Failed(problems) {
			return c, nil
		}
	}
	return nil, nil
}

// via is a smart host of the configuration, or a provider of the catalogue.
func (c *SendCmd) via(g *Globals, name string) (*sendTarget, error) {
	conf, err := g.conf()
	if err != nil {
		return nil, err
	}
	if conf != nil {
		if s, ok := conf.Smarthosts[name]; ok {
			return smarthostToSend(conf, name, s)
		}
	}
	p, region, err := provider.Find(name)
	if err != nil {
		remedy := "the list: paquebot doctor --providers; or name the host: --server HOST"
		if conf != nil && len(conf.Smarthosts) > 0 {
			remedy = "in the configuration there are: " + strings.Join(sortedNames(conf.Smarthosts), ", ") + "\n" + remedy
		}
		return nil, unsure("--via "+name, err, remedy)
	}
	t := &sendTarget{name: name, provider: p}
	host := c.Server
	switch {
	case region != nil && host != "":
		return nil, unsure("--via "+name, errors.New("its host is known"), "leave out --server, or --via")
	case region != nil:
		host = region.Host
	case host == "":
		return nil, unsure("--via "+name, fmt.Errorf("the host of %s is your own", p.Title), "--via "+name+" --server HOST")
	}
	order := p.TryOrder()
	if h, port, err := net.SplitHostPort(host); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return nil, unsure("--server "+host, fmt.Errorf("%q is not a port", port), "")
		}
		known, ok := p.Port(uint16(n))
		if !ok {
			known = provider.Port{Number: uint16(n), Mode: c.mode(int(n))}
		}
		host, order = h, []provider.Port{known}
	}
	for _, port := range order {
		t.endpoints = append(t.endpoints, endpoint{host: host, port: port.Number, mode: port.Mode})
	}
	return t, nil
}

func sortedNames[V any](m map[string]V) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// smarthostToSend is one of the configuration, used as a server does.
func smarthostToSend(conf *config.Config, name string, s config.Smarthost) (*sendTarget, error) {
	t := &sendTarget{name: name, user: s.User(), password: s.Password.Reveal()}
	t.provider, _, _ = s.Catalogued()
	cred, err := node.Credential(conf, name)
	if err != nil {
		return nil, unsure("--via "+name, errors.New(plainCause(err)), "paquebot config check")
	}
	t.login, t.roots, t.certs = cred.Login, cred.Roots, cred.Certificates
	for _, e := range s.EndpointList() {
		mode := mail.Verify
		switch {
		case e.TLS == "tls":
			mode = mail.Implicit
		case e.TLS == "none":
			mode = mail.Clear
		case s.TLS == string(mail.Encrypt):
			mode = mail.Encrypt
		}
		t.endpoints = append(t.endpoints, endpoint{host: e.Host, port: uint16(e.Port), mode: mode})
	}
	return t, nil
}

// byMX: the servers of the recipients' domain.
func (c *SendCmd) byMX(ctx context.Context, g *Globals) (*sendTarget, error) {
	to := c.recipients()
	for _, a := range to[1:] {
		if !strings.EqualFold(mail.Domain(a), mail.Domain(to[0])) {
			return nil, unsure("--mx goes to one domain at a time", fmt.Errorf("here are %s and %s", mail.Domain(to[0]), mail.Domain(a)), "once for each domain")
		}
	}
	conf, err := g.conf()
	if err != nil {
		return nil, err
	}
	r, err := node.ByMX(ctx, conf, to[0])
	if err != nil {
		return nil, problem("no way to "+mail.Domain(to[0]), err, "paquebot doctor "+mail.Domain(to[0]))
	}
	return hopsToSend(mail.Domain(to[0]), r), nil
}

// byRoutes: as the configuration's routes say.
func (c *SendCmd) byRoutes(ctx context.Context, g *Globals) (*sendTarget, error) {
	conf, err := g.conf()
	if err != nil {
		return nil, err
	}
	if conf == nil {
		return nil, unsure("nothing says where to send", nil,
			"a server: --server mail.example.org, or --server localhost:1587\na provider: --via sendgrid, or --via ses:eu-west-1\nthe recipient's own servers: --mx\nas a configuration routes it: -c FILE")
	}
	var found mail.Route
	for i, to := range c.recipients() {
		r, err := node.Where(ctx, conf, c.From, to)
		if err != nil {
			return nil, problem("no way to "+to, err, "paquebot doctor "+mail.Domain(to))
		}
		if i > 0 && (r.Account != found.Account || r.Site != found.Site || r.Target != found.Target) {
			return nil, unsure("the recipients go by different routes", nil, "once for each of them, or --via NAME")
		}
		found = r
	}
	switch {
	case found.Account != "":
		return smarthostToSend(conf, found.Account, conf.Smarthosts[found.Account])
	case len(found.Hops) == 0 || found.Transport != mail.SMTP:
		return nil, unsure("mail for "+c.recipients()[0]+" does not leave", fmt.Errorf("it is delivered here: %s", cmp.Or(found.Target, string(found.Transport))),
			"to hand it to this server: paquebot send --server "+cmp.Or(conf.Hostname, "localhost")+" ...")
	}
	return hopsToSend(found.Site, found), nil
}

func hopsToSend(name string, r mail.Route) *sendTarget {
	t := &sendTarget{name: name}
	for _, h := range r.Hops {
		mode := cmp.Or(h.Security, r.Security, mail.Opportunistic)
		t.endpoints = append(t.endpoints, endpoint{host: h.Name, port: h.Port, mode: mode, addrs: h.Addrs})
	}
	if len(r.Hops) > 0 && r.ByMX {
		t.provider, _ = provider.ByMX(r.Hops[0].Name)
	}
	return t
}

// endpoints lists the ports of --server. A port's role decides how TLS begins.
func (c *SendCmd) endpoints() ([]endpoint, error) {
	host, ports := c.Server, []int{587, 465, 2525, 25}
	if h, p, err := net.SplitHostPort(c.Server); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is not a port", p)
		}
		host, ports = h, []int{int(n)}
	} else if strings.Count(c.Server, ":") == 1 {
		return nil, err
	}
	known, _, _ := provider.ByHost(host)
	if known != nil && len(ports) > 1 {
		ports = nil
		for _, p := range known.TryOrder() {
			ports = append(ports, int(p.Number))
		}
	}
	var all []endpoint
	for _, p := range ports {
		mode := c.mode(p)
		if known != nil && c.TLS == "auto" {
			if port, ok := known.Port(uint16(p)); ok {
				mode = port.Mode
			}
		}
		all = append(all, endpoint{host: strings.Trim(host, "[]"), port: uint16(p), mode: mode})
	}
	return all, nil
}

func (c *SendCmd) mode(port int) mail.Security {
	switch c.TLS {
	case "starttls":
		return mail.Verify
	case "tls":
		return mail.Implicit
	case "none":
		return mail.Clear
	}
	switch port {
	case 465, 2465, 8465, 443, 1465:
		return mail.Implicit
	case 25, 1025:
		return mail.Opportunistic
	}
	return mail.Verify
}

// credential is what the flags say instead of the configuration.
func (c *SendCmd) credential(g *Globals, t *sendTarget) error {
	t.user = cmp.Or(c.User, t.user)
	if t.user == "" && c.PasswordFile != "" && t.provider != nil {
		t.user = t.provider.Auth.User // such as sendgrid's "apikey"
	}
	switch {
	case c.PasswordFile != "":
		b, err := readInput(g, c.PasswordFile)
		if err != nil {
			return unsure("cannot read the password", errors.New(plainCause(err)), "--password-file FILE, or - for standard input")
		}
		t.password = strings.TrimRight(string(b), "\r\n")
		t.login = c.loginWith(t)
		if t.user == "" {
			return unsure("a password, but for whom?", nil, "--user NAME")
		}
		if t.password == "" {
			return unsure("the password file is empty", nil, c.PasswordFile)
		}
	case c.User != "" && t.login == nil:
		return unsure("cannot log in", errors.New("--user is given without --password-file"), "--password-file FILE, or - for standard input")
	case c.User != "":
		t.login.User = c.User
	}
	if t.login != nil && c.Auth != "" {
		t.login.Only = []string{strings.ToUpper(c.Auth)}
	}
	if c.Auth != "" && !slices.Contains(smtpclient.Mechanisms(), strings.ToUpper(c.Auth)) {
		return unsure("--auth "+c.Auth, errors.New("there is no such mechanism"), "one of: "+strings.Join(smtpclient.Mechanisms(), ", "))
	}
	return c.shape(t)
}

func (c *SendCmd) loginWith(t *sendTarget) *smtpclient.Login {
	if m := strings.ToUpper(c.Auth); m == "XOAUTH2" || m == "OAUTHBEARER" {
		token := t.password
		return &smtpclient.Login{User: t.user, Token: func(context.Context) (string, error) { return token, nil }}
	}
	return &smtpclient.Login{User: t.user, Password: t.password}
}

// shape refuses, before anything is tried, what cannot be a credential of this
// provider (SH-14), and asks for one that is missing.
func (c *SendCmd) shape(t *sendTarget) error {
	if c.Via == "" || t.provider == nil || t.login != nil && t.login.Token != nil {
		return nil
	}
	stops := slices.Contains([]string{"connect", "greeting", "ehlo", "tls"}, c.QuitAfter)
	switch {
	case t.login == nil && (stops || t.provider.Auth.None || t.provider.Auth.Optional || len(t.certs) > 0):
		return nil
	case t.login == nil:
		user := "--user NAME "
		if t.provider.Auth.User != "" {
			user = ""
		}
		return unsure(t.provider.Title+" wants a login", nil, user+"--password-file FILE\n"+t.provider.Auth.Hint)
	}
	if err := t.provider.CheckCredential(t.user, t.password); err != nil {
		return unsure("this cannot be the right credential", err, "to try it all the same: --server "+t.endpoints[0].host)
	}
	return nil
}
