package route

import (
	"fmt"
	"sync"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// Standby says which smart host takes over from another, and after how much
// trouble (SH-10).
type Standby struct {
	To    string
	After time.Duration
}

// Failover knows which smart hosts are in such trouble that another stands in.
// It is a decision apart from the fall-back to another port, made only where the
// operator has a rule for it, because of temporary refusals or silence alone: a
// wrong certificate or a refused password stops mail, it does not divert it
// (P4). It outlives the Router. It is safe for concurrent use.
type Failover struct {
	events event.Sink
	mu     sync.Mutex
	rules  map[string]Standby
	state  map[string]*trouble
}

// trouble is what is known of a smart host with a standby.
type trouble struct {
	since  time.Time // without a break; zero: none
	tries  int       // that met it
	why    string
	active bool
	trial  time.Time // when a message may try it again
}

// triesMin is how often trouble must have been met: one lost message in a quiet
// night is no reason to change the provider.
const triesMin = 2

// NewFailover has no rules yet.
func NewFailover(events event.Sink) *Failover {
	return &Failover{events: events, rules: map[string]Standby{}, state: map[string]*trouble{}}
}

// Rule puts the operator's rules in force; what is known of those that have one
// stays.
func (f *Failover) Rule(rules map[string]Standby) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = rules
	for name := range f.state {
		if rules[name].To == "" {
			delete(f.state, name)
		}
	}
}

// Instead returns the smart host by which mail for another one goes now. One
// message in each Standby.After is a trial: it goes to the first, whose success
// ends this. What the first may have already stays with it (SH-6).
func (f *Failover) Instead(name string, r *mail.Recipient) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	rule, t := f.rules[name], f.state[name]
	if t == nil || !t.active || r != nil && r.Last.Ambiguous {
		return name
	}
	if now := time.Now(); r != nil && !now.Before(t.trial) {
		t.trial = now.Add(rule.After)
		return name
	}
	return rule.To
}

// Active reports whether another stands in for a smart host.
func (f *Failover) Active(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state[name] != nil && f.state[name].active
}

// Remark says so in plain words; "" if none does.
func (f *Failover) Remark(name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.state[name]; t != nil && t.active {
		return fmt.Sprintf("%s stands in since %s of trouble: %s", f.rules[name].To, f.rules[name].After, t.why)
	}
	return ""
}

// Tried learns from an attempt at a smart host.
func (f *Failover) Tried(name string, outcomes []mail.Outcome) {
	f.mu.Lock()
	rule, ok := f.rules[name]
	if !ok || rule.To == "" {
		f.mu.Unlock()
		return
	}
	t := f.state[name]
	if t == nil {
		t = &trouble{}
		f.state[name] = t
	}
	said := t.learn(name, rule, outcomes, time.Now())
	f.mu.Unlock()
	if said != nil {
		f.events.Emit(said)
	}
}

func (t *trouble) learn(name string, rule Standby, outcomes []mail.Outcome, now time.Time) event.Event {
	kind, why := judgeTrouble(outcomes)
	switch {
	case kind == fine:
		was := t.active
		*t = trouble{}
		if was {
			return event.SmarthostFailedOver{Smarthost: name, To: rule.To, Why: name + " takes mail again", Ended: true}
		}
	case kind == troubled:
		if t.since.IsZero() {
			t.since = now
		}
		t.tries++
		t.why = why
		if !t.active && t.tries >= triesMin && now.Sub(t.since) >= rule.After {
			t.active, t.trial = true, now.Add(rule.After)
			return event.SmarthostFailedOver{Smarthost: name, To: rule.To, Why: fmt.Sprintf("%s has been in trouble for %s: %s", name, now.Sub(t.since).Round(time.Second), why)}
		}
	}
	return nil
}

type health uint8

const (
	neither  health = iota // says nothing of the smart host
	fine                   // it talked to us about a message
	troubled               // it did not come to that
)

// judgeTrouble: a temporary refusal, or none at all, up to MAIL (SH-10).
func judgeTrouble(outcomes []mail.Outcome) (health, string) {
	result, why := neither, ""
	for _, o := range outcomes {
		switch {
		case o.Result == mail.Untried || o.Ambiguous || o.Ours && o.Reply.Enhanced.Subject == 7: // ours: TLS, credential
		case o.Result == mail.Accepted:
			return fine, ""
		case o.Stage == mail.StageRcpt || o.Stage == mail.StageData || o.Stage == mail.StageContent || o.Stage == mail.StageDot:
			return fine, ""
		case o.Result == mail.Deferred:
			result, why = troubled, o.Reply.String()
		}
	}
	return result, why
}
