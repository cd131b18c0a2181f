package compat

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Recipients is whom a message is sent on to.
type Recipients struct{ To []string }

const releaseMax = 100 // recipients of one release

// release sends a message on through the usual configured route, as Mailpit
// does. Nothing typed into a request chooses where: only what is configured.
func (a *API) release(w http.ResponseWriter, r *http.Request) {
	m, err := a.find(r, r.PathValue("id"))
	if err != nil {
		fail(w, err)
		return
	}
	var to Recipients
	if err := readJSON(r, &to, false); err != nil {
		refuse(w, err.Error())
		return
	}
	if problem := badRecipients(to.To); problem != "" {
		refuse(w, problem)
		return
	}
	if len(a.relays()) == 0 {
		refuse(w, "SMTP error: no route is configured to release messages through")
		return
	}
	if err := a.needs.Release.Release(r.Context(), m.ID, "", to.To); err != nil {
		refuse(w, "SMTP error: "+err.Error())
		return
	}
	ok(w)
}

func badRecipients(to []string) string {
	switch {
	case len(to) == 0:
		return "No valid addresses found"
	case len(to) > releaseMax:
		return "More than " + strconv.Itoa(releaseMax) + " addresses"
	}
	for _, t := range to {
		if _, err := smtp.ParseAddress(t, true); err != nil {
			return "Invalid email address: " + t
		}
	}
	return ""
}

func (a *API) relays() []Relay {
	if a.needs.Release == nil {
		return nil
	}
	return a.needs.Release.Relays()
}

// HogRelay is a server as MailHog lists it and as its release takes it. Password
// is always empty in answers.
type HogRelay struct {
	Name      string
	Save      bool
	Email     string
	Host      string
	Port      string
	Username  string
	Password  string
	Mechanism string
}

func (a *API) hogRelays(w http.ResponseWriter, _ *http.Request) {
	out := map[string]HogRelay{}
	for _, r := range a.relays() {
		h := HogRelay{Name: r.Name, Host: r.Host, Username: r.User}
		if r.Port != 0 {
			h.Port = strconv.Itoa(int(r.Port))
		}
		if r.User != "" {
			h.Mechanism = "PLAIN"
		}
		out[r.Name] = h
	}
	writeJSON(w, out)
}

// hogRelease sends a message on through a configured route, named or told by
// its host. Its errors are JSON: MailHog's clients read every answer as that.
func (a *API) hogRelease(w http.ResponseWriter, r *http.Request) {
	id, err := parseID(r.PathValue("id"))
	if err == nil {
		_, err = a.needs.Store.Get(id)
	}
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	var to HogRelay
	if err := readLoose(r, &to); err != nil {
		jsonError(w, http.StatusBadRequest, err.Error())
		return
	}
	if a.itself(r, to) && badRecipients([]string{to.Email}) == "" {
		if err := a.again(r, id, to.Email); err != nil {
			jsonError(w, http.StatusInternalServerError, err.Error())
		}
		return
	}
	relay, problem := a.chosen(to)
	if problem = cmp.Or(problem, badRecipients([]string{to.Email})); problem != "" {
		jsonError(w, http.StatusBadRequest, problem)
		return
	}
	if err := a.needs.Release.Release(r.Context(), id, relay.Name, []string{to.Email}); err != nil {
		jsonError(w, http.StatusInternalServerError, err.Error())
	}
}

// chosen finds the configured route that is meant.
func (a *API) chosen(to HogRelay) (Relay, string) {
	all := a.relays()
	if len(all) == 0 {
		return Relay{}, "no route is configured to release messages through"
	}
	for _, r := range all {
		byHost := to.Name == "" && strings.EqualFold(r.Host, to.Host) && (to.Port == "" || r.Port == 0 || to.Port == strconv.Itoa(int(r.Port)))
		if to.Name != "" && r.Name == to.Name || byHost {
			return r, ""
		}
	}
	where := cmp.Or(to.Name, net.JoinHostPort(to.Host, to.Port))
	return Relay{}, "messages are released through configured routes only, and " + where + " is none; see /api/v2/outgoing-smtp"
}

// readLoose reads a relay as MailHog's clients send it: the port is a number or
// a text.
func readLoose(r *http.Request, to *HogRelay) error {
	var m map[string]any
	if err := readJSON(r, &m, false); err != nil {
		return err
	}
	for key, value := range m {
		text, isText := value.(string)
		if n, isNumber := value.(float64); isNumber {
			text, isText = strconv.FormatFloat(n, 'f', -1, 64), true
		}
		if !isText {
			continue
		}
		switch strings.ToLower(key) {
		case "name":
			to.Name = text
		case "email":
			to.Email = text
		case "host":
			to.Host = text
		case "port":
			to.Port = text
		}
	}
	return nil
}

// itself reports that a release leads back here: suites of MailHog's clients do
// that, and nothing leaves the machine.
func (a *API) itself(r *http.Request, to HogRelay) bool {
	own, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		own = r.Host
	}
	here := strings.EqualFold(to.Host, own) || to.Host == "localhost" || to.Host == "127.0.0.1" || to.Host == "::1"
	return a.config.SMTPPort != 0 && to.Name == "" && here && to.Port == strconv.Itoa(int(a.config.SMTPPort))
}

// again catches a message once more, for somebody else.
func (a *API) again(r *http.Request, id mail.ID, to string) error {
	body, err := a.needs.Store.Raw(id)
	if err != nil {
		return err
	}
	defer body.Close()
	env := &mail.Envelope{
		ID: a.needs.IDs(), Arrived: time.Now(), From: "nobody@" + hogHost, Recipients: []mail.Recipient{{Address: to}},
		Origin: originOf(r), Size: body.Size(),
	}
	return a.needs.Store.Catch(context.WithoutCancel(r.Context()), env, env.Recipients, body)
}
