package spool

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// Journal is the Spool on a disk. Open makes one.
//
// One goroutine, the committer (commit.go), writes the journal and changes what
// is known in memory; everybody else reads that under mu. Nobody holds mu while
// the disk works for the journal.
type Journal struct {
	opt   Options
	fs    vfs.FS
	dir   string // of the segments
	lock  io.Closer
	idx   *index
	shelf *shelf
	pools bufferPools

	answers answers
	line    line   // what waits for the committer
	writer  writer // the committer's alone

	stopped atomic.Pointer[error] // why nothing more can be written; set once
	closed  atomic.Bool
	done    sync.WaitGroup // committer and keeper
	quit    chan struct{}
	nudge   chan struct{} // something may be reclaimed

	mu         sync.Mutex
	hot        map[mail.ID]*message
	order      hotQueue
	held       int64 // octets of the payloads that hot messages hold
	withData   hotQueue
	segments   map[uint32]*segment
	hotCounts  counts
	coldCounts counts
	newest     mail.ID                    // no message in the index has a greater ID
	ends       map[uint32]map[uint32]bool // ends[base][segment]: the ends of messages in base that segment holds
	intents    map[mail.ID]*intent
	finished   recent
	compacting uint32
	logical    uint64 // octets ever appended by this process
	applied    Pos    // as of the index's newest batch
	durable    Pos    // as of its newest flush
	free       uint64
	troubled   error
}

// intent notes which final dots were about to be sent.
type intent struct {
	recipients []int
	doubtful   []int // of these, by a process that is no more
}

func (in *intent) add(recipient int, doubtful bool) {
	if !slices.Contains(in.recipients, recipient) {
		in.recipients = append(in.recipients, recipient)
	}
	if doubtful && !slices.Contains(in.doubtful, recipient) {
		in.doubtful = append(in.doubtful, recipient)
	}
}

func (in *intent) remove(recipient int) {
	same := func(r int) bool { return r == recipient }
	in.recipients = slices.DeleteFunc(in.recipients, same)
	in.doubtful = slices.DeleteFunc(in.doubtful, same)
}

// hotQueue is a queue of hot messages in the order of their records. Entries
// whose message has moved on are skipped.
type hotQueue struct {
	refs []hotRef
	from int
}

type hotRef struct {
	m   *message
	pos Pos
}

func (q *hotQueue) push(m *message) {
	if q.from > 64 && q.from > len(q.refs)/2 {
		n := copy(q.refs, q.refs[q.from:])
		clear(q.refs[n:])
		q.refs, q.from = q.refs[:n], 0
	}
	q.refs = append(q.refs, hotRef{m, m.loc.pos})
}

// head returns the first that is still as wanted, nil for none.
func (q *hotQueue) head(want func(hotRef) bool) *message {
	for ; q.from < len(q.refs); q.from++ {
		if want(q.refs[q.from]) {
			return q.refs[q.from].m
		}
		q.refs[q.from].m = nil
	}
	return nil
}

// recent remembers the IDs finished last, so that a repeated commit is noticed.
type recent struct {
	known map[mail.ID]bool
	ring  []mail.ID
	at    int
}

// recentMax is how many; at some 40 octets each.
const recentMax = 16 << 10

func (r *recent) add(id mail.ID) {
	if r.known == nil {
		r.known = map[mail.ID]bool{}
	}
	if r.known[id] {
		return
	}
	r.known[id] = true
	if len(r.ring) < recentMax {
		r.ring = append(r.ring, id)
		return
	}
	delete(r.known, r.ring[r.at])
	r.ring[r.at] = id
	r.at = (r.at + 1) % recentMax
}

// stop is fail-stop: nothing is written any more before a restart.
func (j *Journal) stop(operation string, err error) {
	if j.stopped.CompareAndSwap(nil, &err) {
		j.opt.Events.Emit(event.SpoolTroubled{Operation: operation, Error: err.Error(), Stopped: true})
	}
}

