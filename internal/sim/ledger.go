package sim

import (
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// books are what the world saw, to be compared with what was promised.
type books struct {
	mu         sync.Mutex
	messages   map[mail.ID]*mail.Envelope
	deliveries map[fate]int // how often a site got it
	ambiguous  map[fate]int // of these, without our knowing
	bounces    map[fate]int // reports of failure that reached the sender
	delays     map[fate]int
	successes  map[fate]int
	inside     map[string]int
	insideMax  map[string]int
	visits     map[string][]time.Time
	stray      int64
	finished   map[mail.ID]int
	retold     map[fate]int // how often a crash may have made us tell again
	standing   map[fate]mail.Standing
	backedOff  map[string]int
	failedAt   map[fate]time.Time
	gotAt      map[fate]time.Time // first delivery
	toldAt     map[fate]time.Time // newest report
	crashes    int
}

// fate names a recipient of a message.
type fate struct {
	id        mail.ID
	recipient string
}

func newBooks() *books {
	return &books{
		messages: map[mail.ID]*mail.Envelope{}, deliveries: map[fate]int{}, ambiguous: map[fate]int{},
		bounces: map[fate]int{}, delays: map[fate]int{}, successes: map[fate]int{},
		inside: map[string]int{}, insideMax: map[string]int{}, visits: map[string][]time.Time{},
		finished: map[mail.ID]int{}, retold: map[fate]int{}, standing: map[fate]mail.Standing{}, backedOff: map[string]int{}, failedAt: map[fate]time.Time{},
		gotAt: map[fate]time.Time{}, toldAt: map[fate]time.Time{},
	}
}

func (l *books) submitted(env *mail.Envelope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages[env.ID] = env.Clone()
}

func (l *books) entered(site string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.visits[site] = append(l.visits[site], at)
	l.inside[site]++
	l.insideMax[site] = max(l.insideMax[site], l.inside[site])
}

func (l *books) left(site string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside[site]--
}

// received notes that a site got a message for a recipient. A report counts for
// the recipients it tells of.
func (l *books) received(a mail.Attempt, recipient int, unknown bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := fate{a.Envelope.ID, a.Envelope.Recipients[recipient].Address}
	if l.deliveries[f]++; l.deliveries[f] == 1 {
		l.gotAt[f] = time.Now()
	}
	if unknown {
		l.ambiguous[f]++
	}
	if a.Envelope.From == "" && l.deliveries[f] == 1 {
		content, _ := io.ReadAll(mail.Reader(a.Body))
		l.told(string(content))
	}
}

// unheard notes that the verdict on what a site has did not reach us.
func (l *books) unheard(taken []fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range taken {
		l.ambiguous[f]++
	}
}

// told reads a report as simply as it can be read; report's own tests read it
// thoroughly.
func (l *books) told(content string) {
	var id mail.ID
	var recipient string
	for line := range strings.SplitSeq(content, "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "X-Paquebot-Queue-ID":
			id, _ = mail.ParseID(value)
		case "Final-Recipient":
			_, recipient, _ = strings.Cut(value, "; ")
		case "Action":
			f := fate{id, recipient}
			l.toldAt[f] = time.Now()
			switch value {
			case "failed":
				l.bounces[f]++
			case "delayed":
				l.delays[f]++
			default:
				l.successes[f]++
			}
		}
	}
}

func (l *books) heard(e event.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e := e.(type) {
	case event.WatchdogRan:
		l.stray += e.Stray
	case event.MessageFinished:
		l.finished[e.ID]++
	case event.SiteBackedOff:
		l.backedOff[e.Site]++
	case event.RecipientSettled:
		f := fate{e.ID, e.Recipient}
		l.standing[f] = e.Standing
		if e.Standing.State == mail.Failed {
			l.failedAt[f] = time.Now()
		}
	}
}

