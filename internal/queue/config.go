package queue

import "time"

// Config is how much the queue does at a time. The zero value of a field takes
// its default.
type Config struct {
	Terms

	// Hostname of this server: Reporting-MTA and From domain of reports.
	Hostname string
	// AttemptsMax is how many attempts run at once over all sites. Default 2000:
	// an attempt that waits for a silent peer costs a few KiB and must not stop
	// the others.
	AttemptsMax int
	// FreshMax is how many recipients of fresh messages are held in memory;
	// beyond it they are written into the spool's waiting index. Default 50,000
	// (about 1 KiB each).
	FreshMax int
	// Window is how many due entries of a line are in memory. Default 256.
	Window int
	// WindowsMax bounds the entries of all windows together: beyond it each line
	// gets a sixteenth of its window. Default 100,000 (about 200 octets each).
	WindowsMax int
	// AttemptTime is the longest an attempt may take: beyond it the lease ends.
	// Default 1 h, above any sum of RFC 5321 §4.5.3.2 timeouts for one message.
	AttemptTime time.Duration
	// BackOff are the pauses of a site that takes no connection. Default 1, 2, 5,
	// 10, 20, 30 min, but no longer than Retry's at the same step; the last
	// repeats, spread by the Jitter.
	BackOff []time.Duration
	// DrainTime is how long attempts in flight may take to end when the queue
	// stops. Default 20 s (design §3: the server stops within 30).
	DrainTime time.Duration
	// AccountReports makes a report its account's, where that is a mailbox: for
	// development. Elsewhere a report is nobody's (RoleLocal without account).
	AccountReports bool
	// WatchEvery is how often promise P2 is checked. Default 10 min.
	WatchEvery time.Duration
}

func (c Config) withDefaults() Config {
	c.Terms = c.Terms.withDefaults()
	orInt(&c.AttemptsMax, 2000)
	orInt(&c.FreshMax, 50_000)
	orInt(&c.Window, 256)
	orInt(&c.WindowsMax, 100_000)
	orTime(&c.AttemptTime, time.Hour)
	orTime(&c.DrainTime, 20*time.Second)
	orTime(&c.WatchEvery, 10*time.Minute)
	if len(c.BackOff) == 0 {
		c.BackOff = []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute}
		for i := range c.BackOff {
			c.BackOff[i] = min(c.BackOff[i], c.Retry[min(i, len(c.Retry)-1)])
		}
	}
	if c.Hostname == "" {
		c.Hostname = "localhost"
	}
	return c
}

func orInt(v *int, d int) {
	if *v == 0 {
		*v = d
	}
}

func orTime(v *time.Duration, d time.Duration) {
	if *v == 0 {
		*v = d
	}
}
