package queue

import (
	"context"
	"errors"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/report"
)

// verdict is a recipient's new standing, on its way to be written down and told.
type verdict struct {
	recipient int
	Ruling
	tried *mail.Outcome // of the attempt; nil if there was none
	quiet bool          // only where it waits has changed
}

// conclude writes verdicts down, then tells: events first, then the sender,
// then the end of the message. The recipients are leased by the caller; the
// lease ends here. env is the caller's copy and is brought up to date.
func (q *Queue) conclude(ctx context.Context, env *mail.Envelope, vs []verdict) {
	if len(vs) == 0 {
		return
	}
	updates := make([]mail.Update, len(vs))
	for i, v := range vs {
		updates[i] = mail.Update{Message: env.ID, Recipient: v.recipient, Standing: v.Standing}
		env.Recipients[v.recipient].Standing = v.Standing
	}
	// When this ends the message, its end is all there is to write.
	over := allOver(env)
	write := func(ctx context.Context) error { return q.needs.Spool.Record(ctx, updates) }
	if over {
		write = func(ctx context.Context) error { return q.needs.Spool.Finish(ctx, env.ID) }
	}
	if err := q.insist(ctx, write); err != nil {
		return // we are being stopped, and nobody was told: the spool knows what to do again
	}
	q.settleLines(env, vs, false)
	for _, v := range vs {
		q.announce(env, v)
	}
	q.report(ctx, env, vs)
	if over {
		q.needs.Events.Emit(finished(env))
		return
	}
	q.settleLines(env, vs, true)
	q.finish(ctx, env)
}

