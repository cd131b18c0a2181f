package node

import (
	"context"

	"paquebot/internal/mail"
	"paquebot/internal/smtpserver"
	"paquebot/internal/spool"
)

// intake is the one entrance: what is durable is the queue's from then on.
// Sessions come in by drafts, reports by Put.
type intake struct {
	spool spool.Spool
	queue interface{ Accept(*mail.Envelope) }
}

// NewDraft implements smtpserver.Store.
func (in *intake) NewDraft() smtpserver.Draft {
	return &draft{Draft: in.spool.NewDraft(), in: in}
}

// draft tells the queue of what was committed.
type draft struct {
	spool.Draft
	in *intake
}

// Commit returns nil only when the message is durable; then the queue has it.
// Should the process die in between, recovery hands it to the queue.
func (d *draft) Commit(ctx context.Context, env *mail.Envelope, head []byte) error {
	if err := d.Draft.Commit(ctx, env, head); err != nil {
		return err
	}
	d.in.queue.Accept(env)
	return nil
}

// Put takes a message made here (queue.Intake).
func (in *intake) Put(ctx context.Context, env *mail.Envelope, head, body []byte) error {
	d := in.NewDraft()
	defer d.Discard()
	if _, err := d.Write(body); err != nil {
		return err
	}
	return d.Commit(ctx, env, head)
}
