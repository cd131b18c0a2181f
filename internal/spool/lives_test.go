package spool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// lives plays many random lives at once, so that segments hold stragglers, ends
// of messages elsewhere, standings of old messages and parts, and go.
type lives struct {
	t    *testing.T
	j    *Journal
	m    *model
	k    *keeper
	rng  *rand.Rand
	live []int
	next int
}

func (l *lives) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lives) step() {
	switch p := l.rng.IntN(100); {
	case p < 30 && len(l.live) < 40 || len(l.live) == 0:
		size := l.rng.IntN(1500)
		if l.rng.IntN(10) == 0 {
			size = 900 + l.rng.IntN(6000) // with parts
		}
		l.must(l.m.put(l.j, l.next, 1+l.rng.IntN(3), strings.Repeat("b", size)))
		l.live = append(l.live, l.next)
		l.next++
	case p < 60:
		n := l.pick()
		r := l.rng.IntN(len(l.m.messages[testID(n)].env.Recipients))
		u := testWaits(n, r, l.rng.IntN(1000))
		switch l.rng.IntN(4) {
		case 0:
			u = testState(n, r, mail.Held, false)
		case 1:
			u = testState(n, r, mail.Delivered, l.rng.IntN(2) == 0)
		}
		l.must(l.j.Intend(context.Background(), testID(n), []int{r}))
		l.must(l.m.record(l.j, u))
	case p < 80:
		n := l.pick()
		l.must(l.m.finish(l.j, n))
		l.live = slices.DeleteFunc(l.live, func(x int) bool { return x == n })
	default:
		l.k.tend()
	}
}

// pick prefers the young: the old become stragglers.
func (l *lives) pick() int {
	i := len(l.live) - 1 - int(float64(len(l.live))*l.rng.Float64()*l.rng.Float64())
	return l.live[max(i, 0)]
}

func TestPowerCutInRandomLives(t *testing.T) {
	seeds, steps := uint64(12), 400
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { randomLives(t, seed, steps) })
	}
}

func randomLives(t *testing.T, seed uint64, steps int) {
	mem := vfs.NewCrashableMem()
	m := &model{messages: map[mail.ID]*modelled{}}
	rng := rand.New(rand.NewPCG(seed, 0))
	var mu sync.Mutex
	var moments []moment
	fs := &crashFS{FS: mem}
	fs.hook = func(op string) {
		mu.Lock()
		defer mu.Unlock()
		often := 150
		if strings.Contains(op, "/journal") {
			often = 20
		}
		if strings.HasPrefix(op, "remove") {
			often = 4
		}
		if rng.IntN(often) > 0 {
			return
		}
		before := m.clone()
		clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * rng.IntN(3), RNG: rng})
		moments = append(moments, moment{fmt.Sprintf("%d: %s", len(moments), op), clone, before, m.clone()})
	}
	o := smallOptions
	o.FS = fs
	removed := 0
	o.Events = event.SinkFunc(func(e event.Event) {
		if _, ok := e.(event.SpoolCompacted); ok {
			removed++
		}
	})
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	l := &lives{t: t, j: j, m: m, rng: rand.New(rand.NewPCG(seed, 1)), k: &keeper{j: j, stuck: map[uint32]time.Time{}}}
	for range steps {
		l.step()
	}
	for range 30 {
		l.k.tend()
	}
	st := j.Stat()
	if err := check(j, m.clone(), m.clone()); err != nil {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	// Space is bounded by what lives: at a quarter full, a segment is emptied.
	if st.JournalBytes > 5*(st.Bytes+500*st.Messages)+4*o.SegmentBytes {
		t.Errorf("the journal has %d octets for %d messages of %d octets", st.JournalBytes, st.Messages, st.Bytes)
	}
	t.Logf("%d crashes, %d messages, %d segments removed, %d left with %d octets for %d",
		len(moments), l.next, removed, st.Segments, st.JournalBytes, st.Bytes)
	for _, c := range moments {
		if err := recovers(c); err != nil {
			t.Fatalf("%s:\n%v", c.op, err)
		}
	}
}

// settle makes a model of what a recovered spool has.
func (m *model) settle(t *testing.T, j *Journal) (live []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, x := range m.messages {
		env, err := j.Envelope(context.Background(), id)
		if err != nil {
			x.finished = granted // lost or finished: it must not come back from here on
			continue
		}
		x.accepted, x.finished = granted, unasked
		for r := range env.Recipients {
			x.news[r] = &modelNews{asked: []mail.Standing{env.Recipients[r].Standing}}
		}
		live = append(live, int(id[8])<<8|int(id[9]))
	}
	slices.Sort(live)
	return live
}

// TestPowerCutsInARow: a life goes on after each crash, and crashes again, also
// in the middle of what the crash before had left half done.
func TestPowerCutsInARow(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { cutsInARow(t, seed) })
	}
}

func cutsInARow(t *testing.T, seed uint64) {
	const generations, steps = 12, 60
	rng := rand.New(rand.NewPCG(seed, 3))
	mem := vfs.NewCrashableMem()
	m := &model{messages: map[mail.ID]*modelled{}}
	next := 0
	for g := range generations {
		var mu sync.Mutex
		var crash moment
		fs := &crashFS{FS: mem}
		from := mem
		fs.hook = func(op string) {
			mu.Lock()
			defer mu.Unlock()
			// The moments of interest are those around copying and removing.
			often := 60
			if strings.HasPrefix(op, "remove") || strings.Contains(op, segmentSuffix) {
				often = 6
			}
			if crash.fs != nil && rng.IntN(often) > 0 {
				return
			}
			before := m.clone()
			clone := from.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * rng.IntN(3), RNG: rng})
			crash = moment{fmt.Sprintf("generation %d: %s", g, op), clone, before, m.clone()}
		}
		o := smallOptions
		o.FS = fs
		j, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		live := m.settle(t, j)
		l := &lives{t: t, j: j, m: m, live: live, next: next, rng: rand.New(rand.NewPCG(seed, uint64(g))), k: &keeper{j: j, stuck: map[uint32]time.Time{}}}
		for range steps {
			l.step()
		}
		next = l.next
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		// One copy is taken apart, the other lives on.
		probe := crash
		probe.fs = crash.fs.CrashClone(vfs.CrashCloneCfg{})
		probe.before, probe.after = crash.before.clone(), crash.after.clone()
		if err := recovers(probe); err != nil {
			t.Fatalf("%s:\n%v", crash.op, err)
		}
		mem, m = crash.fs, crash.after
	}
}
