package shaping

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

type tableOf map[string][]byte

func (t tableOf) Each(_ []byte, yield func(key, value []byte) bool) error {
	for k, v := range t {
		if !yield([]byte(k), v) {
			return nil
		}
	}
	return nil
}
func (t tableOf) Put(k, v []byte) error { t[string(k)] = v; return nil }

// SH-11: in no 24 hours more recipients than the quota, across restarts; mail
// waits, and it is said until when.
func TestQuotaHoldsInAnyDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const quota = 50
		table := tableOf{}
		start := func() *Shaper {
			s := New(Config{Rules: []Limits{{Site: "relay", PerDay: quota}}})
			if err := s.Keep(table); err != nil {
				t.Fatal(err)
			}
			return s
		}
		s := start()
		two := append(took[:1:1], took[0])
		var sent []time.Time
		for began := time.Now(); time.Since(began) < 4*24*time.Hour; {
			_, release, wait := s.Acquire("relay", nil)
			if release == nil {
				if !strings.HasPrefix(s.Remark("relay"), "quota: 452 4.7.1 50 recipients") {
					t.Fatalf("waits %v, and says %q", wait, s.Remark("relay"))
				}
				time.Sleep(wait)
				if err := s.Save(); err != nil {
					t.Fatal(err)
				}
				s = start() // a restart
				continue
			}
			release(two)
			sent = append(sent, time.Now(), time.Now())
			time.Sleep(7 * time.Minute)
		}
		first := 0
		for i, at := range sent {
			for at.Sub(sent[first]) >= 24*time.Hour {
				first++
			}
			if n := i - first + 1; n > quota {
				t.Fatalf("%d recipients in 24 hours", n)
			}
		}
		if len(sent) < 3*quota {
			t.Errorf("only %d in four days", len(sent))
		}
		if _, release, _ := s.Acquire("elsewhere", nil); release == nil {
			t.Error("another site waits too")
		}
	})
}

// SH-11: at a smart host 451 4.7.x at RCPT and 454 are requests for less, which
// at a receiving site are greylisting.
func TestSmarthostThrottles(t *testing.T) {
	for _, row := range []struct {
		reply     smtp.Reply
		reach     mail.Reach
		smarthost bool
		want      bool
	}{
		{greylist[0].Reply, mail.ThisRecipient, false, false},
		{greylist[0].Reply, mail.ThisRecipient, true, true},
		{smtp.Reply{Code: 454, Text: "slow, please"}, mail.ThisMessage, true, true},
		{smtp.Reply{Code: 421, Text: "closing"}, mail.ThisHost, true, true},
		{smtp.Reply{Code: 454, Enhanced: smtp.Enhanced{Class: 4, Subject: 7}, Text: "Throttling failure: Maximum sending rate exceeded."}, mail.ThisSite, true, true},
		{smtp.Reply{Code: 452, Enhanced: smtp.Enhanced{Class: 4, Subject: 2, Detail: 2}, Text: "mailbox full"}, mail.ThisRecipient, true, false},
	} {
		s := New(Config{Rules: []Limits{{Site: "relay", Connections: 16, Smarthost: row.smarthost}}})
		_, release, _ := s.Acquire("relay", nil)
		release([]mail.Outcome{{Result: mail.Deferred, Reply: row.reply, Reach: row.reach}})
		if got := s.States()[0].Connections == 8; got != row.want {
			t.Errorf("%s at a smart host %v: halved %v", row.reply, row.smarthost, got)
		}
	}
}
