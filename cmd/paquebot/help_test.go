package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"paquebot/internal/mail"
	"paquebot/internal/smtpclient"
)

func runMain(args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = run(append([]string{"paquebot"}, args...), strings.NewReader(""), &out, &errs)
	return out.String(), errs.String(), code
}

// Every command shows three examples of itself (ux.md §3.2.9), within 80
// columns but for what is to be pasted.
func TestEveryCommandHasThreeExamples(t *testing.T) {
	var cli CLI
	app, err := kong.New(&cli, kong.Name("paquebot"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range app.Model.Leaves(true) {
		if n.Type != kong.CommandNode {
			continue
		}
		path := strings.Fields(n.Path())
		args := append(slices.Clone(path), "--help")
		for i, a := range args { // positional words in the path are not typed
			if strings.HasPrefix(a, "<") {
				args = append(args[:i:i], "--help")
				break
			}
		}
		out, _, code := runMain(args...)
		_, examples, ok := strings.Cut(out, "Examples:")
		if !ok || strings.Count(examples, "paquebot ")+strings.Count(examples, "kill ") < 3 || code != 0 {
			t.Errorf("%v: three examples are missing\n%s", args, out)
		}
		for l := range strings.Lines(out) {
			if len(strings.TrimRight(l, "\n")) > 84 {
				t.Errorf("%v: too wide: %s", args, l)
			}
		}
	}
}

// The reference is made from the help, so that it cannot say something else.
func TestCommandReferenceIsCurrent(t *testing.T) {
	var cli CLI
	app, err := kong.New(&cli, kong.Name("paquebot"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# The commands\n\nAfter this page you can use any command. It is made from `paquebot help\nCOMMAND`.\n\n" +
		"Answers go to standard output, all else to standard error. Errors\nsay what went wrong, why, and what to do.\n")
	common := ""
	write := func(title string, args ...string) {
		out, _, _ := runMain(args...)
		if common == "" { // the flags of all commands, told once
			_, flags, _ := strings.Cut(out, "Flags:\n")
			common, _, _ = strings.Cut(flags, "\n\n")
		} else {
			out = strings.Replace(out, "\n\nFlags:\n"+common+"\n\n", "\n\nFlags:\n", 1)
			out = strings.Replace(out, "\n\nFlags:\n"+common+"\n", "\n", 1)
		}
		fmt.Fprintf(&b, "\n## %s\n\n```text\n%s\n```\n", title, strings.TrimSpace(out))
	}
	write("Flags of every command", "--help")
	for _, n := range app.Model.Leaves(true) {
		if n.Type == kong.CommandNode {
			write("paquebot "+n.Path(), append(strings.Fields(n.Path()), "--help")...)
		}
	}
	for _, topic := range topics {
		write("paquebot help "+topic.name, "help", topic.name)
	}
	golden(t, "../../docs/reference/commands.md", b.String())
}

func TestHelpIsWhereItIsLookedFor(t *testing.T) {
	for line, want := range map[string]string{
		"help":                 "START",
		"help queue":           "OPERATE",
		"help queue hold":      "too many complaints",
		"help exit-codes":      "could not tell",
		"help environment":     "PAQUEBOT_CONFIG",
		"help ports":           "STARTTLS",
		"queue hold --help":    "too many complaints",
		"sendmail --help":      "sysexits",
		"-c x sendmail -h":     "sysexits",
		"--version":            release,
		"completion bash":      "end-rule",
		"queue hold -h":        "Show this.",
		"account token add -h": "--for",
	} {
		out, errs, code := runMain(strings.Fields(line)...)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d\n%s%s", line, code, out, errs)
		}
	}
}

func TestWrongUseNamesTheCommandsHelp(t *testing.T) {
	for line, want := range map[string]string{
		"qeue":                 "paquebot help lists",
		"help qeue":            "queue",
		"queue sumary":         "paquebot help queue",
		"queue list --sit x":   "paquebot help queue list",
		"queue list --state x": `one of "ready","waiting"`,
		"send --timeout soon":  `got "soon"` + "\n",
		"send --from a@example.org --to b@example.org": "--server",
		"completion tcsh": `"bash","zsh","fish"`,
	} {
		_, errs, code := runMain(strings.Fields(line)...)
		if code != exitUnsure || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d\n%s", line, code, errs)
		}
	}
}

// sendmail's options are not kong's: -bs is one option, -oi too.
func TestSendmailKeepsItsArguments(t *testing.T) {
	for line, want := range map[string]string{
		"sendmail -bs":                   "sendmail|-bs",
		"sendmail -oi -t":                "sendmail|-oi -t",
		"-c f sendmail -ti":              "-c f sendmail|-ti",
		"sendmail -c f -f a@b.example c": "sendmail -c f|-f a@b.example c",
		"sendmail --config=f x":          "sendmail --config=f|x",
		"sendmail --help":                "sendmail --help|",
		"sendmail -h 5 x":                "sendmail|-h 5 x",
		"queue list sendmail":            "",
		"sendmail -c":                    "sendmail -c|",
	} {
		flags, own, ok := sendmailArgs(strings.Fields(line))
		got := strings.Join(flags, " ") + "|" + strings.Join(own, " ")
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q", line, got)
		}
	}
}

