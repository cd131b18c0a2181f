package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"paquebot/internal/mail"
)

// What is on the disk.
//
// The journal is a row of segment files. A segment begins with a segmentHeader
// and goes on with records, one after the other. A record is a header of
// recordHeaderSize octets and a payload:
//
//	0  4  CRC32C of the segment's salt and of octets 4 to 24
//	4  1  kind
//	5  1  flags: recordLast, the last one of its batch
//	6  2  zero
//	8  4  length of the payload
//	12 4  CRC32C of the payload
//	16 8  number of the batch
//
// All numbers are little-endian. What is written with one sync is a batch; its
// records carry its number, and numbers only grow. Since a batch is written
// only after the one before is on stable storage, a record that cannot be read
// is a torn tail when nothing of a later batch follows, and damage otherwise.
//
// The salt differs for each segment and is known to nobody outside: without it
// a message could hold what looks like a record.

// Pos is a place in the journal: the segment's number and the offset in it.
type Pos uint64

func at(segment uint32, offset int64) Pos { return Pos(segment)<<32 | Pos(uint32(offset)) }

// Segment returns the number of the segment.
func (p Pos) Segment() uint32 { return uint32(p >> 32) }

// Offset returns the octets from the segment's beginning.
func (p Pos) Offset() int64 { return int64(uint32(p)) }

func (p Pos) String() string {
	return fmt.Sprintf("segment %d, offset %d", p.Segment(), p.Offset())
}

// kind of a record.
type kind byte

const (
	kindAccept  kind = 1 + iota // a message: see accepted
	kindPart                    // a part of a large body, ahead of its accept record
	kindUpdate                  // mail.Updates
	kindIntend                  // an ID and recipients
	kindFinish                  // IDs, each with the segment of its accept record
	kindCopy                    // as kindAccept: a message moved here from an older segment
	kindRestate                 // as kindUpdate: standings moved here, nothing new in them
	kindEnd
)

const (
	recordHeaderSize = 24
	recordLast       = 1 << 0
	// payloadMax bounds what a damaged length may make us read: an envelope with
	// a million recipients and its part of the body.
	payloadMax = 512 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recordHeader is the decoded form.
type recordHeader struct {
	kind   kind
	last   bool
	length uint32
	crc    uint32 // of the payload
	batch  uint64
}

// put writes the header into b. salt is the CRC of the segment's salt.
func (h recordHeader) put(b []byte, salt uint32) {
	var flags byte
	if h.last {
		flags = recordLast
	}
	b[4], b[5], b[6], b[7] = byte(h.kind), flags, 0, 0
	binary.LittleEndian.PutUint32(b[8:], h.length)
	binary.LittleEndian.PutUint32(b[12:], h.crc)
	binary.LittleEndian.PutUint64(b[16:], h.batch)
	binary.LittleEndian.PutUint32(b, crc32.Update(salt, castagnoli, b[4:recordHeaderSize]))
}

// parseHeader reports false for anything that put did not write with this salt.
func parseHeader(b []byte, salt uint32) (recordHeader, bool) {
	if len(b) < recordHeaderSize || b[4] == 0 || b[4] >= byte(kindEnd) || b[5]&^recordLast != 0 || b[6]|b[7] != 0 {
		return recordHeader{}, false
	}
	if binary.LittleEndian.Uint32(b) != crc32.Update(salt, castagnoli, b[4:recordHeaderSize]) {
		return recordHeader{}, false
	}
	h := recordHeader{
		kind:   kind(b[4]),
		last:   b[5]&recordLast != 0,
		length: binary.LittleEndian.Uint32(b[8:]),
		crc:    binary.LittleEndian.Uint32(b[12:]),
		batch:  binary.LittleEndian.Uint64(b[16:]),
	}
	return h, h.length <= payloadMax
}

// segmentHeader begins a segment. It is written with the first batch.
type segmentHeader struct {
	number   uint32
	previous uint32 // segment written before this one; 0 for none
	end      uint32 // where that one ends: what lies beyond was never acknowledged
	batch    uint64 // number of the first batch here
	salt     [16]byte
}

const segmentHeaderSize = 64

var segmentMagic = [8]byte{'p', 'a', 'q', 'u', 'e', 'b', 'o', '1'}

func (h *segmentHeader) append(b []byte) []byte {
	mark := len(b)
	b = append(b, segmentMagic[:]...)
	b = binary.LittleEndian.AppendUint32(b, h.number)
	b = binary.LittleEndian.AppendUint32(b, h.previous)
	b = binary.LittleEndian.AppendUint32(b, h.end)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, h.batch)
	b = append(b, h.salt[:]...)
	b = append(b, make([]byte, segmentHeaderSize-4-(len(b)-mark))...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[mark:], castagnoli))
}

func parseSegmentHeader(b []byte) (segmentHeader, bool) {
	var h segmentHeader
	if len(b) < segmentHeaderSize || [8]byte(b[:8]) != segmentMagic {
		return h, false
	}
	const body = segmentHeaderSize - 4
	if binary.LittleEndian.Uint32(b[body:]) != crc32.Checksum(b[:body], castagnoli) {
		return h, false
	}
	h.number = binary.LittleEndian.Uint32(b[8:])
	h.previous = binary.LittleEndian.Uint32(b[12:])
	h.end = binary.LittleEndian.Uint32(b[16:])
	h.batch = binary.LittleEndian.Uint64(b[24:])
	copy(h.salt[:], b[32:])
	return h, true
}

func (h *segmentHeader) saltCRC() uint32 { return crc32.Checksum(h.salt[:], castagnoli) }

