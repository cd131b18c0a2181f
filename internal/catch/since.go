package catch

import (
	"sort"
	"time"
)

// SeqSince returns the place in the order of catching before which everything
// was caught earlier than t, for "what came since I began". A test names its
// own start this way, and needs to have seen no message before.
func (s *Store) SeqSince(t time.Time) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := sort.Search(len(s.messages), func(i int) bool { return !s.messages[i].Caught.Before(t) })
	if i == 0 {
		return 0
	}
	return s.messages[i-1].Seq
}

// After returns at most limit messages caught after a Seq, oldest first.
func (s *Store) After(seq uint64, limit int) []Message { return s.find(Query{}, seq, limit) }
