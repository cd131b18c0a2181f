package shaping

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

var (
	busy     = []mail.Outcome{{Result: mail.Deferred, Stage: mail.StageMail, Reach: mail.ThisSite, Reply: smtp.Reply{Code: 421, Enhanced: smtp.Enhanced{Class: 4, Subject: 7}, Text: "try later"}}}
	took     = []mail.Outcome{{Result: mail.Accepted, Reply: smtp.OK}}
	greylist = []mail.Outcome{{Result: mail.Deferred, Stage: mail.StageRcpt, Reply: smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 7, Detail: 1}, Text: "Greylisted, come back in 300 seconds"}}}
)

func TestNoMorePermitsThanConnections(t *testing.T) {
	s := New(Config{Rules: []Limits{{Site: "example.org", Connections: 3}}})
	var out []func([]mail.Outcome)
	for range 3 {
		_, release, _ := s.Acquire("example.org", nil)
		out = append(out, release)
	}
	if _, release, wait := s.Acquire("example.org", nil); release != nil || wait != 0 {
		t.Error("a fourth was given, or a wait that is not for a release")
	}
	out[0](took)
	out[0](took) // a second release is none
	if _, release, _ := s.Acquire("example.org", nil); release == nil {
		t.Error("none after one came back")
	}
	if _, release, _ := s.Acquire("example.org", nil); release != nil {
		t.Error("a double release made a permit")
	}
	if _, release, _ := s.Acquire("other.example", nil); release == nil {
		t.Error("another site suffers")
	}
}

// In no window of the rate's length are there more messages than it says.
func TestRateHoldsInAnyWindow(t *testing.T) {
	for _, rate := range []Rate{{1, time.Minute}, {7, time.Second}, {600, time.Minute}, {100, time.Hour}, {1000, time.Second}} {
		t.Run(rate.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(Config{Rules: []Limits{{Site: "*", Connections: 1000, Rate: rate}}})
				var sent []time.Time
				for len(sent) < 3*rate.Messages+5 {
					_, release, wait := s.Acquire("example.org", nil)
					if release == nil {
						time.Sleep(wait)
						continue
					}
					release(took)
					sent = append(sent, time.Now())
				}
				first := 0
				for i, at := range sent {
					for at.Sub(sent[first]) >= rate.Per {
						first++
					}
					if n := i - first + 1; n > rate.Messages {
						t.Fatalf("%d messages within %v", n, rate.Per)
					}
				}
				// and not much less than it allows
				if took := sent[len(sent)-1].Sub(sent[0]); took > 4*rate.Per*time.Duration(max(1, 5/rate.Messages)+1) {
					t.Errorf("%d messages took %v", len(sent), took)
				}
			})
		})
	}
}

func TestAnUnusedPermitCostsNoMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Rules: []Limits{{Site: "*", Rate: Rate{1, time.Hour}}}})
		_, release, _ := s.Acquire("example.org", nil)
		release(nil)
		if _, release, wait := s.Acquire("example.org", nil); release == nil {
			t.Errorf("the rate counts what did not go: wait %v", wait)
		}
	})
}

// SH-11: half at each complaint, a twentieth back each quiet minute.
func TestHalvesAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Rules: []Limits{{Site: "*", Connections: 16}}})
		connections := func() int { return s.States()[0].Connections }
		complain := func() {
			for {
				_, release, wait := s.Acquire("example.org", nil)
				if release != nil {
					release(busy)
					return
				}
				time.Sleep(wait)
			}
		}
		complain()
		if connections() != 8 {
			t.Errorf("after one complaint %d", connections())
		}
		if _, release, wait := s.Acquire("example.org", nil); release != nil || wait != pauseFirst {
			t.Errorf("no pause: %v", wait)
		}
		complain() // within halveEvery: the same complaint
		if connections() != 8 {
			t.Errorf("answers to what was in flight count twice: %d", connections())
		}
		time.Sleep(halveEvery)
		for range 20 {
			complain()
			time.Sleep(halveEvery)
		}
		if connections() != 1 {
			t.Errorf("bounded below: %d", connections())
		}
		time.Sleep(pauseMax + 10*time.Minute)
		if got := connections(); got < 8 || got > 12 {
			t.Errorf("after ten quiet minutes %d", got)
		}
		time.Sleep(time.Hour)
		if connections() != 16 {
			t.Errorf("never recovers: %d", connections())
		}
	})
}

