package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"paquebot/internal/accounts"
	"paquebot/internal/api"
)

// AccountCmd is `paquebot account`.
type AccountCmd struct {
	Add     AccountAddCmd     `cmd:"" help:"Add an account; without a password given, one is made and shown once."`
	List    AccountListCmd    `cmd:"" help:"List the accounts."`
	Show    AccountShowCmd    `cmd:"" help:"Show one account."`
	Passwd  AccountPasswdCmd  `cmd:"" help:"Set another password."`
	Senders AccountSendersCmd `cmd:"" help:"Replace the addresses an account may send as."`
	Disable AccountDisableCmd `cmd:"" help:"Refuse an account's credentials."`
	Enable  AccountEnableCmd  `cmd:"" help:"Undo disable."`
	Remove  AccountRemoveCmd  `cmd:"" help:"Remove an account and its tokens."`
	Token   TokenCmd          `cmd:"" help:"Tokens: passwords for one program each."`
}

// Help is shown below the usage.
func (AccountCmd) Help() string {
	return `Works with the running server, and on its table when it is stopped.

Examples:
  paquebot account add app-7 --sender '*@example.org'
  paquebot account token add app-7 --name nightly-report
  paquebot account disable app-7 --why "key leaked"`
}

// AccountAddCmd adds an account.
type AccountAddCmd struct {
	Name         string   `arg:"" help:"User name; often an address."`
	PasswordFile string   `placeholder:"FILE" help:"Read the password from FILE, - for standard input; its first line counts."`
	Sender       []string `placeholder:"PATTERN" sep:"none" help:"May send as: an address, '*@domain' or '*'. Repeat for more."`
	PerHour      int      `placeholder:"N" help:"Messages in an hour at most."`
	PerDay       int      `placeholder:"N" help:"Messages in a day at most."`
	HashOnly     bool     `help:"Print an [[account]] for the configuration instead; nothing is added."`
}

// Help is shown below the usage.
func (AccountAddCmd) Help() string {
	return `Without --sender an account whose name is an address may send as that address,
any other one as anybody.

Examples:
  paquebot account add anna@example.org
  paquebot account add app-7 --sender '*@example.org' --per-hour 1000
  paquebot account add app-8 --password-file /run/secrets/app-8`
}

// Run adds it.
func (c *AccountAddCmd) Run(g *Globals) error {
	password, err := c.password(g)
	if err != nil {
		return err
	}
	if c.HashOnly {
		return c.hash(g, password)
	}
	d, done, err := g.directory()
	if err != nil {
		return err
	}
	defer done()
	made, err := d.AddAccount(api.NewAccount{
		Name: c.Name, Password: password, Senders: c.Sender,
		Limits: accounts.Limits{MessagesPerHour: c.PerHour, MessagesPerDay: c.PerDay},
	})
	if err != nil {
		return fromServer("cannot add "+c.Name, err)
	}
	return g.made(made, fmt.Sprintf("Added %s.", c.Name), "paquebot account remove "+c.Name)
}

func (c *AccountAddCmd) password(g *Globals) (string, error) {
	return readPassword(g, c.PasswordFile)
}

// hash makes what password_hash in the configuration wants.
func (c *AccountAddCmd) hash(g *Globals, password string) error {
	if password == "" {
		return unsure("cannot make a hash", errors.New("no password was given"), "--password-file FILE, or - for standard input")
	}
	h, err := accounts.HashPassword(password)
	if err != nil {
		return unsure("cannot make a hash", err, "")
	}
	if g.JSON {
		return g.printJSON(map[string]string{"schema": "paquebot.account.hash/1", "account": c.Name, "password_hash": h.Password, "scram": h.SCRAM})
	}
	fmt.Fprintf(g.Stdout, "[[account]]\nname = %q\npassword_hash = %q\nscram = %q\n", c.Name, h.Password, h.SCRAM)
	return nil
}

