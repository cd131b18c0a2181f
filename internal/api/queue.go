package api

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"paquebot/internal/mail"
)

func (s *Server) queueSummary(ctx context.Context, _ request) (QueueSummary, error) {
	if s.needs.Queue == nil {
		return QueueSummary{}, absent("queue")
	}
	q, err := s.needs.Queue.Summary(ctx)
	if err != nil {
		return q, err
	}
	q.Schema = "paquebot.queue.summary/1"
	if q.Time.IsZero() {
		q.Time = time.Now().UTC()
	}
	q.Sites, q.Rules = orEmpty(q.Sites), orEmpty(q.Rules)
	slices.SortStableFunc(q.Sites, func(a, b SiteView) int {
		return cmp.Or(cmp.Compare(b.Waiting+b.Ready+b.InAttempt+b.Held, a.Waiting+a.Ready+a.InAttempt+a.Held), cmp.Compare(a.Site, b.Site))
	})
	return q, nil
}

// orEmpty: a list that is empty is [] in JSON, not null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// listMax and listDefault bound a page.
const (
	listMax     = 10000
	listDefault = 100
)

func (s *Server) queueList(ctx context.Context, r request) (MessageList, error) {
	out := MessageList{Schema: "paquebot.queue.list/1", Messages: []Envelope{}}
	if s.needs.Queue == nil {
		return out, absent("queue")
	}
	f, after, limit, err := parseList(r.URL.Query())
	if err != nil {
		return out, err
	}
	for e, err := range s.needs.Queue.List(ctx, f, after) {
		if err != nil {
			return out, err
		}
		if len(out.Messages) == limit {
			out.Next = out.Messages[limit-1].ID.String()
			break
		}
		out.Messages = append(out.Messages, e)
	}
	return out, nil
}

var states = []string{"", "ready", "waiting", "held", "in_attempt"}

// parseList reads a list's query, strictly.
func parseList(q url.Values) (f Filter, after mail.ID, limit int, err error) {
	limit = listDefault
	for name, values := range q {
		v := values[0]
		bad := fault(http.StatusBadRequest, "", "%s=%q is not understood", name, v)
		switch name {
		case "site":
			f.Site = v
		case "domain":
			f.Domain = v
		case "sender":
			f.Sender = v
		case "account":
			f.Account = v
		case "state":
			if f.State = v; !slices.Contains(states, v) {
				return f, after, limit, bad
			}
		case "older_than_seconds":
			if f.OlderThanSeconds, err = strconv.ParseFloat(v, 64); err != nil || f.OlderThanSeconds < 0 {
				return f, after, limit, bad
			}
		case "after":
			if after, err = mail.ParseID(v); err != nil {
				return f, after, limit, bad
			}
		case "limit":
			if limit, err = strconv.Atoi(v); err != nil || limit < 1 || limit > listMax {
				return f, after, limit, bad
			}
		default:
			return f, after, limit, bad
		}
	}
	return f, after, limit, nil
}

// Query writes a filter as parseList reads it.
func (f Filter) Query(after string, limit int) url.Values {
	q := url.Values{}
	for name, v := range map[string]string{"site": f.Site, "domain": f.Domain, "sender": f.Sender, "account": f.Account, "state": f.State, "after": after} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if f.OlderThanSeconds > 0 {
		q.Set("older_than_seconds", strconv.FormatFloat(f.OlderThanSeconds, 'f', -1, 64))
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q
}

func pathID(r request) (mail.ID, error) {
	id, err := mail.ParseID(r.PathValue("id"))
	if err != nil {
		return id, fault(http.StatusBadRequest, "it stands in the reply to the accepted message: 250 2.0.0 Ok: queued as ID", "%q is not a message ID", r.PathValue("id"))
	}
	return id, nil
}

func (s *Server) queueShow(ctx context.Context, r request) (Message, error) {
	id, err := pathID(r)
	if err != nil {
		return Message{}, err
	}
	if s.needs.Spool == nil {
		return Message{}, absent("spool")
	}
	e, err := s.needs.Spool.Envelope(ctx, id)
	if err != nil {
		return Message{}, notHere(id, err)
	}
	return Message{"paquebot.queue.message/1", View(e)}, nil
}

func notHere(id mail.ID, err error) error {
	if f := asFault(err); f.Status == http.StatusNotFound {
		return fault(http.StatusNotFound, "paquebot trace "+id.String(), "message %s is not in the queue (any more)", id)
	}
	return err
}

// queueRaw gives the bytes: an operator can always get the mail out.
func (s *Server) queueRaw(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(request{Request: r})
	if err == nil && s.needs.Spool == nil {
		err = absent("spool")
	}
	if err != nil {
		writeFault(w, err)
		return
	}
	_, body, err := s.needs.Spool.Open(r.Context(), id)
	if err != nil {
		writeFault(w, notHere(id, err))
		return
	}
	defer body.Close()
	w.Header().Set("Content-Type", "message/rfc822")
	w.Header().Set("Content-Length", strconv.FormatInt(body.Size(), 10))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.Copy(w, mail.Reader(body)) // the peer sees by the length that it was cut
}

var actions = []string{Hold, Release, Retry, Bounce, Delete}

func (s *Server) queueAct(ctx context.Context, r request, a Action) (ActionResult, error) {
	switch {
	case s.needs.Queue == nil:
		return ActionResult{}, absent("queue")
	case !slices.Contains(actions, a.Action):
		return ActionResult{}, fault(http.StatusBadRequest, "one of: hold, release, retry, bounce, delete", "there is no action %q", a.Action)
	case a.Filter.Empty() && !a.Filter.All:
		return ActionResult{}, fault(http.StatusBadRequest, "say which mail, or \"all\": true", "%s of everything must be meant", a.Action)
	case a.Seconds < 0 || (a.Seconds > 0 || a.Always) && (a.Action == Release || a.Action == Retry):
		return ActionResult{}, fault(http.StatusBadRequest, "", "%s is done once and has no duration", a.Action)
	}
	a.By = r.By
	res, err := s.needs.Queue.Act(ctx, a)
	if err != nil {
		return res, err
	}
	res.Schema, res.Action, res.DryRun = "paquebot.queue.action/1", a.Action, a.DryRun
	return res, nil
}

func (s *Server) queueRules(ctx context.Context, _ request) (RuleList, error) {
	if s.needs.Queue == nil {
		return RuleList{}, absent("queue")
	}
	rules, err := s.needs.Queue.Rules(ctx)
	return RuleList{"paquebot.queue.rules/1", orEmpty(rules)}, err
}

func (s *Server) queueEndRule(ctx context.Context, r request) (Done, error) {
	if s.needs.Queue == nil {
		return Done{}, absent("queue")
	}
	id := r.PathValue("id")
	if err := s.needs.Queue.EndRule(ctx, id, r.By); err != nil {
		return Done{}, err
	}
	return done("rule %s ended", id), nil
}

func done(format string, args ...any) Done {
	return Done{"paquebot.done/1", fmt.Sprintf(format, args...)}
}
