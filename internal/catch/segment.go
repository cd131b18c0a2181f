package catch

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// A segment is a file of records, appended to and never changed:
//
//	"PCR" kind:1 metaSize:4 bodySize:8   16 octets, big endian
//	meta                                  JSON
//	body                                  octets
//	crc32c of all the above:4
//
// A record cut short at the end of the last segment is what a crash leaves; it
// is cut off when the store is opened. One damaged otherwise is stepped over, as
// long as its head says where the next begins.
type segment struct {
	number uint64
	path   string
	size   int64
	live   int   // messages still wanted
	kept   int64 // octets of their records
}

const (
	kindMessage  = 'M' // meta: record, body: the message
	kindDialogue = 'D' // meta: lateDialogue
	kindDelete   = 'X' // meta: deletion
	kindMark     = 'R' // meta: mark
)

const (
	recordHead  = 16
	recordTail  = 4
	segmentSize = 32 << 20 // octets at which the next segment begins
	metaMax     = 16 << 20 // octets; a thousand recipients and a long dialogue take half of one
)

// place is where a record is.
type place struct {
	segment  uint64
	offset   int64
	metaSize int64
	bodySize int64
}

func (p place) total() int64 { return recordHead + p.metaSize + p.bodySize + recordTail }

func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016d.catch", number))
}

// listSegments finds the segments of a directory, oldest first.
func listSegments(dir string) ([]*segment, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.catch"))
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	var out []*segment
	for _, name := range names {
		n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), ".catch"), 10, 64)
		if err != nil {
			continue
		}
		out = append(out, &segment{number: n, path: name})
	}
	return out, nil
}

// writeRecord appends a record to w and returns its place's sizes.
func writeRecord(w io.Writer, kind byte, meta []byte, body io.Reader, bodySize int64) error {
	sum := crc32.New(castagnoli())
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10)
	var head [recordHead]byte
	copy(head[:], "PCR")
	head[3] = kind
	binary.BigEndian.PutUint32(head[4:], uint32(len(meta)))
	binary.BigEndian.PutUint64(head[8:], uint64(bodySize))
	out.Write(head[:])
	out.Write(meta)
	if bodySize > 0 {
		if _, err := io.CopyN(out, body, bodySize); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return binary.Write(w, binary.BigEndian, sum.Sum32())
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

var (
	errTorn    = errors.New("record cut short, or its head is damaged")
	errDamaged = errors.New("record damaged")
)

// scanSegment calls found for each sound record. It returns where the last of
// them ends; errTorn or errDamaged if there is more.
func scanSegment(path string, found func(kind byte, at place, meta []byte)) (sound int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return scan(bufio.NewReaderSize(f, 1<<20), found)
}

func scan(r *bufio.Reader, found func(kind byte, at place, meta []byte)) (sound int64, err error) {
	var here int64
	for {
		kind, at, meta, err := scanRecord(r)
		at.offset = here
		switch {
		case err == io.EOF && here > sound:
			return sound, errDamaged
		case err == io.EOF:
			return sound, nil
		case err == errDamaged:
			here += at.total()
			continue
		case err != nil:
			return sound, err
		}
		found(kind, at, meta)
		here += at.total()
		sound = here
	}
}

func scanRecord(r *bufio.Reader) (kind byte, at place, meta []byte, err error) {
	sum := crc32.New(castagnoli())
	var head [recordHead]byte
	switch n, err := io.ReadFull(r, head[:]); {
	case n == 0 && err == io.EOF:
		return 0, at, nil, io.EOF
	case err != nil:
		return 0, at, nil, tornOr(err)
	}
	sum.Write(head[:])
	at.metaSize = int64(binary.BigEndian.Uint32(head[4:]))
	at.bodySize = int64(binary.BigEndian.Uint64(head[8:]))
	if string(head[:3]) != "PCR" || at.metaSize > metaMax || at.bodySize < 0 {
		return 0, at, nil, errTorn
	}
	meta = make([]byte, at.metaSize)
	if _, err := io.ReadFull(r, meta); err != nil {
		return 0, at, nil, tornOr(err)
	}
	sum.Write(meta)
	if _, err := io.CopyN(sum, r, at.bodySize); err != nil {
		return 0, at, nil, tornOr(err)
	}
	if err := checkSum(r, sum); err != nil {
		return 0, at, nil, err // errDamaged: at says how long it is
	}
	return head[3], at, meta, nil
}

func checkSum(r io.Reader, sum hash.Hash32) error {
	var tail [recordTail]byte
	if _, err := io.ReadFull(r, tail[:]); err != nil {
		return tornOr(err)
	}
	if binary.BigEndian.Uint32(tail[:]) != sum.Sum32() {
		return errDamaged
	}
	return nil
}

func tornOr(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errTorn
	}
	return err
}

// readMeta reads the JSON of a record into v.
func readMeta(path string, at place, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	meta := make([]byte, at.metaSize)
	if _, err := f.ReadAt(meta, at.offset+recordHead); err != nil {
		return err
	}
	return json.Unmarshal(meta, v)
}

// stored is the body of a record, a mail.Body.
type stored struct {
	*io.SectionReader
	file *os.File
}

func openBody(path string, at place) (*stored, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &stored{io.NewSectionReader(f, at.offset+recordHead+at.metaSize, at.bodySize), f}, nil
}

func (s *stored) Close() error { return s.file.Close() }
