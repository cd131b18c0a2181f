package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"paquebot/internal/config"
	"paquebot/internal/console"
	"paquebot/internal/mishap"
)

// DevRulesCmd is what goes wrong on purpose.
type DevRulesCmd struct {
	List      DevRulesListCmd      `cmd:"" help:"The rules in force, and how often they struck."`
	Add       DevRulesAddCmd       `cmd:"" help:"Let something go wrong from now on."`
	Remove    DevRulesRemoveCmd    `cmd:"" help:"End rules."`
	Clear     DevRulesClearCmd     `cmd:"" help:"End all rules, or those of one mailbox."`
	Addresses DevRulesAddressesCmd `cmd:"" help:"What addresses do by themselves, without a rule."`
}

// Help is shown below the usage of the command.
func (DevRulesCmd) Help() string {
	return `Examples:
  paquebot dev rules addresses
  paquebot dev rules add --stage rcpt --recipient "*@slow.example" --delay 5s
  paquebot dev rules clear --mailbox inbox-7`
}

const rulesPath = "/api/dev/rules"

func (a devAsk) mailboxQuery() url.Values {
	q := url.Values{}
	if a.Mailbox != "" {
		q.Set("mailbox", a.Mailbox)
	}
	return q
}

// rules asks about rules and reads the answer into out. A fault in a rule is
// the caller's, and named.
func (a devAsk) rules(method, path string, query url.Values, content []byte, out any) error {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	status, body, err := a.send(ctx, method, path, query, bytes.NewReader(content), answerMax)
	if err != nil {
		return err
	}
	if status/100 == 2 {
		if err := json.Unmarshal(body, out); err != nil {
			return unsure("cannot read the catcher's answer", err, "")
		}
		return nil
	}
	var fault console.RuleFault
	if json.Unmarshal(body, &fault) == nil && fault.Error != "" {
		return problem("the rule was not taken", errors.New(fault.Error), "paquebot dev rules add --help")
	}
	if status == http.StatusNotFound {
		return problem("not found", said(status, body), "paquebot dev rules list")
	}
	return unsure("the catcher refused", said(status, body), "")
}

// DevRulesListCmd lists.
type DevRulesListCmd struct {
	devAsk
}

// Help is shown below the usage of the command.
func (DevRulesListCmd) Help() string {
	return `Examples:
  paquebot dev rules list
  paquebot dev rules list --mailbox inbox-7
  paquebot dev rules list --json > rules.json`
}

// Run prints the rules and the addresses that have counted.
func (c *DevRulesListCmd) Run(g *Globals) error {
	var r console.Rules
	if err := c.rules(http.MethodGet, rulesPath, c.mailboxQuery(), nil, &r); err != nil {
		return err
	}
	if g.JSON {
		return g.printJSON(r)
	}
	if len(r.Rules) == 0 {
		fmt.Fprintln(g.Stdout, "No rule. Addresses work all the same: paquebot dev rules addresses")
	}
	for _, v := range r.Rules {
		fmt.Fprintf(g.Stdout, "%-12s %-9s %s\n", v.ID, v.Stage, oneLine(cut(v.Do.String()+forWhom(v.Match), 90)))
		fmt.Fprintf(g.Stdout, "%23sstruck %d of %d%s%s\n", "", v.Struck, v.Seen, bounds(v), oneLine(note(v.Note)))
	}
	for _, d := range r.Deferrals {
		fmt.Fprintf(g.Stdout, "%-12s %-9s %s to %s as %s: %d of %d\n", d.Word, "rcpt", dash(oneLine(d.Sender)), oneLine(d.Recipient), dash(oneLine(d.User)), d.Struck, d.Seen)
	}
	return nil
}

// forWhom says a match as it is written in JSON, without braces.
func forWhom(m mishap.Match) string {
	b, err := json.Marshal(m)
	if err != nil || string(b) == "{}" {
		return ""
	}
	return "  for " + strings.Trim(string(b), "{}")
}

