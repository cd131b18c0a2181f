package e2e

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"paquebot/test/imitate"
)

// Mail that leaves through large providers, imitated on the ports they publish
// and under their own names, with provider = "NAME" and a credential as the
// whole configuration (standards §14, §25; RC-70..73).

// routeless makes a server that has accounts and routes nothing yet; its name is
// known, so that an imitation can know its addresses.
func routeless(t *testing.T) (*server, *smarthosts) {
	t.Helper()
	return newServer(t, settings{}), &smarthosts{w: need(t)}
}

// run starts the server with these smart hosts.
func (h *smarthosts) run(t *testing.T, s *server, queue string, env ...string) {
	t.Helper()
	s.configure(t, settings{more: h.text.String(), queue: queue})
	s.start(t, env...)
	s.account(t, "anna")
}

func TestWeRelayThroughSES(t *testing.T) {
	t.Parallel()
	s, h := routeless(t)
	const region, secret = "eu-west-1", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00"
	account := func(key string, a imitate.SESAccount) *imitate.SESAccount {
		a.AccessKey, a.Secret = key, secret
		if a.Identities == nil {
			a.Identities = []string{s.name}
		}
		return &a
	}
	im := startImitation(t, "email-smtp.eu-west-1.amazonaws.com", sesAddr, &imitate.SES{Region: region, Accounts: []*imitate.SESAccount{
		account("AKIAGOOD000000000000", imitate.SESAccount{}),
		account("AKIAUNVERIFIED000000", imitate.SESAccount{Identities: []string{"example.com"}}),
		account("AKIASANDBOX000000000", imitate.SESAccount{Sandbox: true}),
		account("AKIAQUOTA00000000000", imitate.SESAccount{PerDay: 1}),
		account("AKIADENIED0000000000", imitate.SESAccount{Denied: true}),
		account("AKIASLOW000000000000", imitate.SESAccount{PerSecond: 1}),
	}})
	const provider = "provider = \"ses:eu-west-1\""
	signIn := func(key string) string { return string(userPass(t, key, imitate.SESPassword(secret, region))) }
	h.everyPort(im, provider, func(int) credential { return credential(signIn("AKIAGOOD000000000000")) })
	for name, c := range map[string]string{
		"otherregion": string(userPass(t, "AKIAGOOD000000000000", imitate.SESPassword(secret, "us-east-1"))),
		"iamsecret":   string(userPass(t, "AKIAGOOD000000000000", secret)),
		"unverified":  signIn("AKIAUNVERIFIED000000"),
		"sandbox":     signIn("AKIASANDBOX000000000"),
		"quota":       signIn("AKIAQUOTA00000000000"),
		"denied":      signIn("AKIADENIED0000000000"),
		"slow":        "rate = \"10/s\"\n" + signIn("AKIASLOW000000000000"), // more than the account's
	} {
		h.add(name, provider, c)
	}
	h.run(t, s, "retry = [\"2s\"]")
	t.Run("port", func(t *testing.T) {
		relaysOnEveryPort(t, s, im, func(int) string { return "AKIAGOOD000000000000" })
	})
	t.Run("trouble", func(t *testing.T) {
		become(t, s, im, []trouble{
			{name: "otherregion", state: "waiting", words: []string{"535", "Authentication Credentials Invalid"}, hint: "belongs to another region"}, // SH-14: region-bound
			{name: "iamsecret", state: "waiting", words: []string{"535"}, hint: "The IAM secret key itself does not work"},
			{name: "unverified", state: "failed", words: []string{"554", "not verified"}, hint: "Verify the identities the reply names"},
			{name: "sandbox", state: "failed", words: []string{"554", "not verified", "sandbox.routed.test"}, hint: "ask for production access"},
			{name: "quota", mail: 2, state: "waiting", words: []string{"454", "Daily message quota"}, hint: "quota for 24 hours"},
			{name: "denied", state: "failed", words: []string{"554", "Access denied"}, hint: "ses:SendRawEmail"},
		})
	})
	t.Run("throttled, and then delivered", func(t *testing.T) { // SH-11, RC-72
		var ids []string
		for range 2 {
			ids = append(ids, s.submit(t, "anna", "", s.note("anna", "one a second"), "anna@slow.routed.test"))
		}
		throttled := 0
		for _, id := range ids {
			s.happens(t, id, "recipient.settled", "delivered")
			tr, err := s.trace(t, id)
			check(t, err)
			if strings.Contains(tr.raw, "454 Throttling failure: Maximum sending rate exceeded") {
				throttled++
			}
		}
		if throttled != 1 {
			t.Errorf("%d messages were throttled, want one", throttled)
		}
		if got := len(im.Messages("Subject: one a second")); got != len(ids) {
			t.Errorf("%d messages arrived, want %d", got, len(ids))
		}
	})
	t.Run("its own header fields", func(t *testing.T) { keepsToItself(t, s, im, "X-SES-CONFIGURATION-SET", "X-SMTPAPI") })
	t.Run("the ID it gives", func(t *testing.T) {
		id := s.submit(t, "anna", "", s.note("anna", "a new name"), "anna@p587.routed.test")
		s.happens(t, id, "recipient.settled", "delivered")
		m := im.Messages("Subject: a new name")[0]
		s.happens(t, id, "delivery.tried", m.ID)
		if m.Header("DKIM-Signature") != "" {
			t.Error("it was signed, which SES refuses beside its own signature")
		}
	})
	im.inOrder(t)
}

