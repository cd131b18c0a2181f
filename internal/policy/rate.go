package policy

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// rate bounds messages per address on port 25: a bucket per address (/64 for
// IPv6) that holds a minute's messages and fills again evenly. Nil bounds
// nothing.
type rate struct {
	perMinute float64
	mu        sync.Mutex
	order     *list.List // of *bucket, the newest first
	buckets   map[netip.Addr]*list.Element
}

type bucket struct {
	addr netip.Addr
	left float64
	at   time.Time
}

// bucketsMax bounds the memory at about 10 MiB. A full bucket says nothing, so
// forgetting the one used longest ago loses little.
const bucketsMax = 1 << 16

func newRate(perMinute int) *rate {
	if perMinute <= 0 {
		return nil
	}
	return &rate{perMinute: float64(perMinute), order: list.New(), buckets: map[netip.Addr]*list.Element{}}
}

// take counts one message and reports whether it is within the rate.
func (r *rate) take(a netip.Addr) bool {
	if r == nil {
		return true
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		prefix, _ := a.Prefix(64)
		a = prefix.Addr()
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bucket(a, now)
	b.left = min(r.perMinute, b.left+now.Sub(b.at).Minutes()*r.perMinute)
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

func (r *rate) bucket(a netip.Addr, now time.Time) *bucket {
	if e, ok := r.buckets[a]; ok {
		r.order.MoveToFront(e)
		return e.Value.(*bucket)
	}
	b := &bucket{addr: a, left: r.perMinute, at: now}
	r.buckets[a] = r.order.PushFront(b)
	if r.order.Len() > bucketsMax {
		last := r.order.Back()
		delete(r.buckets, last.Value.(*bucket).addr)
		r.order.Remove(last)
	}
	return b
}
