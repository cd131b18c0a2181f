package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"paquebot/internal/api"
	"paquebot/internal/config"
)

// QueueRulesCmd lists rules.
type QueueRulesCmd struct{}

// Help is shown below the usage.
func (QueueRulesCmd) Help() string {
	return `Examples:
  paquebot queue rules
  paquebot queue rules --plain | cut -f1
  paquebot queue rules --json`
}

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

// Help is shown below the usage.
func (QueueEndRuleCmd) Help() string {
	return `Examples:
  paquebot queue rules
  paquebot queue end-rule KARQ7M3XZ5V8ABCD
  paquebot queue end-rule KARQ7M3XZ5V8ABCD --json`
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

// Help is shown below the usage.
func (QueueHoldCmd) Help() string {
	return `What comes later and matches is held too, until --for is over or the rule is
ended; named messages alone are held once.

Examples:
  paquebot queue hold --site yahoo --for 2h --reason "too many complaints"
  paquebot queue hold --account app-7 --dry-run
  paquebot queue hold KARQ7M3XZ5V8ABCD`
}

// QueueReleaseCmd releases.
type QueueReleaseCmd struct{ doing }

// Help is shown below the usage.
func (QueueReleaseCmd) Help() string {
	return `Examples:
  paquebot queue release --site yahoo
  paquebot queue release --state held --older-than 1d
  paquebot queue release KARQ7M3XZ5V8ABCD`
}

// QueueRetryCmd retries.
type QueueRetryCmd struct{ doing }

// Help is shown below the usage.
func (QueueRetryCmd) Help() string {
	return `A site that is left alone for a while is tried again, too.

Examples:
  paquebot queue retry --site corp.example
  paquebot queue retry --all
  paquebot queue retry KARQ7M3XZ5V8ABCD`
}

// QueueBounceCmd bounces.
type QueueBounceCmd struct{ doing }

// Help is shown below the usage.
func (QueueBounceCmd) Help() string {
	return `The senders are told as for any failure. This cannot be taken back.

Examples:
  paquebot queue bounce --domain exmaple.org --dry-run
  paquebot queue bounce --site dead.example --older-than 2d --reason "closed"
  paquebot queue bounce KARQ7M3XZ5V8ABCD`
}

// QueueDeleteCmd deletes.
type QueueDeleteCmd struct{ doing }

// Help is shown below the usage.
func (QueueDeleteCmd) Help() string {
	return `Nobody is told, and nothing is kept. This cannot be taken back; see
paquebot queue show ID --raw to save a message first.

Examples:
  paquebot queue delete --sender spam@example.org --dry-run
  paquebot queue delete --account leaked-key --reason "spam run" --yes
  paquebot queue delete KARQ7M3XZ5V8ABCD`
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
	} else if r.Recipients > 0 || r.RulesEnded == 0 {
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
		p.line("Ended %s; all mail held by it is released.", plural(r.RulesEnded, "rule"))
	}
	if err := g.show(p); err != nil || r.Recipients+r.RulesEnded > 0 || r.Rule != "" {
		return err
	}
	return exitCode(exitNo) // nothing matched: the answer is no
}
