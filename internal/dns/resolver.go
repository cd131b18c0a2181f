package dns

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Config of a Resolver. The zero value asks the servers of /etc/resolv.conf.
type Config struct {
	Servers     []netip.AddrPort // in the order to ask; empty: those of /etc/resolv.conf
	Trusted     []netip.Addr     // servers whose AD bit is believed; loopback always is
	Timeout     time.Duration    // for one answer of one server; 0: 5 s, as in libc
	Rounds      int              // how often all servers are asked; 0: 2
	CacheOctets int              // remembered, roughly; 0: 32 MiB
}

// Dial opens a connection to a name server; network is "udp" or "tcp".
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

const (
	defaultTimeout = 5 * time.Second
	defaultRounds  = 2
	defaultCache   = 32 << 20 // octets; some 100,000 typical answers

	// queriesMax bounds the questions on the wire at one time, so that a flood
	// of strange domains costs waiting, not sockets.
	queriesMax = 512

	// flightsMax bounds the questions asked or waiting to be; beyond it the
	// answer is Temp at once.
	flightsMax = 8 * queriesMax

	// aliasesMax is how many CNAMEs are followed for one question. Resolvers
	// stop at 8 to 16; beyond, it is a loop or a joke.
	aliasesMax = 10

	// namesMax bounds the reverse names of one address that are confirmed.
	namesMax = 8
)

// Resolver is a caching stub resolver. It is safe for concurrent use.
type Resolver struct {
	life   context.Context // of the questions under way
	stop   context.CancelCauseFunc
	conf   Config
	dial   Dial
	cache  *cache
	slots  chan struct{} // one per query under way
	mu     sync.Mutex
	flying map[question]*flight
}

// question is what is asked, in canonical form.
type question struct {
	name  string // A-labels, lower case, no trailing dot
	qtype uint16
}

// flight is a question on its way, shared by all who ask it (single-flight).
type flight struct {
	done  chan struct{}
	reply reply
}

// New returns a resolver that opens its sockets with dial; nil: the system's.
// Without servers in c those of /etc/resolv.conf are used, and 127.0.0.1 if there is none.
func New(c Config, dial Dial) *Resolver {
	if len(c.Servers) == 0 {
		c.Servers = systemServers("/etc/resolv.conf")
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.Rounds <= 0 {
		c.Rounds = defaultRounds
	}
	if c.CacheOctets <= 0 {
		c.CacheOctets = defaultCache
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	life, stop := context.WithCancelCause(context.Background())
	return &Resolver{
		life:   life,
		stop:   stop,
		conf:   c,
		dial:   dial,
		cache:  newCache(c.CacheOctets),
		slots:  make(chan struct{}, queriesMax),
		flying: make(map[question]*flight),
	}
}

// Close ends the questions under way; they and all later ones are answered
// with Temp unless the cache knows better.
func (r *Resolver) Close() { r.stop(errClosed) }

// systemServers reads the name servers of a resolv.conf; libc's default, the
// local machine, stands in for a file that names none.
func systemServers(path string) []netip.AddrPort {
	var servers []netip.AddrPort
	if c, err := dns.ClientConfigFromFile(path); err == nil {
		for _, s := range c.Servers {
			if a, err := netip.ParseAddr(s); err == nil {
				servers = append(servers, netip.AddrPortFrom(a, 53))
			}
		}
	}
	if len(servers) == 0 {
		servers = append(servers, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53))
	}
	return servers
}

// MX returns the mail exchangers of a domain, by preference, lowest first.
func (r *Resolver) MX(ctx context.Context, domain string) Answer[MX] {
	a := r.ask(ctx, domain, dns.TypeMX)
	out := convert(a, pick(a.Records, func(rr dns.RR) (MX, bool) {
		mx, ok := rr.(*dns.MX)
		if !ok {
			return MX{}, false
		}
		return MX{Preference: mx.Preference, Host: bare(mx.Mx)}, true
	}))
	slices.SortStableFunc(out.Records, func(a, b MX) int { return int(a.Preference) - int(b.Preference) })
	return out
}

// SRV returns where a service of a domain is offered, "submissions" over "tcp",
// by priority, and the heavier of equal ones first. Shares by weight are for
// whoever connects (RFC 2782).
func (r *Resolver) SRV(ctx context.Context, service, proto, domain string) Answer[SRV] {
	a := r.ask(ctx, "_"+service+"._"+proto+"."+domain, dns.TypeSRV)
	out := convert(a, pick(a.Records, func(rr dns.RR) (SRV, bool) {
		s, ok := rr.(*dns.SRV)
		if !ok {
			return SRV{}, false
		}
		return SRV{Priority: s.Priority, Weight: s.Weight, Port: s.Port, Target: bare(s.Target)}, true
	}))
	slices.SortStableFunc(out.Records, func(a, b SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.Weight, a.Weight))
	})
	return out
}

