package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xdg-go/scram"
)

// recently is how long after the next hop's 250 a message may count as in
// flight: its outcome rides in the next batch to the disk, some 10 ms later plus
// the sync, on cores and a disk that others use as well.
const recently = 50 * time.Millisecond

// TestKill is promises P1 and P3 on the real binary: it is killed with -9 again
// and again at random moments while all four ports take mail and it delivers.
// Nothing that was answered 250 may be lost, and nothing may arrive twice but
// what was in flight at a kill.
func TestKillLosesNothing(t *testing.T) {
	kills := number(t, "KILLS", 200)
	seed := uint64(number(t, "SEED", int(time.Now().UnixNano()%1_000_000)))
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("SEED=%d KILLS=%d", seed, kills)

	sink := startCounter(t)
	s := newServer(t, settings{
		domain: "deliver = \"smtp://" + sink.addr + "\"\nrecipients = \"any\"",
		queue:  "retry = [\"1s\"]",
		more:   "[[route]]\nvia = \"smtp://" + sink.addr + "\"\n",
	})
	s.start(t)
	s.account(t, "load")

	load := newLoad(t, s)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	load.run(ctx)

	inFlight, starting := 0, time.Duration(0)
	for n := range kills {
		load.untilSome(ctx, random)
		inFlight += sink.inFlight(time.Now().Add(-recently))
		s.kill()

		began := time.Now()
		check(t, s.launch())
		wait, cancel := context.WithTimeout(ctx, 20*time.Second)
		if err := s.ready(wait); err != nil {
			t.Fatalf("after %d kills (SEED=%d): %v\n%s", n+1, seed, err, cut(s.log()))
		}
		cancel()
		starting += time.Since(began)
	}
	stop()
	load.wait()

	promised := load.promised()
	drain, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	err := until(drain, func() error {
		if n, one := sink.missing(promised); n > 0 {
			return fmt.Errorf("%d of %d promised messages did not arrive, among them %s", n, len(promised), one)
		}
		return nil
	})
	lost, _ := sink.missing(promised)
	duplicates := sink.duplicates()

	report := fmt.Sprintf("kill -9: %d kills, %d messages promised with 250, lost %d, duplicates %d, in flight at the kills %d (mean start %v, SEED=%d)",
		kills, len(promised), lost, duplicates, inFlight, (starting / time.Duration(kills)).Round(time.Millisecond), seed)
	fmt.Println(report)
	t.Log(load.summary())
	if err != nil {
		t.Errorf("lost mail: %v", err)
	}
	if len(promised) < 10*kills {
		t.Errorf("only %d messages were promised: no load to speak of\n%s", len(promised), load.summary())
	}
	if duplicates > inFlight {
		t.Errorf("%d duplicates, but only %d messages were in flight at the kills", duplicates, inFlight)
	}
	for _, story := range s.settledTwice() {
		t.Errorf("delivered again after it was written down as delivered:\n%s", story)
	}
	eventually(t, func() error { // P2: nothing is forgotten in the queue either
		out := s.must(t, "queue", "summary", "--json")
		if !strings.Contains(strings.ReplaceAll(out, " ", ""), `"total":0`) {
			return fmt.Errorf("the queue is not empty: %s", out)
		}
		return nil
	})
}

// duplicates counts copies beyond the first.
func (c *counter) duplicates() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, copies := range c.taken {
		n += len(copies) - 1
	}
	return n
}

var settledLine = regexp.MustCompile(`msg=recipient\.settled id=(\S+) .*state=delivered`)

// settledTwice returns what the log says of messages that were settled as
// delivered more than once. An outcome is written down before anybody hears of
// it, the log too: so a crash may repeat a delivery, but never one in the log.
func (s *server) settledTwice() []string {
	lines := map[string][]string{}
	for line := range strings.Lines(s.log()) {
		if m := settledLine.FindStringSubmatch(line); m != nil {
			lines[m[1]] = append(lines[m[1]], line)
		}
	}
	var twice []string
	for _, id := range slices.Sorted(maps.Keys(lines)) {
		if len(lines[id]) > 1 {
			twice = append(twice, strings.Join(lines[id], ""))
		}
	}
	return twice
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	check(t, err)
	return n
}

