package queue

import (
	"context"
	"errors"
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
		known: map[entry]slot{}, visiting: map[mail.ID]bool{}, ending: map[mail.ID]bool{},
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

// keepTime rings the calendar's alarms.
func (q *Queue) keepTime(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-q.wake:
		}
		q.mu.Lock()
		now := time.Now()
		for a, ok := q.calendar.ring(now); ok; a, ok = q.calendar.ring(now) {
			q.rung(a, now)
		}
		next, ok := q.calendar.next()
		q.mu.Unlock()
		if ok {
			timer.Reset(max(time.Until(next), 0))
		}
	}
}

func (q *Queue) rung(a alarm, now time.Time) {
	switch {
	case a.line != nil:
		if a.line.alarm.Equal(a.at) {
			a.line.alarm = time.Time{}
		}
		if q.lines[a.line.key] == a.line {
			if a.line.next.After(now) && a.line.next.After(a.at) {
				a.line.next = now // the horizon: look whether the clock was set back
			}
			q.want(a.line, now)
		}
	case a.site != nil:
		if q.sites[a.site.name] == a.site {
			q.wakeSite(a.site, now)
		}
	case a.rules:
		q.wakeHolds()
	case a.holds:
		q.holdEnds = time.Time{}
		q.wakeHolds()
	default:
		q.visitLocked(a.id)
	}
}