// location is where a message lies: its accept (or copy) record, and the part
// records of a large body. The content is the header section, the parts, then
// the rest of the record.
type location struct {
	pos    Pos
	length uint32 // of the payload
	start  uint32 // of the header section in the payload
	head   uint32 // octets of the header section
	parts  []part
	// stale are segments that still have an accept record of the message that
	// counts no more; its end must outlive them too.
	stale []uint32
}

type part struct {
	pos    Pos
	length uint32
}

// size returns the octets of the content.
func (l *location) size() int64 {
	n := int64(l.length - l.start)
	for _, p := range l.parts {
		n += int64(p.length)
	}
	return n
}

// An accept record's payload: four numbers of 32 bits (the segment a copy was
// made from, the lengths of envelope and header section, the count of parts),
// the parts (position and length), envelope, header section, rest of the body.
const (
	acceptFixed = 16
	partSizeRef = 12
)

// accepted is the decoded form.
type accepted struct {
	from uint32 // segment a copy was made from; 0 for an original
	env  []byte
	loc  location
}

// appendAccept appends the payload up to and with the envelope; header section
// and rest follow. It returns the location with everything but pos and length.
func appendAccept(b []byte, from uint32, parts []part, env *mail.Envelope, head int) ([]byte, location) {
	mark := len(b)
	b = append(b, make([]byte, acceptFixed)...)
	for _, p := range parts {
		b = binary.LittleEndian.AppendUint64(b, uint64(p.pos))
		b = binary.LittleEndian.AppendUint32(b, p.length)
	}
	envAt := len(b)
	b = mail.AppendEnvelope(b, env)
	fixed := b[mark:]
	binary.LittleEndian.PutUint32(fixed, from)
	binary.LittleEndian.PutUint32(fixed[4:], uint32(len(b)-envAt))
	binary.LittleEndian.PutUint32(fixed[8:], uint32(head))
	binary.LittleEndian.PutUint32(fixed[12:], uint32(len(parts)))
	return b, location{start: uint32(len(b) - mark), head: uint32(head), parts: parts}
}

// parseAccept reads a payload. The result shares its memory.
func parseAccept(pos Pos, p []byte) (accepted, error) {
	if len(p) < acceptFixed {
		return accepted{}, damaged(pos, "accept record too short")
	}
	a := accepted{from: binary.LittleEndian.Uint32(p)}
	envLen := uint64(binary.LittleEndian.Uint32(p[4:]))
	head := binary.LittleEndian.Uint32(p[8:])
	count := uint64(binary.LittleEndian.Uint32(p[12:]))
	envAt := acceptFixed + count*partSizeRef
	if envAt+envLen+uint64(head) > uint64(len(p)) {
		return accepted{}, damaged(pos, "lengths in an accept record exceed it")
	}
	for i := range count {
		ref := p[acceptFixed+i*partSizeRef:]
		a.loc.parts = append(a.loc.parts, part{Pos(binary.LittleEndian.Uint64(ref)), binary.LittleEndian.Uint32(ref[8:])})
	}
	a.env = p[envAt : envAt+envLen]
	a.loc.pos, a.loc.length = pos, uint32(len(p))
	a.loc.start, a.loc.head = uint32(envAt+envLen), head
	return a, nil
}

// appendUpdates is the payload of kindUpdate.
func appendUpdates(b []byte, us []mail.Update) []byte {
	for i := range us {
		b = mail.AppendUpdate(b, &us[i])
	}
	return b
}

func parseUpdates(pos Pos, p []byte) (us []mail.Update, err error) {
	for len(p) > 0 {
		var u mail.Update
		if u, p, err = mail.DecodeUpdate(p); err != nil {
			return nil, damaged(pos, err.Error())
		}
		us = append(us, u)
	}
	return us, nil
}

// appendIntent is the payload of kindIntend.
func appendIntent(b []byte, id mail.ID, recipients []int) []byte {
	b = append(b, id[:]...)
	for _, r := range recipients {
		b = binary.AppendUvarint(b, uint64(r))
	}
	return b
}

func parseIntent(pos Pos, p []byte) (id mail.ID, recipients []int, err error) {
	if len(p) < len(id) {
		return id, nil, damaged(pos, "intent too short")
	}
	copy(id[:], p)
	recipients, err = parseInts(pos, p[len(id):])
	return id, recipients, err
}

func parseInts(pos Pos, p []byte) (ns []int, err error) {
	for len(p) > 0 {
		v, n := binary.Uvarint(p)
		if n <= 0 || v > payloadMax {
			return nil, damaged(pos, "bad number")
		}
		ns, p = append(ns, int(v)), p[n:]
	}
	return ns, nil
}

// ending is a message's end: as long as the segment that holds its accept
// record exists, the end must exist as well, or the message would come back to
// life when the index is rebuilt.
type ending struct {
	id   mail.ID
	base uint32
}

const endingSize = 14

func appendEnding(b []byte, e ending) []byte {
	return binary.LittleEndian.AppendUint32(append(b, e.id[:]...), e.base)
}

func parseEndings(pos Pos, p []byte) (es []ending, err error) {
	if len(p)%endingSize != 0 {
		return nil, damaged(pos, "bad length of a finish record")
	}
	for ; len(p) > 0; p = p[endingSize:] {
		es = append(es, ending{mail.ID(p[:10]), binary.LittleEndian.Uint32(p[10:])})
	}
	return es, nil
}

// damaged is ErrDamaged with where and what.
func damaged(pos Pos, what string) error {
	return fmt.Errorf("%w: %v: %s", ErrDamaged, pos, what)
}
