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
