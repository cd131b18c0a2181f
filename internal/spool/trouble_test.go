package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// sickFS is a disk whose journal files do as they are told.
type sickFS struct {
	vfs.FS
	write  atomic.Pointer[error] // what a write says
	keeps  atomic.Int64          // octets of it that come to the file all the same
	sync   atomic.Pointer[error]
	create atomic.Pointer[error]
	dir    atomic.Pointer[error] // sync of a directory
}

func set(p *atomic.Pointer[error], err error) { p.Store(&err) }

func told(p *atomic.Pointer[error]) error {
	if e := p.Load(); e != nil {
		return *e
	}
	return nil
}

func (f *sickFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if !strings.HasSuffix(name, segmentSuffix) {
		return f.FS.Create(name, c)
	}
	if err := told(&f.create); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name, c)
	return &sickFile{file, f}, err
}

func (f *sickFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	return &sickDir{file, f}, err
}

type sickDir struct {
	vfs.File
	fs *sickFS
}

func (d *sickDir) Sync() error { return errors.Join(told(&d.fs.dir), d.File.Sync()) }

type sickFile struct {
	vfs.File
	fs *sickFS
}

func (f *sickFile) WriteAt(p []byte, off int64) (int, error) {
	err := told(&f.fs.write)
	if err == nil {
		return f.File.WriteAt(p, off)
	}
	n := min(f.fs.keeps.Load(), int64(len(p)))
	if n > 0 {
		_, _ = f.File.WriteAt(p[:n], off)
		f.fs.keeps.Store(0)
		set(&f.fs.write, nil) // a partial write: what takes it back succeeds
		defer set(&f.fs.write, nil)
	}
	return int(n), err
}

func (f *sickFile) SyncData() error {
	if err := told(&f.fs.sync); err != nil {
		return err
	}
	return f.File.SyncData()
}

// events keeps what was said.
type events struct {
	mu  sync.Mutex
	all []event.Event
}

func (e *events) Emit(v event.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, v)
}

// names returns what was said but for commits.
func (e *events) names() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var s []string
	for _, v := range e.all {
		if x, ok := v.(event.SpoolTroubled); ok && x.Stopped {
			s = append(s, "stopped")
		} else if v.Name() != "spool.synced" && v.Name() != "spool.recovered" {
			s = append(s, v.Name())
		}
	}
	return strings.Join(s, " ")
}

type sickbed struct {
	t   *testing.T
	fs  *sickFS
	mem *vfs.MemFS
	j   *Journal
	ev  *events
	m   *model
	o   Options
}

func newSickbed(t *testing.T, o Options) *sickbed {
	b := &sickbed{t: t, mem: vfs.NewCrashableMem(), ev: new(events), m: &model{messages: map[mail.ID]*modelled{}}}
	b.fs = &sickFS{FS: b.mem}
	o.FS, o.Events = b.fs, b.ev
	b.o = o
	var err error
	if b.j, err = Open(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.j.Close() })
	return b
}

// afterCrash checks what a power cut would leave, all unsynced data included.
func (b *sickbed) afterCrash() {
	b.t.Helper()
	o := b.o
	o.Events = nil
	for _, percent := range []int{0, 100} {
		clone := b.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: testRand()})
		m := b.m.clone()
		c := moment{fmt.Sprint(percent), clone, m, m.clone()}
		if err := recovers(c); err != nil {
			b.t.Errorf("after a power cut, %d%%: %v", percent, err)
		}
	}
}

func (b *sickbed) want(err error, reason error, code int) {
	b.t.Helper()
	if !errors.Is(err, reason) || smtp.AsReply(err).Code != code {
		b.t.Errorf("got %v, want %v with %d", err, reason, code)
	}
}

