package deliver

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtpclient"
	"paquebot/internal/tlspolicy"
)

const (
	// endpointKept is how long a working endpoint is remembered (SH-5).
	endpointKept = 24 * time.Hour
	// networksMax bounds the networks remembered: smart hosts by places a machine
	// was in, about 200 octets each.
	networksMax = 1000
)

// Endpoints remembers which endpoint of each smart host works from here, and
// which smart hosts are not to be trusted now. It outlives the Deliverer, and
// through its table the process. It is safe for concurrent use.
type Endpoints struct {
	table  EndpointTable
	events event.Sink

	mu     sync.Mutex
	best   map[string]fallback // by smart host and network
	alarms map[string]alarm    // by smart host
}

// EndpointTable keeps what is remembered; internal/store has one. Its writes
// need not be synced: what is lost is found again by a race.
type EndpointTable interface {
	Each(prefix []byte, yield func(key, value []byte) bool) error
	Put(key, value []byte) error
	Delete(key []byte) error
}

// fallback is an endpoint in use that is not the first of its smart host.
type fallback struct {
	Endpoint string    `json:"endpoint"`
	Instead  string    `json:"instead"` // the first
	Why      string    `json:"why"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
}

// alarm is a smart host by which nothing leaves.
type alarm struct {
	endpoint string
	why      string
	since    time.Time
	stopped  bool
}

// NewEndpoints reads what the table remembers; nil: nothing outlives the process.
func NewEndpoints(table EndpointTable, events event.Sink) *Endpoints {
	e := &Endpoints{table: table, events: events, best: map[string]fallback{}, alarms: map[string]alarm{}}
	if events == nil {
		e.events = event.Discard
	}
	if table == nil {
		return e
	}
	now := time.Now()
	var stale [][]byte
	_ = table.Each(nil, func(key, value []byte) bool { // what cannot be read is found again by a race
		var f fallback
		if json.Unmarshal(value, &f) != nil || !now.Before(f.Until) {
			stale = append(stale, append([]byte(nil), key...))
		} else {
			e.best[string(key)] = f
		}
		return len(e.best) < networksMax
	})
	for _, key := range stale {
		_ = table.Delete(key)
	}
	return e
}

// networkKey names a smart host seen from a network.
func networkKey(smarthost, network string) string { return smarthost + "\x00" + network }

// endpointName is how people write an endpoint.
func endpointName(h mail.Hop) string {
	if strings.Contains(h.Name, ":") {
		return fmt.Sprintf("[%s]:%d", h.Name, h.Port)
	}
	return fmt.Sprintf("%s:%d", h.Name, h.Port)
}

// order returns the endpoints as they are to be tried: the one that works from
// this network first, the others in their order (SH-5).
func (e *Endpoints) order(smarthost, network string, hops []mail.Hop) []mail.Hop {
	f, ok := e.recall(smarthost, network)
	if !ok || endpointName(hops[0]) != f.Instead {
		return hops // or another configuration is in force, with an order of its own
	}
	for i, h := range hops {
		if endpointName(h) == f.Endpoint {
			out := append(make([]mail.Hop, 0, len(hops)), h)
			return append(append(out, hops[:i]...), hops[i+1:]...)
		}
	}
	return hops
}

func (e *Endpoints) recall(smarthost, network string) (fallback, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f, ok := e.best[networkKey(smarthost, network)]
	return f, ok && time.Now().Before(f.Until)
}

// ready notes the endpoint by which a session was opened; first is that which
// the configuration names first, why says what is wrong with those before it.
func (e *Endpoints) ready(smarthost, network string, first, used mail.Hop, why string) {
	was, known := e.recall(smarthost, network)
	now := time.Now()
	from, to := endpointName(first), endpointName(used)
	if known && was.Instead == from {
		from = was.Endpoint
	}
	key := networkKey(smarthost, network)
	if to == endpointName(first) {
		if from == to {
			return
		}
		e.mu.Lock()
		delete(e.best, key)
		e.mu.Unlock()
		if e.table != nil {
			_ = e.table.Delete([]byte(key))
		}
		if why == "" {
			why = to + " answers again"
		}
		e.events.Emit(event.SmarthostChanged{Smarthost: smarthost, From: from, To: to, Why: why})
		return
	}
	if from == to && now.Before(was.Since.Add(endpointKept/2)) {
		return
	}
	f := fallback{Endpoint: to, Instead: endpointName(first), Why: why, Since: now, Until: now.Add(endpointKept)}
	if from == to {
		f.Why = was.Why
	}
	e.keep(key, f)
	if from != to {
		e.events.Emit(event.SmarthostChanged{Smarthost: smarthost, From: from, To: to, Why: why})
	}
}

func (e *Endpoints) keep(key string, f fallback) {
	e.mu.Lock()
	for old := range e.best {
		if len(e.best) < networksMax {
			break
		}
		delete(e.best, old) // any: a race finds it again
	}
	e.best[key] = f
	e.mu.Unlock()
	if e.table == nil {
		return
	}
	if b, err := json.Marshal(f); err == nil {
		_ = e.table.Put([]byte(key), b) // the memory of this process has it
	}
}

// alarm notes that an endpoint cannot be trusted, and says so once.
func (e *Endpoints) alarm(smarthost string, p place, a smtpclient.Answer, stopped bool) {
	why := alarmWords(p.hop, a)
	name := endpointName(p.hop)
	e.mu.Lock()
	was, known := e.alarms[smarthost]
	if known && was.stopped && !stopped {
		e.mu.Unlock()
		return
	}
	since := time.Now()
	if known {
		since = was.since
	}
	e.alarms[smarthost] = alarm{endpoint: name, why: why, since: since, stopped: stopped}
	e.mu.Unlock()
	if known && was.endpoint == name && was.why == why && was.stopped == stopped {
		return
	}
	e.events.Emit(event.SmarthostAlarmed{Smarthost: smarthost, Endpoint: name, Addr: p.addr, Stage: a.Stage, Reply: a.Reply, Why: why, Stopped: stopped})
}

// alarmWords says what is wrong and what to do.
func alarmWords(h mail.Hop, a smtpclient.Answer) string {
	name := endpointName(h)
	if errors.Is(a.Reply.Cause, tlspolicy.ErrDANE) {
		return fmt.Sprintf("%s shows a certificate that its TLSA records (DANE, at %s) do not vouch for; nothing is sent until one does: %v", name, tlsaName(h.Port, h.Name), a.Reply.Cause)
	}
	switch a.Kind {
	case smtpclient.Untrusted:
		return fmt.Sprintf("%s shows a certificate that does not prove it is %s; nothing is sent until it does (look at it with: paquebot doctor %s)", name, h.Name, name)
	case smtpclient.NoTLS:
		return fmt.Sprintf("%s offers no TLS, which it should; something on the way may have taken it out (look at it with: paquebot doctor %s)", name, name)
	case smtpclient.Injected:
		return fmt.Sprintf("somebody put words in before TLS at %s", name)
	case smtpclient.NoLogin:
		return fmt.Sprintf("cannot authenticate at %s: %s", name, a.Reply.Text)
	}
	return fmt.Sprintf("%s refuses our credential: %s", name, a.Reply.String())
}

// trusted notes that a session was opened as it should be: whatever alarm there
// was is over.
func (e *Endpoints) trusted(smarthost string, used mail.Hop) {
	e.mu.Lock()
	was, known := e.alarms[smarthost]
	if known && !was.stopped && was.endpoint != endpointName(used) {
		known = false // mail leaves, and the other endpoint is as it was
	}
	if known {
		delete(e.alarms, smarthost)
	}
	e.mu.Unlock()
	if known {
		e.events.Emit(event.SmarthostMended{Smarthost: smarthost, Endpoint: endpointName(used), TookSeconds: time.Since(was.since).Seconds()})
	}
}

// Remark says what there is to know of a smart host, in plain words; "" if all
// is as it should be. Network is where we are, as in Needs.Network.
func (e *Endpoints) Remark(smarthost, network string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a, ok := e.alarms[smarthost]; ok && a.stopped {
		return "stopped: " + a.why
	}
	if f, ok := e.best[networkKey(smarthost, network)]; ok && time.Now().Before(f.Until) {
		return "leaves by " + f.Endpoint + ": " + f.Why
	}
	return ""
}

// byway says why a message left by an endpoint that is not the first; "" if it
// did not.
func (e *Endpoints) byway(smarthost, network, host string, port uint16) string {
	f, ok := e.recall(smarthost, network)
	if !ok || f.Endpoint != endpointName(mail.Hop{Name: host, Port: port}) {
		return ""
	}
	return "left by " + f.Endpoint + ": " + f.Why
}
