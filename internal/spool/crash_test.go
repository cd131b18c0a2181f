package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/mail"
)

// The crash test: a scenario runs on a file system that is copied, as a power
// cut would leave it, before every single operation that changes it. Each copy
// is recovered and compared with a model of what was promised by then (P1 to
// P3): nothing acknowledged is lost, nothing refused comes back, every
// recipient has exactly one state and exactly one place.

var testStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func testID(n int) mail.ID { return mail.ID{1, 0, 0, 0, 0, 0, 0, 0, byte(n >> 8), byte(n)} }

// model is what was asked for and what was promised.
type model struct {
	mu       sync.Mutex
	messages map[mail.ID]*modelled
}

type modelled struct {
	content  string
	env      *mail.Envelope
	accepted promise
	finished promise
	news     map[int]*modelNews
}

// promise is how a wish stands.
type promise int

const (
	unasked promise = iota
	asked
	granted
	refused
)

type modelNews struct {
	asked   []mail.Standing // in order; the first is the standing at acceptance
	granted int             // index of the newest that was acknowledged
}

func (m *model) clone() *model {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &model{messages: map[mail.ID]*modelled{}}
	for id, x := range m.messages {
		y := *x
		y.news = map[int]*modelNews{}
		for r, n := range x.news {
			y.news[r] = &modelNews{slices.Clone(n.asked), n.granted}
		}
		c.messages[id] = &y
	}
	return c
}

func (m *model) put(j *Journal, n, recipients int, body string) error {
	env := &mail.Envelope{ID: testID(n), Arrived: testStart, From: "sender@example.com"}
	x := &modelled{env: env, content: "Subject: x\r\n\r\n" + body, accepted: asked, news: map[int]*modelNews{}}
	for r := range recipients {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: fmt.Sprintf("r%d@example.net", r)})
		x.news[r] = &modelNews{asked: []mail.Standing{{}}}
	}
	m.mu.Lock()
	m.messages[env.ID] = x
	m.mu.Unlock()
	d := j.NewDraft()
	_, err := io.WriteString(d, body)
	if err == nil {
		err = d.Commit(context.Background(), env, []byte("Subject: x\r\n\r\n"))
	}
	d.Discard()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil:
		x.accepted = granted
	case !errors.Is(err, ErrUnknown):
		x.accepted = refused
	}
	return err
}

func (m *model) record(j *Journal, us ...mail.Update) error {
	m.mu.Lock()
	for _, u := range us {
		n := m.messages[u.Message].news[u.Recipient]
		n.asked = append(n.asked, u.Standing)
	}
	m.mu.Unlock()
	err := j.Record(context.Background(), us)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range us {
		if err == nil {
			n := m.messages[u.Message].news[u.Recipient]
			n.granted = len(n.asked) - 1
		}
	}
	return err
}

func (m *model) finish(j *Journal, ns ...int) error {
	var ids []mail.ID
	m.mu.Lock()
	for _, n := range ns {
		ids = append(ids, testID(n))
		m.messages[testID(n)].finished = asked
	}
	m.mu.Unlock()
	err := j.Finish(context.Background(), ids...)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if err == nil {
			m.messages[id].finished = granted
		}
	}
	return err
}

func testWaits(n, r int, minutes int) mail.Update {
	return mail.Update{Message: testID(n), Recipient: r, Standing: mail.Standing{
		State: mail.Waiting, Site: fmt.Sprintf("site%d", n%3), Due: testStart.Add(time.Duration(minutes) * time.Minute), Tries: uint32(minutes)}}
}

func testState(n, r int, s mail.State, reported bool) mail.Update {
	return mail.Update{Message: testID(n), Recipient: r, Standing: mail.Standing{State: s, Reported: reported}}
}

// check compares a recovered spool with the model before the copy was made
// (what was granted then must be there) and after (what was asked by then may).
func check(j *Journal, before, after *model) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	var total counts
	loose := map[mail.ID]bool{}
	places := map[string]bool{}
	for id, x := range after.messages {
		was := before.messages[id]
		if was == nil {
			was = &modelled{news: map[int]*modelNews{}}
		}
		env, body, err := j.Open(context.Background(), id)
		if errors.Is(err, ErrNotFound) {
			if was.accepted == granted && x.finished == unasked {
				fail("%v was accepted and is lost", id)
			}
			continue
		}
		if err != nil {
			fail("%v: %w", id, err)
			continue
		}
		if was.finished == granted {
			fail("%v was finished and came back", id)
		}
		if was.accepted == refused {
			fail("%v was refused and came to life", id)
		}
		b, err := io.ReadAll(mail.Reader(body))
		if err != nil || string(b) != x.content {
			fail("%v: content of %d octets, want %d, error %v", id, len(b), len(x.content), err)
		}
		body.Close()
		total.messages++
		total.octets += env.Size
		if Loose(env) {
			loose[id] = true
		}
		for r := range env.Recipients {
			s := env.Recipients[r].Standing
			n := x.news[r]
			first := 0
			if w := was.news[r]; w != nil {
				first = w.granted
			}
			if !slices.ContainsFunc(n.asked[first:], func(a mail.Standing) bool { return same(a, s) }) {
				fail("%v: recipient %d stands as %+v, want one of %+v", id, r, s, n.asked[first:])
			}
			total.recipients++
			total.states[s.State]++
			if !s.State.Final() && !Fresh(&s) {
				places[placeName(Entry{ID: id, Recipient: r, Due: s.Due}, s.Site, s.State == mail.Held)] = true
			}
		}
	}
	errs = append(errs, checkPlaces(j, places)...)
	for env, err := range j.Recover(context.Background()) {
		if err != nil {
			fail("recover: %w", err)
		} else if !loose[env.ID] {
			fail("%v is yielded by Recover, and is not loose or twice", env.ID)
		} else {
			delete(loose, env.ID)
		}
	}
	for id := range loose {
		fail("%v is loose, and Recover does not yield it", id)
	}
	st := j.Stat()
	if st.Messages != total.messages || st.Recipients != total.recipients || st.Bytes != total.octets || st.States != total.states {
		fail("stat %+v, want %+v", st, total)
	}
	return errors.Join(errs...)
}

