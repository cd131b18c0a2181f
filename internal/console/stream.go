package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/mail"
)

const (
	beat      = 15 * time.Second // a stream says something at least this often
	resendMax = 1000             // messages sent again to who was away
)

// apiEvents is the stream of what happens (server-sent events):
//
//	event: hello    data: {"last_seq": n}      first
//	event: caught   data: Summary              id: its seq
//	event: deleted  data: {"ids": [...]}
//	event: marked   data: {"id": "...", "read": true, "tags": [...]}
//	event: failed   data: SessionView
//
// A reader that comes back with Last-Event-ID (or ?last_event_id=) is sent what
// it missed. One that is too slow is cut off and does the same.
func (c *console) apiEvents(w http.ResponseWriter, r *http.Request) {
	watch, err := c.needs.Store.Subscribe()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer watch.Close()
	s := &stream{w: w, control: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	q, last := query(r), lastEvent(r)
	if err := c.resend(s, q, &last); err != nil {
		return
	}
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			err = s.write(": still here\n\n")
		case change, open := <-watch.C:
			if !open {
				return
			}
			err = c.sendChange(s, q, change, last)
		}
		if err != nil {
			return
		}
	}
}

func lastEvent(r *http.Request) uint64 {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.URL.Query().Get("last_event_id")
	}
	n, _ := strconv.ParseUint(text, 10, 64)
	return n
}

// resend greets, and catches up who was here before. last becomes the newest
// message that need not be sent again.
func (c *console) resend(s *stream, q catch.Query, last *uint64) error {
	now := c.needs.Store.Stat().LastSeq
	from := *last
	*last = now
	if from == 0 || from > now {
		return s.event("hello", now, map[string]uint64{"last_seq": now})
	}
	if err := s.event("hello", from, map[string]uint64{"last_seq": now}); err != nil {
		return err
	}
	missed := c.needs.Store.List(q, 0, resendMax).Messages
	for i := len(missed) - 1; i >= 0; i-- {
		if m := missed[i]; m.Seq > from {
			if err := s.event("caught", m.Seq, c.summary(m)); err != nil {
				return err
			}
			*last = max(*last, m.Seq)
		}
	}
	return nil
}

func (c *console) sendChange(s *stream, q catch.Query, change catch.Change, last uint64) error {
	switch change.Kind {
	case catch.Caught:
		if change.Seq <= last || !c.needs.Store.Match(q, &change.Message) {
			return nil
		}
		return s.event("caught", change.Seq, c.summary(change.Message))
	case catch.Deleted:
		return s.event("deleted", 0, map[string][]mail.ID{"ids": change.IDs})
	case catch.Marked:
		return s.event("marked", 0, map[string]any{"id": change.Message.ID, "read": change.Message.Read, "tags": append([]string{}, change.Message.Tags...)})
	case catch.Failed:
		return s.event("failed", 0, c.sessionView(*change.Session))
	}
	return nil
}

// stream writes events; a reader that takes nothing for a while is given up.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s *stream) event(name string, id uint64, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	head := ""
	if id != 0 {
		head = fmt.Sprintf("id: %d\n", id)
	}
	return s.write(fmt.Sprintf("%sevent: %s\ndata: %s\n\n", head, name, b))
}

