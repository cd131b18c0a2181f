package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/queue"
	"paquebot/internal/shaping"
	"paquebot/internal/sim"
	"paquebot/internal/smtp"
	"paquebot/internal/spool"
)

const (
	day = 24 * time.Hour
	me  = "me@here.example"
)

// world runs a test in virtual time with a queue that is started and, at the
// end, stopped; then the books must be right if the test says so.
func world(t *testing.T, o sim.Options, test func(t *testing.T, w *sim.World)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := sim.NewWorld(t, 1, o)
		w.Start()
		defer w.Stop()
		test(t, w)
	})
}

func about(got, want, slack time.Duration) bool { return got >= want-slack && got <= want+slack }

func TestAMessageIsDeliveredAtOnceAndForgotten(t *testing.T) {
	world(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Site("good.example", sim.Good())
		id := w.Submit(me, "bob@good.example")
		time.Sleep(time.Second)
		if f := w.Fate(id, "bob@good.example"); f.Deliveries != 1 || f.At.Sub(w.Began) != 200*time.Millisecond {
			t.Errorf("%+v", f)
		}
		if n := w.Spool.Stat().Messages; n != 0 {
			t.Errorf("%d messages left", n)
		}
		time.Sleep(time.Hour)
		if known, fresh := w.Queue.InMemory(); known != 0 || fresh != 0 || w.Queue.Sites() != 0 || w.Queue.Lines() != 0 {
			t.Errorf("remembers %d, %d, %d sites, %d lines", known, fresh, w.Queue.Sites(), w.Queue.Lines())
		}
	})
}

// told after four hours, given up after exactly five days, told once.
func TestGivesUpAfterFiveDays(t *testing.T) {
	world(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Site("dead.example", sim.DeadFor(100*day, sim.Good()))
		for range 300 { // most are never tried themselves: the site backs off
			w.Submit(me, "x@dead.example")
		}
		id := w.Submit(me, "bob@dead.example")
		sent := time.Now()
		time.Sleep(4*time.Hour + time.Minute)
		if f := w.Fate(id, "bob@dead.example"); f.Delays != 1 || !about(f.Told.Sub(sent), 4*time.Hour, 10*time.Second) {
			t.Errorf("delay: %+v", f)
		}
		time.Sleep(5*day - 4*time.Hour)
		f := w.Fate(id, "bob@dead.example")
		if f.Bounces != 1 || f.Delays != 1 || !about(f.Settled.Sub(sent), 5*day, 3*time.Second) {
			t.Errorf("end: %+v, settled after %v", f, f.Settled.Sub(sent))
		}
		if f.Standing.Last.Reply.Code != smtp.NoHost.Code {
			t.Errorf("one that was never tried is told %v", f.Standing.Last.Reply)
		}
		if wrong := w.Check(); len(wrong) > 0 {
			t.Error(wrong[0], len(wrong))
		}
	})
}

func TestReportsLiveTwoDays(t *testing.T) { // Q-7, DSN-2
	world(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Site("dead.example", sim.DeadFor(100*day, sim.Good()))
		id := w.Submit("", "bob@dead.example")
		time.Sleep(2*day - time.Second)
		if f := w.Fate(id, "bob@dead.example"); !f.Settled.IsZero() {
			t.Errorf("too early: %+v", f)
		}
		time.Sleep(4 * time.Second)
		if f := w.Fate(id, "bob@dead.example"); f.Settled.IsZero() || f.Bounces+f.Delays != 0 {
			t.Errorf("%+v", f)
		}
	})
}

// counting counts what is written down.
type counting struct {
	spool.Spool
	updates atomic.Int64
}

func (c *counting) Record(ctx context.Context, updates []mail.Update) error {
	c.updates.Add(int64(len(updates)))
	return c.Spool.Record(ctx, updates)
}

