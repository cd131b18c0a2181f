package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// Names in the spool's directory.
const (
	journalDir  = "journal"
	indexDir    = "index"
	lockName    = "LOCK"
	distrustTag = "index-is-damaged" // its being there has the index rebuilt
)

// Open opens the spool in o.Dir, making it if there is none. It reads the
// journal from the position that the index knows, and all of it if there is no
// usable index. ErrLocked: another process has it open. ErrDamaged: something
// that was acknowledged cannot be read; `paquebot spool check` says what.
func Open(o Options) (*Journal, error) {
	start := time.Now()
	j, err := prepare(o)
	if err != nil {
		return nil, err
	}
	told, err := j.recover()
	if err != nil {
		return nil, errors.Join(err, j.shut())
	}
	told.Messages = j.hotCounts.messages + j.coldCounts.messages
	told.TookSeconds = time.Since(start).Seconds()
	j.opt.Events.Emit(told)
	j.done.Add(1)
	go j.commit()
	if !j.opt.manual {
		j.done.Add(1)
		go j.keep()
	}
	return j, nil
}

// prepare makes the directories and takes the lock.
func prepare(o Options) (*Journal, error) {
	o = o.withDefaults()
	j := &Journal{
		opt: o, fs: o.FS, dir: o.FS.PathJoin(o.Dir, journalDir),
		line: line{wake: make(chan struct{}, 1)},
		quit: make(chan struct{}), nudge: make(chan struct{}, 1),
		segments: map[uint32]*segment{},
	}
	for _, dir := range []string{o.Dir, j.dir} {
		if err := j.fs.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
	}
	if err := j.takeLock(); err != nil {
		return nil, err
	}
	for _, dir := range []string{j.fs.PathDir(o.Dir), o.Dir, j.dir} {
		if err := syncDir(j.fs, dir); err != nil {
			return nil, errors.Join(fmt.Errorf("spool: %w", err), j.lock.Close())
		}
	}
	j.shelf = newShelf(j.fs, j.dir, o.OpenSegments)
	return j, nil
}

func (j *Journal) takeLock() (err error) {
	name := j.fs.PathJoin(j.opt.Dir, lockName)
	j.lock, err = j.fs.Lock(name)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("%w: %s (stop the server first)", ErrLocked, name)
	}
	if err != nil {
		return fmt.Errorf("spool: %s: %w", name, err)
	}
	return nil
}

// recover brings what is known up to the journal's end.
func (j *Journal) recover() (event.SpoolRecovered, error) {
	var told event.SpoolRecovered
	if err := j.listSegments(); err != nil {
		return told, err
	}
	if j.trusted() {
		err := j.replayAll(&told)
		if err == nil || !j.indexAtFault(err) {
			return told, err
		}
		_ = j.idx.db.Close() // whatever it says: it is to be removed
		j.idx = nil
	}
	told = event.SpoolRecovered{Rebuilt: len(j.segments) > 0}
	if err := j.newIndex(); err != nil {
		return told, err
	}
	return told, j.replayAll(&told)
}

// indexAtFault tells damage of the index, which is rebuilt, from damage of the
// journal, which is reported.
func (j *Journal) indexAtFault(err error) bool {
	var f *indexFault
	return errors.As(err, &f)
}

// indexFault is an error of the index.
type indexFault struct{ error }

func (f *indexFault) Unwrap() error { return f.error }

func faulty(err error) error {
	if err == nil {
		return nil
	}
	return &indexFault{err}
}

// distrust stops the spool because of its index: nothing is lost, and the next
// start makes a new one.
func (j *Journal) distrust(err error) {
	name := j.fs.PathJoin(j.opt.Dir, distrustTag)
	if f, e := j.fs.Create(name, vfs.WriteCategoryUnspecified); e == nil {
		_ = errors.Join(f.Sync(), f.Close(), syncDir(j.fs, j.opt.Dir)) // best effort: the error told is err
	}
	j.stop("index", err)
}

// trusted opens the index, and reports whether it can be used.
func (j *Journal) trusted() bool {
	if _, err := j.fs.Stat(j.fs.PathJoin(j.opt.Dir, distrustTag)); err == nil {
		return false
	}
	x, err := openIndex(j.fs, j.fs.PathJoin(j.opt.Dir, indexDir), j.opt.IndexCache)
	if err != nil {
		return false
	}
	j.idx = x
	if err := j.loadIndex(); err != nil {
		_ = x.db.Close() // whatever it says: it is to be removed
		j.idx = nil
		return false
	}
	return true
}

// newIndex removes what there is and makes an empty one.
func (j *Journal) newIndex() error {
	dir := j.fs.PathJoin(j.opt.Dir, indexDir)
	if err := j.fs.RemoveAll(dir); err != nil {
		return err
	}
	x, err := openIndex(j.fs, dir, j.opt.IndexCache)
	if err != nil {
		return fmt.Errorf("spool: index: %w", err)
	}
	j.idx = x
	j.forget()
	tag := j.fs.PathJoin(j.opt.Dir, distrustTag)
	if err := j.fs.Remove(tag); err != nil && !vfsNotExist(err) {
		return err
	}
	return nil
}

