package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"paquebot/internal/config"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/observe"
	"paquebot/internal/route"
)

// Release is the way out for caught mail that a person sends on for real: by
// a smart host of the configuration and by nothing else.
//
// Which message leaves by which smart host is kept in memory alone. Should the
// process end before the message has left, it is routed as all mail is, and
// caught again: what is forgotten stays here.
type Release struct {
	node *Node
	out  *releases
}

// releases are the messages on their way out.
type releases struct {
	mu  sync.Mutex
	via map[mail.ID]string
	// order bounds them: the oldest are forgotten.
	order []mail.ID
}

// releasesMax is how many messages may be on their way out at once.
const releasesMax = 1000

func (r *releases) put(id mail.ID, via string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.via == nil {
		r.via = map[mail.ID]string{}
	}
	r.via[id] = via
	r.order = append(r.order, id)
	for len(r.order) > releasesMax {
		delete(r.via, r.order[0])
		r.order = r.order[1:]
	}
}

func (r *releases) of(id mail.ID) (via string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	via, ok = r.via[id]
	return via, ok
}

// waysOut are routers that know one smart host each.
func waysOut(c *config.Config, needs route.Needs) (map[string]*route.Router, error) {
	out := map[string]*route.Router{}
	for name := range c.Smarthosts {
		rc := routeConfig(c, nil)
		rc.Domains, rc.Rules = nil, []route.Rule{{Via: name}}
		r, err := route.New(rc, needs)
		if err != nil {
			return nil, err
		}
		out[name] = r
	}
	return out, nil
}

// Release returns the way out; nil where mail is not caught.
func (n *Node) Release() *Release {
	if n.caught == nil {
		return nil
	}
	return &Release{n, &n.current.releases}
}

// Ways are the smart hosts of the configuration, by name, with their hosts.
func (r *Release) Ways() (names []string, hosts map[string]string) {
	g := r.node.current.generation.Load()
	hosts = map[string]string{}
	if g == nil {
		return nil, hosts
	}
	for name, s := range g.config.Smarthosts {
		hosts[name] = s.Host
		if s.Host == "" {
			hosts[name] = s.Provider
		}
	}
	return slices.Sorted(maps.Keys(hosts)), hosts
}

// Send queues a caught message for exactly these recipients. It returns when
// the queue has it, with the ID it leaves by.
func (r *Release) Send(ctx context.Context, id mail.ID, via string, to []string) (mail.ID, error) {
	if names, _ := r.Ways(); !slices.Contains(names, via) {
		return mail.ID{}, fmt.Errorf("there is no smart host %q; there are: %s", via, strings.Join(names, ", "))
	}
	if len(to) == 0 {
		return mail.ID{}, fmt.Errorf("nobody is named to send it to")
	}
	m, err := r.node.caught.Get(id)
	if err != nil {
		return mail.ID{}, err
	}
	stored, err := r.node.caught.Raw(id)
	if err != nil {
		return mail.ID{}, err
	}
	defer func() { _ = stored.Close() }()
	raw, err := io.ReadAll(mail.Reader(stored))
	if err != nil {
		return mail.ID{}, err
	}
	now := time.Now()
	env := &mail.Envelope{
		ID: r.node.ids.Next(now), Arrived: now, From: m.From, Subject: m.Subject, MessageID: m.MessageID,
		Params: mail.Params{Body: m.Params.Body, UTF8: m.Params.UTF8}, Origin: mail.Origin{Role: mail.RoleLocal, Session: "release of " + id.String()},
	}
	for _, a := range to {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: a})
	}
	head, body, whole := bytes.Cut(raw, []byte("\r\n\r\n"))
	if whole {
		head = raw[:len(head)+4]
	} else {
		head, body = append([]byte(nil), "\r\n"...), raw
	}
	r.out.put(env.ID, via)
	if err := r.node.intake.Put(ctx, env, head, body); err != nil {
		return mail.ID{}, err
	}
	r.node.events.Emit(event.MessageAccepted{Envelope: env, Verdict: []string{"released through " + via}})
	return env.ID, nil
}

// Trace tells the life of a message, as far as it is remembered.
func (n *Node) Trace(id mail.ID) ([]observe.Entry, error) { return n.disk.History.Of(id) }
