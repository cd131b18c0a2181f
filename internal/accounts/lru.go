package accounts

import "container/list"

// lru is a map of bounded size that forgets what was used longest ago. It is
// not safe for concurrent use; its owner holds a lock.
type lru[K comparable, V any] struct {
	max     int
	order   *list.List // of *lruEntry[K, V], the newest first
	entries map[K]*list.Element
	dropped func(K, V) // hears of each entry pushed out; may be nil
}

type lruEntry[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](max int) *lru[K, V] {
	return &lru[K, V]{max: max, order: list.New(), entries: map[K]*list.Element{}}
}

func (c *lru[K, V]) get(k K) (v V, ok bool) {
	e, ok := c.entries[k]
	if !ok {
		return v, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*lruEntry[K, V]).value, true
}

func (c *lru[K, V]) put(k K, v V) {
	if e, ok := c.entries[k]; ok {
		e.Value.(*lruEntry[K, V]).value = v
		c.order.MoveToFront(e)
		return
	}
	c.entries[k] = c.order.PushFront(&lruEntry[K, V]{k, v})
	if c.order.Len() > c.max {
		last := c.order.Back().Value.(*lruEntry[K, V])
		c.remove(last.key)
		if c.dropped != nil {
			c.dropped(last.key, last.value)
		}
	}
}

func (c *lru[K, V]) remove(k K) {
	if e, ok := c.entries[k]; ok {
		c.order.Remove(e)
		delete(c.entries, k)
	}
}

func (c *lru[K, V]) len() int { return c.order.Len() }

// each yields all entries, the newest first, without counting as use.
func (c *lru[K, V]) each(yield func(K, V)) {
	for e := c.order.Front(); e != nil; e = e.Next() {
		le := e.Value.(*lruEntry[K, V])
		yield(le.key, le.value)
	}
}
