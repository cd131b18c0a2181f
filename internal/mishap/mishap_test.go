package mishap

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// says is what a fault is, in a word.
func says(f Fault, struck bool) string {
	switch {
	case !struck:
		return "-"
	case f.Reply.Code != 0:
		s := fmt.Sprint(f.Reply.Code, " ", f.Reply.Enhanced)
		if f.Reply.Close {
			s += " close"
		}
		return s
	case f.Stall:
		return "stall"
	case f.Drop && f.Keep:
		return "keep, drop"
	case f.Drop:
		return "drop"
	case f.Reset:
		return "reset"
	case f.Complain:
		return "complain"
	}
	return f.Delay.String()
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		at      Stage
		address string
		want    string
	}{
		// a bare code, and a code behind "+", in any domain and any case
		{Rcpt, "550@example.com", "550 5.1.1"},
		{Rcpt, "anna+550@example.com", "550 5.1.1"},
		{Rcpt, "anna+list+452@EXAMPLE.org", "452 4.2.2"},
		{Rcpt, "anna+421@example.com", "421 4.3.2 close"},
		{Rcpt, "anna+499@example.com", "499 4.0.0"},
		{Rcpt, "anna+599@example.com", "599 5.0.0"},
		{Rcpt, `"anna+551"@example.com`, "551 5.1.6"},
		{Rcpt, "anna+556@example.com", "556 5.1.10"},
		{Rcpt, "anna+QUOTA@example.com", "452 4.2.2"},
		{Rcpt, "anna+quota-552@example.com", "552 5.2.2"},
		{Rcpt, "anna+drop@example.com", "drop"},
		{Rcpt, "anna+Stall@example.com", "stall"},
		{Rcpt, "anna+reset@example.com", "reset"},
		{Rcpt, "anna+slow-5s@example.com", "5s"},
		{Rcpt, "anna+slow-250ms@example.com", "250ms"},
		{Rcpt, "anna+slow-2M@example.com", "2m0s"},
		{Rcpt, "anna+slow-999m@example.com", "10m0s"},
		{Rcpt, "anna+greylist@example.com", "451 4.7.1"},
		{Rcpt, "anna+defer-2@example.com", "451 4.3.0"},

		// what is not in the table is an ordinary address
		{Rcpt, "anna@example.com", "-"},
		{Rcpt, "550.anna@example.com", "-"},
		{Rcpt, "anna550@example.com", "-"},
		{Rcpt, "anna+250@example.com", "-"},
		{Rcpt, "anna+650@example.com", "-"},
		{Rcpt, "anna+5500@example.com", "-"},
		{Rcpt, "anna+dropped@example.com", "-"},
		{Rcpt, "drop@example.com", "-"},
		{Rcpt, "bounce@example.com", "-"},
		{Rcpt, "anna+defer-0@example.com", "-"},
		{Rcpt, "anna+slow-x@example.com", "-"},
		{Rcpt, "anna@550.example.com", "-"},
		{Rcpt, "postmaster", "-"},
		{Rcpt, "a+1+2+3+4+5+6+7+8+9+550@example.com", "-"}, // wordsMax

		// a later stage asks all recipients
		{Rcpt, "anna+data-554@example.com", "-"},
		{Dot, "anna+data-554@example.com", "554 5.7.1"},
		{Dot, "anna+data-452@example.com", "452 4.3.1"},
		{Dot, "anna+data-slow-3s@example.com", "3s"},
		{Dot, "anna+data-stall@example.com", "stall"},
		{Dot, "anna+drop-dot@example.com", "keep, drop"},
		{Dot, "anna+550@example.com", "-"},
		{Content, "anna+drop-data@example.com", "drop"},
		{Data, "anna+bdat-552@example.com", "552 5.3.4"},

		{Delivery, "anna+bounce@example.com", "550 5.1.1"},
		{Delivery, "anna+bounce-552@example.com", "552 5.2.2"},
		{Delivery, "anna+bounce-452@example.com", "-"},
		{Delivery, "anna+complain@example.com", "complain"},

		// the sender's address and the user's name are asked at their stages alone
		{Mail, "app+mail-550@example.com", "550 5.7.1"},
		{Mail, "app+mail-450@example.com", "450 4.7.1"},
		{Mail, "app+550@example.com", "-"},
		{Auth, "inbox-7+454", "454 4.7.0"},
		{Auth, "inbox-7+535@example.com", "535 5.7.8"},
		{Auth, "temp", "454 4.7.0"},
		{Auth, "Expired", "432 4.7.12"},
		{Auth, "disabled", "535 5.7.13"},
		{Auth, "temperature", "-"},
		{Auth, "inbox-7", "-"},
	} {
		m := New(Config{})
		f := Facts{Stage: c.at, BDAT: c.at == Data}
		switch c.at {
		case Mail:
			f.Sender = c.address
		case Auth:
			f.User = c.address
		case Rcpt, Delivery:
			f.Recipient = c.address
		default:
			f.Recipients = []string{"other@example.com", c.address}
		}
		if got := says(m.At(f)); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.at, c.address, got, c.want)
		}
	}
}