// forget clears everything that loadIndex and replay find out.
func (j *Journal) forget() {
	j.hot, j.order, j.withData, j.held = map[mail.ID]*message{}, hotQueue{}, hotQueue{}, 0
	j.hotCounts, j.coldCounts, j.newest = counts{}, counts{}, mail.ID{}
	j.ends, j.intents, j.finished = map[uint32]map[uint32]bool{}, map[mail.ID]*intent{}, recent{}
	j.compacting, j.applied, j.durable, j.logical = 0, 0, 0, 0
	for _, s := range j.segments {
		s.hot, s.cold, s.pins = tally{}, tally{}, 0
	}
}

// loadIndex reads what is kept in memory of the index.
func (j *Journal) loadIndex() error {
	j.forget()
	v, err := j.idx.get([]byte{keyMeta})
	if err != nil {
		return err
	}
	if v == nil {
		if len(j.segments) > 0 {
			return errIndexValue // an empty one: it knows nothing of this journal
		}
		return nil
	}
	m, err := decodeMeta(v)
	if err != nil {
		return err
	}
	j.applied, j.durable, j.coldCounts, j.newest = m.applied, m.applied, m.counts, m.newest
	if j.segments[m.compacting] != nil {
		j.compacting = m.compacting
	}
	return errors.Join(j.loadTallies(), j.loadEnds(), j.loadIntents())
}

func (j *Journal) loadTallies() error {
	return j.idx.all([]byte{keySegment}, func(k, v []byte) (err error) {
		if s := j.segments[binary.BigEndian.Uint32(k[1:])]; s != nil {
			s.cold, err = decodeTally(v)
		}
		return err
	})
}

func (j *Journal) loadEnds() error {
	return j.idx.all([]byte{keyEnds}, func(k, _ []byte) error {
		base, end := binary.BigEndian.Uint32(k[1:]), binary.BigEndian.Uint32(k[5:])
		if j.segments[base] != nil && j.segments[end] != nil {
			if j.ends[base] == nil {
				j.ends[base] = map[uint32]bool{}
			}
			j.ends[base][end] = true
		}
		return nil
	})
}

func (j *Journal) loadIntents() error {
	return j.idx.all([]byte{keyIntent}, func(k, v []byte) error {
		rs, err := parseInts(0, v)
		j.intents[mail.ID(k[1:])] = &intent{recipients: rs, doubtful: append([]int(nil), rs...)}
		return err
	})
}

// listSegments reads the headers of all segments. The last file may have none:
// the crash came before its first batch.
func (j *Journal) listSegments() error {
	ns, err := listSegments(j.fs, j.dir)
	if err != nil {
		return err
	}
	for i, n := range ns {
		h, ok, err := j.segmentHeader(n)
		if err != nil {
			return err
		}
		if !ok && i == len(ns)-1 {
			if err := j.fs.Remove(j.fs.PathJoin(j.dir, segmentName(n))); err != nil {
				return err
			}
			continue
		}
		if !ok {
			return damaged(at(n, 0), "no segment header")
		}
		j.segments[n] = &segment{number: n, header: h}
	}
	return nil
}

func (j *Journal) segmentHeader(n uint32) (segmentHeader, bool, error) {
	f, err := j.fs.Open(j.fs.PathJoin(j.dir, segmentName(n)))
	if err != nil {
		return segmentHeader{}, false, err
	}
	h, ok, err := readSegmentHeader(f, n)
	return h, ok, errors.Join(err, f.Close())
}

// numbers returns the segments' numbers in order.
func (j *Journal) numbers() []uint32 {
	ns := make([]uint32, 0, len(j.segments))
	for n := range j.segments {
		ns = append(ns, n)
	}
	sortSegments(ns)
	return ns
}

// replayAll reads the journal from j.applied on.
func (j *Journal) replayAll(told *event.SpoolRecovered) error {
	from := j.applied
	r := &replay{j: j, ap: j.replayer(), told: told}
	ns := j.numbers()
	for i, n := range ns {
		if err := j.measure(ns, i); err != nil {
			return err
		}
		if n < from.Segment() {
			continue
		}
		off := int64(segmentHeaderSize)
		if n == from.Segment() {
			off = max(off, from.Offset())
		}
		if err := r.segment(j.segments[n], off, i == len(ns)-1); err != nil {
			return err
		}
	}
	w := &j.writer
	w.last, w.batch = from, max(r.batch, w.batch)+2 // a torn batch may have had the next number
	if len(ns) > 0 {
		last := j.segments[ns[len(ns)-1]]
		w.last = max(at(last.number, last.end), from)
	}
	return r.flush(w.last)
}

// measure finds out where a segment ends that will not be read: where the next
// one says, or at the end of the file.
func (j *Journal) measure(ns []uint32, i int) error {
	s := j.segments[ns[i]]
	j.writer.batch = max(j.writer.batch, s.header.batch)
	if i+1 < len(ns) {
		if next := j.segments[ns[i+1]].header; next.previous == s.number {
			s.end = int64(next.end)
			return nil
		}
	}
	info, err := j.fs.Stat(j.fs.PathJoin(j.dir, segmentName(s.number)))
	if err == nil {
		s.end = info.Size()
	}
	return err
}

