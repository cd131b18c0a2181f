package main

import (
	"strings"
	"time"

	"paquebot/internal/compat"
	"paquebot/internal/critique"
	"paquebot/internal/mail"
	"paquebot/internal/node"
)

// compatible makes what answers as Mailpit and as MailHog.
func (c *DevCmd) compatible(n *node.Node, w node.World, dir string) (*compat.API, error) {
	ids, err := mail.NewIDs(w.Rand)
	if err != nil {
		return nil, err
	}
	return compat.New(compat.Config{
		Version: versionString(), MailHog: c.Compat == "mailhog", Database: dir, BasePath: c.basePath(),
	}, compat.Needs{
		Store: n.Caught(), IDs: func() mail.ID { return ids.Next(time.Now()) }, Mishaps: compat.OverMishap(n.Mishaps()),
		HTMLCheck: func(document string) (any, error) { return critique.HTML(document) },
	}), nil
}

// basePath is --path as the browser has it: "/mail", or "".
func (c *DevCmd) basePath() string {
	if path := strings.Trim(c.Path, "/"); path != "" {
		return "/" + path
	}
	return ""
}
