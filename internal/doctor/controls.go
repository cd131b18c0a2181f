package doctor

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/mail"
	"paquebot/internal/probe"
	"paquebot/internal/provider"
)

// controls takes the comparisons that are always taken: the impossible
// address, port 443, the reflector and the portal question (DIAG-3).
func (r *run) controls() {
	var ports []uint16
	for _, e := range r.f.Target.Endpoints {
		if !slices.Contains(ports, e.Port) {
			ports = append(ports, e.Port)
		}
	}
	for _, family := range r.families() {
		if !r.sees(family) {
			continue
		}
		for _, a := range inFamily(r.d.conf.Impossible, family) {
			for _, port := range ports {
				r.all.Go(func() { r.impossible(a, port) })
			}
		}
		r.web(family)
	}
	if host := r.d.conf.Reflector; host != "" {
		r.all.Go(func() { r.reflector(host, ports) })
	}
	if url := r.d.conf.Portal; url != "" {
		r.all.Go(func() { r.portal(url) })
	}
}

// sees reports that some endpoint has an address of a family.
func (r *run) sees(family int) bool {
	return slices.ContainsFunc(r.f.Target.Endpoints, func(e Endpoint) bool { return len(r.addrs(e, family)) > 0 })
}

// impossible connects to an address that nobody has; if somebody answers, what
// he says first proves what he is (DIAG-22).
func (r *run) impossible(a netip.Addr, port uint16) {
	o := r.d.options(Endpoint{Host: a.String()}, nil)
	o.Limits = probe.Limits{Connect: impossibleWait, Greeting: impossibleWait, Reply: impossibleWait}
	seen := probe.Look(r.ctx, probe.Endpoint{Host: a.String(), Addr: a, Port: port, Mode: mail.Clear}, o)
	r.control(&r.f.Controls.Impossible, Control{Host: a.String(), Addr: a, Port: port, Dial: seen.Dial, First: seen.First})
}

func (r *run) control(into *[]Control, c Control) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*into = append(*into, c)
}

// web connects to port 443 of each host, for the round-trip time and to know
// whether anything of it can be reached.
func (r *run) web(family int) {
	const https = 443
	var asked []string
	for _, e := range r.f.Target.Endpoints {
		addrs := r.addrs(e, family)
		if len(addrs) == 0 || slices.Contains(asked, e.Host) {
			continue
		}
		asked = append(asked, e.Host)
		r.all.Go(func() {
			o := r.d.options(e, nil)
			o.Limits.Connect = webWait
			dial := probe.Connect(r.ctx, netip.AddrPortFrom(addrs[0], https), o)
			r.control(&r.f.Controls.Web, Control{Host: e.Host, Addr: addrs[0], Port: https, Dial: dial})
		})
	}
}

// reflector connects to the same ports of the operator's own host elsewhere.
func (r *run) reflector(host string, ports []uint16) {
	addrs := r.lookup(host)
	for _, family := range r.families() {
		mine := inFamily(addrs, family)
		if len(mine) == 0 {
			continue
		}
		for _, port := range ports {
			r.all.Go(func() {
				dial := probe.Connect(r.ctx, netip.AddrPortFrom(mine[0], port), r.d.options(Endpoint{Host: host}, nil))
				r.control(&r.f.Controls.Reflector, Control{Host: host, Addr: mine[0], Port: port, Dial: dial})
			})
		}
	}
}

func (r *run) lookup(host string) []netip.Addr {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}
	}
	return r.d.conf.Resolver.Addrs(r.ctx, host).Records
}

// compare asks the same port of other hosts, once per port, when the first look
// at it is not clean (DIAG-2).
func (r *run) compare(s *Sight, family int) {
	port := s.Endpoint.Port
	r.mu.Lock()
	key := port
	known := r.compared[key]
	r.compared[key] = true
	r.mu.Unlock()
	if known {
		return
	}
	for _, ref := range r.d.references(port, s.Endpoint.Host) {
		r.all.Go(func() { r.reference(ref) })
	}
}

