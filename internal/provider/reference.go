package provider

import (
	"fmt"
	"strconv"
	"strings"

	"paquebot/internal/mail"
)

// Reference writes docs/reference/providers.md from the catalogue.
func Reference() string {
	var b strings.Builder
	b.WriteString(providersHead)
	for _, p := range All() {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s | %s | %s | %s |\n",
			p.Name, p.Name, p.Title, p.hostCell(), numbers(p.Ports, mail.Verify), numbers(p.Ports, mail.Implicit), p.Confidence)
	}
	for _, p := range All() {
		p.section(&b)
	}
	return b.String()
}

const providersHead = `# Providers

After this page you know what ` + "`provider = \"NAME\"`" + ` in a ` + "`[smarthost.…]`" + ` stands for: hosts, ports, how to sign in, and what a provider's refusals mean. It is made from ` + "`internal/provider/providers.toml`" + `, which a person can edit; ` + "`paquebot doctor --providers`" + ` prints the same facts, and ` + "`paquebot doctor NAME`" + ` asks the provider itself.

A region is written after a colon: ` + "`ses:eu-west-1`, `mailgun:eu`" + `; without one it is the first. Every port is used with verified TLS only, whatever else the provider would accept there. How sure an entry is: *verified* was read on the provider's own page, *reported* on another page, *unconfirmed* is general knowledge: let the doctor confirm it before you rely on it.

| name | provider | host | STARTTLS | TLS at once | confidence |
|---|---|---|---|---|---|
`

func (p *Provider) hostCell() string {
	switch len(p.Regions) {
	case 0:
		return "your own"
	case 1:
		return "`" + p.Regions[0].Host + "`"
	}
	return fmt.Sprintf("`%s` and %d more", p.Regions[0].Host, len(p.Regions)-1)
}

func numbers(ports []Port, mode mail.Security) string {
	var words []string
	for _, port := range ports {
		if port.Mode == mode {
			words = append(words, strconv.Itoa(int(port.Number)))
		}
	}
	if len(words) == 0 {
		return "–"
	}
	return strings.Join(words, ", ")
}

func (p *Provider) section(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n%s (%s). *%s; checked %s; source: %s.* Its own page: <%s>.\n",
		p.Name, p.Title, p.ID, p.Confidence, p.Checked, p.Source, p.Docs)
	if len(p.Aliases) > 0 {
		fmt.Fprintf(b, "\nAlso called `%s`.\n", strings.Join(p.Aliases, "`, `"))
	}
	fmt.Fprintf(b, "\nSign-in: %s.%s\n", p.Auth.Hint, p.mechanisms())
	for _, n := range p.Notes {
		fmt.Fprintf(b, "\n- %s", n)
	}
	if len(p.Notes) > 0 {
		b.WriteString("\n")
	}
	if l := p.Limits.String(); l != "" {
		fmt.Fprintf(b, "\nLimits: %s.\n", l)
	}
	if h := p.Headers.words(); h != "" {
		fmt.Fprintf(b, "\n%s\n", h)
	}
	if len(p.Regions) > 1 {
		b.WriteString("\n| region | host | confidence |\n|---|---|---|\n")
		for _, r := range p.Regions {
			fmt.Fprintf(b, "| `%s:%s` | `%s` | %s |\n", p.Name, r.Name, r.Host, r.Confidence)
		}
	}
	if len(p.Replies) > 0 {
		b.WriteString("\n| reply, for example | class | means | do | confidence |\n|---|---|---|---|---|\n")
		for _, r := range p.Replies {
			fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", r.Example, r.Class, cell(r.Means), cell(r.Do), r.Confidence)
		}
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func (p *Provider) mechanisms() string {
	if len(p.Auth.Mechanisms) == 0 {
		return ""
	}
	return " Mechanisms: " + strings.Join(p.Auth.Mechanisms, ", ") + "."
}

// String names the known limits, "" if there is none.
func (l Limits) String() string {
	var words []string
	add := func(n int, unit string) {
		if n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, unit))
		}
	}
	if l.MessageBytes > 0 {
		add(int(l.MessageBytes>>20), "MiB a message (the server's SIZE decides)")
	}
	add(l.Recipients, "recipients a message")
	add(l.Connections, "connections at once")
	add(l.MessagesPerConnection, "messages a connection")
	add(l.MessagesPerMinute, "messages a minute")
	add(l.MessagesPerDay, "recipients a day")
	add(l.IdleSeconds, "seconds idle")
	return strings.Join(words, ", ")
}

func (h Headers) words() string {
	var words []string
	if len(h.Private) > 0 {
		words = append(words, "Header fields passed to this provider and to nobody else: `"+strings.Join(h.Private, "`, `")+"`.")
	}
	if h.Idempotency != "" {
		words = append(words, "`"+h.Idempotency+"` makes a repeated message harmless.")
	}
	if h.RewritesMessageID {
		words = append(words, "Gives each message a Message-ID of its own.")
	}
	if !h.ForeignDKIM {
		words = append(words, "Refuses a DKIM signature beside its own.")
	}
	return strings.Join(words, " ")
}

// NetworksReference writes docs/reference/networks.md from the catalogue.
func NetworksReference() string {
	var b strings.Builder
	b.WriteString(networksHead)
	for _, n := range Networks() {
		fmt.Fprintf(&b, "| %s |", n.Title)
		for _, port := range []uint16{25, 465, 587, 2525} {
			f, _ := n.On(port)
			fmt.Fprintf(&b, " %s |", f.words(n.Confidence))
		}
		fmt.Fprintf(&b, " %s | %s; %s, %s |\n", cell(n.WayOut), n.Confidence, n.Source, n.Checked)
	}
	return b.String()
}

func (f Filter) words(usual string) string {
	s := f.State
	if f.How != "" {
		s += ": " + f.How
	}
	if f.Confidence != usual {
		s += " (" + f.Confidence + ")"
	}
	return s
}

const networksHead = `# Networks that filter mail

After this page you can guess why a port is closed from where you are. It is made from ` + "`internal/provider/networks.toml`" + `; the doctor uses it to name a likely culprit and never more: these are common settings, and ` + "`paquebot doctor`" + ` measures yours.

| network | 25 | 465 | 587 | 2525 | way out | confidence, source, date |
|---|---|---|---|---|---|---|
`
