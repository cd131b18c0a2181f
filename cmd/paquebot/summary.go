package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"paquebot/internal/api"
)

// QueueSummaryCmd is the queue at a glance.
type QueueSummaryCmd struct {
	By string `enum:"site,reason,sender,account" default:"site" help:"site, reason, sender or account."`
}

// Help is shown below the usage.
func (QueueSummaryCmd) Help() string {
	return `Examples:
  paquebot queue summary
  paquebot queue summary --by reason
  paquebot queue summary --json`
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