// TLSA returns what is published of the TLS service at a TCP port of a host,
// the TLSA base domain (RFC 6698 §3). Only a Secure answer says anything at all;
// Temp never means that there is none (DANE-4).
func (r *Resolver) TLSA(ctx context.Context, port uint16, host string) Answer[TLSA] {
	name := "_" + strconv.Itoa(int(port)) + "._tcp." + host
	if isLocalhost(strings.ToLower(strings.TrimSuffix(host, "."))) {
		return Answer[TLSA]{Status: NXDomain, Name: name, Secure: true, TTL: ttlMax}
	}
	a := r.ask(ctx, name, dns.TypeTLSA)
	return convert(a, pick(a.Records, func(rr dns.RR) (TLSA, bool) {
		t, ok := rr.(*dns.TLSA)
		if !ok {
			return TLSA{}, false
		}
		data, err := hex.DecodeString(t.Certificate) // from the wire: always good
		return TLSA{Usage: t.Usage, Selector: t.Selector, Matching: t.MatchingType, Data: data}, err == nil
	}))
}

// TXT returns the text records of a name, the strings of each joined.
func (r *Resolver) TXT(ctx context.Context, name string) Answer[string] {
	a := r.ask(ctx, name, dns.TypeTXT)
	return convert(a, pick(a.Records, func(rr dns.RR) (string, bool) {
		txt, ok := rr.(*dns.TXT)
		if !ok {
			return "", false
		}
		return unquote(strings.Join(txt.Txt, "")), true
	}))
}

// CNAME returns the alias of a name, one step, and no more.
func (r *Resolver) CNAME(ctx context.Context, name string) Answer[string] {
	a := r.ask(ctx, name, dns.TypeCNAME)
	return convert(a, pick(a.Records, func(rr dns.RR) (string, bool) {
		c, ok := rr.(*dns.CNAME)
		if !ok {
			return "", false
		}
		return bare(c.Target), true
	}))
}

// Addrs returns the addresses of a host, IPv6 before IPv4, asking for both at
// once. An address literal, with or without brackets, is not a name.
func (r *Resolver) Addrs(ctx context.Context, host string) Answer[netip.Addr] {
	if isLocalhost(strings.ToLower(strings.TrimSuffix(host, "."))) {
		return Answer[netip.Addr]{Records: []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})},
			Name: host, Secure: true, TTL: ttlMax}
	}
	v6 := make(chan Answer[netip.Addr], 1)
	go func() { v6 <- r.family(ctx, host, dns.TypeAAAA) }()
	v4 := r.family(ctx, host, dns.TypeA)
	return mergeAddrs(v4, <-v6)
}

// IPv4 returns the A records of a host alone.
func (r *Resolver) IPv4(ctx context.Context, host string) Answer[netip.Addr] {
	return r.family(ctx, host, dns.TypeA)
}

func (r *Resolver) family(ctx context.Context, host string, qtype uint16) Answer[netip.Addr] {
	a := r.ask(ctx, host, qtype)
	return convert(a, pick(a.Records, func(rr dns.RR) (netip.Addr, bool) {
		switch rr := rr.(type) {
		case *dns.A:
			addr, ok := netip.AddrFromSlice(rr.A.To4())
			return addr, ok
		case *dns.AAAA:
			addr, ok := netip.AddrFromSlice(rr.AAAA)
			return addr.Unmap(), ok
		}
		return netip.Addr{}, false
	}))
}

