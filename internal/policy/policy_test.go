package policy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/mail"
	"paquebot/internal/message"
	"paquebot/internal/smtp"
)

// zone is DNS in a table; what is not in it does not exist.
type zone map[string]string // "mx", "null", "a", "nothing", "trouble"

func (z zone) MX(_ context.Context, name string) dns.Answer[dns.MX] {
	switch z[name] {
	case "mx":
		return dns.Answer[dns.MX]{Status: dns.OK, Records: []dns.MX{{Preference: 10, Host: "mx." + name}}}
	case "null":
		return dns.Answer[dns.MX]{Status: dns.OK, Records: []dns.MX{{Host: "."}}}
	case "a", "nothing", "a-trouble":
		return dns.Answer[dns.MX]{Status: dns.NoData}
	case "trouble":
		return dns.Answer[dns.MX]{Status: dns.Temp}
	}
	return dns.Answer[dns.MX]{Status: dns.NXDomain}
}

func (z zone) Addrs(_ context.Context, name string) dns.Answer[netip.Addr] {
	switch z[name] {
	case "a":
		return dns.Answer[netip.Addr]{Status: dns.OK, Records: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	case "a-trouble":
		return dns.Answer[netip.Addr]{Status: dns.Temp}
	}
	return dns.Answer[netip.Addr]{Status: dns.NoData}
}

// people may send as what the table says.
type people struct {
	may   map[string][]string
	peek  error
	allow error
	fault error
	asked []string // of Allow
}

func (p *people) MaySend(account, address string) (bool, error) {
	return slices.Contains(p.may[account], address), p.fault
}
func (p *people) SendersOf(account string) []string { return p.may[account] }
func (p *people) Peek(string) error                 { return p.peek }
func (p *people) Allow(account string, recipients int, size int64) error {
	p.asked = append(p.asked, fmt.Sprintf("%s %d %d", account, recipients, size))
	return p.allow
}

// hop is the next hop of verified domains.
type hop struct {
	answers map[string]error
	asked   int
}

func (h *hop) Verify(_ context.Context, address string) error {
	h.asked++
	err, known := h.answers[address]
	if !known {
		return smtp.NoMailbox
	}
	return err
}

var (
	stranger = mail.Origin{Role: mail.RoleMX, Client: addr("198.51.100.7:4000"), Helo: "mail.peer.example", ESMTP: true}
	listed   = mail.Origin{Role: mail.RoleMX, Client: addr("192.0.2.9:4000"), Helo: "web1"}
	anna     = mail.Origin{Role: mail.RoleSubmission, Client: addr("203.0.113.5:4000"), Helo: "laptop", Account: "anna"}
	nobody   = mail.Origin{Role: mail.RoleSubmission, Client: addr("203.0.113.5:4000"), Helo: "laptop"}
	lan      = mail.Origin{Role: mail.RoleSubmission, Client: addr("192.0.2.9:4000"), Helo: "printer", Trusted: true}
)

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func world() (Config, Needs) {
	return Config{
			Hostname: "mx1.example.org",
			Domains: []Domain{
				{Name: "example.org", Recipients: Recipients{List: []string{"anna", "Bob@example.org", `"odd one"`, "50%off"}}, Aliases: map[string][]string{
					"sales": {"anna", "bob", "carol@elsewhere.example"},
					"info":  {"sales", "anna"},
					"loop":  {"pool"}, "pool": {"loop"},
					"keep": {"keep", "archive@elsewhere.example"},
					"one":  {"dora@elsewhere.example"},
				}},
				{Name: "any.example", Recipients: Recipients{Any: true}},
				{Name: "*.any.example"},
				{Name: "catch.example", Recipients: Recipients{List: []string{"anna"}}, CatchAll: "anna"},
				{Name: "verify.example", Recipients: Recipients{Verify: true}},
				{Name: "bücher.example", Recipients: Recipients{List: []string{"anna"}}},
			},
			Addresses:     []netip.Addr{netip.MustParseAddr("203.0.113.25"), netip.MustParseAddr("2001:db8::25")},
			RelayNetworks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		}, Needs{
			DNS: zone{"peer.example": "mx", "elsewhere.example": "mx", "a.example": "a", "null.example": "null",
				"nothing.example": "nothing", "trouble.example": "trouble", "atrouble.example": "a-trouble", "xn--bcher-kva.example": "mx"},
			Accounts: &people{may: map[string][]string{"anna": {"anna@example.org", "news@example.org"}, "bulk": {"", "bulk@example.org"}}},
			Verifier: &hop{answers: map[string]error{"yes@verify.example": nil, "maybe@verify.example": errors.New("connection refused"), "later@verify.example": smtp.LocalError}},
		}
}

func build(t *testing.T, c Config, n Needs) *Policy {
	t.Helper()
	p, err := New(c, n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rcpt returns the recipients as text, "address" or "address<alias", or the reply.
func rcpt(p *Policy, o mail.Origin, from, to string) string {
	list, err := p.Rcpt(context.Background(), o, from, to)
	if err != nil {
		return wire(err)
	}
	var out []string
	for _, r := range list {
		if r.State == mail.Expanded {
			continue
		}
		s := r.Address
		if r.Alias != "" {
			s += "<" + r.Alias
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func wire(err error) string {
	if err == nil {
		return "ok"
	}
	return smtp.AsReply(err).String()
}

func rule(err error) string {
	var r interface {
		Rule() string
		Advice() string
	}
	if errors.As(err, &r) {
		return r.Rule()
	}
	return ""
}

func TestStrangersRelayNothing(t *testing.T) { // REL-1, P25-2: the classical forms
	p := build(t, first(world()), second(world()))
	for _, to := range []string{
		"user@elsewhere.example", "user%elsewhere.example@example.org", `"user@elsewhere.example"@example.org`,
		`"user%elsewhere.example"@example.org`, "user%elsewhere.example@any.example", `"user@elsewhere.example"@any.example`,
		"@example.org:user@elsewhere.example", "user@elsewhere.example@example.org", "user@elsewhere.example@any.example",
		"user@[203.0.113.25]", "user@[198.51.100.1]", "user@[IPv6:2001:db8::25]", "user@elsewhere.example.", "user@example.org.",
		"elsewhere.example!user@any.example", "elsewhere.example!user", "elsewhere.example!user@example.org", "user",
		"user%elsewhere.example", "user@localhost", "user@", "@example.org", "user@sub.example.org", "user@xexample.org",
		"user%elsewhere.example@[203.0.113.25]", "user@any.example%elsewhere.example@sub.any.example", "@any.example:user@any.example",
	} {
		for _, from := range []string{"", "who@peer.example", "anna@example.org", "anna@[203.0.113.25]", "root@mx1.example.org"} {
			_, err := p.Rcpt(context.Background(), stranger, from, to)
			r := smtp.AsReply(err)
			if err == nil || r.Code != 550 || r.Enhanced != (smtp.Enhanced{Class: 5, Subject: 7, Detail: 1}) || rule(err) != "relay" {
				t.Errorf("from <%s> to <%s>: %s", from, to, wire(err))
			}
		}
	}
}

func first(c Config, _ Needs) Config { return c }
func second(_ Config, n Needs) Needs { return n }

func TestRecipients(t *testing.T) {
	const (
		denied = "550 5.7.1 <%s>: relaying denied"
		hinted = denied + "; mail programs submit on port 587 or 465, with a login"
		none   = "550 5.1.1 <%s>: no such user"
		ok     = "%s"
	)
	p := build(t, first(world()), second(world()))
	home := stranger
	home.Helo = "laptop"
	for _, c := range []struct {
		o        mail.Origin
		from, to string
		want     string
	}{
		// P25-1: what we serve, byte-exact (SRV-29)
		{stranger, "x@peer.example", "anna@example.org", ok},
		{stranger, "x@peer.example", "ANNA@Example.ORG", ok},
		{stranger, "x@peer.example", "anna+tag@example.org", ok},
		{stranger, "", "bob@example.org", ok},
		{stranger, "x@peer.example", `"odd one"@example.org`, ok},
		{stranger, "x@peer.example", "50%off@example.org", ok}, // listed: its "%" is just a character (REL-2)
		{stranger, "x@peer.example", "who@example.org", none},  // P25-5, TE-12
		{stranger, "x@peer.example", "anna@bücher.example", ok},
		{stranger, "x@peer.example", "anna@xn--bcher-kva.example", ok},
		{stranger, "x@peer.example", "who@bücher.example", none},
		{stranger, "x@peer.example", "who@any.example", ok},
		{stranger, "x@peer.example", "who@deep.sub.any.example", ok},
		{stranger, "x@peer.example", "who@any.example.net", denied},
		// P25-2, TE-11
		{stranger, "x@peer.example", "a@elsewhere.example", denied},
		{home, "x@peer.example", "a@elsewhere.example", hinted},
		{stranger, "x@peer.example", "a@[203.0.113.25]", "550 5.7.1 <%s>: address literals are not accepted"},
		// P25-3, REL-3: postmaster and abuse, whoever asks
		{stranger, "x@nowhere.example", "Postmaster", "postmaster@example.org"},
		{stranger, "x@nowhere.example", "POSTMASTER@example.org", ok},
		{stranger, "x@null.example", `"postmaster"@verify.example`, ok},
		{stranger, "x@trouble.example", "postmaster@mx1.example.org", ok},
		{stranger, "x@nowhere.example", "abuse@example.org", ok},
		{stranger, "x@nowhere.example", "postmaster@[203.0.113.25]", "postmaster@example.org"},
		{stranger, "x@nowhere.example", "postmaster@[IPv6:2001:db8::25]", "postmaster@example.org"},
		{stranger, "x@nowhere.example", "postmaster@[198.51.100.1]", "550 5.7.1 <%s>: address literals are not accepted"},
		{stranger, "x@peer.example", "postmaster@elsewhere.example", denied},
		{stranger, "x@peer.example", "anna@mx1.example.org", none},
		// P25-6, RC-23: the sender's domain
		{stranger, "x@nowhere.example", "anna@example.org", "550 5.1.8 Sender's domain does not exist"},
		{stranger, "x@nothing.example", "anna@example.org", "550 5.1.8 Sender's domain does not exist"},
		{stranger, "x@null.example", "anna@example.org", "550 5.7.27 Sender's domain takes no mail (null MX)"},
		{stranger, "x@trouble.example", "anna@example.org", "451 4.1.8 Sender's domain cannot be looked up now"},
		{stranger, "x@atrouble.example", "anna@example.org", "451 4.1.8 Sender's domain cannot be looked up now"},
		{stranger, "x@a.example", "anna@example.org", ok},
		{stranger, "x@BÜCHER.example", "anna@example.org", ok},
		{stranger, "x@[198.51.100.7]", "anna@example.org", ok},
		{listed, "x@nowhere.example", "anna@example.org", ok},
		// verify
		{stranger, "x@peer.example", "yes@verify.example", ok},
		{stranger, "x@peer.example", "who@verify.example", none},
		{stranger, "x@peer.example", "maybe@verify.example", "451 4.2.0 Recipient cannot be verified now"},
		{stranger, "x@peer.example", "later@verify.example", "451 4.2.0 Recipient cannot be verified now"},
		// catch-all
		{stranger, "x@peer.example", "anna@catch.example", ok},
		{stranger, "x@peer.example", "who@catch.example", "anna@catch.example<who@catch.example"},
		{stranger, "x@peer.example", "postmaster@catch.example", "anna@catch.example<postmaster@catch.example"},
		// networks and accounts go anywhere that is (PC-6, SUB-4)
		{listed, "x@peer.example", "a@elsewhere.example", ok},
		{listed, "x@peer.example", "a%b@elsewhere.example", ok},
		{anna, "anna@example.org", "a@elsewhere.example", ok},
		{lan, "x@peer.example", "a@elsewhere.example", ok},
		{anna, "anna@example.org", "a@nowhere.example", "550 5.1.2 <%s>: domain not found"}, // TE-10
		{anna, "anna@example.org", "a@null.example", "556 5.1.10 <%s>: domain does not accept mail (null MX)"},
		{anna, "anna@example.org", "a@trouble.example", ok},
		{anna, "anna@example.org", "a@intranet", "501 5.1.3 Recipient's domain is not fully qualified"}, // SUB-3
		{anna, "anna@example.org", "a@[198.51.100.1]", "550 5.7.1 <%s>: address literals are not accepted; mail programs submit on port 587 or 465, with a login"},
		{anna, "anna@example.org", "who@example.org", none},
		{anna, "anna@example.org", "postmaster@example.org", ok}, // SUB-8
		{nobody, "anna@example.org", "anna@example.org", "530 5.7.0 Authentication required"},
		{nobody, "anna@example.org", "postmaster@example.org", "530 5.7.0 Authentication required"}, // PC-13
	} {
		want := c.want
		if strings.Contains(want, "%s") {
			want = fmt.Sprintf(want, c.to)
		}
		if got := rcpt(p, c.o, c.from, c.to); got != want {
			t.Errorf("%s from <%s> to <%s>: %s, want %s", c.o.Role, c.from, c.to, got, want)
		}
	}
}

func TestAliases(t *testing.T) { // REL-6
	c, n := world()
	for i := range 12 {
		c.Domains[0].Aliases[fmt.Sprintf("deep%d", i)] = []string{fmt.Sprintf("deep%d", i+1)}
	}
	many := []string{}
	for i := range 1001 {
		many = append(many, fmt.Sprintf("u%d@elsewhere.example", i))
	}
	c.Domains[0].Aliases["many"] = many
	c.Domains[0].Aliases["abuse"] = []string{"deep0"}
	p := build(t, c, n)
	const tooBig = "550 5.4.6 <%s>: Alias opens to too many addresses, or too deep"
	for _, c := range []struct{ to, want string }{
		{"one@example.org", "dora@elsewhere.example<one@example.org"},
		{"Sales+spring@EXAMPLE.org", "anna@example.org<Sales+spring@EXAMPLE.org bob@example.org<Sales+spring@EXAMPLE.org carol@elsewhere.example<Sales+spring@EXAMPLE.org"},
		{"info@example.org", "anna@example.org<info@example.org bob@example.org<info@example.org carol@elsewhere.example<info@example.org"},
		{"keep@example.org", "keep@example.org<keep@example.org archive@elsewhere.example<keep@example.org"},
		{"loop@example.org", "loop@example.org"},
		{"deep3@example.org", "deep12@example.org<deep3@example.org"},
		{"deep0@example.org", fmt.Sprintf(tooBig, "deep0@example.org")},
		{"many@example.org", fmt.Sprintf(tooBig, "many@example.org")},
		{"abuse@example.org", "abuse@example.org"}, // P25-3: even with a broken alias
	} {
		if got := rcpt(p, stranger, "x@peer.example", c.to); got != c.want {
			t.Errorf("%s: %s, want %s", c.to, got, c.want)
		}
	}
	list, err := p.Rcpt(t.Context(), stranger, "x@peer.example", "sales@example.org")
	if err != nil {
		t.Fatal(err)
	}
	if last := list[len(list)-1]; last.Address != "sales@example.org" || last.State != mail.Expanded || !last.Reported {
		t.Errorf("the alias itself: %+v", last)
	}
	for _, r := range settleRecipients(list, "x@peer.example") {
		if r.State != mail.Waiting {
			t.Errorf("without NOTIFY the alias stays: %+v", r)
		}
	}
}

func TestAcceptAll(t *testing.T) { // paquebot dev
	p := build(t, Config{AcceptAll: true, Hostname: "localhost"}, Needs{Accounts: &people{may: map[string][]string{"x": {"me@localhost"}}}})
	for _, o := range []mail.Origin{stranger, anna, nobody, lan} {
		for _, to := range []string{"a@elsewhere.example", "user+550@x", "a%b@c", "a@[192.0.2.1]", "Postmaster"} {
			want := to
			if to == "Postmaster" {
				want = "postmaster@localhost"
			}
			if got := rcpt(p, o, "x@nowhere", to); got != want {
				t.Errorf("%s to %s: %s", o.Role, to, got)
			}
		}
	}
	if err := p.Mail(t.Context(), mail.Origin{Role: mail.RoleSubmission, Account: "x"}, "me@localhost", mail.Params{}); err != nil {
		t.Errorf("MAIL from a bare domain: %v", err)
	}
}

func TestSendersOnSubmission(t *testing.T) {
	c, n := world()
	p := build(t, c, n)
	bulk := anna
	bulk.Account = "bulk"
	for _, c := range []struct {
		o          mail.Origin
		from, want string
		rule       string
	}{
		{anna, "anna@example.org", "ok", ""},
		{anna, "boss@example.org", "550 5.7.1 <boss@example.org>: sender not allowed for this account", "sender"}, // SUB-5, TE-7
		{anna, "", "550 5.7.1 <>: sender not allowed for this account", "sender"},                                 // PC-16
		{bulk, "", "ok", ""},
		{nobody, "anna@example.org", "530 5.7.0 Authentication required", "auth-required"}, // P587-1, TE-5
		{lan, "printer@example.org", "ok", ""},                                             // PC-19
		{anna, "anna@laptop", "501 5.1.7 Sender's domain is not fully qualified", "syntax"},
		{lan, "", "ok", ""},
	} {
		err := p.Mail(context.Background(), c.o, c.from, mail.Params{})
		if wire(err) != c.want || rule(err) != c.rule {
			t.Errorf("%s from <%s>: %s (%s), want %s", c.o.Account, c.from, wire(err), rule(err), c.want)
		}
	}
	people := n.Accounts.(*people)
	people.peek = smtp.RateLimit
	if err := p.Mail(t.Context(), anna, "anna@example.org", mail.Params{}); wire(err) != smtp.RateLimit.String() { // TE-9
		t.Errorf("over quota: %v", err)
	}
	people.fault = errors.New("disk on fire")
	if err := p.Mail(t.Context(), anna, "anna@example.org", mail.Params{}); smtp.AsReply(err).Code != 451 { // RC-36
		t.Errorf("a fault refuses: %v", err)
	}
}

func TestAuthorsOnSubmission(t *testing.T) {
	const not = "550 5.7.1 <%s>: sender not allowed for this account"
	for _, c := range []struct{ head, want string }{
		{"From: Anna <anna@example.org>\r\n", "ok"},
		{"From: Boss <boss@example.org>\r\n", fmt.Sprintf(not, "boss@example.org")},
		{"From: \"anna@example.org\" <boss@example.org>\r\n", fmt.Sprintf(not, "boss@example.org")},
		{"From: anna@example.org, boss@example.org\r\nSender: anna@example.org\r\n", fmt.Sprintf(not, "boss@example.org")},
		{"From: anna@example.org, news@example.org\r\nSender: anna@example.org\r\n", "ok"},
		{"From: anna@example.org\r\nSender: boss@example.org\r\n", fmt.Sprintf(not, "boss@example.org")},
		{"From: anna@example.org\r\nFrom: boss@example.org\r\n", fmt.Sprintf(not, "boss@example.org")},
		{"From: anna@example.org\r\nReply-To: boss@example.org\r\n", "ok"},
		{"From: boss@example.org <anna@example.org>\r\n", fmt.Sprintf(not, "boss@example.org")},
		{"From: anna@example.org <anna@example.org>\r\n", "ok"},
		{"From: <boss@example.org>: anna@example.org\r\n", "550 5.6.0 From or Sender is not an address list"},
		{"From: <<>>\r\n", "550 5.6.0 From or Sender is not an address list"},
		{"From: anna\r\n", "550 5.6.0 From or Sender is not an address list"},
	} {
		cfg, n := world()
		p := build(t, cfg, n)
		h, err := message.SplitHeader([]byte(c.head + "\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		env := &mail.Envelope{From: "anna@example.org", Origin: anna, Size: 99, Recipients: []mail.Recipient{{Address: "a@b.example"}, {Address: "a@B.example"}, {Address: "c@b.example"}}}
		v := p.Content(t.Context(), env, h)
		if wire(v.Refuse) != c.want {
			t.Errorf("%q: %s, want %s", c.head, wire(v.Refuse), c.want)
		}
		asked := n.Accounts.(*people).asked
		if ok := slices.Equal(asked, []string{"anna 2 99"}); ok != (c.want == "ok") {
			t.Errorf("%q: quota asked %q", c.head, asked)
		}
	}
	// The switch, and those without account: the printer has no rights to check.
	for _, o := range []mail.Origin{anna, lan, stranger} {
		cfg, n := world()
		cfg.AuthorUnchecked = true
		h, _ := message.SplitHeader([]byte("From: boss@example.org\r\n\r\n"))
		if v := build(t, cfg, n).Content(t.Context(), &mail.Envelope{Origin: o, Recipients: []mail.Recipient{{Address: "a@b"}}}, h); v.Refuse != nil {
			t.Errorf("%v: %v", o.Role, v.Refuse)
		}
	}
}

func TestJudge(t *testing.T) { // design §5.4: pure, by a table
	mine, other := author{"From", "a@x.example", true}, author{"Sender", "b@x.example", false}
	for _, c := range []struct {
		facts Facts
		want  string
	}{
		{Facts{}, "ok"},
		{Facts{Authors: []author{mine}}, "ok"},
		{Facts{Authors: []author{mine, other}}, "550 5.7.1 <b@x.example>: sender not allowed for this account"},
		{Facts{Authors: []author{other}, Unreadable: true}, "550 5.6.0 From or Sender is not an address list"},
	} {
		if got := wire(Judge(c.facts).Refuse); got != c.want {
			t.Errorf("%+v: %s, want %s", c.facts, got, c.want)
		}
	}
}

func TestVerificationIsRememberedAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, n := world()
		p, next := build(t, c, n), n.Verifier.(*hop)
		ask := func(to string, questions int) {
			t.Helper()
			before := next.asked
			rcpt(p, stranger, "", to)
			if next.asked-before != questions {
				t.Errorf("%s: %d questions, want %d", to, next.asked-before, questions)
			}
		}
		ask("yes@verify.example", 1)
		ask("yes@verify.example", 0)
		ask("who@verify.example", 1)
		ask("who@verify.example", 0)
		ask("maybe@verify.example", 1)
		ask("maybe@verify.example", 1) // doubt is not remembered
		time.Sleep(6 * time.Minute)
		ask("yes@verify.example", 0)
		ask("who@verify.example", 1)
		time.Sleep(time.Hour)
		ask("yes@verify.example", 1)
	})
}

func TestRoutedDomainsNeedNoDNS(t *testing.T) {
	c, n := world()
	n.ByMX = func(to string) bool { return mail.Domain(to) != "corp.internal" }
	p := build(t, c, n)
	if got := rcpt(p, anna, "anna@example.org", "a@corp.internal"); got != "a@corp.internal" {
		t.Error(got)
	}
}

func TestRatePerAddress(t *testing.T) { // PC-15, RC-52
	synctest.Test(t, func(t *testing.T) {
		c, n := world()
		c.MessagesPerMinute = 6
		p := build(t, c, n)
		send := func(o mail.Origin, n int) (taken int) {
			for range n {
				if p.Mail(t.Context(), o, "x@peer.example", mail.Params{}) == nil {
					taken++
				}
			}
			return taken
		}
		if got := send(stranger, 10); got != 6 {
			t.Errorf("%d of 10, want 6", got)
		}
		if got := send(listed, 10); got != 10 {
			t.Errorf("listed network: %d of 10", got)
		}
		six := stranger
		six.Client = addr("[2001:db8::1]:1")
		if got := send(six, 4); got != 4 {
			t.Errorf("IPv6: %d of 4", got)
		}
		six.Client = addr("[2001:db8::2]:1")
		if got := send(six, 4); got != 2 {
			t.Errorf("same /64: %d of 4, want 2", got)
		}
		time.Sleep(30 * time.Second)
		if got := send(stranger, 10); got != 3 {
			t.Errorf("after half a minute: %d of 10, want 3", got)
		}
		for i := range bucketsMax + 10 {
			p.rate.take(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		}
		if p.rate.order.Len() > bucketsMax || len(p.rate.buckets) > bucketsMax {
			t.Errorf("%d buckets", p.rate.order.Len())
		}
	})
}

func TestDeniedNetworks(t *testing.T) { // RC-3
	c, n := world()
	c.Deny = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	p := build(t, c, n)
	if err := p.Connect(t.Context(), stranger); wire(err) != "554 5.7.1 Client not welcome" || smtp.AsReply(err).Close { // SRV-40
		t.Error(err)
	}
	if err := p.Connect(t.Context(), listed); err != nil {
		t.Error(err)
	}
}

func TestSettledRecipients(t *testing.T) { // RFC 3461 §5.2.7
	show := func(list []mail.Recipient) string {
		var out []string
		for _, r := range list {
			s := r.Address + ":" + r.Notify.String()
			if r.State != mail.Waiting {
				s += ":" + r.State.String()
			}
			out = append(out, s)
		}
		return strings.Join(out, " ")
	}
	sf, s := mail.NotifySuccess|mail.NotifyFailure, mail.NotifySuccess
	for _, c := range []struct {
		name, from string
		in         []mail.Recipient
		want       string
	}{
		{"one address inherits all", "x@y", []mail.Recipient{{Address: "t@b", Alias: "a@b", Notify: sf}}, "t@b:SUCCESS,FAILURE"},
		{"several lose SUCCESS, the alias is expanded", "x@y", []mail.Recipient{{Address: "t@b", Alias: "a@b", Notify: sf}, {Address: "u@b", Alias: "a@b", Notify: sf}},
			"a@b:SUCCESS:expanded t@b:FAILURE u@b:FAILURE"},
		{"SUCCESS alone leaves NEVER", "x@y", []mail.Recipient{{Address: "t@b", Alias: "a@b", Notify: s}, {Address: "u@b", Alias: "a@b", Notify: s}},
			"a@b:SUCCESS:expanded t@b:NEVER u@b:NEVER"},
		{"one was named before", "x@y", []mail.Recipient{{Address: "t@b"}, {Address: "u@b", Alias: "a@b", Notify: sf}, {Address: "a@b", Notify: sf, Standing: mail.Standing{State: mail.Expanded, Reported: true}}},
			"t@b: a@b:SUCCESS:expanded u@b:FAILURE"},
		{"all were named before", "x@y", []mail.Recipient{{Address: "t@b"}, {Address: "a@b", Notify: sf, Standing: mail.Standing{State: mail.Expanded, Reported: true}}},
			"t@b: a@b:SUCCESS:expanded"},
		{"nobody asked", "x@y", []mail.Recipient{{Address: "u@b", Alias: "a@b"}, {Address: "a@b", Standing: mail.Standing{State: mail.Expanded, Reported: true}}}, "u@b:"},
		{"nobody to tell", "", []mail.Recipient{{Address: "t@b", Alias: "a@b", Notify: sf}, {Address: "u@b", Alias: "a@b", Notify: sf}}, "t@b:FAILURE u@b:FAILURE"},
		{"without SUCCESS nothing changes", "x@y", []mail.Recipient{{Address: "t@b", Alias: "a@b", Notify: mail.NotifyNever}, {Address: "u@b", Alias: "a@b"}}, "t@b:NEVER u@b:"},
		{"twice is once", "x@y", []mail.Recipient{{Address: "t@B.example"}, {Address: "T@b.example"}, {Address: "t@b.example", Notify: sf}},
			"t@B.example:SUCCESS,FAILURE,DELAY T@b.example:"},
		{"never and something is something", "x@y", []mail.Recipient{{Address: "t@b", Notify: mail.NotifyNever}, {Address: "t@b", Notify: s}}, "t@b:SUCCESS"},
	} {
		if got := show(settleRecipients(c.in, c.from)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	in := []mail.Recipient{{Address: "t@b", Alias: "a@b", Notify: sf, Original: "rfc822;q@b"}, {Address: "u@b", Alias: "a@b", Notify: sf, Original: "rfc822;q@b"}}
	for _, r := range settleRecipients(in, "x@y") {
		if r.Original != "rfc822;q@b" {
			t.Errorf("%s lost its ORCPT", r.Address)
		}
		if r.State == mail.Expanded && r.Reported {
			t.Error("the alias will not be reported")
		}
	}
}

func TestDomainsThatAreWrong(t *testing.T) {
	for _, d := range [][]Domain{
		{{Name: ""}}, {{Name: "a b"}}, {{Name: "a.example."}}, {{Name: "*"}}, {{Name: "a.*.example"}}, {{Name: "[192.0.2.1]"}},
		{{Name: "a.example"}, {Name: "A.example"}},
		{{Name: "a.example", Aliases: map[string][]string{"x": {"not an address"}}}},
		{{Name: "a.example", Aliases: map[string][]string{"x@b.example": {"y"}}}},
		{{Name: "a.example", CatchAll: "@"}},
		{{Name: "*.a.example", CatchAll: "anna"}},
		{{Name: "a.example", Recipients: Recipients{List: []string{"x@b.example"}}}},
	} {
		if _, err := New(Config{Domains: d}, Needs{}); err == nil {
			t.Errorf("took %+v", d)
		}
	}
}

func TestAliasFiles(t *testing.T) {
	got, err := ParseAliases(strings.NewReader("# who is who\n\nsales: anna, bob,\n\tcarol@elsewhere.example # new\ninfo : \"odd one\"\nsales:dora\npostmaster@example.org: anna\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := "map[info:[\"odd one\"] postmaster@example.org:[anna] sales:[anna bob carol@elsewhere.example dora]]"
	if fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	for _, bad := range []string{"sales", "sales anna", ": anna", " anna", "x: |/bin/sh", "x: /var/mail/x", "x: :include:/etc/list", "x: a b", "a b: x", "x: a@b@c", strings.Repeat("x", aliasLineMax+1)} {
		if got, err := ParseAliases(strings.NewReader(bad)); err == nil {
			t.Errorf("took %.40q as %v", bad, got)
		}
	}
}

func FuzzAliases(f *testing.F) {
	f.Add("sales: anna, bob\n\tcarol@elsewhere.example # new\n")
	f.Add("loop: pool\npool: loop\nx: x, y\n")
	f.Add("a: a+b\na+b: a\n\"a\": a@example.org\n")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := ParseAliases(strings.NewReader(text))
		if err != nil {
			return
		}
		p, err := New(Config{Domains: []Domain{{Name: "example.org", Aliases: table}}}, Needs{})
		if err != nil {
			return
		}
		for from := range table {
			to := mail.Local(from) + "@example.org"
			list, err := p.Rcpt(context.Background(), mail.Origin{Role: mail.RoleMX, Account: "a"}, "", to)
			if err == nil && len(list) == 0 {
				t.Errorf("%q opens to nobody", to)
			}
			if err != nil && smtp.AsReply(err).Code == 451 {
				t.Errorf("%q: %v", to, err)
			}
		}
	})
}

// Whatever a stranger writes, what he gets served is of a domain of ours
// (REL-1), unless an alias of ours leads elsewhere.
func FuzzStranger(f *testing.F) {
	for _, to := range []string{"anna@example.org", "a%b@example.org", "postmaster", "postmaster@[203.0.113.25]", "@example.org:a@b", "info@example.org", "x@any.example", "x@catch.example"} {
		f.Add(to)
	}
	c, n := world()
	n.Accounts, n.Verifier = nil, nil
	p, err := New(c, n)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, to string) {
		list, err := p.Rcpt(context.Background(), stranger, "", to)
		if err != nil {
			return
		}
		for _, r := range list {
			if r.State == mail.Expanded {
				continue
			}
			if p.find(mail.Domain(r.Address)) == nil && !strings.HasSuffix(r.Address, "@elsewhere.example") {
				t.Errorf("%q is served as %q", to, r.Address)
			}
			if r.Alias == "" && r.Address != to && !strings.HasPrefix(r.Address, "postmaster@") {
				t.Errorf("%q became %q", to, r.Address)
			}
		}
	})
}
