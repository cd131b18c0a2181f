package queue

import (
	"time"

	"paquebot/internal/mail"
)

// Terms is what the queue promises about time. The zero value of a field takes
// its default.
type Terms struct {
	// Retry are the pauses after the first, second, ... try; the last repeats.
	// Default 5 min (greylisting), 15, 30, 60 min, 2 h, 4 h.
	Retry []time.Duration
	// Jitter spreads each pause by up to this share both ways. Default 0.2.
	Jitter float64
	// Expire is the life of a message, from arrival or from its release
	// (EXT-10). Default 5 days; RFC 5321 §4.5.4.1 asks for 4 to 5 at least.
	Expire time.Duration
	// ExpireNull is the life of mail from <>. Default 2 days.
	ExpireNull time.Duration
	// NotifyDelay is the age at which a delay is told, once. Default 4 h;
	// negative: never.
	NotifyDelay time.Duration
}

const (
	day = 24 * time.Hour

	// lastTryAhead is how long before its end of life a message gets a last try,
	// when its schedule would pass the end: the end itself is then exact.
	lastTryAhead = 10 * time.Minute

	// ambiguousPause is the least pause after a lost final reply: the peer may
	// have the message and its duplicate check may need time (SH-6, RFC 1047).
	ambiguousPause = 30 * time.Minute

	// untriedPause is the pause after an attempt that came to no verdict; it
	// counts as no try.
	untriedPause = 30 * time.Second
)

func (t Terms) withDefaults() Terms {
	if len(t.Retry) == 0 {
		t.Retry = []time.Duration{5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour}
	}
	if t.Jitter == 0 {
		t.Jitter = 0.2
	}
	if t.Expire == 0 {
		t.Expire = 5 * day
	}
	if t.ExpireNull == 0 {
		t.ExpireNull = min(2*day, t.Expire)
	}
	if t.NotifyDelay == 0 {
		t.NotifyDelay = 4 * time.Hour
	}
	return t
}

// pause is how long to wait after the nth try. Chance is in [0,1).
func (t Terms) pause(tries uint32, chance float64) time.Duration {
	n := min(max(int(tries), 1), len(t.Retry)) - 1
	d := float64(t.Retry[n])
	return time.Duration(d * (1 + t.Jitter*(2*chance-1)))
}

// longest is the longest pause there is between two tries.
func (t Terms) longest() time.Duration {
	longest := ambiguousPause
	for _, d := range t.Retry {
		longest = max(longest, d)
	}
	return time.Duration(float64(longest) * (1 + t.Jitter))
}

// begin is when a message's clocks start: its release counts as its arrival
// (EXT-10, RFC 4865 §4.4).
func begin(env *mail.Envelope) time.Time {
	if env.Params.ReleaseAt.After(env.Arrived) {
		return env.Params.ReleaseAt
	}
	return env.Arrived
}

// expiry is when the queue gives a message up.
func (t Terms) expiry(env *mail.Envelope) time.Time { return begin(env).Add(t.life(env)) }

func (t Terms) life(env *mail.Envelope) time.Duration {
	if env.From == "" {
		return t.ExpireNull
	}
	return t.Expire
}

// next is when a recipient is tried again after its nth try: by the schedule,
// but once more shortly before the end of life, and never after it.
func (t Terms) next(env *mail.Envelope, tries uint32, now time.Time, chance float64) time.Time {
	due, end := now.Add(t.pause(tries, chance)), t.expiry(env)
	if due.Before(end) {
		return due
	}
	if early := end.Add(-lastTryAhead); early.After(now.Add(lastTryAhead)) {
		return early
	}
	return end
}
