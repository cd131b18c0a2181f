package spool

import (
	"errors"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// request is something to be written, or done by the committer.
type request struct {
	op
	data     *payload // the record; made by the committer for finishes and copies
	crc      uint32   // of its payload
	length   int      // of its payload
	urgent   bool     // somebody's 250 depends on it; else it may linger
	favoured bool     // may use the reserve
	skip     bool     // it turned out that there is nothing to write
	build    func() (*payload, error)
	task     func(*applier)
	done     chan error // of one; nil when nobody waits
	err      error
}

func newRequest(k kind) *request {
	return &request{op: op{kind: k}, done: make(chan error, 1)}
}

// answers pools the channels of requests that are waited for.
type answers struct{ pool sync.Pool }

func (a *answers) get() chan error {
	if c, _ := a.pool.Get().(chan error); c != nil {
		return c
	}
	return make(chan error, 1)
}

// line is where requests wait for the committer.
type line struct {
	mu     sync.Mutex
	first  []*request // copies: they must stand before newer news of the same message
	rest   []*request
	urgent int
	since  time.Time // when the oldest that may linger came
	usual  int       // how many were taken last
	closed bool
	wake   chan struct{}
}

// lingerRequests is how many outcomes are company enough at any rate: more than
// half of those who came last are as well, for the others may be long in coming.
const (
	lingerRequests    = 256
	lingerRequestsMin = 4
)

// complete reports that n requests need not wait for more.
func (l *line) complete(n int) bool {
	return n >= lingerRequests || n >= lingerRequestsMin && n > l.usual/2
}

func (l *line) add(r *request) error {
	if r.data != nil {
		r.crc, r.length = r.data.checksum()
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		r.data.release()
		return refuse(ErrClosed, nil)
	}
	if r.build != nil {
		l.first = append(l.first, r)
	} else {
		l.rest = append(l.rest, r)
	}
	if r.urgent {
		l.urgent++
	} else if l.since.IsZero() {
		l.since = time.Now()
	}
	n := len(l.first) + len(l.rest)
	rouse := l.urgent == 1 || n == 1 || l.complete(n)
	l.mu.Unlock()
	if rouse {
		l.rouse()
	}
	return nil
}

func (l *line) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// do has the committer call f between two groups.
func (j *Journal) do(f func(*applier)) error {
	r := newRequest(0)
	r.task, r.urgent = f, true
	return j.line.wait(r)
}

// wait adds a request and returns its answer.
func (l *line) wait(r *request) error {
	if err := l.add(r); err != nil {
		return err
	}
	return <-r.done
}

func (l *line) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.rouse()
}

// take moves what waits to batch once it should be written, and reports whether
// more can come.
func (l *line) take(batch []*request, linger time.Duration) ([]*request, bool) {
	for {
		l.mu.Lock()
		n := len(l.first) + len(l.rest)
		left := linger
		if n > 0 && l.urgent == 0 && !l.complete(n) && !l.closed {
			left = linger - time.Since(l.since)
		}
		if n > 0 && (l.urgent > 0 || l.complete(n) || l.closed || left <= 0) {
			batch = append(append(batch, l.first...), l.rest...)
			clear(l.first)
			clear(l.rest)
			l.first, l.rest, l.urgent, l.since, l.usual = l.first[:0], l.rest[:0], 0, time.Time{}, n
			l.mu.Unlock()
			return batch, true
		}
		closed := l.closed
		l.mu.Unlock()
		if closed {
			return batch, false
		}
		l.sleep(n > 0, left)
	}
}

func (l *line) sleep(timed bool, d time.Duration) {
	if !timed {
		<-l.wake
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-l.wake:
	case <-t.C:
	}
}

// commit is the committer: it collects whoever waits, writes once, syncs once
// and answers them all. Nothing else writes the journal.
func (j *Journal) commit() {
	defer j.done.Done()
	var waiting []*request
	for {
		var more bool
		if waiting, more = j.line.take(waiting[:0], j.opt.Linger); !more {
			return
		}
		for rest := waiting; len(rest) > 0; {
			n := batchLength(rest)
			j.group(rest[:n])
			rest = rest[n:]
		}
		clear(waiting)
	}
}

// batchMax bounds one write, in octets: what a failed one must take back.
const batchMax = 8 << 20

