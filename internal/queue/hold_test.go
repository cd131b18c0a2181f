package queue_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/queue"
	"paquebot/internal/sim"
)

func act(t *testing.T, w *sim.World, a queue.Action) queue.Result {
	t.Helper()
	a.By = "op"
	r, err := w.Queue.Act(context.Background(), a)
	if err != nil {
		t.Fatalf("%s %s: %v", a.Verb, a.Filter, err)
	}
	return r
}

// each action, by each way to name its mail.
func TestActions(t *testing.T) {
	for _, row := range []struct {
		name   string
		action queue.Action
		match  int // recipients of the three below
		bob    func(sim.Fate) bool
	}{
		{"hold a site", queue.Action{Verb: queue.Hold, Filter: queue.Filter{Site: "dead.example"}}, 3, waits},
		{"hold a domain", queue.Action{Verb: queue.Hold, Filter: queue.Filter{Domain: "X.dead.example"}}, 1, waits},
		{"bounce a sender", queue.Action{Verb: queue.Bounce, Filter: queue.Filter{Sender: me}}, 2, bounced},
		{"bounce a sender's domain", queue.Action{Verb: queue.Bounce, Filter: queue.Filter{Sender: "@here.example"}}, 3, bounced},
		{"delete an account's", queue.Action{Verb: queue.Delete, Filter: queue.Filter{Account: "me"}}, 2, gone},
		{"older than an hour", queue.Action{Verb: queue.Delete, Filter: queue.Filter{OlderThan: time.Hour}}, 0, delivered},
		{"retry", queue.Action{Verb: queue.Retry, Filter: queue.Filter{Site: "dead.example"}}, 3, delivered},
		{"nobody's", queue.Action{Verb: queue.Bounce, Filter: queue.Filter{Site: "other.example"}}, 0, delivered},
	} {
		t.Run(row.name, func(t *testing.T) {
			world(t, sim.Options{}, func(t *testing.T, w *sim.World) {
				w.Site("dead.example", sim.DeadFor(6*time.Hour, sim.Good()))
				id := w.Submit(me, "bob@x.dead.example", "carol@dead.example")
				w.Submit("you@here.example", "dan@dead.example")
				time.Sleep(30 * time.Minute)
				dry := row.action
				dry.DryRun = true
				if r := act(t, w, dry); r.Recipients != row.match {
					t.Errorf("would touch %+v", r)
				}
				if r := act(t, w, row.action); r.Recipients != row.match {
					t.Errorf("touched %+v", r)
				}
				time.Sleep(2 * day)
				if f := w.Fate(id, "bob@x.dead.example"); !row.bob(f) {
					t.Errorf("%+v", f)
				}
			})
		})
	}
}

func waits(f sim.Fate) bool     { return f.Deliveries+f.Bounces == 0 && f.Standing.State == mail.Held }
func bounced(f sim.Fate) bool   { return f.Deliveries == 0 && f.Bounces == 1 }
func gone(f sim.Fate) bool      { return f.Deliveries+f.Bounces == 0 && f.Standing.State == mail.Deleted }
func delivered(f sim.Fate) bool { return f.Deliveries == 1 && f.Bounces == 0 }

// A rule acts on what comes later, survives a restart, and ends at its time.
func TestRules(t *testing.T) {
	for _, filter := range []queue.Filter{{Site: "good.example"}, {Domain: "good.example"}, {Account: "me"}, {Sender: "@here.example"}} {
		t.Run(filter.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := sim.NewWorld(t, 1, sim.Options{})
				w.Site("good.example", sim.Good())
				w.Start()
				until := time.Now().Add(12 * time.Hour)
				act(t, w, queue.Action{Verb: queue.Hold, Filter: filter, Until: until, Reason: "listed"})
				id := w.Submit(me, "bob@good.example")
				time.Sleep(time.Hour)
				w.Stop()
				w.Start()
				time.Sleep(time.Hour)
				if n := len(w.Visits("good.example")); n != 0 {
					t.Errorf("%d attempts while held", n)
				}
				if s, err := w.Queue.Summary(t.Context()); err != nil || s.Held != 1 || s.Total != 1 {
					t.Errorf("%+v %v", s, err)
				}
				if rules := w.Queue.Rules(); len(rules) != 1 || rules[0].Reason != "listed" {
					t.Errorf("%+v", rules)
				}
				time.Sleep(11 * time.Hour)
				if f := w.Fate(id, "bob@good.example"); f.Deliveries != 1 || f.At.Sub(until) > time.Minute {
					t.Errorf("%+v, %v after the rule's end", f, f.At.Sub(until))
				}
				if n := len(w.Queue.Rules()); n != 0 {
					t.Errorf("%d rules left", n)
				}
				w.Stop()
				if w.Stray() != 0 {
					t.Errorf("%d strays", w.Stray())
				}
			})
		})
	}
}

