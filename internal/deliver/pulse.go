package deliver

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"paquebot/internal/smtp"
	"paquebot/internal/smtpclient"
)

// A path that dies in the middle of a message is silence, and SMTP waits for
// minutes before it calls a peer silent (CLI-6 to CLI-10). But a peer's machine
// acknowledges what it gets, whatever its mail server does: when it has not for
// pathDead, nobody is there any more. A full receive window is not that: its
// probes are acknowledged (MIS-18).
const (
	pathDead  = 15 * time.Second
	pulseTime = 3 * time.Second // between looks
)

// watch ends the session when its path dies; the func it returns ends the watch
// and puts that into the answers.
func (d *Deliverer) watch(c *smtpclient.Client, conn net.Conn) (stop func([]smtpclient.Answer)) {
	if d.needs.Unheard == nil || conn == nil {
		return func([]smtpclient.Answer) {}
	}
	var dead atomic.Bool
	done, began, bad := make(chan struct{}), time.Now(), 0
	var (
		mu    sync.Mutex
		timer *time.Timer
	)
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(pulseTime, func() {
		select {
		case <-done:
			return
		default:
		}
		bad++
		if time.Since(began) < pathDead || d.needs.Unheard(conn) < pathDead {
			bad = 0 // what is on its way for the first time is not lost yet
		}
		if bad > 1 {
			dead.Store(true)
			c.Abort()
			return
		}
		mu.Lock()
		defer mu.Unlock()
		timer.Reset(pulseTime)
	})
	return func(answers []smtpclient.Answer) {
		close(done)
		timer.Stop()
		for i, a := range answers {
			if dead.Load() && a.Kind == smtpclient.Lost {
				answers[i].Reply = smtp.Dropped.WithText("Path to host is dead: nothing was acknowledged for %v", pathDead).Because(a.Reply.Cause)
			}
		}
	}
}
