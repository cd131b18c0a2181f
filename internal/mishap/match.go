package mishap

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// fits reports whether a rule is for these facts. twins are the standard ports
// that ours stand for.
func (m Match) fits(f *Facts, twins map[uint16]uint16) bool {
	switch {
	case m.Port != "" && !portFits(m.Port, f, twins),
		m.Client != "" && !clientFits(m.Client, f.Origin.Client.Addr()),
		m.User != "" && !like(m.User, f.user()),
		m.Helo != "" && !like(m.Helo, f.Origin.Helo),
		m.SNI != "" && !like(m.SNI, f.SNI),
		m.Sender != "" && !(f.HasSender && like(m.Sender, orElse(f.Sender, "<>"))),
		m.Recipient != "" && !f.anyRecipient(m.Recipient),
		m.Subject != "" && !like(m.Subject, f.Subject),
		m.Messages > f.Messages, m.Recipients > len(f.Recipients), m.Larger > 0 && f.Size <= m.Larger:
		return false
	}
	for name, pattern := range m.Header {
		if f.Header == nil || !slices.ContainsFunc(f.Header(name), func(v string) bool { return like(pattern, v) }) {
			return false
		}
	}
	return true
}

func (f *Facts) user() string { return orElse(f.User, f.Origin.Account) }

func (f *Facts) anyRecipient(pattern string) bool {
	if f.Recipient != "" {
		return like(pattern, f.Recipient)
	}
	return slices.ContainsFunc(f.Recipients, func(to string) bool { return like(pattern, to) })
}

func portFits(port string, f *Facts, twins map[uint16]uint16) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return strings.EqualFold(port, string(f.Origin.Role))
	}
	ours := f.Origin.Local.Port()
	return uint16(n) == ours || uint16(n) == twins[ours]
}

func clientFits(client string, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if p, err := netip.ParsePrefix(client); err == nil {
		return p.Contains(addr)
	}
	a, err := netip.ParseAddr(client)
	return err == nil && a.Unmap() == addr
}

// like compares without regard to case; "*" stands for anything.
func like(pattern, s string) bool {
	pattern, s = strings.ToLower(pattern), strings.ToLower(s)
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], after
	}
}

// addrOf reads the address of a connection.
func addrOf(a net.Addr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	ap, _ := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
