package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/mail"
)

// index holds what waits, in the order the queue walks it. It is a cache: it
// is written without a log of its own and without syncs, so that after a crash
// it is as it was some time ago, and says how far the journal was in it then.
//
// Its keys, by their first octet:
//
//	m ID                                    a message: asOf, location, segments, envelope with standings
//	w site tenant priority due ID recipient one place in a line
//	h due ID recipient                      a held recipient
//	f ID                                    a message that is Loose
//	i ID                                    recipients whose final dot was about to be sent
//	p segment ID                            a message with parts in that segment
//	s segment                               what needs the segment: see tally
//	d segment segment                       ends in the second of messages in the first
//	M                                       see meta
type index struct {
	db *pebble.DB
}

const (
	keyMessage = 'm'
	keyWaiting = 'w'
	keyHeld    = 'h'
	keyLoose   = 'f'
	keyIntent  = 'i'
	keyPart    = 'p'
	keySegment = 's'
	keyEnds    = 'd'
	keyMeta    = 'M'
)

// indexVersion changes when the meaning of any key or value does; an index of
// another version is rebuilt.
const indexVersion = 1

// meta says how far the journal is in the index.
type meta struct {
	applied    Pos // replay from here
	compacting uint32
	counts     counts
	newest     mail.ID // no message in the index has a greater ID
}

func openIndex(fs vfs.FS, dir string, cache int64) (*index, error) {
	c := pebble.NewCache(cache)
	defer c.Unref()
	o := &pebble.Options{
		FS: fs, Cache: c, DisableWAL: true,
		Logger:                      quiet{},
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                16 << 20,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64, // a stalled index must not stall the 250
		MaxOpenFiles:                256,
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(dir, o)
	if err != nil {
		return nil, err
	}
	return &index{db: db}, nil
}

// quiet drops what Pebble logs: rooms do not log. A fatal error of Pebble's
// leaves it unusable and does not return; the journal has everything.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	pebble.DefaultLogger.Fatalf(format, args...)
}

// ---- keys ----

func messageKey(id mail.ID) []byte { return append([]byte{keyMessage}, id[:]...) }
func looseKey(id mail.ID) []byte   { return append([]byte{keyLoose}, id[:]...) }
func intentKey(id mail.ID) []byte  { return append([]byte{keyIntent}, id[:]...) }

func partKey(segment uint32, id mail.ID) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{keyPart}, segment), id[:]...)
}

func segmentKey(n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{keySegment}, n) }

func endsKey(base, end uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte{keyEnds}, base), end)
}

// appendText keeps the order of texts and ends so that none is another's prefix.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		b = append(b, s[i])
		if s[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0, 1)
}

func takeText(b []byte) (string, []byte, bool) {
	var out []byte
	for i := 0; i+1 < len(b); i++ {
		if b[i] != 0 {
			out = append(out, b[i])
			continue
		}
		switch b[i+1] {
		case 1:
			return string(out), b[i+2:], true
		case 0xff:
			out = append(out, 0)
			i++
		default:
			return "", nil, false
		}
	}
	return "", nil, false
}

// never is the due time of what has none: after all others.
const never = math.MaxInt64

// dueKey is order-preserving. Times beyond what 64 bits of nanoseconds hold
// stand at the ends.
func dueKey(t time.Time) int64 {
	switch {
	case t.IsZero():
		return never
	case t.Year() >= 2262:
		return never - 1
	case t.Year() < 1678:
		return math.MinInt64
	}
	return t.UnixNano()
}

func appendPlace(b []byte, e Entry) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(dueKey(e.Due))^1<<63)
	b = append(b, e.ID[:]...)
	return binary.BigEndian.AppendUint32(b, uint32(e.Recipient))
}

const placeSize = 8 + 10 + 4

func takePlace(b []byte) (Entry, bool) {
	if len(b) != placeSize {
		return Entry{}, false
	}
	e := Entry{ID: mail.ID(b[8:18]), Recipient: int(binary.BigEndian.Uint32(b[18:]))}
	if due := int64(binary.BigEndian.Uint64(b) ^ 1<<63); due != never {
		e.Due = time.Unix(0, due).UTC()
	}
	return e, true
}

