package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/config"
	"paquebot/internal/node"
	"paquebot/internal/oauth"
	"paquebot/internal/provider"
)

// SmarthostCmd is `paquebot smarthost`.
type SmarthostCmd struct {
	Login  SmarthostLoginCmd  `cmd:"" help:"Log in where a provider wants tokens instead of a password."`
	List   SmarthostListCmd   `cmd:"" help:"The smart hosts of the configuration, and how we log in there."`
	Status SmarthostStatusCmd `cmd:"" help:"Whether one smart host's token can be had, and until when it is good."`
}

// Help is shown below the usage.
func (SmarthostCmd) Help() string {
	return `Examples:
  paquebot smarthost list
  paquebot smarthost login m365
  paquebot smarthost status m365`
}

// smarthostRow is one smart host, for all renderings.
type smarthostRow struct {
	Name      string    `json:"name"`
	Host      string    `json:"host"`
	Endpoints []string  `json:"endpoints"`
	User      string    `json:"user,omitempty"`
	Auth      string    `json:"auth"` // none, password, token, certificate
	Issuer    string    `json:"issuer,omitempty"`
	LoggedIn  time.Time `json:"logged_in,omitzero"` // when the kept refresh token came
	State     string    `json:"state"`              // ok, login needed, FAIL
	Error     string    `json:"error,omitempty"`
	Expires   time.Time `json:"token_expires,omitzero"`
	remedy    string
}

// smarthosts loads the configuration.
func (g *Globals) smarthosts() (*config.Config, error) {
	c, problems := config.Load(g.configFile())
	if c != nil {
		return c, nil
	}
	why := errors.New("there is none")
	for _, p := range problems {
		why = p
		break
	}
	return nil, unsure("cannot read the configuration", why, "paquebot config check")
}

// smarthost finds one by its name.
func smarthost(c *config.Config, name string) (config.Smarthost, error) {
	s, ok := c.Smarthosts[name]
	if ok {
		return s, nil
	}
	names := slices.Sorted(maps.Keys(c.Smarthosts))
	remedy := "paquebot smarthost list"
	if near := config.Nearest(name, names); near != "" {
		remedy = "Did you mean " + near + "?"
	}
	return s, problem("there is no [smarthost."+name+"] in "+c.File, nil, remedy)
}

// describeSmarthost tells what is known of a smart host without asking anybody.
func describeSmarthost(c *config.Config, name string, s config.Smarthost) smarthostRow {
	row := smarthostRow{Name: name, Host: s.HostName(), User: s.User(), Auth: "none", State: "ok"}
	row.Endpoints = endpointsOf(s)
	switch {
	case s.OAuth2 != nil:
		row.Auth = "token"
		source, err := tokenSource(c, name, s.OAuth2)
		if err != nil {
			row.State, row.Error = "FAIL", err.Error()
			break
		}
		st := source.Status()
		row.Issuer, row.LoggedIn, row.Error, row.remedy = st.Issuer, st.KeptSince, st.Error, st.Remedy
		if st.Grant == "none" {
			row.State, row.remedy = "login needed", "paquebot smarthost login "+name
		}
	case !s.Password.IsZero():
		row.Auth = "password"
		if p, _, err := provider.Find(s.Provider); s.Provider != "" && err == nil {
			if err := p.CheckCredential(s.User(), s.Password.Reveal()); err != nil {
				row.State, row.Error = "warn", err.Error() // SH-14
			}
		}
	case s.ClientCert != "":
		row.Auth = "certificate"
	}
	return row
}

func tokenSource(c *config.Config, name string, o *config.OAuth2) (*oauth.Source, error) {
	oc, web, err := node.Issuer(o, nil)
	if err != nil {
		return nil, err
	}
	k, err := node.Keeper(c.DataDir, name)
	if err != nil {
		return nil, err
	}
	return oauth.New(oc, oauth.Needs{Name: name, HTTP: web, Keeper: k})
}

// SmarthostListCmd lists them.
type SmarthostListCmd struct{}

// Help is shown below the usage.
func (SmarthostListCmd) Help() string {
	return `Examples:
  paquebot smarthost list
  paquebot smarthost list --plain | cut -f1
  paquebot smarthost list --json -c paquebot.toml`
}

