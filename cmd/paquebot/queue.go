package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

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
	p.line("%s", p.paint(bold, "ID                 AGE    SIZE      FROM"))
	for _, m := range all.Messages {
		p.line("%s  %s %s %s", m.ID, cell(span(p.now.Sub(m.Arrived)), 6), cell(size(m.Size), -9), cut(sender(m.Sender), p.width-38))
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
	}
	return ""
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
	p.line("more  trace %s   queue hold %s   --raw", m.ID, m.ID)
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

// QueueRulesCmd lists rules.
type QueueRulesCmd struct{}

// Run lists them.
func (QueueRulesCmd) Run(g *Globals) error {
	ctx, client, err := g.ask()
	if err != nil {
		return err
	}
	list, err := client.Rules(ctx)
	if err != nil {
		return fromServer("cannot list the rules", err)
	}
	switch {
	case g.JSON:
		return g.printJSON(list)
	case g.Plain:
		for _, r := range list.Rules {
			g.record(r.ID, r.Action, r.Match, r.Until, r.By, r.Reason)
		}
		return nil
	}
	p := g.page()
	if len(list.Rules) == 0 {
		p.line("No rule is in force.")
	}
	for _, r := range list.Rules {
		until := "until it is ended"
		if !r.Until.IsZero() {
			until = "until " + p.clock(r.Until)
		}
		p.line("%s  %s %s, %s", r.ID, r.Action, oneLine(r.Match), until)
		p.line("                  by %s, %s ago%s", oneLine(r.By), span(p.now.Sub(r.Since)), quoted(r.Reason))
		p.line("                  undo  paquebot queue end-rule %s", r.ID)
	}
	return g.show(p)
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return `, "` + oneLine(s) + `"`
}

// QueueEndRuleCmd ends one.
type QueueEndRuleCmd struct {
	ID string `arg:"" help:"The rule."`
}

// Run ends it.
func (c *QueueEndRuleCmd) Run(g *Globals) error {
	ctx, client, err := g.ask()
	if err != nil {
		return err
	}
	res, err := client.EndRule(ctx, c.ID)
	if err != nil {
		return fromServer("cannot end it", err)
	}
	return g.done(res, "")
}

// doing is what the acting commands share.
type doing struct {
	Which
	All    bool   `help:"Mean all mail."`
	Reason string `help:"For those who wonder later."`
	DryRun bool   `short:"n" help:"Count only."`
	Yes    bool   `short:"y" help:"Do not ask."`
}

// QueueHoldCmd holds.
type QueueHoldCmd struct {
	doing
	For string `placeholder:"DURATION" help:"How long, like 2h; without it, until released."`
}

// QueueReleaseCmd releases.
type QueueReleaseCmd struct{ doing }

// QueueRetryCmd retries.
type QueueRetryCmd struct{ doing }

// QueueBounceCmd bounces.
type QueueBounceCmd struct{ doing }

// QueueDeleteCmd deletes.
type QueueDeleteCmd struct{ doing }

// Help is shown below the usage.
func (QueueHoldCmd) Help() string {
	return `What comes later and matches is held too, until --for is over or the rule is
ended; named messages alone are held once.

Examples:
  paquebot queue hold --site yahoo --for 2h --reason "too many complaints"
  paquebot queue hold --account app-7 --dry-run
  paquebot queue hold KARQ7M3XZ5V8ABCD`
}

// Help is shown below the usage.
func (QueueReleaseCmd) Help() string {
	return `Examples:
  paquebot queue release --site yahoo
  paquebot queue release --state held --older-than 1d
  paquebot queue release KARQ7M3XZ5V8ABCD`
}

// Help is shown below the usage.
func (QueueRetryCmd) Help() string {
	return `A site that is left alone for a while is tried again, too.

Examples:
  paquebot queue retry --site corp.example
  paquebot queue retry --all
  paquebot queue retry KARQ7M3XZ5V8ABCD`
}

// Help is shown below the usage.
func (QueueBounceCmd) Help() string {
	return `The senders are told as for any failure. This cannot be taken back.

Examples:
  paquebot queue bounce --domain exmaple.org --dry-run
  paquebot queue bounce --site dead.example --older-than 2d --reason "closed"
  paquebot queue bounce KARQ7M3XZ5V8ABCD`
}

// Help is shown below the usage.
func (QueueDeleteCmd) Help() string {
	return `Nobody is told, and nothing is kept. This cannot be taken back; see
paquebot queue show ID --raw to save a message first.

Examples:
  paquebot queue delete --sender spam@example.org --dry-run
  paquebot queue delete --account leaked-key --reason "spam run" --yes
  paquebot queue delete KARQ7M3XZ5V8ABCD`
}

