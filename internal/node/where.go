package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"paquebot/internal/config"
	"paquebot/internal/deliver"
	"paquebot/internal/dns"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/route"
	"paquebot/internal/smtp"
)

// This file tells a program that sends one message by itself, beside a server
// or without one, what a server of the same configuration would do.

// Where says how mail from an address to another leaves under a configuration.
// The error says in plain words why there is no way.
func Where(ctx context.Context, c *config.Config, from, to string) (mail.Route, error) {
	return where(ctx, c, routeConfig(c, nil), from, to)
}

// ByMX says how mail for an address leaves by the MX records of its domain,
// whatever a configuration routes; c is nil without one.
func ByMX(ctx context.Context, c *config.Config, to string) (mail.Route, error) {
	if c == nil {
		c = &config.Config{}
	}
	us := c.Hostname
	if us == "" {
		us = "unnamed.invalid" // nobody's MX (RFC 6761)
	}
	return where(ctx, c, route.Config{Hostname: us, AllowLocal: true}, "", to)
}

func where(ctx context.Context, c *config.Config, rules route.Config, from, to string) (mail.Route, error) {
	d, err := dnsConfig(c)
	if err != nil {
		return mail.Route{}, err
	}
	names := dns.New(d, (&net.Dialer{}).DialContext)
	defer names.Close()
	router, err := route.New(rules, route.Needs{Names: names})
	if err != nil {
		return mail.Route{}, err
	}
	env := &mail.Envelope{From: from, Recipients: []mail.Recipient{{Address: to}}, Arrived: time.Now()}
	found, err := router.Route(ctx, env, to)
	if err != nil {
		return found, plainly(err)
	}
	for i := range found.Hops {
		hop := &found.Hops[i]
		if len(hop.Addrs) > 0 {
			continue
		}
		if a, err := netip.ParseAddr(hop.Name); err == nil {
			hop.Addrs = []netip.Addr{a}
		} else if a := names.Addrs(ctx, hop.Name); a.Status == dns.OK {
			hop.Addrs = a.Records
		}
	}
	return found, nil
}

// plainly takes the code off a refusal of our own.
func plainly(err error) error {
	var r smtp.Reply
	if !errors.As(err, &r) {
		return err
	}
	if r.Cause != nil {
		return fmt.Errorf("%s (%w)", r.Text, r.Cause)
	}
	return errors.New(r.Text)
}

// Credential is what a smart host of a configuration wants: login, roots,
// certificates. Tokens are got, and what is rotated is kept, as a server does.
func Credential(c *config.Config, name string) (deliver.Credential, error) {
	all := *c
	all.Smarthosts = map[string]config.Smarthost{name: c.Smarthosts[name]}
	got, err := (&Node{events: event.Discard}).credentials(&all)
	return got[name], err
}