// Every row of the table has an example that does something, but for what
// accounts do by themselves.
func TestEveryRowOfTheTableDoesSomething(t *testing.T) {
	for _, a := range Addresses() {
		if a.Means == "" || a.Form == "" || a.Example == "" {
			t.Errorf("%+v is not explained", a)
		}
		if a.Example == "wrong" {
			continue
		}
		struck := false
		for _, at := range Stages() {
			f := Facts{Stage: at, BDAT: at == Data, HasSender: true}
			switch a.Where {
			case "sender":
				f.Sender = a.Example
			case "recipient":
				f.Recipient, f.Recipients = a.Example, []string{a.Example}
			case userName:
				f.User = a.Example
			}
			_, here := New(Config{}).At(f)
			struck = struck || here
		}
		if !struck {
			t.Errorf("%s: %s does nothing", a.Form, a.Example)
		}
	}
}

// A delay and what follows it stand in one address.
func TestAddressWordsAddUp(t *testing.T) {
	f, _ := New(Config{}).At(Facts{Stage: Rcpt, Recipient: "anna+slow-2s+slow-1s+550@example.com"})
	if f.Delay != 3*time.Second || f.Reply.Code != 550 {
		t.Errorf("%+v", f)
	}
}

// Deferral counts for user, sender and recipient: tests side by side do not
// take each other's turns.
func TestDeferralsAreCountedApart(t *testing.T) {
	m := New(Config{})
	try := func(user, from string) string {
		return says(m.At(Facts{Stage: Rcpt, Origin: mail.Origin{Account: user}, Sender: from, Recipient: "b+defer-2@example.com"}))
	}
	want := []string{"451 4.3.0", "451 4.3.0", "-", "-"}
	for i, w := range want {
		for _, who := range [][2]string{{"u1", "a@x"}, {"u2", "a@x"}, {"u1", "c@x"}, {"", "a@x"}} {
			if got := try(who[0], who[1]); got != w {
				t.Errorf("try %d of %v: %s, want %s", i+1, who, got, w)
			}
		}
	}
	if d := m.Deferrals(10); len(d) != 4 || d[3].Struck != 2 || d[3].Seen != 4 || d[3].Word != "+defer-2" || d[3].Recipient != "b+defer-2@example.com" {
		t.Errorf("shown %+v", d)
	}
	if m.Clear("u1"); try("u1", "a@x") != "451 4.3.0" || try("u2", "a@x") != "-" {
		t.Error("clearing one mailbox forgets its counts and no others")
	}
}

