package spool

import (
	"errors"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"paquebot/internal/mail"
)

// op is what one record does to what is known. The committer applies it after
// the sync, recovery when it reads it; both take the same way, so that a
// restart comes to the same state.
type op struct {
	kind       kind
	pos        Pos
	msg        *message      // kindAccept
	updates    []mail.Update // kindUpdate, kindRestate
	id         mail.ID       // kindIntend
	recipients []int         // kindIntend
	endings    []ending      // kindFinish
	moved      *moved        // kindCopy
}

// moved is a message in a new place, with the standings it had there.
type moved struct {
	from uint32 // segment it was copied from
	env  *mail.Envelope
	loc  location
}

// place tells an op where its record came to lie.
func (o *op) place(pos Pos, length uint32) {
	o.pos = pos
	switch {
	case o.msg != nil:
		o.msg.loc.pos, o.msg.loc.length = pos, length
	case o.moved != nil:
		o.moved.loc.pos, o.moved.loc.length = pos, length
	}
}

// simple reports that the index has no part in it.
func (o *op) simple() bool {
	return o.kind == kindPart || o.kind == kindAccept && len(o.msg.news) == 0
}

// applier applies a group of ops. Only the committer, or recovery before there
// is one, makes appliers: what they change they may read without j.mu.
type applier struct {
	j        *Journal
	ops      []*op
	tasks    []func(*applier)
	batch    *pebble.Batch
	cold     map[mail.ID]*cold // nil value: not in the index
	touched  []*message
	segments map[uint32]bool // whose cold tally changed
	spilled  []*message
	forced   bool // write the index's meta although nothing else changed
	live     bool // a record that was applied before cannot come again
}

func (j *Journal) newApplier() *applier { return &applier{j: j, live: true} }

func (a *applier) close() {
	if a.batch != nil {
		a.batch.Close()
		a.batch = nil
	}
}

func (a *applier) set(key, value []byte) {
	if a.batch == nil {
		a.batch = a.j.idx.db.NewBatch()
	}
	_ = a.batch.Set(key, value, nil) // a Batch fails only after its Commit
}

func (a *applier) unset(key []byte) {
	if a.batch == nil {
		a.batch = a.j.idx.db.NewBatch()
	}
	_ = a.batch.Delete(key, nil)
}

// run applies a.ops. end is the journal's position after them.
func (a *applier) run(end Pos) error {
	if err := a.preload(); err != nil {
		return err
	}
	a.j.mu.Lock()
	for _, o := range a.ops {
		a.apply(o)
	}
	a.j.mu.Unlock()
	for _, t := range a.tasks {
		t(a)
	}
	err := a.spill(end)
	return errors.Join(err, a.flush(end))
}

