package catch

import (
	"slices"
	"strings"
	"sync"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// Session is a connection in which something was refused, with what its owner
// should change.
type Session struct {
	ID       string       `json:"id"`
	At       time.Time    `json:"at"`
	Origin   mail.Origin  `json:"origin"`
	Problems []Problem    `json:"problems"`
	Advice   string       `json:"advice,omitempty"`
	Ended    string       `json:"ended,omitempty"`  // why it ended, "" while it lasts
	Messages int          `json:"messages"`         // accepted all the same
	Mishap   string       `json:"mishap,omitempty"` // what failed on purpose: a rule's ID, or an address's word like "+550"; "" if nothing did
	Dialogue []event.Line `json:"dialogue,omitempty"`
}

// Problem is one refusal in a session.
type Problem struct {
	At      time.Time `json:"at"`
	Command string    `json:"command,omitempty"`
	Reply   string    `json:"reply"`
	Rule    string    `json:"rule,omitempty"`
	Advice  string    `json:"advice,omitempty"`
	Mishap  string    `json:"mishap,omitempty"` // it was on purpose: the rule's ID, or the address's word
}

const (
	sessionsMax  = 200  // failed sessions kept, the oldest go first
	problemsMax  = 50   // of one session
	linesMax     = 1000 // of one dialogue
	lineMax      = 1000 // octets of one line
	dialoguesMax = 2000 // kept in memory until their message is caught
	lateMax      = 4096 // messages whose late dialogue waits to be written
)

// sessions is fed by events and never waits for the disk.
type sessions struct {
	mu     sync.Mutex
	failed []*Session // oldest first
	talks  map[mail.ID][]event.Line
	order  []mail.ID // of talks, oldest first
	closed bool

	refused uint64 // since the store was opened
}

func (s *sessions) total() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

func (s *sessions) init() { s.talks = map[mail.ID][]event.Line{} }

func (s *sessions) closeWith(end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		end()
	}
}

// Emit takes what the store keeps of the event stream. It implements event.Sink.
func (s *Store) Emit(e event.Event) {
	switch e := e.(type) {
	case event.MessageAccepted:
		s.heardDialogue(e)
	case event.MishapStruck:
		s.struck(e)
	case event.CommandRefused:
		if onPurpose(e.Rule) {
			return // told already
		}
		s.failed(e.Origin, Problem{Command: e.Command, Reply: e.Reply.String(), Rule: e.Rule, Advice: e.Advice})
	case event.TLSFailed:
		s.failed(e.Origin, Problem{Command: "TLS handshake", Reply: e.Error, Rule: "tls", Advice: e.Advice})
	case event.AuthFailed:
		s.failed(e.Origin, Problem{Command: "AUTH " + e.Method, Reply: e.Reply.String(), Rule: e.Reason})
	case event.Attacked:
		s.failed(e.Origin, Problem{Reply: e.Detail, Rule: e.Kind})
	case event.MessageRefused:
		if onPurpose(e.Rule) {
			return
		}
		s.failed(e.Envelope.Origin, Problem{Command: "the message", Reply: e.Reply.String(), Rule: e.Rule})
	case event.ConnectionRefused:
		s.failed(mail.Origin{Listener: e.Listener, Role: e.Role, Client: e.Client}, Problem{Command: "connect", Reply: e.Reply.String(), Rule: e.Reason})
	case event.SessionEnded:
		s.ended(e)
	}
}

// onPurpose recognises the refusals of which event.MishapStruck tells more.
func onPurpose(rule string) bool { return strings.HasPrefix(rule, "mishap:") }

// struck notes what failed on purpose. A delay is no failure.
func (s *Store) struck(e event.MishapStruck) {
	if !e.Fails {
		return
	}
	command := e.Stage
	switch to := e.Recipient; {
	case to != "":
		command += " " + to
	case e.Sender != "":
		command += " " + e.Sender
	case e.User != "":
		command += " " + e.User
	}
	said := e.Action
	if e.Reply.Code != 0 {
		said = e.Reply.String()
	}
	s.failed(e.Origin, Problem{Command: command, Reply: said, Rule: "mishap:" + e.Rule, Mishap: e.Rule,
		Advice: "refused on purpose by " + e.Rule})
}

