package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/queue"
	"paquebot/internal/shaping"
	"paquebot/internal/smtp"
	"paquebot/internal/spool"
)

// World is a sender's mail system with its real queue, spool and shaper, and
// the receiving sites around it, each with a personality. Everything random
// comes from its seed. It is made inside a synctest bubble.
type World struct {
	Spool  spool.Spool
	Queue  *queue.Queue
	Shaper *shaping.Shaper
	IDs    *mail.IDs
	Net    *Network
	Began  time.Time

	t      testing.TB
	config queue.Config
	events event.Sink
	rules  *RuleStore
	stop   func()

	mu      sync.Mutex
	rand    *rand.Rand
	sites   map[string]*Site
	courier queue.Courier // nil: the sites are asked directly
	peers   []*Peer
	*books
}

// Options of a World. The zero value is good.
type Options struct {
	Queue   queue.Config
	Shaping shaping.Config
	Spool   spool.Spool // nil: in memory
	Events  event.Sink
	Courier func(*World) queue.Courier // nil: sites answer without a network
}

// here is the domain of the senders; their reports come to it.
const here = "here.example"

// NewWorld makes a world in which nothing happens yet.
func NewWorld(t testing.TB, seed uint64, o Options) *World {
	w := &World{t: t, config: o.Queue, events: o.Events, Began: time.Now(), rules: &RuleStore{}, Net: NewNetwork(),
		rand: rand.New(rand.NewPCG(seed, 0x70617175)), sites: map[string]*Site{}, books: newBooks()}
	if w.config.Hostname == "" {
		w.config.Hostname = "mx." + here
	}
	if w.Spool = o.Spool; w.Spool == nil {
		w.Spool = spool.NewMemory()
	}
	ids, err := mail.NewIDs(w.Reader())
	if err != nil {
		t.Fatal(err)
	}
	w.IDs = ids
	w.Shaper = shaping.New(o.Shaping)
	w.Site(here, Good())
	if o.Courier != nil {
		w.courier = o.Courier(w)
	}
	return w
}

// Start runs the queue, Stop drains it; Start again is a restart.
func (w *World) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	courier := w.courier
	if courier == nil {
		courier = w
	}
	q := queue.New(w.config, queue.Needs{
		Spool: w.Spool, Router: w, Shaper: w.Shaper, Courier: courier,
		Intake: Intake{w.Spool, func(env *mail.Envelope) { w.Queue.Accept(env) }},
		Rules:  w.rules, IDs: w.IDs, Events: event.All(w, w.sink()), Rand: w.Float64,
	})
	w.Queue = q
	go func() {
		defer close(done)
		if err := q.Run(ctx); err != nil {
			w.t.Errorf("queue: %v", err)
		}
	}()
	w.stop = func() { cancel(); <-done }
}

func (w *World) sink() event.Sink {
	if w.events == nil {
		return event.Discard
	}
	return w.events
}

// Crash is a power cut: cut keeps the disk as it is then, what the old spool
// still does is lost, and the queue starts anew on what recovered returns. It
// returns how many recipients had been delivered without that being on disk:
// those come again.
func (w *World) Crash(cut func(), recovered func() spool.Spool) int {
	synctest.Wait() // nothing moves between the count and the cut
	inFlight := w.leased()
	cut()
	w.Spool.Close()
	w.Stop()
	synctest.Wait() // until the peers have read what was on its way to them
	fresh := recovered()
	w.Spool = fresh
	again := w.recount(fresh.Each(context.Background(), mail.ID{}))
	if again > inFlight {
		w.t.Errorf("the crash makes %d duplicates of %d attempts in flight (P3)", again, inFlight)
	}
	w.Start()
	return again
}

// leased returns the recipients that are being tried.
func (w *World) leased() (n int) {
	for item, err := range w.Queue.List(context.Background(), queue.Filter{Status: queue.StatusInAttempt}, mail.ID{}) {
		if err != nil {
			w.t.Errorf("list: %v", err)
			break
		}
		_ = item
		n++
	}
	return n
}

// Close ends what speaks on the network; no goroutine of the world is left.
func (w *World) Close() {
	if c, ok := w.courier.(interface{ Close() }); ok {
		c.Close()
	}
	for _, p := range w.peers {
		p.close()
	}
}