// made shows what was made; a secret stands on a line of its own, on standard
// output, and nothing else does when that is not a terminal.
func (g *Globals) made(m api.Made, words, undo string) error {
	switch {
	case g.JSON:
		return g.printJSON(m)
	case g.Plain:
		g.record(m.Account, m.Token, m.Login, m.Secret)
		return nil
	}
	fmt.Fprintln(g.Stderr, words)
	if m.Secret != "" {
		what := "password"
		if m.Token != "" {
			what = "token"
		}
		fmt.Fprintf(g.Stderr, "Log in as %s with this %s; it is shown only now:\n", m.Login, what)
		fmt.Fprintln(g.Stdout, m.Secret)
	}
	if undo != "" {
		fmt.Fprintf(g.Stderr, "undo  %s\n", undo)
	}
	return nil
}

// done says what was done.
func (g *Globals) done(d api.Done, undo string) error {
	switch {
	case g.JSON:
		return g.printJSON(d)
	case g.Plain:
		g.record(d.Done)
		return nil
	}
	fmt.Fprintf(g.Stderr, "%s.\n", oneLine(d.Done))
	if undo != "" {
		fmt.Fprintf(g.Stderr, "undo  %s\n", undo)
	}
	return nil
}

// passwordMax is far beyond any password, and SASL's own limits.
const passwordMax = 1024

// readPassword reads a file's or standard input's first line; "" when no file
// is named. On a terminal it asks twice, without showing.
func readPassword(g *Globals, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	if f, ok := g.Stdin.(*os.File); file == "-" && ok && term.IsTerminal(int(f.Fd())) {
		return askPassword(g, int(f.Fd()))
	}
	text, err := readInput(g, file)
	if err != nil {
		return "", unsure("cannot read the password", err, "")
	}
	first, _, _ := strings.Cut(string(text), "\n")
	first = strings.TrimSuffix(first, "\r")
	if first == "" || len(first) > passwordMax {
		return "", unsure("cannot use this password", fmt.Errorf("it must have 1 to %d octets", passwordMax), "")
	}
	return first, nil
}

func askPassword(g *Globals, fd int) (string, error) {
	var typed [2]string
	for i, prompt := range []string{"Password: ", "Once more: "} {
		fmt.Fprint(g.Stderr, prompt)
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(g.Stderr)
		if err != nil {
			return "", unsure("cannot read the password", err, "")
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] || typed[0] == "" {
		return "", unsure("cannot use this password", errors.New("the two are not the same, or empty"), "")
	}
	return typed[0], nil
}

// AccountListCmd lists accounts.
type AccountListCmd struct{}

// Help is shown below the usage.
func (AccountListCmd) Help() string {
	return `Examples:
  paquebot account list
  paquebot account list --plain | cut -f1,3
  paquebot account list --json`
}

// Run lists them.
func (AccountListCmd) Run(g *Globals) error {
	d, done, err := g.directory()
	if err != nil {
		return err
	}
	defer done()
	list, err := d.ListAccounts()
	if err != nil {
		return fromServer("cannot list the accounts", err)
	}
	switch {
	case g.JSON:
		return g.printJSON(list)
	case g.Plain:
		for _, a := range list.Accounts {
			g.record(a.Name, accountState(a.Profile), strings.Join(a.Senders, ","), len(a.Tokens), a.Created, a.Changed)
		}
		return nil
	}
	p := g.page()
	accountsPage(p, list)
	return g.show(p)
}

func accountState(a accounts.Profile) string {
	switch {
	case a.Disabled:
		return "disabled"
	case a.Declared:
		return "declared"
	}
	return "ok"
}

func accountsPage(p *page, list api.AccountList) {
	if len(list.Accounts) == 0 {
		p.line("There is no account.")
		p.line("more  paquebot account add NAME --sender '*@example.org'")
		return
	}
	p.line("%s.", plural(int64(len(list.Accounts)), "account"))
	p.line("")
	p.line("%s", p.paint(bold, cell("NAME", 28)+" "+cell("STATE", 9)+" "+cell("TOKENS", -6)+"  MAY SEND AS"))
	for _, a := range list.Accounts {
		state := cell(accountState(a.Profile), 9)
		if a.Disabled {
			state = p.paint(yellow, state)
		}
		p.line("%s %s %s  %s", cell(a.Name, 28), state, cell(count(int64(len(a.Tokens))), -6), cut(sendersWords(a.Senders), p.width-47))
	}
	p.line("")
	p.line("more  account show NAME   --json")
}

func sendersWords(list []string) string {
	if len(list) == 0 {
		return "nobody"
	}
	return strings.Join(list, ", ")
}

// AccountShowCmd shows one.
type AccountShowCmd struct {
	Name string `arg:"" help:"The account."`
}

// Help is shown below the usage.
func (AccountShowCmd) Help() string {
	return `Examples:
  paquebot account show app-7
  paquebot account show anna@example.org
  paquebot account show app-7 --json`
}

// Run shows it.
func (c *AccountShowCmd) Run(g *Globals) error {
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
		return g.printJSON(a)
	case g.Plain:
		g.record(a.Name, accountState(a.Profile), strings.Join(a.Senders, ","), len(a.Tokens), a.Created, a.Changed)
		return nil
	}
	p := g.page()
	accountPage(p, a)
	return g.show(p)
}

