package node

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"time"

	"paquebot/internal/config"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/mishap"
	"paquebot/internal/queue"
	"paquebot/internal/report"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpserver"
)

// This file introduces the room of mishaps to sessions, listeners and courier.
// Only dev has one: in a server all of this is nil.

// openMishaps makes the room; sockets tell which port is whose twin.
func (n *Node) openMishaps(c *config.Config, sockets []net.Listener) {
	if n.opts.Dev == nil {
		return
	}
	m := mishap.Config{Names: []string{c.Hostname, "127.0.0.1", "::1"}, Twins: twins(c, sockets), Random: n.world.Rand, Events: n.events}
	if ca := n.opts.Dev.CA; ca != nil {
		m.CA, m.CAKey = ca.Signer()
	}
	n.mishaps = mishap.New(m)
}

// twins are the standard ports that ours stand for.
func twins(c *config.Config, sockets []net.Listener) map[uint16]uint16 {
	of := map[mail.Role][]uint16{mail.RoleMX: {25}, mail.RoleSubmission: {587, 2525}, mail.RoleSubmissions: {465}}
	all := map[uint16]uint16{}
	for i, l := range c.Listeners {
		a, ok := sockets[i].Addr().(*net.TCPAddr)
		if left := of[mail.Role(l.Role)]; ok && len(left) > 0 {
			all[a.AddrPort().Port()] = left[0]
			of[mail.Role(l.Role)] = left[1:]
		}
	}
	return all
}

// Mishaps lets mail fail on purpose; nil unless this is dev.
func (n *Node) Mishaps() *mishap.Mishap { return n.mishaps }

// sessionMishap is what sessions ask; nil in a server.
func (n *Node) sessionMishap() smtpserver.Mishap {
	if n.mishaps == nil {
		return nil
	}
	return faults{n.mishaps}
}

// faultyTLS is what a listener shows; in a server it is what it is given.
func (n *Node) faultyTLS(t *tls.Config) *tls.Config {
	if n.mishaps == nil {
		return t
	}
	return n.mishaps.Handshake(t, nil)
}

// faults is the room as sessions need it.
type faults struct{ room *mishap.Mishap }

// At implements smtpserver.Mishap.
func (f faults) At(m smtpserver.Moment) (smtpserver.Fault, bool) {
	to := make([]string, len(m.Recipients))
	for i := range m.Recipients {
		to[i] = m.Recipients[i].Address
	}
	x, struck := f.room.At(mishap.Facts{
		Stage: mishap.Stage(m.Stage), Origin: m.Origin, User: m.User, Sender: m.From, HasSender: m.HasFrom,
		Recipient: m.To, Recipients: to, Subject: m.Subject, Header: m.Header, Size: m.Size, Messages: m.Messages, BDAT: m.BDAT,
	})
	return smtpserver.Fault{
		Rule: x.Rule, Note: x.Note, Delay: x.Delay, Throttle: x.Throttle, Hide: x.Hide,
		Reply: x.Reply, Stall: x.Stall, Drop: x.Drop, Reset: x.Reset, After: x.After, Keep: x.Keep,
	}, struck
}

// Handshake implements smtpserver.Mishap.
func (f faults) Handshake(t *tls.Config, o *mail.Origin) *tls.Config { return f.room.Handshake(t, o) }

// returns is the courier of dev: it lets mail come back, as a bounce or as a
// complaint, when an address or a rule wants that.
type returns struct {
	queue.Courier
	node *Node
	busy chan struct{} // one for each complaint on its way
}

const (
	returnAfter   = time.Second // what comes back does so when the sender has long had its 250
	complaintsMax = 1000        // on their way at once; more are not sent
)

// courier is who makes attempts.
func (n *Node) courier() queue.Courier {
	if n.mishaps == nil {
		return &n.current
	}
	return returns{&n.current, n, make(chan struct{}, complaintsMax)}
}

// Deliver implements queue.Courier.
func (r returns) Deliver(ctx context.Context, a mail.Attempt) []mail.Outcome {
	out := make([]mail.Outcome, len(a.Recipients))
	rest := a
	rest.Recipients = nil
	var at, complain []int // of rest's recipients in out; who complains
	bounced := false
	for i, n := range a.Recipients {
		f, struck := r.node.mishaps.At(factsOf(a.Envelope, a.Envelope.Recipients[n].Address))
		if struck && f.Reply.Code != 0 {
			out[i], bounced = bounce(f.Reply, mail.Domain(a.Envelope.Recipients[n].Address)), true
			continue
		}
		if struck && f.Complain {
			complain = append(complain, i)
		}
		rest.Recipients, at = append(rest.Recipients, n), append(at, i)
	}
	if len(rest.Recipients) > 0 {
		for i, o := range r.Courier.Deliver(ctx, rest) {
			out[at[i]] = o
		}
	}
	for _, i := range complain {
		if out[i].Result == mail.Accepted {
			r.complain(a, a.Recipients[i])
		}
	}
	if bounced {
		select {
		case <-time.After(returnAfter):
		case <-ctx.Done(): // it bounces all the same
		}
	}
	return out
}

func factsOf(env *mail.Envelope, to string) mishap.Facts {
	return mishap.Facts{
		Stage: mishap.Delivery, Origin: env.Origin, Sender: env.From, HasSender: true, Recipient: to, Subject: env.Subject,
	}
}

// bounce is what a far server would have said.
func bounce(r smtp.Reply, domain string) mail.Outcome {
	return mail.Outcome{Result: mail.Refused, Reply: r, Host: "mx." + domain, Stage: mail.StageRcpt, Reach: mail.ThisRecipient, At: time.Now()}
}

// complain sends a feedback report to the sender, after a while.
func (r returns) complain(a mail.Attempt, recipient int) {
	if a.Envelope.From == "" {
		return // FBL, DSN-2: nobody to tell
	}
	now := time.Now()
	c := report.Complaint{
		ID: r.node.ids.Next(now), Now: now, Hostname: r.node.current.generation.Load().config.Hostname,
		Envelope: a.Envelope, Recipient: a.Envelope.Recipients[recipient].Address, Original: a.Body,
	}
	head, body, to, err := report.ARF(c)
	if err != nil {
		r.node.events.Emit(event.ReportFailed{ID: a.Envelope.ID, To: a.Envelope.From, Error: err.Error()})
		return
	}
	env := &mail.Envelope{
		ID: c.ID, Recipients: []mail.Recipient{{Address: to}}, Size: int64(len(head) + len(body)),
		Origin:  mail.Origin{Role: mail.RoleLocal, Account: a.Envelope.Origin.Account}, // its mailbox
		Subject: "Complaint about your mail", MessageID: report.MessageID(c.ID, c.Hostname),
	}
	if slices.ContainsFunc(append(head, body...), func(b byte) bool { return b >= 0x80 }) {
		env.Params.Body = mail.Body8Bit
	}
	select {
	case r.busy <- struct{}{}:
	default:
		return
	}
	id := a.Envelope.ID
	time.AfterFunc(returnAfter, func() {
		defer func() { <-r.busy }()
		env.Arrived = time.Now()
		if err := r.node.intake.Put(context.Background(), env, head, body); err != nil {
			r.node.events.Emit(event.ReportFailed{ID: id, To: to, Error: err.Error()})
		}
	})
}
