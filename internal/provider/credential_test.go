package provider

import (
	"strings"
	"testing"
)

// SH-14: the shapes of credentials, and the ones people take for them. Made up.
var (
	iamSecret   = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00"
	sesPassword = "BM2dExampleExampleExampleExampleExampleExamp"
	uuid        = "6f1d2c3b-0a1b-4c2d-8e3f-0123456789ab"
)

func TestCheckCredential(t *testing.T) {
	for _, c := range []struct{ provider, user, pass, want string }{
		{"ses", "AKIAIOSFODNN7EXAMPLE", sesPassword, ""},
		{"ses", "AKIAIOSFODNN7EXAMPLE", iamSecret, "IAM secret access key"},
		{"ses", "ASIAIOSFODNN7EXAMPLE", sesPassword, "temporary credential"},
		{"ses", "inp-abc", "x", "Mail Manager"},
		{"ses", "shop@example.org", sesPassword, "no user name"},
		{"ses", "AKIAIOSFODNN7EXAMPLE", "short", "the password (5 characters)"},
		{"sendgrid", "apikey", "SG.aaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", ""},
		{"sendgrid", "shop@example.org", "SG.a.b", "the word apikey, not an e-mail address"},
		{"sendgrid", "SG.a.b", "SG.a.b", "the API key is the password"},
		{"sendgrid", "apikey", "SG.onlyhalf", "cut off"},
		{"sendgrid", "apikey", "hunter2", "is none of"},
		{"sendgrid", "api_key", "SG.a.b", `always "apikey"`},
		{"resend", "resend", "re_123abc", ""},
		{"resend", "me", "re_123abc", `always "resend"`},
		{"sparkpost", "SMTP_Injection", "0123456789abcdef0123456789abcdef01234567", ""},
		{"sparkpost", "smtp_injection", "0123456789abcdef0123456789abcdef01234567", `always "SMTP_Injection"`},
		{"postmark", uuid, uuid, ""},
		{"postmark", uuid, strings.Replace(uuid, "6", "7", 1), "is also the password"},
		{"postmark", "PM-T-outbound-AbC", "secretkey", ""},
		{"postmark", "me@example.org", "secret", "not an e-mail address"},
		{"mailgun", "postmaster@mg.example.org", "secret", ""},
		{"mailgun", "postmaster", "secret", "no user name"},
		{"mailgun", "api", "key-0123456789abcdef0123456789abcdef", "is an API key"},
		{"brevo", "me@example.org", "xkeysib-abc", "is an API key"},
		{"scaleway", "SCWXXXXXXXXXXXXXXXXX", uuid, "access key"},
		{"gmail", "me@gmail.com", "abcd efgh ijkl mnop", ""},
		{"gmail", "me@gmail.com", "abcdefghijklmnop", ""},
		{"gmail", "me@gmail.com", "Hunter2!", "is none of"},
		{"microsoft365", "app@example.org", "whatever", ""},
		{"microsoft365", "app", "whatever", "no user name"},
		{"microsoft365-direct", "app", "whatever", "takes no user name"},
		{"microsoft365-direct", "", "", ""},
		{"powermta", "", "", ""},
		{"powermta", "feed", "secret", ""},
		{"powermta", "feed", "", "needs a user name and a password"},
		{"google-relay", "", "", ""},
		{"sendgrid", "", "", "needs a user name and a password"},
		{"generic", "anything", "at all", ""},
		{"generic", "anything", "with a line end\n", "line end"},
		{"generic", "anything", " blank", "space"},
	} {
		p, _, err := Find(c.provider)
		if err != nil {
			t.Fatal(err)
		}
		err = p.CheckCredential(c.user, c.pass)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s, %q: got %v, want … %s …", c.provider, c.user, err, c.want)
		}
		// SH-13. Where user and password are one word, the user name is shown.
		if err != nil && len(c.pass) > 5 && c.pass != c.user && strings.Contains(err.Error(), c.pass) {
			t.Errorf("%s: the error says the password: %v", c.provider, err)
		}
	}
}
