package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"time"

	"paquebot/internal/api"
	"paquebot/internal/config"
	"paquebot/internal/console"
	"paquebot/internal/mail"
)

// openWindows opens what people and programs look through: the operator's
// socket, metrics with health, the console.
func (n *Node) openWindows(c *config.Config) error {
	n.measure()
	socket, err := api.Listen(c.DataDir)
	if err != nil {
		return err
	}
	n.api = api.New(api.Needs{
		Queue: api.OverQueue(n.queue, n.pace), Accounts: n.people, History: n.disk.History,
		Spool: stored{n.disk.Spool}, Status: n.status, Reload: n.Reload,
	})
	go func() { _ = n.api.Serve(socket) }()
	n.closers = append(n.closers, func(ctx context.Context) { _ = n.api.Shutdown(ctx) })

	n.health.Check("spool", func(context.Context) error {
		st := n.disk.Spool.Stat()
		return errors.Join(st.Stopped, st.Troubled)
	})
	n.health.CheckLive("spool stopped", func(context.Context) error { return n.disk.Spool.Stat().Stopped })
	watched, stop := context.WithCancel(context.Background())
	n.closers = append(n.closers, func(context.Context) { stop() })
	go n.systemd.Watchdog(watched, n.health.Live)

	if c.Metrics.Address != "" {
		if err := n.serveHTTP(c.Metrics.Address, n.health.Handler(n.metrics)); err != nil {
			return err
		}
	}
	if c.Console.Address != "" && n.caught != nil && n.opts.Dev == nil {
		page := console.New(console.Config{Version: n.opts.Version}, console.Needs{
			Store: n.caught, Ready: func() error { return n.health.Ready(context.Background()) },
		})
		if err := n.serveHTTP(c.Console.Address, page); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) serveHTTP(address string, h http.Handler) error {
	socket, err := n.world.Listen(address)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	go func() { _ = s.Serve(socket) }()
	n.closers = append(n.closers, func(ctx context.Context) {
		if s.Shutdown(ctx) != nil {
			_ = s.Close()
		}
	})
	return nil
}

// measure adds the gauges that are asked for at each scrape.
func (n *Node) measure() {
	stat := n.disk.Spool.Stat
	n.metrics.Pull("paquebot_spool_messages", "Unfinished messages.", func() float64 { return float64(stat().Messages) })
	n.metrics.Pull("paquebot_spool_recipients", "Recipients of unfinished messages.", func() float64 { return float64(stat().Recipients) })
	n.metrics.Pull("paquebot_spool_journal_bytes", "Size of the journal.", func() float64 { return float64(stat().JournalBytes) })
	n.metrics.Pull("paquebot_spool_free_bytes", "Free space on the spool's disk.", func() float64 { return float64(stat().FreeBytes) })
	n.metrics.PullBy("paquebot_queue_recipients", "Recipients of unfinished messages by state.", "state", func() map[string]float64 {
		by := map[string]float64{}
		for state, count := range stat().States {
			by[mail.State(state).String()] = float64(count)
		}
		return by
	})
	n.metrics.PullBy("paquebot_connections", "Open connections by role of the port.", "role", func() map[string]float64 {
		n.mu.Lock()
		defer n.mu.Unlock()
		by := map[string]float64{}
		for _, d := range n.doors {
			by[d.config.Role] += float64(d.listener.Open())
		}
		return by
	})
	n.metrics.PullTotal("paquebot_events_dropped_total", "Events that history could not take in time.", func() float64 {
		return float64(n.disk.History.Dropped())
	})
}

func (n *Node) status(ctx context.Context) api.Status {
	g := n.current.generation.Load()
	if g == nil {
		return api.Status{Version: n.opts.Version, PID: pid(), Started: n.began.UTC()} // all but stopped
	}
	s := api.Status{
		Version: n.opts.Version, Hostname: g.config.Hostname, PID: pid(), Started: n.began.UTC(),
		Ready: n.health.Ready(ctx) == nil, Config: g.config.File, SpoolStat: stored{n.disk.Spool}.Stat(),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	s.ReloadedAt = n.reloaded.UTC()
	for _, d := range n.doors {
		s.Listeners = append(s.Listeners, api.Listener{
			Address: d.listener.Addr().String(), Role: d.config.Role, Sessions: int64(d.door.desk.Load().Sessions()),
		})
	}
	return s
}

// leaf is the certificate that the listeners showed in a handshake.
func (n *Node) leaf(state *tls.ConnectionState) *x509.Certificate {
	if g := n.current.generation.Load(); g != nil {
		return g.certs.Leaf(state)
	}
	return nil
}