func TestWeRelayThroughMailgun(t *testing.T) {
	t.Parallel()
	s, h := routeless(t)
	domain := func(name string, d imitate.MailgunDomain) *imitate.MailgunDomain {
		d.Name, d.Credentials = name, map[string]string{"app@" + name: "secret of " + name}
		return &d
	}
	im := startImitation(t, "smtp.eu.mailgun.org", mailgunAddr, &imitate.Mailgun{Domains: []*imitate.MailgunDomain{
		domain("mg.example.org", imitate.MailgunDomain{}),
		domain("new.example.org", imitate.MailgunDomain{Inactive: true}),
		domain("sandbox1.mailgun.org", imitate.MailgunDomain{Sandbox: true}),
		domain("busy.example.org", imitate.MailgunDomain{Busy: 1}),
	}})
	const provider = "provider = \"mailgun:eu\""
	of := func(name string) credential { return userPass(t, "app@"+name, "secret of "+name) }
	h.everyPort(im, provider, func(int) credential { return of("mg.example.org") })
	h.add("apikey", provider, string(userPass(t, "app@mg.example.org", "key-0123456789abcdef0123456789abcdef")))
	h.add("otherdomain", provider, string(userPass(t, "app@other.example.org", "secret of mg.example.org")))
	h.add("inactive", provider, string(of("new.example.org")))
	h.add("sandbox", provider, string(of("sandbox1.mailgun.org")))
	h.add("busy", provider, string(of("busy.example.org")))
	h.run(t, s, "retry = [\"2s\"]")
	t.Run("port", func(t *testing.T) {
		relaysOnEveryPort(t, s, im, func(int) string { return "app@mg.example.org" })
	})
	t.Run("trouble", func(t *testing.T) {
		become(t, s, im, []trouble{
			{name: "apikey", state: "waiting", words: []string{"535"}, hint: "exactly this sending domain"},
			{name: "otherdomain", state: "waiting", words: []string{"535"}, hint: "exactly this sending domain"}, // a credential is its domain's own
			{name: "inactive", state: "failed", words: []string{"550 5.7.1", "is not allowed to send"}, hint: "activate the account"},
			{name: "sandbox", state: "failed", words: []string{"550 5.7.1", "authorized recipients"}, hint: "Authorise the recipient"},
		})
	})
	t.Run("busy, and then delivered", func(t *testing.T) {
		id := s.submit(t, "anna", "", s.note("anna", "later"), "anna@busy.routed.test")
		s.happens(t, id, "recipient.settled", "delivered")
		if got := len(im.Messages("Subject: later")); got != 1 {
			t.Errorf("%d messages arrived, want one", got)
		}
	})
	im.inOrder(t)
}