// Help is shown below the usage.
func (QueueListCmd) Help() string {
	return `Examples:
  paquebot queue list --site yahoo
  paquebot queue list --sender @news.example.org --older-than 2h
  paquebot queue list --plain --limit 0 | cut -f5`
}

// Help is shown below the usage.
func (QueueSummaryCmd) Help() string {
	return `Examples:
  paquebot queue summary
  paquebot queue summary --by reason
  paquebot queue summary --json`
}

// Run holds; mail that comes later is held too, unless messages were named.
func (c *QueueHoldCmd) Run(g *Globals) error {
	a := api.Action{Action: api.Hold, Always: c.For == "" && len(c.ID) == 0}
	if c.For != "" {
		d, err := config.ParseDuration(c.For)
		if err != nil {
			return unsure("--for", err, "")
		}
		a.Seconds = d.Seconds()
	}
	return c.do(g, a)
}

// Run releases.
func (c *QueueReleaseCmd) Run(g *Globals) error { return c.do(g, api.Action{Action: api.Release}) }

// Run retries.
func (c *QueueRetryCmd) Run(g *Globals) error { return c.do(g, api.Action{Action: api.Retry}) }

// Run bounces.
func (c *QueueBounceCmd) Run(g *Globals) error { return c.do(g, api.Action{Action: api.Bounce}) }

// Run deletes.
func (c *QueueDeleteCmd) Run(g *Globals) error { return c.do(g, api.Action{Action: api.Delete}) }

// askAbove is how many messages an action may touch without asking a person.
const askAbove = 1000

// do previews, asks where that is due, acts and tells (ux.md §3.2.8).
func (c *doing) do(g *Globals, a api.Action) error {
	filters, err := c.filters(c.All)
	if err != nil {
		return err
	}
	if filters[0].Empty() && !c.All {
		return unsure("which mail", errors.New("nothing says which"), "Name message IDs, or --site, --domain, --sender, --account, --older-than, --state; or --all.")
	}
	ctx, client, err := g.ask()
	if err != nil {
		return err
	}
	a.Reason = c.Reason
	run := func(dry bool) (api.ActionResult, error) {
		var sum api.ActionResult
		for _, f := range filters {
			one := a
			one.Filter, one.DryRun = f, dry
			res, err := client.Act(ctx, one)
			if err != nil {
				return sum, fromServer("cannot "+a.Action, err)
			}
			res.Messages, res.Recipients = res.Messages+sum.Messages, res.Recipients+sum.Recipients
			res.InAttempt, res.RulesEnded = res.InAttempt+sum.InAttempt, res.RulesEnded+sum.RulesEnded
			sum = res
		}
		return sum, nil
	}
	if c.DryRun {
		res, err := run(true)
		if err != nil {
			return err
		}
		return c.told(g, a, res)
	}
	if g.asks() && !c.Yes {
		if ok, err := c.confirm(g, a, run); err != nil || !ok {
			return err
		}
	}
	res, err := run(false)
	if err != nil {
		return err
	}
	return c.told(g, a, res)
}

// asks reports that a person is there to be asked.
func (g *Globals) asks() bool {
	in, ok := g.Stdin.(*os.File)
	return ok && g.terminal() && term.IsTerminal(int(in.Fd()))
}

// confirm asks before what cannot be taken back, and before much.
func (c *doing) confirm(g *Globals, a api.Action, run func(bool) (api.ActionResult, error)) (bool, error) {
	final := a.Action == api.Bounce || a.Action == api.Delete
	res, err := run(true)
	if err != nil {
		return false, err
	}
	if !final && res.Messages <= askAbove {
		return true, nil
	}
	fmt.Fprintf(g.Stderr, "%s %s: %s. Go on? [y/N] ", a.Action, c.words(), touched(res))
	answer, _ := bufio.NewReader(g.Stdin).ReadString('\n')
	if strings.ToLower(strings.TrimSpace(answer)) != "y" {
		fmt.Fprintln(g.Stderr, "Nothing was done.")
		return false, exitCode(exitNo)
	}
	return true, nil
}

func touched(r api.ActionResult) string {
	return plural(r.Recipients, "recipient") + " of " + plural(r.Messages, "message")
}

var pastWords = map[string]string{api.Hold: "Held", api.Release: "Released", api.Retry: "Will be tried now:", api.Bounce: "Bounced", api.Delete: "Deleted"}

