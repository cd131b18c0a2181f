package catch

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Store keeps caught mail. It is safe for concurrent use.
type Store struct {
	config Config

	mu       sync.Mutex
	messages []*entry // in order of Seq, oldest first
	byID     map[mail.ID]*entry
	bytes    int64 // of the messages kept
	nextSeq  uint64
	segments map[uint64]*segment
	active   *segment
	file     *os.File // the active segment, for appending
	syncs    *syncer
	closed   bool
	fault    error // the disk refused; nothing is caught until the store is opened anew

	watchers watchers
	sessions sessions
	tags     map[string]int // how many messages have each; guarded by mu
	unread   int            // messages nobody has read; guarded by mu
	sums     sums           // since the store was opened; guarded by mu
	late     chan mail.ID   // messages whose dialogue came after they were caught, perhaps
	done     sync.WaitGroup
}

type sums struct {
	caught, deleted uint64
	caughtBytes     int64
}

// entry is a message kept, and where it is.
type entry struct {
	Message
	at     place
	talk   *place // of a dialogue that came later than the message
	mark   *place // of what readers made of it last
	talked bool   // the record has the dialogue in it
}

// Errors of the store.
var (
	ErrNotFound = errors.New("no such message")
	ErrClosed   = errors.New("the catch store is closed")
)

// Open opens the store in c.Dir, with all that was kept there. A record that a
// crash cut short is dropped.
func Open(c Config) (*Store, error) {
	c = c.orDefault()
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	s := &Store{
		config: c, byID: map[mail.ID]*entry{}, nextSeq: 1, segments: map[uint64]*segment{},
		late: make(chan mail.ID, lateMax), tags: map[string]int{},
	}
	s.watchers.init()
	s.sessions.init()
	if err := s.load(); err != nil {
		return nil, err
	}
	if err := s.openSegment(); err != nil {
		return nil, err
	}
	s.trim()
	s.reclaim()
	s.done.Go(s.writeLate)
	return s, nil
}

// load reads the segments. Order on disk is not order of catching: compaction
// moves records.
func (s *Store) load() error {
	list, err := listSegments(s.config.Dir)
	if err != nil {
		return err
	}
	gone := map[mail.ID]uint64{} // deleted: up to which Seq
	var floor uint64             // all before it went for want of room
	talks := map[mail.ID]place{}
	marked := map[mail.ID]keptMark{}
	var entries []*entry
	for n, seg := range list {
		s.segments[seg.number] = seg
		size, err := scanSegment(seg.path, func(kind byte, at place, meta []byte) {
			at.segment = seg.number
			switch kind {
			case kindMessage:
				var r record
				if json.Unmarshal(meta, &r) == nil {
					entries = append(entries, &entry{Message: brief(r.Message), at: at, talked: r.Dialogue != nil})
					floor = max(floor, r.Floor)
				}
			case kindDialogue:
				var d lateDialogue
				if json.Unmarshal(meta, &d) == nil {
					talks[d.ID] = at
				}
			case kindMark: // the newest is always last on disk: only it is ever moved
				var m mark
				if json.Unmarshal(meta, &m) == nil {
					marked[m.ID] = keptMark{m, at}
				}
			case kindDelete:
				var d deletion
				if json.Unmarshal(meta, &d) == nil {
					for _, id := range d.IDs {
						gone[id] = max(gone[id], d.Before)
						delete(marked, id)
					}
					s.nextSeq = max(s.nextSeq, d.Before)
				}
			}
		})
		if err == nil {
			seg.size = size
			continue
		}
		if err != errTorn && err != errDamaged {
			return err
		}
		// Only what was written last can be cut short; elsewhere it is the disk's
		// doing, and nothing is cut.
		last := n == len(list)-1
		if err := seg.settle(size, last); err != nil {
			return err
		}
	}
	sort.SliceStable(entries, func(i, j int) bool { return entries[i].Seq < entries[j].Seq })
	for _, e := range entries {
		if before, deleted := gone[e.ID]; deleted && e.Seq < before || e.Seq < floor {
			continue
		}
		if at, ok := talks[e.ID]; ok {
			e.talk = &at
		}
		if m, ok := marked[e.ID]; ok {
			e.Read, e.Tags, e.mark = m.Read, m.Tags, &m.at
		}
		s.keep(e)
	}
	return nil
}