// a dead site is one record, not a rewrite of its messages; one probe at a
// time; when it is back everything goes.
func TestADeadSiteBacksOffNotItsMessages(t *testing.T) {
	c := &counting{Spool: spool.NewMemory()}
	world(t, sim.Options{Spool: c}, func(t *testing.T, w *sim.World) {
		w.Site("dead.example", sim.DeadFor(3*time.Hour, sim.Good()))
		const messages = 500
		for i := range messages {
			w.SubmitWith(func(e *mail.Envelope) { e.Origin.Role = mail.RoleMX }, me, fmt.Sprintf("x%d@dead.example", i))
		}
		time.Sleep(time.Minute / 2)
		first := len(w.Visits("dead.example"))
		if first > 20 {
			t.Errorf("%d attempts found out that it is dead", first)
		}
		time.Sleep(3*time.Hour - time.Minute)
		probes := len(w.Visits("dead.example")) - first
		if probes < 6 || probes > 14 {
			t.Errorf("%d probes in three hours", probes)
		}
		if n := int(c.updates.Load()); n > first+probes+50 {
			t.Errorf("%d updates for %d attempts", n, first+probes)
		}
		time.Sleep(time.Hour)
		if n := w.Spool.Stat().Messages; n != 0 {
			t.Errorf("%d messages left after it came back", n)
		}
		if n := w.MostAtOnce("dead.example"); n > 20 {
			t.Errorf("%d at once", n)
		}
	})
}

// A domain whose DNS does not answer is one trouble too.
func TestADomainWithoutDNSBacksOff(t *testing.T) {
	c := &counting{Spool: spool.NewMemory()}
	world(t, sim.Options{Spool: c}, func(t *testing.T, w *sim.World) {
		w.Site("lost.example", sim.Good())
		w.LoseDNS("lost.example", 2*time.Hour)
		for i := range 200 {
			w.SubmitWith(func(e *mail.Envelope) { e.Origin.Role = mail.RoleMX }, me, fmt.Sprintf("x%d@lost.example", i))
		}
		time.Sleep(2*time.Hour - time.Minute)
		if n := c.updates.Load(); n > 40 {
			t.Errorf("%d updates while nothing could be looked up", n)
		}
		time.Sleep(5 * time.Hour)
		if n := w.Spool.Stat().Messages; n != 0 {
			t.Errorf("%d messages left", n)
		}
		if wrong := w.Check(); len(wrong) > 0 {
			t.Error(wrong[0], len(wrong))
		}
	})
}

// one sender's flood does not delay another's message.
func TestTenantsTakeTurns(t *testing.T) {
	o := sim.Options{Shaping: shaping.Config{Rules: []shaping.Limits{{Site: "*", Connections: 2}}}, Queue: queue.Config{FreshMax: 500, Window: 32}}
	world(t, o, func(t *testing.T, w *sim.World) {
		w.Site("good.example", sim.Good())
		for i := range 1000 {
			w.Submit("flood@here.example", fmt.Sprintf("x%d@good.example", i))
		}
		time.Sleep(10 * time.Second)
		id := w.Submit("patient@here.example", "y@good.example")
		sent := time.Now()
		time.Sleep(time.Hour)
		if f := w.Fate(id, "y@good.example"); f.At.Sub(sent) > time.Second {
			t.Errorf("waited %v behind another's flood", f.At.Sub(sent))
		}
		if n := w.Spool.Stat().Messages; n != 0 {
			t.Errorf("%d left", n)
		}
	})
}

// EXT-11: higher priority first, then the oldest first.
func TestPriorities(t *testing.T) {
	o := sim.Options{Shaping: shaping.Config{Rules: []shaping.Limits{{Site: "*", Connections: 1}}}}
	world(t, o, func(t *testing.T, w *sim.World) {
		w.Site("good.example", sim.Good())
		var ids []mail.ID
		for i, p := range []int{0, 0, 0, -3, 4, 4, 9} {
			ids = append(ids, w.SubmitWith(func(e *mail.Envelope) { e.Params.Priority = p }, me, fmt.Sprintf("x%d@good.example", i)))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Hour)
		want := []mail.ID{ids[0], ids[6], ids[4], ids[5], ids[1], ids[2], ids[3]}
		for i, id := range w.Order(ids...) {
			if id != want[i] {
				t.Errorf("place %d: %s, want %s", i, id, want[i])
			}
		}
	})
}

// EXT-10: nothing before the release, and the clocks start there.
func TestFutureRelease(t *testing.T) {
	world(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Site("good.example", sim.Good())
		w.Site("dead.example", sim.DeadFor(100*day, sim.Good()))
		release := time.Now().Add(3 * day)
		hold := func(e *mail.Envelope) { e.Params.ReleaseAt = release }
		id := w.SubmitWith(hold, me, "bob@good.example", "carol@dead.example")
		time.Sleep(time.Hour)
		for item, err := range w.Queue.List(t.Context(), queue.Filter{}, mail.ID{}) { // held mail is visible
			if err != nil || item.Status != queue.StatusWaiting || !item.Next.Equal(release) {
				t.Errorf("%+v %v", item, err)
			}
		}
		time.Sleep(10 * day)
		if f := w.Fate(id, "bob@good.example"); !about(f.At.Sub(release), 0, time.Second) {
			t.Errorf("left %v after its release", f.At.Sub(release))
		}
		if f := w.Fate(id, "carol@dead.example"); f.Bounces != 1 || !about(f.Settled.Sub(release), 5*day, time.Minute) {
			t.Errorf("expired %v after its release", f.Settled.Sub(release))
		}
	})
}