// preload reads what the ops need of the index while nobody is locked out.
func (a *applier) preload() error {
	for _, o := range a.ops {
		switch o.kind {
		case kindAccept:
			if a.live {
				continue
			}
			if err := a.fetch(o.msg.id); err != nil {
				return err
			}
		case kindUpdate, kindRestate:
			for i := range o.updates {
				if err := a.fetch(o.updates[i].Message); err != nil {
					return err
				}
			}
		case kindIntend:
			if err := a.fetch(o.id); err != nil {
				return err
			}
		case kindFinish:
			for _, e := range o.endings {
				if err := a.fetch(e.id); err != nil {
					return err
				}
			}
		case kindCopy:
			if err := a.fetch(o.moved.env.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetch reads a message of the index once.
func (a *applier) fetch(id mail.ID) error {
	if _, ok := a.cold[id]; ok || a.j.hot[id] != nil {
		return nil
	}
	if compareIDs(id, a.j.newest) > 0 {
		return nil
	}
	c, err := a.j.idx.message(id)
	if err == nil && c != nil {
		if a.cold == nil {
			a.cold = map[mail.ID]*cold{}
		}
		a.cold[id] = c
	}
	return err
}

// find returns where a message is known; at most one of the two is not nil. A
// cold one that has the record at pos already is not returned.
func (a *applier) find(id mail.ID, pos Pos) (*message, *cold) {
	if m := a.j.hot[id]; m != nil {
		return m, nil
	}
	if c := a.cold[id]; c != nil && !c.gone && pos >= c.asOf {
		return nil, c
	}
	return nil, nil
}

func (a *applier) apply(o *op) {
	switch o.kind {
	case kindAccept:
		a.accept(o, nil)
	case kindUpdate, kindRestate:
		for i := range o.updates {
			a.update(o, &o.updates[i])
		}
	case kindIntend:
		a.intend(o)
	case kindFinish:
		for _, e := range o.endings {
			a.finish(o.pos, e)
		}
	case kindCopy:
		a.move(o)
	case kindPart:
		a.j.pin(o.pos, 1)
	}
}

// accept makes a message hot. The payload, if any, becomes its own.
func (a *applier) accept(o *op, data *payload) {
	j := a.j
	if o.kind == kindPart {
		j.pin(o.pos, 1)
		return
	}
	m := o.msg
	if j.hot[m.id] != nil || a.cold[m.id] != nil {
		return // read again from the journal
	}
	m.logical = j.logical
	j.hot[m.id] = m
	j.order.push(m)
	c := m.counts()
	j.hotCounts.add(&c, 1)
	a.needHot(m, 1)
	if a.live {
		for _, p := range m.loc.parts {
			j.pin(p.pos, -1)
		}
	}
	for i := range m.news {
		n := &m.news[i]
		a.place(m.tenant, m.priority, m.id, n.recipient, nil, &n.standing)
	}
	if len(m.news) > 0 {
		a.touched = append(a.touched, m)
	}
	if data != nil {
		m.data = data
		j.held += data.weight()
		j.withData.push(m)
		j.evict()
	}
}

// evict lets go of the payloads held the longest when they are too many. It
// also forgets those that were let go, or their messages would never be.
func (j *Journal) evict() {
	for {
		m := j.withData.head(func(r hotRef) bool { return r.m.data != nil })
		if m == nil || j.held <= j.opt.BufferBytes {
			return
		}
		j.letGo(m)
	}
}

func (j *Journal) letGo(m *message) {
	if m.data != nil {
		j.held -= m.data.weight()
		m.data.release()
		m.data = nil
	}
}

// needHot adds a hot message to, or takes it from, the tallies of the segments
// it needs.
func (a *applier) needHot(m *message, sign int64) {
	a.j.need(m.loc.pos.Segment(), sign, sign*int64(m.loc.length))
	for _, p := range m.loc.parts {
		a.j.need(p.pos.Segment(), sign, sign*int64(p.length))
	}
	for i := range m.news {
		a.j.need(m.news[i].segment, sign, 0)
	}
}

func (j *Journal) need(segment uint32, items, octets int64) {
	if s := j.segments[segment]; s != nil {
		s.hot.add(items, octets)
		if s.live() == 0 {
			j.poke()
		}
	}
}

// needCold is needHot for messages in the index.
func (a *applier) needCold(c *cold, sign int64) {
	a.needIndexed(c.loc.pos.Segment(), sign, sign*int64(c.loc.length))
	for _, p := range c.loc.parts {
		a.needIndexed(p.pos.Segment(), sign, sign*int64(p.length))
	}
	for _, s := range c.segments {
		a.needIndexed(s, sign, 0)
	}
}

func (a *applier) needIndexed(segment uint32, items, octets int64) {
	s := a.j.segments[segment]
	if s == nil {
		return
	}
	s.cold.add(items, octets)
	if s.live() == 0 {
		a.j.poke()
	}
	if a.segments == nil {
		a.segments = map[uint32]bool{}
	}
	a.segments[segment] = true
}

// place moves a recipient from the place its old standing has to the new one's.
func (a *applier) place(tenant string, priority int, id mail.ID, recipient int, old, now *mail.Standing) {
	if old != nil {
		if k := standingKey(tenant, priority, id, recipient, old); k != nil {
			a.unset(k)
		}
	}
	if now != nil {
		if k := standingKey(tenant, priority, id, recipient, now); k != nil {
			a.set(k, nil)
		}
	}
}

func (a *applier) update(o *op, u *mail.Update) {
	j, seg := a.j, o.pos.Segment()
	m, c := a.find(u.Message, o.pos)
	switch {
	case m != nil && u.Recipient >= 0 && u.Recipient < m.recipients:
		old, was := m.standing(u.Recipient)
		j.need(was, -1, 0)
		j.need(seg, 1, 0)
		j.hotCounts.states[old.State]--
		j.hotCounts.states[u.Standing.State]++
		a.place(m.tenant, m.priority, m.id, u.Recipient, &old, &u.Standing)
		m.set(u.Recipient, seg, u.Standing)
		a.touched = append(a.touched, m)
	case c != nil && u.Recipient >= 0 && u.Recipient < len(c.env.Recipients):
		r := &c.env.Recipients[u.Recipient]
		a.needIndexed(c.segments[u.Recipient], -1, 0)
		a.needIndexed(seg, 1, 0)
		j.coldCounts.states[r.State]--
		j.coldCounts.states[u.Standing.State]++
		a.place(c.env.Tenant(), c.env.Params.Priority, u.Message, u.Recipient, &r.Standing, &u.Standing)
		r.Standing, c.segments[u.Recipient], c.dirty = u.Standing, seg, true
	default:
		return
	}
	if o.kind == kindUpdate {
		a.settleIntent(u.Message, u.Recipient, c != nil)
	}
}

// settleIntent: the outcome of an attempt is known.
func (a *applier) settleIntent(id mail.ID, recipient int, indexed bool) {
	in := a.j.intents[id]
	if in == nil {
		return
	}
	in.remove(recipient)
	if len(in.recipients) == 0 {
		delete(a.j.intents, id)
	}
	if indexed {
		a.writeIntent(id)
	}
}

// writeIntent brings the index up to date with the intents of a cold message.
func (a *applier) writeIntent(id mail.ID) {
	if in := a.j.intents[id]; in != nil {
		a.set(intentKey(id), appendIntent(nil, id, in.recipients)[len(id):])
	} else {
		a.unset(intentKey(id))
	}
}

func (a *applier) intend(o *op) {
	m, c := a.find(o.id, o.pos)
	if m == nil && c == nil {
		return
	}
	in := a.j.intents[o.id]
	if in == nil {
		in = &intent{}
		a.j.intents[o.id] = in
	}
	for _, r := range o.recipients {
		in.add(r, !a.live)
	}
	if c != nil {
		a.writeIntent(o.id)
	}
}

// finish forgets a message. Its end stays needed while the segment exists that
// has its accept record.
func (a *applier) finish(pos Pos, e ending) {
	j := a.j
	if base := e.base; base != pos.Segment() && j.segments[base] != nil && !j.ends[base][pos.Segment()] {
		if j.ends[base] == nil {
			j.ends[base] = map[uint32]bool{}
		}
		j.ends[base][pos.Segment()] = true
		a.set(endsKey(base, pos.Segment()), nil)
	}
	m, c := a.find(e.id, pos)
	switch {
	case m != nil:
		a.finishHot(m)
	case c != nil:
		a.finishCold(c)
	default:
		return
	}
	j.finished.add(e.id)
	delete(j.intents, e.id)
}

func (a *applier) finishHot(m *message) {
	j := a.j
	for i := range m.news {
		n := &m.news[i]
		a.place(m.tenant, m.priority, m.id, n.recipient, &n.standing, nil)
	}
	a.needHot(m, -1)
	c := m.counts()
	j.hotCounts.add(&c, -1)
	j.letGo(m)
	delete(j.hot, m.id)
}

func (a *applier) finishCold(c *cold) {
	id := c.env.ID
	for i := range c.env.Recipients {
		a.place(c.env.Tenant(), c.env.Params.Priority, id, i, &c.env.Recipients[i].Standing, nil)
	}
	a.needCold(c, -1)
	n := c.counts()
	a.j.coldCounts.add(&n, -1)
	a.unset(messageKey(id))
	a.unset(looseKey(id))
	a.unset(intentKey(id))
	for _, p := range c.loc.parts {
		a.unset(partKey(p.pos.Segment(), id))
	}
	c.gone, c.dirty = true, false
}

// move gives a message its new place. A message that is not known was copied
// from a segment that is no more: the copy is what there is.
func (a *applier) move(o *op) {
	j, v := a.j, o.moved
	if j.segments[v.from] != nil {
		j.compacting, a.forced = v.from, true
	}
	if a.live {
		for _, p := range v.loc.parts {
			j.pin(p.pos, -1)
		}
	}
	m, c := a.find(v.env.ID, o.pos)
	switch {
	case m != nil && m.recipients == len(v.env.Recipients):
		a.needHot(m, -1)
		j.letGo(m)
		m.loc = a.succeed(v, m.loc)
		for i := range v.env.Recipients {
			old, _ := m.standing(i)
			now := &v.env.Recipients[i].Standing
			a.restand(&j.hotCounts, v.env, i, &old, now)
			if _, known := m.find(i); known || !Fresh(now) {
				m.set(i, 0, *now)
			}
		}
		a.needHot(m, 1)
		a.touched = append(a.touched, m)
		m.logical = j.logical
		j.order.push(m)
	case c != nil && len(c.env.Recipients) == len(v.env.Recipients):
		a.needCold(c, -1)
		for _, p := range c.loc.parts {
			a.unset(partKey(p.pos.Segment(), v.env.ID))
		}
		c.loc, c.dirty = a.succeed(v, c.loc), true
		for i := range v.env.Recipients {
			old := &c.env.Recipients[i].Standing
			a.restand(&j.coldCounts, v.env, i, old, &v.env.Recipients[i].Standing)
			*old = v.env.Recipients[i].Standing
		}
		clear(c.segments)
		a.needCold(c, 1)
		for _, p := range c.loc.parts {
			a.set(partKey(p.pos.Segment(), v.env.ID), nil)
		}
	case m == nil && a.cold[v.env.ID] == nil && !a.live:
		m := newMessage(v.env, v.loc, v.env.Size)
		m.accepted = time.Now()
		a.accept(&op{kind: kindAccept, pos: o.pos, msg: m}, nil)
	}
}

// restand takes over the standing that a copy has. It is news only to a replay:
// the records it came from may be gone.
func (a *applier) restand(sum *counts, env *mail.Envelope, recipient int, old, now *mail.Standing) {
	if old.State == now.State && old.Site == now.Site && old.Due.Equal(now.Due) {
		return
	}
	sum.states[old.State]--
	sum.states[now.State]++
	a.place(env.Tenant(), env.Params.Priority, env.ID, recipient, old, now)
}

// succeed returns the new location with what the old one leaves behind. The
// segment a copy was made from is removed before any other, so it need not be
// remembered.
func (a *applier) succeed(v *moved, old location) location {
	loc := v.loc
	for _, n := range append(slices.Clip(old.stale), old.pos.Segment()) {
		if n != v.from && n != loc.pos.Segment() && a.j.segments[n] != nil && !slices.Contains(loc.stale, n) {
			loc.stale = append(loc.stale, n)
		}
	}
	return loc
}

// overfull reports that hot messages should move to the index.
func (j *Journal) overfull() bool {
	m := j.oldest()
	return m != nil && j.due(m, len(j.hot))
}

// oldest returns the hot message that lies farthest back in the journal.
func (j *Journal) oldest() *message {
	return j.order.head(func(r hotRef) bool { return j.hot[r.m.id] == r.m && r.m.loc.pos == r.pos })
}

func (j *Journal) due(m *message, n int) bool {
	return n > j.opt.HotMessages ||
		j.logical-m.logical > uint64(j.opt.HotBytes) ||
		time.Since(m.accepted) > j.opt.HotAge
}

// spill moves messages to the index: those that wait with all they have, and
// those that were hot for too long.
func (a *applier) spill(end Pos) error {
	j := a.j
	for _, m := range a.touched {
		if j.hot[m.id] == m && !m.loose() && !m.chilled {
			if err := a.chill(m, end); err != nil {
				return err
			}
		}
	}
	j.oldest() // forgets the ended ones before it
	for i := j.order.from; i < len(j.order.refs); i++ {
		r := j.order.refs[i]
		if r.m == nil || j.hot[r.m.id] != r.m || r.m.loc.pos != r.pos || r.m.chilled {
			continue
		}
		if !j.due(r.m, len(j.hot)-len(a.spilled)) {
			break
		}
		if err := a.chill(r.m, end); err != nil {
			return err
		}
	}
	return nil
}

// chill makes a hot message a cold one. Readers find it hot until the index
// has it.
func (a *applier) chill(m *message, end Pos) error {
	j := a.j
	var data *payload
	if m.data != nil {
		data = m.data.hold()
	}
	env, err := j.decode(m.loc, data)
	if err != nil {
		return err
	}
	overlay(env, m.news)
	c := &cold{asOf: end, loc: m.loc, env: env, segments: make([]uint32, m.recipients), dirty: true}
	for i := range m.news {
		c.segments[m.news[i].recipient] = m.news[i].segment
	}
	j.mu.Lock()
	a.needHot(m, -1)
	a.needCold(c, 1)
	n := m.counts()
	j.hotCounts.add(&n, -1)
	j.coldCounts.add(&n, 1)
	if compareIDs(m.id, j.newest) > 0 {
		j.newest = m.id
	}
	j.mu.Unlock()
	if a.cold == nil {
		a.cold = map[mail.ID]*cold{}
	}
	a.cold[m.id] = c
	for _, p := range c.loc.parts {
		a.set(partKey(p.pos.Segment(), m.id), nil)
	}
	if j.intents[m.id] != nil {
		a.writeIntent(m.id)
	}
	m.chilled = true
	a.spilled = append(a.spilled, m)
	return nil
}

// flush gives the index what changed, and how far the journal is in it.
func (a *applier) flush(end Pos) error {
	j := a.j
	for id, c := range a.cold {
		if c.dirty {
			c.asOf = end
			a.set(messageKey(id), c.encode())
			if loose := Loose(c.env); loose && !c.wasLoose {
				a.set(looseKey(id), nil)
			} else if !loose && c.wasLoose {
				a.unset(looseKey(id))
			}
		}
	}
	if a.batch == nil && !a.forced {
		return nil
	}
	for n := range a.segments {
		if s := j.segments[n]; s != nil {
			a.set(segmentKey(n), encodeTally(s.cold))
		}
	}
	applied := a.horizon(end)
	m := meta{applied: applied, compacting: j.compacting, counts: j.coldCounts, newest: j.newest}
	a.set([]byte{keyMeta}, m.encode())
	if err := a.batch.Commit(pebble.NoSync); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.applied = applied
	for _, m := range a.spilled {
		j.letGo(m)
		delete(j.hot, m.id)
	}
	return nil
}

// horizon is the position from which a restart must read: the record of the
// oldest message that is in no index.
func (a *applier) horizon(end Pos) Pos {
	q := &a.j.order
	for i := q.from; i < len(q.refs); i++ {
		r := q.refs[i]
		if r.m != nil && a.j.hot[r.m.id] == r.m && r.m.loc.pos == r.pos && !r.m.chilled {
			return r.pos
		}
	}
	return end
}
