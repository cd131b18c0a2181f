package mishap

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/smtp"
)

// Fault is what is to go wrong now. Delay, Throttle and Hide come before one of
// the others.
type Fault struct {
	Rule string // which one: a rule's ID or an address's word, "+550"
	Note string // in words, for the dialogue: "waits 5s (rule slow)"

	Reply smtp.Reply // Code 0: none
	Stall bool
	Drop  bool
	Reset bool

	Delay    time.Duration
	Throttle int // octets a second; 0: as fast as can be
	Hide     []string

	After       int64 // octets of content
	Keep        bool
	Complain    bool
	Certificate string
	TLSVersion  string
}

// Ends reports that the stage is over by it.
func (f *Fault) Ends() bool { return f.Reply.Code != 0 || f.Stall || f.Drop || f.Reset }

// At decides what goes wrong here: rules first, in their order, then what the
// addresses say. It reports false if nothing does. Each part of it is told as an
// event.
func (m *Mishap) At(f Facts) (Fault, bool) {
	var fault Fault
	if m.any(f.Stage) {
		m.byRules(&f, &fault)
	}
	if !fault.Ends() {
		m.byAddress(&f, &fault)
	}
	return fault, fault.Rule != ""
}

// any reports whether a rule is for a stage, without a lock.
func (m *Mishap) any(at Stage) bool {
	for i := range stageIndex {
		if stageIndex[i] == at {
			return m.active[i].Load()
		}
	}
	return false
}

func (m *Mishap) byRules(f *Facts, fault *Fault) {
	now := time.Now()
	m.mu.Lock()
	var told []event.MishapStruck
	for _, k := range m.rules {
		if k.Stage != f.Stage || !k.Expires.IsZero() && !k.Expires.After(now) || !k.Match.fits(f, m.conf.Twins) {
			continue
		}
		k.total.seen++
		if !k.counts.of(keyOf("", &k.Rule, f)).due(&k.Rule, now) {
			continue
		}
		k.total.struck++
		k.total.last = now
		told = append(told, fault.take(&k.Rule, k.reply, f))
		if fault.Ends() {
			break
		}
	}
	m.mu.Unlock()
	for _, e := range told {
		m.conf.Events.Emit(e)
	}
}

func (m *Mishap) byAddress(f *Facts, fault *Fault) {
	for _, r := range m.book.rules(f) {
		var struck int64
		if r.Times > 0 {
			m.mu.Lock()
			c := m.byAddr.of(keyOf(r.ID, &r, f))
			due := c.due(&r, time.Now())
			struck = c.struck
			m.mu.Unlock()
			if !due {
				continue
			}
		}
		var reply smtp.Reply
		if r.Do.Reply != "" {
			reply, _ = replyOf(r.Do.Reply, r.Stage) // the table's own
			if struck > 0 {
				reply.Text += " (" + strconv.FormatInt(struck, 10) + " of " + strconv.Itoa(r.Times) + ", on purpose: " + r.ID + ")"
			} else {
				reply.Text += " (on purpose: " + r.ID + ")"
			}
		}
		m.conf.Events.Emit(fault.take(&r, reply, f))
		if fault.Ends() {
			return
		}
	}
}

// take adds what a rule does, and says so.
func (fault *Fault) take(r *Rule, reply smtp.Reply, f *Facts) event.MishapStruck {
	do := r.Do
	fault.Rule = r.ID
	fault.Delay = min(fault.Delay+time.Duration(do.Delay), DelayMax)
	if do.Throttle > 0 {
		fault.Throttle = speed(r, f)
	}
	fault.Hide = append(fault.Hide, do.Hide...)
	fault.Reply, fault.Stall, fault.Drop, fault.Reset = reply, do.Stall, do.Drop, do.Reset
	fault.Reply.Close = fault.Reply.Close || do.Close
	if fault.Reply.Code != 0 && !spelt(do.Reply) && !strings.Contains(reply.Text, "on purpose") {
		fault.Reply.Text += " (on purpose: rule " + r.ID + ")"
	}
	fault.After, fault.Keep, fault.Complain = do.After, do.Keep, do.Complain
	fault.Certificate, fault.TLSVersion = orElse(do.Certificate, fault.Certificate), orElse(do.TLSVersion, fault.TLSVersion)
	what := do.String()
	note := "on purpose, " + r.name() + ": " + what
	if fault.Note != "" {
		note = fault.Note + "; " + note
	}
	fault.Note = note
	return event.MishapStruck{
		Origin: f.Origin, Rule: r.ID, Stage: string(f.Stage), Action: what, Reply: fault.Reply,
		User: f.user(), Sender: f.Sender, Recipient: f.to(), Fails: fault.Ends() || do.Certificate != "" || do.TLSVersion != "" || len(do.Hide) > 0,
	}
}

// spelt reports whether a rule gives the words of its reply itself.
func spelt(reply string) bool {
	r, err := replyOf(reply, Rcpt)
	if err != nil {
		return false
	}
	return r.Text != meaning(r.Code, Rcpt).Text
}

func (r *Rule) name() string {
	if strings.HasPrefix(r.ID, "+") {
		return r.ID
	}
	return "rule " + r.ID
}

// to is the recipient that events tell of.
func (f *Facts) to() string {
	if f.Recipient == "" && len(f.Recipients) > 0 {
		return f.Recipients[0]
	}
	return f.Recipient
}

// speed is chosen by the seed, once for each session.
func speed(r *Rule, f *Facts) int {
	if r.Do.ThrottleMax <= r.Do.Throttle {
		return r.Do.Throttle
	}
	spread := float64(r.Do.ThrottleMax - r.Do.Throttle + 1)
	return r.Do.Throttle + int(chance(r.Seed, f.Origin.Session, 0)*spread)
}

// String says in words what an action does.
func (a Action) String() string {
	var parts []string
	say := func(is bool, format string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	say(a.Delay > 0, "waits %s", time.Duration(a.Delay))
	say(a.Throttle > 0 && a.ThrottleMax <= a.Throttle, "%d octets a second", a.Throttle)
	say(a.Throttle > 0 && a.ThrottleMax > a.Throttle, "%d to %d octets a second", a.Throttle, a.ThrottleMax)
	say(len(a.Hide) > 0, "hides %s", strings.Join(a.Hide, ", "))
	say(a.Keep, "keeps the message")
	say(a.Reply != "", "says %s", a.Reply)
	say(a.Stall, "never answers")
	say(a.Drop, "drops the connection")
	say(a.Reset, "resets the connection")
	say(a.Certificate != "", "shows a certificate that is wrong (%s)", a.Certificate)
	say(a.TLSVersion != "", "speaks TLS %s alone", a.TLSVersion)
	say(a.Complain, "sends a complaint")
	return strings.Join(parts, ", ")
}