// An address in other letters is the same address to a count, as it is to what
// a word in it means.
func TestDeferralsIgnoreCase(t *testing.T) {
	m := New(Config{})
	for i, to := range []string{"b+Defer-2@example.com", "B+DEFER-2@EXAMPLE.COM", "b+defer-2@example.com"} {
		want := map[bool]string{true: "451 4.3.0", false: "-"}[i < 2]
		if got := says(m.At(Facts{Stage: Rcpt, Sender: "a@x", Recipient: to})); got != want {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
	}
}

func TestCountsAreBounded(t *testing.T) {
	m := New(Config{})
	for i := range countsMax + 500 {
		m.At(Facts{Stage: Rcpt, Recipient: fmt.Sprintf("b%d+defer-1@example.com", i)})
	}
	if n := len(m.byAddr.byKey); n != countsMax || m.byAddr.order.Len() != countsMax {
		t.Errorf("%d counts, %d in order", n, m.byAddr.order.Len())
	}
	if _, struck := m.At(Facts{Stage: Rcpt, Recipient: fmt.Sprintf("b%d+defer-1@example.com", countsMax+499)}); struck {
		t.Error("the newest was forgotten")
	}
}

func facts() Facts {
	return Facts{
		Stage: Dot, Sender: "app@example.com", HasSender: true, Recipients: []string{"x@y.example", "Anna@Shop.example"},
		Subject: "Your invoice 17", Size: 2000, Messages: 2,
		Header: func(name string) []string {
			if strings.EqualFold(name, "X-Test") {
				return []string{"one", "seven"}
			}
			return nil
		},
		Origin: mail.Origin{
			Role: mail.RoleSubmission, Account: "inbox-7", Helo: "[127.0.0.1]", Session: "S",
			Client: netip.MustParseAddrPort("127.0.0.1:4000"), Local: netip.MustParseAddrPort("127.0.0.1:1587"),
		},
	}
}

func TestMatch(t *testing.T) {
	twins := map[uint16]uint16{1587: 587}
	for _, c := range []struct {
		match Match
		want  bool
	}{
		{Match{}, true},
		{Match{Port: "1587"}, true}, {Match{Port: "587"}, true}, {Match{Port: "submission"}, true}, {Match{Port: "Submission"}, true},
		{Match{Port: "465"}, false}, {Match{Port: "mx"}, false},
		{Match{Client: "127.0.0.1"}, true}, {Match{Client: "127.0.0.0/8"}, true}, {Match{Client: "10.0.0.0/8"}, false}, {Match{Client: "::1"}, false},
		{Match{User: "INBOX-7"}, true}, {Match{User: "inbox-*"}, true}, {Match{User: "inbox"}, false},
		{Match{Helo: "[127.*"}, true}, {Match{Helo: "mx.*"}, false},
		{Match{Sender: "*@example.com"}, true}, {Match{Sender: "<>"}, false},
		{Match{Recipient: "anna@shop.example"}, true}, {Match{Recipient: "*@y.example"}, true}, {Match{Recipient: "*@z.example"}, false},
		{Match{Subject: "*invoice*"}, true}, {Match{Subject: "invoice"}, false}, {Match{Subject: "your*17"}, true}, {Match{Subject: "*18"}, false},
		{Match{Header: map[string]string{"x-test": "seven"}}, true}, {Match{Header: map[string]string{"X-Test": "eight"}}, false},
		{Match{Header: map[string]string{"X-Test": "*", "X-None": "*"}}, false},
		{Match{Messages: 2}, true}, {Match{Messages: 3}, false},
		{Match{Recipients: 2}, true}, {Match{Recipients: 3}, false},
		{Match{Larger: 1999}, true}, {Match{Larger: 2000}, false},
		{Match{Port: "587", User: "inbox-7", Sender: "nobody@*"}, false},
	} {
		f := facts()
		if got := c.match.fits(&f, twins); got != c.want {
			t.Errorf("%+v: %v", c.match, got)
		}
	}
	null := facts()
	null.Sender = ""
	if !(Match{Sender: "<>"}).fits(&null, nil) {
		t.Error("<> is the null sender")
	}
	if null.HasSender = false; (Match{Sender: "*"}).fits(&null, nil) {
		t.Error("no sender was said yet")
	}
}

func TestLike(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "a", true}, {"a*", "A", true}, {"a*a", "a", false}, {"a*a", "aa", true},
		{"*a*b*", "xaxbx", true}, {"*a*b*", "xbxax", false}, {"a*b*c", "abbc", true}, {"**", "x", true}, {"*ab", "aab", true}, {"a", "a ", false},
	} {
		if got := like(c.pattern, c.s); got != c.want {
			t.Errorf("%q %q: %v", c.pattern, c.s, got)
		}
	}
}

