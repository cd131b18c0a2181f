package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"paquebot/internal/config"
	"paquebot/internal/dns"
	"paquebot/internal/doctor"
	"paquebot/internal/mail"
	"paquebot/internal/probe"
	"paquebot/internal/provider"
	"paquebot/internal/smtpclient"
)

// DoctorCmd says which port to use from here, and why.
type DoctorCmd struct {
	Targets []string `arg:"" optional:"" name:"target" help:"A host, HOST:PORT, a provider (sendgrid, ses:eu-west-1), a mail domain or address, a [smarthost] of the configuration; nothing: this host."`

	Verbose    bool          `short:"v" help:"Show the dialogue and the certificate behind each port."`
	Format     string        `placeholder:"NAME" help:"Show the setting of one program: postfix, exim, msmtp, nodemailer, phpmailer, django, wordpress, smtplib, laravel, rails, spring, paquebot."`
	Providers  bool          `help:"List the providers that are known by name."`
	Auth       bool          `help:"Try a credential, on verified TLS only: --user and --password-file. Nothing is sent."`
	User       string        `placeholder:"NAME" help:"User name for --auth."`
	Password   string        `name:"password-file" placeholder:"FILE" help:"File with the password for --auth, - for standard input."`
	Ports      []int         `placeholder:"PORT" help:"Look at these ports only."`
	Prefer     []int         `placeholder:"PORT" help:"Ports you would rather use."`
	Strict     bool          `help:"Prefer TLS from the first byte."`
	Only4      bool          `name:"ipv4" short:"4" help:"IPv4 only."`
	Only6      bool          `name:"ipv6" short:"6" help:"IPv6 only."`
	Own        bool          `help:"The host is a server of yours: also ask whether strangers may relay, and whether 25 is reached."`
	Reflector  string        `placeholder:"HOST" help:"A server of yours elsewhere with the same ports open: it proves who filters."`
	Reference  []string      `placeholder:"HOST:PORT" help:"Hosts to compare with, instead of the catalogue's; may be repeated."`
	Impossible []string      `placeholder:"ADDR" help:"Address that nobody has, instead of 192.0.2.1 and 2001:db8::1; may be repeated."`
	NoPublic   bool          `help:"Ask no public resolver, no other provider and no web page: compare with nothing outside."`
	Second     string        `placeholder:"ADDRESS" default:"9.9.9.9" help:"Resolver to ask for a second answer."`
	CA         string        `name:"ca" placeholder:"FILE" help:"Trust the CAs in this file, too."`
	Watch      bool          `help:"Look again every minute, and tell what changed, until Ctrl-C."`
	Every      time.Duration `default:"1m" help:"For --watch: how often."`
	Timeout    time.Duration `default:"30s" help:"For the whole run."`
}

// Help is shown below the usage of the command.
func (DoctorCmd) Help() string {
	return `Examples:
  paquebot doctor sendgrid            which port works from here, and why
  paquebot doctor ses:eu-west-1 --format django
  paquebot doctor smtp.example.org:587 -v
  paquebot doctor anna@example.org    what her domain offers
  paquebot doctor                     this host: ways out, listeners, names

Nothing is sent, and no password is tried without --auth. To tell who is to
blame it also connects to other providers' ports, to 192.0.2.1 (which nobody
has), and asks a second resolver; --no-public leaves that out.

Exit code 0: a secure port works; 1: none does; 2: could not tell.`
}

// Run examines every target and shows what it found.
func (c *DoctorCmd) Run(g *Globals) error {
	if c.Providers {
		return c.list(g)
	}
	if c.Format != "" && !slices.Contains(doctor.Formats(), c.Format) {
		return unsure("--format "+c.Format, errors.New("not known"), "one of "+strings.Join(doctor.Formats(), ", "))
	}
	x, err := c.examination(g)
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	var last []*doctor.Report
	for {
		reports, err := x.run(ctx)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return exitCode(130)
		}
		if err := c.show(g, reports, last); err != nil {
			return err
		}
		if !c.Watch {
			return exitOf(reports)
		}
		last = reports
		select {
		case <-time.After(c.Every):
		case <-ctx.Done():
			return exitOf(reports)
		}
	}
}

func exitOf(reports []*doctor.Report) error {
	code := 0
	for _, r := range reports {
		if r.Exit == 1 || code == 0 {
			code = max(code, r.Exit)
		}
		if r.Exit == 1 {
			code = 1
		}
	}
	if code == 0 {
		return nil
	}
	return exitCode(code)
}

