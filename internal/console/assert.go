package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/mail"
)

// Assertion is what a test expects, judged here so that no suite has to poll.
//
// Messages count that match Mailbox, Q and all the texts, and were caught after
// After or Since. With Count.Max the whole of Within is waited for, for one
// more may come; without it the answer comes as soon as Count.Min is reached.
type Assertion struct {
	Mailbox string    `json:"mailbox,omitempty" doc:"Mailbox, which is the SMTP user name."`
	Q       string    `json:"q,omitempty" doc:"Search, in the language of the page."`
	After   string    `json:"after,omitempty" doc:"Only what was caught after this message: its ID or number."`
	Since   time.Time `json:"since,omitzero" doc:"Only what was caught since this time."`
	Count   Count     `json:"count,omitzero"`
	Within  string    `json:"within,omitempty" doc:"How long to wait, as 2s or 500ms; 2s if absent, 0s looks once."`

	SubjectContains []string `json:"subject_contains,omitempty" doc:"Each must stand in the subject."`
	TextContains    []string `json:"text_contains,omitempty" doc:"Each must stand in the text."`
	HTMLContains    []string `json:"html_contains,omitempty" doc:"Each must stand in the HTML source."`
	LinksContain    []string `json:"links_contain,omitempty" doc:"Each must be part of one of the links."`
}

// Count bounds how many messages may match. Without Min and Max it is at least
// one.
type Count struct {
	Min int  `json:"min,omitempty" doc:"At least so many; 1 if neither is given."`
	Max *int `json:"max,omitempty" doc:"At most so many; 0: none may come."`
}

// Judgement is the answer to an Assertion. When it does not hold, Error says why
// in a sentence and Arrived lists what did come.
type Judgement struct {
	OK       bool      `json:"ok"`
	Error    string    `json:"error,omitempty"`
	Matched  int       `json:"matched"`
	Messages []Summary `json:"messages"`
	Arrived  []Arrival `json:"arrived,omitempty"`
}

// Arrival is a message that came, and why it did not count.
type Arrival struct {
	Summary
	Missed string `json:"missed,omitempty"`
}

const (
	assertTime  = 2 * time.Second
	assertTexts = 50 // texts one assertion may name
)

// apiAssert answers 200 when the expectation holds and 409 when it does not.
func (c *console) apiAssert(w http.ResponseWriter, r *http.Request) {
	a, within, err := readAssertion(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(within + slow)) // refused by those that have none
	ctx, cancel := context.WithTimeout(r.Context(), within)
	defer cancel()
	j, err := c.judge(ctx, r, a)
	switch {
	case r.Context().Err() != nil: // nobody listens any more
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case j.OK:
		writeJSON(w, http.StatusOK, j)
	default:
		writeJSON(w, http.StatusConflict, j)
	}
}

func readAssertion(r *http.Request) (Assertion, time.Duration, error) {
	var a Assertion
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return a, 0, fmt.Errorf("the body must be an assertion in JSON, as /api/dev/openapi.json describes it: %w", err)
	}
	within := assertTime
	if a.Within != "" {
		var err error
		if within, err = waitTime(a.Within); err != nil {
			return a, 0, fmt.Errorf("within: %w; write 2s or 500ms", err)
		}
	}
	switch {
	case a.Count.Min < 0 || a.Count.Max != nil && *a.Count.Max < a.Count.Min:
		return a, 0, errors.New("count: min and max do not fit together")
	case a.Count.Min > assertMax || a.Count.Max != nil && *a.Count.Max >= assertMax:
		return a, 0, fmt.Errorf("count: no more than %d messages are looked at; narrow mailbox or q", assertMax)
	case len(a.SubjectContains)+len(a.TextContains)+len(a.HTMLContains)+len(a.LinksContain) > assertTexts:
		return a, 0, fmt.Errorf("more than %d texts", assertTexts)
	}
	if err := isPlace(a.After); err != nil {
		return a, 0, err
	}
	if a.Count.Max == nil {
		a.Count.Min = max(1, a.Count.Min)
	}
	return a, within, nil
}

// assertMax is how many messages one assertion looks at.
const assertMax = 1000

