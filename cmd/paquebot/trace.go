package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"paquebot/internal/api"
)

// TraceCmd is `paquebot trace`.
type TraceCmd struct {
	ID       string `arg:"" help:"The ID of the reply to the accepted message (250 2.0.0 Ok: queued as ID), its Message-ID, or the ID that a provider gave it."`
	Dialogue bool   `help:"The SMTP dialogue too, as far as it was kept."`
}

// Help is shown below the usage.
func (TraceCmd) Help() string {
	return `Tells the life of one message: who brought it, each try, what was said, what
comes next. Exit code 0 when it is delivered or on its way, 1 when it failed
for somebody or is not known. A message is also found by its Message-ID and by
the ID that a provider answered when it took it.

Examples:
  paquebot trace KARQ7M3XZ5V8ABCD
  paquebot trace KARQ7M3XZ5V8ABCD --dialogue
  paquebot trace KARQ7M3XZ5V8ABCD --json
  paquebot trace 20261124.7f3a@shop.example.org`
}

// Run tells it.
func (c *TraceCmd) Run(g *Globals) error {
	ctx, client, err := g.ask()
	if err != nil {
		return err
	}
	t, err := client.Trace(ctx, c.ID)
	if err != nil {
		return fromServer("cannot trace "+c.ID, err)
	}
	switch {
	case g.JSON:
		err = g.printJSON(t)
	case g.Plain:
		for _, e := range t.Events {
			g.record(e.Time, e.Type, string(e.Facts))
		}
	default:
		p := g.page()
		tracePage(p, t, c.Dialogue)
		err = g.show(p)
	}
	if err == nil && t.Envelope != nil && slices.ContainsFunc(t.Envelope.Recipients, func(r api.Recipient) bool { return r.State == "failed" }) {
		return exitCode(exitNo)
	}
	return err
}

// fact is what the page reads of an event; see observe/facts.go.
type fact struct {
	at   time.Time
	kind string
	whom []string // the recipients it is about, several when the same happened to them

	Recipient  string    `json:"recipient"`
	Role       string    `json:"role"`
	Listener   string    `json:"listener"`
	TLS        string    `json:"tls"`
	Method     string    `json:"method"`
	Took       float64   `json:"took_seconds"`
	Repaired   []string  `json:"repaired"`
	Verdict    []string  `json:"verdict"`
	Hops       []string  `json:"hops"`
	Site       string    `json:"site"`
	Transport  string    `json:"transport"`
	Number     uint32    `json:"number"`
	Result     string    `json:"result"`
	Stage      string    `json:"stage"`
	Reply      string    `json:"reply"`
	Cause      string    `json:"cause"`
	Hint       string    `json:"hint"`
	RemoteID   string    `json:"remote_id"`
	Stripped   []string  `json:"stripped"`
	Added      []string  `json:"added"`
	Ours       bool      `json:"ours"`
	Host       string    `json:"host"`
	Addr       string    `json:"addr"`
	Source     string    `json:"source"`
	Verified   string    `json:"verified"`
	Ambiguous  bool      `json:"ambiguous"`
	State      string    `json:"state"`
	Due        time.Time `json:"due"`
	Why        string    `json:"why"`
	Report     string    `json:"report"`
	Action     string    `json:"action"`
	To         string    `json:"to"`
	Dropped    string    `json:"dropped"`
	By         string    `json:"by"`
	Reason     string    `json:"reason"`
	Mailbox    string    `json:"mailbox"`
	Rule       string    `json:"rule"`
	Delivered  int       `json:"delivered"`
	Failed     int       `json:"failed"`
	Dialogue   string    `json:"dialogue"`
	Recipients []string  `json:"recipients"`
}

func factsOf(t api.Trace) []fact {
	out := make([]fact, 0, len(t.Events))
	for _, e := range t.Events {
		f := fact{at: e.Time, kind: e.Type}
		_ = json.Unmarshal(e.Facts, &f) // what does not fit is not shown; --json has it all
		if f.Recipient != "" {
			f.whom = []string{f.Recipient}
		}
		f.Why = plainWhy(f)
		out = append(out, f)
	}
	return out
}

// plainWhy prefers plain words to the reply said again, which stands beside
// them anyway.
func plainWhy(f fact) string {
	if f.Reply != "" && strings.HasSuffix(f.Why, f.Reply) {
		return api.PlainText(f.Reply, f.Stage, f.Ours)
	}
	return f.Why
}

// together is how far apart in time the same may happen to several recipients
// and still be told as one.
const together = time.Second

