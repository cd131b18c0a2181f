package console

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/mishap"
)

// rulesView is the page of what fails on purpose.
type rulesView struct {
	Rules     []mishap.View
	Deferrals []mishap.Deferral
	Addresses []mishap.Address
	Stages    []mishap.Stage
	Error     string
	Form      ruleForm
}

// ruleForm is a rule as a person writes it; all that a rule can say goes by the
// interface.
type ruleForm struct {
	Stage, User, Recipient, Sender, What, Reply, Delay, Times, JSON string
}

// deferralsOnPage is how many counts the page shows.
const deferralsOnPage = 50

func (c *console) rulesPage(w http.ResponseWriter, r *http.Request) {
	if c.mishaps(w) != nil {
		c.showRules(w, r, http.StatusOK, &rulesView{Form: ruleForm{Stage: "rcpt", What: "reply", Reply: "451"}})
	}
}

func (c *console) showRules(w http.ResponseWriter, r *http.Request, status int, v *rulesView) {
	f := c.frame(r, "rules", "Rules")
	m := c.needs.Mishap
	v.Rules, v.Deferrals = m.Rules(), m.Deferrals(deferralsOnPage)
	v.Addresses, v.Stages = mishap.Addresses(), mishap.Stages()
	f.Rules = v
	c.renderAs(w, status, "page", f)
}

// rulesPost adds the rule of the form, or those written as JSON.
func (c *console) rulesPost(w http.ResponseWriter, r *http.Request) {
	m := c.mishaps(w)
	if m == nil {
		return
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, "This form cannot be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	get := func(name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }
	v := &rulesView{Form: ruleForm{get("stage"), get("user"), get("recipient"), get("sender"), get("what"), get("reply"), get("delay"), get("times"), get("json")}}
	list, err := v.Form.rules()
	if err == nil {
		_, err = m.Add("", list...)
	}
	if err != nil {
		v.Error = sentence(err.Error())
		c.showRules(w, r, http.StatusUnprocessableEntity, v)
		return
	}
	http.Redirect(w, r, c.at("/rules"), http.StatusSeeOther)
}

func (f ruleForm) rules() ([]mishap.Rule, error) {
	if f.JSON != "" {
		return readRuleList([]byte(f.JSON))
	}
	rule := mishap.Rule{Stage: mishap.Stage(f.Stage), Match: mishap.Match{User: f.User, Recipient: f.Recipient, Sender: f.Sender}}
	switch f.What {
	case "drop":
		rule.Do.Drop = true
	case "reset":
		rule.Do.Reset = true
	case "stall":
		rule.Do.Stall = true
	case "reply":
		rule.Do.Reply = f.Reply
	}
	if f.Delay != "" {
		d, err := time.ParseDuration(f.Delay)
		if err != nil {
			return nil, errors.New("the delay is written 5s or 500ms")
		}
		rule.Do.Delay = mishap.Duration(d)
	}
	if f.Times != "" {
		n, err := strconv.Atoi(f.Times)
		if err != nil {
			return nil, errors.New("how often is a number")
		}
		rule.Times = n
	}
	return []mishap.Rule{rule}, nil
}

func (c *console) ruleDeletePost(w http.ResponseWriter, r *http.Request) {
	m := c.mishaps(w)
	if m == nil {
		return
	}
	_ = m.Remove(r.PathValue("rule")) // one that is gone is as wanted
	http.Redirect(w, r, c.at("/rules"), http.StatusSeeOther)
}

func (c *console) rulesClearPost(w http.ResponseWriter, r *http.Request) {
	if m := c.mishaps(w); m != nil {
		m.Clear("")
		http.Redirect(w, r, c.at("/rules"), http.StatusSeeOther)
	}
}

// matches says in words whom a rule is for.
func matches(m mishap.Match) string {
	var out []string
	add := func(name, value string) {
		if value != "" {
			out = append(out, name+" "+value)
		}
	}
	add("user", m.User)
	add("from", m.Sender)
	add("to", m.Recipient)
	add("port", m.Port)
	add("client", m.Client)
	add("EHLO", m.Helo)
	add("SNI", m.SNI)
	add("subject", m.Subject)
	for _, name := range slices.Sorted(maps.Keys(m.Header)) {
		add(name+":", m.Header[name])
	}
	if m.Messages > 0 {
		add("after", strconv.Itoa(m.Messages)+" messages of the session")
	}
	if m.Recipients > 0 {
		add("after", strconv.Itoa(m.Recipients)+" recipients")
	}
	if m.Larger > 0 {
		add("larger than", humanSize(m.Larger))
	}
	if len(out) == 0 {
		return "everybody"
	}
	return strings.Join(out, ", ")
}