// judge looks again whenever something was caught, until the answer cannot
// change or the time is over. It subscribes before it looks, so that nothing
// comes between.
func (c *console) judge(ctx context.Context, r *http.Request, a Assertion) (Judgement, error) {
	watch, err := c.needs.Store.Subscribe()
	if err != nil {
		return Judgement{}, err
	}
	defer func() { watch.Close() }()
	q, after := catch.ParseQuery(a.Mailbox, a.Q), c.place(a.After, a.Since)
	missed := map[mail.ID]string{} // of each message read: what it lacks, "" for nothing
	for {
		j := c.count(r, a, q, after, missed)
		settled := a.Count.Max == nil && j.OK || a.Count.Max != nil && j.Matched > *a.Count.Max
		if settled {
			return j, nil
		}
		switch err := c.untilNext(ctx, watch, q); {
		case errors.Is(err, errBehind):
			watch.Close()
			if watch, err = c.needs.Store.Subscribe(); err != nil {
				return Judgement{}, err
			}
		case err != nil:
			return j, nil
		}
	}
}

var errBehind = errors.New("too many changes at once")

// untilNext returns when something that matches was caught.
func (c *console) untilNext(ctx context.Context, watch *catch.Watch, q catch.Query) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case change, open := <-watch.C:
			if !open {
				return errBehind
			}
			if change.Kind == catch.Caught && c.needs.Store.Match(q, &change.Message) {
				return nil
			}
		}
	}
}

func (c *console) count(r *http.Request, a Assertion, q catch.Query, after uint64, missed map[mail.ID]string) Judgement {
	j := Judgement{Messages: []Summary{}}
	near := map[mail.ID]bool{}
	for _, m := range c.newer(q, after) {
		if _, known := missed[m.ID]; !known {
			missed[m.ID] = c.lacks(r, a, m)
		}
		if missed[m.ID] == "" {
			j.Matched++
			j.Messages = append(j.Messages, c.summary(m))
			near[m.ID] = true
		}
	}
	j.OK = j.Matched >= a.Count.Min && (a.Count.Max == nil || j.Matched <= *a.Count.Max)
	if j.OK {
		return j
	}
	for _, m := range c.newer(catch.Query{}, after) {
		if near[m.ID] {
			continue
		}
		why, read := missed[m.ID]
		if !read {
			why = fmt.Sprintf("does not match mailbox=%q q=%q", a.Mailbox, a.Q)
		}
		j.Arrived = append(j.Arrived, Arrival{c.summary(m), why})
	}
	j.Error = fmt.Sprintf("%s expected, %d came; %d others arrived", a.Count, j.Matched, len(j.Arrived))
	return j
}

func (n Count) String() string {
	switch {
	case n.Max == nil:
		return fmt.Sprintf("at least %d matching", n.Min)
	case *n.Max == n.Min:
		return fmt.Sprintf("exactly %d matching", n.Min)
	}
	return fmt.Sprintf("%d to %d matching", n.Min, *n.Max)
}

// newer lists what matches and was caught after a place, newest first.
func (c *console) newer(q catch.Query, after uint64) []catch.Message {
	list := c.needs.Store.List(q, 0, assertMax).Messages
	for i, m := range list {
		if m.Seq <= after {
			return list[:i]
		}
	}
	return list
}

// lacks says which text a message does not hold, "" if it holds all.
func (c *console) lacks(r *http.Request, a Assertion, m catch.Message) string {
	if w := without(a.SubjectContains, m.Subject); w != "" {
		return fmt.Sprintf("its subject does not contain %q", w)
	}
	if len(a.TextContains)+len(a.HTMLContains)+len(a.LinksContain) == 0 {
		return ""
	}
	d, err := c.detail(r, m)
	if err != nil {
		return "it could not be read: " + err.Error()
	}
	if w := without(a.TextContains, d.Text); w != "" {
		return fmt.Sprintf("its text does not contain %q", w)
	}
	if w := without(a.HTMLContains, d.HTML); w != "" {
		return fmt.Sprintf("its HTML does not contain %q", w)
	}
	if w := without(a.LinksContain, strings.Join(d.Links, "\n")); w != "" {
		return fmt.Sprintf("none of its links contains %q", w)
	}
	return ""
}

func without(wanted []string, text string) string {
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			return w
		}
	}
	return ""
}

// place turns an ID, a number or a time into a place in the order of catching.
func (c *console) place(after string, since time.Time) uint64 {
	at := c.afterText(after)
	if !since.IsZero() {
		at = max(at, c.needs.Store.SeqSince(since))
	}
	return at
}