// EXT-9: with R the message fails at its deadline, with N the sender is told
// once and it goes on.
func TestDeliverBy(t *testing.T) {
	world(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Site("dead.example", sim.DeadFor(6*time.Hour, sim.Good()))
		by := func(ret bool) func(*mail.Envelope) {
			return func(e *mail.Envelope) {
				e.Origin.Role = mail.RoleMX
				e.Params.By = &mail.DeliverBy{Deadline: e.Arrived.Add(100 * time.Minute), Return: ret}
			}
		}
		r := w.SubmitWith(by(true), me, "r@dead.example")
		n := w.SubmitWith(by(false), me, "n@dead.example")
		sent := time.Now()
		time.Sleep(day)
		if f := w.Fate(r, "r@dead.example"); f.Bounces != 1 || !about(f.Settled.Sub(sent), 100*time.Minute, time.Second) {
			t.Errorf("R: %+v after %v", f, f.Settled.Sub(sent))
		}
		if f := w.Fate(n, "n@dead.example"); f.Deliveries != 1 || f.Delays != 1 || !about(f.Told.Sub(sent), 100*time.Minute, 2*time.Second) {
			t.Errorf("N: %+v", f)
		}
	})
}

// recipients of one message at one site go in one attempt, whatever their
// domains; also when they are tried again.
func TestRecipientsAtOneSiteGoTogether(t *testing.T) {
	world(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Site("grey.example", sim.Greylisting(5*time.Minute+time.Second))
		w.Submit(me, "a@grey.example", "b@x.grey.example", "c@y.grey.example", "d@grey.example")
		time.Sleep(time.Minute)
		if n := len(w.Visits("grey.example")); n != 1 {
			t.Errorf("first try in %d attempts", n)
		}
		time.Sleep(time.Hour)
		if n := len(w.Visits("grey.example")); n > 3 {
			t.Errorf("%d attempts in all", n)
		}
		if n := w.Spool.Stat().Messages; n != 0 {
			t.Error("not delivered")
		}
	})
}

// a recipient's trouble delays no other.
func TestEachRecipientHasItsOwnTime(t *testing.T) {
	world(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Site("good.example", sim.Good())
		w.Site("slow.example", sim.SlowByTheByte(30*time.Minute))
		w.Site("dead.example", sim.DeadFor(day, sim.Good()))
		id := w.Submit(me, "a@slow.example", "b@dead.example", "c@good.example", "d@nowhere.example")
		time.Sleep(2 * time.Second)
		if f := w.Fate(id, "c@good.example"); f.Deliveries != 1 {
			t.Errorf("the good one waits: %+v", f)
		}
		if f := w.Fate(id, "d@nowhere.example"); f.Bounces != 1 {
			t.Errorf("the impossible one is not told: %+v", f)
		}
		time.Sleep(2 * day)
		if wrong := w.Check(); len(wrong) > 0 {
			t.Error(wrong)
		}
	})
}

// P6: what is in memory does not grow with the queue.
func TestMemoryIsBounded(t *testing.T) {
	o := sim.Options{Queue: queue.Config{FreshMax: 100, Window: 32}}
	world(t, o, func(t *testing.T, w *sim.World) {
		w.Site("dead.example", sim.DeadFor(day, sim.Good()))
		for i := range 1000 {
			w.Submit(me, fmt.Sprintf("x%d@dead.example", i))
		}
		time.Sleep(time.Hour)
		if known, fresh := w.Queue.InMemory(); fresh > 100 || known > 100+32 {
			t.Errorf("%d recipients in memory, %d of them fresh", known, fresh)
		}
		if n := w.Queue.Alarms(); n > 100 {
			t.Errorf("%d alarms", n)
		}
		time.Sleep(2 * day)
		if n := w.Spool.Stat().Messages; n != 0 {
			t.Errorf("%d left", n)
		}
		if wrong := w.Check(); len(wrong) > 0 {
			t.Error(wrong[0], len(wrong))
		}
	})
}

