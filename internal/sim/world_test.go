package sim

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/deliver"
	"paquebot/internal/queue"
	"paquebot/internal/shaping"
	"paquebot/internal/spool"
)

var seedFlag = flag.Uint64("seed", 0, "run this seed alone (or SIM_SEED)")

// seeds are those of a run: the one asked for, or a few.
func seeds(t *testing.T) []uint64 {
	if *seedFlag != 0 {
		return []uint64{*seedFlag}
	}
	if s := os.Getenv("SIM_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("SIM_SEED=%q: %v", s, err)
		}
		return []uint64{n}
	}
	return []uint64{1, 2}
}

// TestWorld lets six days pass in a world of difficult sites. At the end every
// message was delivered or bounced, once; no limit was exceeded in any window;
// the watchdog found nothing to do (P2); the spool is empty.
func TestWorld(t *testing.T) {
	each(t, "TestWorld", difficultWorld)
}

// each runs a world for every seed, in virtual time. A failure says how to see
// it again.
func each(t *testing.T, name string, world func(*testing.T, uint64)) {
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { world(t, seed) })
			if t.Failed() {
				t.Logf("again: SIM_SEED=%d go test ./internal/sim -run '%s$'", seed, name)
			}
		})
	}
}

func difficultWorld(t *testing.T, seed uint64) {
	limits := []shaping.Limits{
		{Site: "good.example", Connections: 3, Rate: shaping.Rate{Messages: 60, Per: time.Minute}},
		{Site: "slow.example", Connections: 5},
		{Site: "*", Connections: 8},
	}
	w := NewWorld(t, seed, Options{Shaping: shaping.Config{Rules: limits}, Queue: queue.Config{FreshMax: 300, Window: 16}})
	w.Site("good.example", Good())
	w.Site("grey.example", Greylisting(10*minute))
	w.Site("dead.example", DeadFor(2*day, Good()))
	w.Site("gone.example", DeadFor(100*day, Good()))
	w.Site("busy.example", BusyAfter(10))
	w.Site("silent.example", SilentAfterData(20))
	w.Site("slow.example", SlowByTheByte(20*minute))
	w.Site("liar.example", Lying(4))
	w.Site("choosy.example", Choosy())
	w.Site("moody.example", Moody(Good(), DeadFor(day, Good()), Choosy(), Lying(3), BusyAfter(5)))
	sites := []string{"good", "grey", "dead", "gone", "busy", "silent", "slow", "liar", "choosy", "moody", "nowhere"}
	w.Start()

	const messages = 500
	for i := range messages {
		from := fmt.Sprintf("user%d@%s", w.IntN(5), here)
		var to []string
		for j := range 1 + w.IntN(4) {
			local := "ok"
			if w.IntN(4) == 0 {
				local = "bad"
			}
			domain := sites[w.IntN(len(sites))] + ".example"
			if w.IntN(3) == 0 {
				domain = fmt.Sprintf("d%d.%s", w.IntN(3), domain) // another domain of the site
			}
			to = append(to, fmt.Sprintf("%s%d.%d@%s", local, i, j, domain))
		}
		w.Submit(from, to...)
		time.Sleep(time.Duration(w.IntN(60)) * time.Second)
		if i == messages/2 {
			w.Stop() // a restart
			w.Start()
		}
	}
	time.Sleep(6 * day)
	w.Stop()

	w.verdict(t)
	for site, most := range w.insideMax {
		if limit := w.Shaper.Limits(site).Connections; most > limit {
			t.Errorf("%s: %d attempts at once, %d allowed", site, most, limit)
		}
	}
	if n := w.MostIn("good.example", time.Minute); n > 60 {
		t.Errorf("good.example: %d messages in a minute", n)
	}
}

// TestWorldOnTheWire is the same with the real deliverer and SMTP client,
// against peers that speak the protocol and misbehave.
func TestWorldOnTheWire(t *testing.T) {
	each(t, "TestWorldOnTheWire", wireWorld)
}

// wired makes a world whose mail really goes over its network.
func wired(t *testing.T, seed uint64, o Options) *World {
	o.Courier = func(w *World) queue.Courier {
		return deliver.New(deliver.Config{Hostname: "mx." + here, Pool: deliver.PoolLimits{Idle: 10 * time.Second}}, deliver.Needs{
			Dial: func(ctx context.Context, network, addr string, src netip.Addr) (net.Conn, error) {
				return w.Net.DialFrom(ctx, src, network, addr)
			}})
	}
	w := NewWorld(t, seed, o)
	w.AddPeer(here, Manner{Chunking: true})
	w.AddPeer("good.example", Manner{Chunking: true, DSN: true})
	w.AddPeer("plain.example", Manner{Plain: true})
	w.AddPeer("grey.example", GreylistingManner(10*minute))
	w.AddPeer("dead.example", Manner{})
	w.AddPeer("busy.example", Manner{PerMinute: 5})
	w.AddPeer("liar.example", w.LyingManner(4, false))
	w.AddPeer("chunkliar.example", w.LyingManner(4, true))
	w.AddPeer("choosy.example", ChoosyManner())
	w.AddPeer("refusing.example", RefusingManner())
	w.AddPeer("abrupt.example", Manner{HangUpAfter: 2, Chunking: true})
	w.Fault("dead.example", Refused)
	return w
}

