package compat

import (
	"encoding/json"
	"io"
	"net/http"
)

func (a *API) getChaos(w http.ResponseWriter, _ *http.Request) {
	if a.needs.Mishaps == nil {
		refuse(w, "Chaos is not enabled")
		return
	}
	writeJSON(w, a.needs.Mishaps.Chaos())
}

// setChaos sets all three triggers; one that is absent is off.
func (a *API) setChaos(w http.ResponseWriter, r *http.Request) {
	if a.needs.Mishaps == nil {
		refuse(w, "Chaos is not enabled")
		return
	}
	var c Chaos
	if err := readJSON(r, &c, false); err != nil {
		refuse(w, err.Error())
		return
	}
	for _, t := range []struct {
		trigger *Trigger
		usual   int
	}{{&c.Sender, 451}, {&c.Recipient, 451}, {&c.Authentication, 535}} {
		if t.trigger.ErrorCode == 0 {
			t.trigger.ErrorCode = t.usual
		}
		switch {
		case t.trigger.ErrorCode < 400 || t.trigger.ErrorCode > 599:
			refuse(w, "error code must be between 400 and 599")
			return
		case t.trigger.Probability < 0 || t.trigger.Probability > 100:
			refuse(w, "probability must be between 0 and 100")
			return
		}
	}
	if err := a.needs.Mishaps.SetChaos(c); err != nil {
		refuse(w, err.Error())
		return
	}
	writeJSON(w, a.needs.Mishaps.Chaos())
}

// usualJim is MailHog's monkey when nothing is said of him.
var usualJim = Jim{
	DisconnectChance: 0.005, AcceptChance: 0.99, LinkSpeedAffect: 0.1, LinkSpeedMin: 1024, LinkSpeedMax: 10240,
	RejectSenderChance: 0.05, RejectRecipientChance: 0.05, RejectAuthChance: 0.05,
}

// jim returns the monkey, false when he sleeps or there is none.
func (a *API) jim() (Jim, bool) {
	if a.needs.Mishaps == nil {
		return Jim{}, false
	}
	return a.needs.Mishaps.Jim()
}

func (a *API) getJim(w http.ResponseWriter, _ *http.Request) {
	j, awake := a.jim()
	if !awake {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	writeJSON(w, j)
}

// wakeJim begins: with the chances of the body, or the usual ones if it has
// none that can be read, as MailHog does.
func (a *API) wakeJim(w http.ResponseWriter, r *http.Request) {
	if _, awake := a.jim(); awake {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	j := usualJim
	var given Jim
	if readJSON(r, &given, false) == nil {
		j = given
	}
	a.putJim(w, j, http.StatusCreated)
}

func (a *API) changeJim(w http.ResponseWriter, r *http.Request) {
	if _, awake := a.jim(); !awake {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	var j Jim
	if err := readJSON(r, &j, false); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	a.putJim(w, j, http.StatusOK)
}

func (a *API) putJim(w http.ResponseWriter, j Jim, status int) {
	if a.needs.Mishaps == nil {
		jsonError(w, http.StatusNotImplemented, "failures on purpose are not part of this instance")
		return
	}
	for _, chance := range []float64{j.DisconnectChance, j.AcceptChance, j.LinkSpeedAffect, j.RejectSenderChance, j.RejectRecipientChance, j.RejectAuthChance} {
		if !(chance >= 0 && chance <= 1) {
			jsonError(w, http.StatusBadRequest, "a chance is between 0 and 1")
			return
		}
	}
	if err := a.needs.Mishaps.SetJim(&j); err != nil {
		jsonError(w, http.StatusBadRequest, err.Error())
		return
	}
	w.WriteHeader(status)
}

func (a *API) sleepJim(w http.ResponseWriter, _ *http.Request) {
	if _, awake := a.jim(); !awake {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if err := a.needs.Mishaps.SetJim(nil); err != nil {
		jsonError(w, http.StatusBadRequest, err.Error())
	}
}

// jsonError is how /api/v1/send and MailHog's routes say what is wrong.
func jsonError(w http.ResponseWriter, status int, sentence string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	b, _ := json.Marshal(struct{ Error string }{sentence})
	io.WriteString(w, string(b)+"\n")
}
