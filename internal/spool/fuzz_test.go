package spool

import (
	"bytes"
	"errors"
	"hash/crc32"
	"testing"

	"paquebot/internal/mail"
)

// FuzzSegment reads anything as a segment: it may end early, it may not crash,
// and what it takes for a record is one, with the checksums that say so.
func FuzzSegment(f *testing.F) {
	h := segmentHeader{number: 1, salt: [16]byte{1, 2, 3}}
	env := &mail.Envelope{ID: testID(1), Recipients: []mail.Recipient{{Address: "a@example.net"}}}
	accept, _ := appendAccept(nil, 0, []part{{at(1, 64), 10}}, env, 4)
	update := appendUpdates(nil, []mail.Update{testWaits(1, 0, 5)})
	for k, p := range map[kind][]byte{
		kindAccept: append(accept, "head and body"...),
		kindPart:   []byte("a part"),
		kindUpdate: update,
		kindIntend: appendIntent(nil, testID(1), []int{0, 300}),
		kindFinish: appendEnding(nil, ending{testID(1), 1}),
		kindCopy:   append(accept, "head and body"...),
	} {
		f.Add(byte(k), p, []byte{})
	}
	f.Add(byte(kindUpdate), update, bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, k byte, p, tail []byte) {
		file := h.append(nil)
		head := make([]byte, recordHeaderSize)
		recordHeader{kind: kind(k), last: true, length: uint32(len(p)), crc: crc32.Checksum(p, castagnoli), batch: 1}.put(head, h.saltCRC())
		file = append(append(append(file, head...), p...), tail...)
		sc := newScanner(bytes.NewReader(file), h, 0)
		for {
			rec, ok, err := sc.next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if _, err := parseOp(&rec); err != nil && !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
		}
		valid := k > 0 && k < byte(kindEnd)
		if read := sc.off > segmentHeaderSize; read != valid {
			t.Fatalf("kind %d: read %v", k, read)
		}
		if _, _, err := sc.beyond(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzIndex reads anything as a value or a key of the index.
func FuzzIndex(f *testing.F) {
	c := &cold{asOf: 5, loc: location{pos: at(1, 64), length: 9, parts: []part{{at(2, 3), 4}}, stale: []uint32{7}},
		segments: []uint32{1}, env: &mail.Envelope{ID: testID(1), Recipients: []mail.Recipient{{Address: "a@example.net"}}}}
	f.Add(c.encode())
	f.Add((&meta{applied: 9, compacting: 3}).encode())
	f.Add(standingKey("tenant\x00", -3, testID(1), 2, &mail.Standing{State: mail.Waiting, Site: "a\x00b", Due: testStart}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := decodeCold(b); err == nil {
			if again, err := decodeCold(c.encode()); err != nil || !bytes.Equal(again.encode(), c.encode()) {
				t.Fatalf("cannot read own writing: %v", err)
			}
		}
		_, _ = decodeMeta(b)
		_, _ = decodeTally(b)
		_, _ = parseInts(0, b)
		if len(b) == 0 {
			return
		}
		if l, place, ok := takeLine(b); ok {
			if key := append(linePrefix(l.Site, l.Tenant, l.Priority), place...); !bytes.Equal(key[1:], b[1:]) {
				t.Fatalf("%x read as %+v, which is %x", b, l, key)
			}
		}
	})
}
