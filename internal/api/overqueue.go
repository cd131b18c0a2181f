package api

import (
	"context"
	"iter"
	"strings"
	"sync"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/queue"
)

// OverQueue shows a queue.Queue. Pace may be nil.
func OverQueue(q *queue.Queue, pace *Pace) Queue { return overQueue{q, pace} }

type overQueue struct {
	queue *queue.Queue
	pace  *Pace
}

// Summary implements Queue.
func (o overQueue) Summary(ctx context.Context) (QueueSummary, error) {
	s, err := o.queue.Summary(ctx)
	if err != nil {
		return QueueSummary{}, err
	}
	out := QueueSummary{
		Time: s.At.UTC(), Total: s.Total, Ready: s.Ready, Waiting: s.Waiting, Held: s.Held, InAttempt: s.InAttempt, Messages: s.Messages,
		LeavingPerMinute: o.pace.leaving(s.At), WithoutNextEvent: o.pace.stray(),
	}
	for _, at := range s.Sites {
		v := SiteView{Site: at.Site, Ready: at.Ready, InAttempt: at.InAttempt, Waiting: at.Waiting, Held: at.Held, Next: at.Next.UTC(), Why: at.Why}
		v.OldestSeconds = max(0, s.At.Sub(at.Oldest).Seconds())
		out.OldestSeconds = max(out.OldestSeconds, v.OldestSeconds)
		if last, ok := o.pace.last(at.Site); ok && !last.Reply.Positive() {
			v.Reply = last.Reply.String()
			if v.Why == "" || strings.Contains(v.Why, last.Reply.Text) {
				v.Why = Plain(last)
			}
		}
		if len(out.Sites) < sampled && v.Waiting > 0 && v.Why == "" && v.Reply == "" {
			o.sample(ctx, &v)
		}
		out.Sites = append(out.Sites, v)
	}
	out.Rules, err = o.Rules(ctx)
	return out, err
}

// sampled bounds the sites whose reason is looked up in one of their messages.
// The queue puts the largest first, so one is found soon.
const sampled = 10

// sample gives a site the last words that one of its recipients heard: after a
// restart nobody else remembers them.
func (o overQueue) sample(ctx context.Context, v *SiteView) {
	for item, err := range o.queue.List(ctx, queue.Filter{Site: v.Site}, mail.ID{}) {
		if err != nil {
			return
		}
		if r := item.Envelope.Recipients[item.Recipient]; r.Last.Reply.Code >= 400 {
			v.Reply, v.Why = r.Last.Reply.String(), Plain(r.Last)
		}
		return
	}
}

func (o overQueue) filter(f Filter) queue.Filter {
	return queue.Filter{
		ID: f.ID, Site: f.Site, Domain: f.Domain, Sender: f.Sender, Account: f.Account, Status: queue.Status(f.State),
		OlderThan: time.Duration(f.OlderThanSeconds * float64(time.Second)),
	}
}

// List implements Queue. The items of one message come one after the other.
func (o overQueue) List(ctx context.Context, f Filter, after mail.ID) iter.Seq2[Envelope, error] {
	return func(yield func(Envelope, error) bool) {
		var at *mail.Envelope
		var v Envelope
		for item, err := range o.queue.List(ctx, o.filter(f), after) {
			if err != nil {
				yield(Envelope{}, err)
				return
			}
			if at != item.Envelope {
				if at != nil && !yield(v, nil) {
					return
				}
				at, v = item.Envelope, View(item.Envelope)
				v.Recipients = v.Recipients[:0:0]
			}
			v.Recipients = append(v.Recipients, itemView(item))
		}
		if at != nil {
			yield(v, nil)
		}
	}
}

func itemView(item queue.Item) Recipient {
	r := recipientView(item.Envelope.Recipients[item.Recipient])
	r.State, r.Site, r.Due = string(item.Status), item.Site, time.Time{}
	if !item.Next.IsZero() {
		r.Due = item.Next.UTC()
	}
	if item.Why != "" && item.Why != r.Reply {
		r.Why = item.Why
	}
	return r
}

// Act implements Queue.
func (o overQueue) Act(ctx context.Context, a Action) (ActionResult, error) {
	until := a.Until(time.Now())
	rules := len(o.queue.Rules())
	res, err := o.queue.Act(ctx, queue.Action{
		Verb: queue.Verb(a.Action), Filter: o.filter(a.Filter), Until: until, Always: a.Always, By: a.By, Reason: a.Reason, DryRun: a.DryRun,
	})
	out := ActionResult{Messages: int64(res.Messages), Recipients: int64(res.Recipients), InAttempt: int64(res.InAttempt), Rule: res.Rule}
	if !until.IsZero() {
		out.Until = until.UTC()
	}
	if a.Action == Release && !a.DryRun {
		out.RulesEnded = int64(max(0, rules-len(o.queue.Rules())))
	}
	return out, err
}

// Rules implements Queue.
func (o overQueue) Rules(context.Context) ([]Rule, error) {
	var out []Rule
	for _, r := range o.queue.Rules() {
		v := Rule{ID: r.ID, Action: string(r.Verb), Match: r.Filter.String(), By: r.By, Reason: r.Reason, Since: r.Since.UTC()}
		if !r.Until.IsZero() {
			v.Until = r.Until.UTC()
		}
		out = append(out, v)
	}
	return out, nil
}

// EndRule implements Queue.
func (o overQueue) EndRule(ctx context.Context, id, by string) error {
	rules, _ := o.Rules(ctx) // it has no error
	for _, r := range rules {
		if r.ID == id {
			return o.queue.EndRule(ctx, id, by)
		}
	}
	return fault(404, "paquebot queue rules", "no rule %s is in force", id)
}

// Pace is a reader of events: how fast mail leaves, and the last word of each
// site, for the summary. A nil Pace knows nothing.
type Pace struct {
	mu      sync.Mutex
	seconds [paceSeconds]struct {
		at int64
		n  int64
	}
	strays int64
	words  map[string]mail.Outcome
}

const (
	paceSeconds = 60
	wordsMax    = 10000 // sites remembered; then all are forgotten and learnt again
)

// NewPace makes a Pace; give it to the events' readers.
func NewPace() *Pace { return &Pace{words: map[string]mail.Outcome{}} }

// Emit implements event.Sink.
func (p *Pace) Emit(e event.Event) {
	switch e := e.(type) {
	case event.RecipientSettled:
		if e.Standing.State == mail.Delivered {
			p.left(time.Now())
		}
	case event.DeliveryTried:
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.words) >= wordsMax {
			clear(p.words)
		}
		p.words[e.Site] = e.Outcome
	case event.WatchdogRan:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.strays = e.Stray
	}
}

func (p *Pace) left(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.seconds[now.Unix()%paceSeconds]
	if s.at != now.Unix() {
		s.at, s.n = now.Unix(), 0
	}
	s.n++
}

// leaving is how many recipients were delivered in the last minute.
func (p *Pace) leaving(now time.Time) float64 {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var n int64
	for _, s := range p.seconds {
		if s.at > now.Unix()-paceSeconds {
			n += s.n
		}
	}
	return float64(n)
}

func (p *Pace) stray() int64 {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.strays
}

func (p *Pace) last(site string) (mail.Outcome, bool) {
	if p == nil {
		return mail.Outcome{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	o, ok := p.words[site]
	return o, ok
}