// usable returns why nothing can be written, as a Reply.
func (j *Journal) usable() error {
	if j.closed.Load() {
		return refuse(ErrClosed, nil)
	}
	if err := j.stopped.Load(); err != nil {
		return refuse(ErrNotDurable, *err)
	}
	return nil
}

// Record implements Spool.
func (j *Journal) Record(ctx context.Context, updates []mail.Update) error {
	if err := errors.Join(ctx.Err(), j.usable()); err != nil || len(updates) == 0 {
		return err
	}
	updates, err := settledAll(updates)
	if err != nil || len(updates) == 0 {
		return err
	}
	r := newRequest(kindUpdate)
	r.op.updates = updates
	r.data = j.frontOf(func(b []byte) []byte { return appendUpdates(b, r.op.updates) })
	return j.line.wait(r)
}

// Intend implements Spool.
func (j *Journal) Intend(ctx context.Context, id mail.ID, recipients []int) error {
	if err := errors.Join(ctx.Err(), j.usable()); err != nil {
		return err
	}
	recipients = slices.DeleteFunc(slices.Clone(recipients), func(r int) bool { return r < 0 || r >= recipientsMax })
	r := newRequest(kindIntend)
	r.op.id, r.op.recipients = id, recipients
	r.data = j.frontOf(func(b []byte) []byte { return appendIntent(b, id, recipients) })
	r.done = nil
	return j.line.add(r)
}

// Finish implements Spool.
func (j *Journal) Finish(ctx context.Context, ids ...mail.ID) error {
	if err := errors.Join(ctx.Err(), j.usable()); err != nil || len(ids) == 0 {
		return err
	}
	r := newRequest(kindFinish)
	for _, id := range ids {
		r.op.endings = append(r.op.endings, ending{id: id})
	}
	return j.line.wait(r)
}

// Envelope implements Spool.
func (j *Journal) Envelope(_ context.Context, id mail.ID) (*mail.Envelope, error) {
	return retried(func() (*mail.Envelope, error) { return j.envelope(id) })
}

// Content implements Spool.
func (j *Journal) Content(_ context.Context, id mail.ID) (mail.Body, error) {
	return retried(func() (mail.Body, error) { return j.content(id) })
}

