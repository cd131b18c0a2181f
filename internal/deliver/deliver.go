package deliver

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"sync"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/provider"
	"paquebot/internal/smtp"
)

// Deliverer makes attempts. It is safe for concurrent use.
type Deliverer struct {
	conf    Config
	needs   Needs
	pool    *pool
	quirks  *quirks
	private *private
	// Sessions of TLS are resumed only at the level at which they were made.
	trusting, doubting tls.ClientSessionCache
	web                *http.Client

	open    context.Context // until Close: look-outs for better endpoints
	close   context.CancelFunc
	life    context.Context // a little longer: goodbyes to those who lost a race
	die     context.CancelFunc
	losers  sync.WaitGroup // of both
	mu      sync.Mutex
	watched map[string]bool // smart hosts of which a better endpoint is looked for
}

// ticketsMax is how many TLS sessions are remembered for resumption.
const ticketsMax = 1024

// New returns a Deliverer; Close it.
func New(c Config, n Needs) *Deliverer {
	if n.Events == nil {
		n.Events = event.Discard
	}
	if n.Endpoints == nil {
		n.Endpoints = NewEndpoints(nil, n.Events)
	}
	c = c.orDefaults()
	d := &Deliverer{
		conf:     c,
		needs:    n,
		pool:     newPool(c.Pool),
		quirks:   newQuirks(),
		private:  newPrivate(provider.All()),
		trusting: tls.NewLRUClientSessionCache(ticketsMax),
		doubting: tls.NewLRUClientSessionCache(ticketsMax),
		watched:  map[string]bool{},
	}
	d.web = newWebClient(d)
	d.open, d.close = context.WithCancel(context.Background())
	d.life, d.die = context.WithCancel(context.Background())
	return d
}

// Close ends all idle sessions with QUIT and waits for that (TRAP-30).
// Attempts under way are not touched; their sessions end with them.
func (d *Deliverer) Close() {
	d.close()
	defer d.die()
	late := time.AfterFunc(closeMax, d.die)
	d.losers.Wait()
	late.Stop()
	d.pool.close()
	d.web.CloseIdleConnections()
}

// Deliver makes one attempt. The outcomes have the length and order of
// a.Recipients. When ctx ends or the deadline passes, so does the attempt:
// recipients of whom nothing was learnt are Untried or Deferred.
func (d *Deliverer) Deliver(ctx context.Context, a mail.Attempt) []mail.Outcome {
	if !a.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, a.Deadline, errDeadline)
		defer cancel()
	}
	start := time.Now()
	var out []mail.Outcome
	switch a.Route.Transport {
	case mail.SMTP, mail.LMTP:
		out = d.bySMTP(ctx, a)
	case mail.Maildir:
		out = d.toMaildirs(ctx, a)
	case mail.Webhook:
		out = d.toWebhook(ctx, a)
	case mail.Catch:
		out = d.toCatch(ctx, a)
	default:
		out = d.all(a, d.ownFault(mail.StageRoute, smtp.LocalError.Because(errors.New("unknown transport "+string(a.Route.Transport)))))
	}
	now := time.Now()
	for i := range out {
		out[i].At, out[i].Took = now, now.Sub(start)
	}
	return out
}

var errDeadline = errors.New("the time for this attempt is over")

// ownFault is an outcome of which no peer knows: the message waits.
func (d *Deliverer) ownFault(stage mail.Stage, r smtp.Reply) mail.Outcome {
	return mail.Outcome{Result: mail.Deferred, Reply: r, Ours: true, Stage: stage, Reach: mail.ThisMessage}
}

// all gives every recipient of an attempt the same outcome.
func (d *Deliverer) all(a mail.Attempt, o mail.Outcome) []mail.Outcome {
	out := make([]mail.Outcome, len(a.Recipients))
	for i := range out {
		out[i] = o
	}
	return out
}

// recipients returns those an attempt is for.
func recipients(a mail.Attempt) []mail.Recipient {
	out := make([]mail.Recipient, len(a.Recipients))
	for i, n := range a.Recipients {
		out[i] = a.Envelope.Recipients[n]
	}
	return out
}
