package provider

import (
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	for _, c := range []struct{ say, name, host, err string }{
		{say: "sendgrid", name: "sendgrid", host: "smtp.sendgrid.net"},
		{say: "SendGrid", name: "sendgrid", host: "smtp.sendgrid.net"},
		{say: "Send-Grid:eu", name: "sendgrid", host: "smtp.eu.sendgrid.net"},
		{say: "ses", name: "ses", host: "email-smtp.us-east-1.amazonaws.com"},
		{say: "ses:eu-west-1", name: "ses", host: "email-smtp.eu-west-1.amazonaws.com"},
		{say: "amazon-ses:EU-WEST-1", name: "ses", host: "email-smtp.eu-west-1.amazonaws.com"},
		{say: "ses:us-gov-west-1-fips", name: "ses", host: "email-smtp-fips.us-gov-west-1.amazonaws.com"},
		{say: "mailgun:eu", name: "mailgun", host: "smtp.eu.mailgun.org"},
		{say: "m365", name: "microsoft365", host: "smtp.office365.com"},
		{say: "office365", name: "microsoft365", host: "smtp.office365.com"},
		{say: "outlook.com", name: "outlook", host: "smtp-mail.outlook.com"},
		{say: "web.de", name: "webde", host: "smtp.web.de"},
		{say: "powermta", name: "powermta"},
		{say: "generic", name: "generic"},
		{say: "sendgird", err: `did you mean "sendgrid"?`},
		{say: "postmrk", err: `did you mean "postmark"?`},
		{say: "ses:eu-west1", err: `did you mean "ses:eu-west-1"?`},
		{say: "ses:moon-1", err: "has no region"},
		{say: "ses:", err: "has no region"},
		{say: "gmail:eu", err: `has no regions: write "gmail"`},
		{say: "", err: "no provider"},
		{say: "zzzzzzzz", err: "doctor --providers"},
		{say: strings.Repeat("x", 10_000), err: "…"},
	} {
		p, r, err := Find(c.say)
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) || len(err.Error()) > 1000 {
				t.Errorf("%.40q: got error %v, want … %s …", c.say, err, c.err)
			}
		case err != nil:
			t.Errorf("%q: %v", c.say, err)
		case p.Name != c.name || c.host == "" && r != nil || c.host != "" && (r == nil || r.Host != c.host):
			t.Errorf("%q is %s %+v, want %s %s", c.say, p.Name, r, c.name, c.host)
		}
	}
}

func TestByHost(t *testing.T) {
	for _, c := range []struct{ host, name, region, confidence string }{
		{"email-smtp.eu-west-1.amazonaws.com", "ses", "eu-west-1", Verified},
		{"EMAIL-SMTP.eu-west-1.amazonaws.com.", "ses", "eu-west-1", Verified},
		{"email-smtp.xx-new-9.amazonaws.com", "ses", "xx-new-9", Unconfirmed},
		{"vpce-0a1b-2c3d.email-smtp.us-west-2.vpce.amazonaws.com", "ses", "us-west-2", Unconfirmed},
		{"smtp.email.ap-osaka-1.oci.oraclecloud.com", "oci", "ap-osaka-1", Unconfirmed},
		{"smtp.sendgrid.net", "sendgrid", "global", Verified},
		{"example-org.mail.protection.outlook.com", "microsoft365-direct", "", Unconfirmed},
		{"smtp.gmail.com", "gmail", "", Reported},
		{"sendgrid.net", "", "", ""},
		{"email-smtp..amazonaws.com", "", "", ""},
		{"email-smtp.eu-west-1.amazonaws.com.evil.example", "", "", ""},
		{"", "", "", ""},
	} {
		p, r, ok := ByHost(c.host)
		if ok != (c.name != "") {
			t.Errorf("%q: found = %v", c.host, ok)
		} else if ok && (p.Name != c.name || r.Name != c.region || r.Confidence != c.confidence) {
			t.Errorf("%q is %s %+v", c.host, p.Name, *r)
		}
	}
}