// When a rule strikes, as a string of what ten questions hear: x or dot.
func TestWhenARuleStrikes(t *testing.T) {
	for _, c := range []struct {
		rule Rule
		want string
	}{
		{Rule{}, "xxxxxxxxxx"},
		{Rule{Times: 2}, "xx........"},
		{Rule{Skip: 3}, "...xxxxxxx"},
		{Rule{Skip: 3, Times: 2}, "...xx....."},
		{Rule{Every: 3}, "..x..x..x."},
		{Rule{Every: 3, Times: 2}, "..x..x...."},
		{Rule{Every: 2, Skip: 1}, "..x.x.x.x."},
		{Rule{Probability: 1}, "xxxxxxxxxx"},
	} {
		m := New(Config{})
		c.rule.Stage, c.rule.Do.Reply = Mail, "451"
		if _, err := m.Add("", c.rule); err != nil {
			t.Fatal(err)
		}
		if got := pattern(m, 10, Facts{Stage: Mail}); got != c.want {
			t.Errorf("%+v: %s, want %s", c.rule, got, c.want)
		}
	}
}

func pattern(m *Mishap, n int, f Facts) string {
	var b strings.Builder
	for range n {
		if _, struck := m.At(f); struck {
			b.WriteByte('x')
		} else {
			b.WriteByte('.')
		}
	}
	return b.String()
}

// Chance is the seed's: the same again after a restart, another with another
// seed, and as often as it says.
func TestChanceIsTheSeeds(t *testing.T) {
	run := func(id string, seed uint64, p float64) string {
		m := New(Config{})
		if _, err := m.Add("", Rule{ID: id, Stage: Mail, Do: Action{Reply: "451"}, Probability: p, Seed: seed}); err != nil {
			t.Fatal(err)
		}
		return pattern(m, 10_000, Facts{Stage: Mail})
	}
	first := run("a", 7, 0.25)
	if first != run("b", 7, 0.25) {
		t.Error("the same seed had other luck")
	}
	if first == run("a", 8, 0.25) {
		t.Error("another seed had the same luck")
	}
	for _, p := range []float64{0.01, 0.25, 0.9} {
		if n := strings.Count(run("a", 7, p), "x"); n < int(p*10_000)-200 || n > int(p*10_000)+200 {
			t.Errorf("probability %v struck %d times of 10000", p, n)
		}
	}
}

func TestWhoseCount(t *testing.T) {
	for _, c := range []struct {
		per  Per
		want string // of two questions by each of those below, in turn
	}{
		{PerRule, "x......."}, {PerUser, "x.x....."}, {PerPair, "x.x.x..."}, {PerSession, "x.....x."}, {PerClient, "x......."},
	} {
		m := New(Config{})
		if _, err := m.Add("", Rule{Stage: Rcpt, Do: Action{Reply: "451"}, Times: 1, Per: c.per}); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, who := range [][3]string{{"u1", "a", "S1"}, {"u2", "a", "S1"}, {"u2", "b", "S1"}, {"u2", "b", "S2"}} {
			got += pattern(m, 2, Facts{Stage: Rcpt, Recipient: who[1], Origin: mail.Origin{Account: who[0], Session: who[2]}})
		}
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.per, got, c.want)
		}
	}
}

func TestRulesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Config{})
		if _, err := m.Add("", Rule{ID: "r", Stage: Mail, Do: Action{Reply: "451"}, Expires: time.Now().Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second)
		if got := pattern(m, 1, Facts{Stage: Mail}); got != "x" {
			t.Error("ended too early")
		}
		time.Sleep(time.Second)
		if got := pattern(m, 1, Facts{Stage: Mail}); got != "." {
			t.Error("did not end")
		}
		if v, _ := m.Rule("r"); !v.Spent || v.Struck != 1 {
			t.Errorf("%+v", v)
		}
	})
}

// Rules are asked in order: delays add up, the first end ends the asking, and
// an address is asked only after that.
func TestOrderOfRules(t *testing.T) {
	m := New(Config{})
	if err := m.Replace([]Rule{
		{ID: "slow", Stage: Rcpt, Do: Action{Delay: Duration(time.Second)}},
		{ID: "other", Stage: Rcpt, Match: Match{Recipient: "nobody"}, Do: Action{Drop: true}},
		{ID: "slower", Stage: Rcpt, Do: Action{Delay: Duration(2 * time.Second), Reply: "452 4.2.2 Not now"}},
		{ID: "never", Stage: Rcpt, Do: Action{Drop: true}},
	}); err != nil {
		t.Fatal(err)
	}
	f, struck := m.At(Facts{Stage: Rcpt, Recipient: "anna+550@example.com"})
	if !struck || f.Delay != 3*time.Second || f.Reply.String() != "452 4.2.2 Not now" || f.Rule != "slower" || f.Drop {
		t.Errorf("%+v", f)
	}
	for _, v := range m.Rules() {
		if want := map[string]int64{"slow": 1, "slower": 1}[v.ID]; v.Struck != want {
			t.Errorf("%s struck %d times", v.ID, v.Struck)
		}
	}
}

func TestEveryMishapIsAnEvent(t *testing.T) {
	var told []event.MishapStruck
	m := New(Config{Events: event.SinkFunc(func(e event.Event) { told = append(told, e.(event.MishapStruck)) })})
	if _, err := m.Add("", Rule{ID: "slow", Stage: Rcpt, Do: Action{Delay: Duration(time.Second)}}); err != nil {
		t.Fatal(err)
	}
	m.At(Facts{Stage: Rcpt, Origin: mail.Origin{Account: "u"}, Sender: "a@x", Recipient: "b+550@x"})
	if len(told) != 2 || told[0].Rule != "slow" || told[0].Fails || told[0].Action != "waits 1s" ||
		told[1].Rule != "+550" || !told[1].Fails || told[1].Reply.Code != 550 || told[1].User != "u" || told[1].Sender != "a@x" || told[1].Recipient != "b+550@x" {
		t.Errorf("%+v", told)
	}
}

// A reply whose words a rule does not give says that it was on purpose.
func TestRepliesSayWhose(t *testing.T) {
	for reply, want := range map[string]string{
		"452":                "452 4.2.2 Mailbox full, try again later (on purpose: rule r)",
		"452 4.3.1":          "452 4.3.1 Mailbox full, try again later (on purpose: rule r)",
		"452 4.2.2 Not now":  "452 4.2.2 Not now",
		"452 Not now either": "452 4.2.2 Not now either",
	} {
		m := New(Config{})
		if _, err := m.Add("", Rule{ID: "r", Stage: Rcpt, Do: Action{Reply: reply}}); err != nil {
			t.Fatal(err)
		}
		if f, _ := m.At(Facts{Stage: Rcpt}); f.Reply.String() != want {
			t.Errorf("%s: %s, want %s", reply, f.Reply, want)
		}
	}
}

