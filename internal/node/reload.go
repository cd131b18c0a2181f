package node

import (
	"context"
	"errors"
	"net"
	"time"

	"paquebot/internal/api"
	"paquebot/internal/config"
	"paquebot/internal/event"
	"paquebot/internal/listen"
	"paquebot/internal/smtpserver"
)

// Reload reads the configuration again and puts all of it in force, or, when
// anything is wrong, none of it. No session is dropped: those that are open end
// under the settings they began with.
func (n *Node) Reload(context.Context) api.ReloadResult {
	n.systemd.Reloading()
	defer n.systemd.Ready("accepting mail")
	r := n.reload()
	said := event.ServerReloaded{}
	if !r.InForce {
		said.Error = "the old settings stay"
		for _, p := range r.Problems {
			if p.Severity == config.Error {
				said.Error = p.Error() + "; the old settings stay"
				break
			}
		}
	}
	for _, c := range r.Changes {
		if c.Restart {
			said.NeedsRestart = append(said.NeedsRestart, c.Path)
		}
	}
	n.events.Emit(said)
	return r
}

func (n *Node) reload() (r api.ReloadResult) {
	failed := func(err error) api.ReloadResult {
		r.Problems = append(r.Problems, config.Problem{Severity: config.Error, Message: err.Error()})
		return r
	}
	// One at a time: a signal and the API may ask at once.
	n.changing.Lock()
	defer n.changing.Unlock()
	switch {
	case n.stopping:
		return failed(errors.New("this server is stopping"))
	case n.opts.Load == nil:
		return failed(errors.New("this server has no configuration to read again"))
	}
	c, problems := n.opts.Load()
	r.Problems = problems
	if config.Failed(problems) {
		return r
	}
	if catches(c) && n.caught == nil {
		return failed(errors.New("the first destination \"catch\" needs a restart: its store is opened at start"))
	}
	old := n.current.generation.Load()
	people, err := accountsConfig(c)
	if err != nil {
		return failed(err)
	}
	people.AnyPassword = n.opts.Dev != nil
	g, err := n.build(c)
	if err != nil {
		return failed(err)
	}
	plan, err := n.planDoors(c)
	if err == nil {
		err = n.people.Reload(people)
	}
	if err != nil {
		plan.abandon()
		go g.retire()
		return failed(err)
	}
	// From here on nothing fails.
	n.shaper.Reload(shapingConfig(c))
	n.failover.Rule(standbys(c))
	n.current.generation.Store(g)
	n.swapDoors(g, plan)
	go old.retire()
	r.InForce, r.Changes = true, config.Diff(old.config, c)
	return r
}

// doorPlan is which sockets a new configuration keeps, opens and closes.
type doorPlan struct {
	listeners []config.Listener
	sockets   []net.Listener // by listeners; a kept one is a second handle of the same socket
}

func (p doorPlan) abandon() {
	for _, s := range p.sockets {
		_ = s.Close()
	}
}

// planDoors opens the sockets a configuration wants. A listener whose address
// stays keeps its socket, so that nobody who knocks meanwhile is turned away.
func (n *Node) planDoors(c *config.Config) (doorPlan, error) {
	p := doorPlan{listeners: append(c.Listeners[:len(c.Listeners):len(c.Listeners)], submitListener(n.disk.Dir))}
	for _, l := range p.listeners {
		socket, err := n.socketFor(l)
		if err != nil {
			p.abandon()
			return doorPlan{}, err
		}
		p.sockets = append(p.sockets, socket)
	}
	return p, nil
}

func (n *Node) socketFor(l config.Listener) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.doors {
		if d.config.Address == l.Address {
			return d.listener.Share()
		}
	}
	return n.world.Listen(l.Address)
}

// swapDoors lets the new generation answer from now on.
func (n *Node) swapDoors(g *generation, p doorPlan) {
	n.mu.Lock()
	old := n.doors
	n.doors = nil
	n.reloaded = time.Now()
	n.retired = stillOpen(n.retired)
	n.mu.Unlock()
	for i, l := range p.listeners {
		n.open(g, l, p.sockets[i])
	}
	for _, d := range old {
		_ = d.listener.Close()
		n.mu.Lock()
		n.retired = append(n.retired, d.door.desk.Load())
		n.mu.Unlock()
	}
}

func stillOpen(list []*smtpserver.Server) (open []*smtpserver.Server) {
	for _, s := range list {
		if s.Sessions() > 0 {
			open = append(open, s)
		}
	}
	return open
}

var _ listen.Handler = (*door)(nil)
