package queue

import (
	"context"
	"iter"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// Needs is what the queue needs from the other rooms; node gives it.
type Needs struct {
	Spool   Spool
	Router  Router
	Shaper  Shaper
	Courier Courier
	Intake  Intake
	Rules   RuleStore                // nil: rules do not survive a restart
	IDs     *mail.IDs                // for the reports written here
	Events  event.Sink               // nil: nobody listens
	Remark  func(site string) string // what else is known of a site: "stopped: …", "quota: …", "leaves by …"; nil: nothing
	Rand    func() float64           // [0,1), for jitter; safe for concurrent use. nil: math/rand/v2
}

type (
	// Spool is the part of the spool that the queue uses. Record is durable when
	// it returns nil and what it recorded as Waiting is seen by Waiting from then
	// on. Each starts at the ID given, which may be live itself. An unknown
	// message is an error that wraps mail.ErrNotFound.
	Spool interface {
		Record(ctx context.Context, updates []mail.Update) error
		Intend(ctx context.Context, id mail.ID, recipients []int) error
		Finish(ctx context.Context, ids ...mail.ID) error
		Open(ctx context.Context, id mail.ID) (*mail.Envelope, mail.Body, error)
		Envelope(ctx context.Context, id mail.ID) (*mail.Envelope, error)
		Recover(ctx context.Context) iter.Seq2[*mail.Envelope, error]
		Lines(ctx context.Context) iter.Seq2[mail.Line, error]
		Waiting(ctx context.Context, site, tenant string, priority int, after mail.Entry, limit int) ([]mail.Entry, error)
		Held(ctx context.Context, after mail.Entry, limit int) ([]mail.Entry, error) // by the end of the hold, those without one last
		Each(ctx context.Context, from mail.ID) iter.Seq2[*mail.Envelope, error]
	}

	// Router says where a recipient is tried. Its error is a smtp.Reply: 4xx
	// defers the recipient, 5xx fails it.
	Router interface {
		Route(ctx context.Context, env *mail.Envelope, recipient string) (mail.Route, error)
	}

	// Shaper gives permits. Acquire never blocks: without a permit release is nil
	// and wait says when to ask again; zero means when one of this site is given
	// back. Source is the one of sources to use (zero if there are none).
	// Release is called once per permit, with what was learnt, or nil if the
	// permit was not used.
	Shaper interface {
		Acquire(site string, sources []mail.Source) (source mail.Source, release func([]mail.Outcome), wait time.Duration)
	}

	// Courier makes an attempt. The outcomes have the length and order of
	// a.Recipients. It obeys a.Deadline and ctx.
	Courier interface {
		Deliver(ctx context.Context, a mail.Attempt) []mail.Outcome
	}

	// Intake is the entrance for messages made here (reports). Put returns nil
	// when the message is durable and this queue has it too.
	Intake interface {
		Put(ctx context.Context, env *mail.Envelope, head, body []byte) error
	}

	// RuleStore keeps the operator's rules: one small document (JSON), durable
	// when Save returns nil. Load returns nil when there is none.
	RuleStore interface {
		Load(ctx context.Context) ([]byte, error)
		Save(ctx context.Context, rules []byte) error
	}
)