// told says what was done, how much, until when, and how to take it back.
func (c *doing) told(g *Globals, a api.Action, r api.ActionResult) error {
	switch {
	case g.JSON:
		return g.printJSON(r)
	case g.Plain:
		g.record(r.Action, r.DryRun, r.Messages, r.Recipients, r.InAttempt, r.Rule, r.Until)
		return nil
	}
	p := g.page()
	if r.DryRun {
		p.text("", "", fmt.Sprintf("%s would touch %s (%s). Nothing was done.", a.Action, touched(r), c.words()))
	} else {
		p.line("%s %s.", pastWords[a.Action], touched(r))
	}
	if r.InAttempt > 0 {
		p.line("%s being tried at this moment; left alone.", plural(r.InAttempt, "recipient"))
	}
	if !r.DryRun && r.Rule != "" {
		until := ""
		if !r.Until.IsZero() {
			until = " until " + p.clock(r.Until)
		}
		p.line("What comes later is treated the same%s.", until)
		p.line("undo  paquebot queue end-rule %s", r.Rule)
	} else if !r.DryRun && a.Action == api.Hold {
		p.line("undo  paquebot queue release %s", c.flags())
	}
	if r.RulesEnded > 0 {
		p.line("Ended %s.", plural(r.RulesEnded, "rule"))
	}
	if err := g.show(p); err != nil || r.Recipients+r.RulesEnded > 0 || r.Rule != "" {
		return err
	}
	return exitCode(exitNo) // nothing matched: the answer is no
}

// QueueSummaryCmd is the queue at a glance.
type QueueSummaryCmd struct {
	By string `enum:"site,reason,sender,account" default:"site" help:"site, reason, sender or account."`
}

// Run shows it.
func (c *QueueSummaryCmd) Run(g *Globals) error {
	ctx, client, err := g.ask()
	if err != nil {
		return err
	}
	s, err := client.QueueSummary(ctx)
	if err != nil {
		return fromServer("cannot count the queue", err)
	}
	var groups []group
	if c.By == "sender" || c.By == "account" {
		var list api.MessageList
		for after := ""; ; after = list.Next {
			part, err := client.QueueList(ctx, api.Filter{}, after, pageMax)
			if err != nil {
				return fromServer("cannot list the queue", err)
			}
			list.Messages, list.Next = append(list.Messages, part.Messages...), part.Next
			if list.Next == "" || len(list.Messages) >= groupedMax {
				break
			}
		}
		groups = groupMessages(list, c.By)
	} else if c.By == "reason" {
		groups = groupReasons(s)
	}
	switch {
	case g.JSON && c.By != "site":
		return g.printJSON(map[string]any{"schema": "paquebot.queue.groups/1", "by": c.By, "groups": groups})
	case g.JSON:
		return g.printJSON(s)
	case g.Plain && c.By != "site":
		for _, x := range groups {
			g.record(x.Name, x.Recipients)
		}
		return nil
	case g.Plain:
		for _, x := range s.Sites {
			g.record(x.Site, x.Ready, x.InAttempt, x.Waiting, x.Held, int64(x.OldestSeconds), x.Next, x.Reply, x.Why)
		}
		return nil
	}
	p := g.page()
	if c.By == "site" {
		summaryPage(p, s)
	} else {
		groupsPage(p, s, c.By, groups)
	}
	return g.show(p)
}

// group is mail that has something in common.
type group struct {
	Name       string `json:"name"`
	Recipients int64  `json:"recipients"`
}

// groupedMax bounds the messages that are counted by sender or account.
const groupedMax = 100_000

func groupMessages(list api.MessageList, by string) []group {
	n := map[string]int64{}
	for _, m := range list.Messages {
		name := sender(m.Sender)
		if by == "account" {
			name = cmp.Or(m.Origin.Account, "(none)")
		}
		n[name] += int64(len(m.Recipients))
	}
	return sorted(n)
}

func groupReasons(s api.QueueSummary) []group {
	n := map[string]int64{}
	for _, x := range s.Sites {
		if why := cmp.Or(x.Why, x.Reply); why != "" {
			n[why] += x.Waiting + x.Held
		}
	}
	return sorted(n)
}

func sorted(n map[string]int64) []group {
	out := []group{}
	for name, k := range n {
		if k > 0 {
			out = append(out, group{name, k})
		}
	}
	slices.SortFunc(out, func(a, b group) int {
		return cmp.Or(cmp.Compare(b.Recipients, a.Recipients), strings.Compare(a.Name, b.Name))
	})
	return out
}

// sitesShown bounds the table; the rest is one line.
const sitesShown = 15