func (s *stream) write(text string) error {
	// Not every writer knows deadlines (tests' recorders do not).
	if err := s.control.SetWriteDeadline(time.Now().Add(slow)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}

// apiWait answers when count messages match that were caught after ?after=
// (without it: any), or when ?timeout= is over: 200 with the messages in full,
// 204 with nothing; with ?explain=1 instead of 204 it is 408 and a list of what
// did arrive, which is what a failing test wants to print.
//
// With ?none=1 it is the other way round: 204 when the time passed and nothing
// matched, 409 with the messages that should not have come.
func (c *console) apiWait(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	timeout, err := waitTime(v.Get("timeout"))
	if err != nil {
		http.Error(w, "timeout: "+err.Error()+"; write 10s or 500ms", http.StatusBadRequest)
		return
	}
	count, err := waitFor(v.Get("count"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	after, err := c.after(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout + slow)) // refused by those that have none
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	found, err := c.needs.Store.Wait(ctx, query(r), after, count)
	if v.Get("none") != "" {
		c.answerNone(w, r, found, err)
		return
	}
	switch {
	case err == nil:
		c.answerFound(w, r, http.StatusOK, found)
	case errors.Is(err, context.DeadlineExceeded) && v.Get("explain") == "":
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, context.DeadlineExceeded):
		c.explainWait(w, r, after, len(found), count)
	case errors.Is(err, context.Canceled):
	default:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

func (c *console) answerNone(w http.ResponseWriter, r *http.Request, found []catch.Message, err error) {
	switch {
	case errors.Is(err, context.DeadlineExceeded) && len(found) == 0:
		w.WriteHeader(http.StatusNoContent)
	case err == nil || errors.Is(err, context.DeadlineExceeded):
		c.answerFound(w, r, http.StatusConflict, found)
	case errors.Is(err, context.Canceled):
	default:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// waitFor reads how many messages are waited for. Fewer than were asked for
// would be an answer that is not true.
func waitFor(text string) (int, error) {
	if text == "" {
		return 1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > waitCount {
		return 0, fmt.Errorf("count: from 1 to %d; that none comes is none=1, more are counted by /api/dev/assert", waitCount)
	}
	return n, nil
}

func waitTime(text string) (time.Duration, error) {
	if text == "" {
		return 10 * time.Second, nil
	}
	if n, err := strconv.Atoi(text); err == nil && n >= 0 && n < 1000 {
		return min(time.Duration(n)*time.Second, waitMax), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errors.New("not a length of time")
	}
	return min(d, waitMax), nil
}

// foundMax is how much text one answer holds in octets, a last message more.
const foundMax = 64 << 20

func (c *console) answerFound(w http.ResponseWriter, r *http.Request, status int, found []catch.Message) {
	out := []Detail{}
	left := foundMax
	for _, m := range found {
		if left <= 0 {
			break // the rest can be read one by one
		}
		whole, err := c.needs.Store.Get(m.ID)
		if err != nil {
			continue // deleted meanwhile
		}
		d, err := c.detail(r, whole)
		if err != nil {
			continue
		}
		out = append(out, d)
		left -= len(d.Text) + len(d.HTML)
	}
	writeJSON(w, status, Found{out})
}

// Missed is the answer to a wait whose time is over: what did arrive.
type Missed struct {
	Error    string    `json:"error" doc:"The sentence a failing test prints."`
	Mailbox  string    `json:"mailbox"`
	Q        string    `json:"q"`
	After    uint64    `json:"after"`
	Matched  int       `json:"matched"`
	Arrived  []Summary `json:"arrived"`
	Failures int       `json:"failures" doc:"Sessions that failed; see /api/dev/sessions."`
}

// explainWait tells what came instead.
func (c *console) explainWait(w http.ResponseWriter, r *http.Request, after uint64, found, count int) {
	arrived := []Summary{}
	for _, m := range c.needs.Store.List(catch.Query{}, 0, waitCount).Messages {
		if m.Seq > after {
			arrived = append(arrived, c.summary(m))
		}
	}
	v := r.URL.Query()
	writeJSON(w, http.StatusRequestTimeout, Missed{
		Error:    fmt.Sprintf("%d of %d messages matched mailbox=%q q=%q in time; %d arrived in all", found, count, v.Get("mailbox"), v.Get("q"), len(arrived)),
		Mailbox:  v.Get("mailbox"),
		Q:        v.Get("q"),
		After:    after,
		Matched:  found,
		Arrived:  arrived,
		Failures: c.needs.Store.Stat().Failed,
	})
}