func batchLength(rs []*request) int {
	sum := 0
	for i, r := range rs {
		if sum += r.length; sum > batchMax && i > 0 {
			return i
		}
	}
	return len(rs)
}

// group writes some requests with one sync, applies and answers them.
func (j *Journal) group(rs []*request) {
	records := j.assemble(rs)
	if err := j.write(records); err != nil {
		for _, r := range records {
			r.err = err
		}
		records = nil
	}
	end := j.writer.position()
	plain := true // nothing but fresh messages: the index has no part in it
	for _, r := range rs {
		if r.err == nil && r.op.simple() {
			continue
		}
		plain = false
	}
	ap := j.newApplier()
	j.mu.Lock()
	for _, r := range records {
		j.logical += uint64(recordHeaderSize + r.length)
		if r.op.simple() {
			ap.accept(&r.op, r.data)
		}
	}
	j.mu.Unlock()
	for _, r := range rs {
		if r.err != nil || r.op.simple() {
			j.answer(r)
		}
	}
	if !plain || j.overfull() {
		j.applyRest(ap, rs, end)
	}
	ap.close()
}

// applyRest does for a group what needs the index.
func (j *Journal) applyRest(ap *applier, rs []*request, end Pos) {
	for _, r := range rs {
		if r.err == nil && !r.op.simple() && !r.skip {
			ap.ops = append(ap.ops, &r.op)
		}
		if r.task != nil && r.err == nil {
			ap.tasks = append(ap.tasks, r.task)
		}
	}
	err := ap.run(end)
	if err != nil {
		j.distrust(err)
	}
	for _, r := range rs {
		if r.err == nil && !r.op.simple() {
			// What was asked for is in the journal; a sick index loses nothing.
			j.answer(r)
		}
	}
}

func (j *Journal) answer(r *request) {
	if r.err != nil || r.kind != kindAccept || r.skip {
		r.data.release() // an accepted message holds on to its payload
	}
	r.data = nil
	if r.done != nil {
		r.done <- r.err
	}
}

// assemble prepares records and returns those to be written. What turns out to
// be done already is marked to be skipped.
func (j *Journal) assemble(rs []*request) []*request {
	records := make([]*request, 0, len(rs))
	for _, r := range rs {
		if r.kind == 0 {
			r.skip = true
			continue
		}
		if err := j.prepare(r, records); err != nil {
			r.err = err
			continue
		}
		if !r.skip {
			records = append(records, r)
		}
	}
	return records
}

// prepare completes one request with what only the committer knows.
func (j *Journal) prepare(r *request, before []*request) error {
	switch {
	case r.kind == kindAccept:
		known, err := j.known(r, before)
		r.skip = known
		if err != nil || known {
			return err
		}
		return j.room(r)
	case r.kind == kindPart:
		return j.room(r)
	case r.build != nil:
		data, err := r.build()
		if err != nil {
			return err
		}
		if r.skip = data == nil; !r.skip {
			r.data = data
			r.crc, r.length = data.checksum()
		}
	case r.kind == kindFinish:
		return j.prepareFinish(r)
	}
	return nil
}

// known reports that a message with the ID is here, or was a short while ago: a
// commit repeated after ErrUnknown.
func (j *Journal) known(r *request, before []*request) (bool, error) {
	id := r.msg.id
	if j.hot[id] != nil || j.finished.known[id] {
		return true, nil
	}
	for _, b := range before {
		if b.kind == kindAccept && b.msg.id == id {
			return true, nil
		}
	}
	if compareIDs(id, j.newest) > 0 {
		return false, nil // IDs are in order of time: the usual case
	}
	v, err := j.idx.get(messageKey(id))
	return v != nil, err
}

// prepareFinish notes with each end where the message began.
func (j *Journal) prepareFinish(r *request) error {
	var all []ending
	for _, e := range r.endings {
		bases := []uint32{e.base}
		if e.base == 0 {
			var err error
			if bases, err = j.bases(e.id); err != nil {
				return err
			}
		}
		for _, b := range bases {
			if j.segments[b] != nil {
				all = append(all, ending{e.id, b})
			}
		}
	}
	r.endings = all
	if r.skip = len(all) == 0; r.skip {
		return nil
	}
	r.data = j.frontOf(func(b []byte) []byte {
		for _, e := range all {
			b = appendEnding(b, e)
		}
		return b
	})
	r.crc, r.length = r.data.checksum()
	return nil
}

