package config

import (
	"fmt"
	"strings"
	"testing"
)

// SH-1, SH-2, SH-5: a provider needs only a credential; modes come from the
// catalogue or the port's usual one, never from a guess at run time; 25 is last.
func TestEndpointsOfASmarthost(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{`provider = "sendgrid"`, "smtp.sendgrid.net:587/starttls 465/tls 2525/starttls 25/starttls"},
		{`provider = "ses"
region = "eu-west-1"`, "email-smtp.eu-west-1.amazonaws.com:587/starttls 465/tls 2587/starttls 2465/tls 25/starttls"},
		{`provider = "ses:eu-west-1"
ports = [2465]`, "email-smtp.eu-west-1.amazonaws.com:2465/tls"},
		{`provider = "ses"
host = "vpce-1.example"
ports = [587]`, "vpce-1.example:587/starttls"},
		{`provider = "generic"
host = "relay.example"`, "relay.example:587/starttls 465/tls 2525/starttls 25/starttls"},
		{`host = "[Relay.example]"
ports = [8465, 8025]`, "relay.example:8465/tls 8025/starttls"},
		{`host = "relay.example"
endpoints = [{ port = 10465, tls = "tls" }, { host = "b.example", port = 465, tls = "starttls" }, { port = 465 }]`,
			"relay.example:10465/tls b.example:465/starttls relay.example:465/tls"},
		{`host = "10.0.0.25"
endpoints = [{ port = 25, tls = "none" }]`, "10.0.0.25:25/none"},
	} {
		c, problems := Parse("x", "hostname = \"mx.example.org\"\ntls.cert = \"a\"\ntls.key = \"b\"\n[[route]]\nvia = \"a\"\n[smarthost.a]\n"+row.text+"\n")
		if Failed(problems) {
			t.Errorf("%s\n%s", row.text, Render(problems))
			continue
		}
		var got []string
		host := ""
		for _, e := range c.Smarthosts["a"].EndpointList() {
			s := fmt.Sprintf("%d/%s", e.Port, e.TLS)
			if e.Host != host {
				s, host = e.Host+":"+s, e.Host
			}
			got = append(got, s)
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("%s\ngot %s", row.text, strings.Join(got, " "))
		}
	}
}

// SH-14: a credential of another kind is named before the provider refuses it;
// the provider's fixed user name need not be given.
func TestCredentialsAreLookedAt(t *testing.T) {
	f := newFolder(t)
	f.write("token", "SG."+strings.Repeat("a", 22)+"."+strings.Repeat("b", 43)+"\n", 0o600)
	f.write("word", "hunter22\n", 0o600)
	for text, want := range map[string]string{
		"provider = \"sendgrid\"\npassword = { file = \"token\" }\n":                                "",
		"provider = \"sendgrid\"\npassword = { file = \"word\" }\n":                                 "smarthost.a.password",
		"provider = \"sendgrid\"\nusername = \"anna\"\npassword = { file = \"token\" }\n":           "smarthost.a.username",
		"host = \"relay.example\"\nusername = \"anna\"\npassword = { file = \"word\" }\n":           "",
		"provider = \"microsoft365\"\nusername = \"a@b.example\"\npassword = { file = \"word\" }\n": "",
	} {
		f.write("paquebot.toml", "hostname = \"mx1.example.org\"\ndata_dir = \""+f.dir+"/data\"\n[[route]]\nvia = \"a\"\n[smarthost.a]\n"+text, 0o600)
		c, problems := Load(f.dir + "/paquebot.toml")
		if c == nil {
			t.Errorf("%s\n%s", text, Render(problems))
			continue
		}
		got := ""
		for _, p := range problems {
			if strings.HasPrefix(p.Key, "smarthost.") {
				got = p.Key
			}
			if strings.Contains(p.Error(), "hunter22") || strings.Contains(p.Error(), "SG.aaa") {
				t.Errorf("the password is told: %v", p) // SH-13
			}
		}
		if got != want {
			t.Errorf("%s\nsaid of %q\n%s", text, got, Render(problems))
		}
	}
}
