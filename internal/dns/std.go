package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
)

// Std answers in the manner of net.Resolver, for libraries that expect one: a
// name without records is an error with IsNotFound, Temp one with IsTemporary.
type Std struct{ *Resolver }

// LookupTXT is net.Resolver's.
func (s Std) LookupTXT(ctx context.Context, name string) ([]string, error) {
	a := s.TXT(ctx, name)
	return a.Records, Error(a, name)
}

// LookupMX is net.Resolver's.
func (s Std) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	a := s.MX(ctx, name)
	var out []*net.MX
	for _, mx := range a.Records {
		out = append(out, &net.MX{Host: strings.TrimSuffix(mx.Host, ".") + ".", Pref: mx.Preference})
	}
	return out, Error(a, name)
}

// LookupIPAddr is net.Resolver's.
func (s Std) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	a := s.Addrs(ctx, host)
	var out []net.IPAddr
	for _, addr := range a.Records {
		out = append(out, net.IPAddr{IP: addr.AsSlice()})
	}
	return out, Error(a, host)
}

// LookupAddr is net.Resolver's: reverse names, not confirmed.
func (s Std) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, &net.DNSError{Err: ErrBadName.Error(), Name: addr, IsNotFound: true}
	}
	a := s.Names(ctx, ip)
	var out []string
	for _, name := range a.Records {
		out = append(out, name+".")
	}
	return out, Error(a, addr)
}

// Error returns nil for an answer with records, else a *net.DNSError about the
// name asked for.
func Error[T any](a Answer[T], name string) error {
	if a.Status == OK {
		return nil
	}
	e := &net.DNSError{Err: a.Status.String(), Name: name, IsNotFound: a.Status.None(), IsTemporary: a.Status == Temp}
	if a.Cause != nil {
		e.Err = a.Cause.Error()
		var timeout net.Error
		e.IsTimeout = errors.As(a.Cause, &timeout) && timeout.Timeout()
	}
	return e
}