// What a rule cannot mean is refused, and the key named.
func TestWrongRules(t *testing.T) {
	past := time.Now().Add(-time.Minute)
	for _, c := range []struct {
		rule Rule
		key  string
	}{
		{Rule{Stage: "rctp", Do: Action{Drop: true}}, "stage"},
		{Rule{ID: "a b", Stage: Rcpt, Do: Action{Drop: true}}, "id"},
		{Rule{ID: strings.Repeat("a", idMax+1), Stage: Rcpt, Do: Action{Drop: true}}, "id"},
		{Rule{Stage: Rcpt}, "do"},
		{Rule{Stage: Rcpt, Do: Action{Drop: true, Reply: "550"}}, "do"},
		{Rule{Stage: Rcpt, Do: Action{Drop: true, Reset: true}}, "do"},
		{Rule{Stage: Rcpt, Do: Action{Reply: "250"}}, "do.reply"},
		{Rule{Stage: Rcpt, Do: Action{Reply: "abc"}}, "do.reply"},
		{Rule{Stage: Rcpt, Do: Action{Reply: "550 4.1.1 mixed"}}, "do.reply"},
		{Rule{Stage: Rcpt, Do: Action{Reply: "550 a\r\nb"}}, "do.reply"},
		{Rule{Stage: Content, Do: Action{Reply: "550"}}, "do.reply"},
		{Rule{Stage: TLS, Do: Action{Reply: "454"}}, "do.reply"},
		{Rule{Stage: Delivery, Do: Action{Reply: "450"}}, "do.reply"},
		{Rule{Stage: Delivery, Do: Action{Drop: true}}, "do"},
		{Rule{Stage: Rcpt, Do: Action{Close: true, Delay: 1}}, "do.close"},
		{Rule{Stage: Rcpt, Do: Action{Delay: Duration(DelayMax + 1)}}, "do.delay"},
		{Rule{Stage: Rcpt, Do: Action{Delay: -1}}, "do.delay"},
		{Rule{Stage: Rcpt, Do: Action{Throttle: 10, ThrottleMax: 5}}, "do.throttle"},
		{Rule{Stage: Rcpt, Do: Action{Hide: []string{"STARTTLS"}}}, "do.hide"},
		{Rule{Stage: Ehlo, Do: Action{Hide: []string{""}}}, "do.hide"},
		{Rule{Stage: Rcpt, Do: Action{Certificate: Expired}}, "do.certificate"},
		{Rule{Stage: TLS, Do: Action{Certificate: "stale"}}, "do.certificate"},
		{Rule{Stage: TLS, Do: Action{TLSVersion: "0.9"}}, "do.tls_version"},
		{Rule{Stage: Rcpt, Do: Action{Drop: true, After: 5}}, "do.after"},
		{Rule{Stage: Rcpt, Do: Action{Drop: true, Keep: true}}, "do.keep"},
		{Rule{Stage: Rcpt, Do: Action{Complain: true}}, "do.complain"},
		{Rule{Stage: Rcpt, Times: -1, Do: Action{Drop: true}}, "times"},
		{Rule{Stage: Rcpt, Probability: 1.5, Do: Action{Drop: true}}, "probability"},
		{Rule{Stage: Rcpt, Per: "day", Do: Action{Drop: true}}, "per"},
		{Rule{Stage: Rcpt, Expires: past, Do: Action{Drop: true}}, "expires"},
		{Rule{Stage: Rcpt, Note: strings.Repeat("x", textMax+1), Do: Action{Drop: true}}, "note"},
		{Rule{Stage: Ehlo, Match: Match{User: "u"}, Do: Action{Drop: true}}, "match.user"},
		{Rule{Stage: Mail, Match: Match{Recipient: "u"}, Do: Action{Drop: true}}, "match.recipient"},
		{Rule{Stage: Rcpt, Match: Match{Subject: "u"}, Do: Action{Drop: true}}, "match.subject"},
		{Rule{Stage: Rcpt, Match: Match{SNI: "u"}, Do: Action{Drop: true}}, "match.sni"},
		{Rule{Stage: Rcpt, Match: Match{Header: map[string]string{"a": "b"}}, Do: Action{Drop: true}}, "match.header"},
		{Rule{Stage: Rcpt, Match: Match{Port: "smtp"}, Do: Action{Drop: true}}, "match.port"},
		{Rule{Stage: Rcpt, Match: Match{Client: "localhost"}, Do: Action{Drop: true}}, "match.client"},
		{Rule{Stage: Rcpt, Match: Match{Larger: 5}, Do: Action{Drop: true}}, "match.larger"},
	} {
		m := New(Config{})
		err := m.Replace([]Rule{{Stage: Mail, Do: Action{Drop: true}}, c.rule})
		var key *KeyError
		if !errors.As(err, &key) || key.Key != c.key || key.Rule != 1 || key.Why == "" {
			t.Errorf("%+v: %v, want it to blame %s", c.rule, err, c.key)
		}
		if len(m.Rules()) != 0 {
			t.Errorf("%+v: half of the list is in force", c.rule)
		}
	}
}