// A dead site does not take the memory for fresh mail from the living.
func TestADeadSiteMakesRoom(t *testing.T) {
	c := &counting{Spool: spool.NewMemory()}
	o := sim.Options{Spool: c, Queue: queue.Config{FreshMax: 200, Window: 32}}
	world(t, o, func(t *testing.T, w *sim.World) {
		w.Site("dead.example", sim.DeadFor(day, sim.Good()))
		w.Site("good.example", sim.Good())
		for i := range 400 {
			w.Submit(me, fmt.Sprintf("x%d@dead.example", i))
			time.Sleep(time.Second)
		}
		before := c.updates.Load()
		for i := range 50 {
			w.Submit(me, fmt.Sprintf("y%d@good.example", i))
			time.Sleep(time.Second)
		}
		if n := c.updates.Load() - before; n > 10 {
			t.Errorf("%d updates for mail that is delivered at once", n)
		}
		time.Sleep(2 * day)
		if wrong := w.Check(); len(wrong) > 0 {
			t.Error(wrong[0], len(wrong))
		}
	})
}

// P2: whatever the scheduler forgets, the watchdog finds.
func TestWatchdogRepairs(t *testing.T) {
	world(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		w.Site("grey.example", sim.Greylisting(time.Hour))
		id := w.Submit(me, "a@grey.example")
		time.Sleep(2 * time.Minute)
		if err := w.Queue.Watch(t.Context()); err != nil || w.Stray() != 0 {
			t.Fatalf("%v, %d strays before anything was lost", err, w.Stray())
		}
		w.Queue.Forget()
		time.Sleep(20 * time.Minute)
		if w.Stray() != 1 {
			t.Errorf("%d strays found", w.Stray())
		}
		time.Sleep(day)
		if f := w.Fate(id, "a@grey.example"); f.Deliveries != 1 || w.Stray() != 1 {
			t.Errorf("%+v, %d strays", f, w.Stray())
		}
	})
}

// a crash between the end of a recipient and its report loses neither.
func TestAReportOwedSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.NewWorld(t, 1, sim.Options{})
		w.Site("good.example", sim.Good())
		w.Start()
		w.Stop()
		id := w.Submit(me, "bob@good.example", "carol@good.example")
		failed := mail.Standing{State: mail.Failed, Site: "good.example", Tries: 1, Last: mail.Outcome{Result: mail.Refused, Reply: smtp.NoMailbox}}
		if err := w.Spool.Record(t.Context(), []mail.Update{{Message: id, Recipient: 0, Standing: failed}}); err != nil {
			t.Fatal(err)
		}
		w.Start()
		time.Sleep(time.Minute)
		w.Stop()
		if f := w.Fate(id, "bob@good.example"); f.Bounces != 1 {
			t.Errorf("%+v", f)
		}
		if f := w.Fate(id, "carol@good.example"); f.Deliveries != 1 {
			t.Errorf("%+v", f)
		}
		if n := w.Spool.Stat().Messages; n != 0 {
			t.Errorf("%d left", n)
		}
	})
}

// What an attempt taught is not lost because the disk is sick for a while.
func TestOutcomesOutliveASickSpool(t *testing.T) {
	memory := spool.NewMemory()
	world(t, sim.Options{Spool: memory}, func(t *testing.T, w *sim.World) {
		w.Site("slow.example", sim.SlowByTheByte(time.Minute))
		id := w.Submit(me, "a@slow.example")
		time.Sleep(time.Second)
		memory.Refuse(errors.New("sick"))
		time.Sleep(10 * time.Minute)
		memory.Refuse(nil)
		time.Sleep(time.Hour)
		if f := w.Fate(id, "a@slow.example"); f.Deliveries != 1 || memory.Stat().Messages != 0 {
			t.Errorf("%+v, %d left", f, memory.Stat().Messages)
		}
	})
}