// linePrefix begins the keys of one line. Higher priorities come first.
func linePrefix(site, tenant string, priority int) []byte {
	b := appendText(append(make([]byte, 0, 64), keyWaiting), site)
	return append(appendText(b, tenant), byte(255-(min(max(priority, -128), 127)+128)))
}

func takeLine(key []byte) (l Line, place []byte, ok bool) {
	if l.Site, key, ok = takeText(key[1:]); !ok {
		return l, nil, false
	}
	if l.Tenant, key, ok = takeText(key); !ok || len(key) == 0 {
		return l, nil, false
	}
	l.Priority = 255 - int(key[0]) - 128
	return l, key[1:], true
}

// standingKey returns where a standing has its place, nil for nowhere.
func standingKey(tenant string, priority int, id mail.ID, recipient int, s *mail.Standing) []byte {
	e := Entry{ID: id, Recipient: recipient, Due: s.Due}
	switch {
	case s.State == mail.Held:
		return appendPlace([]byte{keyHeld}, e)
	case s.State == mail.Waiting && !Fresh(s):
		return appendPlace(linePrefix(s.Site, tenant, priority), e)
	}
	return nil
}

// successor returns the first key after all that begin with prefix.
func successor(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// ---- values ----

func (c *cold) encode() []byte {
	b := make([]byte, 0, 1024)
	b = binary.LittleEndian.AppendUint64(b, uint64(c.asOf))
	b = binary.LittleEndian.AppendUint64(b, uint64(c.loc.pos))
	b = binary.AppendUvarint(b, uint64(c.loc.length))
	b = binary.AppendUvarint(b, uint64(c.loc.start))
	b = binary.AppendUvarint(b, uint64(c.loc.head))
	b = binary.AppendUvarint(b, uint64(len(c.loc.parts)))
	for _, p := range c.loc.parts {
		b = binary.LittleEndian.AppendUint64(b, uint64(p.pos))
		b = binary.AppendUvarint(b, uint64(p.length))
	}
	b = appendNumbers(b, c.loc.stale)
	b = appendNumbers(b, c.segments)
	return mail.AppendEnvelope(b, c.env)
}

func appendNumbers(b []byte, ns []uint32) []byte {
	b = binary.AppendUvarint(b, uint64(len(ns)))
	for _, n := range ns {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

var errIndexValue = errors.New("spool: the index holds what was not written")

func decodeCold(b []byte) (*cold, error) {
	r := reader{b: b}
	c := &cold{asOf: Pos(r.u64())}
	c.loc.pos = Pos(r.u64())
	c.loc.length, c.loc.start, c.loc.head = r.u32(), r.u32(), r.u32()
	for range r.count(partSizeRef - 3) {
		c.loc.parts = append(c.loc.parts, part{Pos(r.u64()), r.u32()})
	}
	c.loc.stale = r.numbers()
	c.segments = r.numbers()
	if r.bad {
		return nil, errIndexValue
	}
	env, _, err := mail.DecodeEnvelope(r.b)
	if err != nil || len(env.Recipients) != len(c.segments) {
		return nil, errIndexValue
	}
	c.env, c.wasLoose = env, Loose(env)
	return c, nil
}

// reader takes numbers from the front of b.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) u64() uint64 {
	if len(r.b) < 8 {
		r.bad, r.b = true, nil
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) u32() uint32 {
	v := r.uvarint()
	if v > math.MaxUint32 {
		r.bad = true
	}
	return uint32(v)
}

// count reads how many things of at least the size given follow.
func (r *reader) count(size int) int {
	v := r.uvarint()
	if v > uint64(len(r.b)/size) {
		r.bad = true
		return 0
	}
	return int(v)
}

func (r *reader) numbers() []uint32 {
	n := r.count(1)
	if n == 0 {
		return nil
	}
	ns := make([]uint32, n)
	for i := range ns {
		ns[i] = r.u32()
	}
	return ns
}

func (m *meta) encode() []byte {
	b := binary.AppendUvarint(nil, indexVersion)
	b = binary.AppendUvarint(b, uint64(m.applied))
	b = binary.AppendUvarint(b, uint64(m.compacting))
	for _, n := range [...]int64{m.counts.messages, m.counts.recipients, m.counts.octets} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	for _, n := range m.counts.states {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return append(b, m.newest[:]...)
}

func decodeMeta(b []byte) (m meta, err error) {
	r := reader{b: b}
	if r.uvarint() != indexVersion {
		return m, errIndexValue
	}
	m.applied, m.compacting = Pos(r.uvarint()), r.u32()
	m.counts.messages, m.counts.recipients, m.counts.octets = int64(r.uvarint()), int64(r.uvarint()), int64(r.uvarint())
	for i := range m.counts.states {
		m.counts.states[i] = int64(r.uvarint())
	}
	if r.bad || len(r.b) != len(m.newest) {
		return m, errIndexValue
	}
	copy(m.newest[:], r.b)
	return m, nil
}

// ---- reading ----

// get returns a value, nil if there is none. It is the caller's.
func (x *index) get(key []byte) ([]byte, error) {
	v, c, err := x.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return bytes.Clone(v), nil
}

// message returns nil if the index does not have it.
func (x *index) message(id mail.ID) (*cold, error) {
	v, err := x.get(messageKey(id))
	if v == nil || err != nil {
		return nil, err
	}
	return decodeCold(v)
}

// page calls f for up to limit keys with prefix, from start on. It reports the
// key to go on from, nil at the end. Walks go by the page, so that a slow
// reader does not keep files from being reclaimed.
func (x *index) page(prefix, start []byte, limit int, f func(key, value []byte) error) ([]byte, error) {
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: successor(prefix)})
	if err != nil {
		return nil, err
	}
	n := 0
	var next []byte
	for ok := it.SeekGE(start); ok && err == nil; ok = it.Next() {
		if n == limit {
			next = bytes.Clone(it.Key())
			break
		}
		n++
		err = f(it.Key(), it.Value())
	}
	return next, errors.Join(err, it.Error(), it.Close())
}

const pageSize = 512

// all calls f for every key with prefix.
func (x *index) all(prefix []byte, f func(key, value []byte) error) error {
	start := prefix
	for start != nil {
		var err error
		if start, err = x.page(prefix, start, pageSize, f); err != nil {
			return err
		}
	}
	return nil
}

// entries returns the places with prefix after the one given.
func (x *index) entries(prefix []byte, after Entry, limit int) ([]Entry, error) {
	start := prefix
	if after != (Entry{}) {
		start = append(appendPlace(bytes.Clone(prefix), after), 0)
	}
	out := make([]Entry, 0, min(limit, pageSize))
	_, err := x.page(prefix, start, limit, func(key, _ []byte) error {
		e, ok := takePlace(key[len(prefix):])
		if !ok {
			return errIndexValue
		}
		out = append(out, e)
		return nil
	})
	return out, err
}

// lines yields each line by its first place and skips the rest of it.
func (x *index) lines(ctx context.Context) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		prefix := []byte{keyWaiting}
		it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: successor(prefix)})
		if err != nil {
			yield(Line{}, err)
			return
		}
		defer it.Close()
		for ok := it.First(); ok; {
			l, place, good := takeLine(it.Key())
			e, fine := takePlace(place)
			if !good || !fine {
				yield(Line{}, errIndexValue)
				return
			}
			l.FirstDue = e.Due
			past := successor(it.Key()[:len(it.Key())-placeSize])
			if err := ctx.Err(); err != nil {
				yield(Line{}, err)
				return
			}
			if !yield(l, nil) {
				return
			}
			ok = it.SeekGE(past)
		}
		if err := it.Error(); err != nil {
			yield(Line{}, err)
		}
	}
}

func encodeTally(t tally) []byte {
	b := binary.AppendUvarint(nil, uint64(max(t.items, 0)))
	return binary.AppendUvarint(b, uint64(max(t.octets, 0)))
}

func decodeTally(b []byte) (tally, error) {
	r := reader{b: b}
	t := tally{items: int64(r.uvarint()), octets: int64(r.uvarint())}
	if r.bad {
		return tally{}, errIndexValue
	}
	return t, nil
}
