package queue

import (
	"time"

	"paquebot/internal/mail"
)

// InMemory returns how many recipients the queue knows singly, and how many of
// them are fresh.
func (q *Queue) InMemory() (known, fresh int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.known), q.fresh
}

// Forget makes the queue forget all it knows of what waits, as a fault in the
// scheduler would.
func (q *Queue) Forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lines, q.calendar = map[lineKey]*line{}, nil
	for _, s := range q.sites {
		s.lines = map[lineKey]*line{}
	}
	for k, s := range q.known {
		if !s.leased() {
			delete(q.known, k)
		}
	}
	for _, s := range q.sites {
		s.tenants, s.turn, s.ready = map[string]*tenant{}, turns[*tenant]{}, 0
	}
}

// AfterID and IDAt are the two ends of the walkers' arithmetic.
func AfterID(id mail.ID) mail.ID  { return after(id) }
func IDAt(t time.Time) mail.ID    { return idAt(t) }
func (q *Queue) Sites() (n int)   { q.mu.Lock(); defer q.mu.Unlock(); return len(q.sites) }
func (q *Queue) Lines() (n int)   { q.mu.Lock(); defer q.mu.Unlock(); return len(q.lines) }
func (q *Queue) Alarms() (n int)  { q.mu.Lock(); defer q.mu.Unlock(); return len(q.calendar) }
func (q *Queue) Workers() (n int) { q.mu.Lock(); defer q.mu.Unlock(); return q.workers }