func TestReleaseEndsTheRule(t *testing.T) {
	for _, filter := range []queue.Filter{{Site: "good.example"}, {Domain: "good.example"}} {
		world(t, sim.Options{}, func(t *testing.T, w *sim.World) {
			w.Site("good.example", sim.Good())
			act(t, w, queue.Action{Verb: queue.Hold, Filter: filter, Always: true})
			id := w.Submit(me, "bob@good.example")
			time.Sleep(day)
			act(t, w, queue.Action{Verb: queue.Release, Filter: filter})
			time.Sleep(time.Minute)
			if f := w.Fate(id, "bob@good.example"); f.Deliveries != 1 || len(w.Queue.Rules()) != 0 {
				t.Errorf("%s: %+v, rules %v", filter, f, w.Queue.Rules())
			}
		})
	}
}

func TestABounceRuleActsOnWhatComes(t *testing.T) {
	world(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Site("good.example", sim.Good())
		r := act(t, w, queue.Action{Verb: queue.Bounce, Filter: queue.Filter{Account: "me"}, Always: true})
		id := w.Submit(me, "bob@good.example")
		time.Sleep(time.Minute)
		if f := w.Fate(id, "bob@good.example"); !bounced(f) {
			t.Errorf("%+v", f)
		}
		if err := w.Queue.EndRule(t.Context(), r.Rule, "op"); err != nil {
			t.Error(err)
		}
		id = w.Submit(me, "bob@good.example")
		time.Sleep(time.Minute)
		if f := w.Fate(id, "bob@good.example"); !delivered(f) {
			t.Errorf("%+v", f)
		}
	})
}

// A hold has no expiry, whether it is a message's or its site's.
func TestMailOfAHeldSiteDoesNotExpire(t *testing.T) {
	world(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Site("dead.example", sim.DeadFor(time.Hour, sim.Good()))
		tried := w.Submit(me, "bob@dead.example")
		time.Sleep(10 * time.Second)
		site := queue.Filter{Site: "dead.example"}
		act(t, w, queue.Action{Verb: queue.Hold, Filter: site, Always: true})
		fresh := w.Submit(me, "carol@dead.example")
		time.Sleep(7 * day)
		for _, f := range []sim.Fate{w.Fate(tried, "bob@dead.example"), w.Fate(fresh, "carol@dead.example")} {
			if f.Bounces+f.Deliveries+f.Delays != 0 {
				t.Errorf("while held: %+v", f)
			}
		}
		act(t, w, queue.Action{Verb: queue.Release, Filter: site})
		time.Sleep(day)
		if f := w.Fate(tried, "bob@dead.example"); f.Bounces+f.Deliveries != 1 {
			t.Errorf("tried before, then released: %+v", f)
		}
		if f := w.Fate(fresh, "carol@dead.example"); f.Bounces+f.Deliveries != 1 {
			t.Errorf("never tried, then released: %+v", f)
		}
	})
}

func TestHeldOneByOne(t *testing.T) {
	world(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Site("dead.example", sim.DeadFor(time.Hour, sim.Good()))
		id := w.Submit(me, "bob@dead.example")
		time.Sleep(10 * time.Second)
		act(t, w, queue.Action{Verb: queue.Hold, Filter: queue.Filter{ID: id}})
		time.Sleep(7 * day) // a hold has no end of its own, and no expiry
		if f := w.Fate(id, "bob@dead.example"); !waits(f) {
			t.Errorf("%+v", f)
		}
		for item, err := range w.Queue.List(t.Context(), queue.Filter{Status: queue.StatusHeld}, mail.ID{}) {
			if err != nil || item.Envelope.ID != id {
				t.Errorf("%+v %v", item, err)
			}
		}
	})
}

func TestSummary(t *testing.T) {
	world(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Site("dead.example", sim.DeadFor(day, sim.Good()))
		w.Site("slow.example", sim.SlowByTheByte(time.Hour))
		w.Site("grey.example", sim.Greylisting(time.Hour))
		for range 5 {
			w.Submit(me, "a@dead.example", "b@grey.example")
		}
		w.Submit(me, "c@slow.example")
		time.Sleep(time.Second)
		s, err := w.Queue.Summary(t.Context())
		if err != nil || s.Total != 11 || s.InAttempt != 1 || s.Waiting != 10 || s.Messages != 6 || len(s.Sites) != 3 {
			t.Errorf("%+v %v", s, err)
		}
		for _, at := range s.Sites {
			if at.Site == "dead.example" && (at.Why == "" || at.Next.Before(time.Now()) || at.Total != 5) {
				t.Errorf("%+v", at)
			}
		}
	})
}
