package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"paquebot/internal/config"
)

// ConfigCmd is `paquebot config`.
type ConfigCmd struct {
	Check   ConfigCheckCmd   `cmd:"" help:"Say everything that is wrong with a configuration."`
	Show    ConfigShowCmd    `cmd:"" help:"Show the settings in force, defaults included, secrets hidden."`
	Explain ConfigExplainCmd `cmd:"" help:"Say what a key means."`
	Diff    ConfigDiffCmd    `cmd:"" help:"Say what another file would change."`
}

// Help is shown below the usage.
func (ConfigCmd) Help() string {
	return `Examples:
  paquebot config check -c /etc/paquebot/paquebot.toml
  paquebot config explain listener.role
  paquebot config diff new.toml`
}

// ConfigCheckCmd checks.
type ConfigCheckCmd struct {
	File string `arg:"" optional:"" help:"The file; else the one of -c."`
}

// Help is shown below the usage.
func (ConfigCheckCmd) Help() string {
	return `Examples:
  paquebot config check
  paquebot config check -c /etc/paquebot/paquebot.toml
  paquebot config check new.toml --json`
}

// Run checks; nothing is changed, whatever it finds.
func (c *ConfigCheckCmd) Run(g *Globals) error {
	file := c.File
	if file == "" {
		file = g.configFile()
	}
	_, problems := config.Load(file)
	if g.JSON {
		if problems == nil {
			problems = []config.Problem{}
		}
		if err := g.printJSON(map[string]any{"schema": "paquebot.config.check/1", "file": file, "ok": !config.Failed(problems), "problems": problems}); err != nil {
			return err
		}
	} else if g.Plain {
		for _, p := range problems {
			g.record(p.Severity, p.File, p.Line, p.Column, p.Key, p.Message, p.Remedy)
		}
	} else {
		p := g.page()
		checkPage(p, file, problems)
		if err := g.show(p); err != nil {
			return err
		}
	}
	if config.Failed(problems) {
		return exitCode(exitNo)
	}
	return nil
}

// checkPage is mock-up 8.
func checkPage(p *page, file string, problems []config.Problem) {
	name := filepath.Base(file)
	if file == "" {
		name = "no file (all defaults)"
	}
	errs, warnings := config.Count(problems)
	if len(problems) == 0 {
		p.line("%s: %s", name, p.paint(green, "ok"))
		return
	}
	var counts []string
	if errs > 0 {
		counts = append(counts, plural(int64(errs), "error"))
	}
	if warnings > 0 {
		counts = append(counts, plural(int64(warnings), "warning"))
	}
	found := strings.Join(counts, ", ")
	keep := ""
	if errs > 0 {
		keep = " The running server keeps its old settings."
	}
	p.text("", "", name+": "+found+"."+keep)
	p.line("")
	text := config.Render(problems)
	for l := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(l, "error "):
			l = p.paint(red, "error") + l[5:]
		case strings.HasPrefix(l, "warn "):
			l = p.paint(yellow, "warn") + l[4:]
		}
		p.WriteString(l)
	}
	p.line("")
	if errs > 0 {
		p.line("%s: nothing was changed. Explain a key: paquebot config explain listener", plural(int64(errs), "error"))
	} else {
		p.line("%s: %s, with %s.", name, p.paint(green, "ok"), plural(int64(warnings), "warning"))
	}
}

// load reads the configuration, or fails with everything that is wrong with it
// already told on standard error.
func (g *Globals) load() (*config.Config, error) {
	c, problems := config.Load(g.configFile())
	if c == nil {
		fmt.Fprint(g.Stderr, config.Render(problems))
		errs, _ := config.Count(problems)
		return nil, unsure("the configuration", errors.New(plural(int64(errs), "error")), "Explain a key: paquebot config explain KEY")
	}
	return c, nil
}

// ConfigShowCmd shows.
type ConfigShowCmd struct {
	Changed bool `help:"Only what is not the default."`
}

// Help is shown below the usage.
func (ConfigShowCmd) Help() string {
	return `Examples:
  paquebot config show
  paquebot config show --changed
  paquebot config show --json`
}