// alarm sets an alarm. The lock is held.
func (q *Queue) alarm(a alarm) {
	first, ok := q.calendar.next()
	q.calendar.set(a)
	if !ok || a.at.Before(first) {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
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

// Accept takes over a durable message: fresh from a session, or recovered.
// Recipients that the waiting index has already (their Due is set) are left to
// it. It waits only when the memory for fresh messages is full: then the
// message is written into the index, and the sender feels it.
func (q *Queue) Accept(env *mail.Envelope) {
	var fresh []int
	for i, r := range env.Recipients {
		if r.State == mail.Waiting && r.Due.IsZero() {
			fresh = append(fresh, i)
		}
	}
	now := time.Now()
	q.watchDeadline(env, now)
	if anyRecipient(env, func(r mail.Recipient) bool { return r.State.Final() && !r.Reported }) {
		q.visit(env.ID) // an alias whose expansion is to be told (RFC 3461 §5.2.7.3)
	}
	if len(fresh) == 0 {
		return
	}
	if release := env.Params.ReleaseAt; release.After(now) {
		q.spill(env, fresh, release) // EXT-10
		return
	}
	q.mu.Lock()
	full := q.fresh+len(fresh) > q.config.FreshMax
	if !full {
		q.lineUpFresh(env, fresh, now)
	}
	q.mu.Unlock()
	if full {
		q.spill(env, fresh, now)
	}
}

// lineUpFresh lines fresh recipients up at their sites. Those whose site is not
// known yet make one parcel: its worker routes them and groups them by site, so
// that they go in one attempt if they can, and none waits behind the site
// of another. The lock is held.
func (q *Queue) lineUpFresh(env *mail.Envelope, recipients []int, now time.Time) {
	groups := map[string][]int{}
	for _, r := range recipients {
		if _, ok := q.known[entry{env.ID, r}]; !ok {
			name := q.routedName(mail.Domain(env.Recipients[r].Address))
			groups[name] = append(groups[name], r)
		}
	}
	if mixed := groups[unsorted]; len(mixed) > 0 && sameDomain(env, mixed) {
		delete(groups, unsorted)
		groups[mail.Domain(env.Recipients[mixed[0]].Address)] = mixed
	}
	for name, group := range groups {
		p := &parcel{id: env.ID, recipients: group, due: now, fresh: true,
			line: q.lineOf(lineKey{name, env.Tenant(), env.Params.Priority})}
		for _, r := range group {
			q.known[entry{env.ID, r}] = slot{parcel: p}
			q.fresh++
		}
		p.line.site.put(p)
		q.enqueue(p.line.site)
		q.relieve(p.line.site)
	}
}

// unsorted is the line of fresh messages for several domains whose sites are
// not known. It is no site: it has no gate.
const unsorted = ""

// routedName is the site that mail for a domain is known to go to, else
// unsorted.
func (q *Queue) routedName(domain string) string {
	name := domain
	if real, ok := q.hints[domain]; ok {
		name = real
	}
	if s := q.sites[name]; s != nil && s.routed {
		return name
	}
	return unsorted
}

func sameDomain(env *mail.Envelope, recipients []int) bool {
	first := mail.Domain(env.Recipients[recipients[0]].Address)
	for _, r := range recipients {
		if mail.Domain(env.Recipients[r].Address) != first {
			return false
		}
	}
	return true
}

// spill writes fresh recipients into the waiting index. When that fails they
// are kept in memory after all: the spool accepts nothing new then.
func (q *Queue) spill(env *mail.Envelope, recipients []int, due time.Time) {
	updates := make([]mail.Update, len(recipients))
	for i, r := range recipients {
		s := env.Recipients[r].Standing
		s.Due = due
		if s.Site == "" {
			s.Site = mail.Domain(env.Recipients[r].Address)
		}
		updates[i] = mail.Update{Message: env.ID, Recipient: r, Standing: s}
	}
	err := q.needs.Spool.Record(q.hard, updates)
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		q.lineUpFresh(env, recipients, now)
		return
	}
	for _, u := range updates {
		q.note(lineKey{u.Standing.Site, env.Tenant(), env.Params.Priority}, due, now)
	}
}

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

// unreadable handles a message that could not be opened: it is over, or the
// spool is in trouble and it is looked at again later.
func (q *Queue) unreadable(p *parcel, err error) {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range p.recipients {
		q.unlease(p.id, r)
	}
	switch {
	case errors.Is(err, mail.ErrNotFound):
	case p.fresh:
		q.alarm(alarm{at: now.Add(time.Minute), id: p.id})
	default:
		q.note(p.line.key, now.Add(time.Minute), now)
		p.line.cursor = mail.Entry{}
	}
}

// stillDue leaves in the parcel those recipients that wait and are due, and
// takes in companions: others of the message that are due at the same site
// . Those at their end, or under an operator's rule, are concluded here.
func (q *Queue) stillDue(ctx context.Context, env *mail.Envelope, p *parcel) bool {
	now := time.Now()
	isDue := func(r mail.Recipient) bool { return r.State == mail.Waiting && !r.Due.After(now.Add(q.slack(r, now))) }
	q.mu.Lock()
	var companions []int
	for i, r := range env.Recipients {
		if isDue(r) && r.Site == p.line.key.site && !p.fresh {
			companions = append(companions, i)
		}
	}
	p.recipients = append(p.recipients, q.leaseAlso(p, companions)...)
	var due []int
	for _, i := range p.recipients {
		if isDue(env.Recipients[i]) {
			due = append(due, i)
			continue
		}
		q.unlease(p.id, i)
		if r := env.Recipients[i]; r.State == mail.Waiting {
			q.note(lineKey{r.Site, env.Tenant(), env.Params.Priority}, r.Due, now)
		}
	}
	q.mu.Unlock()
	p.recipients = due
	var over []verdict
	over, p.recipients = q.atEnd(env, p.recipients, now)
	q.conclude(ctx, env, over)
	return len(p.recipients) > 0
}

// slack lets recipients pass whose due time cannot be (see pullBack).
func (q *Queue) slack(r mail.Recipient, now time.Time) time.Duration {
	if r.Due.After(now.Add(q.horizon())) {
		return r.Due.Sub(now)
	}
	return 0
}

// atEnd separates those that are not to be tried any more: they were tried and
// their life is over, or an operator's rule says what becomes of them.
func (q *Queue) atEnd(env *mail.Envelope, recipients []int, now time.Time) (over []verdict, rest []int) {
	for _, i := range recipients {
		r := env.Recipients[i]
		if ruling, ok := q.ruled(env, r, now); ok {
			over = append(over, verdict{recipient: i, Ruling: ruling})
			continue
		}
		byNow := env.Params.By != nil && env.Params.By.Return && !now.Before(env.Params.By.Deadline)
		if ruling, ok := Overdue(env, r, now, q.config.Terms); ok && (r.Tries > 0 || byNow) {
			over = append(over, verdict{recipient: i, Ruling: ruling})
			continue
		}
		rest = append(rest, i)
	}
	return over, rest
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
