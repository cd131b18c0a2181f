package provider

import (
	"strings"
	"testing"
)

// RC-70..73: what providers say, as read in their pages and in others', and
// what we make of it.
func TestExplain(t *testing.T) {
	for _, c := range []struct {
		provider string
		code     int
		text     string
		class    string
		says     string // in Means or Do
	}{
		{"ses", 454, "Throttling failure: Maximum sending rate exceeded.", "throttle", "maximum sending rate"},
		{"ses", 454, "Throttling failure: Maximum SigV2 SMTP sending rate exceeded.", "throttle", "maximum sending rate"},
		{"ses", 454, "Throttling failure: Daily message quota exceeded.", "throttle", "24 hours"},
		{"ses", 454, "Temporary authentication failure", "soft", "just now"},
		{"ses", 535, "Authentication Credentials Invalid", "auth", "region"},
		{"ses", 554, "Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: a@b.example", "config", "sandbox"},
		{"ses", 554, "MAIL FROM domain not verified: DNS setup for MAIL FROM domain is invalid.", "config", "MX and SPF"},
		{"ses", 554, "Transaction failed: Duplicate header 'DKIM-Signature'.", "config", "DKIM"},
		{"ses", 554, "Access denied: User arn:aws:iam::1:user/x is not authorized to perform ses:SendRawEmail", "auth", "ses:SendRawEmail"},
		{"ses", 421, "Too many concurrent SMTP connections", "throttle", "connections"},
		{"sendgrid", 550, "The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved.", "config", "Sender Authentication"},
		{"sendgrid", 550, "5.7.1 The from address does not match a verified Sender Identity.", "config", "Sender Authentication"},
		{"sendgrid", 451, "Authentication failed: Maximum credits exceeded", "throttle", "used up"},
		{"sendgrid", 535, "Authentication failed: Bad username / password", "auth", "apikey"},
		{"mailgun", 535, "5.7.0 Mailgun: authentication failed", "auth", "mailgun:eu"},
		{"mailgun", 550, "5.7.1 Domain sandbox.mailgun.org is not allowed to send: Please activate your Mailgun account.", "config", "activate"},
		{"microsoft365", 550, "5.7.30 Basic authentication is not supported for Client Submission.", "auth", "OAuth2"},
		{"microsoft365", 535, "5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information.", "config", "Set-CASMailbox"},
		{"microsoft365", 535, "5.7.139 Authentication unsuccessful, the user credentials were incorrect. [X]", "auth", "wrong"},
		{"microsoft365", 535, "5.7.3 Authentication unsuccessful [X]", "auth", "SMTP.SendAsApp"},
		{"microsoft365", 530, "5.7.57 Client not authenticated to send mail. [X]", "auth", "before a sign-in"},
		{"microsoft365", 554, "5.2.252 SendAsDenied; a@b.example not allowed to send as c@b.example; STOREDRV.Submission.Exception:SendAsDeniedException", "config", "Send As"},
		{"microsoft365", 550, "5.2.252 Sender throttled due to continuous send as denied errors.", "throttle", "holds this mailbox back"},
		{"microsoft365", 432, "4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending", "throttle", "three connections"},
		{"microsoft365", 504, "5.7.4 Unrecognized Authentication Type", "auth", "XOAUTH2"},
		{"microsoft365", 550, "5.7.515 Access denied, sending domain EXAMPLE.ORG doesn't meet the required authentication level.", "policy", "DMARC"},
		{"microsoft365-direct", 550, "5.7.64 TenantAttribution; Relay Access Denied", "config", "connector"},
		{"gmail", 534, "5.7.9 Application-specific password required.", "auth", "app password"},
		{"gmail", 535, "5.7.8 Username and Password not accepted.", "auth", "16 letters"},
		{"gmail", 550, "5.4.5 Daily user sending limit exceeded.", "throttle", "day"},
		{"gmail", 550, "5.7.27 Your email has been blocked because the sender is unauthenticated.", "policy", "SPF"},
		{"gmail", 550, "5.7.30 DKIM authentication did not pass.", "policy", "DKIM"},
		{"gmail", 421, "4.7.29 This message wasn't sent over a TLS connection.", "policy", "TLS"},
		{"gmail", 452, "4.2.2 The recipient's inbox is out of storage space. (OverQuotaTemp)", "soft", "full"},
		{"gmail", 421, "4.7.28 Gmail has detected an unusual rate of mail.", "throttle", "slows"},
		{"brevo", 525, "5.7.1 Unauthorized IP address", "auth", "Authorised IPs"},
		{"fastmail", 535, "5.7.0 Incorrect username or password.", "auth", "app password"}, // no rule: the credential's hint
		{"sendgrid", 550, "5.1.1 no such user", "", ""},
		{"ses", 250, "Ok", "", ""},
	} {
		p, _, err := Find(c.provider)
		if err != nil {
			t.Fatal(err)
		}
		h, ok := p.Explain(c.code, c.text)
		if ok != (c.class != "") || h.Class != c.class || !strings.Contains(h.Means+" "+h.Do, c.says) {
			t.Errorf("%s %d %s\n\tgot %+v", c.provider, c.code, c.text, h)
		}
	}
}

// Each example of the catalogue is explained by its own row, not by one above.
func TestEachReplyIsReached(t *testing.T) {
	for _, p := range All() {
		for _, r := range p.Replies {
			code, text := splitReply(r.Example)
			if h, ok := p.Explain(code, text); !ok || h.Means != r.Means {
				t.Errorf("%s: %q is explained by another row: %q", p.Name, r.Example, h.Means)
			}
		}
	}
}

// RC-71: X.7.30 means three things, by who says it.
func TestTheSameCodeMeansWhatItsSpeakerMeans(t *testing.T) {
	for mx, want := range map[string]string{
		"gmail-smtp-in.l.google.com":              "DKIM",
		"aspmx.l.google.com.":                     "DKIM",
		"example-org.mail.protection.outlook.com": "",
	} {
		p, ok := ByMX(mx)
		if !ok {
			t.Fatalf("nobody knows %s", mx)
		}
		h, _ := p.Explain(550, "5.7.30 refused")
		if !strings.Contains(h.Means, want) || want == "" && h.Means != "" {
			t.Errorf("%s: %q", mx, h.Means)
		}
	}
	if p, ok := ByMX("mx.example.org"); ok {
		t.Errorf("mx.example.org is %s's", p.Name)
	}
	if p, ok := ByMX("notgoogle.com"); ok {
		t.Errorf("notgoogle.com is %s's", p.Name)
	}
}
