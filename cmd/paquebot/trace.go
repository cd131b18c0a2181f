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
	ID       string `arg:"" help:"The ID of the reply to the accepted message: 250 2.0.0 Ok: queued as ID."`
	Dialogue bool   `help:"The SMTP dialogue too, as far as it was kept."`
}

// Help is shown below the usage.
func (TraceCmd) Help() string {
	return `Tells the life of one message: who brought it, each try, what was said, what
comes next. Exit code 0 when it is delivered or on its way, 1 when it failed
for somebody or is not known.

Examples:
  paquebot trace KARQ7M3XZ5V8ABCD
  paquebot trace KARQ7M3XZ5V8ABCD --json`
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

// rowWidth is where the text of a row of the timeline begins.
const rowWidth = 25

// row writes one row: time, word, text; continuation lines stand below the text.
func (p *page) row(at, word, text string, more ...string) {
	indent := strings.Repeat(" ", rowWidth)
	first := cell(at, 12) + "  " + p.paint(wordStyle[word], cell(word, 10)) + " "
	p.text(first, indent, text)
	for _, m := range more {
		if m != "" {
			p.text(indent, indent, m)
		}
	}
}

var wordStyle = map[string]string{"delivered": green, "failed": red, "refused": red, "deferred": yellow, "held": yellow}

// timeline writes the events, with the date where it changes.
func (p *page) timeline(t api.Trace, facts []fact, dialogue bool) {
	if len(facts) == 0 {
		p.line("Its history is not kept, or forgotten.")
		return
	}
	day := p.now.In(p.zone).Format(time.DateOnly)
	several := t.Envelope != nil && len(t.Envelope.Recipients) > 1
	last := ""
	for _, f := range grouped(facts) {
		local := f.at.In(p.zone)
		if d := local.Format(time.DateOnly); d != day {
			p.line("%s", local.Format("Monday, 2 January 2006"))
			day = d
		}
		at := local.Format("15:04:05.000")
		if f.kind == "recipient.settled" && last == "delivery.tried" {
			at = "" // stands under the try it follows from
		}
		if f.kind != "message.finished" {
			p.event(at, f, t, several)
			last = f.kind
		}
		if dialogue && f.Dialogue != "" {
			for l := range strings.Lines(f.Dialogue) {
				p.line("%s%s", strings.Repeat(" ", rowWidth), oneLine(strings.TrimRight(l, "\n")))
			}
		}
	}
}

func (p *page) event(at string, f fact, t api.Trace, several bool) {
	who := ""
	if several && len(f.whom) > 0 {
		who = whom(f.whom) + ": "
	}
	switch f.kind {
	case "message.accepted":
		p.row(at, "accepted", f.arrival(), "on disk after "+span(seconds(f.Took))+", then: 250 2.0.0 Ok: queued",
			listed("repaired: ", f.Repaired), listed("noted: ", f.Verdict))
	case "message.refused":
		p.row(at, "refused", f.Reply, prefixed("rule: ", f.Rule), f.Cause)
	case "message.routed":
		p.row(at, "routed", f.way())
	case "delivery.tried":
		p.row(at, fmt.Sprintf("try %d", max(f.Number, 1)), who+f.peer(), f.said())
	case "recipient.settled":
		p.settled(at, who, f)
	case "report.sent":
		if f.Dropped != "" {
			p.row(at, "no report", f.Dropped)
		} else {
			p.row(at, "told", fmt.Sprintf("%s to %s (%s)", reportNoun(f.Action), f.To, f.Report))
		}
	case "queue.acted":
		p.row(at, f.Action, "by "+f.By+quoted(f.Reason))
	case "message.caught":
		p.row(at, "caught", "mailbox "+f.Mailbox)
	default:
		p.row(at, f.kind, "")
	}
}

// whom names up to two recipients.
func whom(list []string) string {
	switch len(list) {
	case 1:
		return list[0]
	case 2:
		return list[0] + ", " + list[1]
	}
	return fmt.Sprintf("%s and %d more", list[0], len(list)-1)
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func listed(prefix string, list []string) string { return prefixed(prefix, strings.Join(list, ", ")) }

// arrival says how a message came in: "587, TLS 1.3, AUTH SCRAM-SHA-256".
func (f fact) arrival() string {
	words := []string{}
	if port := portName(f.Listener); port != "" {
		words = append(words, port)
	} else if f.Role == "local" {
		words = append(words, "made here")
	}
	if f.TLS != "" {
		words = append(words, f.TLS)
	} else if f.Role != "local" {
		words = append(words, "no TLS")
	}
	if f.Method != "" {
		words = append(words, "AUTH "+f.Method)
	}
	return strings.Join(words, ", ")
}

func (f fact) way() string {
	how := f.Transport
	if how == "" || how == "smtp" {
		how = "to " + f.Site
	}
	if len(f.Hops) == 0 {
		return how
	}
	return how + ": " + strings.Join(f.Hops, ", ")
}

// peer says whom a try was made with.
func (f fact) peer() string {
	s := f.Host
	if s == "" {
		s = f.Site
	}
	if f.Addr != "" {
		s += " [" + host(f.Addr) + "]"
	}
	switch {
	case f.TLS != "" && strings.HasPrefix(f.Verified, "dane"):
		s += " " + f.TLS + ", DANE ok"
	case f.TLS != "" && f.Verified == "pkix":
		s += " " + f.TLS + ", certificate verified"
	case f.TLS != "":
		s += " " + f.TLS
	}
	if f.Source != "" {
		s += ", from " + f.Source
	}
	return s
}

// said quotes what was said, with where in the conversation.
func (f fact) said() string {
	s := f.Reply
	if f.Stage != "" && s != "" && !(f.Ours && f.Result == "accepted") {
		where := strings.ToUpper(f.Stage)
		if f.Ours {
			where = f.Stage + ", our words"
		}
		s = where + ": " + s
	}
	if f.Cause != "" && f.Ours {
		s += " (" + f.Cause + ")"
	}
	if f.Ambiguous {
		s += " (after the final dot: it may have arrived)"
	}
	return s
}

func (p *page) settled(at, who string, f fact) {
	switch f.State {
	case "waiting":
		if strings.HasPrefix(f.Why, "retry: ") || strings.HasPrefix(f.Why, "release: ") {
			return // the operator's own row says it
		}
		p.row(at, "deferred", who+nextWords(p, f))
	case "failed":
		p.row(at, "failed", who+orWords(f.Why, "for good"))
	case "delivered":
		words := "they took responsibility for it"
		if f.Ours {
			words = "kept here"
		}
		p.row(at, "delivered", who+orWords(strings.TrimPrefix(f.Why, "delivered"), words))
	case "held":
		until := "until it is released"
		if !f.Due.IsZero() {
			until = "until " + p.clock(f.Due)
		}
		p.row(at, "held", who+strings.TrimPrefix(orWords(f.Why, ""), "held: ")+", "+until)
	default:
		p.row(at, f.State, who+f.Why)
	}
}

func nextWords(p *page, f fact) string {
	s := f.Why
	if s != "" {
		s = strings.TrimSuffix(s, ".") + ". "
	}
	if f.Due.IsZero() {
		return s + "Tried as soon as possible"
	}
	return s + "Next try " + p.clock(f.Due)
}

func orWords(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// meanings say what to do about an end nobody wanted, by the words in why.
var meanings = []struct{ word, text string }{
	{"no such user", "The address does not exist there. Correct it in the list it came from."},
	{"no such domain", "The domain does not exist, or takes no mail. Look for a misspelling."},
	{"takes no mail", "The domain says that it takes no mail at all."},
	{"mailbox is full", "The recipient's mailbox is full. Reach them another way."},
	{"block list", "Their system finds our address on a block list. Look for the list's name in the reply and ask to be removed once the cause is mended."},
	{"SPF", "Publish SPF for the sender's domain that names our address, and sign with DKIM."},
	{"reverse name", "Our address needs a reverse name that resolves back to it. Ask the network's owner."},
	{"too large", "Send it smaller, or as a link."},
	{"do not relay", "Their server does not serve this domain; the route or the MX record leads to the wrong host."},
	{"credentials", "The smart host refuses our user name or password. Mail waits until it takes them."},
	{"cannot be reached", "Nothing answers there. The host may be down, or a network on the way filters the port. See for yourself: paquebot send --server HOST:PORT --from A --to B --dry-run"},
	{"does not answer", "Nothing answers there. The host may be down, or a network on the way filters the port. See for yourself: paquebot send --server HOST:PORT --from A --to B --dry-run"},
	{"too old", "It was tried for as long as [queue] expire says."},
}

func (p *page) meaning(t api.Trace, facts []fact) {
	if t.Envelope == nil {
		return
	}
	newest := map[string]string{} // by recipient: why it stands as it does
	for _, f := range facts {
		if f.kind == "recipient.settled" {
			newest[f.Recipient] = f.Why
		}
	}
	why := ""
	for _, r := range t.Envelope.Recipients {
		if r.State == "failed" || r.State == "waiting" {
			why += r.Why + " " + newest[r.Address] + " "
		}
	}
	for _, m := range meanings {
		if why != "" && strings.Contains(why, m.word) {
			p.line("")
			p.text("what it means  ", "               ", m.text)
			return
		}
	}
}
