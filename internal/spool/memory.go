package spool

import (
	"bytes"
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Memory is a Spool that keeps nothing beyond the process: for tests and for
// trying things out. It is simple rather than fast: walks sort all they see.
type Memory struct {
	mu       sync.Mutex
	messages map[mail.ID]*kept
	finished map[mail.ID]bool
	refusal  error
	closed   bool
}

type kept struct {
	env  *mail.Envelope
	body mail.Bytes
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{messages: map[mail.ID]*kept{}, finished: map[mail.ID]bool{}}
}

// Refuse makes every write fail with err (ErrFull, ErrNotDurable ...) until it
// is called with nil: how a test plays a sick disk.
func (m *Memory) Refuse(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refusal = err
}

// writable returns why nothing can be written. m.mu is held.
func (m *Memory) writable(ctx context.Context) error {
	if m.closed {
		return refuse(ErrClosed, nil)
	}
	if m.refusal != nil {
		return refuse(m.refusal, nil)
	}
	return ctx.Err()
}

// NewDraft implements Spool.
func (m *Memory) NewDraft() Draft { return &memoryDraft{m: m} }

type memoryDraft struct {
	m    *Memory
	body bytes.Buffer
}

func (d *memoryDraft) Write(p []byte) (int, error) { return d.body.Write(p) }
func (d *memoryDraft) Size() int64                 { return int64(d.body.Len()) }
func (d *memoryDraft) Discard()                    { d.body = bytes.Buffer{} }

func (d *memoryDraft) Content(head []byte) mail.Body {
	return mail.Bytes(slices.Concat(head, d.body.Bytes()))
}

func (d *memoryDraft) Commit(ctx context.Context, env *mail.Envelope, head []byte) error {
	env.Size = int64(len(head)) + d.Size()
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if err := d.m.writable(ctx); err != nil {
		return err
	}
	if d.m.messages[env.ID] == nil && !d.m.finished[env.ID] {
		d.m.messages[env.ID] = &kept{env: env.Clone(), body: mail.Bytes(slices.Concat(head, d.body.Bytes()))}
	}
	return nil
}

// Record implements Spool.
func (m *Memory) Record(ctx context.Context, updates []mail.Update) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.writable(ctx); err != nil {
		return err
	}
	for _, u := range updates {
		k := m.messages[u.Message]
		if k != nil && u.Recipient >= 0 && u.Recipient < len(k.env.Recipients) {
			k.env.Recipients[u.Recipient].Standing = settled(u.Standing, time.Now())
		}
	}
	return nil
}

// settled gives a Waiting standing a Due time, so that it has a place in a line.
func settled(s mail.Standing, now time.Time) mail.Standing {
	if s.State == mail.Waiting && s.Due.IsZero() {
		s.Due = now
	}
	return s
}

// Intend implements Spool. Nothing of a Memory outlives an attempt.
func (m *Memory) Intend(ctx context.Context, _ mail.ID, _ []int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writable(ctx)
}

// Finish implements Spool.
func (m *Memory) Finish(ctx context.Context, ids ...mail.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.writable(ctx); err != nil {
		return err
	}
	for _, id := range ids {
		if m.messages[id] != nil {
			delete(m.messages, id)
			m.finished[id] = true
		}
	}
	return nil
}

func (m *Memory) find(id mail.ID) (*kept, error) {
	if m.closed {
		return nil, ErrClosed
	}
	if k := m.messages[id]; k != nil {
		return k, nil
	}
	return nil, ErrNotFound
}

// Open implements Spool.
func (m *Memory) Open(_ context.Context, id mail.ID) (*mail.Envelope, mail.Body, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, err := m.find(id)
	if err != nil {
		return nil, nil, err
	}
	return k.env.Clone(), k.body, nil
}

// Envelope implements Spool.
func (m *Memory) Envelope(ctx context.Context, id mail.ID) (*mail.Envelope, error) {
	env, _, err := m.Open(ctx, id)
	return env, err
}

// Content implements Spool.
func (m *Memory) Content(ctx context.Context, id mail.ID) (mail.Body, error) {
	_, body, err := m.Open(ctx, id)
	return body, err
}

// snapshot returns clones of all envelopes in the order of their IDs.
func (m *Memory) snapshot() []*mail.Envelope {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*mail.Envelope
	for _, id := range slices.SortedFunc(maps.Keys(m.messages), compareIDs) {
		all = append(all, m.messages[id].env.Clone())
	}
	return all
}

func compareIDs(a, b mail.ID) int { return bytes.Compare(a[:], b[:]) }

