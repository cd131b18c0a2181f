package dnstest

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// Server answers from records given as zone file lines.
type Server struct {
	mu      sync.Mutex
	records []dns.RR
	broken  map[string]int // name to rcode; silent is -1
	asked   []string
	secure  bool
	handle  func(network string, q *dns.Msg) []byte
}

// New reads zone file lines such as "example.org. 300 IN MX 10 mx.example.org.".
// Lines that are none stop the test by panic: it is the test that is wrong.
func New(zone string) *Server {
	s := &Server{broken: map[string]int{}}
	s.Set(zone)
	return s
}

// Set replaces all records.
func (s *Server) Set(zone string) {
	var records []dns.RR
	z := dns.NewZoneParser(strings.NewReader(zone), ".", "test")
	z.SetDefaultTTL(300)
	for rr, ok := z.Next(); ok; rr, ok = z.Next() {
		records = append(records, rr)
	}
	if err := z.Err(); err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = records
}

// Secure makes all answers carry the AD bit.
func (s *Server) Secure() *Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secure = true
	return s
}

// Fail answers every question about a name with a response code, such as
// dns.RcodeServerFailure (2); -1 is silence.
func (s *Server) Fail(name string, rcode int) *Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken[dns.CanonicalName(name)] = rcode
	return s
}

// Handle answers everything with raw packets; nil is silence.
func (s *Server) Handle(f func(network string, q *dns.Msg) []byte) *Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handle = f
	return s
}

// Asked returns the questions so far, "MX example.org." each.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// Dial connects to the server, whatever the address; it fits dns.New.
func (s *Server) Dial(_ context.Context, network, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	go s.serve(network, server)
	return client, nil
}

func (s *Server) serve(network string, c net.Conn) {
	defer c.Close()
	buf := make([]byte, 65535)
	for {
		packet, err := read(network, c, buf)
		if err != nil {
			return
		}
		q := new(dns.Msg)
		if q.Unpack(packet) != nil || len(q.Question) != 1 {
			return
		}
		answer := s.answer(network, q)
		if answer == nil {
			io.Copy(io.Discard, c) // silence, until the peer gives up
			return
		}
		if network == "tcp" {
			answer = append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

func read(network string, c net.Conn, buf []byte) ([]byte, error) {
	if network != "tcp" {
		n, err := c.Read(buf)
		return buf[:n], err
	}
	if _, err := io.ReadFull(c, buf[:2]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(buf))
	_, err := io.ReadFull(c, buf[:n])
	return buf[:n], err
}

func (s *Server) answer(network string, q *dns.Msg) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, dns.TypeToString[q.Question[0].Qtype]+" "+q.Question[0].Name)
	if s.handle != nil {
		return s.handle(network, q)
	}
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	m.AuthenticatedData = s.secure
	if !s.fill(m, dns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype) {
		return nil
	}
	if network == "udp" {
		m.Truncate(1232)
	}
	packet, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return packet
}

// fill answers as a recursive server does: aliases followed, SOA for a no.
func (s *Server) fill(m *dns.Msg, name string, qtype uint16) bool {
	for range 20 {
		if rcode, ok := s.broken[name]; ok {
			m.Rcode = rcode
			return rcode >= 0
		}
		exists, alias, found := s.look(m, name, qtype)
		switch {
		case found:
			return true
		case alias != "":
			name = alias
			continue
		case !exists:
			m.Rcode = dns.RcodeNameError
		}
		m.Ns = append(m.Ns, &dns.SOA{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 600}, Ns: ".", Mbox: ".", Minttl: 600})
		return true
	}
	return true // an alias loop: all of it, as some servers do
}

func (s *Server) look(m *dns.Msg, name string, qtype uint16) (exists bool, alias string, found bool) {
	for _, rr := range s.records {
		owner := dns.CanonicalName(rr.Header().Name)
		exists = exists || owner == name || strings.HasSuffix(owner, "."+name)
		if owner != name {
			continue
		}
		if rr.Header().Rrtype == qtype {
			m.Answer = append(m.Answer, rr)
			found = true
		} else if c, ok := rr.(*dns.CNAME); ok {
			m.Answer = append(m.Answer, rr)
			alias = dns.CanonicalName(c.Target)
		}
	}
	return exists, alias, found
}