// Stopping lets attempts in flight end, within bounds.
func TestDrain(t *testing.T) {
	for _, row := range []struct {
		takes, wait time.Duration
		delivered   int
	}{
		{10 * time.Second, 10 * time.Second, 1},
		{50 * time.Minute, 20 * time.Second, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := sim.NewWorld(t, 1, sim.Options{})
			w.Site("slow.example", sim.SlowByTheByte(row.takes))
			w.Start()
			id := w.Submit(me, "a@slow.example")
			synctest.Wait()
			begin := time.Now()
			w.Stop()
			if waited := time.Since(begin); waited != row.wait {
				t.Errorf("stopped after %v", waited)
			}
			if f := w.Fate(id, "a@slow.example"); f.Deliveries != row.delivered {
				t.Errorf("%+v", f)
			}
			w.Start()
			time.Sleep(2 * time.Hour)
			w.Stop()
			if f := w.Fate(id, "a@slow.example"); f.Deliveries != 1 {
				t.Errorf("after the restart: %+v", f)
			}
		})
	}
}

// a clock that was set back leaves due times far in the future. They are
// not waited for; mail to be released then is.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.NewWorld(t, 1, sim.Options{})
		w.Site("good.example", sim.Good())
		w.Start()
		w.Stop()
		id := w.Submit(me, "a@good.example")
		far := time.Now().Add(30 * day)
		released := w.SubmitWith(func(e *mail.Envelope) { e.Params.ReleaseAt = far }, me, "b@good.example")
		s := mail.Standing{Due: far, Site: "good.example", Tries: 3}
		if err := w.Spool.Record(t.Context(), []mail.Update{{Message: id, Recipient: 0, Standing: s}}); err != nil {
			t.Fatal(err)
		}
		w.Start()
		time.Sleep(day)
		if f := w.Fate(id, "a@good.example"); f.Deliveries != 1 {
			t.Errorf("waits for a time that is an error: %+v", f)
		}
		if f := w.Fate(released, "b@good.example"); f.Deliveries != 0 {
			t.Error("released too early")
		}
		time.Sleep(30 * day)
		w.Stop()
		if f := w.Fate(released, "b@good.example"); !about(f.At.Sub(far), 0, time.Second) {
			t.Errorf("released %v", f.At.Sub(far))
		}
	})
}

func TestWalkersCountIDs(t *testing.T) {
	ids, _ := mail.NewIDs(zeros{})
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	id := ids.Next(at)
	if !queue.IDAt(at).Time().Equal(at) || string(ptr(queue.IDAt(at))) > string(ptr(id)) {
		t.Error("IDAt is not before the IDs of its time")
	}
	if next := queue.AfterID(id); string(ptr(next)) <= string(ptr(id)) {
		t.Error("AfterID is not after")
	}
	if got := queue.AfterID(mail.ID{0: 1, 9: 255}); got != (mail.ID{0: 1, 8: 1}) {
		t.Errorf("no carry: %x", got)
	}
}

func ptr(id mail.ID) []byte { return id[:] }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// sickOnce refuses to record for a while.
type sickOnce struct {
	spool.Spool
	until time.Time
}

func (s *sickOnce) Record(ctx context.Context, updates []mail.Update) error {
	if time.Now().Before(s.until) {
		return spool.ErrFull
	}
	return s.Spool.Record(ctx, updates)
}

// EXT-10: a disk that is full for a while is no reason to release early.
func TestFutureReleaseOnASickSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := sim.NewWorld(t, 1, sim.Options{Spool: &sickOnce{spool.NewMemory(), time.Now().Add(5 * time.Minute)}})
		w.Site("good.example", sim.Good())
		w.Start()
		release := time.Now().Add(time.Hour)
		id := w.SubmitWith(func(e *mail.Envelope) { e.Params.ReleaseAt = release }, me, "bob@good.example", "carol@good.example")
		time.Sleep(day)
		w.Stop()
		if f := w.Fate(id, "bob@good.example"); f.Deliveries != 1 || !about(f.At.Sub(release), 0, time.Second) || w.Stray() != 0 {
			t.Errorf("left %v after its release: %+v, %d strays", f.At.Sub(release), f, w.Stray())
		}
	})
}

