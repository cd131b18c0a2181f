package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"paquebot/internal/accounts"
	"paquebot/internal/api"
	"paquebot/internal/catch"
	"paquebot/internal/config"
	"paquebot/internal/deliver"
	"paquebot/internal/event"
	"paquebot/internal/listen"
	"paquebot/internal/mail"
	"paquebot/internal/mishap"
	"paquebot/internal/observe"
	"paquebot/internal/queue"
	"paquebot/internal/route"
	"paquebot/internal/shaping"
	"paquebot/internal/smtpserver"
	"paquebot/internal/spool"
)

// Options are what a command decides about a server.
type Options struct {
	Version string
	// Load reads the configuration again, for a reload; nil: there is none.
	Load func() (*config.Config, []config.Problem)
	// Dev makes it the catcher on a laptop; nil: a server.
	Dev *Dev
	// Log is for events, beside metrics and history; nil: standard error as the
	// configuration says.
	Log event.Sink
}

// Dev is what `paquebot dev` changes: certificates of its own CA, any user and
// password inside TLS, any recipient taken, dialogues kept.
type Dev struct {
	Certs *listen.Certs
	CA    *listen.Authority // signs certificates that are wrong on purpose; nil: nobody does
	Keep  bool              // what is caught must outlive the process
	// MaxMessages is how many messages are kept; 0 is the catch store's default.
	MaxMessages int
	// ClearMX makes of port 25's twin what other catchers have: any AUTH in clear,
	// none needed, and no STARTTLS, which clients would begin by themselves and
	// then not trust.
	ClearMX bool
}

// Node is a server.
type Node struct {
	world World
	opts  Options

	events  event.Sink
	log     *observe.Log
	metrics *observe.Metrics
	health  *observe.Health
	systemd observe.Notifier
	pace    *api.Pace

	ids     *mail.IDs
	disk    *Disk
	people  *accounts.Accounts
	caught  *catch.Store   // nil unless mail is caught
	mishaps *mishap.Mishap // nil unless this is dev
	shaper  *shaping.Shaper

	endpoints *deliver.Endpoints // which work, of smart hosts
	failover  *route.Failover    // for which of them another stands in
	network   network

	queue   *queue.Queue
	intake  *intake
	current current
	api     *api.Server

	submitOn, submitTLSOn uint16 // where dev's submission ports are; 0: at the usual numbers

	began      time.Time
	stopQueue  context.CancelFunc
	queueEnded chan error

	changing sync.Mutex // held while the node is reloaded; Stop keeps it

	mu       sync.Mutex
	doors    []*doorway
	retired  []*smtpserver.Server // of earlier configurations, with sessions still open
	closers  []func(context.Context)
	reloaded time.Time
	stopping bool // changing guards it
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// Start builds a server from its configuration and opens its ports. Read it
// downwards: mail flows the same way. On an error nothing is left open.
func Start(ctx context.Context, w World, c *config.Config, o Options) (n *Node, err error) {
	n = &Node{world: w, opts: o, began: time.Now(), pace: api.NewPace()}
	n.metrics = observe.NewMetrics(o.Version)
	n.health = &observe.Health{}
	sink := o.Log
	if sink == nil {
		if sink, err = n.openLog(c); err != nil {
			return nil, err
		}
	}
	n.events = event.All(sink, n.metrics, n.pace)
	began := n // a return of nil and an error makes n nil before what follows runs
	defer func() {
		if err != nil {
			began.closeAll(context.Background())
		}
	}()

	// The ports first: who starts a second server, or lacks a permission, should
	// hear that and nothing else.
	sockets, err := n.bind(append(c.Listeners[:len(c.Listeners):len(c.Listeners)], submitListener(c.DataDir)), c.DataDir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			for _, s := range sockets {
				_ = s.Close()
			}
		}
	}()
	if o.Dev != nil {
		n.submitOn, n.submitTLSOn = portFor(mail.RoleSubmission, c, sockets), portFor(mail.RoleSubmissions, c, sockets)
	}
	if err = n.openDisk(c); err != nil {
		return nil, err
	}
	if n.ids, err = mail.NewIDs(w.Rand); err != nil {
		return nil, err
	}
	if err = n.openAccounts(c); err != nil {
		return nil, err
	}
	n.openMishaps(c, sockets)
	n.shaper = shaping.New(shapingConfig(c))
	if err = n.shaper.Keep(n.disk.Tables.Table("quotas")); err != nil {
		return nil, err
	}
	n.saveQuotas()
	n.events = event.All(n.events, event.SinkFunc(n.divert))
	n.failover = route.NewFailover(n.events)
	n.failover.Rule(standbys(c))
	n.endpoints = deliver.NewEndpoints(n.disk.Past.Table("endpoints"), n.events)
	n.intake = &intake{spool: n.disk.Spool}
	n.queue = queue.New(queue.Config{Terms: queueTerms(c), Hostname: c.Hostname, AttemptsMax: c.Queue.Workers, AccountReports: o.Dev != nil}, queue.Needs{
		Spool: n.disk.Spool, Router: &n.current, Shaper: &n.current, Courier: n.courier(),
		Intake: n.intake, Rules: ruleTable{n.disk.Tables.Table("rules")}, IDs: n.ids, Events: n.events,
		Remark: n.remark,
	})
	n.intake.queue = n.queue

	g, err := n.build(c)
	if err != nil {
		return nil, err
	}
	n.current.generation.Store(g)
	if err = n.startQueue(ctx); err != nil {
		return nil, err
	}
	if err = n.openWindows(c); err != nil {
		return nil, err
	}
	for i, l := range append(c.Listeners[:len(c.Listeners):len(c.Listeners)], submitListener(c.DataDir)) {
		n.open(g, l, sockets[i])
	}
	n.health.SetReady(true)
	n.systemd.Ready("accepting mail")
	n.events.Emit(event.ServerStarted{Version: o.Version, Hostname: c.Hostname, Listeners: n.addresses(), TookSeconds: time.Since(n.began).Seconds()})
	return n, nil
}