// Each implements Spool.
func (m *Memory) Each(ctx context.Context, from mail.ID) iter.Seq2[*mail.Envelope, error] {
	return m.all(ctx, func(e *mail.Envelope) bool { return compareIDs(e.ID, from) >= 0 })
}

// Recover implements Spool.
func (m *Memory) Recover(ctx context.Context) iter.Seq2[*mail.Envelope, error] {
	return m.all(ctx, Loose)
}

func (m *Memory) all(ctx context.Context, want func(*mail.Envelope) bool) iter.Seq2[*mail.Envelope, error] {
	return func(yield func(*mail.Envelope, error) bool) {
		for _, e := range m.snapshot() {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			if want(e) && !yield(e, nil) {
				return
			}
		}
	}
}

// placed is an entry and the line it stands in.
type placed struct {
	line Line // without FirstDue
	held bool
	Entry
}

// places returns everything that stands in a line, in the index's order.
func (m *Memory) places() []placed {
	var all []placed
	for _, e := range m.snapshot() {
		for i := range e.Recipients {
			s := &e.Recipients[i].Standing
			if !s.State.Final() && !Fresh(s) {
				all = append(all, placed{
					line:  Line{Site: s.Site, Tenant: e.Tenant(), Priority: e.Params.Priority},
					held:  s.State == mail.Held,
					Entry: Entry{ID: e.ID, Recipient: i, Due: s.Due},
				})
			}
		}
	}
	slices.SortFunc(all, func(a, b placed) int { return compareEntries(a.Entry, b.Entry, a.held && b.held) })
	return all
}

// compareEntries orders by Due, then ID, then recipient. A hold without an end
// comes after all others.
func compareEntries(a, b Entry, held bool) int {
	if held && a.Due.IsZero() != b.Due.IsZero() {
		if a.Due.IsZero() {
			return 1
		}
		return -1
	}
	if c := a.Due.Compare(b.Due); c != 0 {
		return c
	}
	if c := compareIDs(a.ID, b.ID); c != 0 {
		return c
	}
	return a.Recipient - b.Recipient
}

// Lines implements Spool.
func (m *Memory) Lines(context.Context) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		seen := map[Line]bool{}
		for _, p := range m.places() {
			if p.held || seen[p.line] {
				continue
			}
			seen[p.line] = true
			l := p.line
			l.FirstDue = p.Due
			if !yield(l, nil) {
				return
			}
		}
	}
}

// Waiting implements Spool.
func (m *Memory) Waiting(_ context.Context, site, tenant string, priority int, after Entry, limit int) ([]Entry, error) {
	want := Line{Site: site, Tenant: tenant, Priority: priority}
	return m.pick(after, limit, false, func(p placed) bool { return !p.held && p.line == want }), nil
}

// Held implements Spool.
func (m *Memory) Held(_ context.Context, after Entry, limit int) ([]Entry, error) {
	return m.pick(after, limit, true, func(p placed) bool { return p.held }), nil
}

func (m *Memory) pick(after Entry, limit int, held bool, want func(placed) bool) []Entry {
	var out []Entry
	for _, p := range m.places() {
		if len(out) < limit && want(p) && ((after == Entry{}) || compareEntries(p.Entry, after, held) > 0) {
			out = append(out, p.Entry)
		}
	}
	return out
}

// Stat implements Spool.
func (m *Memory) Stat() Stat {
	m.mu.Lock()
	defer m.mu.Unlock()
	var s Stat
	for _, k := range m.messages {
		s.Messages++
		s.Bytes += k.env.Size
		s.Recipients += int64(len(k.env.Recipients))
		for i := range k.env.Recipients {
			s.States[k.env.Recipients[i].State]++
		}
	}
	s.Hot, s.Troubled = s.Messages, m.refusal
	return s
}

// Close implements Spool.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// refuse makes a reason the Reply a peer may hear (SRV-32, RC-35), with what
// happened as its hidden cause.
func refuse(reason, cause error) error {
	reply := smtp.Undurable
	if reason == ErrFull {
		reply = smtp.DiskFull
	}
	if cause == nil {
		return reply.Because(reason)
	}
	return reply.Because(&refusal{reason: reason, cause: cause})
}

// refusal is a reason with its cause; errors.Is finds both.
type refusal struct{ reason, cause error }

func (r *refusal) Error() string   { return r.reason.Error() + ": " + r.cause.Error() }
func (r *refusal) Unwrap() []error { return []error{r.reason, r.cause} }
