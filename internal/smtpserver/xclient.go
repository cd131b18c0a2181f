package smtpserver

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// mayXclient reports whether this peer may speak for others (INT-2): on port 25,
// from a listed network, by the address the connection came from.
func (s *Session) mayXclient() bool {
	return s.cfg.Role == mail.RoleMX && within(s.cfg.XClient, s.peer.Client.Addr())
}

var xclientDenied = smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{Class: 5, Subject: 7}, Text: "Not authorised"}

// xclient takes over what a trusted proxy says of its client, and begins anew.
func (s *Session) xclient(ctx context.Context, arg []byte) smtp.Reply {
	switch {
	case !s.mayXclient():
		return xclientDenied
	case s.tx.open:
		return smtp.BadOrder
	}
	o := s.origin
	if !eachAttribute(string(arg), func(name, value string) bool { return setXclient(&o, name, value) }) {
		return smtp.BadArg
	}
	o.Trusted = within(s.cfg.Trusted, o.Client.Addr())
	account, method, helo, esmtp := o.Account, o.Method, o.Helo, o.ESMTP
	s.origin = o
	s.forget() // EHLO is needed again; what XCLIENT said stays
	if err := s.enter(account); err != nil {
		return smtp.AsReply(err)
	}
	s.origin.Account, s.origin.Method, s.origin.Helo, s.origin.ESMTP = account, method, helo, esmtp
	if err := s.srv.needs.Policy.Connect(ctx, s.origin); err != nil {
		s.unwelcome = true
		return smtp.AsReply(err)
	}
	return s.greeting()
}

// eachAttribute reads "NAME=value NAME=value", the values in xtext.
func eachAttribute(arg string, set func(name, value string) bool) bool {
	words := strings.Fields(arg)
	for _, w := range words {
		name, raw, ok := strings.Cut(w, "=")
		value, fine := smtp.DecodeXtext(raw)
		if !ok || !fine || strings.ContainsAny(value, "\r\n\x00") || !set(strings.ToUpper(name), value) {
			return false
		}
	}
	return len(words) > 0
}

// setXclient takes one attribute. "[UNAVAILABLE]" and "[TEMPUNAVAIL]" mean that
// the proxy does not know.
func setXclient(o *mail.Origin, name, value string) bool {
	unknown := strings.EqualFold(value, "[UNAVAILABLE]") || strings.EqualFold(value, "[TEMPUNAVAIL]")
	switch name {
	case "NAME":
		o.Name = known(value, unknown)
	case "HELO":
		o.Helo = known(value, unknown)
	case "LOGIN":
		o.Account, o.Method = known(value, unknown), "XCLIENT"
		if unknown {
			o.Method = ""
		}
	case "PROTO":
		o.ESMTP = strings.EqualFold(value, "ESMTP")
		return unknown || o.ESMTP || strings.EqualFold(value, "SMTP")
	case "ADDR":
		return unknown || setAddr(&o.Client, value)
	case "PORT":
		return unknown || setPort(&o.Client, value)
	case "DESTADDR":
		return unknown || setAddr(&o.Local, value)
	case "DESTPORT":
		return unknown || setPort(&o.Local, value)
	default:
		return false
	}
	return true
}

func known(value string, unknown bool) string {
	if unknown {
		return ""
	}
	return value
}

// setAddr reads "192.0.2.1" or "IPV6:2001:db8::1".
func setAddr(ap *netip.AddrPort, value string) bool {
	if len(value) > 5 && strings.EqualFold(value[:5], "IPV6:") {
		value = value[5:]
	}
	a, err := netip.ParseAddr(value)
	if err != nil || a.Zone() != "" {
		return false
	}
	*ap = netip.AddrPortFrom(a.Unmap(), ap.Port())
	return true
}

func setPort(ap *netip.AddrPort, value string) bool {
	n, err := strconv.ParseUint(value, 10, 16)
	*ap = netip.AddrPortFrom(ap.Addr(), uint16(n))
	return err == nil
}

// xforward takes what is for the log only (INT-3); it changes nothing else.
func (s *Session) xforward(_ context.Context, arg []byte) smtp.Reply {
	switch {
	case !s.mayXclient():
		return xclientDenied
	case s.tx.open:
		return smtp.BadOrder
	}
	fine := eachAttribute(string(arg), func(name, _ string) bool {
		switch name {
		case "NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE":
			return true
		}
		return false
	})
	if !fine {
		return smtp.BadArg
	}
	s.dialogue.note(s, true, smtp.Printable("XFORWARD "+string(arg)))
	return smtp.OK
}
