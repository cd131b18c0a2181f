package dns

import (
	"container/list"
	"sync"
	"time"
)

const (
	ttlMin      = 30 * time.Second // MX-13: shorter ones would make us ask per message
	ttlMax      = 24 * time.Hour   // MX-13
	negativeMax = 15 * time.Minute // MX-13, RFC 2308 §5

	// troubleTTL is how long a failure to learn is remembered (RFC 2308 §7
	// allows five minutes): enough that a burst of mail for one broken domain
	// asks once, too short to delay a retry.
	troubleTTL = 5 * time.Second

	// entryOctets is what an entry costs beside its records: list element, map
	// slot, headers.
	entryOctets = 256
)

// cache keeps replies until they expire, the least recently used of them going
// first when there is no more room.
type cache struct {
	mu     sync.Mutex
	room   int // octets left
	order  list.List
	byName map[question]*list.Element
}

type entry struct {
	q     question
	reply reply
}

func newCache(octets int) *cache {
	return &cache{room: octets, byName: make(map[question]*list.Element)}
}

func (c *cache) get(q question, now time.Time) (reply, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byName[q]
	if !ok {
		return reply{}, false
	}
	if got := e.Value.(*entry).reply; now.Before(got.expires) {
		c.order.MoveToFront(e)
		return got, true
	}
	c.remove(e)
	return reply{}, false
}

func (c *cache) put(q question, r reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byName[q]; ok {
		c.remove(e)
	}
	c.room -= r.octets + entryOctets
	c.byName[q] = c.order.PushFront(&entry{q, r})
	for c.room < 0 && c.order.Len() > 0 {
		c.remove(c.order.Back())
	}
}

func (c *cache) remove(e *list.Element) {
	old := c.order.Remove(e).(*entry)
	delete(c.byName, old.q)
	c.room += old.reply.octets + entryOctets
}