func TestWeRelayThroughSendGrid(t *testing.T) {
	t.Parallel()
	s, h := routeless(t)
	key := func(key string, k imitate.SendGridKey) *imitate.SendGridKey {
		k.Key = key
		if k.Senders == nil {
			k.Senders = []string{s.name}
		}
		return &k
	}
	im := startImitation(t, "smtp.sendgrid.net", sendgridAddr, &imitate.SendGrid{Keys: []*imitate.SendGridKey{
		key("SG.good.key", imitate.SendGridKey{Credits: -1}),
		key("SG.foreign.key", imitate.SendGridKey{Credits: -1, Senders: []string{"example.com"}}),
		key("SG.spent.key", imitate.SendGridKey{Credits: 0}),
		key("SG.hourly.key", imitate.SendGridKey{Credits: -1, PerHour: 1}),
	}})
	const provider = "provider = \"sendgrid\""
	of := func(key string) string { return string(userPass(t, "apikey", key)) }
	h.everyPort(im, provider, func(int) credential { return credential(of("SG.good.key")) })
	h.add("unverified", provider, of("SG.foreign.key"))
	h.add("credits", provider, of("SG.spent.key"))
	h.add("hourly", provider, of("SG.hourly.key"))
	h.add("revoked", provider, of("SG.no.more"))
	h.add("username", provider, string(userPass(t, "me@example.org", "SG.good.key")))
	h.run(t, s, "")
	t.Run("port", func(t *testing.T) {
		relaysOnEveryPort(t, s, im, func(int) string { return "apikey" })
	})
	t.Run("trouble", func(t *testing.T) {
		become(t, s, im, []trouble{
			{name: "unverified", state: "failed", words: []string{"550", "verified Sender Identity"}, hint: "Sender Authentication"},
			{name: "credits", state: "waiting", words: []string{"451", "Maximum credits exceeded"}, hint: "messages are used up"},
			{name: "hourly", mail: 2, state: "waiting", words: []string{"452", "throttled"}, hint: "Too many recipients within an hour"},
			{name: "revoked", state: "waiting", words: []string{"535", "invalid, expired, or revoked"}, hint: "make a new API key"},
			{name: "username", state: "waiting", words: []string{"535"}, hint: "username is apikey"}, // SH-14: the word apikey
		})
	})
	t.Run("its own header fields", func(t *testing.T) { keepsToItself(t, s, im, "X-SMTPAPI", "X-SES-CONFIGURATION-SET") })
	im.inOrder(t)
}

// A PowerMTA of one's own: two of its listeners want a sign-in, the two others
// know us by our address.
func TestWeRelayThroughPowerMTA(t *testing.T) {
	t.Parallel()
	s, h := routeless(t)
	us := &net.IPNet{IP: net.IPv4(45, 77, 0, 1), Mask: net.CIDRMask(32, 32)}
	byLogin := map[int]bool{587: true, 465: true}
	im := startImitation(t, "pmta.corp.test", pmtaAddr, &imitate.PowerMTA{
		Host: "pmta.corp.test", Users: map[string]string{"feed": "secret"}, Sources: []*net.IPNet{us}, ByLogin: byLogin,
	})
	crowd := &imitate.PowerMTA{Host: "pmta-busy.corp.test", Sources: []*net.IPNet{us}, TooMany: true}
	busy := startImitation(t, "pmta-busy.corp.test", pmtaBusyAddr, crowd)
	const provider = "provider = \"powermta\"\nhost = \"pmta.corp.test\""
	h.everyPort(im, provider, func(port int) credential {
		if byLogin[port] {
			return userPass(t, "feed", "secret")
		}
		return ""
	})
	h.add("stranger", provider, "ports = [587]")
	h.add("guess", provider, "ports = [587]", string(userPass(t, "feed", "a guess")))
	h.add("crowd", "provider = \"powermta\"\nhost = \"pmta-busy.corp.test\"")
	h.run(t, s, "retry = [\"2s\"]")
	t.Run("port", func(t *testing.T) {
		relaysOnEveryPort(t, s, im, func(port int) string {
			if byLogin[port] {
				return "feed"
			}
			return ""
		})
	})
	t.Run("trouble", func(t *testing.T) {
		become(t, s, im, []trouble{
			{name: "stranger", state: "failed", words: []string{"550 5.7.1", "relaying denied"}, hint: "does not relay for this server"},
			{name: "guess", state: "waiting", words: []string{"535 5.7.8"}, hint: "an smtp-user of its configuration"},
		})
	})
	t.Run("too many, and then delivered", func(t *testing.T) {
		id := s.submit(t, "anna", "", s.note("anna", "when there is room"), "anna@crowd.routed.test")
		s.happens(t, id, "recipient.settled", "waiting", "421", "too many connections")
		crowd.Open()
		s.happens(t, id, "recipient.settled", "delivered")
		if got := len(busy.Messages("Subject: when there is room")); got != 1 {
			t.Errorf("%d messages arrived, want one", got)
		}
	})
	im.inOrder(t)
	busy.inOrder(t)
}

