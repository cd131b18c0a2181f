package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// HelpCmd is `paquebot help`: a command's help, or one of the topics.
type HelpCmd struct {
	About []string `arg:"" optional:"" help:"A command, or: ports, exit-codes, environment."`
}

// Help is shown below the usage of the command.
func (HelpCmd) Help() string {
	return `Examples:
  paquebot help queue hold
  paquebot help exit-codes
  paquebot help environment`
}

// Run prints a topic. The help of commands is kong's (helpArgs).
func (c HelpCmd) Run(g *Globals) error {
	name := strings.Join(c.About, " ")
	for _, t := range topics {
		if t.name == name {
			_, err := fmt.Fprint(g.Stdout, t.text)
			return err
		}
	}
	return unsure("cannot explain it", fmt.Errorf("there is no command and no topic %q", name), "paquebot help")
}

// helpArgs makes `help queue hold` the same as `queue hold --help`.
func helpArgs(line []string) []string {
	if line[0] != "help" {
		return line
	}
	about := line[1:]
	if len(about) == 0 {
		return []string{"--help"}
	}
	if strings.HasPrefix(about[0], "-") {
		return line
	}
	for _, t := range topics {
		if len(about) == 1 && about[0] == t.name {
			return line
		}
	}
	return append(about[:len(about):len(about)], "--help")
}

var topics = []struct{ name, text string }{
	{"ports", `The four ports of mail, and what each is for.

  25     server to server, for the domains and networks served; TLS offered,
         no AUTH. Programs do not submit here.
  587    submission: STARTTLS, then AUTH, then mail. The default for programs.
  465    submissions: TLS from the first byte, then AUTH. As secure as 587.
  2525   the contract of 587, for networks that filter the others.

paquebot dev listens on 1025, 1587, 1465 and 2525 with the same manners.
`},
	{"exit-codes", `Exit codes.

  0     ok; the answer is yes
  1     the answer is no: refused, not found, a check failed
  2     could not tell (no server, no permission), or wrong use
  130   ended by Ctrl-C

paquebot sendmail keeps those of sysexits.h, as callers expect:
  0 taken   64 usage   65 bad data   67 no such user   69 refused
  74 input or output   75 not now, nothing was taken   78 configuration
`},
	{"environment", `Environment.

  PAQUEBOT_CONFIG   the configuration, where -c FILE is not given; without both
                    /etc/paquebot/paquebot.toml, if there is one
  NO_COLOR          no colour, whatever it holds; so does TERM=dumb
  TMPDIR            where paquebot dev keeps mail while it runs
  NOTIFY_SOCKET     set by systemd; serve tells it when it is ready

A secret may come from the environment where the configuration says so:
  password = { env = "NAME" }
`},
}

// misused is a command line that cannot be understood, with the help of the
// command it was meant for.
func misused(err error) error {
	text := err.Error()
	text = strings.Replace(text, `one of "",`, "one of ", 1) // "" is not for typing
	text, _, _ = strings.Cut(text, ": time: invalid duration")
	remedy := "paquebot help lists the commands"
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context != nil {
		var words []string
		for _, at := range p.Context.Path {
			if at.Command != nil {
				words = append(words, at.Command.Name)
			}
		}
		if len(words) > 0 {
			remedy = "paquebot help " + strings.Join(words, " ")
		}
	}
	return unsure(text, nil, remedy)
}