// insist writes something down, trying until it works or the queue is stopped
// for good. The outcome of an attempt is not to be lost while we live, not even
// if the attempt was cut short by ctx: it would be a duplicate.
func (q *Queue) insist(ctx context.Context, write func(context.Context) error) error {
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		err := write(context.WithoutCancel(ctx))
		if err == nil || errors.Is(err, mail.ErrNotFound) {
			return err
		}
		select {
		case <-q.hard.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// settleLines ends the leases and notes where waiting recipients wait now. Those
// of whom something is still to be told stay leased until it was, lest another
// tell it too.
func (q *Queue) settleLines(env *mail.Envelope, vs []verdict, told bool) {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, v := range vs {
		if v.owes() != told {
			continue
		}
		q.unlease(env.ID, v.recipient)
		switch s := v.Standing; {
		case s.State == mail.Waiting:
			q.note(lineKey{s.Site, env.Tenant(), env.Params.Priority}, s.Due, now)
		case s.State == mail.Held && !s.Due.IsZero():
			q.noteHold(s.Due)
		}
	}
}

// owes reports that the sender is to be told of a verdict.
func (v verdict) owes() bool {
	return v.Tell == TellDelayed || v.Standing.State.Final() && !v.Standing.Reported
}

func (q *Queue) announce(env *mail.Envelope, v verdict) {
	if v.quiet {
		return
	}
	r := env.Recipients[v.recipient]
	if v.tried != nil {
		q.needs.Events.Emit(event.DeliveryTried{ID: env.ID, Recipient: r.Address, Number: v.Standing.Tries, Site: v.Standing.Site, Outcome: *v.tried})
	}
	q.needs.Events.Emit(event.RecipientSettled{ID: env.ID, Recipient: r.Address, Sender: env.From,
		Account: env.Origin.Account, Standing: v.Standing, Why: v.Why})
}

// report tells the sender what is owed: one report for all recipients of this
// pass (DSN-10). Only when it is in the spool are they marked as reported.
func (q *Queue) report(ctx context.Context, env *mail.Envelope, vs []verdict) {
	var owed []verdict
	for _, v := range vs {
		switch {
		case v.Tell != TellNothing:
			owed = append(owed, v)
		case v.Standing.State == mail.Failed && v.Standing.Reported && !v.quiet:
			q.needs.Events.Emit(event.ReportSent{ID: env.ID, Action: "failed", To: env.From, Dropped: unreported(env, env.Recipients[v.recipient])})
		}
	}
	if len(owed) == 0 {
		return
	}
	id, err := q.send(ctx, env, owed)
	if err != nil {
		if q.firstTrouble(env.ID) {
			q.needs.Events.Emit(event.ReportFailed{ID: env.ID, To: env.From, Error: err.Error()})
		}
		q.unnotice(ctx, env, owed)
		q.mu.Lock()
		q.alarm(alarm{at: time.Now().Add(time.Minute), id: env.ID})
		q.mu.Unlock()
		return
	}
	var updates []mail.Update
	told := map[Tell]bool{}
	for _, v := range owed {
		if !told[v.Tell] {
			told[v.Tell] = true
			q.needs.Events.Emit(event.ReportSent{ID: env.ID, Report: id, Action: string(v.Tell.action()), To: env.From})
		}
		if r := &env.Recipients[v.recipient]; r.State.Final() {
			r.Reported = true
			updates = append(updates, mail.Update{Message: env.ID, Recipient: v.recipient, Standing: r.Standing})
		}
	}
	if len(updates) > 0 {
		write := func(ctx context.Context) error { return q.needs.Spool.Record(ctx, updates) }
		_ = q.insist(ctx, write) // stopped: the report is sent once more after the restart
	}
}

// unnotice takes back that a delay was told, when it was not: it is told at the
// next look. Noted before, it is not told twice after a crash between.
func (q *Queue) unnotice(ctx context.Context, env *mail.Envelope, owed []verdict) {
	var updates []mail.Update
	for _, v := range owed {
		if v.Tell != TellDelayed {
			continue
		}
		r := &env.Recipients[v.recipient]
		r.Noticed = false
		updates = append(updates, mail.Update{Message: env.ID, Recipient: v.recipient, Standing: r.Standing})
	}
	if len(updates) > 0 {
		_ = q.insist(ctx, func(ctx context.Context) error { return q.needs.Spool.Record(ctx, updates) }) // stopped: not told of a delay
	}
}

// unreported says why a failure is not told.
func unreported(env *mail.Envelope, r mail.Recipient) string {
	switch {
	case env.From == "":
		return "null sender" // DSN-2, DSN-11
	case r.Notify.Has(mail.NotifyNever):
		return "NOTIFY=NEVER"
	}
	return "NOTIFY without FAILURE"
}

func (t Tell) action() report.Action {
	switch t {
	case TellFailed:
		return report.Failed
	case TellDelayed:
		return report.Delayed
	case TellDelivered:
		return report.Delivered
	case TellRelayed:
		return report.Relayed
	}
	return report.Expanded
}

// send composes a report and hands it in.
func (q *Queue) send(ctx context.Context, env *mail.Envelope, owed []verdict) (mail.ID, error) {
	now := time.Now()
	id := q.needs.IDs.Next(now)
	n := report.Notice{ID: id, Now: now, Hostname: q.config.Hostname, Envelope: env}
	for _, v := range owed {
		r := report.Recipient{Recipient: env.Recipients[v.recipient], Action: v.Tell.action()}
		if r.Action == report.Delayed {
			r.RetryUntil = q.config.expiry(env)
		}
		n.Recipients = append(n.Recipients, r)
	}
	_, body, err := q.needs.Spool.Open(ctx, env.ID)
	if err != nil && !lost(err) {
		return id, err
	}
	if err == nil {
		defer body.Close()
		n.Original = body
	}
	head, content, utf8, err := report.DSN(n)
	if err != nil && n.Original != nil && lost(err) {
		n.Original = nil
		head, content, utf8, err = report.DSN(n)
	}
	if err != nil {
		return id, err
	}
	return id, q.needs.Intake.Put(ctx, q.reportEnvelope(id, env, now, utf8, head, content), head, content)
}

// lost says that the original is not to be had any more: the sender is told
// without it rather than never.
func lost(err error) bool {
	return errors.Is(err, mail.ErrNotFound) || errors.Is(err, mail.ErrDamaged)
}

// troublesMax bounds the memory of which messages' trouble was told, 16 octets
// each; it is forgotten as a whole, and then told once more.
const troublesMax = 10_000

// firstTrouble reports whether trouble with a message is news: what is tried
// every minute is not to be told every minute.
func (q *Queue) firstTrouble(id mail.ID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.troubles[id] {
		return false
	}
	if len(q.troubles) >= troublesMax {
		clear(q.troubles)
	}
	q.troubles[id] = true
	return true
}

// reportEnvelope is the report's: from <> (DSN-1), to the sender, as safe as
// the message was (DSN-13).
func (q *Queue) reportEnvelope(id mail.ID, of *mail.Envelope, now time.Time, utf8 bool, head, content []byte) *mail.Envelope {
	env := &mail.Envelope{
		ID: id, Arrived: now,
		Recipients: []mail.Recipient{{Address: of.From}},
		Params:     mail.Params{UTF8: utf8, RequireTLS: of.Params.RequireTLS, Priority: of.Params.Priority},
		Origin:     mail.Origin{Role: mail.RoleLocal},
		Size:       int64(len(head) + len(content)),
		Subject:    "Delivery report",
		MessageID:  report.MessageID(id, q.config.Hostname),
	}
	if q.config.AccountReports {
		env.Origin.Account = of.Origin.Account
	}
	for _, part := range [][]byte{head, content} {
		for _, c := range part {
			if c >= 0x80 {
				env.Params.Body = mail.Body8Bit
				return env
			}
		}
	}
	return env
}

// finish lets the spool forget a message when every recipient is final and
// everybody was told. Two attempts of one message may end at once: one of them
// does it, and looks again if the other came meanwhile.
func (q *Queue) finish(ctx context.Context, env *mail.Envelope) {
	if len(env.Recipients) > 1 && !anyRecipient(env, func(r mail.Recipient) bool { return r.State.Final() }) {
		return
	}
	q.mu.Lock()
	if _, busy := q.ending[env.ID]; busy {
		q.ending[env.ID] = true
		q.mu.Unlock()
		return
	}
	q.ending[env.ID] = false
	q.mu.Unlock()
	for reread := len(env.Recipients) > 1; ; reread = true {
		q.finishOne(ctx, env, reread)
		q.mu.Lock()
		again := q.ending[env.ID]
		q.ending[env.ID] = false
		if !again {
			delete(q.ending, env.ID)
		}
		q.mu.Unlock()
		if !again {
			return
		}
	}
}

func (q *Queue) finishOne(ctx context.Context, env *mail.Envelope, reread bool) {
	if reread {
		newest, err := q.needs.Spool.Envelope(ctx, env.ID)
		if err != nil {
			return // finished by another, or looked at again by the watchdog
		}
		env = newest
	}
	if !allOver(env) {
		return
	}
	if q.needs.Spool.Finish(ctx, env.ID) == nil {
		q.needs.Events.Emit(finished(env))
	}
}

// allOver reports that everything was done for every recipient, the telling too.
func allOver(env *mail.Envelope) bool {
	return !anyRecipient(env, func(r mail.Recipient) bool { return !r.State.Final() || !r.Reported })
}

func finished(env *mail.Envelope) event.MessageFinished {
	e := event.MessageFinished{ID: env.ID, TookSeconds: time.Since(env.Arrived).Seconds()}
	for _, r := range env.Recipients {
		switch r.State {
		case mail.Delivered:
			e.Delivered++
		case mail.Failed:
			e.Failed++
		}
	}
	return e
}
