package accounts

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"paquebot/internal/smtp"
)

// Usage is what an account sent in the last hour and day.
type Usage struct {
	MessagesHour, MessagesDay     int
	RecipientsHour, RecipientsDay int
}

// usage counts what accounts send (ABU-8), in coarse buckets, and writes the
// counts down now and then, so that a restart does not give quotas anew. A
// table that fails makes it forget at restarts, and never refuses mail: whoever
// opened the table hears of that (store.Options.Trouble).
type usage struct {
	table Table // may be nil
	mu    sync.Mutex
	open  *lru[string, *counters]
}

const (
	// countersMax are the accounts counted in memory, about 400 octets each;
	// the counts of others lie in the table.
	countersMax = 1 << 14
	// saveEvery is how much of a busy account's counting a kill may lose.
	saveEvery   = time.Second
	usagePrefix = "usage/"

	hourSlots = 12 // of five minutes
	daySlots  = 24 // of an hour
	hourSlot  = 5 * time.Minute
	daySlot   = time.Hour
)

func newUsage(table Table) *usage {
	u := &usage{table: table, open: newLRU[string, *counters](countersMax)}
	u.open.dropped = func(key string, c *counters) { _ = u.save(key, c) } // see usage
	return u
}

// counters are rings of buckets; [0] holds the slot Hour (or Day) mod length.
// One bucket more than the window has: the oldest counts by the part of it
// that is still inside.
type counters struct {
	saved time.Time // when last written down
	dirty bool
	state counterState
}

type counterState struct {
	Version        uint8
	Hour, Day      int64 // the newest slot counted in, since 1970
	HourMessages   [hourSlots + 1]uint32
	HourRecipients [hourSlots + 1]uint32
	DayMessages    [daySlots + 1]uint32
	DayRecipients  [daySlots + 1]uint32
}

// advance empties the buckets between the newest slot and now. A clock set
// back counts on in the newest slot.
func advance(newest *int64, now int64, rings ...[]uint32) {
	steps := min(now-*newest, int64(len(rings[0])))
	for i := int64(0); i < steps; i++ {
		for _, r := range rings {
			r[(now-i)%int64(len(r))] = 0
		}
	}
	*newest = max(*newest, now)
}

func (s *counterState) advance(now time.Time) {
	advance(&s.Hour, now.Unix()/int64(hourSlot/time.Second), s.HourMessages[:], s.HourRecipients[:])
	advance(&s.Day, now.Unix()/int64(daySlot/time.Second), s.DayMessages[:], s.DayRecipients[:])
}

// sum is the sliding window's: all buckets, the oldest in part.
func sum(ring []uint32, newest int64, slot time.Duration, now time.Time) int {
	n := int64(len(ring))
	oldest := ring[(newest+1)%n]
	var total int64
	for _, v := range ring {
		total += int64(v)
	}
	inside := 1 - float64(now.Unix()%int64(slot/time.Second))/slot.Seconds()
	return int(total - int64(oldest) + int64(float64(oldest)*inside))
}

func (s *counterState) usage(now time.Time) Usage {
	return Usage{
		MessagesHour:   sum(s.HourMessages[:], s.Hour, hourSlot, now),
		RecipientsHour: sum(s.HourRecipients[:], s.Hour, hourSlot, now),
		MessagesDay:    sum(s.DayMessages[:], s.Day, daySlot, now),
		RecipientsDay:  sum(s.DayRecipients[:], s.Day, daySlot, now),
	}
}

func (s *counterState) add(messages, recipients int) {
	m, r := uint32(messages), uint32(recipients)
	h, d := s.Hour%(hourSlots+1), s.Day%(daySlots+1)
	s.HourMessages[h] += m
	s.HourRecipients[h] += r
	s.DayMessages[d] += m
	s.DayRecipients[d] += r
}

// charge counts a message if judge allows it, given what was sent so far.
func (u *usage) charge(key string, recipients int, judge func(Usage) error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.get(key)
	now := time.Now()
	c.state.advance(now)
	if err := judge(c.state.usage(now)); err != nil {
		return err
	}
	if recipients > 0 {
		c.state.add(1, recipients)
		c.dirty = true
	}
	if c.dirty && now.Sub(c.saved) >= saveEvery {
		_ = u.save(key, c) // tried again with the next message; see usage
	}
	return nil
}

func (u *usage) get(key string) *counters {
	if c, ok := u.open.get(key); ok {
		return c
	}
	c := &counters{}
	if u.table != nil {
		if value, ok, err := u.table.Get([]byte(usagePrefix + key)); ok && err == nil {
			c.decode(value)
		}
	}
	u.open.put(key, c)
	return c
}

func (u *usage) save(key string, c *counters) error {
	if u.table == nil || !c.dirty {
		return nil
	}
	if err := u.table.Put([]byte(usagePrefix+key), c.encode()); err != nil {
		return err
	}
	c.dirty, c.saved = false, time.Now()
	return nil
}

func (u *usage) forget(key string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open.remove(key)
	if u.table != nil {
		_ = u.table.Delete([]byte(usagePrefix + key)) // what is left there runs out within a day
	}
}

func (u *usage) flush() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	var err error
	u.open.each(func(key string, c *counters) { err = errors.Join(err, u.save(key, c)) })
	return err
}

