package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func open(t *testing.T, fs vfs.FS, o Options) *DB {
	t.Helper()
	db, err := Open(fs, "data/store", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, tab *Table, key string) string {
	t.Helper()
	v, ok, err := tab.Get([]byte(key))
	must(t, err)
	if !ok {
		return "-"
	}
	return string(v)
}

func each(t *testing.T, tab *Table, prefix string) string {
	t.Helper()
	var got []string
	must(t, tab.Each([]byte(prefix), func(k, v []byte) bool {
		got = append(got, string(k)+"="+string(v))
		return true
	}))
	return strings.Join(got, " ")
}

func TestTablesDoNotSeeEachOther(t *testing.T) {
	db := open(t, vfs.NewMem(), Options{})
	a, b := db.Table("a"), db.Table("ab")
	must(t, a.Put([]byte("b\x00k"), []byte("1")))
	must(t, b.Put([]byte("k"), []byte("2")))
	must(t, b.Put(nil, []byte("empty key")))
	if got := each(t, a, ""); got != "b\x00k=1" {
		t.Errorf("a holds %q", got)
	}
	if got := each(t, b, ""); got != "=empty key k=2" {
		t.Errorf("ab holds %q", got)
	}
	must(t, a.DeleteRange(nil, nil))
	if each(t, a, "") != "" || get(t, b, "k") != "2" {
		t.Error("emptying a table touched another, or not itself")
	}
}

func TestOrderRangesAndPrefixes(t *testing.T) {
	db := open(t, vfs.NewMem(), Options{})
	tab := db.Table("t")
	for _, k := range []string{"b2", "a", "b1", "c", "b\xff", "b\xff\xff1"} {
		must(t, tab.Put([]byte(k), []byte("v")))
	}
	if got := each(t, tab, "b"); got != "b1=v b2=v b\xff=v b\xff\xff1=v" {
		t.Errorf("prefix b: %q", got)
	}
	if got := each(t, tab, "b\xff"); got != "b\xff=v b\xff\xff1=v" {
		t.Errorf("prefix b ff: %q", got)
	}
	var back []string
	must(t, tab.Backward([]byte("b"), nil, func(k, _ []byte) bool {
		back = append(back, string(k))
		return len(back) < 3
	}))
	if !slices.Equal(back, []string{"c", "b\xff\xff1", "b\xff"}) {
		t.Errorf("backward, three: %q", back)
	}
	must(t, tab.DeleteRange([]byte("b"), []byte("b2")))
	var left []string
	must(t, tab.Range([]byte("a"), []byte("c"), func(k, _ []byte) bool { left = append(left, string(k)); return true }))
	if !slices.Equal(left, []string{"a", "b2", "b\xff", "b\xff\xff1"}) {
		t.Errorf("after DeleteRange [b, b2): %q", left)
	}
}

func TestSyncedWritesSurviveAPowerCut(t *testing.T) {
	fs := vfs.NewCrashableMem()
	db := open(t, fs, Options{})
	tab := db.Table("t")
	must(t, tab.Put([]byte("k"), []byte("1")))
	must(t, db.Update(func(b *Batch) error {
		return errors.Join(b.Put(tab, []byte("x"), []byte("2")), b.Delete(tab, []byte("k")))
	}))
	must(t, tab.Unsynced().Put([]byte("lazy"), []byte("3")))
	after := open(t, fs.CrashClone(vfs.CrashCloneCfg{}), Options{})
	if got := each(t, after.Table("t"), ""); got != "x=2" {
		t.Errorf("after the cut: %q, want the synced writes alone", got)
	}
	must(t, db.Sync())
	after = open(t, fs.CrashClone(vfs.CrashCloneCfg{}), Options{})
	if got := each(t, after.Table("t"), ""); got != "lazy=3 x=2" {
		t.Errorf("after Sync and a cut: %q", got)
	}
}

func TestUnsyncedWritesSurviveClose(t *testing.T) {
	fs := vfs.NewCrashableMem()
	db := open(t, fs, Options{NoSync: true})
	must(t, db.Table("t").Put([]byte("k"), []byte("1")))
	must(t, db.Close())
	must(t, db.Close())
	if err := db.Table("t").Put(nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Put after Close: %v", err)
	}
	if got := get(t, open(t, fs.CrashClone(vfs.CrashCloneCfg{}), Options{}).Table("t"), "k"); got != "1" {
		t.Errorf("after Close and a cut: %q", got)
	}
}

func TestAnErrorDropsTheBatch(t *testing.T) {
	db := open(t, vfs.NewMem(), Options{})
	tab := db.Table("t")
	boom := errors.New("boom")
	err := db.Update(func(b *Batch) error {
		must(t, b.Put(tab, []byte("k"), []byte("v")))
		return boom
	})
	if !errors.Is(err, boom) || get(t, tab, "k") != "-" {
		t.Errorf("err %v, k=%s", err, get(t, tab, "k"))
	}
}

func TestAFailedSyncStops(t *testing.T) {
	// errorfs is switched on after the DB is open: from then on no sync works.
	inj := &switchable{}
	var heard []error
	var mu sync.Mutex
	db, err := Open(errorfs.Wrap(vfs.NewMem(), inj), "data", Options{Trouble: func(e error) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, e)
	}})
	must(t, err)
	tab := db.Table("t")
	must(t, tab.Put([]byte("before"), []byte("1")))
	inj.set(true)
	if err := tab.Put([]byte("k"), []byte("v")); !errors.Is(err, ErrStopped) {
		t.Fatalf("Put on a failing disk: %v, want ErrStopped", err)
	}
	inj.set(false) // the disk is well again; the DB stays stopped
	if _, _, err := tab.Get([]byte("before")); !errors.Is(err, ErrStopped) {
		t.Errorf("Get after a failed write: %v, want ErrStopped", err)
	}
	must(t, db.Close())
	mu.Lock()
	defer mu.Unlock()
	if len(heard) == 0 {
		t.Error("nobody heard of the trouble")
	}
}

type switchable struct {
	mu sync.Mutex
	on bool
}

func (s *switchable) set(on bool) { s.mu.Lock(); s.on = on; s.mu.Unlock() }

func (s *switchable) String() string { return "switchable" }

func (s *switchable) MaybeError(op errorfs.Op) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo || op.Kind == errorfs.OpFileFlush) {
		return errors.New("no sync today")
	}
	return nil
}

func TestNamesOfTables(t *testing.T) {
	for name, ok := range map[string]bool{"accounts": true, "a-b_C9": true, "": false, "a\x00b": false, "a/b": false, strings.Repeat("x", 65): false} {
		if validName(name) != ok {
			t.Errorf("validName(%q) = %v", name, !ok)
		}
	}
}

func TestConcurrentWritersShareCommits(t *testing.T) {
	db := open(t, vfs.NewMem(), Options{CacheBytes: 1 << 20})
	tab := db.Table("t")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				if err := tab.Put(fmt.Appendf(nil, "%d-%02d", i, j), []byte("v")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	n := 0
	must(t, tab.Each(nil, func(_, _ []byte) bool { n++; return true }))
	if n != 400 {
		t.Errorf("%d keys, want 400", n)
	}
	if s := db.Stat(); s.CacheBytes > 1<<20 || s.DiskBytes == 0 {
		t.Errorf("stat %+v", s)
	}
}
