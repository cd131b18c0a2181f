package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"net/netip"
	"slices"
	"sync"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/mail"
	"paquebot/internal/probe"
	"paquebot/internal/provider"
	"paquebot/internal/smtpclient"
)

// Gather looks at everything of a target at once, with the comparisons that
// its judgement needs. It ends within the budget, or when ctx does.
func (d *Doctor) Gather(ctx context.Context, t Target) *Facts {
	whole, cancel := context.WithTimeout(ctx, d.conf.Budget)
	defer cancel()
	if len(t.Endpoints) > endpointsMax {
		t.Endpoints = t.Endpoints[:endpointsMax]
	}
	t.Checks = append(slices.Clip(t.Checks), t.withheld(d.conf.Login)...)
	f := &Facts{Target: t, Started: time.Now(), Prefer: d.conf.Prefer, LastGood: d.conf.LastGood, Strict: d.conf.Strict, Login: d.login(t)}
	r := &run{d: d, ctx: whole, f: f, compared: map[uint16]bool{}}
	r.names()
	r.endpoints()
	r.controls()
	r.all.Wait()
	r.self()
	r.sort()
	f.Cut = whole.Err() != nil
	return f
}

// login is what may be known of the credential.
func (d *Doctor) login(t Target) *Login {
	l := d.conf.Login
	if l == nil {
		return nil
	}
	return &Login{User: l.User, Shape: shape(t.Provider, l)}
}

func shape(p *provider.Provider, l *smtpclient.Login) string {
	if p == nil || l.Password == "" {
		return ""
	}
	if err := checkCredential(p, l.User, l.Password); err != nil {
		return err.Error()
	}
	return ""
}

// run is one gathering of facts.
type run struct {
	d        *Doctor
	ctx      context.Context
	all      sync.WaitGroup
	mu       sync.Mutex
	f        *Facts
	compared map[uint16]bool // ports whose references are asked already
	done, of int
}

// names looks up every host once, all at the same time.
func (r *run) names() {
	var wait sync.WaitGroup
	for _, host := range hosts(r.f.Target.Endpoints) {
		if _, err := netip.ParseAddr(host); err == nil {
			continue
		}
		wait.Go(func() {
			n := r.name(host)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.f.Names = append(r.f.Names, n)
		})
	}
	wait.Wait()
}

// hosts of endpoints whose addresses are not known, each once.
func hosts(all []Endpoint) []string {
	var out []string
	for _, e := range all {
		if len(e.Addrs) == 0 && !slices.Contains(out, e.Host) {
			out = append(out, e.Host)
		}
	}
	return out
}

func (r *run) name(host string) Name {
	from := time.Now()
	second := make(chan dns.Answer[netip.Addr], 1)
	if s := r.d.conf.Second; s != nil {
		go func() { second <- s.Addrs(r.ctx, host) }()
	}
	n := Name{Host: host, Answer: r.d.conf.Resolver.Addrs(r.ctx, host)}
	n.Took = time.Since(from)
	if r.d.conf.Second != nil {
		late := time.NewTimer(secondWait)
		defer late.Stop()
		select {
		case a := <-second:
			n.Second = &a
		case <-late.C:
		}
	}
	if n.Answer.Status != dns.OK || dubious(n) || unconfirmed(n) {
		n.Others = r.others(host)
	}
	return n
}

// unconfirmed: there is no second opinion, as in a network that lets nobody ask
// one; other names tell whether the first resolver knows but one answer.
func unconfirmed(n Name) bool { return n.Second == nil || n.Second.Status == dns.Temp }

// dubious answers are compared with those about other names (DIAG-12).
func dubious(n Name) bool {
	if slices.ContainsFunc(n.Answer.Records, notPublic) {
		return true
	}
	return n.Second != nil && n.Second.Status == dns.OK && !overlap(n.Answer.Records, n.Second.Records)
}

func notPublic(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || sharedSpace().Contains(a)
}

// sharedSpace is the addresses between a carrier and its customers (RFC 6598).
func sharedSpace() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10)
}

func overlap(a, b []netip.Addr) bool {
	return slices.ContainsFunc(a, func(x netip.Addr) bool { return slices.Contains(b, x) })
}

// others asks for two unrelated names.
func (r *run) others(but string) []Other {
	var out []Other
	for _, host := range r.d.otherHosts(but) {
		out = append(out, Other{host, r.d.conf.Resolver.Addrs(r.ctx, host)})
	}
	return out
}

// otherHosts are names that have nothing to do with the one asked for.
func (d *Doctor) otherHosts(but string) []string {
	var out []string
	for _, ref := range d.references(0, but) {
		if _, err := netip.ParseAddr(ref.Host); err != nil && !slices.Contains(out, ref.Host) && len(out) < 2 {
			out = append(out, ref.Host)
		}
	}
	return out
}

// addrs of a host in one family.
func (r *run) addrs(e Endpoint, family int) []netip.Addr {
	all := e.Addrs
	if a, err := netip.ParseAddr(e.Host); err == nil {
		all = []netip.Addr{a}
	}
	if len(all) == 0 {
		r.mu.Lock()
		i := slices.IndexFunc(r.f.Names, func(n Name) bool { return n.Host == e.Host })
		if i >= 0 {
			all = r.f.Names[i].Answer.Records
		}
		r.mu.Unlock()
	}
	return inFamily(all, family)
}

func inFamily(all []netip.Addr, family int) []netip.Addr {
	var out []netip.Addr
	for _, a := range all {
		if familyOf(a) == family {
			out = append(out, a)
		}
	}
	return out
}