// examination is one run to be repeated.
type examination struct {
	c       *DoctorCmd
	g       *Globals
	conf    *config.Config // nil: none
	names   *dns.Resolver
	base    doctor.Config
	targets []string
}

func (c *DoctorCmd) examination(g *Globals) (*examination, error) {
	x := &examination{c: c, g: g, targets: c.Targets}
	if file := g.configFile(); file != "" {
		conf, problems := config.Load(file)
		if config.Failed(problems) && (g.ConfigFile != "" || len(c.Targets) == 0) {
			tellProblems(g.Stderr, conf, problems)
			return nil, unsure(file+" has errors", nil, "paquebot config check -c "+file)
		}
		if !config.Failed(problems) {
			x.conf = conf
		}
	}
	roots, err := c.roots()
	if err != nil {
		return nil, unsure("cannot read the CA", errors.New(plainCause(err)), "--ca takes a file with certificates, PEM")
	}
	login, err := c.login(g)
	if err != nil {
		return nil, err
	}
	const answer = 2 * time.Second // of one name server; the run has thirty
	x.names = dns.New(dns.Config{Timeout: answer, Rounds: 1}, (&net.Dialer{}).DialContext)
	x.base = doctor.Config{
		Ehlo: x.ehlo(), Resolver: x.names, V4: c.Only4, V6: c.Only6, Roots: roots, Login: login, Reflector: c.Reflector,
		Budget: c.Timeout, Prefer: portNumbers(c.Prefer), Strict: c.Strict,
		Portal: "http://192.0.2.1/", // nobody has it: whoever answers wants a login
	}
	if err := c.comparisons(&x.base); err != nil {
		return nil, err
	}
	if errTerminal(g) {
		x.base.Progress = func(p doctor.Progress) { fmt.Fprintf(g.Stderr, "\r\x1b[K%s: %d of %d", p.Target, p.Done, p.Of) }
	}
	return x, nil
}

func portNumbers(list []int) []uint16 {
	var out []uint16
	for _, p := range list {
		if p > 0 && p <= 65535 {
			out = append(out, uint16(p))
		}
	}
	return out
}

// comparisons sets what is asked beside the target.
func (c *DoctorCmd) comparisons(d *doctor.Config) error {
	if c.NoPublic {
		d.Portal, d.References, d.Impossible = "", []doctor.Reference{}, []netip.Addr{}
		c.Second = "none"
	}
	if c.Second != "none" && c.Second != "" {
		a, err := netip.ParseAddr(c.Second)
		if err != nil {
			return unsure("--second "+c.Second, errors.New("not an address"), "write 9.9.9.9, or none")
		}
		const late = 1500 * time.Millisecond
		d.Second = dns.New(dns.Config{Servers: []netip.AddrPort{netip.AddrPortFrom(a, 53)}, Timeout: late, Rounds: 1}, (&net.Dialer{}).DialContext)
	}
	for _, text := range c.Impossible {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return unsure("--impossible "+text, errors.New("not an address"), "write an address that nobody has, such as 198.51.100.1")
		}
		d.Impossible = append(d.Impossible, a)
	}
	for _, text := range c.Reference {
		host, p, err := net.SplitHostPort(text)
		n, errPort := strconv.ParseUint(p, 10, 16)
		if err != nil || errPort != nil {
			return unsure("--reference "+text, errors.New("not HOST:PORT"), "write smtp.example.net:587")
		}
		d.References = append(d.References, doctor.Reference{Host: host, Port: uint16(n), Mode: doctor.ModeOf(uint16(n))})
	}
	return nil
}

func (x *examination) ehlo() string {
	if x.conf != nil && x.conf.Hostname != "" {
		return x.conf.Hostname
	}
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}

func (c *DoctorCmd) roots() (*x509.CertPool, error) {
	if c.CA == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	b, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(b) {
		return nil, errors.New(c.CA + " holds no certificate in PEM form")
	}
	return pool, nil
}