func TestSendmailCompletesAddresses(t *testing.T) {
	for _, c := range []struct{ args, from, to string }{
		{"-f anna paul", "anna@mx1.example.org", "paul@mx1.example.org"},
		{"-f anna@example.net paul@example.net", "anna@example.net", "paul@example.net"},
		{"-f <> paul", "", "paul@mx1.example.org"},
	} {
		call, err := parseSendmail(strings.Fields(c.args))
		if err != nil {
			t.Fatal(err)
		}
		call.host = "mx1.example.org"
		m, err := call.message(strings.NewReader("Subject: x\n\nhi\n"))
		if err != nil || m.From != c.from || m.Recipients[0].Address != c.to {
			t.Errorf("%s: %q to %q, %v", c.args, m.From, m.Recipients[0].Address, err)
		}
	}
}

// What SCRAM's server says last would let the password be guessed offline.
func TestDialogueHidesTheLogin(t *testing.T) {
	var b bytes.Buffer
	d := dialogue{w: &b}
	for _, l := range []string{">AUTH SCRAM-SHA-256 <redacted 32 bytes>", "<334 cj1hYmM=", "><redacted 48 bytes>", "<334 dj1hYmM=", "><redacted 0 bytes>", "<235 2.7.0 Ok", ">DATA", "<354 go on"} {
		d.line(l[0] == '>', l[1:])
	}
	if strings.Contains(b.String(), "cj1") || strings.Contains(b.String(), "dj1") || !strings.Contains(b.String(), "354 go on") {
		t.Error(b.String())
	}
}

func TestSendRefusesBeforeItConnects(t *testing.T) {
	for line, want := range map[string]string{
		"send --server h.invalid --from nobody --to a@example.org":                            "--from: \"nobody\" is not an address",
		"send --server h.invalid --from a@example.org --to a@":                                "--to: ",
		"send --server h.invalid --from a@example.org --to b@example.org --attach /gone":      "/gone: no such file or directory",
		"send --server h.invalid --from a@example.org --to b@example.org --user u":            "--password-file",
		"send --server h.invalid:x --from a@example.org --to b@example.org":                   "is not a port",
		"send --server h.invalid:25 --from a@example.org --to b@example.org --ca /etc/passwd": "no certificate",
	} {
		_, errs, code := runMain(strings.Fields(line)...)
		if code != exitUnsure || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d\n%s", line, code, errs)
		}
	}
}

func TestRefusalsSayWhatToTry(t *testing.T) {
	c := SendCmd{User: "anna"}
	for _, x := range []struct {
		a    smtpclient.Answer
		mode mail.Security
		want string
	}{
		{smtpclient.Answer{Kind: smtpclient.Lost, Stage: mail.StageGreeting}, mail.Verify, "--tls tls"},
		{smtpclient.Answer{Kind: smtpclient.Handshake}, mail.Implicit, "--tls starttls"},
		{smtpclient.Answer{Kind: smtpclient.NoLogin}, mail.Verify, "no way to log in"},
	} {
		var f *failure
		err := c.refused(&dialogue{w: io.Discard}, &sendTarget{}, endpoint{mode: x.mode}, x.a, &sendResult{})
		if f, _ = err.(*failure); f == nil || !strings.Contains(f.remedy, x.want) {
			t.Errorf("%v: %v", x.a, err)
		}
	}
}

func TestCausesAreToldWithoutCalls(t *testing.T) {
	for in, want := range map[string]string{
		"dial tcp 127.0.0.1:1: connect: connection refused":                 "connection refused",
		"dial tcp: lookup mx.example.org on 192.0.2.53:53: no such host":    "lookup mx.example.org: no such host",
		"read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer": "connection reset by peer",
		"550 5.1.1 dial tcp": "550 5.1.1 dial tcp",
	} {
		if got := plainText(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
