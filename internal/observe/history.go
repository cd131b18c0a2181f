package observe

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/store"
)

// HistoryConfig says how long it remembers.
type HistoryConfig struct {
	Retention time.Duration // since the message arrived; 0: nothing is kept
	MaxBytes  int64         // on disk; 0: no bound but Retention
	// NoDialogue leaves out the SMTP dialogues, which the catch store keeps.
	NoDialogue bool
}

// History keeps what happened to each message: a Sink whose entries Of returns.
// It is written in batches by one goroutine, without waiting for the disk: a
// power cut may lose its last seconds, never a message.
//
// Keys are the message's ID, which begins with its time, then the time and a
// count; so one message's life is one range, and forgetting the oldest is
// deleting one range.
type History struct {
	facts   Facts
	table   *store.Table
	names   *store.Table // messages by other IDs of theirs
	db      *store.DB
	config  HistoryConfig
	records chan record
	flushes chan chan struct{}
	dropped atomic.Int64
	failed  atomic.Int64
	count   atomic.Uint32
	stop    chan struct{}
	done    chan struct{}
	once    sync.Once
	pool    sync.Pool // *line
}

type record struct {
	key   [22]byte
	value []byte
	name  bool // key is of names, its first nameKey octets
}

const (
	recordsMax    = 16384                  // in wait for the writer: some 10 MiB
	batchRecords  = 1024                   // in one commit
	historyDelay  = 200 * time.Millisecond // how late an entry may be
	sweepInterval = 10 * time.Minute       // how often the oldest are forgotten
)

// Entry is one event in a message's life.
type Entry struct {
	Time  time.Time       `json:"time"`
	Type  string          `json:"type"`
	Facts json.RawMessage `json:"facts"` // an object
}

// NewHistory keeps its entries in db, which should have been opened with NoSync
// and is closed by its owner after Close.
func NewHistory(db *store.DB, c HistoryConfig) *History {
	h := &History{
		facts: Facts{Detail: true, NoDialogue: c.NoDialogue}, db: db, table: db.Table("history"), names: db.Table("names"), config: c,
		records: make(chan record, recordsMax), flushes: make(chan chan struct{}),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	go h.run()
	return h
}

// Emit implements event.Sink.
func (h *History) Emit(e event.Event) {
	m, ok := e.(event.OfMessage)
	if !ok || h.config.Retention <= 0 || m.Message().IsZero() {
		return
	}
	out, _ := h.pool.Get().(*line)
	if out == nil {
		out = new(line)
	}
	out.attrs = h.facts.Of(e, out.attrs[:0])
	out.text = appendEntry(out.text[:0], e.Name(), out.attrs)
	r := record{key: h.key(m.Message(), time.Now()), value: bytes.Clone(out.text)}
	clear(out.attrs)
	h.pool.Put(out)
	h.hand(r)
	h.emitName(e)
}

func (h *History) hand(r record) {
	select {
	case h.records <- r:
	default:
		h.dropped.Add(1)
	}
}

// nameKey is the length of a key of names: the day of the message, two octets,
// so that old ones are forgotten by a range, and sixteen of the name's hash.
const nameKey = 18

// emitName notes the other names of a message: its Message-ID, and the one a
// provider gave it.
func (h *History) emitName(e event.Event) {
	switch e := e.(type) {
	case event.MessageAccepted:
		h.name(e.Envelope.ID, e.Envelope.MessageID)
	case event.DeliveryTried:
		h.name(e.ID, e.Outcome.RemoteID)
		if left, _, whole := strings.Cut(e.Outcome.RemoteID, "@"); whole {
			h.name(e.ID, left) // as providers' own pages show it
		}
	}
}

func (h *History) name(id mail.ID, name string) {
	if name != "" {
		h.hand(record{key: nameOf(dayOf(id.Time()), name), value: bytes.Clone(id[:]), name: true})
	}
}

func dayOf(t time.Time) uint16 { return uint16(max(t.Unix(), 0) / (24 * 3600)) }

func nameOf(day uint16, name string) (k [22]byte) {
	binary.BigEndian.PutUint16(k[:], day)
	sum := sha256.Sum256([]byte(plainID(name)))
	copy(k[2:nameKey], sum[:])
	return k
}

// plainID is a Message-ID as it is compared: without brackets.
func plainID(name string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(name), "<"), ">")
}

// Find returns the message that has another name: its Message-ID, or the ID under
// which a provider took it. Of several the newest; false: none is remembered.
func (h *History) Find(name string) (id mail.ID, ok bool, err error) {
	h.flush()
	now := time.Now()
	for day := dayOf(now) + 1; day+1 > dayOf(now.Add(-h.config.Retention)); day-- {
		k := nameOf(day, name)
		v, there, err := h.names.Get(k[:nameKey])
		if err != nil {
			return id, false, err
		}
		if there && len(v) == len(id) {
			return mail.ID(v), true, nil
		}
	}
	return id, false, nil
}

func (h *History) key(id mail.ID, now time.Time) (k [22]byte) {
	copy(k[:], id[:])
	binary.BigEndian.PutUint64(k[10:], uint64(now.UnixNano()))
	binary.BigEndian.PutUint32(k[18:], h.count.Add(1))
	return k
}

