package main

import (
	"fmt"
	"time"

	"paquebot/internal/accounts"
	"paquebot/internal/api"
	"paquebot/internal/config"
)

// TokenCmd is `paquebot account token`.
type TokenCmd struct {
	Add    TokenAddCmd    `cmd:"" help:"Make a token; it is shown once."`
	List   TokenListCmd   `cmd:"" help:"List an account's tokens."`
	Revoke TokenRevokeCmd `cmd:"" help:"Make a token void at once."`
}

// Help is shown below the usage.
func (TokenCmd) Help() string {
	return `Examples:
  paquebot account token add app-7 --name nightly-report
  paquebot account token list app-7
  paquebot account token revoke app-7 nightly-report`
}

// TokenAddCmd makes one.
type TokenAddCmd struct {
	Name  string `arg:"" name:"account" help:"The account."`
	Token string `name:"name" default:"default" help:"What it is for."`
	For   string `placeholder:"DURATION" help:"How long it is good, like 90d; without it, until revoked."`
}

// Help is shown below the usage.
func (TokenAddCmd) Help() string {
	return `Examples:
  paquebot account token add app-7 --name nightly-report
  paquebot account token add app-7 --name trial --for 30d
  paquebot account token add app-7 --name nightly-report --json`
}

// Run makes it.
func (c *TokenAddCmd) Run(g *Globals) error {
	n := api.NewToken{Name: c.Token}
	if c.For != "" {
		good, err := config.ParseDuration(c.For)
		if err != nil {
			return unsure("--for", err, "")
		}
		n.Expires = time.Now().Add(good).UTC()
	}
	d, done, err := g.directory()
	if err != nil {
		return err
	}
	defer done()
	made, err := d.MakeToken(c.Name, n)
	if err != nil {
		return fromServer("cannot make a token for "+c.Name, nearestAccount(d, c.Name, err))
	}
	return g.made(made, fmt.Sprintf("Made token %s of %s.", c.Token, c.Name), fmt.Sprintf("paquebot account token revoke %s %s", c.Name, c.Token))
}

// TokenListCmd lists them.
type TokenListCmd struct {
	Name string `arg:"" name:"account" help:"The account."`
}

// Help is shown below the usage.
func (TokenListCmd) Help() string {
	return `Examples:
  paquebot account token list app-7
  paquebot account token list app-7 --plain | cut -f1
  paquebot account token list app-7 --json`
}

// Run lists them.
func (c *TokenListCmd) Run(g *Globals) error {
	d, done, err := g.directory()
	if err != nil {
		return err
	}
	defer done()
	a, err := d.ShowAccount(c.Name)
	if err != nil {
		return fromServer("cannot show "+c.Name, nearestAccount(d, c.Name, err))
	}
	switch {
	case g.JSON:
		return g.printJSON(map[string]any{"schema": "paquebot.account.tokens/1", "account": a.Name, "tokens": orEmptyTokens(a.Tokens)})
	case g.Plain:
		for _, t := range a.Tokens {
			g.record(t.Name, t.Created, t.Expires)
		}
		return nil
	}
	p := g.page()
	if len(a.Tokens) == 0 {
		p.line("%s has no tokens.", a.Name)
	}
	for _, t := range a.Tokens {
		until := "for good"
		if !t.Expires.IsZero() {
			until = "until " + p.clock(t.Expires)
		}
		p.line("%s made %s, %s", cell(t.Name, 24), p.clock(t.Created), until)
	}
	return g.show(p)
}

func orEmptyTokens(list []accounts.Token) []accounts.Token {
	if list == nil {
		return []accounts.Token{}
	}
	return list
}

// TokenRevokeCmd revokes one.
type TokenRevokeCmd struct {
	Name  string `arg:"" name:"account" help:"The account."`
	Token string `arg:"" help:"The token's name."`
}

// Help is shown below the usage.
func (TokenRevokeCmd) Help() string {
	return `Examples:
  paquebot account token revoke app-7 nightly-report
  paquebot account token list app-7       the names of its tokens
  paquebot account disable app-7          all of them, and the password`
}

// Run revokes it.
func (c *TokenRevokeCmd) Run(g *Globals) error {
	d, done, err := g.directory()
	if err != nil {
		return err
	}
	defer done()
	res, err := d.RevokeToken(c.Name, c.Token)
	if err != nil {
		return fromServer("cannot revoke it", err)
	}
	return g.done(res, "")
}
