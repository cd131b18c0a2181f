package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// reply is what the servers said to one question, in the form that is kept.
type reply struct {
	status     Status
	records    []dns.RR
	owner      string // of the records, after the aliases in this reply
	unfinished bool   // owner is an alias's target of which nothing was said
	secure     bool
	expires    time.Time
	octets     int // what keeping it costs, roughly
	cause      error
}

func (r reply) left(now time.Time) time.Duration { return max(r.expires.Sub(now), 0) }

func temporary(q question, cause error) reply {
	return reply{status: Temp, owner: q.name, cause: cause, expires: time.Now().Add(troubleTTL), octets: len(q.name)}
}

const (
	// udpMax is the answer size we offer by UDP: below any usual path's MTU, so
	// that no fragment is needed (DNS Flag Day 2020).
	udpMax = 1232

	// recordsMax is how many records of one answer are kept. Round robins have
	// dozens; a 64 KiB answer could have four thousand.
	recordsMax = 256
)

// query asks the servers in turn until one gives an answer to rely on.
func (r *Resolver) query(ctx context.Context, q question) reply {
	cause := context.Cause(ctx)
	for range r.conf.Rounds {
		for _, server := range r.conf.Servers {
			if ctx.Err() != nil {
				return temporary(q, context.Cause(ctx))
			}
			msg, err := r.exchange(ctx, q, server)
			if err == nil {
				var got reply
				if got, err = r.digest(q, msg, server.Addr()); err == nil {
					return got
				}
			}
			cause = fmt.Errorf("dns: %s %s at %s: %w", q.name, dns.TypeToString[q.qtype], server, err)
		}
	}
	return temporary(q, cause)
}

// exchange is one question to one server: by UDP, then by TCP if the answer
// does not fit, then without EDNS if the server does not know it.
func (r *Resolver) exchange(ctx context.Context, q question, server netip.AddrPort) (*dns.Msg, error) {
	msg, err := r.once(ctx, q, server, "udp", true)
	if err != nil {
		return nil, err
	}
	if msg.Rcode == dns.RcodeFormatError || msg.Rcode == dns.RcodeNotImplemented {
		if msg, err = r.once(ctx, q, server, "udp", false); err != nil {
			return nil, err
		}
	}
	if msg.Truncated {
		return r.once(ctx, q, server, "tcp", true)
	}
	return msg, nil
}

// once sends one query over one socket. A socket serves one question only, so
// its port is part of what a forger must guess.
func (r *Resolver) once(ctx context.Context, q question, server netip.AddrPort, network string, edns bool) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.conf.Timeout)
	defer cancel()
	conn, err := r.dial(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	ask := compose(q, edns)
	wire, err := ask.Pack()
	if err != nil {
		return nil, err
	}
	if network == "tcp" {
		return overTCP(conn, ask, wire)
	}
	return overUDP(conn, ask, wire)
}

// compose makes the query. The AD bit asks for the verdict of the server's own
// validation, without the signatures themselves (RFC 6840 §5.7).
func compose(q question, edns bool) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(q.name), q.qtype)
	m.AuthenticatedData = true
	if edns {
		m.SetEdns0(udpMax, false)
	}
	return m
}

func overUDP(conn net.Conn, ask *dns.Msg, wire []byte) (*dns.Msg, error) {
	if _, err := conn.Write(wire); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096) // more than we offered: some servers do not care
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		// Anything that is no answer to this very question may be a forgery:
		// wait for the true one (RFC 5452 §9).
		if m, err := parse(ask, buf[:n]); err == nil {
			return m, nil
		} else if errors.Is(err, errGarbage) && n >= 2 && binary.BigEndian.Uint16(buf) == ask.Id {
			return nil, err
		}
	}
}

func overTCP(conn net.Conn, ask *dns.Msg, wire []byte) (*dns.Msg, error) {
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return nil, err
	}
	return parse(ask, buf)
}

var (
	errGarbage = errors.New("malformed answer")
	errForeign = errors.New("answer to another question")
)

