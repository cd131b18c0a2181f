package main

import (
	"bufio"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"paquebot/internal/api"
	"paquebot/internal/config"
	"paquebot/internal/mail"
)

// QueueCmd is `paquebot queue`.
type QueueCmd struct {
	Summary QueueSummaryCmd `cmd:"" help:"Where mail waits, why, and until when."`
	List    QueueListCmd    `cmd:"" help:"List messages."`
	Show    QueueShowCmd    `cmd:"" help:"Show one message."`
	Hold    QueueHoldCmd    `cmd:"" help:"Do not try mail until released, or for a time."`
	Release QueueReleaseCmd `cmd:"" help:"End holds."`
	Retry   QueueRetryCmd   `cmd:"" help:"Try now."`
	Bounce  QueueBounceCmd  `cmd:"" help:"Give up and tell the senders."`
	Delete  QueueDeleteCmd  `cmd:"" help:"Remove and tell nobody."`
	Rules   QueueRulesCmd   `cmd:"" help:"List the rules in force."`
	EndRule QueueEndRuleCmd `cmd:"" name:"end-rule" help:"End a rule before its time."`
}

// Help is shown below the usage.
func (QueueCmd) Help() string {
	return `Examples:
  paquebot queue summary
  paquebot queue list --site yahoo --older-than 2h
  paquebot queue hold --site yahoo --for 2h --reason "too many complaints"`
}

// Which says which mail is meant.
type Which struct {
	ID        []string `arg:"" optional:"" help:"Message IDs."`
	Site      string   `help:"Mail for a receiving site, as queue summary names it."`
	Domain    string   `help:"Mail for a recipient domain."`
	Sender    string   `help:"Mail of a sender: an address, or @domain."`
	Account   string   `help:"Mail of an account."`
	OlderThan string   `placeholder:"AGE" help:"Mail that arrived longer ago: 2h, 3d."`
	State     string   `enum:",ready,waiting,held,in_attempt" default:"" help:"ready, waiting, held or in_attempt."`
}

// filters makes one filter for each ID, or one for all.
func (w *Which) filters(all bool) ([]api.Filter, error) {
	f := api.Filter{Site: w.Site, Domain: w.Domain, Sender: w.Sender, Account: w.Account, State: w.State, All: all}
	if w.OlderThan != "" {
		d, err := config.ParseDuration(w.OlderThan)
		if err != nil {
			return nil, unsure("--older-than", err, "")
		}
		f.OlderThanSeconds = d.Seconds()
	}
	if len(w.ID) == 0 {
		return []api.Filter{f}, nil
	}
	var out []api.Filter
	for _, s := range w.ID {
		id, err := mail.ParseID(s)
		if err != nil {
			return nil, unsure(s, err, "it stands in the reply to the accepted message: 250 2.0.0 Ok: queued as ID")
		}
		one := f
		one.ID = id
		out = append(out, one)
	}
	return out, nil
}

// words say it back.
func (w *Which) words() string {
	var out []string
	if len(w.ID) > 0 {
		out = append(out, strings.Join(w.ID, ", "))
	}
	for _, p := range [][2]string{{"for site ", w.Site}, {"for ", w.Domain}, {"from ", w.Sender}, {"of account ", w.Account}, {"older than ", w.OlderThan}, {"that is ", w.State}} {
		if p[1] != "" {
			out = append(out, p[0]+p[1])
		}
	}
	if len(out) == 0 {
		return "all mail"
	}
	return "mail " + strings.Join(out, ", ")
}

// flags say it as it was typed, for commands to paste.
func (w *Which) flags() string {
	var out []string
	out = append(out, w.ID...)
	for _, p := range [][2]string{{"--site", w.Site}, {"--domain", w.Domain}, {"--sender", w.Sender}, {"--account", w.Account}, {"--older-than", w.OlderThan}, {"--state", w.State}} {
		if p[1] != "" {
			out = append(out, p[0]+" "+shellQuote(p[1]))
		}
	}
	return strings.Join(out, " ")
}