// Dropped is how many entries were lost, because the disk was slow or refused.
func (h *History) Dropped() int64 { return h.dropped.Load() + h.failed.Load() }

// entriesMax bounds what is read of one message's life.
const entriesMax = 10000

// Of returns a message's life so far, in the order it happened; nothing for an
// unknown or forgotten one.
func (h *History) Of(id mail.ID) ([]Entry, error) {
	h.flush()
	var out []Entry
	err := h.table.Each(id[:], func(key, value []byte) bool {
		if e, ok := decodeEntry(key, value); ok {
			out = append(out, e)
		}
		return len(out) < entriesMax
	})
	return out, err
}

// flush waits until what was emitted before is readable.
func (h *History) flush() {
	done := make(chan struct{})
	select {
	case h.flushes <- done:
		<-done
	case <-h.done:
	}
}

func (h *History) run() {
	defer close(h.done)
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	h.Sweep()
	for {
		select {
		case r := <-h.records:
			h.collect(r)
		case done := <-h.flushes:
			h.drain()
			close(done)
		case <-sweep.C:
			h.Sweep()
		case <-h.stop:
			h.drain()
			return
		}
	}
}

// collect waits a little for company, then commits.
func (h *History) collect(first record) {
	batch := append(make([]record, 0, batchRecords), first)
	late := time.NewTimer(historyDelay)
	defer late.Stop()
	for len(batch) < batchRecords {
		select {
		case r := <-h.records:
			batch = append(batch, r)
		case done := <-h.flushes:
			h.commit(batch)
			h.drain()
			close(done)
			return
		case <-late.C:
			h.commit(batch)
			return
		case <-h.stop:
			h.commit(batch)
			return
		}
	}
	h.commit(batch)
}

// drain commits what waits now.
func (h *History) drain() {
	var batch []record
	for {
		select {
		case r := <-h.records:
			batch = append(batch, r)
			if len(batch) == batchRecords {
				h.commit(batch)
				batch = batch[:0]
			}
		default:
			h.commit(batch)
			return
		}
	}
}

func (h *History) commit(batch []record) {
	if len(batch) == 0 {
		return
	}
	err := h.db.Update(func(b *store.Batch) error {
		var errs []error
		for i := range batch {
			if batch[i].name {
				errs = append(errs, b.Put(h.names, batch[i].key[:nameKey], batch[i].value))
			} else {
				errs = append(errs, b.Put(h.table, batch[i].key[:], batch[i].value))
			}
		}
		return errors.Join(errs...)
	})
	if err != nil { // the history is a convenience: mail goes on without it
		h.failed.Add(int64(len(batch)))
	}
}

// Sweep forgets what is older than the retention, and the oldest tenth while
// there is too much. It runs by itself every ten minutes.
func (h *History) Sweep() {
	if err := h.forget(time.Now().Add(-h.config.Retention)); err != nil || h.config.MaxBytes <= 0 {
		return
	}
	if int64(h.db.Stat().DiskBytes) <= h.config.MaxBytes {
		return
	}
	var oldest time.Time
	_ = h.table.Range(nil, nil, func(key, _ []byte) bool {
		var id mail.ID
		copy(id[:], key)
		oldest = id.Time()
		return false
	})
	if !oldest.IsZero() {
		_ = h.forget(oldest.Add(time.Since(oldest)/10 + time.Minute))
	}
}

// forget deletes all messages that arrived before.
func (h *History) forget(before time.Time) error {
	var to [8]byte
	binary.BigEndian.PutUint64(to[:], uint64(max(before.UnixMilli(), 0))<<20)
	var day [2]byte
	binary.BigEndian.PutUint16(day[:], dayOf(before))
	return errors.Join(h.table.DeleteRange(nil, to[:]), h.names.DeleteRange(nil, day[:]))
}

// Close writes what waits. Events after it are dropped; the DB stays open.
func (h *History) Close() {
	h.once.Do(func() { close(h.stop) })
	<-h.done
}

// ---- the value: type, NUL, facts as a JSON object ----

func appendEntry(b []byte, name string, attrs []slog.Attr) []byte {
	b = append(append(b, name...), 0, '{')
	for i, a := range attrs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, a.Key)
		b = append(b, ':')
		b = appendValue(b, a.Value)
	}
	return append(b, '}')
}

func decodeEntry(key, value []byte) (Entry, bool) {
	for i, c := range value {
		if c == 0 && len(key) == 22 {
			return Entry{
				Time:  time.Unix(0, int64(binary.BigEndian.Uint64(key[10:]))).UTC(),
				Type:  string(value[:i]),
				Facts: append(json.RawMessage(nil), value[i+1:]...),
			}, true
		}
	}
	return Entry{}, false
}

func appendValue(b []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, v.Uint64(), 10)
	case slog.KindFloat64:
		return strconv.AppendFloat(b, v.Float64(), 'f', -1, 64)
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindTime:
		b = append(b, '"')
		return append(v.Time().UTC().AppendFormat(b, time.RFC3339Nano), '"')
	case slog.KindAny:
		if list, ok := v.Any().([]string); ok {
			return appendList(b, list)
		}
	}
	return appendString(b, v.String())
}

func appendList(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

const hex = "0123456789abcdef"

// appendString writes a JSON string; what is not UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