// load sends numbered messages through all four ports, each in sessions of one
// to ten, and remembers which were answered 250.
type load struct {
	s       *server
	login   *scram.Client // keeps what is costly to derive
	next    atomic.Int64
	workers sync.WaitGroup

	mu     sync.Mutex
	kept   []string       // numbers answered 250
	byPort map[string]int // how many of them
	errors map[string]int // what went wrong instead, by its text
}

func newLoad(t *testing.T, s *server) *load {
	t.Helper()
	login, err := scram.SHA256.NewClient("load", password, "")
	check(t, err)
	return &load{s: s, login: login, byPort: map[string]int{}, errors: map[string]int{}}
}

func (l *load) run(ctx context.Context) {
	for _, port := range []string{"25", "25", "587", "587", "465", "465", "2525"} {
		l.workers.Add(1)
		go func() {
			defer l.workers.Done()
			for ctx.Err() == nil {
				if err := l.session(ctx, port); err != nil {
					l.failed(port, err)
					select { // it is just being killed: try again in a moment
					case <-ctx.Done():
					case <-time.After(5 * time.Millisecond):
					}
				}
			}
		}()
	}
}

func (l *load) wait() { l.workers.Wait() }

// untilSome waits for the moment to kill: a quarter of them come just after the
// start, the others in full work, when some number of messages was taken and a
// little later still. A busy machine may take as long as it needs.
func (l *load) untilSome(ctx context.Context, random *rand.Rand) {
	started := len(l.promised())
	some := 0
	if random.IntN(4) > 0 {
		some = 1 + random.IntN(120)
	}
	wait, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_ = until(wait, func() error { // too few in that time is as good a moment
		if n := len(l.promised()) - started; n < some {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
}

func (l *load) session(ctx context.Context, port string) error {
	k, err := l.connect(port)
	if err != nil {
		return err
	}
	defer k.close()
	from := l.s.at("load")
	if port == "25" {
		from = "stranger@postfix.test"
	}
	for i := range 10 {
		if ctx.Err() != nil {
			break
		}
		id := fmt.Sprintf("%s-%d", port, l.next.Add(1))
		to := l.s.at("somebody")
		if port != "25" && i%2 == 1 {
			to = "somebody@elsewhere.app." + l.s.name // by the route, not by the domain
		}
		message := fmt.Sprintf("From: <%s>\r\nSubject: load\r\nX-Load: %s\r\n\r\n%s", from, id, strings.Repeat("Some text to carry. ....\r\n", 40))
		reply, err := k.transaction(from, message, to)
		if err != nil {
			return err
		}
		if _, err := queuedAs(reply); err != nil {
			return err
		}
		l.keep(port, id)
	}
	_, err = k.ask("QUIT")
	return err
}

func (l *load) connect(port string) (*talk, error) {
	var first, then *tls.Config
	switch c := l.s.w.ca.client(l.s.name); port {
	case "465":
		first = c
	case "587", "2525":
		then = c
	}
	k, err := dial(l.s.addr+":"+port, first)
	if err != nil {
		return nil, err
	}
	err = k.must("250", "EHLO client.test")
	if err == nil && then != nil {
		if err = k.starttls(then); err == nil {
			err = k.must("250", "EHLO client.test")
		}
	}
	if err != nil {
		k.close()
		return nil, err
	}
	if port != "25" {
		if err := k.scram(l.login); err != nil {
			k.close()
			return nil, err
		}
	}
	return k, nil
}

func (l *load) keep(port, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, id)
	l.byPort[port]++
}

func (l *load) failed(port string, err error) {
	text := err.Error()
	if i := strings.LastIndex(text, "->"); i >= 0 { // addresses and ports vary
		text = text[i:]
		if _, rest, ok := strings.Cut(text, ": "); ok {
			text = rest
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors[port+": "+text]++
}

func (l *load) promised() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.kept)
}

func (l *load) summary() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "promised by port: %v\n", l.byPort)
	for _, text := range slices.Sorted(maps.Keys(l.errors)) {
		fmt.Fprintf(&b, "%6d x %s\n", l.errors[text], text)
	}
	return b.String()
}
