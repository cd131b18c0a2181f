package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// Rule is an action that is in force.
type Rule struct {
	ID     string    `json:"id"`
	Verb   Verb      `json:"verb"`
	Filter Filter    `json:"filter"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// rulesMax bounds the rules in force: each is compared with every attempt.
const rulesMax = 1000

// rules are those in force; the queue's lock guards them.
type rules struct{ list []Rule }

func (r Rule) over(now time.Time) bool { return !r.Until.IsZero() && !r.Until.After(now) }

// siteOnly reports a rule that holds whole sites: it closes their gate, and no
// message is touched.
func (r Rule) siteOnly() bool {
	return r.Verb == Hold && r.Filter.Site != "" && r.Filter == (Filter{Site: r.Filter.Site})
}

// siteHeld reports whether an operator holds a whole site. The lock is held.
func (q *Queue) siteHeld(name string) bool { return q.siteRule(name) != nil }

func (q *Queue) siteRule(name string) *Rule {
	for i, r := range q.rules.list {
		if r.siteOnly() && r.Filter.Site == name {
			return &q.rules.list[i]
		}
	}
	return nil
}

// ruled says what the rules in force make of a recipient that is due.
func (q *Queue) ruled(env *mail.Envelope, r mail.Recipient, now time.Time) (Ruling, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, rule := range q.rules.list {
		if rule.siteOnly() || rule.over(now) || !rule.Filter.matches(env, r, q.nameOf(r), now) {
			continue
		}
		return ruling(env, r, rule.Verb, rule.Until, rule.Reason, now)
	}
	return Ruling{}, false
}

// Rules returns the rules in force.
func (q *Queue) Rules() []Rule {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	return slices.DeleteFunc(slices.Clone(q.rules.list), func(r Rule) bool { return r.over(now) })
}

// EndRule ends a rule by its ID: its holds are released.
func (q *Queue) EndRule(ctx context.Context, id, by string) error {
	found := false
	err := q.endRules(ctx, by, func(r Rule) bool {
		found = found || r.ID == id
		return r.ID == id
	})
	if err == nil && !found {
		return fmt.Errorf("queue: no rule %s is in force", id)
	}
	return err
}

func (q *Queue) addRule(ctx context.Context, a Action) (string, error) {
	if err := q.ruleTurn(ctx); err != nil {
		return "", err
	}
	defer func() { <-q.ruling }()
	now := time.Now()
	rule := Rule{ID: q.needs.IDs.Next(now).String(), Verb: a.Verb, Filter: a.Filter, Since: now, Until: a.Until, By: a.By, Reason: a.Reason}
	q.mu.Lock()
	list := append(slices.Clone(q.rules.list), rule)
	q.mu.Unlock()
	if len(list) > rulesMax {
		return "", fmt.Errorf("queue: more than %d rules", rulesMax)
	}
	if err := q.saveRules(ctx, list); err != nil {
		return "", err
	}
	q.mu.Lock()
	q.rules.list = list
	q.ruleAlarm(rule)
	q.mu.Unlock()
	q.needs.Events.Emit(event.RuleSet{Rule: rule.ID, Action: string(rule.Verb), Match: rule.Filter.String(), Until: rule.Until, By: rule.By, Reason: rule.Reason})
	return rule.ID, nil
}

// endRules ends the rules for which which is true, and releases what they held.
func (q *Queue) endRules(ctx context.Context, by string, which func(Rule) bool) error {
	if err := q.ruleTurn(ctx); err != nil {
		return err
	}
	ended, err := q.dropRules(ctx, which)
	<-q.ruling
	if err != nil {
		return err
	}
	for _, r := range ended {
		q.needs.Events.Emit(event.RuleSet{Rule: r.ID, Action: string(r.Verb), Match: r.Filter.String(), Until: r.Until, By: by, Ended: true})
		if r.Verb == Hold && !r.siteOnly() {
			if err := q.apply(ctx, Action{Verb: Release, Filter: r.Filter, By: by, Reason: "the rule has ended"}, &Result{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// ruleTurn waits until the stored rules are known, and for other changes of
// them. The turn ends by reading from q.ruling.
func (q *Queue) ruleTurn(ctx context.Context) error {
	select {
	case <-q.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case q.ruling <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// dropRules takes the rules for which which is true out of force, durably.
func (q *Queue) dropRules(ctx context.Context, which func(Rule) bool) (ended []Rule, err error) {
	q.mu.Lock()
	var rest []Rule
	for _, r := range q.rules.list {
		if which(r) {
			ended = append(ended, r)
		} else {
			rest = append(rest, r)
		}
	}
	q.mu.Unlock()
	if len(ended) == 0 {
		return nil, nil
	}
	if err := q.saveRules(ctx, rest); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rules.list = rest
	for _, s := range q.sites {
		q.wakeSite(s, time.Now())
	}
	return ended, nil
}

// ruleAlarm wakes the clerk of rules when one ends. The lock is held.
func (q *Queue) ruleAlarm(r Rule) {
	if !r.Until.IsZero() {
		q.alarm(alarm{at: r.Until, rules: true})
	}
}

func (q *Queue) saveRules(ctx context.Context, list []Rule) error {
	if q.needs.Rules == nil {
		return nil
	}
	doc, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return q.needs.Rules.Save(ctx, doc)
}

func (q *Queue) loadRules(ctx context.Context) error {
	if q.needs.Rules == nil {
		return nil
	}
	doc, err := q.needs.Rules.Load(ctx)
	if err != nil || len(doc) == 0 {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := json.Unmarshal(doc, &q.rules.list); err != nil {
		return err
	}
	for _, r := range q.rules.list {
		q.ruleAlarm(r)
	}
	return nil
}
