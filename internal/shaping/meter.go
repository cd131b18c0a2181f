package shaping

import (
	"math"
	"time"
)

// meter lets messages through so that no window of length Per holds more than
// Messages of them. It keeps one time, not a list: messages are spaced by an
// interval, up to burst may come at once (the generic cell rate algorithm).
// With a burst of b and an interval i, a window of length p holds at most
// b-1 + ceil(p/i) messages; the interval is chosen so that this is the rate.
type meter struct {
	tat time.Time // theoretical arrival time of the next message
}

// burstShare is how much of a rate may come at once.
const burstShare = 10

func (r Rate) limited() bool { return r.Messages > 0 && r.Per > 0 }

// spacing returns the interval and the burst of a rate scaled by a factor.
func (r Rate) spacing(factor float64) (interval time.Duration, burst int) {
	n := max(int(float64(r.Messages)*factor), 1)
	per := r.Per
	if scaled := float64(r.Messages) * factor; scaled < 1 {
		per = time.Duration(float64(r.Per) / scaled)
	}
	burst = max(n/burstShare, 1)
	return time.Duration(math.Ceil(float64(per) / float64(n-burst+1))), burst
}

// wait is how long until the next message may go; 0: now.
func (m *meter) wait(now time.Time, interval time.Duration, burst int) time.Duration {
	earliest := m.tat.Add(-time.Duration(burst-1) * interval)
	return max(earliest.Sub(now), 0)
}

// count notes a message that goes now.
func (m *meter) count(now time.Time, interval time.Duration) {
	if m.tat.Before(now) {
		m.tat = now
	}
	m.tat = m.tat.Add(interval)
}

// uncount takes back a message that did not go.
func (m *meter) uncount(interval time.Duration) { m.tat = m.tat.Add(-interval) }
