package compat

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"paquebot/internal/catch"
)

// Event is what Mailpit's WebSocket says.
type Event struct {
	Type string
	Data any
}

const (
	statsEvery = 250 * time.Millisecond // stats come at most so often
	pingEvery  = 30 * time.Second
	pruneAt    = 200 // of so many deletions at once a page is told to load anew
)

// socket is Mailpit's stream of events. A browser's page opens it only from this
// very host; what is no browser says no origin and may.
func (a *API) socket(w http.ResponseWriter, r *http.Request) {
	a.stream(w, r, func(ctx context.Context, c catch.Change, say func(any) error) (stats bool, err error) {
		for _, e := range a.eventsOf(ctx, c) {
			if err := say(e); err != nil {
				return false, err
			}
		}
		return c.Kind != catch.Failed && !(c.Kind == catch.Marked && c.Tagged), nil
	}, true)
}

// eventsOf tells a change as Mailpit does.
func (a *API) eventsOf(ctx context.Context, c catch.Change) []Event {
	switch c.Kind {
	case catch.Caught:
		return []Event{{"new", a.summary(ctx, &c.Message)}}
	case catch.Marked:
		id := c.Message.ID.String()
		if c.Tagged {
			return []Event{{"update", map[string]any{"ID": id, "Tags": list(c.Message.Tags)}}}
		}
		return []Event{{"update", map[string]any{"ID": id, "Read": c.Message.Read}}}
	case catch.Deleted:
		switch {
		case c.All:
			return []Event{{"truncate", nil}}
		case len(c.IDs) > pruneAt:
			return []Event{{"prune", nil}}
		}
		var out []Event
		for _, id := range c.IDs {
			out = append(out, Event{"delete", map[string]any{"ID": id.String()}})
		}
		return out
	case catch.Failed:
		if n := len(c.Session.Problems); n > 0 {
			ip := c.Session.Origin.Client.Addr().String()
			return []Event{{"error", map[string]any{"Level": "warning", "Type": "smtp", "IP": ip, "Message": c.Session.Problems[n-1].Reply}}}
		}
	}
	return nil
}

// stats are the sums that follow a change.
func (a *API) stats() Event {
	return Event{"stats", map[string]any{"Total": a.needs.Store.Stat().Messages, "Unread": a.needs.Store.Unread(), "Version": a.config.Version}}
}

// tell says what a change means to a reader, and whether stats are due.
type tell func(ctx context.Context, c catch.Change, say func(any) error) (stats bool, err error)

// stream opens a WebSocket and tells changes until either side ends it.
func (a *API) stream(w http.ResponseWriter, r *http.Request, told tell, withStats bool) {
	watch, err := a.needs.Store.Subscribe()
	if err != nil {
		say(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer func() { watch.Close() }()
	conn, err := websocket.Accept(w, r, nil) // refuses pages of other hosts, with 403
	if err != nil {
		return
	}
	defer conn.CloseNow()
	s := &socketStream{api: a, conn: conn, ctx: conn.CloseRead(r.Context())}
	if withStats {
		s.due() // a page that has just opened knows at once
	}
	for {
		err := s.next(watch, told, withStats)
		if errors.Is(err, errBehind) {
			watch.Close()
			again, failed := a.needs.Store.Subscribe()
			if failed != nil {
				return // the store is closed
			}
			watch, err = again, nil
			if withStats {
				err = s.say(Event{"prune", nil})
			}
		}
		if err != nil {
			return
		}
	}
}

var errBehind = errors.New("too many changes at once")

// socketStream is one open WebSocket.
type socketStream struct {
	api  *API
	conn *websocket.Conn
	ctx  context.Context
	last time.Time // of stats
	tick <-chan time.Time
}

// due asks for stats soon, but not more often than statsEvery.
func (s *socketStream) due() {
	if s.tick == nil {
		s.tick = time.After(max(0, statsEvery-time.Since(s.last)))
	}
}

func (s *socketStream) next(watch *catch.Watch, told tell, withStats bool) error {
	ping := time.NewTimer(pingEvery)
	defer ping.Stop()
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-ping.C:
		ctx, cancel := context.WithTimeout(s.ctx, slowest)
		defer cancel()
		return s.conn.Ping(ctx)
	case <-s.tick:
		s.tick, s.last = nil, time.Now()
		return s.say(s.api.stats())
	case change, open := <-watch.C:
		if !open {
			return errBehind
		}
		stats, err := told(s.ctx, change, s.say)
		if stats && withStats {
			s.due()
		}
		return err
	}
}

func (s *socketStream) say(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, slowest)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, b)
}

// hogSocket is MailHog's stream: each message as it comes.
func (a *API) hogSocket(w http.ResponseWriter, r *http.Request) {
	a.stream(w, r, func(_ context.Context, c catch.Change, say func(any) error) (bool, error) {
		if c.Kind != catch.Caught {
			return false, nil
		}
		h, err := a.hogOf(r, &c.Message)
		if err != nil {
			return false, nil // gone already
		}
		return false, say(h)
	}, false)
}

const keepAlive = time.Minute

// hogEvents is the same by server-sent events.
func (a *API) hogEvents(w http.ResponseWriter, r *http.Request) {
	watch, err := a.needs.Store.Subscribe()
	if err != nil {
		say(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer watch.Close()
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	write := func(text string) error {
		if err := control.SetWriteDeadline(time.Now().Add(slowest)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
		return control.Flush()
	}
	if write("") != nil {
		return
	}
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for err == nil {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			err = write("keepalive: \n\n")
		case change, open := <-watch.C:
			if !open {
				return // too slow: the browser comes back by itself
			}
			if change.Kind != catch.Caught {
				continue
			}
			var h HogMessage
			if h, err = a.hogOf(r, &change.Message); err != nil {
				err = nil
				continue
			}
			b, _ := json.Marshal(h)
			err = write("data: " + string(b) + "\n\n")
		}
	}
}
