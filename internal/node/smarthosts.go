package node

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"paquebot/internal/config"
	"paquebot/internal/deliver"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/route"
	"paquebot/internal/shaping"
)

// This file turns [smarthost] tables, with what the catalogue knows, into what
// the rooms need.

// smarthostRoute is a smart host's endpoints, in the order to try (SH-1).
func smarthostRoute(s config.Smarthost) route.Smarthost {
	host := route.Smarthost{Host: s.HostName(), Security: mail.Security(s.TLS), MX: s.MX}
	for _, e := range s.EndpointList() {
		hop := mail.Hop{Name: e.Host, Port: uint16(e.Port)}
		switch e.TLS {
		case "tls":
			hop.Security = mail.Implicit
		case "none":
			hop.Security = mail.Clear
		}
		host.Endpoints = append(host.Endpoints, hop)
	}
	return host
}

// profiles are what delivery must know of each smart host.
func profiles(c *config.Config) map[string]deliver.Profile {
	all := map[string]deliver.Profile{}
	for name, s := range c.Smarthosts {
		p := deliver.Profile{Recheck: s.Recheck, Recipients: s.RecipientsPerMessage}
		known, region, err := s.Catalogued()
		if err == nil && known != nil {
			p.Provider, p.Region = known, region
			p.Recipients = orInt(p.Recipients, known.Limits.Recipients)
			p.Idle = time.Duration(known.Limits.IdleSeconds) * time.Second
		}
		all[name] = p
	}
	return all
}

// smarthostLimits are the operator's limits for smart hosts, then those their
// providers publish (SH-11). They stand behind [[shape]] tables.
func smarthostLimits(c *config.Config) []shaping.Limits {
	var all []shaping.Limits
	for name, s := range c.Smarthosts {
		l := shaping.Limits{Site: name, Smarthost: true, PerDay: s.QuotaPerDay, Connections: s.Connections, PerConnection: s.MessagesPerConnection,
			Rate: shaping.Rate{Messages: s.Rate.N, Per: s.Rate.Per}}
		if known, _, err := s.Catalogued(); err == nil && known != nil {
			l.Connections = orInt(l.Connections, known.Limits.Connections)
			l.PerConnection = orInt(l.PerConnection, known.Limits.MessagesPerConnection)
			l.PerDay = orInt(l.PerDay, known.Limits.MessagesPerDay)
			if n := known.Limits.MessagesPerMinute; l.Rate.Messages == 0 && n > 0 {
				l.Rate = shaping.Rate{Messages: n, Per: time.Minute}
			}
		}
		all = append(all, l)
	}
	return all
}

// quotasSaved is how much of the counts a power cut may take.
const quotasSaved = time.Second

// saveQuotas writes down from time to time what was used of daily quotas.
func (n *Node) saveQuotas() {
	stopped := make(chan struct{})
	n.closers = append(n.closers, func(context.Context) { close(stopped) })
	go func() {
		tick := time.NewTicker(quotasSaved)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = n.shaper.Save() // a disk that refuses is told of by the spool
			case <-stopped:
				return
			}
		}
	}()
}

// standbys are the operator's rules for who stands in for whom (SH-10).
func standbys(c *config.Config) map[string]route.Standby {
	all := map[string]route.Standby{}
	for name, s := range c.Smarthosts {
		if s.Failover != "" {
			all[name] = route.Standby{To: s.Failover, After: s.FailoverAfter}
		}
	}
	return all
}

// divert lets the mail that waits for a smart host leave by the one that stands
// in for it, instead of waiting for the first to recover.
func (n *Node) divert(e event.Event) {
	switch e := e.(type) {
	case event.SmarthostFailedOver:
		if !e.Ended {
			n.queue.Reopen(e.Smarthost)
		}
	case event.SiteBackedOff:
		if n.failover.Active(e.Site) {
			n.queue.Reopen(e.Site)
		}
	}
}

// remark says what the queue does not know of a site that is a smart host.
func (n *Node) remark(site string) string {
	g := n.current.generation.Load()
	if g == nil {
		return ""
	}
	if _, ok := g.config.Smarthosts[site]; !ok {
		return ""
	}
	remark := n.endpoints.Remark(site, n.network.of(netip.Addr{}))
	if out := n.shaper.Remark(site); out != "" && !strings.HasPrefix(remark, "stopped: ") {
		return out
	}
	if stands := n.failover.Remark(site); stands != "" && remark == "" {
		return stands
	}
	return remark
}

func orInt(n, other int) int {
	if n == 0 {
		return other
	}
	return n
}