func TestMailboxesHaveTheirOwnRules(t *testing.T) {
	m := New(Config{})
	drop := func(id string) Rule { return Rule{ID: id, Stage: Rcpt, Do: Action{Drop: true}} }
	ids := func() (all string) {
		for _, v := range m.Rules() {
			all += v.ID + ":" + v.Match.User + " "
		}
		return all
	}
	if _, err := m.Add("", drop("all")); err != nil {
		t.Fatal(err)
	}
	for _, box := range []string{"b1", "b2"} {
		if err := m.ReplaceFor(box, []Rule{drop(box + ".x"), drop(box + ".y")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.ReplaceFor("b1", []Rule{drop("b1.z")}); err != nil {
		t.Fatal(err)
	}
	if got := ids(); got != "all: b2.x:b2 b2.y:b2 b1.z:b1 " {
		t.Error(got)
	}
	if n := m.Clear("b2"); n != 2 || ids() != "all: b1.z:b1 " {
		t.Error(n, ids())
	}
	if err := m.Remove("all"); err != nil || !errors.Is(m.Remove("all"), ErrNotFound) || ids() != "b1.z:b1 " {
		t.Error(err, ids())
	}
	added, err := m.Add("", drop(""), drop(""), drop("b1.z"))
	if err != nil || len(added) != 3 || ids() != "b1.z: r1: r2: " {
		t.Error(err, ids())
	}
	if _, err := m.Add("", drop("same"), drop("same")); err == nil {
		t.Error("an ID was given twice")
	}
}

func TestRulesAreBounded(t *testing.T) {
	m := New(Config{})
	list := make([]Rule, RulesMax)
	for i := range list {
		list[i] = Rule{Stage: Rcpt, Do: Action{Drop: true}}
	}
	if err := m.Replace(list); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Add("", Rule{Stage: Rcpt, Do: Action{Drop: true}}); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	if n := len(m.Rules()); n != RulesMax {
		t.Error(n)
	}
}

// A rule survives being written and read.
func TestRulesInJSON(t *testing.T) {
	text := `{"id":"r","stage":"content","match":{"port":"587","user":"inbox-7"},"do":{"delay":"1.5s","throttle":100,"after":10},"times":2,"per":"pair"}`
	var r Rule
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(r); err != nil || string(b) != text {
		t.Errorf("%s %v", b, err)
	}
	if err := json.Unmarshal([]byte(`{"do":{"delay":5}}`), &r); err == nil {
		t.Error("a delay without a unit was taken")
	}
}

func FuzzAddress(f *testing.F) {
	for _, a := range Addresses() {
		f.Add(a.Example)
	}
	f.Add(`"a+b"@c@d+550`)
	f.Add("+++++++++++")
	book := newBook()
	f.Fuzz(func(t *testing.T, address string) {
		for _, at := range Stages() {
			for _, r := range book.rules(&Facts{Stage: at, Sender: address, Recipient: address, User: address, Recipients: []string{address}, BDAT: true}) {
				r.ID = ""
				if err := check(&r, time.Now()); err != nil {
					t.Errorf("%q makes a rule that cannot be: %v", address, err)
				}
			}
		}
	})
}