const counterVersion = 1

func (c *counters) encode() []byte {
	c.state.Version = counterVersion
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, &c.state); err != nil {
		return nil
	}
	return b.Bytes()
}

// decode takes counts as they were; those of another version count as none.
func (c *counters) decode(b []byte) {
	var s counterState
	if binary.Read(bytes.NewReader(b), binary.LittleEndian, &s) == nil && s.Version == counterVersion {
		s.Hour, s.Day = max(s.Hour, 0), max(s.Day, 0)
		c.state = s
	}
}

// overLimit names the limit that refused, for the log and for Rule.
type overLimit struct {
	rule string
	max  int64
}

func (e overLimit) Error() string { return fmt.Sprintf("limit of the account: %s %d", e.rule, e.max) }

// Rule is what an event calls the limit (event.CommandRefused.Rule).
func (e overLimit) Rule() string { return "rate:account-" + e.rule }

// Advice is what would help.
func (e overLimit) Advice() string {
	return "raise the account's limit, or spread the messages over time"
}

var (
	// tooManyForever: no later try of this message can fit the limit.
	tooManyForever = smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{Class: 5, Subject: 5, Detail: 3}, Text: "Too many recipients for this account"}
)

// Allow asks whether an account may send a message, and counts it if so. It
// refuses with RateLimit, DayQuota (RC-54), TooBig or "550 5.5.3", each naming
// the limit (TE-9, ABU-21); the window slides.
func (a *Accounts) Allow(account string, recipients int, size int64) error {
	return a.allow(account, max(recipients, 1), size)
}

// Peek asks as Allow does for the smallest message, and counts nothing: for
// MAIL, before any content is sent in vain.
func (a *Accounts) Peek(account string) error { return a.allow(account, 0, 0) }

func (a *Accounts) allow(account string, recipients int, size int64) error {
	e, err := a.principal(account)
	if err != nil {
		return err
	}
	if e == nil || e.Disabled {
		return smtp.NotYours.WithText("Account no longer active").Because(errDisabled)
	}
	l := a.limits(e)
	if err := l.fits(recipients, size); err != nil {
		return err
	}
	if l == (Limits{Size: l.Size, Recipients: l.Recipients}) && a.usage.table == nil {
		return nil // nothing limits, and nobody would see the counts
	}
	return a.usage.charge(canonical(e.Name), recipients, func(u Usage) error { return l.judge(u, max(recipients, 1)) })
}

// UsageOf is what the account sent lately.
func (a *Accounts) UsageOf(account string) (u Usage, err error) {
	err = a.usage.charge(canonical(account), 0, func(got Usage) error { u = got; return nil })
	return u, err
}

// LimitsOf is what the account may send: its own limits, else the general
// ones; zero Limits for an account that is not there.
func (a *Accounts) LimitsOf(account string) Limits {
	e, err := a.principal(account)
	if err != nil || e == nil {
		return Limits{}
	}
	return a.limits(e)
}

func (a *Accounts) limits(e *entry) Limits {
	l, d := e.Limits, a.current.Load().Limits
	for _, f := range []struct{ own, general *int }{
		{&l.MessagesPerHour, &d.MessagesPerHour}, {&l.MessagesPerDay, &d.MessagesPerDay},
		{&l.RecipientsPerHour, &d.RecipientsPerHour}, {&l.RecipientsPerDay, &d.RecipientsPerDay},
		{&l.Recipients, &d.Recipients},
	} {
		if *f.own == 0 {
			*f.own = *f.general
		}
	}
	if l.Size == 0 {
		l.Size = d.Size
	}
	return l
}

// fits refuses for good what no waiting would help.
func (l Limits) fits(recipients int, size int64) error {
	if l.Size > 0 && size > l.Size {
		return smtp.TooBig.WithText("Message size exceeds fixed limit of %d octets for this account", l.Size).
			Because(overLimit{"size", l.Size})
	}
	for _, f := range []struct {
		rule string
		max  int
	}{{"recipients", l.Recipients}, {"recipients-hour", l.RecipientsPerHour}, {"recipients-day", l.RecipientsPerDay}} {
		if f.max > 0 && recipients > f.max {
			return tooManyForever.WithText("Too many recipients for this account, at most %d", f.max).
				Because(overLimit{f.rule, int64(f.max)})
		}
	}
	return nil
}

// judge is the table of ABU-8.
func (l Limits) judge(u Usage, recipients int) error {
	for _, f := range []struct {
		rule, text string
		max, after int
		reply      smtp.Reply
	}{
		{"messages-hour", "messages per hour", l.MessagesPerHour, u.MessagesHour + 1, smtp.RateLimit},
		{"recipients-hour", "recipients per hour", l.RecipientsPerHour, u.RecipientsHour + recipients, smtp.RateLimit},
		{"messages-day", "messages per day", l.MessagesPerDay, u.MessagesDay + 1, smtp.DayQuota},
		{"recipients-day", "recipients per day", l.RecipientsPerDay, u.RecipientsDay + recipients, smtp.DayQuota},
	} {
		if f.max > 0 && f.after > f.max {
			return f.reply.WithText("%s (%d %s)", f.reply.Text, f.max, f.text).Because(overLimit{f.rule, int64(f.max)})
		}
	}
	return nil
}