func (n *Node) openLog(c *config.Config) (event.Sink, error) {
	level, err := observe.ParseLevel(c.Log.Level)
	if err != nil {
		return nil, err
	}
	n.log = observe.NewLog(n.world.Stderr, observe.LogConfig{JSON: c.Log.Format == "json", Level: level, Private: c.Log.Privacy == "domain-only"})
	return n.log, nil
}

// portFor is the port of the first listener of a role.
func portFor(role mail.Role, c *config.Config, sockets []net.Listener) uint16 {
	for i, l := range c.Listeners {
		if a, ok := sockets[i].Addr().(*net.TCPAddr); ok && l.Role == string(role) {
			return a.AddrPort().Port()
		}
	}
	return 0
}

// bind opens the sockets of all listeners, or none.
func (n *Node) bind(list []config.Listener, dir string) ([]net.Listener, error) {
	// Others may pass through to submit.sock; what lies beside it is not theirs
	// to read.
	if err := n.world.FS.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("cannot make data_dir: %w", err)
	}
	var open []net.Listener
	for _, l := range list {
		s, err := n.world.Listen(l.Address)
		if err != nil {
			for _, o := range open {
				_ = o.Close()
			}
			return nil, err
		}
		open = append(open, s)
	}
	return open, nil
}

func (n *Node) openDisk(c *config.Config) error {
	disk, err := openDisk(n.world, c.DataDir,
		spool.Options{Reserve: uint64(c.Queue.MinFree)},
		observe.HistoryConfig{Retention: c.History.Retention, MaxBytes: int64(c.History.MaxSize), NoDialogue: n.opts.Dev != nil}, n.events)
	if err != nil {
		return err
	}
	n.disk = disk
	sinks := []event.Sink{n.events, disk.History}
	if n.opts.Dev != nil || catches(c) {
		kept := catch.Config{Dir: filepath.Join(c.DataDir, catchDir), Sync: true, Events: n.events}
		if d := n.opts.Dev; d != nil {
			kept.Sync, kept.MaxMessages = d.Keep, d.MaxMessages
		}
		n.caught, err = catch.Open(kept)
		if err != nil {
			return err
		}
		sinks = append(sinks, n.caught)
	}
	n.events = event.All(sinks...)
	return nil
}

// catches reports whether some mail goes to the catch store.
func catches(c *config.Config) bool {
	for _, d := range c.Domains {
		if d.Deliver == string(mail.Catch) {
			return true
		}
	}
	for _, r := range c.Routes {
		if r.Via == string(mail.Catch) {
			return true
		}
	}
	return false
}

func (n *Node) openAccounts(c *config.Config) error {
	a, err := accountsConfig(c)
	if err != nil {
		return err
	}
	a.AnyPassword = n.opts.Dev != nil
	a.ClearText = a.ClearText || n.opts.Dev != nil && n.opts.Dev.ClearMX
	n.people, err = accounts.Open(a, accounts.Needs{
		Accounts: n.disk.Tables.Table("accounts"), Usage: n.disk.Past.Table("usage"),
		Events: n.events, HTTP: n.world.HTTP, Leaf: n.leaf,
	})
	return err
}

