package catch

import (
	"io"
	"os"
	"slices"

	"paquebot/internal/mail"
)

// deletion is the record that messages are gone: those of IDs that were caught
// before a Seq.
type deletion struct {
	IDs    []mail.ID `json:"ids"`
	Before uint64    `json:"before"`
}

// trim lets the oldest messages go until the bounds hold. The newest stays
// whatever its size.
func (s *Store) trim() {
	for len(s.messages) > 1 && (len(s.messages) > s.config.MaxMessages || s.bytes > s.config.MaxBytes) {
		old := s.messages[0]
		s.forget(old)
		s.sums.deleted++
		s.watchers.tell(Change{Kind: Deleted, Seq: s.nextSeq - 1, IDs: []mail.ID{old.ID}})
	}
}

// Delete removes messages and reports how many were there.
func (s *Store) Delete(ids ...mail.ID) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var gone []mail.ID
	seen := map[mail.ID]bool{}
	for _, id := range ids {
		if s.byID[id] != nil && !seen[id] {
			seen[id] = true
			gone = append(gone, id)
		}
	}
	return s.remove(gone)
}

// DeleteWhere removes the messages that the query matches.
func (s *Store) DeleteWhere(q Query) (int, error) {
	found := s.find(q, 0, 0)
	ids := make([]mail.ID, len(found))
	for i, m := range found {
		ids[i] = m.ID
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	everything := q.Mailbox == "" && len(q.terms) == 0
	return s.removeSome(slices.DeleteFunc(ids, func(id mail.ID) bool { return s.byID[id] == nil }), everything)
}

// Clear removes all messages.
func (s *Store) Clear() (int, error) { return s.DeleteWhere(Query{}) }

func (s *Store) remove(ids []mail.ID) (int, error) { return s.removeSome(ids, false) }

// removeSome removes messages; all says that everything was meant.
func (s *Store) removeSome(ids []mail.ID, all bool) (int, error) {
	if len(ids) == 0 {
		if all { // who waits for this hears of it all the same
			s.watchers.tell(Change{Kind: Deleted, Seq: s.nextSeq - 1, IDs: []mail.ID{}, All: true})
		}
		return 0, nil
	}
	if _, err := s.appendRecord(kindDelete, deletion{IDs: ids, Before: s.nextSeq}, nil, 0); err != nil {
		return 0, err
	}
	for _, id := range ids {
		s.forget(s.byID[id])
	}
	s.sums.deleted += uint64(len(ids))
	s.watchers.tell(Change{Kind: Deleted, Seq: s.nextSeq - 1, IDs: ids, All: all})
	s.reclaim()
	return len(ids), nil
}

// slack is how many octets of segments may be dead beyond as many as are alive.
const slack = 2 * segmentSize

// reclaim gives disk back: it unlinks dead segments, oldest first, and while
// more is dead than alive it copies what lives in the oldest one forward.
// Only the oldest may go: a younger one can hold the deletion of a message
// whose octets are still in an older one.
func (s *Store) reclaim() {
	for {
		oldest := s.oldest()
		if oldest == nil {
			return
		}
		if oldest.live > 0 {
			if s.diskBytes() <= 2*s.bytes+slack || s.moveOut(oldest) != nil {
				return
			}
		}
		s.drop(oldest)
	}
}

// oldest returns the oldest segment but the active one.
func (s *Store) oldest() *segment {
	var found *segment
	for _, seg := range s.segments {
		if seg != s.active && (found == nil || seg.number < found.number) {
			found = seg
		}
	}
	return found
}

func (s *Store) diskBytes() int64 {
	var n int64
	for _, seg := range s.segments {
		n += seg.size
	}
	return n
}

func (s *Store) drop(seg *segment) {
	if err := os.Remove(seg.path); err != nil && !os.IsNotExist(err) {
		s.fault = err
	}
	delete(s.segments, seg.number)
}

// moveOut copies the live records of a segment to the active one, octet by octet.
func (s *Store) moveOut(seg *segment) error {
	f, err := os.Open(seg.path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, e := range s.messages {
		if e.at.segment == seg.number {
			if e.at, err = s.copyRecord(f, e.at); err != nil {
				return err
			}
		}
		if e.talk != nil && e.talk.segment == seg.number {
			at, err := s.copyRecord(f, *e.talk)
			if err != nil {
				return err
			}
			e.talk = &at
		}
		if e.mark != nil && e.mark.segment == seg.number {
			at, err := s.copyRecord(f, *e.mark)
			if err != nil {
				return err
			}
			e.mark = &at
		}
	}
	return s.syncs.ticket()() // the copies must be safe before the originals go
}

func (s *Store) copyRecord(from *os.File, at place) (place, error) {
	if err := s.usable(); err != nil {
		return at, err
	}
	if _, err := io.Copy(s.file, io.NewSectionReader(from, at.offset, at.total())); err != nil {
		if cut := s.rewind(); cut != nil {
			s.fault = cut
		}
		return at, err
	}
	old := s.segments[at.segment]
	old.live--
	old.kept -= at.total()
	at.segment, at.offset = s.active.number, s.active.size
	s.active.size += at.total()
	s.active.live++
	s.active.kept += at.total()
	return at, nil
}
