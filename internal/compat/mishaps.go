package compat

import (
	"math"
	"strconv"
	"strings"
	"sync"

	"paquebot/internal/mishap"
)

// OverMishap keeps chaos and Jim as rules of failure, where the page and
// /api/dev/rules show them beside all others. Their chance comes from a fixed
// seed: the same sessions in the same order fail alike.
func OverMishap(room *mishap.Mishap) Mishaps { return &overMishap{room: room} }

type overMishap struct {
	room *mishap.Mishap
	mu   sync.Mutex
	jim  *Jim
}

const chaosSeed = 1

// Chaos reads the triggers off the rules in force.
func (o *overMishap) Chaos() Chaos {
	c := Chaos{Sender: Trigger{ErrorCode: 451}, Recipient: Trigger{ErrorCode: 451}, Authentication: Trigger{ErrorCode: 535}}
	for id, t := range chaosRules(&c) {
		v, err := o.room.Rule(id)
		if err != nil {
			continue
		}
		t.trigger.ErrorCode, _ = strconv.Atoi(v.Do.Reply[:min(3, len(v.Do.Reply))])
		t.trigger.Probability = int(math.Round(v.Probability * 100))
	}
	return c
}

type chaosRule struct {
	trigger *Trigger
	stage   mishap.Stage
}

func chaosRules(c *Chaos) map[string]chaosRule {
	return map[string]chaosRule{
		"chaos-sender":    {&c.Sender, mishap.Mail},
		"chaos-recipient": {&c.Recipient, mishap.Rcpt},
		"chaos-auth":      {&c.Authentication, mishap.Auth},
	}
}

// SetChaos replaces the three rules. A trigger that never strikes is no rule.
func (o *overMishap) SetChaos(c Chaos) error {
	var rules []mishap.Rule
	for id, t := range chaosRules(&c) {
		_ = o.room.Remove(id) // there may be none
		if t.trigger.Probability == 0 {
			continue
		}
		rules = append(rules, mishap.Rule{
			ID: id, Note: "chaos, set as Mailpit's", Stage: t.stage, Seed: chaosSeed,
			Probability: float64(t.trigger.Probability) / 100, Do: mishap.Action{Reply: strconv.Itoa(t.trigger.ErrorCode)},
		})
	}
	_, err := o.room.Add("", rules...)
	return err
}

// Jim returns the monkey as he was set; rules of his that somebody took away
// have sent him to sleep.
func (o *overMishap) Jim() (Jim, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.jim == nil || len(jimRules(*o.jim)) > 0 && !o.has() {
		return Jim{}, false
	}
	return *o.jim, true
}

func (o *overMishap) has() bool {
	for _, v := range o.room.Rules() {
		if strings.HasPrefix(v.ID, jimPrefix) {
			return true
		}
	}
	return false
}

// SetJim replaces his rules.
func (o *overMishap) SetJim(j *Jim) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, v := range o.room.Rules() {
		if strings.HasPrefix(v.ID, jimPrefix) {
			_ = o.room.Remove(v.ID)
		}
	}
	o.jim = nil
	if j == nil {
		return nil
	}
	if _, err := o.room.Add("", jimRules(*j)...); err != nil {
		return err
	}
	given := *j
	o.jim = &given
	return nil
}

const jimPrefix = "jim-"

// jimRules are Jim's deeds by stage. MailHog may hang up at any command; here at
// those of a transaction.
func jimRules(j Jim) []mishap.Rule {
	var rules []mishap.Rule
	add := func(name string, stage mishap.Stage, chance float64, do mishap.Action) {
		if chance > 0 {
			rules = append(rules, mishap.Rule{
				ID: jimPrefix + name, Note: "Jim, MailHog's monkey", Stage: stage, Seed: chaosSeed, Probability: chance, Do: do,
			})
		}
	}
	add("accept", mishap.Connect, 1-j.AcceptChance, mishap.Action{Drop: true})
	if low := int(j.LinkSpeedMin); low > 0 {
		add("speed", mishap.Connect, j.LinkSpeedAffect, mishap.Action{Throttle: low, ThrottleMax: max(low, int(j.LinkSpeedMax))})
	}
	for _, s := range []mishap.Stage{mishap.Ehlo, mishap.Mail, mishap.Rcpt, mishap.Data} {
		add("disconnect-"+string(s), s, j.DisconnectChance, mishap.Action{Drop: true})
	}
	add("sender", mishap.Mail, j.RejectSenderChance, mishap.Action{Reply: "550"})
	add("recipient", mishap.Rcpt, j.RejectRecipientChance, mishap.Action{Reply: "550"})
	add("auth", mishap.Auth, j.RejectAuthChance, mishap.Action{Reply: "535"})
	return rules
}