func accountPage(p *page, a api.Account) {
	state := "may send"
	switch {
	case a.Disabled && a.DisabledWhy != "":
		state = "disabled: " + a.DisabledWhy
	case a.Disabled:
		state = "disabled"
	}
	p.line("%s: %s", p.paint(bold, oneLine(a.Name)), oneLine(state))
	p.line("")
	p.text("Sends as  ", "          ", sendersWords(a.Senders))
	p.line("Logs in   %s", logins(a.Profile))
	if l := limitWords(a.Limits); l != "" {
		p.text("Limits    ", "          ", l)
	}
	if a.Declared {
		p.line("Kept in   the configuration")
	}
	if !a.Created.IsZero() {
		p.line("Added     %s, changed %s", p.clock(a.Created), p.clock(a.Changed))
	}
	for i, t := range a.Tokens {
		name := ""
		if i == 0 {
			name = "Tokens"
		}
		until := "for good"
		if !t.Expires.IsZero() {
			until = "until " + p.clock(t.Expires)
		}
		p.line("%s%s  made %s, %s", cell(name, 10), cell(t.Name, 20), p.clock(t.Created), until)
	}
	p.line("")
	p.line("more  account passwd %s   account token add %s --name …", a.Name, a.Name)
}

// logins says with what an account can log in.
func logins(a accounts.Profile) string {
	var words []string
	if a.Password {
		words = append(words, "with a password")
	}
	if n := len(a.Tokens); n > 0 {
		words = append(words, "with "+plural(int64(n), "token"))
	}
	if len(words) == 0 {
		return "with no password and no token of its own"
	}
	return strings.Join(words, " or ")
}

func limitWords(l accounts.Limits) string {
	var words []string
	for _, w := range []struct {
		n    int64
		text string
	}{
		{int64(l.MessagesPerHour), "messages an hour"}, {int64(l.MessagesPerDay), "messages a day"},
		{int64(l.RecipientsPerHour), "recipients an hour"}, {int64(l.RecipientsPerDay), "recipients a day"},
		{int64(l.Recipients), "recipients of one message"},
	} {
		if w.n > 0 {
			words = append(words, count(w.n)+" "+w.text)
		}
	}
	if l.Size > 0 {
		words = append(words, size(l.Size)+" a message")
	}
	return strings.Join(words, ", ")
}

// nearestAccount adds the name that was probably meant.
func nearestAccount(d directory, name string, err error) error {
	var f *api.Fault
	if !errors.As(err, &f) || f.Status != 404 {
		return err
	}
	list, listErr := d.ListAccounts()
	if listErr != nil {
		return err
	}
	var names []string
	for _, a := range list.Accounts {
		names = append(names, a.Name)
	}
	if n := nearest(name, names); n != "" {
		f.Remedy = "Did you mean " + n + "?"
	}
	return f
}

