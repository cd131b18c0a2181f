package store

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// defaultCacheBytes is enough for the hot accounts of a large site; a
	// history that is read in ranges gains little from more.
	defaultCacheBytes = 8 << 20
	// memTableBytes is what a table of small records buffers before it is
	// written out. It bounds the log replayed at start to a few times this.
	memTableBytes = 2 << 20
	// openFilesMax bounds the descriptors Pebble keeps, which the listeners need more.
	openFilesMax = 128
	// formatVersion is pinned, so that a newer library does not silently make
	// a directory that the previous release of paquebot cannot open.
	formatVersion = pebble.FormatValueSeparation
)

var (
	// ErrClosed means that the DB was closed.
	ErrClosed = errors.New("store: closed")
	// ErrStopped means that an earlier write failed; nothing more is read or
	// written until the DB is opened anew. It wraps the first failure.
	ErrStopped = errors.New("store: stopped after a failed write")
)

// Options of a DB. The zero value is a durable one.
type Options struct {
	// NoSync makes no write wait for the disk. For what may lose its last
	// seconds in a power cut: history, caches.
	NoSync bool
	// CacheBytes bounds the block cache; 0 means 8 MiB.
	CacheBytes int64
	// Trouble hears of background errors (a full disk during compaction, a
	// stopped DB), from any goroutine; it must not block. It may be nil.
	Trouble func(error)
}

// DB is a directory of tables. It is safe for concurrent use.
type DB struct {
	peb     *pebble.DB
	write   *pebble.WriteOptions
	trouble func(error)
	closed  atomic.Bool
	stopped atomic.Pointer[error]
}

// Open opens or makes the DB in dir of the file system fs. The directory is
// for its owner alone, since tables hold password hashes. One process at a
// time may have it open; a second Open fails.
func Open(fs vfs.FS, dir string, o Options) (*DB, error) {
	if err := makeDir(fs, dir); err != nil {
		return nil, fmt.Errorf("store: cannot make %s: %w", dir, err)
	}
	d := &DB{write: pebble.Sync, trouble: o.Trouble}
	if o.NoSync {
		d.write = pebble.NoSync
	}
	if d.trouble == nil {
		d.trouble = func(error) {}
	}
	peb, err := d.open(fs, dir, o)
	if err != nil {
		return nil, fmt.Errorf("store: cannot open %s: %w", dir, err)
	}
	d.peb = peb
	return d, nil
}

// makeDir makes dir and makes it durable: an entry in a directory that was not
// synced is gone after a power cut, with all that was synced below it.
func makeDir(fs vfs.FS, dir string) error {
	var made []string // parents of what is missing, the deepest first
	for at := dir; ; {
		if _, err := fs.Stat(at); err == nil {
			break
		}
		parent := fs.PathDir(at)
		made = append(made, parent)
		if parent == at || parent == "." {
			break
		}
		at = parent
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, parent := range made {
		if err := syncDir(fs, parent); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(fs vfs.FS, dir string) error {
	f, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *DB) open(fs vfs.FS, dir string, o Options) (*pebble.DB, error) {
	size := o.CacheBytes
	if size <= 0 {
		size = defaultCacheBytes
	}
	cache := pebble.NewCache(size)
	defer cache.Unref() // Pebble holds its own reference
	return pebble.Open(dir, &pebble.Options{
		FS:                          fs,
		Cache:                       cache,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                openFilesMax,
		FormatMajorVersion:          formatVersion,
		Logger:                      logger{d},
		// A history that expires by ranges gives its space back soon.
		FlushDelayDeleteRange: deleteRangeFlushDelay,
	})
}

// Table returns the table of that name, making it if need be. Names are fixed
// in code, at most 64 letters, digits, "-" and "_"; another one panics, since
// it would let tables see each other's keys.
func (d *DB) Table(name string) *Table {
	if !validName(name) {
		panic("store: bad table name " + name)
	}
	return &Table{db: d, prefix: append([]byte(name), 0), write: d.write}
}

func validName(name string) bool {
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '-' && c != '_' {
			return false
		}
	}
	return name != "" && len(name) <= 64
}

// Update writes all that fill puts into the batch, or nothing. It is as
// durable as the DB when it returns nil. An error of fill drops the batch and
// is returned.
func (d *DB) Update(fill func(*Batch) error) error {
	if err := d.usable(); err != nil {
		return err
	}
	b := &Batch{peb: d.peb.NewBatch()}
	defer b.peb.Close()
	if err := fill(b); err != nil {
		return err
	}
	return d.guard(func() error { return b.peb.Commit(d.write) })
}

// Sync makes everything written so far durable.
func (d *DB) Sync() error {
	if err := d.usable(); err != nil {
		return err
	}
	return d.guard(func() error { return d.peb.LogData(nil, pebble.Sync) })
}

// Stat is how much there is.
type Stat struct {
	DiskBytes  uint64 // of all files
	CacheBytes int64  // of the block cache
	MemBytes   uint64 // not yet written to tables
}

// Stat measures the DB.
func (d *DB) Stat() Stat {
	if d.usable() != nil {
		return Stat{}
	}
	m := d.peb.Metrics()
	return Stat{DiskBytes: m.DiskSpaceUsage(), CacheBytes: m.BlockCache.Size, MemBytes: m.MemTable.Size}
}

// Close makes everything durable and lets go of the directory. A second Close
// does nothing.
func (d *DB) Close() error {
	if d.closed.Swap(true) {
		return nil
	}
	if d.stopped.Load() != nil {
		return nil // Pebble's pipeline is wedged after a failed write; closing would wait for it
	}
	return d.guard(func() error {
		if err := d.peb.LogData(nil, pebble.Sync); err != nil {
			return err
		}
		return d.peb.Close()
	})
}

func (d *DB) usable() error {
	if cause := d.stopped.Load(); cause != nil {
		return fmt.Errorf("%w: %w", ErrStopped, *cause)
	}
	if d.closed.Load() {
		return ErrClosed
	}
	return nil
}

// guard runs a write. Pebble gives up by Logger.Fatalf when a commit fails;
// ours panics, and here the panic becomes the error of the one who wrote and
// of everybody after.
func (d *DB) guard(write func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = d.stop(fmt.Errorf("%v", p))
		}
	}()
	if err := write(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

func (d *DB) stop(cause error) error {
	if d.stopped.CompareAndSwap(nil, &cause) {
		d.trouble(cause)
	}
	return d.usable()
}
