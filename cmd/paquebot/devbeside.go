package main

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"paquebot/internal/catch"
	"paquebot/internal/compat"
	"paquebot/internal/console"
	"paquebot/internal/event"
	"paquebot/internal/listen"
	"paquebot/internal/mail"
	"paquebot/internal/node"
	"paquebot/internal/pop3"
)

// beside starts what stands beside the catcher when asked for: the port for
// mail programs, which is returned, and the webhook. stop ends them.
func (c *DevCmd) beside(w node.World, n *node.Node, api *compat.API, certs *listen.Certs, events event.Sink) (port uint16, stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	stop = func() {
		cancel()
		running.Wait()
	}
	if c.POP3 != 0 {
		l, err := w.Listen(c.address(c.POP3))
		if err != nil {
			cancel()
			return 0, nil, c.failure(w, err)
		}
		port = tcpPort(l.Addr())
		server := pop3.New(pop3.Needs{Mail: readable{n.Caught()}, TLS: certs.Config(false)})
		running.Go(func() { _ = server.Serve(ctx, l) })
	}
	if c.Webhook == "" {
		return port, stop, nil
	}
	a, err := c.announcer(n.Caught(), events)
	if err != nil {
		stop()
		return 0, nil, err
	}
	c.announces(a, api)
	running.Go(func() {
		if err := a.Run(ctx); err != nil {
			events.Emit(event.AnnouncementFailed{Error: err.Error()})
		}
	})
	return port, stop, nil
}

func (c *DevCmd) announcer(store *catch.Store, events event.Sink) (*console.Announcer, error) {
	if u, err := url.Parse(c.Webhook); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, unsure("--webhook "+c.Webhook, errors.New("not the address of an application"), "write http://localhost:3000/mail")
	}
	a := &console.Announcer{URL: c.Webhook, Store: store, Events: events}
	if c.Data != "" {
		a.Path = filepath.Join(c.Data, "announced")
	}
	if c.SecretFile != "" {
		b, err := os.ReadFile(c.SecretFile)
		if err != nil {
			return nil, unsure("cannot read the webhook's secret", err, "")
		}
		a.Secret = bytes.TrimRight(b, "\r\n")
	}
	return a, nil
}

// readable is the catch store as a mail program reads it.
type readable struct{ store *catch.Store }

func (r readable) Messages(mailbox string) []pop3.Message {
	var out []pop3.Message
	for before := uint64(0); ; {
		p := r.store.List(catch.Query{Mailbox: mailbox}, before, 1000)
		for _, m := range p.Messages {
			out = append(out, pop3.Message{ID: m.ID, Size: m.Size})
		}
		if before = p.Next; before == 0 {
			slices.Reverse(out)
			return out
		}
	}
}

func (r readable) Open(id mail.ID) (mail.Body, error) { return r.store.Raw(id) }

func (r readable) Delete(ids ...mail.ID) error {
	_, err := r.store.Delete(ids...)
	return err
}

// inUse returns the address that another program has, "" if that is not the
// trouble.
func inUse(err error) string {
	var b *listen.BindError
	if errors.As(err, &b) && errors.Is(err, syscall.EADDRINUSE) {
		return b.Address
	}
	return ""
}
