package spool

import (
	"slices"
	"time"

	"paquebot/internal/mail"
)

// message is one that is known in memory only: hot. It is a small thing; its
// envelope is in the record, and only what changed since is beside it.
type message struct {
	id         mail.ID
	loc        location
	size       int64 // of the content
	recipients int
	tenant     string
	priority   int
	accepted   time.Time // by our clock, to know its age
	logical    uint64    // octets in the journal before it, all segments counted
	news       []news    // by recipient; all others are fresh
	data       *payload  // nil when it must be read back; guarded by Journal.mu
	own        payload   // what data is to begin with
	chilled    bool      // on its way into the index
}

// news is a recipient's newest standing, and the segment that has it.
type news struct {
	recipient int
	segment   uint32 // 0: the accept record itself
	standing  mail.Standing
}

// newMessage notes what the spool must know of an envelope.
func newMessage(env *mail.Envelope, loc location, size int64) *message {
	m := &message{
		id: env.ID, loc: loc, size: size,
		recipients: len(env.Recipients), tenant: env.Tenant(), priority: env.Params.Priority,
	}
	for i := range env.Recipients {
		if s := &env.Recipients[i].Standing; !Fresh(s) {
			m.news = append(m.news, news{recipient: i, standing: *s})
		}
	}
	return m
}

func (m *message) find(recipient int) (int, bool) {
	return slices.BinarySearchFunc(m.news, recipient, func(n news, r int) int { return n.recipient - r })
}

// standing returns a recipient's standing and the segment that has it.
func (m *message) standing(recipient int) (mail.Standing, uint32) {
	if i, ok := m.find(recipient); ok {
		return m.news[i].standing, m.news[i].segment
	}
	return mail.Standing{}, 0
}

func (m *message) set(recipient int, segment uint32, s mail.Standing) {
	i, ok := m.find(recipient)
	if !ok {
		m.news = slices.Insert(m.news, i, news{recipient: recipient})
	}
	m.news[i].segment, m.news[i].standing = segment, s
}

// loose is Loose without the envelope.
func (m *message) loose() bool {
	if len(m.news) < m.recipients {
		return true
	}
	standing := 0
	for i := range m.news {
		s := &m.news[i].standing
		if s.State.Final() && !s.Reported {
			return true
		}
		if !s.State.Final() {
			standing++
		}
	}
	return standing == 0
}

// overlay brings an envelope as it was accepted up to date.
func overlay(env *mail.Envelope, all []news) {
	for i := range all {
		if r := all[i].recipient; r < len(env.Recipients) {
			env.Recipients[r].Standing = all[i].standing
		}
	}
}

// cold is a message in the index.
type cold struct {
	asOf     Pos // records before this position are in it
	loc      location
	env      *mail.Envelope
	segments []uint32 // per recipient, which one has its standing; 0: the accept record
	wasLoose bool     // as the index has it
	dirty    bool
	gone     bool
}

// counts is what Stat sums up.
type counts struct {
	messages, recipients, octets int64
	states                       [mail.Deleted + 1]int64
}

func (c *counts) add(d *counts, sign int64) {
	c.messages += sign * d.messages
	c.recipients += sign * d.recipients
	c.octets += sign * d.octets
	for i := range c.states {
		c.states[i] += sign * d.states[i]
	}
}

func (m *message) counts() counts {
	c := counts{messages: 1, recipients: int64(m.recipients), octets: m.size}
	c.states[mail.Waiting] = int64(m.recipients - len(m.news))
	for i := range m.news {
		c.states[m.news[i].standing.State]++
	}
	return c
}

func (c *cold) counts() counts {
	n := counts{messages: 1, recipients: int64(len(c.env.Recipients)), octets: c.loc.size()}
	for i := range c.env.Recipients {
		n.states[c.env.Recipients[i].State]++
	}
	return n
}