// Run lists them; nobody is asked.
func (SmarthostListCmd) Run(g *Globals) error {
	c, err := g.smarthosts()
	if err != nil {
		return err
	}
	rows := []smarthostRow{}
	for _, name := range slices.Sorted(maps.Keys(c.Smarthosts)) {
		rows = append(rows, describeSmarthost(c, name, c.Smarthosts[name]))
	}
	switch {
	case g.JSON:
		return g.printJSON(map[string]any{"schema": "paquebot.smarthosts/1", "smarthosts": rows})
	case g.Plain:
		for _, r := range rows {
			g.record(r.Name, r.Host, r.Auth, r.State, strings.Join(r.Endpoints, ","), r.Error)
		}
		return nil
	}
	p := g.page()
	if len(rows) == 0 {
		p.line("No smart hosts in %s.", c.File)
		p.line("Mail goes to the MX of each domain; docs/guides/providers.md says how to change that.")
		return g.show(p)
	}
	p.line("%s %s %s STATE", cell("NAME", 14), cell("HOST", 34), cell("LOGIN", 12))
	for _, r := range rows {
		p.line("%s %s %s %s", cell(r.Name, 14), cell(r.Host, 34), cell(r.Auth, 12), r.State)
		if r.Error != "" && r.State != "login needed" {
			p.text("", "  ", r.Error)
		}
		if r.remedy != "" {
			p.line("  %s", r.remedy)
		}
	}
	return g.show(p)
}

// SmarthostStatusCmd asks for a token.
type SmarthostStatusCmd struct {
	Name string `arg:"" help:"The smart host's name in the configuration."`
}

// Help is shown below the usage.
func (SmarthostStatusCmd) Help() string {
	return `Examples:
  paquebot smarthost status m365
  paquebot smarthost status m365 --json
  paquebot smarthost status m365 || paquebot smarthost login m365

Where tokens are used, one is asked for, to see that the issuer gives it.`
}

// Run asks for a token where tokens are used.
func (c *SmarthostStatusCmd) Run(g *Globals) error {
	conf, err := g.smarthosts()
	if err != nil {
		return err
	}
	s, err := smarthost(conf, c.Name)
	if err != nil {
		return err
	}
	r := describeSmarthost(conf, c.Name, s)
	if r.Auth == "token" && r.State == "ok" {
		r.ask(conf, s)
	}
	switch {
	case g.JSON:
		err = g.printJSON(struct {
			Schema string `json:"schema"`
			smarthostRow
		}{"paquebot.smarthost/1", r})
	case g.Plain:
		g.record(r.Name, r.Host, r.Auth, r.State, r.Expires, r.Error)
	default:
		p := g.page()
		p.line("%s  %s", r.Name, r.State)
		p.line("  endpoints  %s", strings.Join(r.Endpoints, "  "))
		if r.User != "" {
			p.line("  user       %s", r.User)
		}
		p.line("  login by   %s", r.Auth)
		if r.Issuer != "" {
			p.line("  issuer     %s", r.Issuer)
		}
		if !r.LoggedIn.IsZero() {
			p.line("  logged in  %s", p.clock(r.LoggedIn))
		}
		if !r.Expires.IsZero() {
			p.line("  token      good until %s (%s); it is renewed by itself", p.clock(r.Expires), p.in(r.Expires))
		}
		if r.Error != "" {
			p.text("", "  ", r.Error)
		}
		if r.remedy != "" {
			p.line("  %s", r.remedy)
		}
		err = g.show(p)
	}
	if err == nil && r.State != "ok" && r.State != "warn" {
		return exitCode(exitNo)
	}
	return err
}

// ask gets a token as the server would.
func (r *smarthostRow) ask(conf *config.Config, s config.Smarthost) {
	source, err := tokenSource(conf, r.Name, s.OAuth2)
	if err == nil {
		_, err = source.Token(context.Background())
	}
	if err != nil {
		r.State, r.Error = "FAIL", err.Error()
		var e *oauth.Error
		if errors.As(err, &e) {
			r.remedy = e.Remedy()
			if e.Code == "invalid_grant" {
				r.remedy = "paquebot smarthost login " + r.Name
			}
		}
		return
	}
	r.Expires = source.Status().Expires.UTC()
}

