package catch

import (
	"errors"
	"sync"

	"paquebot/internal/mail"
)

// Kind of a Change.
type Kind string

const (
	Caught  Kind = "caught"
	Deleted Kind = "deleted"
	Marked  Kind = "marked" // a reader marked a message as read or unread, or tagged it
	Failed  Kind = "failed" // a session failed, or more is known about one that did
)

// Change is what happened to the store.
type Change struct {
	Kind    Kind
	Seq     uint64    // Caught: of the message; Deleted: the newest Seq given by then
	Message Message   // Caught, Marked
	IDs     []mail.ID // Deleted
	All     bool      // Deleted: everything was meant, not these one by one
	Tagged  bool      // Marked: the tags are what changed
	Session *Session  // Failed
}

// Watch hears of changes. When it is too slow to take them C is closed, and the
// owner begins anew: subscribes again, then lists what it missed.
type Watch struct {
	C     <-chan Change
	store *Store
	c     chan Change
}

const (
	watchBuffer = 256 // changes a watch may be behind
	watchersMax = 500 // open pages, test runners
)

// ErrTooManyWatchers means that watchersMax subscriptions are open.
var ErrTooManyWatchers = errors.New("too many watch the catch store")

type watchers struct {
	mu     sync.Mutex
	open   map[*Watch]bool
	closed bool
}

func (w *watchers) init() { w.open = map[*Watch]bool{} }

// Subscribe begins to listen. Close ends it.
func (s *Store) Subscribe() (*Watch, error) {
	s.watchers.mu.Lock()
	defer s.watchers.mu.Unlock()
	if s.watchers.closed {
		return nil, ErrClosed
	}
	if len(s.watchers.open) >= watchersMax {
		return nil, ErrTooManyWatchers
	}
	c := make(chan Change, watchBuffer)
	w := &Watch{C: c, c: c, store: s}
	s.watchers.open[w] = true
	return w, nil
}

// Close ends the subscription.
func (w *Watch) Close() {
	w.store.watchers.mu.Lock()
	defer w.store.watchers.mu.Unlock()
	w.store.watchers.end(w)
}

func (w *watchers) end(watch *Watch) {
	if w.open[watch] {
		delete(w.open, watch)
		close(watch.c)
	}
}

// tell never blocks.
func (w *watchers) tell(c Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for watch := range w.open {
		select {
		case watch.c <- c:
		default:
			w.end(watch)
		}
	}
}

func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for watch := range w.open {
		w.end(watch)
	}
}

func (w *watchers) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}