// Names returns the reverse names of an address as they are published, not
// confirmed: anybody can claim any name.
func (r *Resolver) Names(ctx context.Context, addr netip.Addr) Answer[string] {
	arpa, err := dns.ReverseAddr(addr.Unmap().WithZone("").String())
	if err != nil {
		return Answer[string]{Status: NXDomain, Cause: ErrBadName}
	}
	a := r.ask(ctx, arpa, dns.TypePTR)
	return convert(a, pick(a.Records, func(rr dns.RR) (string, bool) {
		ptr, ok := rr.(*dns.PTR)
		if !ok {
			return "", false
		}
		return bare(ptr.Ptr), true
	}))
}

// Confirmed returns the reverse names of an address that resolve back to it
// (forward-confirmed reverse DNS). NoData means that there are names but none
// is true; Temp that it could not be found out.
func (r *Resolver) Confirmed(ctx context.Context, addr netip.Addr) Answer[string] {
	names := r.Names(ctx, addr)
	if names.Status != OK {
		return names
	}
	var good []string
	unsure := error(nil)
	for _, name := range names.Records[:min(len(names.Records), namesMax)] {
		back := r.Addrs(ctx, name)
		switch {
		case back.Status == Temp:
			unsure = back.Cause
		case slices.Contains(back.Records, addr.Unmap().WithZone("")):
			good = append(good, name)
			names.Secure = names.Secure && back.Secure
		}
		names.TTL = min(names.TTL, back.TTL)
	}
	out := convert(names, good)
	switch {
	case len(good) > 0:
	case unsure != nil:
		out.Status, out.Cause = Temp, unsure
	default:
		out.Status = NoData
	}
	return out
}

func pick[T any](rrs []dns.RR, get func(dns.RR) (T, bool)) []T {
	var out []T
	for _, rr := range rrs {
		if v, ok := get(rr); ok {
			out = append(out, v)
		}
	}
	return out
}

// bare is a name as the rest of the house writes it; the root stays ".".
func bare(name string) string {
	if name == "." {
		return name
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// ask answers a question from the cache or from the servers, following aliases
// that a server left unfollowed.
func (r *Resolver) ask(ctx context.Context, name string, qtype uint16) Answer[dns.RR] {
	asked, err := ToASCII(name)
	if err != nil {
		return Answer[dns.RR]{Status: NXDomain, Name: name, Cause: err, TTL: ttlMin}
	}
	out := Answer[dns.RR]{Name: asked, Secure: true, TTL: ttlMax}
	for range aliasesMax {
		if neverExists(out.Name) {
			out.Status = NXDomain
			return out
		}
		got := r.cachedReply(ctx, question{out.Name, qtype})
		out.Status, out.Records, out.Cause = got.status, got.records, got.cause
		out.Secure = out.Secure && got.secure
		out.TTL = min(out.TTL, got.left(time.Now()))
		out.Aliased = out.Aliased || got.owner != out.Name
		out.Name = got.owner
		if !got.unfinished {
			return out
		}
	}
	return Answer[dns.RR]{Status: Temp, Name: out.Name, Aliased: true, TTL: ttlMin, Cause: errAliases}
}

var (
	errAliases = errors.New("dns: too many aliases (CNAME)")
	errClosed  = errors.New("dns: resolver closed")
	errBusy    = errors.New("dns: too many questions under way")
)

// cachedReply asks one question, without following.
func (r *Resolver) cachedReply(ctx context.Context, q question) reply {
	if got, ok := r.cache.get(q, time.Now()); ok {
		return got
	}
	f := r.join(q)
	select {
	case <-f.done:
		return f.reply
	case <-ctx.Done():
		return temporary(q, context.Cause(ctx))
	}
}

// join boards the flight that asks q already, or starts one. The flight does
// not end with its first passenger: others wait for it, and the cache wants it.
func (r *Resolver) join(q question) *flight {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, ok := r.flying[q]; ok {
		return f
	}
	f := &flight{done: make(chan struct{})}
	if len(r.flying) >= flightsMax {
		f.reply = temporary(q, errBusy)
		close(f.done)
		return f
	}
	r.flying[q] = f
	go r.fly(q, f)
	return f
}

func (r *Resolver) fly(q question, f *flight) {
	r.slots <- struct{}{} // each holder leaves within Rounds × Servers × 3 Timeouts
	f.reply = r.query(r.life, q)
	<-r.slots
	r.cache.put(q, f.reply)
	r.mu.Lock()
	delete(r.flying, q)
	r.mu.Unlock()
	close(f.done)
}