// settle ends a segment of which only the first sound octets can be read.
func (seg *segment) settle(sound int64, cut bool) error {
	seg.size = sound
	if cut {
		return os.Truncate(seg.path, sound)
	}
	info, err := os.Stat(seg.path)
	if err == nil {
		seg.size = info.Size()
	}
	return err
}

// keep puts an entry into the lists; the newest record of an ID counts, for a
// message caught again is written again.
func (s *Store) keep(e *entry) {
	if old := s.byID[e.ID]; old != nil {
		s.forget(old)
	}
	s.messages = append(s.messages, e)
	s.byID[e.ID] = e
	s.bytes += e.at.total()
	s.count(e, 1)
	s.nextSeq = max(s.nextSeq, e.Seq+1)
	for _, at := range e.places() {
		seg := s.segments[at.segment]
		seg.live++
		seg.kept += at.total()
	}
}

// forget takes an entry out of the lists; its octets stay until the segment goes.
func (s *Store) forget(e *entry) {
	if i, ok := s.position(e.Seq); ok {
		s.messages = without(s.messages, i)
	}
	delete(s.byID, e.ID)
	s.bytes -= e.at.total()
	s.count(e, -1)
	for _, at := range e.places() {
		seg := s.segments[at.segment]
		seg.live--
		seg.kept -= at.total()
	}
}

func (e *entry) places() []place {
	all := []place{e.at}
	for _, more := range []*place{e.talk, e.mark} {
		if more != nil {
			all = append(all, *more)
		}
	}
	return all
}

// position finds a Seq in messages; if it is not there, where it would be.
func (s *Store) position(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(s.messages, seq, func(e *entry, seq uint64) int {
		switch {
		case e.Seq < seq:
			return -1
		case e.Seq > seq:
			return 1
		}
		return 0
	})
}

// without removes one element. It is nearly always the first, the oldest: then
// nothing is moved, and append gives the room back in its time.
func without(list []*entry, i int) []*entry {
	if i == 0 {
		list[0] = nil
		return list[1:]
	}
	return slices.Delete(list, i, i+1)
}

// openSegment begins a new segment to append to.
func (s *Store) openSegment() error {
	number := uint64(1)
	for n := range s.segments {
		number = max(number, n+1)
	}
	path := segmentPath(s.config.Dir, number)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if s.config.Sync {
		if err := syncDir(s.config.Dir); err != nil {
			f.Close()
			return err
		}
	}
	if s.file != nil {
		if err := s.syncs.retire(); err != nil {
			s.fault = err
		}
	}
	s.file, s.syncs = f, newSyncer(f, s.config.Sync)
	s.active = &segment{number: number, path: path}
	s.segments[number] = s.active
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Catch keeps a message for the recipients given, which are some or all of the
// envelope's. It returns nil when the message is stored (with Config.Sync: on
// stable storage). Catching a message again adds the recipients that are new.
func (s *Store) Catch(ctx context.Context, env *mail.Envelope, recipients []mail.Recipient, body mail.Body) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m := describe(env, recipients, body, time.Now())
	synced, err := s.store(&record{Message: m}, body)
	if err != nil {
		return smtp.Undurable.Because(err)
	}
	if err := synced(); err != nil {
		s.stop(err) // a failed sync is never tried again: what it lost is unknown
		return smtp.Undurable.Because(err)
	}
	s.config.Events.Emit(event.MessageCaught{ID: m.ID, Mailbox: m.Mailbox, Recipients: addresses(m.Recipients)})
	return nil
}

func (s *Store) stop(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
}

func addresses(rs []Recipient) []string {
	out := make([]string, len(rs))
	for i, r := range rs {
		out[i] = r.Address
	}
	return out
}