// endpointsOf lists where a smart host is tried, in order.
func endpointsOf(s config.Smarthost) (out []string) {
	for _, e := range s.EndpointList() {
		host := cmp.Or(e.Host, s.HostName())
		out = append(out, net.JoinHostPort(host, strconv.Itoa(e.Port)))
	}
	return out
}

// SmarthostLoginCmd is the device code flow.
type SmarthostLoginCmd struct {
	Name string `arg:"" help:"The smart host's name in the configuration."`
}

// Help is shown below the usage.
func (SmarthostLoginCmd) Help() string {
	return `Examples:
  paquebot smarthost login m365
  paquebot smarthost login m365 -c paquebot.toml
  sudo -u paquebot paquebot smarthost login m365

It shows an address and a code. Open the address in any browser, on any
machine, type the code, and agree. The running server uses the new login at
once. What is kept is in data_dir, for the server's user alone.`
}

// Run shows the code, waits, and keeps the refresh token.
func (c *SmarthostLoginCmd) Run(g *Globals) error {
	conf, err := g.smarthosts()
	if err != nil {
		return err
	}
	s, err := smarthost(conf, c.Name)
	if err != nil {
		return err
	}
	if s.OAuth2 == nil {
		return problem(c.Name+" logs in without tokens", nil, "For tokens, add to [smarthost."+c.Name+"]:\n  oauth2 = { tenant = \"…\", client_id = \"…\" }\ndocs/guides/oauth2.md tells the whole way.")
	}
	oc, web, err := node.Issuer(s.OAuth2, &http.Client{})
	if err != nil {
		return unsure("cannot read the issuer's CA", err, "")
	}
	k, err := node.Keeper(conf.DataDir, c.Name)
	if err != nil {
		return unsure("cannot keep a login", err, "")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	kept, err := oauth.Login(ctx, oc, web, func(code oauth.Code) { g.showCode(c.Name, code) })
	if err != nil {
		return notLoggedIn(c.Name, err, ctx)
	}
	if err := k.Save(kept); err != nil {
		return unsure("logged in, but it cannot be kept", errors.New(plainCause(err)), asServer)
	}
	switch {
	case g.JSON:
		return g.printJSON(map[string]any{"schema": "paquebot.smarthost.login/1", "smarthost": c.Name, "ok": true, "file": k.File()})
	case g.Plain:
		g.record(c.Name, "ok", k.File())
		return nil
	}
	_, err = fmt.Fprintf(g.Stdout, "Logged in. Kept in %s; a running server uses it at once.\nSee that it works: paquebot smarthost status %s\n", k.File(), c.Name)
	return err
}

// showCode tells a person what to do; it is no answer, so it goes where hints
// go.
func (g *Globals) showCode(name string, c oauth.Code) {
	fmt.Fprintf(g.Stderr, "To log in to %s, open\n\n  %s\n\nand type the code\n\n  %s\n\n", name, oneLine(c.Page), oneLine(c.User))
	if c.Whole != "" {
		fmt.Fprintf(g.Stderr, "or open this, which holds the code:\n\n  %s\n\n", oneLine(c.Whole))
	}
	fmt.Fprintf(g.Stderr, "Waiting for you until %s … (Ctrl-C gives up)\n", c.Expires.Local().Format(time.TimeOnly))
}

func notLoggedIn(name string, err error, ctx context.Context) error {
	what := "not logged in to " + name
	var e *oauth.Error
	switch {
	case ctx.Err() != nil:
		return &failure{what, errors.New("you gave up"), "", 130}
	case errors.Is(err, oauth.ErrNoDevice):
		return unsure(what, err, `add device_url = "https://…" to its oauth2 (the issuer calls it the device authorization endpoint)`)
	case errors.Is(err, oauth.ErrTooLate):
		return problem(what, err, "paquebot smarthost login "+name)
	case errors.Is(err, oauth.ErrNoRefresh):
		return problem(what, err, `the issuer wants to be asked for it: most do by scopes = [ …, "offline_access"]`)
	case errors.As(err, &e) && e.Status == 0:
		return unsure(what, err, "can this machine reach "+e.Issuer+" by https?")
	case errors.As(err, &e):
		return problem(what, err, e.Remedy())
	}
	return unsure(what, err, "")
}