func same(a, b mail.Standing) bool {
	return a.State == b.State && a.Due.Equal(b.Due) && a.Site == b.Site && a.Tries == b.Tries && a.Reported == b.Reported
}

func placeName(e Entry, site string, held bool) string {
	return fmt.Sprint(e.ID, e.Recipient, e.Due.UnixNano(), site, held)
}

// checkPlaces: everything that waits or is held has exactly one place (P2).
func checkPlaces(j *Journal, want map[string]bool) (errs []error) {
	seen := func(name string) {
		if !want[name] {
			errs = append(errs, fmt.Errorf("a place that is nobody's, or twice: %s", name))
		}
		delete(want, name)
	}
	for l, err := range j.Lines(context.Background()) {
		if err != nil {
			return []error{err}
		}
		es, err := j.Waiting(context.Background(), l.Site, l.Tenant, l.Priority, Entry{}, 1e6)
		if err != nil {
			return []error{err}
		}
		for _, e := range es {
			seen(placeName(e, l.Site, false))
		}
	}
	es, err := j.Held(context.Background(), Entry{}, 1e6)
	if err != nil {
		return []error{err}
	}
	for _, e := range es {
		seen(placeName(e, "", true))
	}
	for name := range want {
		errs = append(errs, fmt.Errorf("no place: %s", name))
	}
	return errs
}

// moment is one crash.
type moment struct {
	op            string
	fs            *vfs.MemFS
	before, after *model
}

// crashFS tells hook before every operation that changes something.
type crashFS struct {
	vfs.FS
	hook func(op string)
}

func (f *crashFS) wrap(name string, file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &crashFile{File: file, fs: f, name: name}, nil
}

func (f *crashFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f.hook("create " + name)
	file, err := f.FS.Create(name, c)
	return f.wrap(name, file, err)
}

func (f *crashFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	return f.wrap(name, file, err)
}

func (f *crashFS) Remove(name string) error {
	f.hook("remove " + name)
	return f.FS.Remove(name)
}

func (f *crashFS) Rename(a, b string) error {
	f.hook("rename " + a)
	return f.FS.Rename(a, b)
}

type crashFile struct {
	vfs.File
	fs   *crashFS
	name string
}

func (f *crashFile) Write(p []byte) (int, error) {
	f.fs.hook("write " + f.name)
	return f.File.Write(p)
}

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.hook("writeat " + f.name)
	return f.File.WriteAt(p, off)
}

func (f *crashFile) Sync() error {
	f.fs.hook("sync " + f.name)
	return f.File.Sync()
}

func (f *crashFile) SyncData() error {
	f.fs.hook("syncdata " + f.name)
	return f.File.SyncData()
}

var smallOptions = Options{
	Dir: "/spool", SegmentBytes: 8 << 10, partBytes: 1000, manual: true,
	HotMessages: 8, HotBytes: 16 << 10, BufferBytes: 4 << 10, CopyRate: 1 << 30, IndexCache: 1 << 20,
	Linger: time.Microsecond,
}

