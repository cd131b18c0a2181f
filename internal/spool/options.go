package spool

import (
	"crypto/rand"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/event"
)

// Options of a Journal. The zero value of a field takes the default named.
type Options struct {
	FS     vfs.FS     // vfs.Default
	Dir    string     // required; holds journal/, index/ and LOCK
	Random io.Reader  // crypto/rand; salts the segments
	Events event.Sink // event.Discard

	// FreeSpace returns the octets free on the disk of Dir; default: as the file
	// system says. An error means that nobody knows: only a full disk refuses.
	FreeSpace func() (uint64, error)
	// Reserve is the free space in octets below which mail is refused with 452
	// . Reports made here may use half of it: telling the sender must stay
	// possible. Default 128 MiB.
	Reserve uint64

	// SegmentBytes is the size at which the journal begins a new file; default
	// 64 MiB. Space is reclaimed by the file.
	SegmentBytes int64
	// Linger is how long outcomes wait for company when no message is being
	// committed; default 2 ms, at most 10 ms.
	Linger time.Duration

	// BufferBytes bounds the fresh messages kept in memory for immediate
	// delivery; default 64 MiB. Beyond it they are read back.
	BufferBytes int64
	// HotMessages bounds the messages known in memory only; default 50,000, at
	// some 300 octets each. Older ones move to the index.
	HotMessages int
	// HotBytes is how far behind the journal's end such a message may lie, and so
	// what a restart has to read; default 64 MiB.
	HotBytes int64
	// HotAge is how old such a message may grow; default one minute.
	HotAge time.Duration

	// CopyRate bounds the copying of stragglers in octets a second; default
	// 8 MiB, so that it never shows beside the mail.
	CopyRate int64
	// IndexCache is the block cache of the index in octets; default 64 MiB.
	IndexCache int64
	// OpenSegments bounds the segments kept open for reading; default 64.
	OpenSegments int

	// Salvage reads over damaged records instead of refusing to start. What was
	// in them is lost, and said so by an event.
	Salvage bool

	partBytes int  // for tests: less than partSize
	manual    bool // for tests: no keeper of its own
}

const (
	lingerMax       = 10 * time.Millisecond // design §6.1
	segmentBytesMin = 4 << 10               // tests rotate often
	segmentBytesMax = 1 << 30               // offsets are 32 bits, with room for the last batch
)

// withDefaults fills in what was left zero and bounds what is out of bounds.
func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Events == nil {
		o.Events = event.Discard
	}
	if o.FreeSpace == nil {
		fs, dir := o.FS, o.Dir
		o.FreeSpace = func() (uint64, error) {
			u, err := fs.GetDiskUsage(dir)
			return u.AvailBytes, err
		}
	}
	orDefault(&o.Reserve, 128<<20)
	orDefault(&o.SegmentBytes, 64<<20)
	orDefault(&o.Linger, 2*time.Millisecond)
	orDefault(&o.BufferBytes, 64<<20)
	orDefault(&o.HotMessages, 50_000)
	orDefault(&o.HotBytes, 64<<20)
	orDefault(&o.HotAge, time.Minute)
	orDefault(&o.CopyRate, 8<<20)
	orDefault(&o.IndexCache, 64<<20)
	orDefault(&o.OpenSegments, 64)
	orDefault(&o.partBytes, partSize)
	o.Linger = min(o.Linger, lingerMax)
	o.SegmentBytes = min(max(o.SegmentBytes, segmentBytesMin), segmentBytesMax)
	return o
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
