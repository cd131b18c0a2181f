package route

import (
	"sync"
	"time"
)

const (
	// knownMax bounds the domains whose exchangers are remembered: about a
	// kilobyte each.
	knownMax = 10_000

	// knownFor bounds how long, whatever the TTL: the resolver keeps the
	// records, this saves putting them together for each recipient.
	knownFor = 5 * time.Minute
)

// known remembers exchangers by domain.
type known struct {
	mu    sync.Mutex
	names map[string]knownEntry
}

type knownEntry struct {
	set   exchangers
	until time.Time
}

func newKnown() *known { return &known{names: make(map[string]knownEntry)} }

func (k *known) get(name string, now time.Time) (exchangers, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, ok := k.names[name]
	if !ok || !now.Before(e.until) {
		return exchangers{}, false
	}
	return e.set, true
}

func (k *known) put(name string, set exchangers, now time.Time) {
	keep := min(set.keep, knownFor)
	if keep <= 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for old := range k.names {
		if len(k.names) < knownMax {
			break
		}
		delete(k.names, old) // any: it costs one cached look-up
	}
	k.names[name] = knownEntry{set, now.Add(keep)}
}
