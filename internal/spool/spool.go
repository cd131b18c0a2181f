package spool

import (
	"context"
	"errors"
	"io"
	"iter"

	"paquebot/internal/mail"
)

// Spool is the only memory. Journal (Open) and Memory (NewMemory) pass the same
// contract tests, and so will a replicated one (design §10). All methods are
// safe for concurrent use.
type Spool interface {
	// NewDraft begins a message. The caller ends it with Commit or Discard.
	NewDraft() Draft

	// Record writes down new standings and returns when they are durable. They
	// wait a moment for company (Options.Linger, at most 10 ms). Updates of
	// messages or recipients that are not there are ignored: they were finished
	// before. A Standing is written whole, so recording it twice is harmless.
	// A Waiting standing without Due becomes due now.
	Record(ctx context.Context, updates []mail.Update) error

	// Intend notes that the final dot is about to be sent for some recipients,
	// so that after a crash it is known which attempts are in doubt: until the
	// next Record they come back from Recover, Open and Envelope with
	// Standing.Last.Ambiguous set. It rides along with the next commit and does
	// not wait for it.
	Intend(ctx context.Context, id mail.ID, recipients []int) error

	// Finish says that messages may be forgotten, their space reclaimed. It is
	// durable when it returns. Unknown messages are ignored.
	Finish(ctx context.Context, ids ...mail.ID) error

	// Open returns a copy of the envelope with its current standings, and the
	// content. ErrNotFound: unknown or finished. The caller closes the Body.
	Open(ctx context.Context, id mail.ID) (*mail.Envelope, mail.Body, error)

	// Envelope is Open without the content.
	Envelope(ctx context.Context, id mail.ID) (*mail.Envelope, error)

	// Content is Open without the envelope.
	Content(ctx context.Context, id mail.ID) (mail.Body, error)

	// Recover yields what the lines do not: every unfinished message that has a
	// recipient fresh from its acceptance (Fresh), or one whose end was recorded
	// but not Reported, or no recipient left to serve. Call it once, at start,
	// before the first Commit.
	Recover(ctx context.Context) iter.Seq2[*mail.Envelope, error]

	// Lines yields the lines in which something waits. Its cost grows with the
	// number of lines, not with what stands in them.
	Lines(ctx context.Context) iter.Seq2[Line, error]

	// Waiting returns up to limit entries of a line in the order they are due,
	// beginning after the entry given (the zero Entry: from the first).
	Waiting(ctx context.Context, site, tenant string, priority int, after Entry, limit int) ([]Entry, error)

	// Held returns up to limit held recipients in the order their holds end,
	// those without an end last, beginning after the entry given.
	Held(ctx context.Context, after Entry, limit int) ([]Entry, error)

	// Each yields the envelopes of all unfinished messages in the order of
	// their IDs, beginning with from. It sees a message that is there all the
	// while exactly once; one that comes or goes meanwhile, perhaps.
	Each(ctx context.Context, from mail.ID) iter.Seq2[*mail.Envelope, error]

	// Stat says how the spool stands. It is cheap.
	Stat() Stat

	// Close syncs what is pending and ends all work. It waits for nobody who
	// still holds a Body or a Draft; these fail from now on.
	Close() error
}

// Draft is a message on its way in: its body without the header section, which
// the session keeps until it may change it no more. A Draft is used by one
// goroutine. It holds at most two parts (partSize) in memory.
type Draft interface {
	io.Writer // body octets; the error, if any, is the Reply to give at the end of data

	// Size returns the octets written so far, without the header section.
	Size() int64

	// Content returns the message as it would be committed with this header
	// section, to check or sign it. It is valid until the next Write, Commit or
	// Discard.
	Content(head []byte) mail.Body

	// Commit returns nil only when the message will survive a power cut
	// (SRV-31). It sets env.Size; env and head remain the caller's. env.ID must
	// be set; committing an ID that is in the spool already, or was finished a
	// short while ago, succeeds without doing anything. On an error (a
	// smtp.Reply whose cause is ErrNotDurable, ErrUnknown or ErrFull) nothing is
	// kept (SRV-32), but for ErrUnknown.
	Commit(ctx context.Context, env *mail.Envelope, head []byte) error

	// Discard forgets the draft. It is harmless after Commit.
	Discard()
}

var (
	// ErrNotFound: no such message, or it is finished.
	ErrNotFound = mail.ErrNotFound
	// ErrNotDurable: surely not stored. A 451 to the client.
	ErrNotDurable = errors.New("spool: not stored")
	// ErrUnknown: the disk did not say; the message may be there after a
	// restart. A 451 to the client, and perhaps a duplicate (RFC 1047).
	ErrUnknown = errors.New("spool: perhaps not stored")
	// ErrFull: no space, or it fell below the reserve. A 452 to the client.
	ErrFull = errors.New("spool: disk full")
	// ErrClosed: the spool was closed.
	ErrClosed = errors.New("spool: closed")
	// ErrDamaged: a record is not what was written. What is known of where is in
	// the text.
	ErrDamaged = mail.ErrDamaged
	// ErrLocked: another process, most likely the server, uses the spool.
	ErrLocked = errors.New("spool: in use by another process")
)

// Line is where recipients wait for the same thing: a site, on behalf of a
// tenant, with a priority.
type Line = mail.Line

// Entry is one recipient's place in a line.
type Entry = mail.Entry

// Stat is how a spool stands.
type Stat struct {
	Messages   int64 // unfinished
	Recipients int64 // of these
	Bytes      int64 // of these, header and body
	States     [mail.Deleted + 1]int64

	Hot          int64  // messages that are not in the index
	Segments     int    // files of the journal
	JournalBytes int64  // their size
	TailBytes    int64  // of the journal, that a restart would read
	FreeBytes    uint64 // on the disk, when it was last looked at

	Troubled error // why nothing is accepted at the moment; nil when all is well
	Stopped  error // why nothing will be accepted before a restart; nil when all is well
}

// Fresh reports that a recipient waits as it came in: nobody recorded yet what
// it waits for, so it stands in no line and is the queue's from memory.
func Fresh(s *mail.Standing) bool {
	return s.State == mail.Waiting && s.Due.IsZero() && s.Site == ""
}

// Loose reports that a message is not all in the lines: Recover yields it.
func Loose(e *mail.Envelope) bool {
	standing := 0
	for i := range e.Recipients {
		s := &e.Recipients[i].Standing
		if Fresh(s) || s.State.Final() && !s.Reported {
			return true
		}
		if !s.State.Final() {
			standing++
		}
	}
	return standing == 0
}