func familyOf(a netip.Addr) int {
	if a.Unmap().Is4() {
		return 4
	}
	return 6
}

func (r *run) families() []int {
	var out []int
	if r.d.conf.V4 {
		out = append(out, 4)
	}
	if r.d.conf.V6 {
		out = append(out, 6)
	}
	return out
}

// endpoints are looked at all at once, one connection at a time for each host,
// port and family (DIAG-1).
func (r *run) endpoints() {
	var looks []func()
	for _, e := range r.f.Target.Endpoints {
		for _, family := range r.families() {
			if addrs := r.addrs(e, family); len(addrs) > 0 {
				looks = append(looks, func() { r.endpoint(e, family, addrs) })
			}
		}
	}
	r.of = len(looks)
	for _, look := range looks {
		r.all.Go(look)
	}
}

func (r *run) endpoint(e Endpoint, family int, addrs []netip.Addr) {
	s := r.sight(e, family, addrs, r.d.options(e, &r.f.Target), repeats, func(s *Sight) { r.compare(s, family) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.f.Sights = append(r.f.Sights, s)
	r.done++
	if p := r.d.conf.Progress; p != nil {
		p(Progress{Target: r.f.Target.Title, Endpoint: e, Family: family, Done: r.done, Of: r.of, Word: judgeSight(&s).word()})
	}
}

// options of a look at an endpoint of the target, or, where that is nil, at one
// to compare it with, which never gets the credential.
func (d *Doctor) options(e Endpoint, target *Target) probe.Options {
	o := probe.Options{Dial: d.conf.Dial, Route: d.conf.Route, Ehlo: d.conf.Ehlo, Limits: d.conf.Limits,
		TLS: &tls.Config{RootCAs: d.conf.Roots, ServerName: cmp.Or(e.Name, e.Host)}}
	if target != nil {
		o.Login = target.confided(e, d.conf.Login)
		o.Envelope = d.conf.Envelope
	}
	return o
}

// sight looks at an endpoint over one family, again where one look does not
// tell: at silence, at what may pass, at what a large ClientHello may have
// caused. suspect hears of the first look that is not clean.
func (r *run) sight(e Endpoint, family int, addrs []netip.Addr, o probe.Options, more int, suspect func(*Sight)) Sight {
	s := Sight{Endpoint: e, Family: family}
	for try := 0; ; try++ {
		to := probe.Endpoint{Host: e.Host, Addr: addrs[try%len(addrs)], Port: e.Port, Mode: e.Mode}
		s.Observation = probe.Look(r.ctx, to, o)
		if try == 0 && suspect != nil && (!judgeSight(&s).clean() || stranger(&s)) {
			suspect(&s)
		}
		again, small := worthAnother(&s.Observation, o, try, more)
		if !again || !r.pause() {
			break
		}
		o.Small = o.Small || small
		s.Earlier = append(s.Earlier, s.Observation)
	}
	if mode, ok := otherMode(&s.Observation); ok && r.pause() {
		turned := probe.Look(r.ctx, probe.Endpoint{Host: e.Host, Addr: s.Observation.Endpoint.Addr, Port: e.Port, Mode: mode}, o)
		s.Turned = &turned
	}
	return s
}

// worthAnother says whether to try once more, and whether with a small
// ClientHello (TLS-3).
func worthAnother(o *probe.Observation, opt probe.Options, try, more int) (again, small bool) {
	switch {
	case o.Dial.Result == probe.Timeout:
		return try < more, false
	case o.Dial.Result == probe.Prohibited, o.Dial.Result == probe.Reset:
		return try == 0, false
	case o.Cut == "greeting" && o.CutBy == "reset":
		return try == 0, false
	case o.Cut == "handshake" && !opt.Small && !o.Silent:
		return true, true
	case o.Greeting != nil && o.Greeting.Code == 421:
		return try == 0, false
	}
	return false, false
}

// otherMode: a port that began in clear where TLS was asked for (DIAG-31).
func otherMode(o *probe.Observation) (mail.Security, bool) {
	if o.TLS != nil && o.Endpoint.Mode == mail.Implicit && saysReady(o.TLS.Plain) {
		return mail.Verify, true
	}
	return "", false
}

// pause keeps the distance between two tries; false when the time is over.
func (r *run) pause() bool {
	t := time.NewTimer(r.d.conf.Spacing)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// sort puts what came in any order into the target's.
func (r *run) sort() {
	at := func(e Endpoint) int {
		return slices.IndexFunc(r.f.Target.Endpoints, func(x Endpoint) bool { return x.Host == e.Host && x.Port == e.Port && x.Mode == e.Mode })
	}
	slices.SortStableFunc(r.f.Sights, func(a, b Sight) int {
		return cmp.Or(cmp.Compare(at(a.Endpoint), at(b.Endpoint)), cmp.Compare(a.Family, b.Family))
	})
	slices.SortFunc(r.f.Names, func(a, b Name) int { return cmp.Compare(a.Host, b.Host) })
	c := &r.f.Controls
	slices.SortFunc(c.References, func(a, b Sight) int {
		return cmp.Or(cmp.Compare(a.Endpoint.Port, b.Endpoint.Port), cmp.Compare(a.Endpoint.Host, b.Endpoint.Host), cmp.Compare(a.Family, b.Family))
	})
	for _, list := range [][]Control{c.Impossible, c.Reflector, c.Web} {
		slices.SortFunc(list, func(a, b Control) int {
			return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Host, b.Host), a.Addr.Compare(b.Addr))
		})
	}
}