func TestWhatAsksForLess(t *testing.T) {
	for _, row := range []struct {
		reply smtp.Reply
		reach mail.Reach
		want  bool
	}{
		{busy[0].Reply, mail.ThisSite, true},
		{smtp.Reply{Code: 421, Text: "closing"}, mail.ThisHost, true},
		{greylist[0].Reply, mail.ThisRecipient, false},
		{smtp.Reply{Code: 454, Text: "Throttling failure: Maximum sending rate exceeded."}, mail.ThisMessage, true}, // SES
		{smtp.Reply{Code: 450, Enhanced: smtp.Enhanced{Class: 4, Subject: 2, Detail: 1}, Text: "The user you are trying to contact is receiving mail at a rate that"}, mail.ThisRecipient, true}, // Google
		{smtp.Reply{Code: 452, Enhanced: smtp.Enhanced{Class: 4, Subject: 2, Detail: 2}, Text: "mailbox full"}, mail.ThisRecipient, false},
		{smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 7, Detail: 500}, Text: "Server busy. Please try again later from [192.0.2.1]."}, mail.ThisRecipient, true}, // Microsoft
	} {
		o := mail.Outcome{Result: mail.Deferred, Reply: row.reply, Reach: row.reach}
		if got := Throttle(o); got != row.want {
			t.Errorf("%s: %v", row.reply, got)
		}
		o.Ours = true
		if Throttle(o) {
			t.Errorf("%s of our own making counts", row.reply)
		}
	}
}

func TestRulesByPattern(t *testing.T) {
	rules := []Limits{
		{Site: "google", Connections: 30},
		{Site: "*.corp.example", Rate: Rate{5, time.Second}},
		{Site: "*", Connections: 7, PerConnection: 3},
	}
	for _, row := range []struct {
		site string
		want Limits
	}{
		{"google.com", Limits{Connections: 30, PerConnection: 50}},
		{"mx.corp.example", Limits{Connections: 7, Rate: Rate{5, time.Second}, PerConnection: 3}},
		{"yahoodns.net", Limits{Connections: 10, PerConnection: 20}},
		{"unknown.example", Limits{Connections: 7, PerConnection: 3}},
	} {
		row.want.Site = row.site
		if got := New(Config{Rules: rules}).Limits(row.site); got != row.want {
			t.Errorf("%s: %+v, want %+v", row.site, got, row.want)
		}
	}
	if got := New(Config{}).Limits("unknown.example"); got.Connections != 20 || got.PerConnection != 100 || got.Rate.limited() {
		t.Errorf("defaults: %+v", got)
	}
}

func TestSourcesTakeTurns(t *testing.T) {
	sources := []mail.Source{{Addr: netip.MustParseAddr("192.0.2.1")}, {Addr: netip.MustParseAddr("192.0.2.2")}}
	s := New(Config{})
	var got []string
	for range 4 {
		source, _, _ := s.Acquire("example.org", sources)
		got = append(got, source.Addr.String())
	}
	slices.Sort(got)
	if want := []string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"}; !slices.Equal(got, want) {
		t.Error(got)
	}
}

func TestIdleSitesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		for i := range 1000 {
			_, release, _ := s.Acquire(fmt.Sprint(i, ".example"), nil)
			release(took)
		}
		time.Sleep(time.Hour)
		s.Acquire("example.org", nil)
		if n := len(s.States()); n != 1 {
			t.Errorf("%d sites remembered", n)
		}
	})
}

func TestParseRate(t *testing.T) {
	for in, want := range map[string]Rate{
		"600/min": {600, time.Minute}, "10/s": {10, time.Second}, "10000/h": {10000, time.Hour}, "1/day": {1, 24 * time.Hour}, "100/90s": {100, 90 * time.Second},
	} {
		if got, err := ParseRate(in); err != nil || got != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "600", "0/min", "-1/s", "x/min", "5/", "5/-1s", "5/fortnight"} {
		if got, err := ParseRate(in); err == nil {
			t.Errorf("%q is %v", in, got)
		}
	}
}