// certificatesOf reads a smart host's own root; it stands in the place of the
// system's, as for the relay.
func certificatesOf(file string) (*x509.CertPool, error) {
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

func (c *DoctorCmd) login(g *Globals) (*smtpclient.Login, error) {
	switch {
	case len(c.Targets) != 1 && (c.Auth || c.User != "" || c.Password != ""):
		return nil, unsure("--auth", errors.New("a credential is for one target"), "name it: paquebot doctor TARGET --auth --user NAME --password-file FILE")
	case !c.Auth && c.User == "" && c.Password == "":
		return nil, nil
	case c.User == "" || c.Password == "":
		return nil, unsure("--auth", errors.New("user and password are wanted"), "--auth --user NAME --password-file FILE; the password never stands on the command line")
	}
	file := c.Password
	var b []byte
	var err error
	if file == "-" {
		b, err = io.ReadAll(io.LimitReader(g.Stdin, 64<<10))
	} else {
		b, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, unsure("cannot read the password", errors.New(plainCause(err)), "")
	}
	return &smtpclient.Login{User: c.User, Password: strings.TrimRight(string(b), "\r\n")}, nil
}

// run finds out what the targets are, and examines each.
func (x *examination) run(ctx context.Context) ([]*doctor.Report, error) {
	var all []doctor.Target
	if len(x.targets) == 0 {
		all = x.self(ctx)
	}
	for _, name := range x.targets {
		t, err := x.target(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	var out []*doctor.Report
	for _, t := range all {
		conf := x.base
		if x.conf != nil && strings.HasPrefix(t.Title, "smart host ") {
			if s, ok := x.conf.Smarthosts[t.Name]; ok && s.CA != "" { // as the relay trusts it
				roots, err := certificatesOf(s.CA)
				if err != nil {
					return nil, unsure("cannot read the ca of smart host "+t.Name, errors.New(plainCause(err)), "")
				}
				conf.Roots = roots
			}
		}
		if t.Own {
			conf.Envelope = &probe.Envelope{From: "postmaster@" + x.ehlo(), To: "relay-test@example.com"}
			conf.Login = nil
		}
		if t.Kind == doctor.KindSelf {
			conf.Login = nil
		}
		out = append(out, doctor.New(conf).Examine(ctx, x.only(t)))
	}
	if x.base.Progress != nil {
		fmt.Fprint(x.g.Stderr, "\r\x1b[K")
	}
	return out, nil
}

// only keeps the ports that --ports names.
func (x *examination) only(t doctor.Target) doctor.Target {
	if len(x.c.Ports) > 0 && t.Kind != doctor.KindHost {
		t.Endpoints = slices.DeleteFunc(slices.Clone(t.Endpoints), func(e doctor.Endpoint) bool { return !slices.Contains(x.c.Ports, int(e.Port)) })
	}
	return t
}

// target is what a name on the command line means.
func (x *examination) target(ctx context.Context, name string) (doctor.Target, error) {
	if x.conf != nil {
		if s, ok := x.conf.Smarthosts[name]; ok {
			return smarthostTarget(name, s), nil
		}
	}
	if strings.Contains(name, "@") {
		return x.discover(ctx, name), nil
	}
	name = bareLiteral(name)
	if host, p, err := net.SplitHostPort(name); err == nil && p != "" && strings.Trim(p, "0123456789") == "" {
		port, err := strconv.ParseUint(p, 10, 16)
		if err != nil || port == 0 {
			return doctor.Target{}, unsure("no target "+name, fmt.Errorf("%s is no port", p), "ports are 1 to 65535")
		}
		return doctor.ForHost(strings.TrimSuffix(host, "."), []uint16{uint16(port)}, x.c.Own), nil
	}
	if p, region, err := provider.Find(name); err == nil && region != nil {
		return doctor.ForProvider(name, p, region), nil
	} else if !strings.Contains(name, ".") && !doctor.Literal(name) && name != "localhost" {
		if err == nil {
			err = errors.New("its host is your own: name the host instead")
		}
		return doctor.Target{}, unsure("no target "+name, err, "a host has a dot in its name; providers: paquebot doctor --providers")
	}
	if _, _, known := provider.ByHost(name); !known && !doctor.Literal(name) && len(x.c.Ports) == 0 && !x.c.Own {
		if x.names.MX(ctx, name).Status == dns.OK {
			return x.discover(ctx, name), nil
		}
	}
	return doctor.ForHost(strings.TrimSuffix(name, "."), portNumbers(x.c.Ports), x.c.Own), nil
}

// bareLiteral takes the brackets off an address without a port.
func bareLiteral(name string) string {
	if bare, ok := strings.CutPrefix(name, "["); ok {
		if bare, ok = strings.CutSuffix(bare, "]"); ok && doctor.Literal(bare) {
			return bare
		}
	}
	return name
}

func (x *examination) discover(ctx context.Context, name string) doctor.Target {
	return doctor.Discovery{Names: x.names, Roots: x.base.Roots, NoAutoconfig: x.c.NoPublic}.Discover(ctx, name)
}

// smarthostTarget is one of the configuration.
func smarthostTarget(name string, s config.Smarthost) doctor.Target {
	t := doctor.Target{Kind: doctor.KindHost, Name: name, Title: "smart host " + name}
	p, region, err := s.Catalogued()
	if err == nil && p != nil {
		t.Kind, t.Provider, t.Region = doctor.KindProvider, p, region
	}
	for _, e := range s.EndpointList() {
		at := doctor.Endpoint{Host: e.Host, Port: uint16(e.Port), Mode: doctor.ModeOf(uint16(e.Port)), Role: doctor.Submission, Known: true}
		switch e.TLS { // "" is as usual on the port
		case "tls":
			at.Mode = mail.Implicit
		case "starttls":
			at.Mode = mail.Verify
		case "none":
			at.Mode = mail.Clear
		}
		t.Endpoints = append(t.Endpoints, at)
	}
	if len(t.Endpoints) > 0 {
		t.Title += ", " + t.Endpoints[0].Host
	}
	return t
}

// self is this host, with what its configuration names.
func (x *examination) self(ctx context.Context) []doctor.Target {
	h := doctor.Host{Names: x.names, Hostname: x.ehlo(), Roots: x.base.Roots}
	for _, r := range x.base.References {
		if !slices.Contains(h.References, r.Host) {
			h.References = append(h.References, r.Host)
		}
	}
	if x.conf == nil {
		return h.Targets(ctx)
	}
	for _, l := range x.conf.Listeners {
		h.Listeners = append(h.Listeners, doctor.HostListener{Address: l.Address, Role: l.Role, Trusted: l.Trusted})
	}
	for _, d := range x.conf.Domains {
		h.Domains = append(h.Domains, d.Name)
	}
	for _, p := range x.conf.Pools {
		for _, s := range p.Sources {
			h.Sources = append(h.Sources, mail.Source{Addr: s.Address, Ehlo: s.Ehlo})
		}
	}
	if x.conf.TLS.Cert != "" {
		h.Certificates = append(h.Certificates, readCertificate(x.conf.TLS.Cert))
	}
	all := h.Targets(ctx)
	names := make([]string, 0, len(x.conf.Smarthosts))
	for name := range x.conf.Smarthosts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		all = append(all, smarthostTarget(name, x.conf.Smarthosts[name]))
	}
	return all
}

func readCertificate(file string) doctor.HostCertificate {
	c := doctor.HostCertificate{File: file}
	b, err := os.ReadFile(file)
	if err != nil {
		c.Err = err
		return c
	}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			c.Err = err
			return c
		}
		c.Chain = append(c.Chain, cert)
	}
	if len(c.Chain) == 0 {
		c.Err = errors.New("no certificate in it")
	}
	return c
}

