package catch

import (
	"context"
	"errors"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// Page is a stretch of the list, newest first.
type Page struct {
	Messages []Message
	Total    int    // messages that match
	Next     uint64 // give as before to go on; 0 when this is the end
}

// List returns at most limit messages that match, newest first, caught before
// the Seq given (0: from the newest).
func (s *Store) List(q Query, before uint64, limit int) Page {
	all := s.find(q, 0, 0)
	p := Page{Total: len(all)}
	for i := len(all) - 1; i >= 0; i-- {
		if before != 0 && all[i].Seq >= before {
			continue
		}
		if len(p.Messages) == limit {
			p.Next = p.Messages[limit-1].Seq
			break
		}
		p.Messages = append(p.Messages, all[i])
	}
	return p
}

// find returns what matches and was caught after a Seq, oldest first; at most
// limit messages unless that is 0.
func (s *Store) find(q Query, after uint64, limit int) []Message {
	s.mu.Lock()
	from, _ := s.position(after + 1)
	list := make([]*entry, len(s.messages)-from)
	copy(list, s.messages[from:])
	s.mu.Unlock()

	var out []Message
	for _, e := range list { // without the lock: a search may read bodies
		if q.match(&e.Message, func() string { return s.words(e.ID) }) {
			if out = append(out, e.Message); len(out) == limit {
				break
			}
		}
	}
	return out
}

// Get returns one message with all its recipients.
func (s *Store) Get(id mail.ID) (Message, error) {
	r, err := s.record(id)
	return r.Message, err
}

func (s *Store) record(id mail.ID) (record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[id]
	if e == nil {
		return record{}, ErrNotFound
	}
	var r record
	if err := s.meta(e, &r); err != nil {
		return record{}, err
	}
	r.Read, r.Tags = e.Read, e.Tags // the newest
	return r, nil
}

// Latest returns the newest message that matches.
func (s *Store) Latest(q Query) (Message, error) {
	all := s.find(q, 0, 0)
	if len(all) == 0 {
		return Message{}, ErrNotFound
	}
	return s.Get(all[len(all)-1].ID)
}

// Neighbours returns the messages caught next after and next before; a zero ID
// means there is none.
func (s *Store) Neighbours(id mail.ID) (newer, older mail.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[id]
	if e == nil {
		return
	}
	i, _ := s.position(e.Seq)
	if i > 0 {
		older = s.messages[i-1].ID
	}
	if i+1 < len(s.messages) {
		newer = s.messages[i+1].ID
	}
	return newer, older
}

// Raw opens the bytes of a message. They stay readable until Close of what is
// returned, even if the message is deleted meanwhile.
func (s *Store) Raw(id mail.ID) (mail.Body, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[id]
	if e == nil {
		return nil, ErrNotFound
	}
	b, err := openBody(s.segments[e.at.segment].path, e.at)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Dialogue returns the SMTP dialogue that brought a message, nil if it was not
// kept.
func (s *Store) Dialogue(id mail.ID) ([]event.Line, error) {
	r, err := s.record(id)
	if err != nil || r.Dialogue != nil {
		return r.Dialogue, err
	}
	if lines := s.sessions.dialogue(id); lines != nil {
		return lines, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[id]
	if e == nil || e.talk == nil {
		return nil, nil
	}
	var d lateDialogue
	err = readMeta(s.segments[e.talk.segment].path, *e.talk, &d)
	return d.Dialogue, err
}

// SeqOf returns where in the order of catching an ID is, for "after this one".
// For an ID that is gone or was never here it is the last one caught before it
// by the time in the ID.
func (s *Store) SeqOf(id mail.ID) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byID[id]; e != nil {
		return e.Seq
	}
	var last uint64
	for _, e := range s.messages {
		if string(e.ID[:]) <= string(id[:]) {
			last = max(last, e.Seq)
		}
	}
	return last
}

// Wait returns as soon as count messages match that were caught after a Seq,
// oldest first, or when ctx ends: then with those there are and ctx's error.
func (s *Store) Wait(ctx context.Context, q Query, after uint64, count int) ([]Message, error) {
	for {
		w, err := s.Subscribe()
		if err != nil {
			return nil, err
		}
		found := s.find(q, after, count)
		found, err = s.waitMore(ctx, w, q, found, after, count)
		w.Close()
		if err != errBehind {
			return found, err
		}
	}
}

// errBehind means that a watch was too slow, and one has to look anew.
var errBehind = errors.New("the watch is behind")

// waitMore adds what comes and matches until there are count messages. Many
// wait at once, each for its own: what comes is looked at by itself, not
// together with all that is here.
func (s *Store) waitMore(ctx context.Context, w *Watch, q Query, found []Message, last uint64, count int) ([]Message, error) {
	if len(found) > 0 {
		last = found[len(found)-1].Seq
	}
	for len(found) < count {
		select {
		case <-ctx.Done():
			return found, ctx.Err()
		case c, open := <-w.C:
			switch {
			case !open && w.store.isClosed():
				return found, ErrClosed
			case !open:
				return found, errBehind
			case c.Kind == Caught && c.Seq > last && s.Match(q, &c.Message):
				found = append(found, c.Message)
			}
		}
	}
	return found, nil
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed || s.watchers.isClosed()
}

// Stat says how full the store is.
type Stat struct {
	Messages    int    `json:"messages"`
	Bytes       int64  `json:"bytes"`
	MaxMessages int    `json:"max_messages"`
	MaxBytes    int64  `json:"max_bytes"`
	LastSeq     uint64 `json:"last_seq"` // the newest Seq given
	Failed      int    `json:"failed"`   // sessions kept that failed

	// Since the store was opened.
	Caught      uint64 `json:"caught"`       // messages
	CaughtBytes int64  `json:"caught_bytes"` // octets of them
	Deleted     uint64 `json:"deleted"`      // messages, for want of room or on purpose
	Refused     uint64 `json:"refused"`      // commands, connections and messages
}

// Stat returns how full the store is.
func (s *Store) Stat() Stat {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stat{
		Messages: len(s.messages), Bytes: s.bytes, MaxMessages: s.config.MaxMessages, MaxBytes: s.config.MaxBytes,
		LastSeq: s.nextSeq - 1, Failed: s.sessions.count(),
		Caught: s.sums.caught, CaughtBytes: s.sums.caughtBytes, Deleted: s.sums.deleted, Refused: s.sessions.total(),
	}
}

// Box is a mailbox with how many messages it holds.
type Box struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// Mailboxes returns the mailboxes that hold mail, the one with the newest
// message first, at most boxesMax.
func (s *Store) Mailboxes() []Box {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Box
	index := map[string]int{}
	for i := len(s.messages) - 1; i >= 0; i-- {
		name := s.messages[i].Mailbox
		at, ok := index[name]
		if !ok {
			if len(out) == boxesMax {
				continue
			}
			at = len(out)
			index[name] = at
			out = append(out, Box{Name: name})
		}
		out[at].Count++
	}
	return out
}

// boxesMax is how many mailboxes a person can choose among.
const boxesMax = 200