// heardDialogue keeps a dialogue until its message is caught; if that has
// happened already, writeLate finds out.
func (s *Store) heardDialogue(e event.MessageAccepted) {
	if len(e.Dialogue) == 0 || e.Envelope == nil {
		return
	}
	id := e.Envelope.ID
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	if s.sessions.closed {
		return
	}
	if _, known := s.sessions.talks[id]; !known {
		s.sessions.order = append(s.sessions.order, id)
	}
	s.sessions.talks[id] = withRepairs(clipLines(ofLastMessage(e.Dialogue)), e.Repaired)
	for len(s.sessions.order) > dialoguesMax {
		delete(s.sessions.talks, s.sessions.order[0])
		s.sessions.order = s.sessions.order[1:]
	}
	select {
	case s.late <- id:
	default: // it stays in memory, and is read from there
	}
}

// mended begins the line of a dialogue that tells what submission changed.
const mended = "(mended: "

// withRepairs adds what was changed to what was said: it belongs to how the
// message came in, and is kept and shown with it.
func withRepairs(lines []event.Line, repaired []string) []event.Line {
	if len(repaired) == 0 || len(lines) == 0 {
		return lines
	}
	last := lines[len(lines)-1]
	return append(lines, event.Line{At: last.At, TLS: last.TLS, Text: mended + strings.Join(repaired, "; ") + ")"})
}

// Repairs returns what submission changed of a message, as its dialogue tells.
func Repairs(lines []event.Line) []string {
	for _, l := range lines {
		if text, ok := strings.CutPrefix(l.Text, mended); ok && !l.Client {
			return strings.Split(strings.TrimSuffix(text, ")"), "; ")
		}
	}
	return nil
}

// ofLastMessage keeps of a session's dialogue how it began and the transaction
// of its newest message: a hundred messages on one connection would otherwise
// keep each other's lines a hundred times.
func ofLastMessage(lines []event.Line) []event.Line {
	first, last := -1, -1
	for i, l := range lines {
		if l.Client && len(l.Text) >= 5 && strings.EqualFold(l.Text[:5], "MAIL ") {
			if last = i; first < 0 {
				first = i
			}
		}
	}
	if first == last {
		return lines
	}
	gap := event.Line{At: lines[first].At, TLS: lines[first].TLS, Text: "(" + itoa(last-first) + " lines of earlier transactions)"}
	return slices.Concat(lines[:first], []event.Line{gap}, lines[last:])
}

// clipLines bounds a dialogue: its beginning and its end tell most.
func clipLines(lines []event.Line) []event.Line {
	if len(lines) > linesMax {
		half := linesMax / 2
		gap := event.Line{At: lines[half].At, Text: itoa(len(lines)-linesMax) + " lines are not kept"}
		lines = slices.Concat(lines[:half], []event.Line{gap}, lines[len(lines)-half:])
	}
	out := slices.Clone(lines)
	for i := range out {
		out[i].Text = clip(out[i].Text, lineMax)
	}
	return out
}

// takeDialogue hands out a dialogue for its message's record.
func (s *sessions) takeDialogue(id mail.ID) []event.Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := s.talks[id]
	if lines != nil {
		delete(s.talks, id)
		if i := slices.Index(s.order, id); i >= 0 {
			s.order = slices.Delete(s.order, i, i+1)
		}
	}
	return lines
}

func (s *sessions) dialogue(id mail.ID) []event.Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.talks[id]
}

// lateDialogue is the record of a dialogue that came after its message.
type lateDialogue struct {
	ID       mail.ID      `json:"id"`
	Dialogue []event.Line `json:"dialogue"`
}

// writeLate writes down the dialogues of messages caught before they were heard.
func (s *Store) writeLate() {
	for id := range s.late {
		s.mu.Lock()
		if e := s.byID[id]; e != nil && !e.talked && e.talk == nil {
			s.writeDialogue(e)
		}
		s.mu.Unlock()
	}
}

func (s *Store) writeDialogue(e *entry) {
	lines := s.sessions.takeDialogue(e.ID)
	if lines == nil {
		return
	}
	at, err := s.appendRecord(kindDialogue, lateDialogue{ID: e.ID, Dialogue: lines}, nil, 0)
	if err != nil {
		return // a dialogue is not worth more than that; Catch will hear of the disk
	}
	if s.byID[e.ID] != e { // making room for it let the message go
		return
	}
	e.talk = &at
	s.active.live++
	s.active.kept += at.total()
}

