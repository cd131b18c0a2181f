package catch

import "paquebot/internal/event"

// Config says where and how much. Zero values mean the defaults.
type Config struct {
	// Dir holds the segment files. It is made when missing and belongs to one
	// Store at a time.
	Dir string
	// MaxMessages and MaxBytes bound what is kept; when either is passed the
	// oldest messages go. Defaults: 10,000 and 1 GiB.
	MaxMessages int
	MaxBytes    int64
	// Sync makes Catch return only when the message is on stable storage. The
	// queue forgets what was caught, so a store that outlives the process wants
	// it; a laptop's temporary one does not.
	Sync bool
	// Events hears of each caught message. Nil: nobody.
	Events event.Sink
}

const (
	defaultMessages = 10_000
	defaultBytes    = 1 << 30
)

func (c Config) orDefault() Config {
	if c.MaxMessages <= 0 {
		c.MaxMessages = defaultMessages
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = defaultBytes
	}
	if c.Events == nil {
		c.Events = event.Discard
	}
	return c
}
