package queue

import (
	"context"
	"slices"
	"strings"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Verb is what an operator does to mail.
type Verb string

const (
	Hold    Verb = "hold"    // not tried until released, or until a time
	Release Verb = "release" // ends holds, rules included
	Retry   Verb = "retry"   // tried now, a site's back-off ended
	Bounce  Verb = "bounce"  // fails; the sender is told
	Delete  Verb = "delete"  // is gone; nobody is told
)

// Filter says which recipients. Empty fields match all; all that are given must
// match.
type Filter struct {
	ID        mail.ID       `json:"id,omitzero"`
	Site      string        `json:"site,omitempty"`
	Domain    string        `json:"domain,omitempty"` // of the recipient
	Recipient string        `json:"recipient,omitempty"`
	Sender    string        `json:"sender,omitempty"` // address, or domain with "@" before it
	Account   string        `json:"account,omitempty"`
	OlderThan time.Duration `json:"older_than,omitempty"`
	Status    Status        `json:"status,omitempty"`
}

// String returns the filter as an operator would write it.
func (f Filter) String() string {
	var words []string
	add := func(name, value string) {
		if value != "" {
			words = append(words, name+"="+value)
		}
	}
	if !f.ID.IsZero() {
		add("id", f.ID.String())
	}
	add("site", f.Site)
	add("domain", f.Domain)
	add("recipient", f.Recipient)
	add("sender", f.Sender)
	add("account", f.Account)
	if f.OlderThan > 0 {
		add("older-than", f.OlderThan.String())
	}
	add("status", string(f.Status))
	if len(words) == 0 {
		return "all"
	}
	return strings.Join(words, " ")
}

// matches leaves out Status, which is not the message's alone.
func (f Filter) matches(env *mail.Envelope, r mail.Recipient, site string, now time.Time) bool {
	return (f.ID.IsZero() || f.ID == env.ID) &&
		(f.Site == "" || f.Site == site || f.Site == r.Site) &&
		(f.Domain == "" || strings.EqualFold(f.Domain, mail.Domain(r.Address))) &&
		(f.Recipient == "" || strings.EqualFold(f.Recipient, r.Address)) &&
		(f.Account == "" || f.Account == env.Origin.Account) &&
		(f.Sender == "" || strings.EqualFold(f.Sender, env.From) || strings.EqualFold(f.Sender, "@"+mail.Domain(env.From))) &&
		(f.OlderThan == 0 || now.Sub(env.Arrived) >= f.OlderThan)
}

// Action is one thing done to all that match. With Until it is a rule too: it
// acts on what comes later, until then.
type Action struct {
	Verb   Verb
	Filter Filter
	Until  time.Time // end of the rule (hold, bounce, delete); zero: no rule
	Always bool      // a rule without end
	By     string
	Reason string
	DryRun bool // count only
}

// Result counts what an action touched, or would touch.
type Result struct {
	Messages   int    `json:"messages"`
	Recipients int    `json:"recipients"`
	InAttempt  int    `json:"in_attempt"` // left alone: they are being tried at this moment
	Rule       string `json:"rule,omitempty"`
}

// holdsPage is how many held recipients are read at a time.
const holdsPage = 256

// noteHold makes sure that somebody looks when a hold ends. The lock is held.
func (q *Queue) noteHold(end time.Time) {
	if q.holdEnds.IsZero() || end.Before(q.holdEnds) {
		q.holdEnds = end
		q.alarm(alarm{at: end, holds: true})
	}
}

func (q *Queue) wakeHolds() {
	select {
	case q.holds <- struct{}{}:
	default:
	}
}

// keepHolds lets go what was held until a time, and ends rules.
func (q *Queue) keepHolds(ctx context.Context) {
	q.wakeHolds() // some may have ended while we were down
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.holds:
		}
		_ = q.endRules(ctx, "", func(r Rule) bool { return r.over(time.Now()) }) // once more at the next hold's end, or by the watchdog
		q.letGo(ctx)
	}
}

func (q *Queue) letGo(ctx context.Context) {
	var after mail.Entry
	for {
		entries, err := q.needs.Spool.Held(ctx, after, holdsPage)
		if err != nil {
			return // the watchdog finds them
		}
		now := time.Now()
		for _, e := range entries {
			if e.Due.IsZero() {
				return
			}
			if e.Due.After(now) {
				q.mu.Lock()
				q.noteHold(e.Due)
				q.mu.Unlock()
				return
			}
			q.revisit(ctx, e.ID)
			after = e
		}
		if len(entries) < holdsPage {
			return
		}
	}
}