// list shows the catalogue.
func (c *DoctorCmd) list(g *Globals) error {
	all := provider.All()
	if g.JSON {
		return g.printJSON(map[string]any{"schema": "paquebot.providers/1", "providers": all})
	}
	p := g.page()
	p.line("%-14s %-26s %-18s %s", "NAME", "WHO", "STARTTLS", "TLS AT ONCE")
	for _, x := range all {
		var clear, tls []string
		for _, at := range x.Ports {
			if at.Mode == mail.Implicit {
				tls = append(tls, strconv.Itoa(int(at.Number)))
			} else {
				clear = append(clear, strconv.Itoa(int(at.Number)))
			}
		}
		if g.Plain {
			g.record(x.Name, x.Title, strings.Join(clear, ","), strings.Join(tls, ","), x.Confidence, x.Checked)
			continue
		}
		mark := ""
		if x.Confidence == "unconfirmed" {
			mark = " *"
		}
		p.line("%-14s %-26s %-18s %s", x.Name, cut(x.Title, 24)+mark, dash(strings.Join(clear, " ")), dash(strings.Join(tls, " ")))
	}
	if g.Plain {
		return nil
	}
	p.line("")
	p.line("Regions: NAME:REGION, as ses:eu-west-1. * unconfirmed: general knowledge.")
	p.line("more  paquebot doctor NAME   docs/reference/providers.md   --json")
	return g.show(p)
}

// errTerminal reports that hints go to a person.
func errTerminal(g *Globals) bool {
	f, ok := g.Stderr.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
