package smtpserver

import (
	"context"
	"sync"
	"time"
)

// deadline is a context that ends at a time, or when stop is called. Unlike
// context.WithTimeout it costs nothing until somebody waits for it: most
// messages are judged without waiting. It does not end with its parent, whose
// values it has: a lost connection changes nothing once the end of data has
// come (SRV-34).
type deadline struct {
	context.Context
	until time.Time

	mu    sync.Mutex
	err   error
	done  chan struct{}
	timer *time.Timer
}

func newDeadline(parent context.Context, d time.Duration) *deadline {
	return &deadline{Context: parent, until: time.Now().Add(d)}
}

// Deadline implements context.Context.
func (d *deadline) Deadline() (time.Time, bool) { return d.until, true }

// Done implements context.Context.
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		d.done = make(chan struct{})
		if d.err != nil {
			close(d.done)
		} else {
			d.timer = time.AfterFunc(time.Until(d.until), func() { d.end(context.DeadlineExceeded) })
		}
	}
	return d.done
}

// Err implements context.Context.
func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil && !time.Now().Before(d.until) {
		return context.DeadlineExceeded
	}
	return d.err
}

// stop ends it early, for those who have kept it.
func (d *deadline) stop() { d.end(context.Canceled) }

func (d *deadline) end(why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return
	}
	d.err = why
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.done != nil {
		close(d.done)
	}
}