// submitTo sends a message to some of the sites.
func (w *World) submitTo(i int, sites []string) {
	var to []string
	for j := range 1 + w.IntN(4) {
		local := []string{"ok", "ok", "bad", "tired"}[w.IntN(4)]
		to = append(to, fmt.Sprintf("%s%d.%d@%s.example", local, i, j, sites[w.IntN(len(sites))]))
	}
	w.Submit(fmt.Sprintf("user%d@%s", w.IntN(5), here), to...)
}

func wireWorld(t *testing.T, seed uint64) {
	limits := []shaping.Limits{{Site: "*", Connections: 4}}
	w := wired(t, seed, Options{Shaping: shaping.Config{Rules: limits}, Queue: queue.Config{FreshMax: 200, Window: 16, WatchEvery: hour}})
	defer w.Close()
	w.AddPeer("gone.example", Manner{})
	w.AddPeer("mute.example", MuteManner(10))
	w.AddPeer("slow.example", Manner{Drip: 2 * time.Second})
	w.AddPeer("garbage.example", Manner{Garbage: true})
	w.AddPeer("closed.example", Manner{Greeting: func() string { return "554 5.3.2 No mail today" }})
	sites := []string{"good", "plain", "grey", "dead", "gone", "busy", "mute", "slow", "liar", "chunkliar", "choosy", "refusing", "garbage", "abrupt", "closed", "nowhere"}
	w.Fault("gone.example", Silent)
	w.Start()

	const messages = 250
	for i := range messages {
		w.submitTo(i, sites)
		time.Sleep(time.Duration(w.IntN(120)) * time.Second)
		if i == messages/2 {
			w.Stop() // a restart
			w.Start()
		}
	}
	time.Sleep(day)
	w.Fault("dead.example", Healthy)
	time.Sleep(5 * day)
	w.Stop()
	w.verdict(t)
}

// verdict is what must hold at the end of every world.
func (w *World) verdict(t *testing.T) {
	for _, wrong := range w.Check() {
		t.Error(wrong)
	}
	if n := w.Spool.Stat().Messages; n != 0 {
		t.Errorf("%d messages are left", n)
	}
	t.Logf("%d duplicates after lost replies", w.Duplicates())
}

// TestPowerCuts stops the world under load, again and again, with the journal on
// a disk that loses what was not synced. P1: nothing accepted is lost; P3: no
// more duplicates than attempts were in flight.
func TestPowerCuts(t *testing.T) {
	each(t, "TestPowerCuts", powerCuts)
}

func powerCuts(t *testing.T, seed uint64) {
	disk := vfs.NewCrashableMem()
	open := func() spool.Spool {
		j, err := spool.Open(spool.Options{FS: disk, Dir: "spool", Linger: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	terms := queue.Terms{Expire: 8 * hour, ExpireNull: 4 * hour, NotifyDelay: 2 * hour}
	w := wired(t, seed, Options{Spool: open(), Queue: queue.Config{Terms: terms, FreshMax: 30, Window: 8, WatchEvery: hour}})
	defer func() { w.Close(); w.Spool.Close() }()
	w.Start()
	sites := []string{"good", "plain", "grey", "dead", "busy", "liar", "choosy", "refusing", "abrupt", "nowhere"}
	for cut := range 8 {
		for i := range 40 {
			w.submitTo(100*cut+i, sites)
		}
		time.Sleep(time.Duration(w.IntN(60)) * time.Millisecond)
		if cut%4 == 3 { // an orderly restart now and then
			w.Stop()
			w.Spool.Close()
			w.Spool = open()
			w.Start()
			continue
		}
		again := w.Crash(func() {
			disk = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: w.IntN(101), RNG: rand.New(rand.NewPCG(seed, uint64(cut)))})
		}, open)
		t.Logf("cut %d makes %d duplicates", cut, again)
		time.Sleep(time.Duration(w.IntN(20)) * time.Minute)
	}
	w.Fault("dead.example", Healthy)
	time.Sleep(14 * hour)
	w.Stop()
	w.verdict(t)
}
