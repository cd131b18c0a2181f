package sim

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/spool"
)

// QueueSpool lets a queue use a spool: the same semantics, the words of mail.
type QueueSpool struct{ Spool spool.Spool }

func found(err error) error {
	if errors.Is(err, spool.ErrNotFound) {
		return mail.ErrNotFound
	}
	return err
}

// Record implements queue.Spool.
func (s QueueSpool) Record(ctx context.Context, updates []mail.Update) error {
	return s.Spool.Record(ctx, updates)
}

// Intend implements queue.Spool.
func (s QueueSpool) Intend(ctx context.Context, id mail.ID, recipients []int) error {
	return s.Spool.Intend(ctx, id, recipients)
}

// Finish implements queue.Spool.
func (s QueueSpool) Finish(ctx context.Context, ids ...mail.ID) error {
	return s.Spool.Finish(ctx, ids...)
}

// Open implements queue.Spool.
func (s QueueSpool) Open(ctx context.Context, id mail.ID) (*mail.Envelope, mail.Body, error) {
	env, body, err := s.Spool.Open(ctx, id)
	return env, body, found(err)
}

// Envelope implements queue.Spool.
func (s QueueSpool) Envelope(ctx context.Context, id mail.ID) (*mail.Envelope, error) {
	env, err := s.Spool.Envelope(ctx, id)
	return env, found(err)
}

// Recover implements queue.Spool.
func (s QueueSpool) Recover(ctx context.Context) iter.Seq2[*mail.Envelope, error] {
	return s.Spool.Recover(ctx)
}

// Each implements queue.Spool.
func (s QueueSpool) Each(ctx context.Context, from mail.ID) iter.Seq2[*mail.Envelope, error] {
	return s.Spool.Each(ctx, from)
}

// Lines implements queue.Spool.
func (s QueueSpool) Lines(ctx context.Context) iter.Seq2[mail.Line, error] {
	return func(yield func(mail.Line, error) bool) {
		for l, err := range s.Spool.Lines(ctx) {
			if !yield(mail.Line(l), err) {
				return
			}
		}
	}
}

// Waiting implements queue.Spool.
func (s QueueSpool) Waiting(ctx context.Context, site, tenant string, priority int, after mail.Entry, limit int) ([]mail.Entry, error) {
	return entries(s.Spool.Waiting(ctx, site, tenant, priority, spool.Entry(after), limit))
}

// Held implements queue.Spool.
func (s QueueSpool) Held(ctx context.Context, after mail.Entry, limit int) ([]mail.Entry, error) {
	return entries(s.Spool.Held(ctx, spool.Entry(after), limit))
}

func entries(in []spool.Entry, err error) ([]mail.Entry, error) {
	out := make([]mail.Entry, len(in))
	for i, e := range in {
		out[i] = mail.Entry(e)
	}
	return out, err
}

// Intake is the one entrance of a world: what is durable is the queue's.
type Intake struct {
	Spool  spool.Spool
	Accept func(*mail.Envelope)
}

// Put implements queue.Intake.
func (in Intake) Put(ctx context.Context, env *mail.Envelope, head, body []byte) error {
	d := in.Spool.NewDraft()
	defer d.Discard()
	if _, err := d.Write(body); err != nil {
		return err
	}
	if err := d.Commit(ctx, env, head); err != nil {
		return err
	}
	in.Accept(env)
	return nil
}

// RuleStore keeps one document in memory; it implements queue.RuleStore.
type RuleStore struct{ doc atomic.Pointer[[]byte] }

// Load implements queue.RuleStore.
func (s *RuleStore) Load(context.Context) ([]byte, error) {
	if doc := s.doc.Load(); doc != nil {
		return *doc, nil
	}
	return nil, nil
}

// Save implements queue.RuleStore.
func (s *RuleStore) Save(_ context.Context, doc []byte) error {
	doc = append([]byte(nil), doc...)
	s.doc.Store(&doc)
	return nil
}

const (
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * time.Hour
)
