package sim

import (
	"context"
	"sync/atomic"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/spool"
)

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
