package route

import (
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// SH-10: another smart host takes over only by rule, only for trouble of the
// right kind, only when it has lasted; and gives back when a trial succeeds.
func TestFailover(t *testing.T) {
	later := func(stage mail.Stage, code int) []mail.Outcome {
		return []mail.Outcome{{Result: mail.Deferred, Stage: stage, Reply: smtp.Reply{Code: code, Text: "later"}}}
	}
	untrusted := []mail.Outcome{{Result: mail.Deferred, Ours: true, Stage: mail.StageStartTLS, Reply: smtp.TLSTrouble}}
	silent := []mail.Outcome{{Result: mail.Deferred, Ours: true, Stage: mail.StageConnect, Reply: smtp.NoHost}}
	taken := []mail.Outcome{{Result: mail.Accepted, Stage: mail.StageDot, Reply: smtp.OK}}
	for _, row := range []struct {
		name string
		met  []mail.Outcome
		want bool
	}{
		{"silence", silent, true}, {"421 at the greeting", later(mail.StageGreeting, 421), true}, {"454 at AUTH", later(mail.StageAuth, 454), true},
		{"451 at MAIL", later(mail.StageMail, 451), true}, {"a wrong certificate", untrusted, false}, {"a refused password",
			[]mail.Outcome{{Result: mail.Deferred, Ours: true, Stage: mail.StageAuth, Reply: smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 7, Detail: 8}}}}, false},
		{"greylisting at RCPT", later(mail.StageRcpt, 451), false}, {"5xx to MAIL", []mail.Outcome{{Result: mail.Refused, Stage: mail.StageMail, Reply: smtp.NotYours}}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := NewFailover(event.Discard)
			f.Rule(map[string]Standby{"a": {"b", 15 * time.Minute}})
			for range 14 {
				f.Tried("a", row.met)
				time.Sleep(time.Minute)
			}
			if f.Active("a") {
				t.Errorf("%s: too early", row.name)
			}
			time.Sleep(time.Minute)
			f.Tried("a", row.met)
			if f.Active("a") != row.want {
				t.Errorf("%s: %v", row.name, !row.want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		var said []event.SmarthostFailedOver
		f := NewFailover(event.SinkFunc(func(e event.Event) { said = append(said, e.(event.SmarthostFailedOver)) }))
		f.Rule(map[string]Standby{"a": {"b", 15 * time.Minute}})
		f.Tried("a", silent)
		time.Sleep(16 * time.Minute)
		f.Tried("a", taken) // a break: it counts from anew
		f.Tried("a", silent)
		time.Sleep(14 * time.Minute)
		f.Tried("a", silent)
		r := &mail.Recipient{}
		if f.Instead("a", r) != "a" {
			t.Error("a success between does not count")
		}
		time.Sleep(2 * time.Minute)
		f.Tried("a", silent)
		if f.Instead("a", r) != "b" || f.Instead("b", r) != "b" || f.Remark("a") == "" || len(said) != 1 {
			t.Errorf("no change: %v", said)
		}
		doubt := &mail.Recipient{Standing: mail.Standing{Last: mail.Outcome{Ambiguous: true}}}
		if f.Instead("a", doubt) != "a" { // SH-6
			t.Error("what a may have was given to b")
		}
		time.Sleep(15 * time.Minute)
		if f.Instead("a", r) != "a" || f.Instead("a", r) != "b" {
			t.Error("one trial, not more")
		}
		f.Tried("a", silent)
		if f.Instead("a", r) != "b" {
			t.Error("a failed trial ended it")
		}
		f.Tried("a", taken)
		if f.Instead("a", r) != "a" || len(said) != 2 || !said[1].Ended {
			t.Errorf("not back: %v", said)
		}
		f.Tried("c", silent) // has no rule
		f.Rule(nil)
		if f.Instead("a", r) != "a" {
			t.Error("a rule that is gone is in force")
		}
	})
}