// bases returns the segments with an accept record of a message, none for no
// such message.
func (j *Journal) bases(id mail.ID) ([]uint32, error) {
	loc, data, err := j.find(id)
	data.release()
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return append([]uint32{loc.pos.Segment()}, loc.stale...), err
}

// room answers ErrFull when free space fell below the reserve.
func (j *Journal) room(r *request) error {
	w := &j.writer
	if now := time.Now(); now.Sub(w.looked) >= freeEvery || now.Before(w.looked) {
		w.looked = now
		w.free, w.freeErr = j.opt.FreeSpace()
		j.mu.Lock()
		j.free = w.free
		j.mu.Unlock()
	}
	reserve := j.opt.Reserve
	if r.favoured {
		reserve /= 2
	}
	if w.freeErr != nil || w.free >= reserve {
		return nil
	}
	err := refuse(ErrFull, errReserve)
	j.trouble("reserve", err)
	return err
}

// freeEvery is how often the free space is looked at.
const freeEvery = time.Second

var errReserve = errors.New("free space is below the reserve")

// writer is the journal's end.
type writer struct {
	file    vfs.File // nil before the first write after Open
	seg     *segment
	salt    uint32
	last    Pos // the end of the journal as found, before the first write
	batch   uint64
	stain   int64 // octets beyond the end that a failed write may have left
	scratch []byte
	vectors [][]byte
	head    []byte // segment header still to be written

	looked  time.Time
	free    uint64
	freeErr error
}

// position is the journal's end.
func (w *writer) position() Pos {
	if w.seg == nil {
		return w.last
	}
	return at(w.seg.number, w.seg.end)
}

func (w *writer) close() error {
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}

// write puts records at the end and syncs. On an error nothing of them is kept,
// unless it is ErrUnknown.
func (j *Journal) write(rs []*request) error {
	if len(rs) == 0 {
		return nil
	}
	if err := j.usable(); err != nil && j.stopped.Load() != nil {
		return err
	}
	start := time.Now()
	total := int64(0)
	for _, r := range rs {
		total += recordHeaderSize + int64(r.length)
	}
	w := &j.writer
	if err := j.ready(total); err != nil {
		return j.refused("write", err)
	}
	w.layOut(rs)
	if err := j.put(); err != nil {
		return err
	}
	if err := w.file.SyncData(); err != nil {
		j.stop("sync", err)
		return refuse(ErrUnknown, err)
	}
	w.batch++
	j.mu.Lock()
	w.seg.end += int64(len(w.head)) + total
	j.mu.Unlock()
	w.head = nil
	j.healed()
	j.opt.Events.Emit(event.SpoolSynced{Records: len(rs), Bytes: total, TookSeconds: time.Since(start).Seconds()})
	return nil
}

// layOut gives the records their places and gathers what is to be written.
func (w *writer) layOut(rs []*request) {
	w.vectors = w.vectors[:0]
	off := w.seg.end
	if w.head != nil {
		w.vectors = append(w.vectors, w.head)
		off += int64(len(w.head))
	}
	for i, r := range rs {
		h := recordHeader{kind: r.kind, last: i == len(rs)-1, length: uint32(r.length), crc: r.crc, batch: w.batch}
		h.put(r.data.front.b, w.salt)
		r.op.place(at(w.seg.number, off), uint32(r.length))
		w.vectors = append(w.vectors, r.data.front.b)
		if r.data.rest != nil {
			w.vectors = append(w.vectors, r.data.rest.b)
		}
		off += recordHeaderSize + int64(r.length)
	}
}

// put writes what layOut gathered. If that fails, whatever came to the file is
// taken back before anybody is told that nothing was kept.
func (j *Journal) put() error {
	w := &j.writer
	n, err := w.writeAll(w.seg.end)
	if err == nil {
		return nil
	}
	w.stain = max(w.stain, n)
	if clean := j.clean(); clean != nil {
		if j.stopped.Load() != nil {
			return refuse(ErrUnknown, clean)
		}
		j.refused("write", err)
		return refuse(ErrUnknown, errors.Join(err, clean))
	}
	return j.refused("write", err)
}