func shellQuote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t'\"\\$*?<>|&;()[]{}!#~`") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// QueueListCmd lists messages.
type QueueListCmd struct {
	Which
	Limit int `default:"100" help:"At most so many; 0 for all."`
}

// pageMax is what is asked of the server at once.
const pageMax = 1000

// Run lists them.
func (c *QueueListCmd) Run(g *Globals) error {
	filters, err := c.filters(false)
	if err != nil {
		return err
	}
	ctx, client, err := g.ask()
	if err != nil {
		return err
	}
	all := api.MessageList{Schema: "paquebot.queue.list/1", Messages: []api.Envelope{}}
	for _, f := range filters {
		after := ""
		for c.Limit == 0 || len(all.Messages) < c.Limit {
			want := pageMax
			if c.Limit > 0 {
				want = min(pageMax, c.Limit-len(all.Messages))
			}
			part, err := client.QueueList(ctx, f, after, want)
			if err != nil {
				return fromServer("cannot list the queue", err)
			}
			all.Messages = append(all.Messages, part.Messages...)
			if after = part.Next; after == "" {
				break
			}
		}
		all.Next = after
	}
	return c.print(g, all)
}

func (c *QueueListCmd) print(g *Globals, all api.MessageList) error {
	switch {
	case g.JSON:
		return g.printJSON(all)
	case g.Plain:
		for _, m := range all.Messages {
			for _, r := range m.Recipients {
				g.record(m.ID, m.Arrived, m.Size, sender(m.Sender), r.Address, r.State, r.Site, r.Tries, r.Due, r.Reply)
			}
		}
		return nil
	}
	p := g.page()
	listPage(p, all, c.words())
	return g.show(p)
}

func sender(s string) string {
	if s == "" {
		return "<>"
	}
	return s
}

func listPage(p *page, all api.MessageList, words string) {
	if len(all.Messages) == 0 {
		if words == "all mail" {
			p.line("The queue is empty.")
		} else {
			p.line("There is no %s.", words)
		}
		return
	}
	p.line("%s", p.paint(bold, fmt.Sprintf("%-16s  %-6s %9s  %s", "ID", "AGE", "SIZE", "FROM")))
	for _, m := range all.Messages {
		p.line("%s  %s %s  %s", m.ID, cell(age(p.now.Sub(m.Arrived)), 6), cell(size(m.Size), -9), cut(sender(m.Sender), p.width-37))
		for _, r := range m.Recipients {
			p.line("  %s %s", p.state(r.State, 11), cut("to "+r.Address+recipientWhen(p, r), p.width-15))
			if why := whyWords(r); why != "" {
				p.line("              %s", cut(why, p.width-14))
			}
		}
	}
	if all.Next != "" {
		p.line("")
		p.line("There are more: --limit 0 shows all.")
	}
}

func recipientWhen(p *page, r api.Recipient) string {
	switch {
	case r.State == "waiting" && !r.Due.IsZero():
		return ", next try " + p.in(r.Due)
	case r.State == "held" && !r.Due.IsZero():
		return ", until " + p.clock(r.Due)
	case r.State == "held":
		return ", until released"
	}
	return ""
}

// age is a span that nobody wants in milliseconds.
func age(d time.Duration) string {
	if d < time.Second {
		return "now"
	}
	return span(d)
}

func whyWords(r api.Recipient) string {
	switch {
	case r.Why != "" && r.Reply != "" && !strings.Contains(r.Why, r.Reply):
		return r.Why + ": " + r.Reply
	case r.Why != "":
		return r.Why
	}
	return r.Reply
}

// state writes a state with its colour.
func (p *page) state(s string, width int) string {
	styles := map[string]string{"delivered": green, "failed": red, "waiting": yellow, "held": yellow}
	words := map[string]string{"in_attempt": "trying"}
	w := cmp.Or(words[s], s)
	return p.paint(styles[s], cell(w, width))
}

