package deliver

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// quirk is what a peer offers and cannot do.
type quirk struct{ noPipelining, noChunking bool }

const (
	quirkFor  = 24 * time.Hour // MIS-5: then it is given another chance
	quirksMax = 10_000         // peers remembered, about 100 octets each
)

// quirks remembers them by address.
type quirks struct {
	any  atomic.Bool // most of the time there is none to look for
	mu   sync.Mutex
	seen map[netip.AddrPort]quirkEntry
}

type quirkEntry struct {
	quirk
	until time.Time
}

func newQuirks() *quirks { return &quirks{seen: make(map[netip.AddrPort]quirkEntry)} }

func (q *quirks) of(addr netip.AddrPort) quirk {
	if !q.any.Load() {
		return quirk{}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	e, ok := q.seen[addr]
	if ok && !time.Now().Before(e.until) {
		delete(q.seen, addr)
		return quirk{}
	}
	return e.quirk
}

// learn adds a quirk to what is known of a peer.
func (q *quirks) learn(addr netip.AddrPort, k quirk) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for old := range q.seen {
		if len(q.seen) < quirksMax {
			break
		}
		delete(q.seen, old)
	}
	e := q.seen[addr]
	e.noPipelining = e.noPipelining || k.noPipelining
	e.noChunking = e.noChunking || k.noChunking
	e.until = time.Now().Add(quirkFor)
	q.seen[addr] = e
	q.any.Store(true)
}