func (j *Journal) replayer() *applier { return &applier{j: j} }

// replay applies what it reads.
type replay struct {
	j     *Journal
	ap    *applier
	told  *event.SpoolRecovered
	batch uint64 // the newest read
}

// replayGroup is how many records go to the index at once.
const replayGroup = 1000

// segment reads one segment. What cannot be read is a torn tail or damage.
func (r *replay) segment(s *segment, from int64, last bool) error {
	name := r.j.fs.PathJoin(r.j.dir, segmentName(s.number))
	f, err := r.j.fs.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	size, known := s.end, false
	if !last {
		known = r.j.endKnown(s)
	}
	sc := newScanner(f, s.header, from)
	if known {
		sc.limit = size
	}
	for {
		if err := r.records(sc); err != nil {
			return err
		}
		lost, again, err := r.tail(sc, s, known)
		if err != nil {
			return err
		}
		if !again {
			r.told.TornBytes += lost
			break
		}
	}
	s.end = sc.off
	r.batch = max(r.batch, sc.lead)
	return nil
}

func (r *replay) records(sc *scanner) error {
	for {
		rec, ok, err := sc.next()
		if err != nil || !ok {
			return err
		}
		r.told.Replayed++
		if err := r.record(&rec); err != nil {
			return err
		}
	}
}

// endKnown reports that the segment written next says where s ends.
func (j *Journal) endKnown(s *segment) bool {
	for _, t := range j.segments {
		if t.header.previous == s.number && t.header.end > 0 {
			return true
		}
	}
	return false
}

// tail judges what lies beyond the last record read. It returns what is cut, or
// that reading goes on behind damage.
func (r *replay) tail(sc *scanner, s *segment, known bool) (cut int64, again bool, err error) {
	if known && sc.off >= s.end {
		return 0, false, nil
	}
	beyond, found, err := sc.beyond()
	if err != nil {
		return 0, false, err
	}
	if !found && !known {
		return r.torn(sc, s)
	}
	err = damaged(at(s.number, sc.off), "a record cannot be read, and it was not the last")
	if !r.j.opt.Salvage {
		return 0, false, err
	}
	r.j.opt.Events.Emit(event.SpoolTroubled{Operation: "recover", Error: err.Error()})
	if !found {
		sc.off = s.end
		return 0, false, nil
	}
	sc.off, sc.whole = beyond, true
	return 0, true, nil
}

// torn counts what a torn tail has that is not zero.
func (r *replay) torn(sc *scanner, s *segment) (int64, bool, error) {
	var n int64
	for off := sc.off; off < s.end; off += scanWindow {
		b, err := sc.view(off, scanWindow)
		if err != nil {
			return 0, false, err
		}
		for i := len(b) - 1; i >= 0; i-- {
			if b[i] != 0 {
				n = off + int64(i) + 1 - sc.off
				break
			}
		}
	}
	return n, false, nil
}

// record applies one record.
func (r *replay) record(rec *record) error {
	o, err := parseOp(rec)
	if err != nil {
		return err
	}
	r.j.logical += uint64(rec.size())
	if o.kind == kindPart {
		return nil // unless an accept record names it, nobody needs it
	}
	if o.msg != nil {
		o.msg.accepted, o.msg.logical = time.Now(), r.j.logical
	}
	r.ap.ops = append(r.ap.ops, o)
	if len(r.ap.ops) >= replayGroup {
		return r.flush(rec.pos + 1)
	}
	return nil
}

// flush applies what was gathered; end is a position after it.
func (r *replay) flush(end Pos) error {
	r.ap.forced = end > r.j.applied && len(r.ap.ops) > 0
	err := r.ap.run(end)
	r.ap.close()
	r.ap = r.j.replayer()
	if errors.Is(err, ErrDamaged) {
		return err
	}
	return faulty(err)
}

// parseOp decodes a record.
func parseOp(rec *record) (*op, error) {
	o := &op{kind: rec.kind, pos: rec.pos}
	var err error
	switch rec.kind {
	case kindAccept, kindCopy:
		err = o.parseMessage(rec)
	case kindUpdate, kindRestate:
		o.updates, err = parseUpdates(rec.pos, rec.payload)
	case kindIntend:
		o.id, o.recipients, err = parseIntent(rec.pos, rec.payload)
	case kindFinish:
		o.endings, err = parseEndings(rec.pos, rec.payload)
	}
	return o, err
}

func (o *op) parseMessage(rec *record) error {
	a, err := parseAccept(rec.pos, rec.payload)
	if err != nil {
		return err
	}
	env, _, err := mail.DecodeEnvelope(a.env)
	if err != nil {
		return damaged(rec.pos, err.Error())
	}
	if rec.kind == kindCopy {
		o.moved = &moved{from: a.from, env: env, loc: a.loc}
		return nil
	}
	o.msg = newMessage(env, a.loc, a.loc.size())
	return nil
}