// Open implements Spool.
func (j *Journal) Open(ctx context.Context, id mail.ID) (*mail.Envelope, mail.Body, error) {
	body, err := j.Content(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	env, err := j.Envelope(ctx, id)
	if err != nil {
		body.Close()
		return nil, nil, err
	}
	return env, body, nil
}

// retried reads again when a message was moved to another segment, and its old
// one removed, between looking up and reading.
func retried[T any](read func() (T, error)) (v T, err error) {
	const triesMax = 3
	for range triesMax {
		if v, err = read(); err == nil || !vfsNotExist(err) {
			return v, err
		}
	}
	return v, errors.Join(ErrDamaged, err)
}

func (j *Journal) envelope(id mail.ID) (*mail.Envelope, error) {
	env, err := j.recorded(id)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.doubt(env)
	return env, nil
}

// recorded is an envelope with its standings as they were recorded.
func (j *Journal) recorded(id mail.ID) (*mail.Envelope, error) {
	if j.closed.Load() {
		return nil, ErrClosed
	}
	j.mu.Lock()
	m := j.hot[id]
	if m == nil {
		j.mu.Unlock()
		c, err := j.idx.message(id)
		if err != nil {
			return nil, err
		}
		if c == nil {
			return nil, ErrNotFound
		}
		return c.env, nil
	}
	loc, data, changed := m.loc, m.data, slices.Clone(m.news)
	if data != nil {
		data.hold()
	}
	j.mu.Unlock()
	env, err := j.decode(loc, data)
	if err != nil {
		return nil, err
	}
	overlay(env, changed)
	return env, nil
}

// doubt marks the attempts that a crash left without an outcome (P3).
func (j *Journal) doubt(env *mail.Envelope) {
	in := j.intents[env.ID]
	if in == nil {
		return
	}
	for _, r := range in.doubtful {
		if r < len(env.Recipients) && env.Recipients[r].State == mail.Waiting {
			env.Recipients[r].Last.Ambiguous = true
		}
	}
}

// decode reads an envelope as it was accepted, from memory or from the disk. It
// lets go of data.
func (j *Journal) decode(loc location, data *payload) (*mail.Envelope, error) {
	if data == nil {
		var err error
		if data, err = j.load(loc); err != nil {
			return nil, err
		}
	}
	defer data.release()
	p := data.front.b[recordHeaderSize:]
	p = p[:min(len(p), int(loc.start))]
	env, _, err := mail.DecodeEnvelope(p[min(len(p), acceptFixed+partSizeRef*len(loc.parts)):])
	if err != nil {
		return nil, damaged(loc.pos, err.Error())
	}
	return env, nil
}

// load reads a message's accept record into one buffer.
func (j *Journal) load(loc location) (*payload, error) {
	n := recordHeaderSize + int(loc.length)
	front := j.pools.get(n)
	front.b = front.b[:n]
	p := &payload{pools: &j.pools, front: front}
	p.hold()
	if err := j.shelf.read(loc.pos, front.b); err != nil {
		p.release()
		return nil, err
	}
	return p, nil
}

func (j *Journal) content(id mail.ID) (mail.Body, error) {
	if j.closed.Load() {
		return nil, ErrClosed
	}
	loc, data, err := j.find(id)
	if err != nil {
		return nil, err
	}
	if data == nil {
		if data, err = j.load(loc); err != nil {
			return nil, err
		}
	}
	head, rest := data.split(loc)
	b := newBody(head, rest, loc.parts, j.shelf, &j.pools)
	b.held = data
	return b, nil
}

// find returns where a message is, and holds its payload if it is in memory.
func (j *Journal) find(id mail.ID) (location, *payload, error) {
	j.mu.Lock()
	if m := j.hot[id]; m != nil {
		defer j.mu.Unlock()
		if m.data == nil {
			return m.loc, nil, nil
		}
		return m.loc, m.data.hold(), nil
	}
	j.mu.Unlock()
	c, err := j.idx.message(id)
	if err != nil {
		return location{}, nil, err
	}
	if c == nil {
		return location{}, nil, ErrNotFound
	}
	return c.loc, nil, nil
}

// split returns the header section and the rest of the body.
func (p *payload) split(loc location) (head, rest []byte) {
	b := p.front.b[recordHeaderSize+int(loc.start):]
	if p.rest != nil {
		return b[:loc.head], p.rest.b
	}
	return b[:loc.head], b[loc.head:]
}

// Lines implements Spool.
func (j *Journal) Lines(ctx context.Context) iter.Seq2[Line, error] { return j.idx.lines(ctx) }

// Waiting implements Spool.
func (j *Journal) Waiting(_ context.Context, site, tenant string, priority int, after Entry, limit int) ([]Entry, error) {
	return j.idx.entries(linePrefix(site, tenant, priority), after, limit)
}

// Held implements Spool.
func (j *Journal) Held(_ context.Context, after Entry, limit int) ([]Entry, error) {
	return j.idx.entries([]byte{keyHeld}, after, limit)
}

// hotIDs returns the IDs of hot messages from one on, in order.
func (j *Journal) hotIDs(from mail.ID) []mail.ID {
	j.mu.Lock()
	ids := make([]mail.ID, 0, len(j.hot))
	for id := range j.hot {
		if compareIDs(id, from) >= 0 {
			ids = append(ids, id)
		}
	}
	j.mu.Unlock()
	slices.SortFunc(ids, compareIDs)
	return ids
}

// Each implements Spool.
func (j *Journal) Each(ctx context.Context, from mail.ID) iter.Seq2[*mail.Envelope, error] {
	return func(yield func(*mail.Envelope, error) bool) {
		j.walk(ctx, j.hotIDs(from), []byte{keyMessage}, from, yield)
	}
}

// Recover implements Spool.
func (j *Journal) Recover(ctx context.Context) iter.Seq2[*mail.Envelope, error] {
	return func(yield func(*mail.Envelope, error) bool) {
		j.walk(ctx, j.hotIDs(mail.ID{}), []byte{keyLoose}, mail.ID{}, yield)
	}
}

// walk merges the IDs of hot messages with those that the index has behind a
// prefix, and yields their envelopes.
func (j *Journal) walk(ctx context.Context, hot []mail.ID, prefix []byte, from mail.ID, yield func(*mail.Envelope, error) bool) {
	next := append(slices.Clone(prefix), from[:]...)
	for next != nil {
		var ids []mail.ID
		var err error
		next, err = j.idx.page(prefix, next, pageSize, func(key, _ []byte) error {
			ids = append(ids, mail.ID(key[1:]))
			return nil
		})
		if err != nil {
			yield(nil, err)
			return
		}
		n := len(hot)
		if next != nil { // later ones belong to later pages
			n, _ = slices.BinarySearchFunc(hot, mail.ID(next[1:]), compareIDs)
		}
		ids = append(ids, hot[:n]...)
		hot = hot[n:]
		slices.SortFunc(ids, compareIDs)
		for _, id := range slices.Compact(ids) {
			if !j.yieldOne(ctx, id, yield) {
				return
			}
		}
	}
}

func (j *Journal) yieldOne(ctx context.Context, id mail.ID, yield func(*mail.Envelope, error) bool) bool {
	if err := ctx.Err(); err != nil {
		yield(nil, err)
		return false
	}
	env, err := j.Envelope(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return true // it was finished meanwhile
	}
	return yield(env, err)
}

// Stat implements Spool.
func (j *Journal) Stat() Stat {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.hotCounts
	c.add(&j.coldCounts, 1)
	s := Stat{
		Messages: c.messages, Recipients: c.recipients, Bytes: c.octets, States: c.states,
		Hot: int64(len(j.hot)), Segments: len(j.segments), FreeBytes: j.free, Troubled: j.troubled,
	}
	for _, seg := range j.segments {
		s.JournalBytes += seg.end
		switch d := j.durable; {
		case seg.number > d.Segment():
			s.TailBytes += seg.end
		case seg.number == d.Segment():
			s.TailBytes += max(seg.end-d.Offset(), 0)
		}
	}
	if err := j.stopped.Load(); err != nil {
		s.Stopped = *err
	}
	return s
}

// Close implements Spool.
func (j *Journal) Close() error {
	if j.closed.Swap(true) {
		return nil
	}
	close(j.quit)
	err := j.do(func(a *applier) { a.forced = true })
	j.line.close()
	j.done.Wait()
	if j.stopped.Load() == nil {
		err = errors.Join(err, j.idx.db.Flush())
	}
	return errors.Join(err, j.writer.close(), j.shut())
}

// shut lets go of everything; for Close and for an Open that failed.
func (j *Journal) shut() error {
	var err error
	if j.idx != nil {
		err = j.idx.db.Close()
	}
	j.shelf.close()
	return errors.Join(err, j.lock.Close())
}

// settledAll returns what can be recorded: updates of recipients that cannot
// be are dropped, an unknown state is refused, for no reader would take it.
func settledAll(us []mail.Update) ([]mail.Update, error) {
	kept := make([]mail.Update, 0, len(us))
	now := time.Now()
	for _, u := range us {
		if u.Standing.State > mail.Deleted {
			return nil, errState
		}
		if u.Recipient >= 0 && u.Recipient < recipientsMax {
			u.Standing = settled(u.Standing, now)
			kept = append(kept, u)
		}
	}
	return kept, nil
}

// recipientsMax bounds a message's recipients, aliases expanded: what the
// encoding of an envelope takes.
const recipientsMax = 1 << 20

var errState = errors.New("spool: a state that does not exist")
