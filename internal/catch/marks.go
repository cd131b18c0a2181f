package catch

import (
	"errors"
	"slices"
	"strings"

	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// mark is the record of what readers made of a message: all of it, each time.
// It is written without a sync: to have read a mail twice is no loss.
type mark struct {
	ID   mail.ID  `json:"id"`
	Read bool     `json:"read"`
	Tags []string `json:"tags,omitempty"`
}

type keptMark struct {
	mark
	at place
}

const (
	tagsMax = 30  // of one message
	tagMax  = 100 // characters of one
)

// Errors of tags.
var (
	ErrBadTag    = errors.New("a tag is made of letters, digits, spaces and - _ . @ +")
	ErrNoSuchTag = errors.New("no message has this tag")
	ErrTagExists = errors.New("this tag exists already")
)

// tagsOf are the tags a message brings: of its X-Tags field, of plus addresses
// ("anna+billing@") and of the user who sent it.
func tagsOf(env *mail.Envelope, recipients []mail.Recipient, h message.Header) []string {
	var tags []string
	for _, f := range h.All("X-Tags") {
		tags = append(tags, strings.Split(message.DecodeWords(f.Value()), ",")...)
	}
	tags = append(tags, plusTags(env.From)...)
	for _, r := range recipients {
		if len(tags) > 4*tagsMax {
			break
		}
		tags = append(tags, plusTags(r.Address)...)
	}
	return cleanTags(append(tags, env.Origin.Account))
}

func plusTags(address string) []string {
	local := address
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		local = address[:at]
	}
	_, tags, found := strings.Cut(local, "+")
	if !found {
		return nil
	}
	return strings.Split(tags, "+")
}

// cleanTags keeps what can be a tag, each once whatever its case, sorted.
func cleanTags(tags []string) []string {
	var out []string
	for _, t := range tags {
		t = strings.Join(strings.Fields(t), " ")
		known := slices.ContainsFunc(out, func(o string) bool { return strings.EqualFold(o, t) })
		if validTag(t) && !known && len(out) < tagsMax {
			out = append(out, t)
		}
	}
	slices.Sort(out)
	return out
}

func validTag(t string) bool {
	if t == "" || len(t) > tagMax {
		return false
	}
	for _, r := range t {
		word := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(" -_.@+", r)
		if !word && (r < 0xa0 || r == '\uFFFD') {
			return false
		}
	}
	return true
}

// count keeps the sums that lists show.
func (s *Store) count(e *entry, by int) {
	if !e.Read {
		s.unread += by
	}
	for _, t := range e.Tags {
		if s.tags[t] += by; s.tags[t] <= 0 {
			delete(s.tags, t)
		}
	}
}

// Unread returns how many messages nobody has read.
func (s *Store) Unread() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unread
}

// Tags returns the tags in use, with how many messages have each.
func (s *Store) Tags() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]int, len(s.tags))
	for t, n := range s.tags {
		out[t] = n
	}
	return out
}

// Newest returns at most n messages, newest first, after leaving out the first
// skip of them; n < 0 means all.
func (s *Store) Newest(skip, n int) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.messages) - max(0, skip)
	if last <= 0 {
		return nil
	}
	if n < 0 || n > last {
		n = last
	}
	out := make([]Message, n)
	for i := range out {
		out[i] = s.messages[last-1-i].Message
	}
	return out
}

// MarkRead marks messages as read or as unread; without IDs it marks all of
// them. It returns how many changed.
func (s *Store) MarkRead(read bool, ids ...mail.ID) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(ids) == 0 {
		for _, e := range s.messages {
			if e.Read != read {
				ids = append(ids, e.ID)
			}
		}
	}
	changed := 0
	for _, id := range ids {
		e := s.byID[id]
		if e == nil || e.Read == read {
			continue
		}
		if err := s.remark(e, mark{ID: id, Read: read, Tags: e.Tags}, false); err != nil {
			return changed, err
		}
		changed++
	}
	return changed, nil
}

// SetTags gives a message these tags and no others; what cannot be a tag is
// left out.
func (s *Store) SetTags(id mail.ID, tags []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byID[id]
	if e == nil {
		return ErrNotFound
	}
	tags = cleanTags(tags)
	for i, t := range tags { // the first spelling of a tag stays
		for known := range s.tags {
			if strings.EqualFold(known, t) {
				tags[i] = known
			}
		}
	}
	return s.remark(e, mark{ID: id, Read: e.Read, Tags: tags}, true)
}

// RenameTag gives a tag another name wherever it is.
func (s *Store) RenameTag(from, to string) error {
	to = strings.Join(strings.Fields(to), " ")
	if !validTag(to) {
		return ErrBadTag
	}
	return s.retag(from, to)
}

// DeleteTag takes a tag off all messages.
func (s *Store) DeleteTag(name string) error { return s.retag(name, "") }

func (s *Store) retag(from, to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.tags[from] == 0:
		return ErrNoSuchTag
	case from == to:
		return nil
	case to != "" && s.tags[to] > 0:
		return ErrTagExists
	}
	for _, e := range slices.Clone(s.messages) {
		i := slices.Index(e.Tags, from)
		if i < 0 {
			continue
		}
		tags := slices.Delete(slices.Clone(e.Tags), i, i+1)
		if to != "" {
			tags = append(tags, to)
		}
		if err := s.remark(e, mark{ID: e.ID, Read: e.Read, Tags: cleanTags(tags)}, true); err != nil {
			return err
		}
	}
	return nil
}

// remark writes a mark down, then lets it count. An entry is replaced, never
// changed: searches look at entries without the lock.
func (s *Store) remark(e *entry, m mark, tagged bool) error {
	at, err := s.appendRecord(kindMark, m, nil, 0)
	if err != nil {
		return err
	}
	i, ok := s.position(e.Seq)
	if !ok { // making room for the mark let the message go
		return nil
	}
	if e.mark != nil {
		old := s.segments[e.mark.segment]
		old.live--
		old.kept -= e.mark.total()
	}
	s.active.live++
	s.active.kept += at.total()
	s.count(e, -1)
	fresh := *s.messages[i]
	fresh.Read, fresh.Tags, fresh.mark = m.Read, m.Tags, &at
	s.messages[i], s.byID[e.ID] = &fresh, &fresh
	s.count(&fresh, 1)
	s.watchers.tell(Change{Kind: Marked, Seq: fresh.Seq, Message: fresh.Message, Tagged: tagged})
	return nil
}
