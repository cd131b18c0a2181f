package spool

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// segment is what is known of one file of the journal.
type segment struct {
	number uint32
	header segmentHeader
	end    int64 // octets that count; what lies beyond was never acknowledged
	hot    tally // needed by messages known in memory only
	cold   tally // needed by messages in the index
	pins   int   // parts of open drafts
}

// tally counts what needs a segment: messages, standings of recipients, parts.
type tally struct{ items, octets int64 }

func (t *tally) add(items, octets int64) { t.items, t.octets = t.items+items, t.octets+octets }

func (s *segment) live() int64 { return s.hot.items + s.cold.items }

const segmentSuffix = ".journal"

func segmentName(n uint32) string { return fmt.Sprintf("%010d%s", n, segmentSuffix) }

func parseSegmentName(name string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), ok && err == nil && n > 0
}

// listSegments returns the numbers of the segment files in order.
func listSegments(fs vfs.FS, dir string) ([]uint32, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, err
	}
	var ns []uint32
	for _, name := range names {
		if n, ok := parseSegmentName(name); ok {
			ns = append(ns, n)
		}
	}
	slices.Sort(ns)
	return ns, nil
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readSegmentHeader returns false if the file does not begin with one yet: it
// was created, and its first batch did not come to the disk. A header lies in
// one sector, so what is there and is not a header is damage.
func readSegmentHeader(f io.ReaderAt, number uint32) (segmentHeader, bool, error) {
	b := make([]byte, segmentHeaderSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return segmentHeader{}, false, err
	}
	if n < len(b) || len(bytes.Trim(b, "\x00")) == 0 {
		return segmentHeader{}, false, nil
	}
	h, ok := parseSegmentHeader(b)
	if !ok || h.number != number {
		return segmentHeader{}, false, damaged(at(number, 0), "not a segment's header")
	}
	return h, true, nil
}

// record is one record as read.
type record struct {
	recordHeader
	pos     Pos
	payload []byte // valid until the next one is read
}

func (r *record) size() int64 { return recordHeaderSize + int64(r.length) }

// scanner reads a segment's records one after the other.
type scanner struct {
	f      io.ReaderAt
	number uint32
	salt   uint32
	off    int64 // of the next record
	limit  int64 // do not read from here on; 0 for the file's end
	window []byte
	from   int64 // offset of window
	lead   uint64
	whole  bool // the batch lead is complete
}

func newScanner(f io.ReaderAt, h segmentHeader, from int64) *scanner {
	return &scanner{f: f, number: h.number, salt: h.saltCRC(), off: max(from, segmentHeaderSize), whole: true}
}

const scanWindow = 1 << 20

// view returns n octets at off, fewer at the end of the file.
func (s *scanner) view(off int64, n int) ([]byte, error) {
	if off < s.from || off+int64(n) > s.from+int64(len(s.window)) {
		size := max(n, scanWindow)
		if cap(s.window) < size {
			s.window = make([]byte, size)
		}
		got, err := s.f.ReadAt(s.window[:size], off)
		if err != nil && err != io.EOF {
			s.window = s.window[:0]
			return nil, err
		}
		s.window, s.from = s.window[:got], off
	}
	b := s.window[off-s.from:]
	return b[:min(n, len(b))], nil
}

// next returns the record at s.off, or false where the readable row ends. An
// error is the disk's.
func (s *scanner) next() (record, bool, error) {
	h, ok, err := s.peek(s.off)
	if err != nil || !ok {
		return record{}, false, err
	}
	if s.limit > 0 && s.off+recordHeaderSize+int64(h.length) > s.limit {
		return record{}, false, nil
	}
	if h.batch < s.lead || h.batch == s.lead && s.whole {
		return record{}, false, nil // left over from a batch before
	}
	r, ok, err := s.at(s.off, h)
	if err != nil || !ok {
		return record{}, false, err
	}
	s.off += r.size()
	s.lead, s.whole = h.batch, h.last
	return r, true, nil
}

func (s *scanner) peek(off int64) (recordHeader, bool, error) {
	b, err := s.view(off, recordHeaderSize)
	if err != nil {
		return recordHeader{}, false, err
	}
	h, ok := parseHeader(b, s.salt)
	return h, ok, nil
}

// at reads the record with header h at off; false if its payload is not what
// was written.
func (s *scanner) at(off int64, h recordHeader) (record, bool, error) {
	b, err := s.view(off, recordHeaderSize+int(h.length))
	if err != nil || len(b) < recordHeaderSize+int(h.length) {
		return record{}, false, err
	}
	b = b[recordHeaderSize:]
	if crc32.Checksum(b, castagnoli) != h.crc {
		return record{}, false, nil
	}
	return record{recordHeader: h, pos: at(s.number, off), payload: b}, true, nil
}

