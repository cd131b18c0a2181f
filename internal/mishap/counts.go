package mishap

import (
	"container/list"
	"hash/fnv"
	"io"
	"strconv"
	"strings"
	"time"
)

// count is how often something was seen, and went wrong.
type count struct {
	key    string
	seen   int64
	struck int64
	last   time.Time // struck
}

// counts remembers by key; the one unused longest goes when there are too many.
type counts struct {
	byKey map[string]*list.Element
	order list.List // of *count, used last at the front
}

func newCounts() *counts { return &counts{byKey: map[string]*list.Element{}} }

func (c *counts) of(key string) *count {
	if e := c.byKey[key]; e != nil {
		c.order.MoveToFront(e)
		return e.Value.(*count)
	}
	if len(c.byKey) >= countsMax {
		oldest := c.order.Back()
		c.order.Remove(oldest)
		delete(c.byKey, oldest.Value.(*count).key)
	}
	n := &count{key: key}
	c.byKey[key] = c.order.PushFront(n)
	return n
}

// forget drops all counts whose key begins so.
func (c *counts) forget(prefix string) {
	for key, e := range c.byKey {
		if strings.HasPrefix(key, prefix) {
			c.order.Remove(e)
			delete(c.byKey, key)
		}
	}
}

// separator stands between the parts of a key: it is in no ID and no address.
const separator = "\x00"

// keyOf names the count that a rule goes by for these facts.
func keyOf(scope string, r *Rule, f *Facts) string {
	parts := []string{scope}
	switch r.Per {
	case PerUser:
		parts = append(parts, f.user())
	case PerPair:
		parts = append(parts, f.user(), strings.ToLower(f.Sender), strings.ToLower(f.Recipient))
	case PerSession:
		parts = append(parts, f.Origin.Session)
	case PerClient:
		parts = append(parts, f.Origin.Client.Addr().String())
	}
	return strings.Join(parts, separator)
}

// due counts one more and reports whether it is one of those that go wrong.
func (c *count) due(r *Rule, now time.Time) bool {
	c.seen++
	n := c.seen - int64(r.Skip)
	switch {
	case n <= 0,
		r.Times > 0 && c.struck >= int64(r.Times),
		r.Every > 1 && n%int64(r.Every) != 0,
		r.Probability > 0 && chance(r.Seed, c.key, c.seen) >= r.Probability:
		return false
	}
	c.struck++
	c.last = now
	return true
}

// chance is a number from 0 to 1 that depends on nothing but its arguments: a
// seed gives the same luck again.
func chance(seed uint64, key string, n int64) float64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, strconv.FormatUint(seed, 10)+separator+key+separator+strconv.FormatInt(n, 10))
	x := h.Sum64() // FNV alone leaves the high bits of short keys alike
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11) / (1 << 53)
}