func TestRefusedMailLeavesNothing(t *testing.T) { // SRV-32
	for _, c := range []struct {
		name   string
		err    error
		keeps  int64
		reason error
		code   int
	}{
		{"no space at all", syscall.ENOSPC, 0, ErrFull, 452},
		{"no space after some octets", syscall.ENOSPC, 100, ErrFull, 452},
		{"no space after all but one octet", syscall.ENOSPC, 400, ErrFull, 452},
		{"over quota", syscall.EDQUOT, 10, ErrFull, 452},
		{"an I/O error", syscall.EIO, 0, ErrNotDurable, 451},
		{"an I/O error after the whole record", syscall.EIO, 1 << 20, ErrNotDurable, 451},
		{"a file system gone read-only", syscall.EROFS, 0, ErrNotDurable, 451},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newSickbed(t, smallOptions)
			if err := b.m.put(b.j, 1, 1, "before"); err != nil {
				t.Fatal(err)
			}
			set(&b.fs.write, fmt.Errorf("write: %w", c.err))
			b.fs.keeps.Store(c.keeps)
			b.want(b.m.put(b.j, 2, 2, "refused"), c.reason, c.code)
			if b.j.Stat().Troubled == nil {
				t.Error("nobody was told")
			}
			b.afterCrash()
			set(&b.fs.write, nil)
			for n := 3; n < 6; n++ { // it recovers by itself
				if err := b.m.put(b.j, n, 1, "after"); err != nil {
					t.Fatal(err)
				}
			}
			b.afterCrash()
			if got, want := b.ev.names(), "spool.troubled spool.healed"; got != want {
				t.Errorf("events %q, want %q", got, want)
			}
			if err := check(b.j, b.m.clone(), b.m.clone()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatCannotBeTakenBackIsUnknown(t *testing.T) {
	b := newSickbed(t, smallOptions)
	_ = b.m.put(b.j, 1, 1, "before")
	set(&b.fs.write, syscall.EIO)
	stay := &stayingFile{File: b.j.writer.file, left: 300}
	b.j.writer.file = stay
	err := b.m.put(b.j, 2, 1, "perhaps")
	b.want(err, ErrUnknown, 451)
	b.want(b.m.put(b.j, 3, 1, "not while the stain is there"), ErrNotDurable, 451)
	stay.well = true
	if err := b.m.put(b.j, 4, 1, "after"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.j.Envelope(context.Background(), testID(2)); !errors.Is(err, ErrNotFound) {
		t.Errorf("the one in doubt: %v", err)
	}
	set(&b.fs.write, nil)
	b.afterCrash()
}

// stayingFile keeps the first octets of a write and fails, until it is well.
type stayingFile struct {
	vfs.File
	left int
	well bool
}

func (f *stayingFile) WriteAt(p []byte, off int64) (int, error) {
	inner := f.File.(*sickFile).File
	if f.well {
		return inner.WriteAt(p, off)
	}
	n := min(f.left, len(p))
	f.left -= n
	if n > 0 {
		_, _ = inner.WriteAt(p[:n], off)
	}
	return n, syscall.EIO
}

func TestFailedSyncStops(t *testing.T) {
	b := newSickbed(t, smallOptions)
	_ = b.m.put(b.j, 1, 1, "before")
	set(&b.fs.sync, syscall.EIO)
	b.want(b.m.put(b.j, 2, 1, "unknown"), ErrUnknown, 451)
	set(&b.fs.sync, nil) // the disk says yes again: it is not asked
	b.want(b.m.put(b.j, 3, 1, "later"), ErrNotDurable, 451)
	b.want(b.j.Record(context.Background(), []mail.Update{testWaits(1, 0, 1)}), ErrNotDurable, 451)
	b.want(b.j.Finish(context.Background(), testID(1)), ErrNotDurable, 451)
	if b.j.Stat().Stopped == nil {
		t.Error("Stat does not say that it stopped")
	}
	if got := b.ev.names(); got != "stopped" {
		t.Errorf("events %q", got)
	}
	if _, err := b.j.Envelope(context.Background(), testID(1)); err != nil {
		t.Errorf("reading goes on: %v", err)
	}
	b.afterCrash()
}

func TestFailedSyncOfTheDirectoryStops(t *testing.T) {
	b := newSickbed(t, smallOptions)
	set(&b.fs.dir, syscall.EIO)
	b.want(b.m.put(b.j, 1, 1, "first"), ErrNotDurable, 451)
	if b.j.Stat().Stopped == nil {
		t.Error("Stat does not say that it stopped")
	}
	set(&b.fs.dir, nil)
	b.afterCrash()
}

func TestNoNewSegment(t *testing.T) {
	b := newSickbed(t, smallOptions)
	set(&b.fs.create, syscall.ENOSPC)
	b.want(b.m.put(b.j, 1, 1, "refused"), ErrFull, 452)
	set(&b.fs.create, syscall.EROFS)
	b.want(b.m.put(b.j, 2, 1, "refused"), ErrNotDurable, 451)
	set(&b.fs.create, nil)
	if err := b.m.put(b.j, 3, 1, "after"); err != nil {
		t.Fatal(err)
	}
	b.afterCrash()
}

func TestLostPartLosesTheDraft(t *testing.T) {
	b := newSickbed(t, smallOptions)
	d := b.j.NewDraft()
	_, _ = io.WriteString(d, strings.Repeat("x", 2500))
	set(&b.fs.write, syscall.ENOSPC)
	_, _ = io.WriteString(d, strings.Repeat("x", 5000))
	set(&b.fs.write, nil)
	env := &mail.Envelope{ID: testID(1), Recipients: []mail.Recipient{{Address: "a@example.net"}}}
	b.want(d.Commit(context.Background(), env, nil), ErrFull, 452)
	d.Discard()
	b.m.messages[testID(1)] = &modelled{accepted: refused, env: env}
	b.afterCrash()
}

func TestReserve(t *testing.T) {
	var free atomic.Uint64
	free.Store(1000)
	o := smallOptions
	o.Reserve = 500
	o.FreeSpace = func() (uint64, error) { return free.Load(), nil }
	b := newSickbed(t, o)
	look := func() { _ = b.j.do(func(a *applier) { a.j.writer.looked = time.Time{} }) }
	if err := b.m.put(b.j, 1, 1, "fine"); err != nil {
		t.Fatal(err)
	}
	free.Store(400)
	look()
	b.want(b.m.put(b.j, 2, 1, "refused"), ErrFull, 452)
	report := &mail.Envelope{ID: testID(9), Origin: mail.Origin{Role: mail.RoleLocal}, Recipients: []mail.Recipient{{Address: "a@example.net"}}}
	if err := b.j.NewDraft().Commit(context.Background(), report, []byte("x\r\n")); err != nil {
		t.Errorf("a report may use the reserve: %v", err)
	}
	if err := b.m.record(b.j, testWaits(1, 0, 5)); err != nil {
		t.Errorf("so may outcomes: %v", err)
	}
	if b.j.Stat().Troubled == nil {
		t.Error("outcomes do not heal it")
	}
	free.Store(200)
	look()
	report.ID = testID(10)
	b.want(b.j.NewDraft().Commit(context.Background(), report, []byte("x\r\n")), ErrFull, 452)
	free.Store(1000)
	look()
	if err := b.m.put(b.j, 3, 1, "fine again"); err != nil {
		t.Fatal(err)
	}
	if got, want := b.ev.names(), "spool.troubled spool.healed"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestDamageIsReportedNotCut(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(b []byte) // of the segment
		want   error
	}{
		{"nothing", func([]byte) {}, nil},
		{"in the first record", func(b []byte) { b[segmentHeaderSize+recordHeaderSize+50] ^= 1 }, ErrDamaged},
		{"in a record's header", func(b []byte) { b[segmentHeaderSize+8] ^= 1 }, ErrDamaged},
		{"in the segment's header", func(b []byte) { b[20] ^= 1 }, ErrDamaged},
		{"in the last record", func(b []byte) { b[len(b)-1] ^= 1 }, nil}, // a torn tail looks the same
	} {
		t.Run(c.name, func(t *testing.T) {
			o := smallOptions
			mem := vfs.NewMem()
			o.FS, o.SegmentBytes = mem, 1<<20
			j, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			m := &model{messages: map[mail.ID]*modelled{}}
			for n := range 4 {
				if err := m.put(j, n, 1, strings.Repeat("x", 100)); err != nil {
					t.Fatal(err)
				}
			}
			j.Close()
			name := "/spool/journal/" + segmentName(1)
			data, err := mem.UnsafeGetFileDataBuffer(name)
			if err != nil {
				t.Fatal(err)
			}
			c.damage(data)
			if err := mem.RemoveAll("/spool/index"); err != nil {
				t.Fatal(err)
			}
			j, err = Open(o)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil {
				j.Close()
				return
			}
			r, err := Check(context.Background(), o, nil)
			if err != nil || len(r.Problems) == 0 {
				t.Errorf("check finds %+v, error %v", r, err)
			}
			if c.name == "in the segment's header" {
				return // without its salt nothing in it can be told from what somebody sent
			}
			o.Salvage = true
			if j, err = Open(o); err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			if n := j.Stat().Messages; n != 3 {
				t.Errorf("%d messages were saved, want 3", n)
			}
		})
	}
}

func TestKilledYoungSpoolIsSound(t *testing.T) {
	mem := vfs.NewCrashableMem()
	o := smallOptions
	o.FS = mem
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	m := &model{messages: map[mail.ID]*modelled{}}
	if err := m.put(j, 1, 1, "hello"); err != nil {
		t.Fatal(err)
	}
	o.FS = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: testRand()})
	j.Close()
	r, err := Check(context.Background(), o, nil)
	if err != nil || len(r.Problems) != 0 || r.Messages != 1 {
		t.Errorf("check finds %+v, error %v", r, err)
	}
}

func TestAnotherProcessIsNoticed(t *testing.T) {
	o := smallOptions
	o.FS = vfs.NewMem()
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if _, err := Open(o); !errors.Is(err, ErrLocked) {
		t.Errorf("open: %v", err)
	}
	if _, err := Check(context.Background(), o, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("check: %v", err)
	}
	if err := Reindex(o); !errors.Is(err, ErrLocked) {
		t.Errorf("reindex: %v", err)
	}
}