// reference looks at another host's port over the families asked for.
func (r *run) reference(ref Reference) {
	e := Endpoint{Host: ref.Host, Port: ref.Port, Mode: ref.Mode, Role: Submission, Known: true}
	addrs := r.lookup(ref.Host)
	for _, family := range r.families() {
		mine := inFamily(addrs, family)
		if len(mine) == 0 {
			continue
		}
		r.all.Go(func() {
			o := r.d.options(e, nil)
			o.Limits.Greeting = min(orGreeting(o.Limits.Greeting), referenceGreeting)
			s := r.sight(e, family, mine, o, 1, nil)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.f.Controls.References = append(r.f.Controls.References, s)
		})
	}
}

// referenceGreeting is how long a control may keep us waiting.
const referenceGreeting = 5 * time.Second

func orGreeting(d time.Duration) time.Duration {
	if d <= 0 {
		return probe.DefaultLimits().Greeting
	}
	return d
}

// references are hosts to compare a port with: the operator's, or those of the
// catalogue that offer it. Port 0 stands for any.
func (d *Doctor) references(port uint16, but string) []Reference {
	var out []Reference
	add := func(ref Reference) {
		if (port == 0 || ref.Port == port) && !sameOperation(ref.Host, but) && len(out) < referencesMax {
			out = append(out, ref)
		}
	}
	if d.conf.References != nil {
		for _, ref := range d.conf.References {
			add(ref)
		}
		return out
	}
	mine, _, _ := provider.ByHost(but)
	for _, p := range provider.All() {
		if p == mine || len(p.Regions) == 0 {
			continue
		}
		for _, at := range p.Ports {
			if (port == 0 || at.Number == port) && p.Regions[0].Host != "" {
				add(Reference{p.Regions[0].Host, at.Number, at.Mode})
				break
			}
		}
	}
	return out
}

// self asks for the names of our own addresses that are public, where mail is
// to go from server to server (DIAG-46).
func (r *run) self() {
	var asked []netip.Addr
	for _, s := range r.f.Sights {
		if s.Endpoint.Port != smtpPort || !s.Local.IsValid() || notPublic(s.Local) || slices.Contains(asked, s.Local) {
			continue
		}
		asked = append(asked, s.Local)
		ctx, cancel := context.WithTimeout(r.ctx, secondWait)
		r.f.Self = append(r.f.Self, Self{s.Local, r.d.conf.Resolver.Confirmed(ctx, s.Local)})
		cancel()
	}
}

const smtpPort = 25

// portal asks for a page whose answer is known: 204 and nothing (DIAG-48).
func (r *run) portal(url string) {
	ctx, cancel := context.WithTimeout(r.ctx, webWait)
	defer cancel()
	p := &Portal{URL: url}
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.f.Controls.Portal = p
	}()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		p.Err = err.Error()
		return
	}
	transport := &http.Transport{DialContext: r.d.conf.Dial, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	a, err := client.Do(q)
	if err != nil {
		p.Err = errors.Unwrap(err).Error()
		return
	}
	defer a.Body.Close()
	const bodyMax = 512 // only whether there is one counts
	body, _ := io.ReadAll(io.LimitReader(a.Body, bodyMax))
	p.Status, p.Location = a.StatusCode, a.Header.Get("Location")
	p.Expected = a.StatusCode == http.StatusNoContent || a.StatusCode == http.StatusOK && len(body) == 0
}

// sameOperation reports that two hosts belong together as far as names tell:
// the same registrable part.
func sameOperation(a, b string) bool { return family(a) == family(b) }

// checkCredential is provider's, kept to its sentence.
func checkCredential(p *provider.Provider, user, pass string) error {
	return p.CheckCredential(user, pass)
}

var _ Resolver = (*dns.Resolver)(nil)