// startQueue lines up what the spool has before the first session may add to it.
func (n *Node) startQueue(ctx context.Context) error {
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stopQueue, n.queueEnded = stop, make(chan error, 1)
	go func() { n.queueEnded <- n.queue.Run(run) }()
	select {
	case <-n.queue.Recovered():
		return nil
	case err := <-n.queueEnded:
		n.queueEnded <- err
		if err == nil {
			err = errors.New("the queue ended at once")
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// open starts serving on a socket.
func (n *Node) open(g *generation, l config.Listener, socket net.Listener) {
	d := &doorway{config: l, door: &door{}}
	d.door.desk.Store(n.desk(g, l))
	d.listener = listen.New(socket, doorConfig(g.config, l, n.faultyTLS(g.tls)), listen.Needs{Handler: d.door, Refuse: hangUp, Events: n.events})
	n.mu.Lock()
	n.doors = append(n.doors, d)
	n.mu.Unlock()
	go func() { _ = d.listener.Serve(context.Background()) }()
}

// addresses lists the ports with their roles, as bound: "mx 127.0.0.1:1025".
func (n *Node) addresses() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for _, d := range n.doors {
		if d.listener.Addr().Network() == "unix" {
			continue
		}
		all = append(all, d.config.Role+" "+d.listener.Addr().String())
	}
	return all
}

// Wait returns when the queue has ended by itself, which it does only when it
// cannot go on, or when ctx ends.
func (n *Node) Wait(ctx context.Context) error {
	select {
	case err := <-n.queueEnded:
		n.queueEnded <- err
		return err
	case <-ctx.Done():
		return nil
	}
}

// Stop closes the ports, lets sessions and deliveries finish what they can
// before ctx ends, and closes the disk.
func (n *Node) Stop(ctx context.Context) {
	began := time.Now()
	n.changing.Lock()
	n.stopping = true
	n.changing.Unlock()
	n.mu.Lock()
	doors, retired := n.doors, n.retired
	n.mu.Unlock()
	n.health.SetReady(false)
	n.systemd.Stopping()
	n.events.Emit(event.ServerDraining{Sessions: n.sessions()})
	// Deliveries end while sessions do, or both together would take longer than
	// an init system waits. What is accepted meanwhile is tried after the start.
	n.stopQueue()
	var over sync.WaitGroup
	for _, d := range doors {
		_ = d.listener.Close()
		over.Go(func() { _ = d.door.desk.Load().Shutdown(ctx) })
	}
	for _, s := range retired {
		over.Go(func() { _ = s.Shutdown(ctx) })
	}
	over.Wait()
	// A socket that was handed on at a reload is not removed by closing it.
	_ = n.world.FS.Remove(filepath.Join(n.disk.Dir, "submit.sock"))
	n.events.Emit(event.ServerStopped{TookSeconds: time.Since(began).Seconds()})
	n.closeAll(ctx)
}

func (n *Node) sessions() (open int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.doors {
		open += d.door.desk.Load().Sessions()
	}
	for _, s := range n.retired {
		open += s.Sessions()
	}
	return open
}

// closeAll closes what Start opened, as far as it came.
func (n *Node) closeAll(ctx context.Context) {
	for i := len(n.closers) - 1; i >= 0; i-- {
		n.closers[i](ctx)
	}
	if n.stopQueue != nil {
		n.stopQueue()
		select {
		case <-n.queueEnded:
		case <-ctx.Done(): // somebody is in a hurry
			n.queue.Hurry()
			<-n.queueEnded
		}
	}
	if g := n.current.generation.Swap(nil); g != nil {
		g.retire()
	}
	if n.shaper != nil {
		_ = n.shaper.Save() // the last second's
	}
	if n.people != nil {
		_ = n.people.Close()
	}
	if n.disk != nil {
		_ = n.disk.Close()
	}
	if n.caught != nil {
		_ = n.caught.Close()
	}
	if n.log != nil {
		n.log.Close()
	}
}

// Caught is where mail is caught; nil unless some is.
func (n *Node) Caught() *catch.Store { return n.caught }

// Addr returns where the first listener of a role listens; i counts those of
// the same role.
func (n *Node) Addr(role mail.Role, i int) net.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.doors {
		if d.config.Role == string(role) && d.listener.Addr().Network() != "unix" {
			if i == 0 {
				return d.listener.Addr()
			}
			i--
		}
	}
	return nil
}

// Ready returns why no mail is accepted, nil if it is.
func (n *Node) Ready(ctx context.Context) error { return n.health.Ready(ctx) }

func pid() int { return os.Getpid() }