// changeAccount does one thing to an account and says so.
func (g *Globals) changeAccount(what, name, undo string, change func(directory) (api.Done, error)) error {
	d, done, err := g.directory()
	if err != nil {
		return err
	}
	defer done()
	res, err := change(d)
	if err != nil {
		return fromServer(what, nearestAccount(d, name, err))
	}
	return g.done(res, undo)
}

// AccountPasswdCmd sets a password.
type AccountPasswdCmd struct {
	Name         string `arg:"" help:"The account."`
	PasswordFile string `placeholder:"FILE" help:"Read it from FILE, - for standard input; else one is made and shown once."`
}

// Help is shown below the usage.
func (AccountPasswdCmd) Help() string {
	return `Examples:
  paquebot account passwd app-7
  paquebot account passwd app-7 --password-file /run/secrets/app-7
  pwgen -s 24 1 | paquebot account passwd app-7 --password-file -`
}

// Run sets it.
func (c *AccountPasswdCmd) Run(g *Globals) error {
	password, err := readPassword(g, c.PasswordFile)
	if err != nil {
		return err
	}
	d, done, err := g.directory()
	if err != nil {
		return err
	}
	defer done()
	made, err := d.SetPassword(c.Name, api.NewPassword{Password: password})
	if err != nil {
		return fromServer("cannot change the password of "+c.Name, nearestAccount(d, c.Name, err))
	}
	return g.made(made, "The old password of "+c.Name+" is void.", "")
}

// AccountSendersCmd replaces patterns.
type AccountSendersCmd struct {
	Name    string   `arg:"" help:"The account."`
	Pattern []string `arg:"" help:"An address, '*@domain' or '*'."`
}

// Help is shown below the usage.
func (AccountSendersCmd) Help() string {
	return `Examples:
  paquebot account senders app-7 anna@example.org
  paquebot account senders app-7 '*@example.org' '*@example.net'
  paquebot account senders app-7 '*'`
}

// Run replaces them.
func (c *AccountSendersCmd) Run(g *Globals) error {
	return g.changeAccount("cannot change "+c.Name, c.Name, "", func(d directory) (api.Done, error) { return d.ChangeSenders(c.Name, c.Pattern) })
}

// AccountDisableCmd disables one.
type AccountDisableCmd struct {
	Name string `arg:"" help:"The account."`
	Why  string `help:"For those who wonder later."`
}

// Help is shown below the usage.
func (AccountDisableCmd) Help() string {
	return `Examples:
  paquebot account disable app-7
  paquebot account disable app-7 --why "key leaked"
  paquebot account enable app-7           takes it back`
}

// Run disables it.
func (c *AccountDisableCmd) Run(g *Globals) error {
	return g.changeAccount("cannot disable "+c.Name, c.Name, "paquebot account enable "+c.Name, func(d directory) (api.Done, error) { return d.DisableAccount(c.Name, c.Why) })
}

// AccountEnableCmd enables one.
type AccountEnableCmd struct {
	Name string `arg:"" help:"The account."`
}

// Help is shown below the usage.
func (AccountEnableCmd) Help() string {
	return `Examples:
  paquebot account enable app-7
  paquebot account enable anna@example.org
  paquebot account list                   who is disabled`
}

// Run enables it.
func (c *AccountEnableCmd) Run(g *Globals) error {
	return g.changeAccount("cannot enable "+c.Name, c.Name, "paquebot account disable "+c.Name, func(d directory) (api.Done, error) { return d.EnableAccount(c.Name) })
}

// AccountRemoveCmd removes one.
type AccountRemoveCmd struct {
	Name string `arg:"" help:"The account."`
}

// Help is shown below the usage.
func (AccountRemoveCmd) Help() string {
	return `Examples:
  paquebot account remove app-7
  paquebot account remove anna@example.org
  paquebot account disable app-7          keeps it, and can be taken back`
}

// Run removes it.
func (c *AccountRemoveCmd) Run(g *Globals) error {
	return g.changeAccount("cannot remove "+c.Name, c.Name, "", func(d directory) (api.Done, error) { return d.RemoveAccount(c.Name) })
}
