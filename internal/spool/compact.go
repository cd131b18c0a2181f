package spool

import (
	"errors"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// Space is reclaimed by the segment. A segment goes when no unfinished message
// needs anything in it, when no older segment remains whose messages' ends it
// has, and when the index on the disk no longer wants it replayed. Where a few
// stragglers keep a segment, they are copied to the journal's end.
//
// While a segment is being copied from, no other one is removed: a message then
// has a second accept record in no segment but that one, so its end cannot go
// before either (but see location.stale).

const (
	keepEvery = time.Second
	// sparse is the share of a segment, in percent, below which what lives in it
	// is copied: each octet copied frees three.
	sparse = 25
	// copyDelay is how many newer segments there are before one is copied from:
	// most messages in it end by themselves.
	copyDelay = 2
	// stuckFor is how long a segment is left alone that could not be emptied.
	stuckFor = 10 * time.Minute
	// restateGroup is how many standings or ends are moved with one record.
	restateGroup = 256
)

// keeper is what keep remembers.
type keeper struct {
	j       *Journal
	flushed uint64 // journal octets when the index was last flushed
	stuck   map[uint32]time.Time
}

// keep reclaims space, moves aged messages to the index and flushes it, so that
// a restart has little to read.
func (j *Journal) keep() {
	defer j.done.Done()
	k := keeper{j: j, stuck: map[uint32]time.Time{}}
	t := time.NewTicker(keepEvery)
	defer t.Stop()
	for {
		select {
		case <-j.quit:
			return
		case <-j.nudge:
		case <-t.C:
		}
		if j.stopped.Load() == nil {
			k.tend()
		}
	}
}

func (k *keeper) tend() {
	j := k.j
	j.mu.Lock()
	hot, grown := len(j.hot), j.logical-k.flushed
	waiting := j.reclaimable(false)
	j.mu.Unlock()
	if hot > 0 || grown > 0 {
		if j.do(func(*applier) {}) != nil { // looks for what is due
			return
		}
	}
	if waiting != nil || grown > uint64(j.opt.HotBytes) {
		k.checkpoint()
	}
	for k.reclaim() {
	}
	if s := k.victim(); s != nil {
		k.empty(s)
	}
}

// checkpoint makes the index durable as it is.
func (k *keeper) checkpoint() {
	j := k.j
	var applied Pos
	var logical uint64
	err := j.do(func(a *applier) {
		a.forced = true
		logical = j.logical
	})
	if err != nil {
		return
	}
	j.mu.Lock()
	applied = j.applied
	j.mu.Unlock()
	if err := j.idx.db.Flush(); err != nil {
		j.distrust(err)
		return
	}
	j.mu.Lock()
	j.durable = applied
	j.mu.Unlock()
	k.flushed = logical
}

// reclaimable returns a segment that can be removed, nil for none; with durable
// false, also one that only waits for a checkpoint. j.mu is held.
func (j *Journal) reclaimable(durable bool) *segment {
	newest := j.newestSegment()
	var found *segment
	for n, s := range j.segments {
		if n == newest || s.live() > 0 || s.pins > 0 || j.compacting != 0 && j.compacting != n || j.blocked(n) {
			continue
		}
		if durable && j.durable < at(n, s.end) {
			continue
		}
		if found == nil || n < found.number {
			found = s
		}
	}
	return found
}

func (j *Journal) newestSegment() uint32 {
	var newest uint32
	for n := range j.segments {
		newest = max(newest, n)
	}
	return newest
}

// blocked reports that a segment has ends of messages in others that exist.
func (j *Journal) blocked(n uint32) bool {
	for _, in := range j.ends {
		if in[n] {
			return true
		}
	}
	return false
}

// reclaim removes one segment, and reports whether there may be another one.
func (k *keeper) reclaim() bool {
	j := k.j
	j.mu.Lock()
	s := j.reclaimable(true)
	j.mu.Unlock()
	if s == nil || j.stopped.Load() != nil {
		return false
	}
	size := s.end
	if err := j.fs.Remove(j.fs.PathJoin(j.dir, segmentName(s.number))); err != nil && !vfsNotExist(err) {
		return false // a file system gone read-only: later
	}
	// Its removal must be durable before another one's: the order is what keeps
	// finished messages from coming back when the index is rebuilt.
	if err := syncDir(j.fs, j.dir); err != nil {
		j.stop("sync", err)
		return false
	}
	j.shelf.drop(s.number)
	err := j.do(func(a *applier) { a.retire(s.number) })
	j.opt.Events.Emit(event.SpoolCompacted{Segment: uint64(s.number), FreedBytes: size})
	return err == nil
}

// retire forgets a segment.
func (a *applier) retire(n uint32) {
	j := a.j
	j.mu.Lock()
	delete(j.segments, n)
	delete(j.ends, n)
	if j.compacting == n {
		j.compacting = 0
	}
	j.mu.Unlock()
	a.unset(segmentKey(n))
	_ = a.batch.DeleteRange(endsKey(n, 0), successor(endsKey(n, 0)[:5]), nil) // fails only after Commit
}

// victim chooses the segment to be emptied next, nil for none.
func (k *keeper) victim() *segment {
	j := k.j
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.compacting != 0 {
		return k.unstuck(j.segments[j.compacting])
	}
	newest := j.newestSegment()
	var best *segment
	for n, s := range j.segments {
		if n+copyDelay >= newest || s.end == 0 || s.live() == 0 && !j.blocked(n) || k.unstuck(s) == nil {
			continue
		}
		if s.share() < sparse && (best == nil || s.share() < best.share()) {
			best = s
		}
	}
	return best
}

func (k *keeper) unstuck(s *segment) *segment {
	if s == nil || time.Now().Before(k.stuck[s.number]) {
		return nil
	}
	return s
}

// share is how much of a segment lives, in percent.
func (s *segment) share() int64 { return (s.hot.octets + s.cold.octets) * 100 / max(s.end, 1) }

// empty copies what lives in a segment to the journal's end.
func (k *keeper) empty(s *segment) {
	e := &emptying{k: k, j: k.j, from: s.number, start: time.Now()}
	err := e.run(s)
	if err == nil {
		err = e.flush()
	}
	if err == nil {
		err = k.j.do(func(a *applier) { a.moveEnds(s.number) })
	}
	k.j.mu.Lock()
	left := s.live()
	k.j.mu.Unlock()
	if err != nil || left > 0 {
		// A message that cannot be read stays where it is until somebody gives
		// it up; until then its segment does as well.
		k.stuck[s.number] = time.Now().Add(stuckFor)
		return
	}
	k.checkpoint()
	for k.reclaim() {
	}
}

// moveEnds: all ends that a segment had are in newer ones by now.
func (a *applier) moveEnds(n uint32) {
	a.j.mu.Lock()
	defer a.j.mu.Unlock()
	for base, in := range a.j.ends {
		if in[n] {
			delete(in, n)
			a.unset(endsKey(base, n))
		}
	}
}

// emptying is the work on one segment.
type emptying struct {
	k        *keeper
	j        *Journal
	from     uint32
	start    time.Time
	copied   int64
	restates []mail.Update // message and recipient only
	ends     []ending
}

var errQuit = errors.New("spool: closing")

func (e *emptying) run(s *segment) error {
	f, err := e.j.shelf.take(s.number)
	if err != nil {
		return err
	}
	defer e.j.shelf.give(f)
	sc := newScanner(f, s.header, 0)
	sc.limit = s.end
	for {
		rec, ok, err := sc.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := e.record(&rec); err != nil {
			return err
		}
	}
	return e.parted()
}

func (e *emptying) record(rec *record) error {
	switch rec.kind {
	case kindAccept, kindCopy:
		a, err := parseAccept(rec.pos, rec.payload)
		if err != nil {
			return err
		}
		env, _, err := mail.DecodeEnvelope(a.env)
		if err != nil {
			return damaged(rec.pos, err.Error())
		}
		if loc, ok := e.where(env.ID); ok && loc.pos == rec.pos {
			return e.copy(env.ID)
		}
	case kindUpdate, kindRestate:
		us, err := parseUpdates(rec.pos, rec.payload)
		if err != nil {
			return err
		}
		e.restates = append(e.restates, us...)
	case kindFinish:
		es, err := parseEndings(rec.pos, rec.payload)
		if err != nil {
			return err
		}
		for _, end := range es {
			if end.base != e.from {
				e.ends = append(e.ends, end)
			}
		}
	}
	if len(e.restates)+len(e.ends) >= restateGroup {
		return e.flush()
	}
	return nil
}

func (e *emptying) where(id mail.ID) (location, bool) {
	loc, data, err := e.j.find(id)
	data.release()
	return loc, err == nil
}

// parted copies the messages that have parts here and their accept record
// elsewhere.
func (e *emptying) parted() error {
	ids := map[mail.ID]bool{}
	e.j.mu.Lock()
	for id, m := range e.j.hot {
		for _, p := range m.loc.parts {
			if p.pos.Segment() == e.from {
				ids[id] = true
			}
		}
	}
	e.j.mu.Unlock()
	prefix := partKey(e.from, mail.ID{})[:5]
	err := e.j.idx.all(prefix, func(k, _ []byte) error {
		ids[mail.ID(k[5:])] = true
		return nil
	})
	for id := range ids {
		if err == nil {
			err = e.copy(id)
		}
	}
	return err
}

// flush moves the standings and ends gathered.
func (e *emptying) flush() error {
	if len(e.restates) > 0 {
		r := newRequest(kindRestate)
		us := e.restates
		r.build = func() (*payload, error) { return e.restate(r, us) }
		if err := e.j.line.wait(r); err != nil {
			return err
		}
	}
	if len(e.ends) > 0 {
		r := newRequest(kindFinish)
		r.endings = e.ends
		if err := e.j.line.wait(r); err != nil {
			return err
		}
	}
	e.restates, e.ends = nil, nil
	return e.pace(0)
}

// restate writes down again the standings that this segment has; the committer
// calls it, so that nothing newer can be overlooked.
func (e *emptying) restate(r *request, us []mail.Update) (*payload, error) {
	var out []mail.Update
	for _, u := range us {
		s, ok, err := e.j.standingIn(e.from, u.Message, u.Recipient)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, mail.Update{Message: u.Message, Recipient: u.Recipient, Standing: s})
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	r.op.updates = out
	return e.j.frontOf(func(b []byte) []byte { return appendUpdates(b, out) }), nil
}

// standingIn returns a recipient's standing if that segment has it.
func (j *Journal) standingIn(segment uint32, id mail.ID, recipient int) (mail.Standing, bool, error) {
	if m := j.hot[id]; m != nil {
		s, in := m.standing(recipient)
		return s, in == segment, nil
	}
	c, err := j.idx.message(id)
	if err != nil || c == nil || recipient >= len(c.segments) {
		return mail.Standing{}, false, err
	}
	return c.env.Recipients[recipient].Standing, c.segments[recipient] == segment, nil
}

// copy writes a message again at the journal's end, with its standings.
func (e *emptying) copy(id mail.ID) error {
	old, ok := e.where(id)
	if !ok {
		return nil
	}
	data, err := e.j.load(old)
	if err != nil {
		return err
	}
	defer data.release()
	parts, err := e.parts(old.parts)
	if err != nil {
		e.j.unpin(parts)
		return err
	}
	r := newRequest(kindCopy)
	r.build = func() (*payload, error) { return e.again(r, id, old, parts, data) }
	err = e.j.line.wait(r)
	if err != nil || r.skip {
		e.j.unpin(parts)
	}
	return errors.Join(err, e.pace(old.size()))
}

// parts writes the parts of a large body again.
func (e *emptying) parts(old []part) (parts []part, err error) {
	for _, p := range old {
		b := e.j.pools.get(recordHeaderSize + int(p.length))
		b.b = b.b[:recordHeaderSize+int(p.length)]
		if err := e.j.shelf.read(p.pos, b.b); err != nil {
			return parts, err
		}
		r := newRequest(kindPart)
		r.data = (&payload{pools: &e.j.pools, front: b}).hold()
		if err := e.j.line.wait(r); err != nil {
			return parts, err
		}
		parts = append(parts, part{r.op.pos, p.length})
		if err := e.pace(int64(p.length)); err != nil {
			return parts, err
		}
	}
	return parts, nil
}

// again makes the copy's record; the committer calls it. Nil: the message ended
// or moved meanwhile.
func (e *emptying) again(r *request, id mail.ID, old location, parts []part, data *payload) (*payload, error) {
	loc, ok := e.where(id)
	if !ok || loc.pos != old.pos {
		return nil, nil
	}
	env, err := e.j.recorded(id)
	if err != nil {
		return nil, err
	}
	head, rest := data.split(old)
	var now location
	p := e.j.frontOf(func(b []byte) []byte {
		b, now = appendAccept(b, e.from, parts, env, len(head))
		return append(append(b, head...), rest...)
	})
	r.op.moved = &moved{from: e.from, env: env, loc: now}
	return p, nil
}

// pace keeps to the rate.
func (e *emptying) pace(octets int64) error {
	e.copied += octets
	ahead := time.Duration(float64(e.copied)/float64(e.j.opt.CopyRate)*float64(time.Second)) - time.Since(e.start)
	if ahead <= 0 {
		select {
		case <-e.j.quit:
			return errQuit
		default:
			return nil
		}
	}
	t := time.NewTimer(ahead)
	defer t.Stop()
	select {
	case <-e.j.quit:
		return errQuit
	case <-t.C:
		return nil
	}
}