// QueueShowCmd shows a message.
type QueueShowCmd struct {
	ID  string `arg:"" help:"The message."`
	Raw bool   `help:"Its bytes instead."`
}

// Help is shown below the usage.
func (QueueShowCmd) Help() string {
	return `Examples:
  paquebot queue show KARQ7M3XZ5V8ABCD
  paquebot queue show KARQ7M3XZ5V8ABCD --raw > message.eml
  paquebot queue show KARQ7M3XZ5V8ABCD --json`
}

// Run shows it.
func (c *QueueShowCmd) Run(g *Globals) error {
	ctx, client, err := g.ask()
	if err != nil {
		return err
	}
	if c.Raw {
		body, err := client.Raw(ctx, c.ID)
		if err != nil {
			return fromServer("cannot show "+c.ID, err)
		}
		defer body.Close()
		_, err = bufio.NewReader(body).WriteTo(g.Stdout)
		return err
	}
	m, err := client.QueueShow(ctx, c.ID)
	if err != nil {
		return fromServer("cannot show "+c.ID, err)
	}
	switch {
	case g.JSON:
		return g.printJSON(m)
	case g.Plain:
		for _, r := range m.Recipients {
			g.record(m.ID, m.Arrived, m.Size, sender(m.Sender), r.Address, r.State, r.Site, r.Tries, r.Due, r.Reply)
		}
		return nil
	}
	p := g.page()
	envelopePage(p, &m.Envelope)
	p.line("")
	recipientsPage(p, &m.Envelope)
	p.line("")
	verb := "hold"
	if slices.ContainsFunc(m.Recipients, func(r api.Recipient) bool { return r.State == "held" }) {
		verb = "release"
	}
	p.line("more  trace %s   queue %s %s   --raw", m.ID, verb, m.ID)
	return g.show(p)
}

func recipientsPage(p *page, e *api.Envelope) {
	for _, r := range e.Recipients {
		tries := ""
		if r.Tries > 0 {
			tries = ", " + tryWords(r.Tries)
		}
		p.line("%s %s", p.state(r.State, 11), cut(r.Address+tries+recipientWhen(p, r), p.width-12))
		if r.Alias != "" {
			p.line("            alias %s", oneLine(r.Alias))
		}
		if why := whyWords(r); why != "" {
			p.text("", "            ", why)
		}
	}
}

func tryWords(n uint32) string {
	if n == 1 {
		return "1 try"
	}
	return count(int64(n)) + " tries"
}

// envelopePage is the head of trace and show.
func envelopePage(p *page, e *api.Envelope) {
	from := sender(e.Sender)
	if e.Origin.Account != "" {
		from += ", account " + e.Origin.Account
	}
	if e.Origin.Client != "" {
		from += ", " + host(e.Origin.Client)
	}
	if port := portName(e.Origin.Port); port != "" {
		from += " on " + port
	}
	p.text("From      ", "          ", from)
	people := plural(int64(len(e.Recipients)), "recipient")
	if len(e.Recipients) == 1 {
		people = "one recipient"
	}
	p.line("Subject   %s %s", cell(e.Subject, p.width-36), cell(size(e.Size)+", "+people, -25))
	if e.MessageID != "" {
		p.line("Message   <%s>", oneLine(e.MessageID))
	}
}

func host(addrPort string) string {
	if i := strings.LastIndexByte(addrPort, ':'); i > 0 {
		return strings.Trim(addrPort[:i], "[]")
	}
	return addrPort
}

func portName(address string) string {
	return address[strings.LastIndexByte(address, ':')+1:]
}

// Help is shown below the usage.
func (QueueListCmd) Help() string {
	return `Examples:
  paquebot queue list --site yahoo
  paquebot queue list --sender @news.example.org --older-than 2h
  paquebot queue list --plain --limit 0 | cut -f5`
}