// Check compares the books with the promises, at the end of a world in which
// every message had the time to end. It returns what is wrong.
func (l *books) Check() (wrong []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for id, env := range l.messages {
		for _, r := range env.Recipients {
			f := fate{id, r.Address}
			got, unknown, bounced := l.deliveries[f], l.ambiguous[f], l.bounces[f]
			switch {
			case got == 0 && bounced == 0 && env.From != "":
				say("%s to %s: neither delivered nor bounced, stands %s", id, r.Address, l.standing[f].State)
			case got-unknown > 1:
				say("%s to %s: delivered %d times, %d of them unknown to us", id, r.Address, got, unknown)
			case bounced > 1+l.retold[f]:
				say("%s to %s: bounced %d times", id, r.Address, bounced)
			case bounced == 1 && got-unknown > 0:
				say("%s to %s: delivered and bounced", id, r.Address)
			case l.delays[f] > 1:
				say("%s to %s: delay told %d times", id, r.Address, l.delays[f])
			}
		}
		if n := l.finished[id]; n == 0 || n > 1+l.crashes {
			say("%s: finished %d times", id, l.finished[id])
		}
	}
	for f, got := range l.deliveries {
		if _, submitted := l.messages[f.id]; !submitted && got-l.ambiguous[f] > 1 {
			say("report %s delivered %d times, %d of them unknown to us", f.id, got, l.ambiguous[f])
		}
	}
	if l.stray > 0 {
		say("the watchdog found %d recipients without a next event (P2)", l.stray)
	}
	slices.Sort(wrong)
	return wrong
}

// recount notes, after a crash, which deliveries and reports the spool does not
// know of: these come again, and that is allowed once for each crash.
func (l *books) recount(live iter.Seq2[*mail.Envelope, error]) (again int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.crashes++
	for env, err := range live {
		if err != nil {
			return -1
		}
		for _, r := range env.Recipients {
			f := fate{env.ID, r.Address}
			if known := l.deliveries[f] - l.ambiguous[f]; !r.State.Final() && known > 0 {
				l.ambiguous[f] += known
				again += known
			}
			if !r.Reported {
				l.retold[f]++
			}
		}
	}
	return again
}

// Duplicates counts deliveries beyond the first; each follows a lost reply.
func (l *books) Duplicates() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f, got := range l.deliveries {
		if _, ours := l.messages[f.id]; ours && got > 1 {
			n += got - 1
		}
	}
	return n
}

// MostIn returns the most visits to a site in any window of a length.
func (l *books) MostIn(site string, window time.Duration) (most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.SortedFunc(slices.Values(l.visits[site]), time.Time.Compare)
	first := 0
	for i := range at {
		for at[i].Sub(at[first]) >= window {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// Fate is what became of a recipient of a message.
type Fate struct {
	Deliveries int
	At         time.Time // of the first delivery
	Bounces    int       // reports of failure that reached the sender
	Delays     int       // reports of delay
	Successes  int       // reports of success
	Told       time.Time // when the newest report arrived
	Settled    time.Time // when it failed
	Standing   mail.Standing
}

// Fate returns what became of a recipient.
func (l *books) Fate(id mail.ID, recipient string) Fate {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := fate{id, recipient}
	return Fate{l.deliveries[f], l.gotAt[f], l.bounces[f], l.delays[f], l.successes[f], l.toldAt[f], l.failedAt[f], l.standing[f]}
}

// Visits returns when attempts at a site began.
func (l *books) Visits(site string) []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.visits[site])
}

// MostAtOnce returns the most attempts at a site at one time.
func (l *books) MostAtOnce(site string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.insideMax[site]
}

// Stray returns how many recipients the watchdog found without a next event.
func (l *books) Stray() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stray
}

// Order returns the messages a site got, in the order of their first delivery.
func (l *books) Order(ids ...mail.ID) []mail.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := map[mail.ID]time.Time{}
	for f, t := range l.gotAt {
		at[f.id] = t
	}
	return slices.SortedFunc(slices.Values(ids), func(a, b mail.ID) int { return at[a].Compare(at[b]) })
}
