package queue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Queue is where mail waits. All methods are safe for concurrent use.
type Queue struct {
	config  Config
	needs   Needs
	hard    context.Context // of attempts: ends when draining has taken too long
	kill    context.CancelFunc
	wait    sync.WaitGroup // workers
	started time.Time

	mu       sync.Mutex // guards all below; never held while waiting for another room
	running  bool
	workers  int
	sites    map[string]*site
	lines    map[lineKey]*line
	hints    map[string]string // domain → site, as routed; bounded by hintsKept
	known    map[entry]slot    // recipients in memory
	fresh    int               // recipients in memory and not in the index
	turn     turns[*site]      // sites with something ready
	loads    turns[*line]
	spills   turns[*site]
	visits   turns[mail.ID]
	visiting map[mail.ID]bool // in visits
	ending   map[mail.ID]bool // being finished; true: look once more
	troubles map[mail.ID]bool // whose trouble was told; bounded by troublesMax
	calendar calendar
	wake     chan struct{} // the calendar has an earlier alarm
	rules    rules
	holdEnds time.Time     // an alarm is set for the end of a hold; zero: none
	holds    chan struct{} // a hold has ended
	ruling   chan struct{} // holds one: the turn to change rules
	ready    chan struct{} // closed when what the spool had is lined up
	census   census
}

// hintsKept bounds the memory of which domain goes to which site (about 100
// octets each).
const hintsKept = 200_000

// New returns a queue that accepts at once and works when Run is called.
func New(c Config, n Needs) *Queue {
	if n.Events == nil {
		n.Events = event.Discard
	}
	if n.Rand == nil {
		n.Rand = rand.Float64
	}
	q := &Queue{
		config: c.withDefaults(), needs: n,
		sites: map[string]*site{}, lines: map[lineKey]*line{}, hints: map[string]string{},
		known: map[entry]slot{}, visiting: map[mail.ID]bool{}, ending: map[mail.ID]bool{}, troubles: map[mail.ID]bool{},
		wake: make(chan struct{}, 1), holds: make(chan struct{}, 1), ruling: make(chan struct{}, 1), ready: make(chan struct{}),
	}
	q.hard, q.kill = context.WithCancel(context.Background())
	return q
}

func (q *Queue) rand() float64 { return q.needs.Rand() }

// Run takes up what the spool has, then works until ctx ends, then drains:
// attempts in flight get DrainTime to end. It is called once.
func (q *Queue) Run(ctx context.Context) error {
	defer q.kill()
	if err := q.recover(ctx); err != nil {
		return err
	}
	close(q.ready)
	q.mu.Lock()
	q.running, q.started = true, time.Now()
	for range q.turn.len() + q.loads.len() + q.visits.len() {
		q.spawn()
	}
	q.mu.Unlock()

	var clerks sync.WaitGroup
	clerks.Go(func() { q.keepTime(ctx) })
	clerks.Go(func() { q.keepAges(ctx) })
	clerks.Go(func() { q.keepWatch(ctx) })
	clerks.Go(func() { q.keepHolds(ctx) })
	<-ctx.Done()
	q.drain()
	clerks.Wait()
	return nil
}

// Recovered is closed when all that the spool had is lined up: from then on new
// messages may come. It stays open when Run fails.
func (q *Queue) Recovered() <-chan struct{} { return q.ready }

// recover lines up the messages that the waiting index does not have, and notes
// the lines that it has: the cost is that of the lines, not of the messages.
func (q *Queue) recover(ctx context.Context) error {
	if err := q.loadRules(ctx); err != nil {
		return fmt.Errorf("queue: rules: %w", err)
	}
	for line, err := range q.needs.Spool.Lines(ctx) {
		if err != nil {
			return fmt.Errorf("queue: lines: %w", err)
		}
		q.mu.Lock()
		q.note(lineKey{line.Site, line.Tenant, line.Priority}, line.FirstDue, time.Now())
		q.mu.Unlock()
	}
	for env, err := range q.needs.Spool.Recover(ctx) {
		if err != nil {
			return fmt.Errorf("queue: recover: %w", err)
		}
		q.Accept(env)
		if anyRecipient(env, func(r mail.Recipient) bool { return r.State != mail.Waiting }) {
			q.visit(env.ID)
		}
	}
	return nil
}

func anyRecipient(env *mail.Envelope, is func(mail.Recipient) bool) bool {
	for _, r := range env.Recipients {
		if is(r) {
			return true
		}
	}
	return false
}

