package api

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/queue"
	"paquebot/internal/smtp"
	"paquebot/internal/spool"
)

// greylister routes by domain and defers every first try.
type greylister struct{}

func (greylister) Route(_ context.Context, _ *mail.Envelope, to string) (mail.Route, error) {
	return mail.Route{Site: mail.Domain(to), Transport: mail.SMTP}, nil
}

func (greylister) Acquire(string, []mail.Source) (mail.Source, func([]mail.Outcome), time.Duration) {
	return mail.Source{}, func([]mail.Outcome) {}, 0
}

func (greylister) Deliver(_ context.Context, a mail.Attempt) []mail.Outcome {
	out := make([]mail.Outcome, len(a.Recipients))
	for i := range out {
		out[i] = mail.Outcome{Result: mail.Deferred, Stage: mail.StageRcpt, At: time.Now(), Host: "mx." + a.Route.Site,
			Reply: smtp.Reply{Code: 450, Enhanced: smtp.Enhanced{Class: 4, Subject: 7, Detail: 1}, Text: "Greylisted"}}
	}
	return out
}

func (greylister) Put(context.Context, *mail.Envelope, []byte, []byte) error { return nil }

// A real queue over a spool in memory, seen through the window.
func TestOverQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		memory := spool.NewMemory()
		ids, err := mail.NewIDs(bytes.NewReader(make([]byte, 8)))
		if err != nil {
			t.Fatal(err)
		}
		pace := NewPace()
		q := queue.New(queue.Config{}, queue.Needs{Spool: memory, Router: greylister{}, Shaper: greylister{}, Courier: greylister{}, Intake: greylister{}, IDs: ids, Events: event.All(pace)})
		done := make(chan error, 1)
		go func() { done <- q.Run(ctx) }()
		synctest.Wait()
		for _, to := range []string{"a@one.example", "b@one.example", "c@two.example"} {
			env := &mail.Envelope{ID: ids.Next(time.Now()), Arrived: time.Now(), From: "anna@example.org", Recipients: []mail.Recipient{{Address: to}}}
			d := memory.NewDraft()
			if err := d.Commit(ctx, env, []byte("Subject: x\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			q.Accept(env)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		o := OverQueue(q, pace)

		s, err := o.Summary(ctx)
		if err != nil || s.Total != 3 || s.Waiting != 3 || len(s.Sites) != 2 {
			t.Fatalf("%+v %v", s, err)
		}
		if one := s.Sites[0]; one.Site != "one.example" || one.Waiting != 2 || one.Why != "greylisting" || one.Reply != "450 4.7.1 Greylisted" || one.Next.IsZero() {
			t.Errorf("%+v", one)
		}
		// Who has forgotten the last words asks one of the messages.
		if s, _ := OverQueue(q, nil).Summary(ctx); s.Sites[0].Why != "greylisting" {
			t.Errorf("%+v", s.Sites[0])
		}

		var list []Envelope
		for e, err := range o.List(ctx, Filter{Site: "one.example"}, mail.ID{}) {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, e)
		}
		if len(list) != 2 || list[0].Recipients[0].State != "waiting" || list[0].Recipients[0].Due.IsZero() {
			t.Fatalf("%+v", list)
		}
		for e := range o.List(ctx, Filter{}, list[0].ID) {
			if e.ID == list[0].ID {
				t.Error("the one to begin after is listed again")
			}
			break
		}

		held, err := o.Act(ctx, Action{Action: Hold, Filter: Filter{Site: "one.example"}, Seconds: 3600, By: "anna", Reason: "look"})
		if err != nil || held.Recipients != 2 || held.Rule == "" || held.Until.IsZero() {
			t.Fatalf("%+v %v", held, err)
		}
		rules, err := o.Rules(ctx)
		if err != nil || len(rules) != 1 || rules[0].By != "anna" || rules[0].Match != "site=one.example" {
			t.Errorf("%+v %v", rules, err)
		}
		if s, _ := o.Summary(ctx); s.Held != 2 || len(s.Rules) != 1 {
			t.Errorf("%+v", s)
		}
		released, err := o.Act(ctx, Action{Action: Release, Filter: Filter{Site: "one.example"}, By: "anna"})
		if err != nil || released.RulesEnded != 1 {
			t.Errorf("%+v %v", released, err)
		}
		if err := o.EndRule(ctx, held.Rule, "anna"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a rule ended twice: %v", err)
		}
		gone, err := o.Act(ctx, Action{Action: Delete, Filter: Filter{ID: list[0].ID}, By: "anna"})
		if err != nil || gone.Recipients != 1 {
			t.Errorf("%+v %v", gone, err)
		}
		cancel()
		<-done
	})
}
