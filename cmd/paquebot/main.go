package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"
)

// CLI is the whole command line.
type CLI struct {
	Globals `embed:""`

	Dev    DevCmd    `cmd:"" group:"start" help:"Four SMTP ports on this machine; every mail is caught and shown on a page."`
	Serve  ServeCmd  `cmd:"" group:"start" help:"The server: ports 25, 587, 465, 2525."`
	Doctor DoctorCmd `cmd:"" group:"start" help:"Which port works from here, and why; what is wrong with this host."`
	Send   SendCmd   `cmd:"" group:"start" help:"Send one message and show the dialogue."`

	Queue     QueueCmd     `cmd:"" group:"operate" help:"What waits, why, and moving it."`
	Trace     TraceCmd     `cmd:"" group:"operate" help:"The whole life of one message."`
	Account   AccountCmd   `cmd:"" group:"operate" help:"Who may submit mail."`
	Config    ConfigCmd    `cmd:"" group:"operate" help:"Check, show and explain the configuration."`
	Smarthost SmarthostCmd `cmd:"" group:"operate" help:"Log in to smart hosts that want tokens; see how they stand."`
	Spool     SpoolCmd     `cmd:"" group:"operate" help:"Check, rebuild or export a stopped server's mail."`

	Sendmail   SendmailCmd   `cmd:"" group:"tools" help:"/usr/sbin/sendmail for programs that expect one."`
	Completion CompletionCmd `cmd:"" group:"tools" help:"Make a shell complete commands and flags."`
	Version    VersionCmd    `cmd:"" group:"tools" help:"The version."`
	Help       HelpCmd       `cmd:"" group:"tools" help:"What a command does, and what holds for all of them."`
}

const welcome = `Paquebot: mail that leaves, arrives, and is explained.

  On a laptop          paquebot dev
  Which port works     paquebot doctor smtp.example.org
  On a server          paquebot config check -c paquebot.toml
                       paquebot serve -c paquebot.toml
  Let somebody submit  paquebot account add anna --sender anna@example.org
  Send a test          paquebot send --server HOST --from A --to B
  What waits, and why  paquebot queue summary
  One message's life   paquebot trace ID

  All commands         paquebot help          One of them  paquebot help queue
`

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

// run is main with its surroundings passed in; it returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	g := &Globals{Stdin: stdin, Stdout: stdout, Stderr: stderr}
	// Installed under sendmail's name it is sendmail.
	if name := filepath.Base(args[0]); name == "sendmail" || name == "paquebot-sendmail" {
		return runSendmail(g, args[1:])
	}
	if len(args) == 1 {
		fmt.Fprint(stdout, welcome)
		return exitYes
	}
	line := args[1:]
	if line[0] == "--version" {
		line = []string{"version"}
	}
	flags, own, isSendmail := sendmailArgs(line)
	if isSendmail {
		line = flags
	}
	cli := CLI{Globals: *g}
	left := false
	code := exitYes
	parser, err := kong.New(&cli,
		kong.Name("paquebot"),
		kong.Description("Mail that leaves, arrives, and is explained."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(c int) { left, code = true, c }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "start", Title: "START"}, {Key: "operate", Title: "OPERATE"}, {Key: "tools", Title: "TOOLS"},
		}),
		kong.UsageOnError(),
	)
	if err != nil {
		fmt.Fprintln(stderr, "paquebot:", err)
		return exitUnsure
	}
	parser.Model.HelpFlag.Help = "Show this."
	ctx, err := parser.Parse(helpArgs(line))
	if left {
		return code
	}
	if err != nil {
		return report(stderr, misused(err))
	}
	cli.Sendmail.Args = own
	return report(stderr, ctx.Run(&cli.Globals, parser))
}
