package spool_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/spool"
)

// journal opens a spool in memory and gives a function that opens it again.
func journal(t *testing.T, o spool.Options) (spool.Spool, func() spool.Spool) {
	t.Helper()
	if o.FS == nil {
		o.FS = vfs.NewMem()
	}
	if o.Dir == "" {
		o.Dir = "/spool"
	}
	var open *spool.Journal
	reopen := func() spool.Spool {
		t.Helper()
		if open != nil {
			if err := open.Close(); err != nil {
				t.Fatal(err)
			}
			open = nil
		}
		var err error
		if open, err = spool.Open(o); err != nil {
			t.Fatal(err)
		}
		return open
	}
	t.Cleanup(func() {
		if open != nil {
			open.Close()
		}
	})
	return reopen(), reopen
}

func TestJournalKeepsTheContract(t *testing.T) {
	contract(t, func(t *testing.T) (spool.Spool, func() spool.Spool) {
		return journal(t, spool.Options{})
	})
}

func TestJournalKeepsTheContractOnADisk(t *testing.T) {
	contract(t, func(t *testing.T) (spool.Spool, func() spool.Spool) {
		return journal(t, spool.Options{FS: vfs.Default, Dir: t.TempDir()})
	})
}

func TestSmallBoundsChangeNothing(t *testing.T) {
	contract(t, func(t *testing.T) (spool.Spool, func() spool.Spool) {
		return journal(t, spool.Options{SegmentBytes: 4096, BufferBytes: 1, HotMessages: 1, HotBytes: 1})
	})
}
