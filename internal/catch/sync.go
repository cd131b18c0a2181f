package catch

import (
	"os"
	"sync"
)

// syncer lets many appends share one sync of a file.
type syncer struct {
	file *os.File
	on   bool

	mu      sync.Mutex
	changed *sync.Cond
	written uint64 // tickets given
	synced  uint64 // tickets that are on stable storage
	running bool
	err     error
}

func newSyncer(f *os.File, on bool) *syncer {
	s := &syncer{file: f, on: on}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// ticket is given after an append; calling it waits until the append is on
// stable storage.
func (s *syncer) ticket() func() error {
	if !s.on {
		return func() error { return nil }
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written++
	n := s.written
	return func() error { return s.wait(n) }
}

func (s *syncer) wait(n uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.synced < n && s.err == nil {
		if s.running {
			s.changed.Wait()
			continue
		}
		s.sync()
	}
	if s.synced >= n {
		return nil
	}
	return s.err
}

// sync runs one sync for all that is written; the lock is held but while it works.
func (s *syncer) sync() {
	s.running = true
	upTo := s.written
	s.mu.Unlock()
	err := s.file.Sync()
	s.mu.Lock()
	s.running = false
	if err != nil {
		s.err = err
	} else {
		s.synced = upTo
	}
	s.changed.Broadcast()
}

// retire syncs what is owed and closes the file.
func (s *syncer) retire() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.running {
		s.changed.Wait()
	}
	if s.on && s.synced < s.written && s.err == nil {
		s.sync()
	}
	if err := s.file.Close(); err != nil && s.err == nil && s.on {
		s.err = err
	}
	return s.err
}
