package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// CompletionCmd prints a script that makes a shell complete commands and flags.
type CompletionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown below the usage of the command.
func (CompletionCmd) Help() string {
	return `Examples:
  paquebot completion bash > /etc/bash_completion.d/paquebot
  paquebot completion zsh  > "${fpath[1]}/_paquebot"
  paquebot completion fish > ~/.config/fish/completions/paquebot.fish`
}

// Run writes the script to standard output.
func (c CompletionCmd) Run(g *Globals, app *kong.Kong) error {
	words := completions(app.Model.Node, nil)
	switch c.Shell {
	case "bash":
		bashCompletion(g.Stdout, words)
	case "zsh":
		fmt.Fprintln(g.Stdout, "#compdef paquebot")
		fmt.Fprintln(g.Stdout, "autoload -U +X bashcompinit && bashcompinit")
		bashCompletion(g.Stdout, words)
	case "fish":
		fishCompletion(g.Stdout, words)
	}
	return nil
}

// choice is what may follow a command path: "queue" -> list show hold ...
type choice struct {
	path  string
	words []string // subcommands and flags
}

func completions(n *kong.Node, path []string) []choice {
	c := choice{path: strings.Join(path, " ")}
	var below []choice
	for _, child := range n.Children {
		if child.Type != kong.CommandNode || child.Hidden {
			continue
		}
		c.words = append(c.words, child.Name)
		below = append(below, completions(child, append(path[:len(path):len(path)], child.Name))...)
	}
	for _, f := range n.Flags {
		if !f.Hidden {
			c.words = append(c.words, "--"+f.Name)
		}
	}
	return append([]choice{c}, below...)
}

func bashCompletion(w io.Writer, choices []choice) {
	fmt.Fprint(w, `_paquebot() {
	local cur=${COMP_WORDS[COMP_CWORD]} path="" i
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-*) ;;
		*) path="${path:+$path }${COMP_WORDS[i]}" ;;
		esac
	done
	local words=""
	while :; do
		case "$path" in
`)
	for _, c := range choices {
		fmt.Fprintf(w, "\t\t%q) words=%q; break ;;\n", c.path, strings.Join(c.words, " "))
	}
	fmt.Fprint(w, `		"") break ;;
		*" "*) path=${path% *} ;;
		*) path="" ;;
		esac
	done
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _paquebot paquebot
`)
}

func fishCompletion(w io.Writer, choices []choice) {
	for _, c := range choices {
		cond := "__fish_use_subcommand"
		if c.path != "" {
			cond = "__fish_seen_subcommand_from " + c.path
		}
		for _, word := range c.words {
			if flag, ok := strings.CutPrefix(word, "--"); ok {
				fmt.Fprintf(w, "complete -c paquebot -n %q -l %s\n", cond, flag)
			} else {
				fmt.Fprintf(w, "complete -c paquebot -f -n %q -a %s\n", cond, word)
			}
		}
	}
}
