package shaping

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"paquebot/internal/mail"
)

// Config is an operator's rules, the first that matches first.
type Config struct{ Rules []Limits }

// Shaper gives permits. It is safe for concurrent use and never blocks.
type Shaper struct {
	mu      sync.Mutex
	rules   []Limits
	sites   map[string]*site
	swept   time.Time
	used    map[string]*usage // of quotas, by site
	unsaved map[string]bool   // of used
	table   Table             // nil: quotas end with the process
}

// New returns a Shaper in which no site has complained yet.
func New(c Config) *Shaper {
	return &Shaper{rules: slices.Clone(c.Rules), sites: map[string]*site{}, used: map[string]*usage{}, unsaved: map[string]bool{}}
}

// site is what is known of a site.
type site struct {
	limits  Limits
	out     int // permits
	meter   meter
	adapted adaptation
	sources map[mail.Source]int // permits out by source
	used    time.Time

	minute         time.Time // begin of the minute being counted
	sent, lastSent int       // messages of this minute, of the one before
}

// idleMax is how long a site is remembered that has no permit out and nothing
// learnt; sweepEvery is how often such are looked for.
const (
	idleMax    = 10 * time.Minute
	sweepEvery = time.Minute
)

// Reload puts other rules in force; permits that are out and what was learnt
// stay.
func (s *Shaper) Reload(c Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = slices.Clone(c.Rules)
	for name, t := range s.sites {
		t.limits = limitsFor(name, s.rules)
	}
}

// Limits returns what the rules say about a site, without what was learnt.
func (s *Shaper) Limits(name string) Limits {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.sites[name]; t != nil {
		return t.limits
	}
	return limitsFor(name, s.rules)
}

// PerConnection returns how many messages a connection to a site may carry.
func (s *Shaper) PerConnection(name string) int { return s.Limits(name).PerConnection }

// Acquire asks for a permit for one attempt at a site. Without one release is
// nil, and wait says when to ask again; zero means when one of this site is
// given back. Of the sources that with the fewest permits out is chosen. The
// caller calls release once: with the outcomes of the attempt, or with nil if
// there was none.
func (s *Shaper) Acquire(name string, sources []mail.Source) (source mail.Source, release func([]mail.Outcome), wait time.Duration) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.site(name, now)
	t.adapted.recover(now)
	if wait := t.adapted.notBefore.Sub(now); wait > 0 {
		return source, nil, wait
	}
	if t.out >= t.connections() {
		return source, nil, 0
	}
	if wait := s.outOfQuota(t, now); wait > 0 {
		return source, nil, wait
	}
	interval, burst, limited := t.spacing()
	if limited {
		if wait := t.meter.wait(now, interval, burst); wait > 0 {
			return source, nil, wait
		}
		t.meter.count(now, interval)
	}
	source = t.choose(sources)
	t.out++
	t.sources[source]++
	t.count(now, 1)
	return source, s.releaser(t, source, now, interval, limited), 0
}

func (s *Shaper) releaser(t *site, source mail.Source, at time.Time, interval time.Duration, limited bool) func([]mail.Outcome) {
	var once sync.Once
	return func(outcomes []mail.Outcome) {
		once.Do(func() {
			now := time.Now()
			s.mu.Lock()
			defer s.mu.Unlock()
			t.out--
			if t.sources[source]--; t.sources[source] == 0 {
				delete(t.sources, source)
			}
			if outcomes == nil {
				t.count(now, -1)
				if limited {
					t.meter.uncount(interval)
				}
				return
			}
			t.learn(outcomes, now)
			s.spend(t, taken(outcomes), now)
		})
	}
}

func (s *Shaper) site(name string, now time.Time) *site {
	if now.Sub(s.swept) > sweepEvery {
		s.sweep(now)
	}
	t := s.sites[name]
	if t == nil {
		t = &site{limits: limitsFor(name, s.rules), sources: map[mail.Source]int{}, minute: now}
		s.sites[name] = t
	}
	t.used = now
	return t
}

// sweep forgets sites that have nothing to remember.
func (s *Shaper) sweep(now time.Time) {
	s.swept = now
	for name, t := range s.sites {
		t.adapted.recover(now)
		if t.out == 0 && t.adapted.factor >= 1 && now.Sub(t.used) > idleMax && !t.meter.tat.After(now) {
			delete(s.sites, name)
		}
	}
}

// connections is how many permits may be out now.
func (t *site) connections() int {
	return max(int(float64(t.limits.Connections)*t.adapted.factor), 1)
}

// spacing is the rate in force: the configured one, or that which the site
// complained about, less what was learnt.
func (t *site) spacing() (interval time.Duration, burst int, limited bool) {
	rate := t.limits.Rate
	if !rate.limited() {
		rate = t.adapted.base
	}
	if !rate.limited() {
		return 0, 0, false
	}
	interval, burst = rate.spacing(t.adapted.factor)
	return interval, burst, true
}

func (t *site) choose(sources []mail.Source) mail.Source {
	if len(sources) == 0 {
		return mail.Source{}
	}
	return slices.MinFunc(sources, func(a, b mail.Source) int { return cmp.Compare(t.sources[a], t.sources[b]) })
}

// count keeps the messages of this minute and the one before.
func (t *site) count(now time.Time, n int) {
	switch passed := now.Sub(t.minute); {
	case passed >= 2*time.Minute:
		t.minute, t.sent, t.lastSent = now, 0, 0
	case passed >= time.Minute:
		t.minute, t.lastSent, t.sent = t.minute.Add(time.Minute), t.sent, 0
	}
	t.sent += n
}

func taken(outcomes []mail.Outcome) (n int) {
	for _, o := range outcomes {
		if o.Result == mail.Accepted {
			n++
		}
	}
	return n
}

func (t *site) learn(outcomes []mail.Outcome, now time.Time) {
	for _, o := range outcomes {
		if Throttle(o) || t.limits.Smarthost && relayThrottle(o) {
			t.count(now, 0)
			t.adapted.throttled(now, max(t.sent, t.lastSent), o.Reply.String())
			return
		}
	}
	for _, o := range outcomes {
		if o.Result == mail.Accepted {
			t.adapted.pause = 0 // it takes mail again: the next pause is a short one
			return
		}
	}
}

// State is how a site is shaped now, for people.
type State struct {
	Site        string        `json:"site"`
	Limits      Limits        `json:"limits"`
	InUse       int           `json:"in_use"`      // permits out
	Connections int           `json:"connections"` // may be out now
	Factor      float64       `json:"factor"`      // of the limits, as learnt
	Pause       time.Duration `json:"pause"`       // until the next permit, if it is pausing
	Said        string        `json:"said,omitempty"`
	LastMinute  int           `json:"last_minute"` // messages
}

// States returns how the sites in use are shaped, sorted by name.
func (s *Shaper) States() []State {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []State
	for name, t := range s.sites {
		t.adapted.recover(now)
		t.count(now, 0)
		all = append(all, State{Site: name, Limits: t.limits, InUse: t.out, Connections: t.connections(), Factor: t.adapted.factor,
			Pause: max(t.adapted.notBefore.Sub(now), 0), Said: t.adapted.said, LastMinute: max(t.sent, t.lastSent)})
	}
	slices.SortFunc(all, func(a, b State) int { return cmp.Compare(a.Site, b.Site) })
	return all
}
