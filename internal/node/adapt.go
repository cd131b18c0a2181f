package node

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"

	"paquebot/internal/accounts"
	"paquebot/internal/mail"
	"paquebot/internal/message"
	"paquebot/internal/policy"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpserver"
)

// This file makes one room's answer fit another one's need.

// judge is policy as sessions need it.
type judge struct{ *policy.Policy }

// Content implements smtpserver.Policy.
func (j judge) Content(ctx context.Context, env *mail.Envelope, h message.Header) smtpserver.Verdict {
	v := j.Policy.Content(ctx, env, h)
	return smtpserver.Verdict{Refuse: v.Refuse, Reasons: v.Reasons, Prepend: v.Prepend}
}

// people is accounts as sessions need them.
type people struct{ *accounts.Accounts }

// Begin implements smtpserver.Accounts.
func (p people) Begin(mech string, s smtpserver.AuthSession) (smtpserver.Exchange, error) {
	return p.Accounts.Begin(mech, accounts.AuthSession{Client: s.Client, TLS: s.TLS, Hostname: s.Hostname, Port: s.Port})
}

// current is the generation in force. The queue outlives reloads and asks it
// anew each time; attempts under way finish in the generation they began in.
type current struct {
	generation atomic.Pointer[generation]
	releases   releases
}

var errStarting = smtp.LocalError.Because(errors.New("the server is starting"))

// hold returns the generation in force, and keeps it from being retired until
// its use is given back. One that is being retired cannot be held: another is in
// force by then, or none.
func (c *current) hold() *generation {
	for {
		g := c.generation.Load()
		if g == nil || g.use.TryRLock() {
			return g
		}
	}
}

// Route implements queue.Router.
func (c *current) Route(ctx context.Context, env *mail.Envelope, recipient string) (mail.Route, error) {
	g := c.hold()
	if g == nil {
		return mail.Route{}, errStarting
	}
	defer g.use.RUnlock()
	if via, ok := c.releases.of(env.ID); ok {
		if out := g.waysOut[via]; out != nil {
			return out.Route(ctx, env, recipient)
		}
	}
	return g.router.Route(ctx, env, recipient)
}

// Acquire implements queue.Shaper.
func (c *current) Acquire(site string, sources []mail.Source) (mail.Source, func([]mail.Outcome), wait) {
	return c.generation.Load().shaper.Acquire(site, sources)
}

// Deliver implements queue.Courier.
func (c *current) Deliver(ctx context.Context, a mail.Attempt) []mail.Outcome {
	g := c.hold()
	if g == nil {
		return make([]mail.Outcome, len(a.Recipients)) // untried: we are stopping
	}
	defer g.use.RUnlock()
	outcomes := g.courier.Deliver(ctx, a)
	if a.Route.Account != "" {
		g.failover.Tried(a.Route.Account, outcomes)
	}
	return outcomes
}

// dialDNS is World.Dial as the resolver needs it.
func (w World) dialDNS(ctx context.Context, network, addr string) (net.Conn, error) {
	return w.Dial(ctx, network, addr, netip.Addr{})
}

// hangUp tells a peer that it is turned away (listen.Needs.Refuse).
func hangUp(conn net.Conn, r smtp.Reply) {
	if r.Code == 0 {
		return
	}
	_, _ = conn.Write(r.AppendWire(nil))
}

// door is a listener's handler: the desk of the generation in force.
type door struct {
	desk atomic.Pointer[smtpserver.Server]
}

// Serve implements listen.Handler.
func (d *door) Serve(ctx context.Context, conn net.Conn, o mail.Origin, state *tls.ConnectionState) {
	d.desk.Load().Serve(ctx, conn, o, state)
}
