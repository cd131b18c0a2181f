package shaping

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// quotaHours is the window of a daily quota: the hour that runs and the 24
// before it, so that no 24 hours, wherever they begin, hold more than the quota,
// whichever day the provider counts by.
const quotaHours = 25

// quotaAgain is the longest wait for room before it is looked for again.
const quotaAgain = time.Minute

// Table keeps what was used of quotas; internal/store has one.
type Table interface {
	Each(prefix []byte, yield func(key, value []byte) bool) error
	Put(key, value []byte) error
}

// usage counts recipients by the hour.
type usage struct {
	hour   int64 // the newest counted, since 1970
	counts [quotaHours]uint32
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// advance forgets hours that are out of the window.
func (u *usage) advance(now time.Time) {
	hour := hourOf(now)
	for range min(max(hour-u.hour, 0), quotaHours) {
		u.hour++
		u.counts[u.hour%quotaHours] = 0
	}
	u.hour = max(u.hour, hour)
}

func (u *usage) total() (n int) {
	for _, c := range u.counts {
		n += int(c)
	}
	return n
}

func (u *usage) add(n int, now time.Time) {
	u.advance(now)
	u.counts[u.hour%quotaHours] += uint32(n)
}

// room is when the first of what was used goes out of the window.
func (u *usage) room() time.Time {
	for h := u.hour - quotaHours + 1; h <= u.hour; h++ {
		if h >= 0 && u.counts[h%quotaHours] > 0 {
			return time.Unix((h+quotaHours)*3600, 0)
		}
	}
	return time.Unix((u.hour+1)*3600, 0)
}

func (u *usage) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(u.hour))
	for _, c := range u.counts {
		b = binary.BigEndian.AppendUint32(b, c)
	}
	return b
}

func decodeUsage(b []byte) (u usage, ok bool) {
	if len(b) != 8+4*quotaHours {
		return u, false
	}
	u.hour = int64(binary.BigEndian.Uint64(b))
	for i := range u.counts {
		u.counts[i] = binary.BigEndian.Uint32(b[8+4*i:])
	}
	return u, u.hour >= 0
}

// Keep lets quotas outlive the process. What the table has is read now.
func (s *Shaper) Keep(t Table) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = t
	return t.Each(nil, func(key, value []byte) bool {
		if u, ok := decodeUsage(value); ok && u.total() > 0 {
			s.used[string(key)] = &u
		}
		return true
	})
}

// outOfQuota is how long a site must wait for room in its quota; 0: it has some.
// Attempts under way count as one recipient each. The lock is held.
func (s *Shaper) outOfQuota(t *site, now time.Time) time.Duration {
	if t.limits.PerDay <= 0 {
		return 0
	}
	u := s.usageOf(t.limits.Site)
	u.advance(now)
	if u.total()+t.out < t.limits.PerDay {
		return 0
	}
	if u.total() < t.limits.PerDay { // those under way may not use it
		return time.Second
	}
	// Asked again soon, for the operator may raise the quota meanwhile.
	return min(max(u.room().Sub(now), time.Second), quotaAgain)
}

func (s *Shaper) usageOf(name string) *usage {
	u := s.used[name]
	if u == nil {
		u = &usage{}
		s.used[name] = u
	}
	return u
}

// spend notes recipients that a site with a quota took. The lock is held.
func (s *Shaper) spend(t *site, n int, now time.Time) {
	if t.limits.PerDay <= 0 || n == 0 {
		return
	}
	u := s.usageOf(t.limits.Site)
	u.add(n, now)
	s.unsaved[t.limits.Site] = true
}

// Save writes down what was used since the last time. What was not saved when
// the process is killed is not counted afterwards, so it is called often.
func (s *Shaper) Save() error {
	s.mu.Lock()
	list := map[string][]byte{}
	for name := range s.unsaved {
		list[name] = s.usageOf(name).encode()
	}
	table := s.table
	clear(s.unsaved)
	s.mu.Unlock()
	if table == nil {
		return nil
	}
	var errs []error
	for name, b := range list {
		errs = append(errs, table.Put([]byte(name), b))
	}
	return errors.Join(errs...)
}

// Remark says that a site's quota is used up, and until when; "" if it is not.
func (s *Shaper) Remark(name string) string {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.sites[name]
	if t == nil || t.limits.PerDay <= 0 {
		return ""
	}
	u := s.usageOf(name)
	if u.advance(now); u.total() < t.limits.PerDay {
		return ""
	}
	return fmt.Sprintf("quota: 452 4.7.1 %d recipients in 24 hours are used up, there is room again at %s", t.limits.PerDay, u.room().UTC().Format("15:04 MST"))
}