// summaryPage is mock-up 5.
func summaryPage(p *page, s api.QueueSummary) {
	if s.Total == 0 {
		p.line("The queue is empty.%s", leaving(s))
		return
	}
	p.text("", "", headline(s))
	p.line("")
	p.line("%s", p.paint(bold, siteRow("SITE", "READY", "TRYING", "WAITING", "HELD", "OLDEST", "NEXT", "WHY")))
	shown := s.Sites[:min(len(s.Sites), sitesShown)]
	for _, x := range shown {
		p.siteLine(x)
	}
	if rest := s.Sites[len(shown):]; len(rest) > 0 {
		sum := api.SiteView{Site: fmt.Sprintf("%d more sites", len(rest))}
		for _, x := range rest {
			sum.Ready, sum.InAttempt, sum.Waiting, sum.Held = sum.Ready+x.Ready, sum.InAttempt+x.InAttempt, sum.Waiting+x.Waiting, sum.Held+x.Held
			sum.OldestSeconds = max(sum.OldestSeconds, x.OldestSeconds)
		}
		p.siteLine(sum)
	}
	p.line("")
	if reasons := groupReasons(s); len(reasons) > 0 {
		var words []string
		for _, r := range reasons[:min(len(reasons), 4)] {
			words = append(words, r.Name+" "+count(r.Recipients))
		}
		p.text("By reason    ", "             ", strings.Join(words, ", "))
	}
	for _, r := range s.Rules {
		p.text("In force     ", "             ", ruleWords(p, r))
	}
	site := shellQuote(s.Sites[0].Site)
	p.line("more  queue list --site %s", site)
	p.line("      queue hold --site %s --for 2h", site)
	p.line("      queue summary --by reason | --by sender | --by account     --json")
}

func ruleWords(p *page, r api.Rule) string {
	until := "until it is ended"
	if !r.Until.IsZero() {
		until = "until " + p.clock(r.Until)
	}
	return fmt.Sprintf("%s %s by %s, %s%s (queue end-rule %s)", r.Action, r.Match, r.By, until, quoted(r.Reason), r.ID)
}

func leaving(s api.QueueSummary) string {
	if s.LeavingPerMinute <= 0 {
		return ""
	}
	return " " + count(int64(s.LeavingPerMinute)) + " a minute are leaving."
}

func headline(s api.QueueSummary) string {
	h := fmt.Sprintf("%s for %s: %s ready, %s being tried, %s waiting, %s held.%s Oldest %s.",
		plural(s.Total, "recipient"), plural(int64(len(s.Sites)), "site"), count(s.Ready), count(s.InAttempt), count(s.Waiting), count(s.Held),
		leaving(s), span(seconds(s.OldestSeconds)))
	if s.WithoutNextEvent == 0 {
		return h + " None is without a next step."
	}
	return h + fmt.Sprintf(" FAIL %s had no next step and got one: please report this.", plural(s.WithoutNextEvent, "recipient"))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func siteRow(site, ready, trying, waiting, held, oldest, next, why string) string {
	return cell(site, 16) + " " + cell(ready, -6) + " " + cell(trying, -7) + " " + cell(waiting, -8) + " " + cell(held, -5) + " " + cell(oldest, -7) + "  " + cell(next, 7) + " " + why
}

func (p *page) siteLine(x api.SiteView) {
	next := "-"
	if !x.Next.IsZero() {
		next = p.in(x.Next)
	}
	why := "flowing"
	if x.Reply != "" {
		why = x.Reply
	} else if x.Why != "" {
		why = x.Why
	} else if x.Waiting+x.Held > 0 && x.InAttempt+x.Ready == 0 {
		why = "waiting"
	}
	row := siteRow(x.Site, count(x.Ready), count(x.InAttempt), count(x.Waiting), count(x.Held), span(seconds(x.OldestSeconds)), next, "")
	room := p.width - runes(row)
	p.line("%s", row+cut(why, room))
	switch {
	case x.Reply != "" && runes(why) > room:
		p.text("  ", "  ", strings.TrimPrefix(x.Why+": ", ": ")+x.Reply)
	case x.Reply != "" && x.Why != "":
		p.line("  %s", cut(x.Why, p.width-2))
	}
}

func groupsPage(p *page, s api.QueueSummary, by string, groups []group) {
	if s.Total == 0 {
		p.line("The queue is empty.%s", leaving(s))
		return
	}
	p.text("", "", headline(s))
	p.line("")
	p.line("%s", p.paint(bold, cell("RECIPIENTS", -10)+"  "+strings.ToUpper(by)))
	for _, x := range groups[:min(len(groups), 50)] {
		p.line("%s  %s", cell(count(x.Recipients), -10), cut(x.Name, p.width-12))
	}
	if len(groups) > 50 {
		p.line("%s  more: --json shows all", cell(count(int64(len(groups)-50)), -10))
	}
}
