package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"

	"paquebot/internal/mishap"
)

// Rules are what goes wrong on purpose, with what became of it.
type Rules struct {
	Rules     []mishap.View     `json:"rules"`
	Deferrals []mishap.Deferral `json:"deferrals"` // how far addresses that count have come, "+defer-2"; the newest first
}

// RuleList is what PUT takes, and POST beside a single rule.
type RuleList struct {
	Rules []mishap.Rule `json:"rules"`
}

// RuleFault says why rules were not taken. None of them is in force then.
type RuleFault struct {
	Error string `json:"error"`
	Rule  int    `json:"rule,omitempty"` // which of those sent, 1 first; 0: it is not about one of them
	Key   string `json:"key,omitempty"`  // "do.reply"
}

// Addresses is the table of what an address means.
type Addresses struct {
	Addresses []mishap.Address `json:"addresses"`
}

// rulesBody bounds what rules may take, in octets: mishap.RulesMax of them.
const rulesBody = 1 << 20

// deferralsShown bounds how many counts an answer holds.
const deferralsShown = 500

// mishaps answers 404 where mail cannot fail on purpose.
func (c *console) mishaps(w http.ResponseWriter) *mishap.Mishap {
	if c.needs.Mishap == nil {
		http.Error(w, "Nothing fails on purpose here: that is for paquebot dev.", http.StatusNotFound)
	}
	return c.needs.Mishap
}

func (c *console) apiRules(w http.ResponseWriter, r *http.Request) {
	m := c.mishaps(w)
	if m == nil {
		return
	}
	writeJSON(w, http.StatusOK, rulesOf(m, r.URL.Query().Get("mailbox")))
}

func rulesOf(m *mishap.Mishap, mailbox string) Rules {
	out := Rules{Rules: []mishap.View{}, Deferrals: []mishap.Deferral{}}
	for _, v := range m.Rules() {
		if mailbox == "" || strings.EqualFold(v.Match.User, mailbox) {
			out.Rules = append(out.Rules, v)
		}
	}
	for _, d := range m.Deferrals(deferralsShown) {
		if mailbox == "" || d.User == mailbox {
			out.Deferrals = append(out.Deferrals, d)
		}
	}
	return out
}

// apiPutRules replaces all rules, or with ?mailbox= those of one mailbox.
func (c *console) apiPutRules(w http.ResponseWriter, r *http.Request) {
	m := c.mishaps(w)
	if m == nil {
		return
	}
	list, err := readRules(r)
	mailbox := r.URL.Query().Get("mailbox")
	if err == nil {
		err = m.ReplaceFor(mailbox, list)
	}
	if err != nil {
		refuseRules(w, err)
		return
	}
	writeJSON(w, http.StatusOK, rulesOf(m, mailbox))
}

// apiPostRules adds rules; one whose ID is there already takes its place.
func (c *console) apiPostRules(w http.ResponseWriter, r *http.Request) {
	m := c.mishaps(w)
	if m == nil {
		return
	}
	list, err := readRules(r)
	var added []mishap.View
	if err == nil {
		added, err = m.Add(r.URL.Query().Get("mailbox"), list...)
	}
	if err != nil {
		refuseRules(w, err)
		return
	}
	writeJSON(w, http.StatusCreated, Rules{Rules: added, Deferrals: []mishap.Deferral{}})
}

func (c *console) apiClearRules(w http.ResponseWriter, r *http.Request) {
	if m := c.mishaps(w); m != nil {
		writeJSON(w, http.StatusOK, Deleted{m.Clear(r.URL.Query().Get("mailbox"))})
	}
}

func (c *console) apiRule(w http.ResponseWriter, r *http.Request) {
	m := c.mishaps(w)
	if m == nil {
		return
	}
	v, err := m.Rule(r.PathValue("id"))
	if err != nil {
		http.Error(w, noRule, http.StatusNotFound)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

const noRule = "No such rule: it may have been removed."

func (c *console) apiDeleteRule(w http.ResponseWriter, r *http.Request) {
	m := c.mishaps(w)
	switch {
	case m == nil:
	case m.Remove(r.PathValue("id")) != nil:
		http.Error(w, noRule, http.StatusNotFound)
	default:
		writeJSON(w, http.StatusOK, Deleted{1})
	}
}

func (c *console) apiAddresses(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, Addresses{mishap.Addresses()})
}

// readRules reads a single rule, a list of them, or {"rules": list}. A key that
// no rule has is an error: a misspelt bound would be a test that proves nothing.
func readRules(r *http.Request) ([]mishap.Rule, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("the request is too large or was cut off: %w; add rules in several requests", err)
	}
	return readRuleList(body)
}

func readRuleList(body []byte) (_ []mishap.Rule, err error) {
	body = bytes.TrimSpace(body)
	var raws []json.RawMessage
	switch {
	case len(body) == 0:
		return nil, errors.New("the request is empty; send a rule like " + exampleRule)
	case body[0] == '[':
		err = json.Unmarshal(body, &raws)
	case isList(body):
		var list struct {
			Rules     []json.RawMessage `json:"rules"`
			Deferrals json.RawMessage   `json:"deferrals"` // of an answer of ours that is sent back
		}
		err = strictly(body, &list)
		raws = list.Rules
	default:
		raws = []json.RawMessage{body}
	}
	if err != nil {
		return nil, keyOf(err, -1)
	}
	list := make([]mishap.Rule, len(raws))
	for i, raw := range raws {
		var v mishap.View // what an answer tells of a rule is no fault, and no rule
		if err := strictly(raw, &v); err != nil {
			return nil, keyOf(err, i)
		}
		list[i] = v.Rule
	}
	return list, nil
}

const exampleRule = `{"stage":"rcpt","match":{"recipient":"*@slow.example"},"do":{"delay":"5s"}}`

// isList reports whether an object is {"rules": ...}.
func isList(body []byte) bool {
	var top map[string]json.RawMessage
	if json.Unmarshal(body, &top) != nil {
		return false
	}
	_, is := top["rules"]
	return is
}

func strictly(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more follows after the end of the rule")
	}
	return nil
}

// keyOf says which key of which rule cannot be read.
func keyOf(err error, rule int) error {
	k := &mishap.KeyError{Rule: rule, Why: err.Error()}
	var wrong *json.UnmarshalTypeError
	switch name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); {
	case unknown:
		k.Key = strings.Trim(name, `"`)
		k.Why = "no rule has this key; a rule has " + keysOf(reflect.TypeFor[mishap.Rule]()) + "; its match has " +
			keysOf(reflect.TypeFor[mishap.Match]()) + "; its do has " + keysOf(reflect.TypeFor[mishap.Action]())
	case errors.As(err, &wrong):
		k.Key, k.Why = strings.TrimPrefix(wrong.Field, "Rule."), "cannot be a "+wrong.Value // View embeds it
	}
	return k
}

func keysOf(t reflect.Type) string {
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

func refuseRules(w http.ResponseWriter, err error) {
	fault, status := RuleFault{Error: err.Error()}, http.StatusBadRequest
	var key *mishap.KeyError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &key):
		fault.Rule, fault.Key = key.Rule+1, key.Key
	case errors.Is(err, mishap.ErrTooMany):
		status = http.StatusConflict
	case errors.As(err, &large):
		status = http.StatusRequestEntityTooLarge
	}
	writeJSON(w, status, fault)
}