// drain lets attempts in flight end, and ends them when that takes too long.
func (q *Queue) drain() {
	q.mu.Lock()
	q.running = false
	q.mu.Unlock()
	done := make(chan struct{})
	go func() { q.wait.Wait(); close(done) }()
	timer := time.NewTimer(q.config.DrainTime)
	defer timer.Stop()
	select {
	case <-done:
		return
	case <-timer.C:
	}
	q.kill()
	<-done
}

// Hurry ends the attempts that a stop waits for. What they did not settle is
// tried again after the next start.
func (q *Queue) Hurry() { q.kill() }

// try is the life of an attempt: open, look who is still due, route, deliver,
// decide, write down, tell. The order at the end is the durability argument:
// nobody hears of a change that is not on stable storage (design §5.1).
func (q *Queue) try(ctx context.Context, j *job) {
	p := j.parcel
	defer q.unused(j)
	env, body, err := q.needs.Spool.Open(ctx, p.id)
	if err != nil {
		q.unreadable(p, err)
		return
	}
	defer body.Close()
	if !q.stillDue(ctx, env, p) {
		return
	}
	route, ok := q.route(ctx, env, j)
	if !ok {
		return
	}
	_ = q.needs.Spool.Intend(ctx, p.id, p.recipients) // only narrows what is in doubt after a crash
	outcomes := q.deliver(ctx, env, body, route, j)
	now := time.Now()
	facts := Facts{Now: now, Chance: q.rand(), Site: route.Site, Final: route.Transport != mail.SMTP}
	settled := make([]verdict, len(outcomes))
	for i, o := range outcomes {
		r := p.recipients[i]
		settled[i] = verdict{recipient: r, tried: &outcomes[i], Ruling: Settle(env, env.Recipients[r], o, facts, q.config.Terms)}
	}
	q.conclude(ctx, env, settled)
}

// unused gives back a permit that came to no attempt.
func (q *Queue) unused(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.giveBack(j.permit, nil)
}

// deliver makes the attempt and tells the shaper and the site's health.
func (q *Queue) deliver(ctx context.Context, env *mail.Envelope, body mail.Body, route mail.Route, j *job) []mail.Outcome {
	var number uint32
	for _, r := range j.parcel.recipients {
		number = max(number, env.Recipients[r].Tries+1)
	}
	if number == 1 {
		q.needs.Events.Emit(routed(env, j.parcel.recipients, route))
	}
	deadline := time.Now().Add(q.config.AttemptTime)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if j.permit.source != (mail.Source{}) {
		route.Sources = []mail.Source{j.permit.source}
	}
	outcomes := q.needs.Courier.Deliver(ctx, mail.Attempt{
		Envelope: env, Recipients: j.parcel.recipients, Route: route, Body: body, Number: number, Deadline: deadline})
	if len(outcomes) != len(j.parcel.recipients) {
		outcomes = make([]mail.Outcome, len(j.parcel.recipients)) // a courier's bug loses nothing: untried
	}
	if ctx.Err() == context.DeadlineExceeded {
		outOfTime(outcomes)
	}
	q.mu.Lock()
	told := q.learn(j.permit.site, outcomes, time.Now())
	q.giveBack(j.permit, outcomes)
	q.mu.Unlock()
	for _, e := range told {
		q.needs.Events.Emit(e)
	}
	return outcomes
}

// outOfTime makes what an attempt left open a try that failed: an attempt that
// used up its time must not be repeated at once, for ever.
func outOfTime(outcomes []mail.Outcome) {
	for i := range outcomes {
		if outcomes[i].Result == mail.Untried {
			outcomes[i] = mail.Outcome{Result: mail.Deferred, Ours: true, Stage: mail.StageContent, Reach: mail.ThisMessage, At: time.Now(),
				Reply: smtp.Dropped.WithText("The attempt took too long")}
		}
	}
}

func routed(env *mail.Envelope, recipients []int, route mail.Route) event.MessageRouted {
	e := event.MessageRouted{ID: env.ID, Site: route.Site, Transport: route.Transport}
	for _, r := range recipients {
		e.Recipients = append(e.Recipients, env.Recipients[r].Address)
	}
	for _, h := range route.Hops {
		e.Hops = append(e.Hops, h.Name+":"+strconv.Itoa(int(h.Port))+" ("+strconv.Itoa(int(h.Preference))+")")
	}
	return e
}

// routeFailed is the outcome of a recipient that has no route.
func routeFailed(err error, now time.Time) mail.Outcome {
	reply := smtp.AsReply(err)
	o := mail.Outcome{Result: mail.Deferred, Reply: reply, Ours: true, Stage: mail.StageRoute, At: now}
	if reply.Permanent() {
		o.Result = mail.Refused
	}
	return o
}