// store appends the record under the lock, unless all of it is known.
func (s *Store) store(r *record, body mail.Body) (synced func() error, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	r.Dialogue = s.sessions.takeDialogue(r.ID)
	if old := s.byID[r.ID]; old != nil {
		if fresh, err := s.merge(r, old); err != nil || !fresh {
			return s.syncs.ticket(), err
		}
	}
	r.Seq, r.Floor = s.nextSeq, s.floor()
	at, err := s.appendRecord(kindMessage, r, mail.Reader(body), body.Size())
	if err != nil {
		return nil, err
	}
	synced = s.syncs.ticket()
	e := &entry{Message: brief(r.Message), at: at, talked: r.Dialogue != nil}
	if old := s.byID[r.ID]; old != nil { // what readers made of it stays
		e.Read, e.Tags, e.mark = old.Read, old.Tags, old.mark
	} else {
		s.sums.caught++
		s.sums.caughtBytes += e.Size
	}
	s.keep(e)
	s.trim()
	s.watchers.tell(Change{Kind: Caught, Seq: e.Seq, Message: e.Message})
	return synced, nil
}

// floor is the oldest Seq still wanted.
func (s *Store) floor() uint64 {
	if len(s.messages) == 0 {
		return s.nextSeq
	}
	return s.messages[0].Seq
}

// merge adds what is on disk of the same message; it reports whether r then
// says anything new.
func (s *Store) merge(r *record, old *entry) (fresh bool, err error) {
	var was record
	if err := s.meta(old, &was); err != nil {
		return false, err
	}
	known := map[string]bool{}
	for _, k := range was.Recipients {
		known[k.Address] = true
	}
	all := was.Recipients
	for _, k := range r.Recipients {
		if !known[k.Address] {
			all, fresh = append(all, k), true
		}
	}
	r.Recipients, r.Count, r.Mailbox = all, len(all), was.Mailbox
	if r.Dialogue == nil {
		r.Dialogue = was.Dialogue
	}
	if r.Dialogue == nil && old.talk != nil {
		var d lateDialogue
		if readMeta(s.segments[old.talk.segment].path, *old.talk, &d) == nil {
			r.Dialogue = d.Dialogue
		}
	}
	return fresh, nil
}

// brief is a message as a list keeps it.
func brief(m Message) Message {
	if len(m.Recipients) > recipientsShown {
		m.Recipients = slices.Clone(m.Recipients[:recipientsShown])
	}
	return m
}

func (s *Store) meta(e *entry, r *record) error {
	return readMeta(s.segments[e.at.segment].path, e.at, r)
}

// appendRecord writes one record to the active segment. What a failed write left is
// cut off; if that fails too, the store stops.
func (s *Store) appendRecord(kind byte, meta any, body io.Reader, size int64) (place, error) {
	if err := s.usable(); err != nil {
		return place{}, err
	}
	b, err := json.Marshal(meta)
	if err != nil {
		return place{}, err
	}
	if s.active.size >= segmentSize {
		if err := s.openSegment(); err != nil {
			return place{}, err
		}
		s.reclaim()
	}
	at := place{segment: s.active.number, offset: s.active.size, metaSize: int64(len(b)), bodySize: size}
	if err := writeRecord(s.file, kind, b, body, size); err != nil {
		if cut := s.rewind(); cut != nil {
			s.fault = cut
		}
		return place{}, err
	}
	s.active.size += at.total()
	return at, nil
}

func (s *Store) usable() error {
	if s.closed {
		return ErrClosed
	}
	return s.fault
}

func (s *Store) rewind() error {
	if err := s.file.Truncate(s.active.size); err != nil {
		return err
	}
	_, err := s.file.Seek(s.active.size, 0)
	return err
}

// Close ends the store. Bodies that are open stay readable.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	s.sessions.closeWith(func() { close(s.late) })
	s.done.Wait()
	s.watchers.close()

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.syncs.retire()
}

func itoa(n int) string { return strconv.Itoa(n) }

// clip cuts a text at max bytes, between characters.
func clip(s string, max int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}
