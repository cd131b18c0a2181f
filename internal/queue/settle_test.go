package queue

import (
	"testing"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

var (
	accepted  = mail.Outcome{Result: mail.Accepted, Reply: smtp.OK, Stage: mail.StageDot}
	noDSN     = mail.Outcome{Result: mail.Accepted, Reply: smtp.OK, Stage: mail.StageDot, NoDSN: true}
	greylist  = mail.Outcome{Result: mail.Deferred, Reply: smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 7, Detail: 1}, Text: "Greylisted"}, Stage: mail.StageRcpt}
	lostReply = mail.Outcome{Result: mail.Deferred, Reply: smtp.Dropped, Stage: mail.StageDot, Ambiguous: true}
	noUser    = mail.Outcome{Result: mail.Refused, Reply: smtp.NoMailbox, Stage: mail.StageRcpt}
	untried   = mail.Outcome{}
)

// TestSettle is the specification of Settle: state × outcome × age → what
// becomes of the recipient, when it is tried next, and who is told.
func TestSettle(t *testing.T) {
	const noTime = -1
	arrived := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	by := func(after time.Duration, ret bool) *mail.DeliverBy {
		return &mail.DeliverBy{Deadline: arrived.Add(after), Return: ret}
	}
	for _, row := range []struct {
		name    string
		from    string // "": a@here
		relayed bool   // came through port 25, not submission
		notify  mail.Notify
		by      *mail.DeliverBy
		release time.Duration
		final   bool
		age     time.Duration
		tries   uint32
		noticed bool
		outcome mail.Outcome

		want  mail.State
		wait  time.Duration
		count uint32
		tell  Tell
	}{
		{name: "accepted", outcome: accepted, want: mail.Delivered, wait: noTime, count: 1},
		{name: "accepted, success wanted, hop tells", notify: mail.NotifySuccess, outcome: accepted, want: mail.Delivered, wait: noTime, count: 1},
		{name: "accepted, success wanted, hop without DSN: RFC 3461 §5.2.2", notify: mail.NotifySuccess, outcome: noDSN, want: mail.Delivered, wait: noTime, count: 1, tell: TellRelayed},
		{name: "accepted for good", notify: mail.NotifySuccess, final: true, outcome: noDSN, want: mail.Delivered, wait: noTime, count: 1, tell: TellDelivered},
		{name: "success of a report is not told: DSN-2", from: "<>", notify: mail.NotifySuccess, outcome: noDSN, want: mail.Delivered, wait: noTime, count: 1},
		{name: "BY N over a hop that does not promise: EXT-9", by: by(time.Hour, false), outcome: noDSN, want: mail.Delivered, wait: noTime, count: 1, tell: TellRelayed},

		{name: "refused", outcome: noUser, want: mail.Failed, wait: noTime, count: 1, tell: TellFailed},
		{name: "refused, FAILURE", notify: mail.NotifyFailure, outcome: noUser, want: mail.Failed, wait: noTime, count: 1, tell: TellFailed},
		{name: "refused, NEVER: DSN-6", notify: mail.NotifyNever, outcome: noUser, want: mail.Failed, wait: noTime, count: 1},
		{name: "refused, SUCCESS alone: DSN-6", notify: mail.NotifySuccess, outcome: noUser, want: mail.Failed, wait: noTime, count: 1},
		{name: "refused, null sender: DSN-2", from: "<>", outcome: noUser, want: mail.Failed, wait: noTime, count: 1},

		{name: "first deferral: Q-6", outcome: greylist, want: mail.Waiting, wait: 5 * time.Minute, count: 1},
		{name: "second", tries: 1, outcome: greylist, want: mail.Waiting, wait: 15 * time.Minute, count: 2},
		{name: "third", tries: 2, outcome: greylist, want: mail.Waiting, wait: 30 * time.Minute, count: 3},
		{name: "fourth", tries: 3, outcome: greylist, want: mail.Waiting, wait: time.Hour, count: 4},
		{name: "fifth", tries: 4, outcome: greylist, want: mail.Waiting, wait: 2 * time.Hour, count: 5},
		{name: "sixth", tries: 5, outcome: greylist, want: mail.Waiting, wait: 4 * time.Hour, count: 6},
		{name: "the last pause repeats", tries: 20, outcome: greylist, age: 3 * day, noticed: true, want: mail.Waiting, wait: 4 * time.Hour, count: 21},
		{name: "reply to the final dot lost: SH-6", outcome: lostReply, want: mail.Waiting, wait: 30 * time.Minute, count: 1},
		{name: "not tried", tries: 3, outcome: untried, want: mail.Waiting, wait: untriedPause, count: 3},

		{name: "a last try shortly before the end", tries: 20, noticed: true, outcome: greylist, age: 5*day - time.Hour, want: mail.Waiting, wait: 50 * time.Minute, count: 21},
		{name: "then the end exactly", tries: 20, noticed: true, outcome: greylist, age: 5*day - 10*time.Minute, want: mail.Waiting, wait: 10 * time.Minute, count: 21},
		{name: "five days: Q-7", tries: 20, noticed: true, outcome: greylist, age: 5 * day, want: mail.Failed, wait: noTime, count: 21, tell: TellFailed},
		{name: "a moment before", tries: 20, noticed: true, outcome: greylist, age: 5*day - time.Second, want: mail.Waiting, wait: time.Second, count: 21},
		{name: "null sender, two days: Q-7", from: "<>", tries: 9, outcome: greylist, age: 2 * day, want: mail.Failed, wait: noTime, count: 10},
		{name: "null sender, before", from: "<>", tries: 9, outcome: greylist, age: day, want: mail.Waiting, wait: 4 * time.Hour, count: 10},
		{name: "even untried", outcome: untried, age: 5 * day, want: mail.Failed, wait: noTime, tell: TellFailed},
		{name: "counted from release: EXT-10", release: 3 * day, tries: 3, noticed: true, outcome: greylist, age: 6 * day, want: mail.Waiting, wait: time.Hour, count: 4},

		{name: "delay told at 4 h: Q-9", tries: 5, outcome: greylist, age: 4 * time.Hour, want: mail.Waiting, wait: 4 * time.Hour, count: 6, tell: TellDelayed},
		{name: "once", tries: 5, noticed: true, outcome: greylist, age: 5 * time.Hour, want: mail.Waiting, wait: 4 * time.Hour, count: 6},
		{name: "not to strangers", relayed: true, tries: 5, outcome: greylist, age: 5 * time.Hour, want: mail.Waiting, wait: 4 * time.Hour, count: 6},
		{name: "but if they asked", relayed: true, notify: mail.NotifyDelay, tries: 5, outcome: greylist, age: 5 * time.Hour, want: mail.Waiting, wait: 4 * time.Hour, count: 6, tell: TellDelayed},
		{name: "NOTIFY without DELAY", notify: mail.NotifyFailure, tries: 5, outcome: greylist, age: 5 * time.Hour, want: mail.Waiting, wait: 4 * time.Hour, count: 6},

		{name: "BY R passed: EXT-9", by: by(time.Hour, true), tries: 3, outcome: greylist, age: time.Hour, want: mail.Failed, wait: noTime, count: 4, tell: TellFailed},
		{name: "BY R ahead: woken at the deadline", by: by(time.Hour, true), tries: 3, outcome: greylist, age: 30 * time.Minute, want: mail.Waiting, wait: 30 * time.Minute, count: 4},
		{name: "BY N ahead, and in doubt: not before its time (SH-6)", by: by(10*time.Minute, false), outcome: lostReply, want: mail.Waiting, wait: 30 * time.Minute, count: 1},
		{name: "BY R ahead, and in doubt: the end is exact", by: by(10*time.Minute, true), outcome: lostReply, want: mail.Waiting, wait: 10 * time.Minute, count: 1},
		{name: "BY N passed: told once, goes on", by: by(time.Hour, false), tries: 3, outcome: greylist, age: time.Hour, want: mail.Waiting, wait: time.Hour, count: 4, tell: TellDelayed},
		{name: "BY N passed, told", by: by(time.Hour, false), noticed: true, tries: 3, outcome: greylist, age: time.Hour, want: mail.Waiting, wait: time.Hour, count: 4},
	} {
		t.Run(row.name, func(t *testing.T) {
			env := &mail.Envelope{Arrived: arrived, From: "a@here.example", Origin: mail.Origin{Role: mail.RoleSubmission}}
			env.Params.By = row.by
			if row.from == "<>" {
				env.From = ""
			}
			if row.relayed {
				env.Origin.Role = mail.RoleMX
			}
			if row.release > 0 {
				env.Params.ReleaseAt = arrived.Add(row.release)
			}
			now := arrived.Add(row.age)
			r := mail.Recipient{Notify: row.notify, Standing: mail.Standing{Tries: row.tries, Noticed: row.noticed}}
			got := Settle(env, r, row.outcome, Facts{Now: now, Chance: 0.5, Site: "s", Final: row.final}, Terms{}.withDefaults())

			s := got.Standing
			if s.State != row.want || s.Tries != row.count || got.Tell != row.tell {
				t.Errorf("%s after %d tries, tell %d; want %s, %d, %d (%s)", s.State, s.Tries, got.Tell, row.want, row.count, row.tell, got.Why)
			}
			if row.wait == noTime && !s.Due.IsZero() {
				t.Errorf("final but due at %v", s.Due)
			}
			if row.wait != noTime && s.Due.Sub(now) != row.wait {
				t.Errorf("waits %v, want %v", s.Due.Sub(now), row.wait)
			}
			if s.State.Final() && s.Reported != (got.Tell == TellNothing) {
				t.Errorf("reported %v with tell %d", s.Reported, got.Tell)
			}
			if got.Tell == TellDelayed && !s.Noticed {
				t.Error("delay told but not noted")
			}
		})
	}
}

func TestPausesAreSpreadByAFifth(t *testing.T) {
	terms := Terms{}.withDefaults()
	if got := terms.pause(1, 0); got != 4*time.Minute {
		t.Errorf("shortest %v", got)
	}
	if got := terms.pause(1, 0.9999999); got < 5*time.Minute+59*time.Second || got > 6*time.Minute {
		t.Errorf("longest %v", got)
	}
}