func TestWeRelayThroughMicrosoft365(t *testing.T) {
	t.Parallel()
	s, h := routeless(t)
	box := func(name string, m imitate.Mailbox) *imitate.Mailbox {
		m.Address, m.Password = name+"@contoso.test", "secret of "+name
		if m.SendAs == nil {
			m.SendAs = []string{s.at("anna")}
		}
		return &m
	}
	app := &imitate.EntraApp{ID: "7f0c0000-0000-4000-8000-000000000001", Secret: "client secret", SendAsApp: true,
		Mailboxes: []string{"app@contoso.test", "off@contoso.test", "denied@contoso.test", "held@contoso.test", "three@contoso.test"}}
	soon := &imitate.EntraApp{ID: "7f0c0000-0000-4000-8000-000000000002", Secret: "client secret", SendAsApp: true,
		Mailboxes: []string{"app@contoso.test"}, Lifetime: 3 * time.Second}
	m365 := &imitate.Microsoft365{Tenant: "contoso", Lifetime: time.Hour, Apps: []*imitate.EntraApp{app, soon}, Mailboxes: []*imitate.Mailbox{
		box("app", imitate.Mailbox{}),
		box("basic", imitate.Mailbox{BasicAuth: true}),
		box("nobasic", imitate.Mailbox{}),
		box("off", imitate.Mailbox{SMTPAuthOff: true}),
		box("denied", imitate.Mailbox{SendAs: []string{"another@contoso.test"}}),
		box("held", imitate.Mailbox{Throttled: true}),
		box("three", imitate.Mailbox{TooManyAtOnce: 1}),
		box("foreign", imitate.Mailbox{}),
	}}
	im := startImitation(t, "smtp.office365.com", m365Addr, m365)
	startTokens(t, "login.microsoftonline.com", entraAddr, m365)
	const provider = "provider = \"microsoft365\""
	secret := filepath.Join(s.dir, "client-secret")
	check(t, write(map[string]string{secret: app.Secret + "\n"}))
	tokenOf := func(user string, app *imitate.EntraApp) string {
		return fmt.Sprintf("username = \"%s@contoso.test\"\noauth2 = { tenant = \"contoso\", client_id = %q, client_secret = { file = %q }, scopes = [\"https://outlook.office365.com/.default\"] }", user, app.ID, secret)
	}
	token := func(user string) string { return tokenOf(user, app) }
	basic := func(user string) string { return string(userPass(t, user+"@contoso.test", "secret of "+user)) }
	h.everyPort(im, provider, func(int) credential { return credential(token("app")) })
	h.add("basic", provider, basic("basic"))
	h.add("nobasic", provider, basic("nobasic"))
	for _, name := range []string{"off", "denied", "held", "three", "foreign"} {
		h.add(name, provider, token(name))
	}
	h.add("soon", provider, tokenOf("app", soon))
	h.run(t, s, "retry = [\"2s\"]", "SSL_CERT_FILE="+s.w.ca.caFile) // the token endpoint's certificate
	t.Run("port", func(t *testing.T) {
		relaysOnEveryPort(t, s, im, func(int) string { return "app@contoso.test" })
	})
	t.Run("a password, while the tenant allows it", func(t *testing.T) {
		id := s.submit(t, "anna", "", s.note("anna", "by password"), "anna@basic.routed.test")
		s.happens(t, id, "recipient.settled", "delivered")
		if got := im.Messages("Subject: by password"); len(got) != 1 || got[0].Mechanism != "LOGIN" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("trouble", func(t *testing.T) {
		become(t, s, im, []trouble{
			{name: "nobasic", state: "waiting", words: []string{"550 5.7.30", "Basic authentication"}, hint: "no longer takes a user name and password"}, // RC-71, TRAP-27, AUTH-17
			{name: "off", state: "waiting", words: []string{"535 5.7.139"}, hint: "Set-CASMailbox"},
			{name: "foreign", state: "waiting", words: []string{"535 5.7.3"}, hint: "SMTP.SendAsApp"},
			{name: "denied", state: "failed", words: []string{"554 5.2.252", "SendAsDenied"}, hint: "Send As"},
			{name: "held", state: "failed", words: []string{"550 5.2.252", "throttled"}, hint: "holds this mailbox back"},
		})
	})
	t.Run("too many at once, and then delivered", func(t *testing.T) {
		id := s.submit(t, "anna", "", s.note("anna", "one at a time"), "anna@three.routed.test")
		s.happens(t, id, "recipient.settled", "delivered")
		if got := len(im.Messages("Subject: one at a time")); got != 1 {
			t.Errorf("%d messages arrived, want one", got)
		}
	})
	// Tokens end: the next session signs in with a new one (AUTH-16).
	t.Run("a token that ends soon", func(t *testing.T) {
		before := m365.Issued()
		for _, subject := range []string{"with a token", "with another token"} {
			id := s.submit(t, "anna", "", s.note("anna", subject), "anna@soon.routed.test")
			s.happens(t, id, "recipient.settled", "delivered")
			if m := im.Messages("Subject: " + subject); len(m) != 1 || m[0].Mechanism != "XOAUTH2" {
				t.Errorf("%+v", m)
			}
			im.HangUp()                 // a session that is open already would go on
			<-time.After(soon.Lifetime) // until it has ended
		}
		if n := m365.Issued() - before; n < 2 {
			t.Errorf("%d tokens were asked for, want two", n)
		}
	})
	// An administrator revokes the tokens: the one we keep is refused (535
	// 5.7.3), a new one is asked for at once, and the mail does not wait.
	t.Run("a token that was revoked", func(t *testing.T) {
		s.happens(t, s.submit(t, "anna", "", s.note("anna", "with the old token"), "anna@p587.routed.test"), "recipient.settled", "delivered")
		before := m365.Issued()
		m365.Expire()
		im.HangUp()
		id := s.submit(t, "anna", "", s.note("anna", "with a new token"), "anna@p587.routed.test")
		if e := s.happens(t, id, "recipient.settled", "delivered"); !strings.Contains(e, `"tries":1`) {
			t.Errorf("it took more than one try: %s", e)
		}
		if m := im.Messages("Subject: with a new token"); len(m) != 1 || m[0].Mechanism != "XOAUTH2" {
			t.Errorf("%+v", m)
		}
		if n := m365.Issued() - before; n != 1 {
			t.Errorf("%d tokens were asked for, want one", n)
		}
	})
	im.inOrder(t)
}

// startTokens serves a tenant's token endpoint over HTTPS.
func startTokens(t *testing.T, host, addr string, endpoint http.Handler) {
	t.Helper()
	l, err := need(t).listenThere(addr + ":443")
	check(t, err)
	web := &http.Server{Handler: endpoint, TLSConfig: certificateFor(t, host), ReadHeaderTimeout: 10 * time.Second}
	t.Cleanup(func() { _ = web.Close() })
	go func() { _ = web.ServeTLS(l, "", "") }()
}
