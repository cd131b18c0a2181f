package observe

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Health answers /livez, /readyz and /metrics.
type Health struct {
	ready  atomic.Bool
	mu     sync.Mutex
	checks []healthCheck
}

type healthCheck struct {
	name string
	ask  func(context.Context) error
	live bool
}

// SetReady says whether mail is accepted: true after start, false when draining.
func (h *Health) SetReady(is bool) { h.ready.Store(is) }

// Check adds a question to /readyz: an error makes it 503. It must answer
// within a second or two.
func (h *Health) Check(name string, ask func(context.Context) error) { h.add(name, ask, false) }

// CheckLive adds a question to /livez too: an error there asks the supervisor
// for a restart, so only what a restart mends belongs in it.
func (h *Health) CheckLive(name string, ask func(context.Context) error) { h.add(name, ask, true) }

func (h *Health) add(name string, ask func(context.Context) error, live bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, healthCheck{name, ask, live})
}

// checkTime bounds how long a health answer takes.
const checkTime = 2 * time.Second

// Live returns what a restart would mend, nil if nothing. It is also what
// decides whether systemd's watchdog is told.
func (h *Health) Live(ctx context.Context) error { return h.ask(ctx, true) }

// Ready returns why no mail is accepted, nil if it is.
func (h *Health) Ready(ctx context.Context) error {
	if !h.ready.Load() {
		return fmt.Errorf("not ready: starting or stopping")
	}
	return h.ask(ctx, false)
}

func (h *Health) ask(ctx context.Context, liveOnly bool) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	h.mu.Lock()
	checks := h.checks
	h.mu.Unlock()
	for _, c := range checks {
		if liveOnly && !c.live {
			continue
		}
		if err := c.ask(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// Handler serves the three; m may be nil. It shows figures and one sentence, no
// addresses and no secrets, and still belongs on a loopback or private address.
func (h *Health) Handler(m *Metrics) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, r *http.Request) { answer(w, h.Live(r.Context())) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answer(w, h.Ready(r.Context())) })
	if m != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	}
	return mux
}

func answer(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, clean(err.Error()))
		return
	}
	fmt.Fprintln(w, "ok")
}