// beyond looks for a record after the end of the row that proves that the row
// was longer once: one of a batch that was written after a batch that is not
// whole here. It returns where, or false: what is there is a torn tail.
func (s *scanner) beyond() (int64, bool, error) {
	torn := s.lead + 1 // the one batch that may be torn
	if !s.whole {
		torn = s.lead
	}
	off, h, ok, err := s.seek(s.off+1, func(h recordHeader) bool { return h.batch > torn })
	_ = h
	return off, ok, err
}

// seek returns the first place at or after off where a whole record stands
// whose header is as wanted.
func (s *scanner) seek(off int64, want func(recordHeader) bool) (int64, recordHeader, bool, error) {
	for ; s.limit == 0 || off < s.limit; off++ {
		b, err := s.view(off, recordHeaderSize)
		if err != nil || len(b) < recordHeaderSize {
			return 0, recordHeader{}, false, err
		}
		h, ok := parseHeader(b, s.salt)
		if !ok || !want(h) {
			continue
		}
		if _, ok, err := s.at(off, h); ok || err != nil {
			return off, h, ok, err
		}
	}
	return 0, recordHeader{}, false, nil
}

// shelf keeps some segments open for reading.
type shelf struct {
	fs    vfs.FS
	dir   string
	bound int

	mu    sync.Mutex
	files map[uint32]*shelved
	clock uint64
}

type shelved struct {
	vfs.File
	number uint32
	salt   uint32
	refs   int
	used   uint64
	gone   bool // taken off the shelf: the last reader closes it
}

func newShelf(fs vfs.FS, dir string, bound int) *shelf {
	return &shelf{fs: fs, dir: dir, bound: bound, files: map[uint32]*shelved{}}
}

// take opens a segment; the caller gives it back.
func (s *shelf) take(n uint32) (*shelved, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[n]
	if f == nil {
		var err error
		if f, err = s.open(n); err != nil {
			return nil, err
		}
		s.makeRoom()
		s.files[n] = f
	}
	s.clock++
	f.refs, f.used = f.refs+1, s.clock
	return f, nil
}

func (s *shelf) open(n uint32) (*shelved, error) {
	f, err := s.fs.Open(s.fs.PathJoin(s.dir, segmentName(n)))
	if err != nil {
		return nil, err
	}
	h, ok, err := readSegmentHeader(f, n)
	if err != nil || !ok {
		f.Close()
		if err == nil {
			err = damaged(at(n, 0), "no segment header")
		}
		return nil, err
	}
	return &shelved{File: f, number: n, salt: h.saltCRC()}, nil
}

// makeRoom closes the segment nobody reads that was used the longest ago.
func (s *shelf) makeRoom() {
	if len(s.files) < s.bound {
		return
	}
	var oldest *shelved
	for _, f := range s.files {
		if f.refs == 0 && (oldest == nil || f.used < oldest.used) {
			oldest = f
		}
	}
	if oldest != nil {
		delete(s.files, oldest.number)
		oldest.Close()
	}
}

func (s *shelf) give(f *shelved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.refs--
	if f.gone && f.refs == 0 {
		f.Close()
	}
}

// drop takes a segment off the shelf.
func (s *shelf) drop(n uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(n)
}

func (s *shelf) remove(n uint32) {
	f := s.files[n]
	if f == nil {
		return
	}
	delete(s.files, n)
	f.gone = true
	if f.refs == 0 {
		f.Close()
	}
}

func (s *shelf) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.files {
		s.remove(n)
	}
}

// read fills b with the record at pos, header and payload, and checks it. The
// length of b is the record's.
func (s *shelf) read(pos Pos, b []byte) error {
	f, err := s.take(pos.Segment())
	if err != nil {
		return err
	}
	defer s.give(f)
	if got, err := f.ReadAt(b, pos.Offset()); got < len(b) {
		if err == io.EOF {
			return damaged(pos, "segment too short")
		}
		return err
	}
	h, ok := parseHeader(b, f.salt)
	if !ok || int(h.length) != len(b)-recordHeaderSize {
		return damaged(pos, "not the record expected")
	}
	if crc32.Checksum(b[recordHeaderSize:], castagnoli) != h.crc {
		return damaged(pos, "checksum of a record")
	}
	return nil
}

func sortSegments(ns []uint32) { slices.Sort(ns) }
