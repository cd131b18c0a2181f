package queue

import (
	"container/heap"
	"time"

	"paquebot/internal/mail"
)

// entry names a recipient of a message in memory.
type entry struct {
	id        mail.ID
	recipient int
}

// parcel is some recipients of one message that are to be tried together, now.
type parcel struct {
	id         mail.ID
	recipients []int
	due        time.Time
	line       *line
	fresh      bool // its recipients are not in the waiting index yet
}

// parcels is a heap: highest priority first (EXT-11), then the longest due.
type parcels []*parcel

func (h parcels) Len() int      { return len(h) }
func (h parcels) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h parcels) Less(i, j int) bool {
	a, b := h[i], h[j]
	switch {
	case a.line.key.priority != b.line.key.priority:
		return a.line.key.priority > b.line.key.priority
	case !a.due.Equal(b.due):
		return a.due.Before(b.due)
	}
	return string(a.id[:]) < string(b.id[:])
}
func (h *parcels) Push(x any) { *h = append(*h, x.(*parcel)) }
func (h *parcels) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return p
}

// tenant is a sender's share of a site: its parcels in their order.
type tenant struct {
	name    string
	parcels parcels
	queued  bool
}

// turns is a queue of those whose turn comes, first in first out.
type turns[T any] struct {
	items []T
	head  int
}

func (t *turns[T]) len() int { return len(t.items) - t.head }

func (t *turns[T]) push(v T) { t.items = append(t.items, v) }

func (t *turns[T]) pop() T {
	var zero T
	v := t.items[t.head]
	t.items[t.head] = zero
	t.head++
	if t.head*2 >= len(t.items) {
		n := copy(t.items, t.items[t.head:])
		clear(t.items[n:])
		t.items, t.head = t.items[:n], 0
	}
	return v
}

// put lines a parcel up at its site. The queue's lock is held.
func (s *site) put(p *parcel) {
	name := p.line.key.tenant
	t := s.tenants[name]
	if t == nil {
		t = &tenant{name: name}
		s.tenants[name] = t
	}
	heap.Push(&t.parcels, p)
	s.ready++
	p.line.ready += len(p.recipients)
	if !t.queued {
		t.queued = true
		s.turn.push(t)
	}
}

// take gives the next parcel: tenants in turn, so that one sender's million
// does not delay another's one. The site has one ready.
func (s *site) take() *parcel {
	t := s.turn.pop()
	p := heap.Pop(&t.parcels).(*parcel)
	s.ready--
	p.line.ready -= len(p.recipients)
	if len(t.parcels) > 0 {
		s.turn.push(t)
	} else {
		t.queued = false
		delete(s.tenants, t.name)
	}
	return p
}