// Every host of the catalogue is found again, as the provider it is.
func TestEveryHostIsFoundByItsNames(t *testing.T) {
	for _, p := range All() {
		for _, r := range p.Regions {
			if q, s, ok := ByHost(r.Host); !ok || q != p || s.Name != r.Name {
				t.Errorf("%s: %s is found as %v %v", p.Name, r.Host, q, s)
			}
			if r.Name == "" {
				continue
			}
			if q, s, err := Find(p.Name + ":" + r.Name); err != nil || q != p || s.Host != r.Host {
				t.Errorf("%s:%s: %v", p.Name, r.Name, err)
			}
		}
	}
}

// SH-5: 587, 465, 2525, extras, 25 last.
func TestTryOrder(t *testing.T) {
	for name, want := range map[string]string{
		"ses":      "587 465 2587 2465 25",
		"sendgrid": "587 465 2525 25",
		"smtp2go":  "587 465 2525 8025 80 8465 443 25",
		"postmark": "587 2525 25",
		"generic":  "587 465 2525 25",
	} {
		p, _, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, port := range p.TryOrder() {
			got = append(got, int(port.Number))
		}
		if s := strings.Join(itoa(got), " "); s != want {
			t.Errorf("%s: %s, want %s", name, s, want)
		}
	}
}

// SH-12: a provider's own fields, by name and by stem.
func TestPrivateHeaders(t *testing.T) {
	for _, c := range []struct {
		name, field string
		want        bool
	}{
		{"ses", "X-SES-CONFIGURATION-SET", true},
		{"ses", "x-ses-message-tags", true},
		{"ses", "X-SESSION", false},
		{"ses", "X-SMTPAPI", false},
		{"sendgrid", "x-smtpapi", true},
		{"sendgrid", "X-SMTPAPI2", false},
		{"resend", "Resend-Idempotency-Key", true},
		{"postmark", "X-PM-Message-Stream", true},
		{"generic", "Subject", false},
	} {
		p, _, err := Find(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Private(c.field) != c.want {
			t.Errorf("%s: Private(%q) = %v", c.name, c.field, !c.want)
		}
	}
	for _, p := range All() {
		for _, f := range []string{"From", "To", "Subject", "Date", "Message-ID", "Received", "DKIM-Signature", "Content-Type", "List-Unsubscribe"} {
			if p.Private(f) {
				t.Errorf("%s would take %s from everybody's mail", p.Name, f)
			}
		}
	}
}

func TestMessageIDThatSESGives(t *testing.T) {
	const id = "01020176b6ce1fe6-7ce4d2f3-e075-4386-8574-f91a811fdd89-000000"
	for say, domain := range map[string]string{
		"ses": "email.amazonses.com", "ses:us-east-1-fips": "email.amazonses.com",
		"ses:eu-west-1": "eu-west-1.amazonses.com", "ses:us-west-2-fips": "us-west-2.amazonses.com",
	} {
		p, r, err := Find(say)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := p.MessageID(r, "Ok "+id); !ok || got != "<"+id+"@"+domain+">" {
			t.Errorf("%s: %q %v", say, got, ok)
		}
		for _, reply := range []string{"Ok", "", "2.0.0 queued as 1", "Ok something something"} {
			if got, ok := p.MessageID(r, reply); ok {
				t.Errorf("%s: found %q in %q", say, got, reply)
			}
		}
	}
	p, r, _ := Find("sendgrid")
	if _, ok := p.MessageID(r, "Ok "+id); ok {
		t.Error("SendGrid keeps Message-IDs")
	}
}

func TestWhoseNetwork(t *testing.T) {
	for _, c := range []struct {
		dmi, names []string
		want       string
	}{
		{[]string{"Amazon EC2"}, nil, "aws"},
		{nil, []string{"ec2-192-0-2-1.eu-west-1.compute.amazonaws.com."}, "aws"},
		{[]string{"DigitalOcean", "Droplet"}, nil, "digitalocean"},
		{nil, []string{"static.1.2.0.192.clients.your-server.de"}, "hetzner"},
		{[]string{"Google", "Google Compute Engine"}, nil, "gcp"},
		{[]string{"OracleCloud.com"}, nil, "oracle"},
		{[]string{"LENOVO"}, []string{"host.example.org"}, ""},
		{nil, []string{"notyour-server.de.example.org"}, ""},
		{nil, nil, ""},
	} {
		if n, ok := Whose(c.dmi, c.names); n.Name != c.want || ok != (c.want != "") {
			t.Errorf("%v %v is %q", c.dmi, c.names, n.Name)
		}
	}
}