// Run shows the settings as a file that means the same.
func (c *ConfigShowCmd) Run(g *Globals) error {
	conf, err := g.load()
	if err != nil {
		return err
	}
	var values []config.Value
	for _, v := range config.Values(conf) {
		if !c.Changed || !v.Default {
			values = append(values, v)
		}
	}
	switch {
	case g.JSON:
		return g.printJSON(map[string]any{"schema": "paquebot.config/1", "file": conf.File, "values": values})
	case g.Plain || c.Changed:
		for _, v := range values {
			if g.Plain {
				g.record(v.Path, v.Value, v.Default)
			} else {
				fmt.Fprintf(g.Stdout, "%s = %s\n", v.Path, v.Value)
			}
		}
		return nil
	}
	_, err = fmt.Fprint(g.Stdout, config.Show(conf))
	return err
}

// ConfigExplainCmd explains.
type ConfigExplainCmd struct {
	Key string `arg:"" optional:"" help:"Such as listener.role; without one, all are listed."`
}

// Help is shown below the usage.
func (ConfigExplainCmd) Help() string {
	return `Examples:
  paquebot config explain
  paquebot config explain listener.role
  paquebot config explain queue`
}

// Run explains.
func (c *ConfigExplainCmd) Run(g *Globals) error {
	if c.Key == "" {
		return explainAll(g)
	}
	k, ok := config.FindKey(c.Key)
	if !ok {
		_, near, _ := config.Explain(c.Key)
		remedy := "paquebot config explain lists all keys"
		if near != "" {
			remedy = "Did you mean " + near + "?"
		}
		return problem("cannot explain it", fmt.Errorf("there is no key %q", c.Key), remedy)
	}
	if g.JSON {
		return g.printJSON(map[string]any{
			"schema": "paquebot.config.key/1", "key": k.Path, "type": k.Kind(), "doc": k.Doc, "default": k.Default,
			"default_words": k.Auto, "example": k.Example, "values": k.Values, "restart": k.Restart,
		})
	}
	text, _, _ := config.Explain(c.Key)
	_, err := fmt.Fprint(g.Stdout, text)
	return err
}

func explainAll(g *Globals) error {
	if g.JSON {
		return g.printJSON(map[string]any{"schema": "paquebot.config.keys/1", "keys": config.Keys()})
	}
	p := g.page()
	for _, k := range config.Keys() {
		if g.Plain {
			g.record(k.Path, k.Kind(), k.Default, k.Doc)
			continue
		}
		first, _, _ := strings.Cut(k.Doc, ". ")
		p.line("%s %s", cell(k.Path, 34), cut(first, p.width-35))
	}
	return g.show(p)
}

// ConfigDiffCmd compares.
type ConfigDiffCmd struct {
	File string `arg:"" help:"The other file."`
	With string `placeholder:"FILE" help:"Compare with this one instead of the one of -c."`
}

// Help is shown below the usage.
func (ConfigDiffCmd) Help() string {
	return `Examples:
  paquebot config diff new.toml
  paquebot config diff new.toml --with old.toml
  paquebot config diff new.toml --json`
}

// Run compares; exit code 1 when something differs, as diff does.
func (c *ConfigDiffCmd) Run(g *Globals) error {
	if c.With != "" {
		g.ConfigFile = c.With
	}
	old, err := g.load()
	if err != nil {
		return err
	}
	other := *g
	other.ConfigFile = c.File
	now, err := other.load()
	if err != nil {
		return err
	}
	changes := config.Diff(old, now)
	switch {
	case g.JSON:
		if changes == nil {
			changes = []config.Change{}
		}
		err = g.printJSON(map[string]any{"schema": "paquebot.config.diff/1", "changes": changes})
	case g.Plain:
		for _, d := range changes {
			g.record(d.Path, d.Old, d.New, d.Restart)
		}
	default:
		p := g.page()
		diffPage(p, changes)
		err = g.show(p)
	}
	if err == nil && len(changes) > 0 {
		return exitCode(exitNo)
	}
	return err
}

func diffPage(p *page, changes []config.Change) {
	if len(changes) == 0 {
		p.line("Nothing would change.")
		return
	}
	restart := false
	for _, d := range changes {
		mark := " "
		if d.Restart {
			mark, restart = "*", true
		}
		p.line("%s %s", mark, d.Path)
		if d.Old != "" {
			p.line("%s", p.paint(red, "    - "+oneLine(d.Old)))
		}
		if d.New != "" {
			p.line("%s", p.paint(green, "    + "+oneLine(d.New)))
		}
	}
	p.line("")
	p.line("%s.", plural(int64(len(changes)), "change"))
	if restart {
		p.line("Those marked * need a restart; a reload brings the others into force.")
	}
}

// nearest is the word that was probably meant.
func nearest(s string, words []string) string { return config.Nearest(s, words) }