// What is owed for a recipient is told after a crash, and a message for which
// nothing is owed after all ends.
func TestDebtsAreSettled(t *testing.T) {
	for _, row := range []struct {
		name      string
		by        *mail.DeliverBy
		notify    mail.Notify
		successes int
	}{
		{"nothing", nil, 0, 0},
		{"success", nil, mail.NotifySuccess, 1},
		{"BY mode N, a hop without DSN", &mail.DeliverBy{}, 0, 1},
		{"BY mode N, but NEVER", &mail.DeliverBy{}, mail.NotifyNever, 0},
		{"BY mode R", &mail.DeliverBy{Return: true}, 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := sim.NewWorld(t, 1, sim.Options{})
				w.Site("here.example", sim.Good())
				w.Start()
				w.Stop()
				id := w.SubmitWith(func(e *mail.Envelope) {
					e.Params.By, e.Recipients[0].Notify = row.by, row.notify
				}, me, "bob@good.example")
				done := mail.Standing{State: mail.Delivered, Tries: 1, Last: mail.Outcome{Result: mail.Accepted, Reply: smtp.OK, NoDSN: true}}
				if err := w.Spool.Record(t.Context(), []mail.Update{{Message: id, Standing: done}}); err != nil {
					t.Fatal(err)
				}
				w.Start()
				time.Sleep(time.Hour)
				w.Stop()
				if f := w.Fate(id, "bob@good.example"); f.Successes != row.successes || w.Stray() != 0 {
					t.Errorf("%+v, %d strays", f, w.Stray())
				}
				if n := w.Spool.Stat().Messages; n != 0 {
					t.Errorf("%d left", n)
				}
			})
		})
	}
}

// damaged has the records of messages, but the bodies of all but reports cannot
// be read.
type damaged struct{ spool.Spool }

func (d damaged) Open(ctx context.Context, id mail.ID) (*mail.Envelope, mail.Body, error) {
	env, body, err := d.Spool.Open(ctx, id)
	if err != nil || env.From == "" {
		return env, body, err
	}
	body.Close()
	return nil, nil, fmt.Errorf("segment 1: %w", spool.ErrDamaged)
}

// alarms counts what an operator hears of a damaged message.
type alarms struct{ read, report atomic.Int32 }

func (a *alarms) Emit(e event.Event) {
	switch e.(type) {
	case event.SpoolTroubled:
		a.read.Add(1)
	case event.ReportFailed:
		a.report.Add(1)
	}
}

// P1: whose message cannot be read any more is told so, without it; the operator
// hears of it once.
func TestADamagedMessageIsBounced(t *testing.T) {
	var heard alarms
	world(t, sim.Options{Spool: damaged{spool.NewMemory()}, Events: &heard}, func(t *testing.T, w *sim.World) {
		w.Site("good.example", sim.Good())
		id := w.Submit(me, "bob@good.example")
		time.Sleep(5*day + time.Hour)
		if f := w.Fate(id, "bob@good.example"); f.Bounces != 1 || f.Deliveries != 0 {
			t.Errorf("%+v", f)
		}
		if heard.read.Load() != 1 || heard.report.Load() != 0 {
			t.Errorf("told %d times", heard.read.Load())
		}
	})
}

// closedTo refuses new messages from one time on, for a while.
type closedTo struct {
	spool.Spool
	from, until time.Time
}

func (c *closedTo) NewDraft() spool.Draft {
	return closedDraft{c.Spool.NewDraft(), c}
}

type closedDraft struct {
	spool.Draft
	c *closedTo
}

func (d closedDraft) Commit(ctx context.Context, env *mail.Envelope, head []byte) error {
	if now := time.Now(); now.After(d.c.from) && now.Before(d.c.until) {
		return spool.ErrFull
	}
	return d.Draft.Commit(ctx, env, head)
}

// word of a delay that cannot be handed in is sent later, and once.
func TestADelayIsToldLater(t *testing.T) {
	var heard alarms
	synctest.Test(t, func(t *testing.T) {
		c := &closedTo{spool.NewMemory(), time.Now().Add(time.Minute), time.Now().Add(6 * time.Hour)}
		w := sim.NewWorld(t, 1, sim.Options{Spool: c, Events: &heard, Queue: queue.Config{Terms: queue.Terms{NotifyDelay: 4 * time.Hour}}})
		w.Site("dead.example", sim.DeadFor(day, sim.Good()))
		w.Start()
		sent := time.Now()
		id := w.Submit(me, "bob@dead.example", "carol@dead.example")
		time.Sleep(2 * day)
		w.Stop()
		for _, to := range []string{"bob@dead.example", "carol@dead.example"} {
			if f := w.Fate(id, to); f.Delays != 1 || f.Deliveries != 1 || !about(f.Told.Sub(sent), 6*time.Hour, 2*time.Minute) {
				t.Errorf("%+v, told after %v", f, f.Told.Sub(sent))
			}
		}
		if heard.report.Load() != 1 {
			t.Errorf("said %d times", heard.report.Load())
		}
	})
}