// clean overwrites what a failed write left beyond the end, so that it can
// never be read as records.
func (j *Journal) clean() error {
	w := &j.writer
	if w.stain == 0 {
		return nil
	}
	zero := make([]byte, min(w.stain, 1<<20))
	for done := int64(0); done < w.stain; {
		n := min(int64(len(zero)), w.stain-done)
		if _, err := w.file.WriteAt(zero[:n], w.seg.end+done); err != nil {
			return err
		}
		done += n
	}
	if err := w.file.SyncData(); err != nil {
		j.stop("sync", err)
		return err
	}
	w.stain = 0
	return nil
}

// refused tells of the trouble and gives the Reply for it.
func (j *Journal) refused(operation string, err error) error {
	reason := ErrNotDurable
	if noSpace(err) {
		reason = ErrFull
	}
	if j.stopped.Load() != nil {
		return refuse(ErrNotDurable, err)
	}
	reply := refuse(reason, err)
	j.trouble(operation, reply)
	return reply
}

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func vfsNotExist(err error) bool { return oserror.IsNotExist(err) }

func (j *Journal) trouble(operation string, err error) {
	j.mu.Lock()
	first := j.troubled == nil
	j.troubled = err
	j.mu.Unlock()
	if first {
		j.opt.Events.Emit(event.SpoolTroubled{Operation: operation, Error: err.Error()})
	}
}

// healed: a write came through. While mail is refused for the reserve's sake,
// outcomes do, and prove nothing.
func (j *Journal) healed() {
	j.mu.Lock()
	w := &j.writer
	low := errors.Is(j.troubled, errReserve) && w.freeErr == nil && w.free < j.opt.Reserve
	ill := j.troubled != nil && !low
	if ill {
		j.troubled = nil
	}
	j.mu.Unlock()
	if ill {
		j.opt.Events.Emit(event.SpoolHealed{})
	}
}

// ready makes sure that total octets can go to the end of a segment.
func (j *Journal) ready(total int64) error {
	w := &j.writer
	if w.seg != nil {
		if err := j.clean(); err != nil {
			return err
		}
		if w.seg.end == 0 || w.seg.end+total <= j.opt.SegmentBytes {
			return nil
		}
	}
	return j.rotate(max(total+segmentHeaderSize, j.opt.SegmentBytes))
}

// rotate begins a new segment. It becomes part of the journal with its first
// batch, which carries its header.
//
// Its space is reserved, its size is not: the file grows as it is written, so
// that a reader finds its end. Overwriting zeros or an old segment was tried
// against this (4, 90 and 280 KiB a sync, ext4 on a virtual disk): what one or
// the other gained lay within the noise of a busy machine. The format allows
// it all the same: a record is only valid with its own segment's salt.
func (j *Journal) rotate(size int64) error {
	w := &j.writer
	last := w.position()
	h := segmentHeader{number: last.Segment() + 1, previous: last.Segment(), end: uint32(last.Offset()), batch: w.batch}
	if _, err := io.ReadFull(j.opt.Random, h.salt[:]); err != nil {
		return err
	}
	name := j.fs.PathJoin(j.dir, segmentName(h.number))
	f, err := j.fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	// It only saves work later: where it fails, the writes themselves will tell.
	_ = f.Preallocate(0, size)
	if err := syncDir(j.fs, j.dir); err != nil {
		j.stop("sync", err)
		return errors.Join(err, f.Close())
	}
	err = w.close()
	w.file, w.salt, w.head = f, h.saltCRC(), h.append(nil)
	j.mu.Lock()
	w.seg = &segment{number: h.number, header: h}
	j.segments[h.number] = w.seg
	j.mu.Unlock()
	j.poke()
	return err
}

// poke tells the keeper that something may be reclaimed.
func (j *Journal) poke() {
	select {
	case j.nudge <- struct{}{}:
	default:
	}
}

// writeJoined is writeAll for files that only know single writes.
func (w *writer) writeJoined(off int64) (int64, error) {
	w.scratch = w.scratch[:0]
	for _, v := range w.vectors {
		w.scratch = append(w.scratch, v...)
	}
	n, err := w.file.WriteAt(w.scratch, off)
	if cap(w.scratch) > batchMax {
		w.scratch = nil
	}
	return int64(n), err
}
