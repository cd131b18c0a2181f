package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"paquebot/internal/config"
	"paquebot/internal/mail"
)

// A target is what people write: literals with and without brackets, a dot at
// the end; a port that is none is said to be none.
func TestDoctorTargets(t *testing.T) {
	for name, want := range map[string]string{
		"[::1]:25":             "::1 25",
		"[::1]":                "::1 587",
		"smtp.gmail.com.:587":  "smtp.gmail.com 587",
		"mail.example.org:587": "mail.example.org 587",
		"localhost:70000":      "70000 is no port",
		"[::1]:99999":          "99999 is no port",
		"mail.example.org:0":   "0 is no port",
	} {
		x := &examination{c: &DoctorCmd{}, g: &Globals{}}
		got, err := x.target(context.Background(), name)
		seen := fmt.Sprint(err)
		if err == nil {
			seen = fmt.Sprint(got.Endpoints[0].Host, " ", got.Endpoints[0].Port)
		}
		if !strings.Contains(seen, want) {
			t.Errorf("%s: %s, want %s", name, seen, want)
		}
	}
}

// SH-2: the doctor looks at a smart host's endpoints in the mode configured.
func TestDoctorLooksAsConfigured(t *testing.T) {
	s := config.Smarthost{Host: "relay.example.org", Endpoints: []config.Endpoint{{Port: 2526, TLS: "tls"}, {Port: 465, TLS: "starttls"}, {Port: 2527, TLS: "none"}}}
	want := []mail.Security{mail.Implicit, mail.Verify, mail.Clear}
	for i, e := range smarthostTarget("relay", s).Endpoints {
		if e.Mode != want[i] {
			t.Errorf("%s:%d is looked at with %s, want %s", e.Host, e.Port, e.Mode, want[i])
		}
	}
}

// A credential is tried at the one target that is named, not at all there are.
func TestDoctorCredentialForOneTarget(t *testing.T) {
	for _, targets := range [][]string{nil, {"sendgrid", "postmark"}} {
		c := DoctorCmd{Targets: targets, Auth: true, User: "anna", Password: "/dev/null"}
		if l, err := c.login(&Globals{}); err == nil || l != nil {
			t.Errorf("%v: the credential would be tried", targets)
		}
	}
}
