package compat

import (
	"context"
	"errors"
	"strings"
	"testing"

	"paquebot/internal/mail"
)

// post is a way out that notes what it is given.
type post struct {
	relays []Relay
	sent   []string
	err    error
}

func (p *post) Relays() []Relay { return p.relays }

func (p *post) Release(_ context.Context, id mail.ID, relay string, to []string) error {
	if p.err == nil {
		p.sent = append(p.sent, id.String()+" by "+relay+" to "+strings.Join(to, ","))
	}
	return p.err
}

func TestRelease(t *testing.T) {
	both := []Relay{{Name: "ses", Host: "smtp.ses.example", Port: 587, User: "key"}, {Name: "mx", Host: ""}}
	const mailpitPath, hogPath = "/api/v1/message/latest/release", "/api/v1/messages/0000000000000001@mailhog.example/release"
	for _, row := range []struct {
		name, path, body string
		fails            error
		status           int
		answer, sent     string
	}{
		{"the usual route", mailpitPath, `{"To":["x@example.org","y@example.org"]}`, nil, 200, "ok", "0000000000000001 by  to x@example.org,y@example.org"},
		{"refused", mailpitPath, `{"To":["x@example.org"]}`, errors.New("the queue is full"), 400, "SMTP error: the queue is full", ""},
		{"by name", hogPath, `{"Name":"ses","Email":"x@example.org"}`, nil, 200, "", "0000000000000001 by ses to x@example.org"},
		{"by host, as npm mailhog says it", hogPath, `{"host":"SMTP.ses.example","port":587,"email":"x@example.org"}`, nil, 200, "", "0000000000000001 by ses to x@example.org"},
		{"another server", hogPath, `{"Host":"evil.example","Port":"25","Email":"x@example.org"}`, nil, 400, "configured routes only", ""},
		{"another port", hogPath, `{"Host":"smtp.ses.example","Port":"25","Email":"x@example.org"}`, nil, 400, "configured routes only", ""},
		{"no address", hogPath, `{"Name":"ses","Email":"nobody"}`, nil, 400, "Invalid email address", ""},
		{"no message", "/api/v1/messages/0000000000000009/release", `{"Name":"ses","Email":"x@example.org"}`, nil, 404, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := &post{relays: both, err: row.fails}
			a := open(t, Config{}, Needs{Release: p})
			put(t, a, 1, "", "a@example.com", simple("x"), "b@example.com")
			w := ask1(t, a, "POST", row.path, row.body)
			if w.Code != row.status || !strings.Contains(w.Body.String(), row.answer) || strings.Join(p.sent, ";") != row.sent {
				t.Errorf("%d %s, sent %v", w.Code, w.Body, p.sent)
			}
		})
	}
	a := open(t, Config{SMTPPort: 1025}, Needs{Release: &post{relays: both}})
	put(t, a, 1, "", "a@example.com", simple("x"), "b@example.com")
	if w := ask1(t, a, "POST", hogPath, `{"host":"localhost","port":"1025","email":"again@example.org"}`); w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if all := a.needs.Store.Newest(0, -1); len(all) != 2 || all[0].Recipients[0].Address != "again@example.org" {
		t.Errorf("%+v", all)
	}
	if list := ask1(t, a, "GET", "/api/v2/outgoing-smtp", "").Body.String(); !strings.Contains(list, `"ses":{"Name":"ses","Save":false,"Email":"","Host":"smtp.ses.example","Port":"587","Username":"key","Password":"","Mechanism":"PLAIN"}`) {
		t.Error(list)
	}
	if ui := ask1(t, a, "GET", "/api/v1/webui", "").Body.String(); !strings.Contains(ui, `"Enabled":true,"SMTPServer":"smtp.ses.example:587"`) {
		t.Error(ui)
	}
}