// Stop drains the queue.
func (w *World) Stop() { w.stop() }

// Float64 is the world's chance.
func (w *World) Float64() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rand.Float64()
}

// IntN is the world's dice.
func (w *World) IntN(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rand.IntN(n)
}

// Reader is the world's randomness as octets.
func (w *World) Reader() *Random { return &Random{w} }

// Random implements io.Reader.
type Random struct{ w *World }

// Read fills p.
func (r *Random) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.w.IntN(256))
	}
	return len(p), nil
}

// Site adds or changes a receiving site; its name is its domain.
func (w *World) Site(name string, p Personality) *Site {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &Site{Name: name, personality: p, began: time.Now(), seen: map[string]time.Time{}}
	w.sites[name] = s
	return s
}

// LoseDNS makes a site's domains impossible to look up for a time.
func (w *World) LoseDNS(site string, d time.Duration) { w.siteOf(site).lost = time.Now().Add(d) }

// Submit puts a message into the spool and the queue, as a session does.
func (w *World) Submit(from string, to ...string) mail.ID {
	return w.SubmitWith(func(*mail.Envelope) {}, from, to...)
}

// SubmitWith lets the caller set what MAIL and RCPT said.
func (w *World) SubmitWith(set func(*mail.Envelope), from string, to ...string) mail.ID {
	now := time.Now()
	env := &mail.Envelope{ID: w.IDs.Next(now), Arrived: now, From: from, Subject: "a message",
		Origin: mail.Origin{Role: mail.RoleSubmission, Account: mail.Local(from)}}
	for _, a := range to {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: a})
	}
	set(env)
	head := fmt.Sprintf("From: <%s>\r\nSubject: a message\r\nMessage-ID: <%s@%s>\r\n\r\n", from, env.ID, here)
	w.submitted(env)
	if err := (Intake{w.Spool, w.Queue.Accept}).Put(context.Background(), env, []byte(head), []byte("Hello.\r\n")); err != nil {
		w.t.Errorf("submit: %v", err)
	}
	return env.ID
}

// Route implements queue.Router: a site is its domain, "*.site" goes to it too;
// one that is not there does not exist.
func (w *World) Route(_ context.Context, _ *mail.Envelope, recipient string) (mail.Route, error) {
	s := w.siteOf(mail.Domain(recipient))
	if s != nil && time.Now().Before(s.lost) {
		return mail.Route{}, smtp.DNSTrouble
	}
	if s == nil {
		return mail.Route{}, smtp.NoDomain
	}
	return mail.Route{Site: s.Name, Transport: mail.SMTP, Security: mail.Opportunistic,
		Hops: []mail.Hop{{Name: "mx." + s.Name, Port: 25, Addrs: []netip.Addr{s.Addr}}}}, nil
}

func (w *World) siteOf(domain string) *Site {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if s := w.sites[domain]; s != nil {
			return s
		}
		_, parent, ok := strings.Cut(domain, ".")
		if !ok {
			return nil
		}
		domain = parent
	}
}

// Emit implements event.Sink: the world remembers what it checks.
func (w *World) Emit(e event.Event) { w.heard(e) }

// Deliver implements queue.Courier without a network: the site's personality
// answers.
func (w *World) Deliver(ctx context.Context, a mail.Attempt) []mail.Outcome {
	s := w.siteOf(a.Route.Site)
	w.entered(s.Name, time.Now())
	defer w.left(s.Name)
	outcomes := make([]mail.Outcome, len(a.Recipients))
	visit := Visit{World: w, Site: s, Attempt: a, Context: ctx}
	for i := range outcomes {
		o := s.personality(visit, a.Envelope.Recipients[a.Recipients[i]].Address, i)
		if ctx.Err() != nil {
			return make([]mail.Outcome, len(outcomes)) // we left before it had the message
		}
		o.At, o.Host = time.Now(), "mx."+s.Name
		outcomes[i] = o
		if o.Result == mail.Accepted || o.Ambiguous && o.Took > 0 {
			w.received(a, a.Recipients[i], o.Ambiguous)
		}
	}
	return outcomes
}