// failed notes a refusal with the session it belongs to.
func (s *Store) failed(o mail.Origin, p Problem) {
	p.At = time.Now()
	p.Command, p.Reply, p.Rule, p.Advice = clip(p.Command, lineMax), clip(p.Reply, lineMax), clip(p.Rule, lineMax), clip(p.Advice, lineMax)
	s.sessions.mu.Lock()
	f := s.sessions.of(o, p.At)
	if o.Helo != "" {
		f.Origin = o
	}
	if !repeats(f.Problems, p) {
		s.sessions.refused++
		if len(f.Problems) < problemsMax {
			f.Problems = append(f.Problems, p)
		}
	}
	if p.Advice != "" {
		f.Advice = p.Advice
	}
	if p.Mishap != "" && f.Mishap == "" {
		f.Mishap = p.Mishap
	}
	c := f.copy()
	s.sessions.mu.Unlock()
	s.watchers.tell(Change{Kind: Failed, Session: &c})
}

// repeats reports whether p is told a second time: a failed AUTH is an event of
// its own and then a refused command.
func repeats(have []Problem, p Problem) bool {
	if len(have) == 0 || p.Command != "AUTH" {
		return false
	}
	last := &have[len(have)-1]
	if last.Reply != p.Reply || !strings.HasPrefix(last.Command, "AUTH ") {
		return false
	}
	last.Advice = p.Advice
	return true
}

// of finds the session or begins to keep it.
func (s *sessions) of(o mail.Origin, now time.Time) *Session {
	for i := len(s.failed) - 1; i >= 0 && o.Session != ""; i-- {
		if s.failed[i].ID == o.Session {
			return s.failed[i]
		}
	}
	f := &Session{ID: o.Session, At: now, Origin: o}
	s.failed = append(s.failed, f)
	if len(s.failed) > sessionsMax {
		s.failed = slices.Delete(s.failed, 0, len(s.failed)-sessionsMax)
	}
	return f
}

// ended completes what is known of a session that failed.
func (s *Store) ended(e event.SessionEnded) {
	if e.Refusals == 0 && e.Advice == "" && !leftEmpty(e) {
		return
	}
	s.sessions.mu.Lock()
	f := s.sessions.of(e.Origin, time.Now())
	if leftEmpty(e) {
		f.Problems = append(f.Problems, Problem{At: f.At, Command: "EHLO", Reply: "The client left without sending anything", Rule: "left",
			Advice: "If it wanted to sign in: this port is for mail from server to server and offers no AUTH; use a submission port."})
		f.Advice = f.Problems[len(f.Problems)-1].Advice
	}
	f.Origin, f.Ended, f.Messages = e.Origin, e.Reason, e.Messages
	f.Dialogue = clipLines(e.Dialogue)
	if e.Advice != "" {
		f.Advice = clip(e.Advice, lineMax)
	}
	c := f.copy()
	s.sessions.mu.Unlock()
	s.watchers.tell(Change{Kind: Failed, Session: &c})
}

// leftEmpty recognises a client that greeted the port without AUTH, saw that
// there is none, and gave up in silence: nothing was refused, and nothing came.
// A probe that only connects is none.
func leftEmpty(e event.SessionEnded) bool {
	if e.Origin.Role != mail.RoleMX || e.Messages > 0 || e.Refusals > 0 || !e.Origin.ESMTP {
		return false
	}
	for _, l := range e.Dialogue {
		if l.Client && len(l.Text) >= 5 && strings.EqualFold(l.Text[:5], "MAIL ") {
			return false
		}
	}
	return e.Dialogue != nil
}

func (f *Session) copy() Session {
	c := *f
	c.Problems, c.Dialogue = slices.Clone(f.Problems), slices.Clone(f.Dialogue)
	return c
}

// Sessions returns the failed sessions, newest first.
func (s *Store) Sessions() []Session {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	out := make([]Session, 0, len(s.sessions.failed))
	for i := len(s.sessions.failed) - 1; i >= 0; i-- {
		out = append(out, s.sessions.failed[i].copy())
	}
	return out
}

func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.failed)
}

// ClearSessions forgets the failed sessions.
func (s *Store) ClearSessions() {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	s.sessions.failed = nil
}
