package console

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// listView is a stretch of the list.
type listView struct {
	Rows     []row
	Total    int
	Next     uint64
	Older    bool // not the newest stretch
	Selected mail.ID
}

// row is a message, or a session in which something was refused: what failed
// stands beside what was caught.
type row struct {
	*catch.Message
	glance
	Refused *catch.Session
}

// At is when it happened.
func (r row) At() time.Time {
	if r.Refused != nil {
		return r.Refused.At
	}
	return r.Caught
}

func (c *console) list(r *http.Request, selected mail.ID) *listView {
	before, _ := strconv.ParseUint(r.URL.Query().Get("before"), 10, 64)
	p := c.needs.Store.List(query(r), before, pageSize)
	v := &listView{Total: p.Total, Next: p.Next, Older: before != 0, Selected: selected}
	for i := range p.Messages {
		m := &p.Messages[i]
		v.Rows = append(v.Rows, row{Message: m, glance: c.glance(r.Context(), m)})
	}
	if r.URL.Query().Get("q") == "" {
		v.Rows = withRefused(v.Rows, c.refused(r), p.Next != 0, before != 0)
	}
	return v
}

// refused are the sessions that belong beside the list: those of the mailbox,
// or all.
func (c *console) refused(r *http.Request) []catch.Session {
	box := r.URL.Query().Get("mailbox")
	var out []catch.Session
	for _, s := range c.needs.Store.Sessions() {
		if box == "" || s.Origin.Account == box {
			out = append(out, s)
		}
	}
	return out
}

// withRefused puts sessions among the messages, by time, newest first. A stretch
// of the list holds those that fall into it.
func withRefused(rows []row, sessions []catch.Session, more, older bool) []row {
	var out []row
	put := func(newer func(time.Time) bool) {
		for len(sessions) > 0 && newer(sessions[0].At) {
			if len(out) > 0 || !older {
				out = append(out, row{Refused: &sessions[0]})
			}
			sessions = sessions[1:]
		}
	}
	for _, m := range rows {
		put(func(at time.Time) bool { return at.After(m.Caught) })
		out = append(out, m)
	}
	if !more {
		put(func(time.Time) bool { return true })
	}
	return out
}

// glance is what a list shows of a message beside its envelope and header.
type glance struct {
	Snippet     string
	Attachments int
	Verdict     Level // the worst that production would have said; "" when nobody was asked
	Failings    int   // findings of that level
}

// glances remembers what was read for lists; messages never change.
type glances struct {
	mu    sync.Mutex
	known map[mail.ID]glance
}

const (
	glancesMax = 20_000    // remembered: as many messages as are kept, twice
	glanceMax  = 128 << 10 // octets of a message read for a list
	snippetMax = 160       // bytes
)

func (c *console) glance(ctx context.Context, m *catch.Message) glance {
	c.glances.mu.Lock()
	g, known := c.glances.known[m.ID]
	c.glances.mu.Unlock()
	if known {
		return g
	}
	g, ok := c.look(ctx, m)
	if !ok {
		return g
	}
	c.glances.mu.Lock()
	defer c.glances.mu.Unlock()
	if len(c.glances.known) >= glancesMax {
		clear(c.glances.known)
	}
	c.glances.known[m.ID] = g
	return g
}

// look reads the beginning of a message. It reports whether that is worth
// remembering.
func (c *console) look(ctx context.Context, m *catch.Message) (g glance, ok bool) {
	body, err := c.needs.Store.Raw(m.ID)
	if err != nil {
		return g, false
	}
	defer func() { _ = body.Close() }()
	root, err := message.Parse(mail.Reader(body), message.Limits{Bytes: glanceMax, Parts: 200})
	if err != nil {
		return g, false
	}
	contents := root.Contents()
	g.Snippet = contents.Preview(snippetMax)
	g.Attachments = len(contents.Attachments)
	if c.needs.Critique == nil || m.Size > glanceMax {
		return g, true
	}
	findings, err := c.needs.Critique(ctx, m.ID)
	if err != nil {
		return g, false
	}
	g.Verdict, g.Failings = worst(findings)
	return g, true
}

// worst returns the gravest level and how many findings have it.
func worst(findings []Finding) (level Level, count int) {
	level = Good
	for _, f := range findings {
		switch {
		case f.Level.weight() > level.weight():
			level, count = f.Level, 1
		case f.Level == level:
			count++
		}
	}
	return level, count
}

func (l Level) weight() int {
	switch l {
	case Hint:
		return 1
	case Warning:
		return 2
	case Failing:
		return 3
	}
	return 0
}
