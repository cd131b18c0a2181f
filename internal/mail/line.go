package mail

import (
	"errors"
	"time"
)

// Line is one line of waiting recipients in the spool's index: those that wait
// for one site, of one tenant, at one priority. The spool keeps the lines and
// the queue reads them, so the word is here, between the two rooms.
type Line struct {
	Site     string // as in Standing.Site; "" when nothing is known yet
	Tenant   string // Envelope.Tenant
	Priority int    // Params.Priority
	FirstDue time.Time
}

// Entry is one waiting recipient in a Line. Entries are ordered by Due, then
// ID, then Recipient.
type Entry struct {
	ID        ID
	Recipient int // index in Envelope.Recipients
	Due       time.Time
}

// ErrNotFound says that a message is not, or no longer, in the spool.
var ErrNotFound = errors.New("no such message")

// ErrDamaged says that a record of the spool is not what was written: reading
// it again does not help.
var ErrDamaged = errors.New("spool: damaged")