// parse reads a packet that should answer ask.
func parse(ask *dns.Msg, packet []byte) (*dns.Msg, error) {
	m := new(dns.Msg)
	if err := m.Unpack(packet); err != nil {
		// A truncated answer may end within a record; its header is enough.
		if !(m.Truncated && m.Response && m.Id == ask.Id) {
			return nil, fmt.Errorf("%w: %v", errGarbage, err)
		}
		return m, nil
	}
	if !m.Response || m.Id != ask.Id || m.Opcode != dns.OpcodeQuery {
		return nil, errForeign
	}
	if len(m.Question) == 0 && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented || m.Rcode == dns.RcodeServerFailure) {
		return m, nil // servers that did not understand may not repeat the question
	}
	if len(m.Question) != 1 || m.Question[0].Qtype != ask.Question[0].Qtype ||
		!strings.EqualFold(m.Question[0].Name, ask.Question[0].Name) {
		return nil, errForeign
	}
	return m, nil
}

// digest judges an answer. An error means that this server is of no use for
// the question and the next may be (SERVFAIL, REFUSED, ...): never "no record".
func (r *Resolver) digest(q question, m *dns.Msg, server netip.Addr) (reply, error) {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return reply{}, fmt.Errorf("server said %s", dns.RcodeToString[m.Rcode])
	}
	out := reply{
		owner:  q.name,
		secure: m.AuthenticatedData && r.trusts(server),
		octets: len(q.name),
	}
	ttl := ttlMax
	if err := out.follow(q, m.Answer, &ttl); err != nil {
		return reply{}, err
	}
	for _, rr := range m.Answer {
		if h := rr.Header(); h.Rrtype == q.qtype && h.Class == dns.ClassINET && bare(h.Name) == out.owner && len(out.records) < recordsMax {
			out.records = append(out.records, rr)
			out.octets += dns.Len(rr)
			ttl = min(ttl, seconds(h.Ttl))
		}
	}
	out.settle(q, m, &ttl)
	out.expires = time.Now().Add(ttl)
	return out, nil
}

// follow walks the aliases of an answer from the name asked to the owner of
// the records.
func (out *reply) follow(q question, answer []dns.RR, ttl *time.Duration) error {
	if q.qtype == dns.TypeCNAME {
		return nil
	}
	for range aliasesMax + 1 {
		i := slices.IndexFunc(answer, func(rr dns.RR) bool {
			c, ok := rr.(*dns.CNAME)
			return ok && bare(c.Hdr.Name) == out.owner
		})
		if i < 0 {
			return nil
		}
		c := answer[i].(*dns.CNAME)
		target := bare(c.Target)
		if !plausible(target) {
			return fmt.Errorf("%w: alias of %s", errGarbage, out.owner)
		}
		out.owner = target
		out.octets += dns.Len(c)
		*ttl = min(*ttl, seconds(c.Hdr.Ttl))
	}
	return errAliases
}

// settle gives an answer its status, and the time a negative one is kept
// (RFC 2308 §5).
func (out *reply) settle(q question, m *dns.Msg, ttl *time.Duration) {
	switch {
	case len(out.records) > 0:
		out.status = OK
		*ttl = clamp(*ttl, ttlMin, ttlMax)
		return
	case m.Rcode == dns.RcodeNameError:
		out.status = NXDomain
	default:
		out.status = NoData
		out.unfinished = out.owner != q.name && soaOf(m) == nil
	}
	if soa := soaOf(m); soa != nil {
		*ttl = min(*ttl, seconds(soa.Hdr.Ttl), seconds(soa.Minttl))
	} else {
		*ttl = ttlMin
	}
	*ttl = clamp(*ttl, ttlMin, negativeMax)
}

func soaOf(m *dns.Msg) *dns.SOA {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa
		}
	}
	return nil
}

// trusts reports whether a server's AD bit is believed (DANE-1): anybody on the
// path can set it, so only a server on this machine or one named for it counts.
func (r *Resolver) trusts(server netip.Addr) bool {
	return server.IsLoopback() || slices.Contains(r.conf.Trusted, server)
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

func clamp(d, low, high time.Duration) time.Duration { return max(low, min(d, high)) }

// unquote undoes the escapes that the DNS library puts into the strings of a
// TXT record for presentation: \" \\ and \DDD.
func unquote(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\' || i+1 == len(s):
			b = append(b, s[i])
		case i+3 < len(s) && isDigit(s[i+1]) && isDigit(s[i+2]) && isDigit(s[i+3]):
			b = append(b, (s[i+1]-'0')*100+(s[i+2]-'0')*10+s[i+3]-'0')
			i += 3
		default:
			i++
			b = append(b, s[i])
		}
	}
	return string(b)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