// ruling is what a verb makes of a recipient; false if nothing.
func ruling(env *mail.Envelope, r mail.Recipient, verb Verb, until time.Time, reason string, now time.Time) (Ruling, bool) {
	s := r.Standing
	if reason == "" {
		reason = "by the operator"
	}
	switch {
	case s.State != mail.Waiting && s.State != mail.Held:
		return Ruling{}, false
	case verb == Hold && s.State == mail.Waiting:
		s.State, s.Due = mail.Held, until
		return Ruling{Standing: s, Why: "held: " + reason}, true
	case verb == Release && s.State == mail.Held, verb == Retry && s.State == mail.Waiting:
		s.State, s.Due = mail.Waiting, now
		return Ruling{Standing: s, Why: string(verb) + ": " + reason}, true
	case verb == Bounce:
		s.Last = mail.Outcome{Result: mail.Refused, Ours: true, Stage: mail.StageRoute, At: now, Reply: smtp.Reply{
			Code: 554, Enhanced: smtp.Enhanced{Class: 5}, Text: "Returned by the operator of the mail system"}}
		return failed(env, r, s, "bounced: "+reason), true
	case verb == Delete:
		s.State, s.Due, s.Reported = mail.Deleted, time.Time{}, true
		return Ruling{Standing: s, Why: "deleted: " + reason}, true
	}
	return Ruling{}, false
}

// Act does what an operator asks. A rule is in force, and durable, before the
// first message is touched, so that at any depth nothing that matches is tried
// from then on.
func (q *Queue) Act(ctx context.Context, a Action) (Result, error) {
	if err := a.check(); err != nil {
		return Result{}, err
	}
	var result Result
	if a.DryRun {
		return result, q.apply(ctx, a, &result)
	}
	if a.Always || !a.Until.IsZero() {
		id, err := q.addRule(ctx, a)
		if err != nil {
			return Result{}, err
		}
		result.Rule = id
		if (Rule{Verb: a.Verb, Filter: a.Filter}).siteOnly() {
			dry := a
			dry.DryRun = true
			return result, q.apply(ctx, dry, &result)
		}
	}
	if a.Verb == Release {
		if err := q.endRules(ctx, a.By, func(r Rule) bool { return r.Verb == Hold && r.Filter == a.Filter }); err != nil {
			return Result{}, err
		}
	}
	return result, q.apply(ctx, a, &result)
}

func (a Action) check() error {
	bad := func(why string) error {
		return smtp.Reply{Code: 501, Enhanced: smtp.Enhanced{Class: 5, Subject: 5, Detail: 4}, Text: why}
	}
	switch {
	case !slices.Contains([]Verb{Hold, Release, Retry, Bounce, Delete}, a.Verb):
		return bad("unknown action " + string(a.Verb))
	case (a.Verb == Release || a.Verb == Retry) && (a.Always || !a.Until.IsZero()):
		return bad(string(a.Verb) + " cannot be a rule")
	}
	return nil
}

// apply touches what is there now: the one message, or all live ones in turn.
func (q *Queue) apply(ctx context.Context, a Action, result *Result) error {
	if !a.Filter.ID.IsZero() {
		env, err := q.needs.Spool.Envelope(ctx, a.Filter.ID)
		if err != nil {
			return err
		}
		q.applyTo(ctx, env, a, result)
		return nil
	}
	for env, err := range q.needs.Spool.Each(ctx, mail.ID{}) {
		if err != nil {
			return err
		}
		q.applyTo(ctx, env, a, result)
	}
	return ctx.Err()
}

func (q *Queue) applyTo(ctx context.Context, env *mail.Envelope, a Action, result *Result) {
	now := time.Now()
	what := func(r mail.Recipient) (Ruling, bool) {
		if !a.Filter.matches(env, r, q.nameOf(r), now) {
			return Ruling{}, false
		}
		return ruling(env, r, a.Verb, a.Until, a.Reason, now)
	}
	meant := map[int]bool{}
	q.mu.Lock()
	for i, r := range env.Recipients {
		switch _, ok := what(r); {
		case !ok || a.Filter.Status != "" && a.Filter.Status != q.statusOf(env, i, now):
		case q.known[entry{env.ID, i}].leased():
			result.InAttempt++
		default:
			meant[i] = true
		}
	}
	q.mu.Unlock()
	done := len(meant)
	if !a.DryRun && done > 0 {
		var vs []verdict
		env, vs = q.change(ctx, env, func(i int, r mail.Recipient) (Ruling, bool) {
			ruling, ok := what(r)
			return ruling, ok && meant[i]
		})
		if done = len(vs); a.Verb == Retry {
			q.pardon(env, vs)
		}
		q.conclude(ctx, env, vs)
	}
	if done == 0 {
		return
	}
	result.Messages++
	result.Recipients += done
	if !a.DryRun {
		q.needs.Events.Emit(event.OperatorActed{ID: env.ID, Action: string(a.Verb), By: a.By, Reason: a.Reason, Count: done})
	}
}

// pardon ends the back-off of the sites that recipients to be retried wait for.
func (q *Queue) pardon(env *mail.Envelope, vs []verdict) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, v := range vs {
		if s := q.sites[q.nameOf(env.Recipients[v.recipient])]; s != nil && s.backingOff() {
			s.until, s.failures = time.Time{}, 0
			q.wakeSite(s, time.Now())
		}
	}
}
