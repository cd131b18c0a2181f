package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"paquebot/internal/mail"
	"paquebot/internal/observe"
)

// trace joins what the spool knows now and what the history remembers.
func (s *Server) trace(ctx context.Context, r request) (Trace, error) {
	id, err := s.whichMessage(r)
	if err != nil {
		return Trace{}, err
	}
	t := Trace{Schema: "paquebot.trace/1", ID: id, Events: []Event{}}
	if s.needs.History != nil {
		entries, err := s.needs.History.Of(id)
		if err != nil {
			return t, err
		}
		t.Events = events(entries)
	}
	if s.needs.Spool != nil {
		e, err := s.needs.Spool.Envelope(ctx, id)
		if err == nil {
			v := View(e)
			s.comesNext(ctx, &v)
			t.Envelope = &v
		} else if !errors.Is(err, mail.ErrNotFound) {
			return t, err
		}
	}
	if t.Envelope == nil {
		t.Envelope = Remembered(id, t.Events)
	}
	if t.Envelope == nil && len(t.Events) == 0 {
		return t, fault(http.StatusNotFound, "the history remembers as long as [history] retention says; is the ID whole?", "message %s is not known here", id)
	}
	return t, nil
}

// whichMessage reads an ID of ours, a Message-ID, or the ID under which a
// provider has the message.
func (s *Server) whichMessage(r request) (mail.ID, error) {
	id, err := pathID(r)
	if err == nil || s.needs.History == nil {
		return id, err
	}
	known, ok, trouble := s.needs.History.Find(r.PathValue("id"))
	switch {
	case trouble != nil:
		return id, trouble
	case ok:
		return known, nil
	case strings.Contains(r.PathValue("id"), "@"):
		return id, fault(http.StatusNotFound, "the history remembers as long as [history] retention says; is the ID whole?", "no message with the ID %s is known here", r.PathValue("id"))
	}
	return id, err
}

// comesNext adds what the queue alone knows of a live message: that a recipient
// waits for its site, which is not written on the message, until when, and why
// (P7).
func (s *Server) comesNext(ctx context.Context, v *Envelope) {
	if s.needs.Queue == nil {
		return
	}
	for now, err := range s.needs.Queue.List(ctx, Filter{ID: v.ID}, mail.ID{}) {
		if err != nil {
			return
		}
		for _, n := range now.Recipients {
			i := slices.IndexFunc(v.Recipients, func(r Recipient) bool { return r.Address == n.Address })
			if i < 0 || n.State != "waiting" && n.State != "held" && (n.State != "ready" || n.Why == "") {
				continue
			}
			r := &v.Recipients[i]
			r.State, r.Site, r.Due = n.State, n.Site, n.Due
			if n.Why != "" {
				r.Why = n.Why
			}
		}
	}
}

func events(entries []observe.Entry) []Event {
	out := make([]Event, 0, len(entries))
	for _, e := range entries {
		out = append(out, Event{Time: e.Time, Type: e.Type, Facts: e.Facts})
	}
	// The queue may begin before the session has told of the arrival.
	slices.SortStableFunc(out, func(a, b Event) int { return arrival(a) - arrival(b) })
	return out
}

// arrival orders the arrival before everything else.
func arrival(e Event) int {
	if e.Type == "message.accepted" || e.Type == "message.refused" {
		return 0
	}
	return 1
}

// facts are what Remembered reads from events; see observe/facts.go.
type facts struct {
	Sender     string   `json:"sender"`
	Recipients []string `json:"recipients"`
	Recipient  string   `json:"recipient"`
	Size       int64    `json:"size_bytes"`
	Subject    string   `json:"subject"`
	MessageID  string   `json:"message_id"`
	Session    string   `json:"session"`
	Role       string   `json:"role"`
	Listener   string   `json:"listener"`
	Client     string   `json:"client"`
	Name       string   `json:"name"`
	Helo       string   `json:"helo"`
	TLS        string   `json:"tls"`
	Account    string   `json:"account"`
	Method     string   `json:"method"`
	State      string   `json:"state"`
	Tries      uint32   `json:"tries"`
	Site       string   `json:"site"`
	Host       string   `json:"host"`
	Reply      string   `json:"reply"`
	Why        string   `json:"why"`
}

// Remembered makes an envelope of a message that left the spool, from its
// events; nil when its arrival is forgotten.
func Remembered(id mail.ID, events []Event) *Envelope {
	var e *Envelope
	at := map[string]int{}
	for _, ev := range events {
		var f facts
		if json.Unmarshal(ev.Facts, &f) != nil {
			continue
		}
		switch ev.Type {
		case "message.accepted", "message.refused":
			e = &Envelope{
				ID: id, Arrived: id.Time().UTC(), Sender: f.Sender, Size: f.Size, Subject: f.Subject, MessageID: f.MessageID, Recipients: []Recipient{},
				Origin: Origin{Role: f.Role, Port: f.Listener, Client: f.Client, Name: f.Name, Helo: f.Helo, TLS: f.TLS, Account: f.Account, Method: f.Method, Session: f.Session},
			}
			if e.Sender == "<>" {
				e.Sender = ""
			}
			for i, a := range f.Recipients {
				at[a] = i
				e.Recipients = append(e.Recipients, Recipient{Address: a, State: "unknown"})
			}
		case "recipient.settled":
			if e == nil {
				continue
			}
			i, known := at[f.Recipient]
			if !known { // expanded from an alias, or beyond what an event lists
				i = len(e.Recipients)
				at[f.Recipient] = i
				e.Recipients = append(e.Recipients, Recipient{Address: f.Recipient})
			}
			r := &e.Recipients[i]
			r.State, r.Tries, r.Site, r.Host, r.Reply, r.Why, r.LastTry = f.State, f.Tries, f.Site, f.Host, f.Reply, f.Why, ev.Time
		}
	}
	return e
}