// scenario is a life with everything in it.
func scenario(t *testing.T, j *Journal, m *model) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	k := &keeper{j: j, stuck: map[uint32]time.Time{}}
	for n := range 12 {
		must(m.put(j, n, 1+n%3, strings.Repeat("small ", 20*n)))
	}
	must(m.put(j, 20, 2, strings.Repeat("large", 1000))) // parts, over several segments
	must(m.record(j, testState(0, 0, mail.Delivered, true), testWaits(1, 0, 5), testWaits(1, 1, 6)))
	must(m.record(j, testWaits(20, 0, 7), testWaits(3, 0, 1)))
	must(m.finish(j, 0))
	k.tend()
	must(j.Intend(context.Background(), testID(4), []int{0}))
	must(m.record(j, testWaits(4, 0, 3), testWaits(4, 1, 3)))
	must(m.record(j, testState(2, 0, mail.Failed, false), testState(2, 1, mail.Delivered, true), testState(2, 2, mail.Held, false)))
	must(m.record(j, testWaits(1, 0, 15))) // a second deferral
	var wg sync.WaitGroup
	for n := 30; n < 36; n++ { // company
		wg.Go(func() { _ = m.put(j, n, 1, strings.Repeat("crowd ", 100)) })
	}
	wg.Wait()
	must(m.record(j, testState(1, 1, mail.Delivered, true), testWaits(20, 1, 9)))
	k.tend()
	for _, n := range []int{5, 6, 7, 8, 9, 10, 30, 31, 32, 33, 34} {
		must(m.record(j, testState(n, 0, mail.Delivered, true)))
		must(m.finish(j, n))
	}
	for n := 40; n < 48; n++ {
		must(m.put(j, n, 1, strings.Repeat("more ", 200)))
		must(m.record(j, testWaits(n, 0, n)))
		if n%4 != 0 {
			must(m.finish(j, n))
		}
		k.tend()
	}
	must(m.record(j, testState(2, 0, mail.Failed, true), testState(2, 2, mail.Deleted, true)))
	must(m.finish(j, 2, 3))
	for range 6 {
		k.tend()
	}
	must(m.finish(j, 20))
	for range 3 {
		k.tend()
	}
}

func TestPowerCutAtAnyMoment(t *testing.T) {
	mem := vfs.NewCrashableMem()
	m := &model{messages: map[mail.ID]*modelled{}}
	rng := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	var moments []moment
	fs := &crashFS{FS: mem}
	fs.hook = func(op string) {
		mu.Lock()
		defer mu.Unlock()
		for _, percent := range []int{0, 50, 100} {
			before := m.clone()
			clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
			moments = append(moments, moment{fmt.Sprintf("%d%% at %d: %s", percent, len(moments)/3, op), clone, before, m.clone()})
		}
	}
	o := smallOptions
	o.FS = fs
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	scenario(t, j, m)
	st := j.Stat()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d crashes; at the end %+v", len(moments), st)
	if testing.Short() {
		moments = slices.DeleteFunc(moments, func(moment) bool { return rng.IntN(10) > 0 })
	}
	for _, c := range moments {
		if err := recovers(c); err != nil {
			t.Errorf("%s:\n%v", c.op, err)
		}
		if t.Failed() {
			break
		}
	}
}

// recovers opens what a crash left: with its index, then without it, then after
// more mail.
func recovers(c moment) error {
	o := smallOptions
	o.FS = c.fs
	for _, step := range []string{"first", "again", "reindexed", "after more"} {
		if step == "reindexed" {
			if err := Reindex(o); err != nil {
				return fmt.Errorf("%s: %w", step, err)
			}
		}
		j, err := Open(o)
		if err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
		if err := check(j, c.before, c.after); err != nil {
			j.Close()
			return fmt.Errorf("%s: %w", step, err)
		}
		if step == "again" {
			if err := c.after.put(j, 1000, 1, "one more"); err != nil {
				return fmt.Errorf("%s: %w", step, err)
			}
			c.before.messages[testID(1000)] = c.after.messages[testID(1000)]
		}
		if err := j.Close(); err != nil {
			return fmt.Errorf("%s: close: %w", step, err)
		}
	}
	return nil
}

func testRand() *rand.Rand { return rand.New(rand.NewPCG(7, 7)) }

func TestOpenDraftKeepsItsParts(t *testing.T) {
	o := smallOptions
	o.FS = vfs.NewMem()
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	m := &model{messages: map[mail.ID]*modelled{}}
	k := &keeper{j: j, stuck: map[uint32]time.Time{}}
	slow := j.NewDraft()
	body := strings.Repeat("slow", 700)
	_, _ = io.WriteString(slow, body)
	for n := range 40 { // meanwhile, others come and go
		if err := errors.Join(m.put(j, n, 1, strings.Repeat("x", 1500)), m.finish(j, n)); err != nil {
			t.Fatal(err)
		}
		k.tend()
	}
	env := &mail.Envelope{ID: testID(100), Recipients: []mail.Recipient{{Address: "a@example.net"}}}
	if err := slow.Commit(context.Background(), env, []byte("\r\n")); err != nil {
		t.Fatal(err)
	}
	for range 5 { // a few parts in an old segment: they are copied, and it goes
		k.tend()
	}
	if n := j.Stat().Segments; n > 5 {
		t.Errorf("%d segments are left", n)
	}
	if err := errors.Join(j.Close(), Reindex(o)); err != nil {
		t.Fatal(err)
	}
	if j, err = Open(o); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	b, err := j.Content(context.Background(), env.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got, err := io.ReadAll(mail.Reader(b)); err != nil || string(got) != "\r\n"+body {
		t.Errorf("%d octets, error %v", len(got), err)
	}
}