// grouped tells once what happened to several recipients at the same time.
func grouped(facts []fact) []fact {
	type same struct{ kind, result, host, addr, reply, state, why, due string }
	at := map[same]int{}
	var out []fact
	for _, f := range facts {
		k := same{f.kind, f.Result, f.Host, f.Addr, f.Reply, f.State, f.Why, f.Due.Format(time.DateTime)}
		i, seen := at[k]
		if seen && len(f.whom) > 0 && f.at.Sub(out[i].at) < together {
			out[i].whom = append(out[i].whom, f.whom...)
			continue
		}
		at[k] = len(out)
		out = append(out, f)
	}
	return out
}

// tracePage is mock-up 6.
func tracePage(p *page, t api.Trace, dialogue bool) {
	facts := factsOf(t)
	if e := t.Envelope; e != nil {
		p.headline(e, facts)
		p.line("")
		envelopePage(p, e)
		if len(e.Recipients) > 1 {
			p.line("")
			recipientsPage(p, e)
		}
		p.line("")
	}
	p.timeline(t, facts, dialogue)
	p.meaning(t, facts)
	p.line("")
	more := "more  --json"
	if !dialogue && slices.ContainsFunc(facts, func(f fact) bool { return f.Dialogue != "" }) {
		more = "more  --dialogue   --json"
	}
	if t.Envelope != nil && t.Envelope.Live {
		more += "   queue show " + t.ID.String()
	}
	p.line("%s", more)
}

// headline says in one or two sentences how it stands.
func (p *page) headline(e *api.Envelope, facts []fact) {
	if len(e.Recipients) == 1 {
		p.text("", "", p.one(e, e.Recipients[0], facts))
	} else {
		p.text("", "", many(e))
	}
	for _, f := range facts {
		if f.kind == "report.sent" && f.Report != "" {
			p.text("", "", fmt.Sprintf("%s was told at %s (%s %s).", f.To, p.clock(f.at), reportNoun(f.Action), f.Report))
		}
	}
}

func reportNoun(action string) string {
	if action == "failed" {
		return "bounce"
	}
	return "report"
}

func (p *page) one(e *api.Envelope, r api.Recipient, facts []fact) string {
	took := lastChange(r, facts).Sub(e.Arrived)
	tries := tryWords(max(r.Tries, 1))
	switch r.State {
	case "delivered":
		return fmt.Sprintf("%s to %s after %s in %s.", p.paint(green, "DELIVERED"), r.Address, tries, span(took))
	case "failed":
		return fmt.Sprintf("%s to %s after %s in %s%s.", p.paint(red, "BOUNCED"), r.Address, tries, span(took), because(r))
	case "held":
		return fmt.Sprintf("%s for %s%s.", p.paint(yellow, "HELD"), r.Address, untilWords(p, r))
	case "deleted":
		return fmt.Sprintf("%s for %s by an operator.", p.paint(yellow, "DELETED"), r.Address)
	case "expanded":
		return fmt.Sprintf("EXPANDED: %s stands for others.", r.Address)
	case "waiting", "ready", "in_attempt":
		if r.Tries == 0 && r.Why != "" {
			return fmt.Sprintf("%s for %s: its turn has not come%s.", p.paint(yellow, "WAITING"), r.Address, because(r))
		}
		if r.Tries == 0 {
			return fmt.Sprintf("%s for %s: the first try is %s.", p.paint(yellow, "WAITING"), r.Address, p.dueWords(r.Due))
		}
		return fmt.Sprintf("%s for %s after %s, next try %s%s.", p.paint(yellow, "WAITING"), r.Address, tries, p.dueWords(r.Due), because(r))
	}
	return fmt.Sprintf("How it stands for %s is forgotten.", r.Address)
}

func (p *page) dueWords(t time.Time) string {
	if t.IsZero() {
		return "now"
	}
	return p.in(t)
}

func because(r api.Recipient) string {
	switch {
	case r.Why != "":
		return ": " + strings.TrimSuffix(r.Why, ".")
	case r.Reply != "":
		return ": " + r.Reply
	}
	return ""
}

func untilWords(p *page, r api.Recipient) string {
	if r.Due.IsZero() {
		return ", until it is released"
	}
	return ", until " + p.clock(r.Due)
}

// lastChange is when the recipient came to stand as it does.
func lastChange(r api.Recipient, facts []fact) time.Time {
	at := r.LastTry
	for _, f := range facts {
		if f.kind == "recipient.settled" && f.Recipient == r.Address {
			at = f.at
		}
	}
	return at
}

func many(e *api.Envelope) string {
	n := map[string]int64{}
	for _, r := range e.Recipients {
		n[r.State]++
	}
	var words []string
	for _, state := range []string{"delivered", "waiting", "ready", "in_attempt", "held", "failed", "deleted", "expanded", "unknown"} {
		if n[state] > 0 {
			words = append(words, count(n[state])+" "+strings.ReplaceAll(state, "in_attempt", "being tried"))
		}
	}
	return plural(int64(len(e.Recipients)), "recipient") + ": " + strings.Join(words, ", ") + "."
}