func bounds(v mishap.View) string {
	var parts []string
	add := func(is bool, format string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(v.Skip > 0, "skip %d", v.Skip)
	add(v.Times > 0, "times %d", v.Times)
	add(v.Every > 0, "every %d", v.Every)
	add(v.Probability > 0, "probability %v, seed %d", v.Probability, v.Seed)
	add(v.Per != "", "per %s", v.Per)
	add(!v.Expires.IsZero(), "until %s", v.Expires.Format(time.RFC3339))
	add(v.Spent, "spent")
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func note(s string) string {
	if s == "" {
		return ""
	}
	return "  " + s
}

// DevRulesAddCmd adds one rule by flags, or a file of them.
type DevRulesAddCmd struct {
	devAsk
	File string `placeholder:"FILE" help:"Rules in JSON, as list --json prints them; - is standard input. Alone or with --mailbox."`

	ID    string `name:"id" placeholder:"NAME" help:"A name of yours; one that is there is replaced."`
	Stage string `placeholder:"STAGE" help:"connect, tls, greeting, ehlo, helo, starttls, auth, mail, rcpt, data, content, dot, quit, delivery."`

	Port      string `placeholder:"PORT" help:"Only on this port: 1587, 587, mx, submission, submissions."`
	Client    string `placeholder:"ADDR" help:"Only for this client: an address or a network."`
	User      string `placeholder:"PATTERN" help:"Only for these users; * stands for anything."`
	Helo      string `placeholder:"PATTERN" help:"Only for clients that call themselves so."`
	SNI       string `name:"sni" placeholder:"PATTERN" help:"At tls: only for clients that ask for this name."`
	Sender    string `placeholder:"PATTERN" help:"Only for mail from these."`
	Recipient string `placeholder:"PATTERN" help:"Only for mail to these."`
	Subject   string `placeholder:"PATTERN" help:"At dot and delivery: only mail with such a subject."`
	Messages  int    `placeholder:"N" help:"Only after so many messages in a session."`
	Larger    int64  `placeholder:"OCTETS" help:"At dot: only larger messages."`

	Reply       string   `placeholder:"TEXT" help:"Say this: 452, or \"452 4.2.2 Mailbox full\"."`
	Close       bool     `help:"Hang up after the reply."`
	Delay       string   `placeholder:"TIME" help:"Wait before the answer: 5s, 500ms."`
	Stall       bool     `help:"Never answer."`
	Drop        bool     `help:"Close without a word."`
	Reset       bool     `help:"Close with a TCP reset."`
	Throttle    int      `placeholder:"N" help:"Octets a second from there on."`
	Hide        []string `placeholder:"KEYWORD" help:"At ehlo: do not offer this: STARTTLS, AUTH, CHUNKING."`
	Certificate string   `placeholder:"KIND" help:"At tls: expired, wrong-name, unknown-ca, self-signed."`
	TLSVersion  string   `name:"tls-version" placeholder:"N" help:"At tls: this version alone: 1.0, 1.1, 1.2, 1.3."`
	After       int64    `placeholder:"OCTETS" help:"At content: when so much has come."`
	Keep        bool     `help:"At dot: keep the message all the same."`
	Complain    bool     `help:"At delivery: send a complaint back."`

	Skip        int     `placeholder:"N" help:"Let the first n pass."`
	Times       int     `placeholder:"N" help:"Strike n times."`
	Every       int     `placeholder:"N" help:"Strike each nth."`
	Probability float64 `placeholder:"P" help:"Strike by chance, from 0 to 1, the same way for the same --seed."`
	Seed        uint64  `placeholder:"N" help:"Seed of chance."`
	Per         string  `placeholder:"WHOSE" help:"Count for each user, pair, session or client."`
	For         string  `placeholder:"TIME" help:"End after this time: 10m."`
	Note        string  `placeholder:"TEXT" help:"For people."`
}

// Help is shown below the usage of the command.
func (DevRulesAddCmd) Help() string {
	return `Examples:
  paquebot dev rules add --stage rcpt --recipient "*@slow.example" --delay 5s
  paquebot dev rules add --stage dot --reply 554 --subject "*bill*" --times 2
  paquebot dev rules add --stage tls --port 465 --certificate expired
  paquebot dev rules add --stage mail --reply 451 --every 5 --for 10m
  paquebot dev rules add --file rules.json --mailbox inbox-7`
}

// Run adds and says what is in force now.
func (c *DevRulesAddCmd) Run(g *Globals) error {
	content, err := c.content(g)
	if err != nil {
		return err
	}
	var added console.Rules
	if err := c.rules(http.MethodPost, rulesPath, c.mailboxQuery(), content, &added); err != nil {
		return err
	}
	if g.JSON {
		return g.printJSON(added)
	}
	for _, v := range added.Rules {
		fmt.Fprintf(g.Stdout, "%s in force: at %s %s%s\n", v.ID, v.Stage, v.Do, forWhom(v.Match))
	}
	return nil
}

func (c *DevRulesAddCmd) content(g *Globals) ([]byte, error) {
	if c.File != "" {
		return c.read(g)
	}
	if c.Stage == "" {
		return nil, unsure("where", errors.New("no stage was given"), "--stage rcpt; all of them: paquebot dev rules add --help")
	}
	r := mishap.Rule{
		ID: c.ID, Note: c.Note, Stage: mishap.Stage(c.Stage), Skip: c.Skip, Times: c.Times, Every: c.Every,
		Probability: c.Probability, Seed: c.Seed, Per: mishap.Per(c.Per),
		Match: mishap.Match{
			Port: c.Port, Client: c.Client, User: c.User, Helo: c.Helo, SNI: c.SNI, Sender: c.Sender,
			Recipient: c.Recipient, Subject: c.Subject, Messages: c.Messages, Larger: c.Larger,
		},
		Do: mishap.Action{
			Reply: c.Reply, Close: c.Close, Stall: c.Stall, Drop: c.Drop, Reset: c.Reset, Throttle: c.Throttle, Hide: c.Hide,
			Certificate: c.Certificate, TLSVersion: c.TLSVersion, After: c.After, Keep: c.Keep, Complain: c.Complain,
		},
	}
	if c.Delay != "" {
		d, err := time.ParseDuration(c.Delay)
		if err != nil {
			return nil, unsure("--delay "+c.Delay, errors.New("is not a length of time"), "write 5s or 500ms")
		}
		r.Do.Delay = mishap.Duration(d)
	}
	if c.For != "" {
		d, err := config.ParseDuration(c.For)
		if err != nil {
			return nil, unsure("--for", err, "")
		}
		r.Expires = time.Now().Add(d)
	}
	return json.Marshal(r)
}

func (c *DevRulesAddCmd) read(g *Globals) ([]byte, error) {
	var b []byte
	var err error
	if c.File == "-" {
		b, err = io.ReadAll(io.LimitReader(g.Stdin, rulesMost))
	} else {
		b, err = os.ReadFile(c.File)
	}
	if err != nil {
		return nil, unsure("cannot read "+c.File, errors.New(plainCause(err)), "")
	}
	return b, nil
}

// rulesMost bounds a file of rules, in octets; the catcher takes no more.
const rulesMost = 1 << 20

// DevRulesRemoveCmd ends rules by name.
type DevRulesRemoveCmd struct {
	devAsk
	ID []string `arg:"" name:"id" help:"Rules, as list names them."`
}

// Help is shown below the usage of the command.
func (DevRulesRemoveCmd) Help() string {
	return `Examples:
  paquebot dev rules remove r1
  paquebot dev rules remove r1 r2 slow-shop
  paquebot dev rules remove r1 --url http://localhost:18025`
}

// Run removes each.
func (c *DevRulesRemoveCmd) Run(g *Globals) error {
	total := console.Deleted{}
	for _, id := range c.ID {
		var gone console.Deleted
		if err := c.rules(http.MethodDelete, rulesPath+"/"+url.PathEscape(id), nil, nil, &gone); err != nil {
			return err
		}
		total.Deleted += gone.Deleted
	}
	return removed(g, total)
}

func removed(g *Globals, d console.Deleted) error {
	if g.JSON {
		return g.printJSON(d)
	}
	fmt.Fprintf(g.Stdout, "%d removed\n", d.Deleted)
	return nil
}

// DevRulesClearCmd ends all.
type DevRulesClearCmd struct {
	devAsk
}

// Help is shown below the usage of the command.
func (DevRulesClearCmd) Help() string {
	return `Examples:
  paquebot dev rules clear
  paquebot dev rules clear --mailbox inbox-7
  paquebot dev rules clear --url http://localhost:18025`
}

// Run clears and says how many there were.
func (c *DevRulesClearCmd) Run(g *Globals) error {
	var gone console.Deleted
	if err := c.rules(http.MethodDelete, rulesPath, c.mailboxQuery(), nil, &gone); err != nil {
		return err
	}
	return removed(g, gone)
}

// DevRulesAddressesCmd prints the table of addresses. It needs no catcher.
type DevRulesAddressesCmd struct{}

// Help is shown below the usage of the command.
func (DevRulesAddressesCmd) Help() string {
	return `Examples:
  paquebot dev rules addresses
  paquebot dev rules addresses --json
  paquebot dev rules addresses | grep bounce`
}

// Run prints.
func (DevRulesAddressesCmd) Run(g *Globals) error {
	table := mishap.Addresses()
	if g.JSON {
		return g.printJSON(console.Addresses{Addresses: table})
	}
	for _, where := range []string{"recipient", "sender", "user name"} {
		fmt.Fprintf(g.Stdout, "In the %s:\n", where)
		for _, a := range table {
			if a.Where == where {
				fmt.Fprintf(g.Stdout, "  %-16s %s\n", a.Form, a.Means)
			}
		}
	}
	return nil
}
