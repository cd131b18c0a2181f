package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/config"
	"paquebot/internal/console"
	"paquebot/internal/mail"
	"paquebot/internal/node"
	"paquebot/internal/smtpclient"
)

// waysOut takes the smart hosts of a configuration that was named, and nothing
// else of it: caught mail may be released through them by hand.
func (g *Globals) waysOut(into *config.Config) error {
	if g.ConfigFile == "" {
		return nil
	}
	c, problems := config.WaysOut(g.ConfigFile)
	if c == nil {
		fmt.Fprint(g.Stderr, config.Render(problems))
		return unsure("the smart hosts of "+g.ConfigFile, errors.New("not ready for use"), "Explain a key: paquebot config explain KEY")
	}
	into.Smarthosts = c.Smarthosts
	into.DNS = c.DNS
	return nil
}

// wayOut is node's release as the page needs it.
type wayOut struct{ *node.Release }

// Routes implements console.Release.
func (w wayOut) Routes() []console.Route {
	names, hosts := w.Ways()
	var out []console.Route
	for _, n := range names {
		out = append(out, console.Route{Name: n, What: hosts[n]})
	}
	return out
}

// submitTime bounds the dialogue that brings a reply.
const submitTime = 20 * time.Second

// submitter hands a message in at the port for mail from other servers, as one
// of them would: what is tried is the way real mail comes.
func submitter(w node.World, port uint16) func(context.Context, string, []string, []byte) (string, error) {
	if port == 0 {
		return nil
	}
	return func(ctx context.Context, from string, to []string, message []byte) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, submitTime)
		defer cancel()
		conn, err := w.Dial(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), netip.Addr{})
		if err != nil {
			return "", err
		}
		client, err := smtpclient.Open(ctx, conn, smtpclient.Options{Ehlo: "reply.localhost", Security: mail.Opportunistic})
		if err != nil {
			return "", err
		}
		defer client.Quit()
		m := smtpclient.Message{From: from, Body: mail.Bytes(message)}
		for _, a := range to {
			m.Recipients = append(m.Recipients, mail.Recipient{Address: a})
		}
		reply := ""
		for _, answer := range client.Send(ctx, m) {
			if !answer.Good() {
				return "", answer
			}
			reply = answer.Reply.String()
		}
		return reply, nil
	}
}

// tracer tells the life of a message in the page's words.
func tracer(n *node.Node) func(context.Context, mail.ID) ([]console.Step, error) {
	return func(_ context.Context, id mail.ID) ([]console.Step, error) {
		entries, err := n.Trace(id)
		if err != nil {
			return nil, err
		}
		var out []console.Step
		for _, e := range entries {
			step := console.Step{Time: e.Time, Type: e.Type}
			var facts map[string]any
			if json.Unmarshal(e.Facts, &facts) != nil {
				continue
			}
			for name, v := range facts {
				if text := factText(v); text != "" && name != "dialogue" && name != "id" {
					step.Facts = append(step.Facts, console.Fact{Name: strings.ReplaceAll(name, "_", " "), Value: text})
				}
			}
			slices.SortFunc(step.Facts, func(a, b console.Fact) int { return strings.Compare(a.Name, b.Name) })
			out = append(out, step)
		}
		return out, nil
	}
}

func factText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return cut(v, 300)
	case float64:
		return strconv.FormatFloat(v, 'g', 6, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return cut(string(b), 300)
}
