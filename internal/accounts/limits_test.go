package accounts

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/smtp"
)

const blocked = "421 4.7.0 Too many failed logins, try again later"

func TestBackOff(t *testing.T) { // AUTH-14, ABU-7
	synctest.Test(t, func(t *testing.T) {
		a := open(t, Config{FailuresPair: 3, FailuresAddress: 8, FailuresUser: 6}, Needs{})
		addAccount(t, a, "anna", "s3cret")
		addAccount(t, a, "bob", "s3cret")
		ip := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }
		want := func(what, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		want("first, to be known", login(t, a, ip(9), "anna", "s3cret"), "235 anna")
		for range 3 {
			want("wrong", login(t, a, ip(1), "anna", "x"), refused)
		}
		want("the pair is blocked, even with the password", login(t, a, ip(1), "anna", "s3cret"), blocked)
		want("another user is not", login(t, a, ip(1), "bob", "s3cret"), "235 bob")
		want("another address is not", login(t, a, ip(2), "anna", "s3cret"), "235 anna")
		for range 3 {
			want("an unknown user is counted the same", login(t, a, ip(1), "nobody", "x"), refused)
		}
		want("and blocked the same", login(t, a, ip(1), "nobody", "x"), blocked)
		for i := range 2 {
			want("wrong", login(t, a, ip(1), fmt.Sprint("user", i), "x"), refused)
		}
		want("the address is blocked for all", login(t, a, ip(1), "bob", "s3cret"), blocked)
		for i := range 3 {
			want("spread over addresses", login(t, a, ip(20+i), "anna", "x"), refused)
		}
		want("the user is blocked from new addresses", login(t, a, ip(30), "anna", "s3cret"), blocked)
		want("not from where she logged in before", login(t, a, ip(9), "anna", "s3cret"), "235 anna")
		time.Sleep(failureWindow)
		want("an hour later", login(t, a, ip(1), "anna", "s3cret"), "235 anna")
	})
}

func TestIPv6IsCountedByNetwork(t *testing.T) {
	for _, c := range []struct{ a, b string }{
		{"2001:db8::1", "2001:db8::ffff:1"}, {"::ffff:192.0.2.1", "192.0.2.1"}, {"fe80::1%eth0", "fe80::2%eth1"},
	} {
		if network(netip.MustParseAddr(c.a)) != network(netip.MustParseAddr(c.b)) {
			t.Errorf("%s and %s count apart", c.a, c.b)
		}
	}
	if network(netip.MustParseAddr("2001:db8:0:1::1")) == network(netip.MustParseAddr("2001:db8:0:2::1")) {
		t.Error("two networks count as one")
	}
}

func TestBackOffMemoryIsBounded(t *testing.T) { // P6
	b := newBackoff()
	for i := range talliesMax + 100 {
		b.failed(fmt.Sprint(strings.Repeat("x", 1000), i), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if b.pairs.len() > talliesMax || b.addrs.len() > talliesMax || b.users.len() != 1 {
		t.Errorf("%d pairs, %d addresses, %d users", b.pairs.len(), b.addrs.len(), b.users.len())
	}
}

func TestTarpit(t *testing.T) { // AUTH-14
	synctest.Test(t, func(t *testing.T) {
		a := open(t, Config{Tarpit: time.Second}, Needs{})
		addAccount(t, a, "anna", "s3cret")
		for _, want := range []time.Duration{1, 2, 4, 5, 5} {
			start := time.Now()
			login(t, a, home, "anna", "x")
			if got := time.Since(start); got != want*time.Second {
				t.Errorf("waited %s, want %ds", got, want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := a.Login(ctx, home, "anna", "x"); err == nil || time.Since(start) != time.Second {
			t.Errorf("hung up: waited %s", time.Since(start))
		}
	})
}

// However many log in at once, only so many hashes are computed, and the rest
// is told to come again (454).
func TestAFloodOfLoginsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, Config{Slots: 2, FailuresAddress: 1 << 20}, Needs{})
		addAccount(t, a, "anna", "s3cret")
		for range 2 { // two computations that take for ever
			leave, err := a.gate.enter(t.Context(), time.Second)
			must(t, err)
			defer leave()
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		replies := map[string]int{}
		for i := range waitersMax + 10 {
			wg.Go(func() {
				_, err := a.Login(t.Context(), home, fmt.Sprint("u", i), "x")
				mu.Lock()
				defer mu.Unlock()
				replies[smtp.AsReply(err).String()]++
			})
		}
		start := time.Now()
		synctest.Wait()
		if n := a.gate.waiting.Load(); n != waitersMax {
			t.Errorf("%d wait, want %d", n, waitersMax)
		}
		wg.Wait()
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("waited %s, want 5s", took)
		}
		if len(replies) != 1 || replies["454 4.7.0 Temporary authentication failure, try again later"] != waitersMax+10 {
			t.Errorf("replies %v", replies)
		}
		if a.gate.computed.Load() != 0 || a.gate.waiting.Load() != 0 {
			t.Errorf("computed %d, waiting %d", a.gate.computed.Load(), a.gate.waiting.Load())
		}
		if n := a.Stat().Addresses; n != 0 {
			t.Errorf("being busy counted as %d addresses' failures", n)
		}
	})
}

func TestQuotas(t *testing.T) { // ABU-8, RC-54, TE-9
	synctest.Test(t, func(t *testing.T) {
		a := open(t, Config{Limits: Limits{Size: 1000}}, Needs{})
		_, err := a.Add(New{Name: "anna", Password: "x", Limits: Limits{MessagesPerHour: 3, MessagesPerDay: 5, RecipientsPerHour: 50, RecipientsPerDay: 70, Recipients: 40}}, "test")
		must(t, err)
		want := func(recipients int, size int64, want, rule string) {
			t.Helper()
			err := a.Allow("Anna", recipients, size)
			if got := smtp.AsReply(err).String(); got != want && (want != "ok" || err != nil) {
				t.Errorf("%d recipients: %s, want %s", recipients, got, want)
			}
			var r overLimit
			if errors.As(err, &r); rule != "" && r.Rule() != "rate:account-"+rule {
				t.Errorf("rule %q, want %q", r.Rule(), rule)
			}
		}
		want(1, 1001, "552 5.3.4 Message size exceeds fixed limit of 1000 octets for this account", "size") // TE-8
		want(41, 10, "550 5.5.3 Too many recipients for this account, at most 40", "recipients")
		want(40, 1000, "ok", "")
		want(11, 10, "450 4.7.1 Rate limit exceeded, retry later (50 recipients per hour)", "recipients-hour")
		want(1, 10, "ok", "")
		want(1, 10, "ok", "")
		const hour = "450 4.7.1 Rate limit exceeded, retry later (3 messages per hour)"
		want(1, 10, hour, "messages-hour")
		if err := a.Peek("anna"); smtp.AsReply(err).String() != hour {
			t.Errorf("peek: %v", err)
		}
		time.Sleep(30 * time.Minute)
		want(1, 10, hour, "messages-hour") // the window slides
		time.Sleep(36 * time.Minute)
		want(30, 10, "452 4.7.1 Daily quota exceeded, retry later (70 recipients per day)", "recipients-day")
		want(1, 10, "ok", "")
		must(t, a.Peek("anna"))
		want(1, 10, "ok", "")
		want(1, 10, "452 4.7.1 Daily quota exceeded, retry later (5 messages per day)", "messages-day")
		time.Sleep(25 * time.Hour)
		want(1, 10, "ok", "")
		u, err := a.UsageOf("anna")
		must(t, err)
		if u != (Usage{1, 1, 1, 1}) {
			t.Errorf("usage %+v", u)
		}
		if err := a.Allow("nobody", 1, 1); smtp.AsReply(err).Code != 550 {
			t.Errorf("nobody: %v", err)
		}
		must(t, a.Disable("anna", "", "test"))
		if err := a.Allow("anna", 1, 1); smtp.AsReply(err).Code != 550 {
			t.Errorf("disabled in mid-session: %v", err)
		}
	})
}

// A restart does not give the quota anew, whether it was stopped or killed.
func TestQuotasSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		accounts, usage := newTable(), newTable()
		c := Config{Limits: Limits{MessagesPerDay: 10}}
		a := open(t, c, Needs{Accounts: accounts, Usage: usage})
		addAccount(t, a, "anna", "x")
		for range 4 {
			must(t, a.Allow("anna", 1, 1))
		}
		if usage.puts != 1 {
			t.Errorf("%d writes for four messages at once", usage.puts)
		}
		must(t, a.Close())
		a = open(t, c, Needs{Accounts: accounts, Usage: usage})
		for range 4 {
			must(t, a.Allow("anna", 1, 1))
			time.Sleep(saveEvery)
		}
		// killed
		a = open(t, c, Needs{Accounts: accounts, Usage: usage})
		for range 2 {
			must(t, a.Allow("anna", 1, 1))
		}
		if err := a.Allow("anna", 1, 1); smtp.AsReply(err).Code != 452 {
			t.Errorf("after two restarts: %v, want the daily quota", err)
		}
		usage.rows["usage/anna"] = []byte("damaged")
		a = open(t, c, Needs{Accounts: accounts, Usage: usage})
		must(t, a.Allow("anna", 1, 1))
		usage.fault = errors.New("disk on fire") // counts go on in memory
		for range 9 {
			time.Sleep(saveEvery)
			must(t, a.Allow("anna", 1, 1))
		}
		if err := a.Allow("anna", 1, 1); smtp.AsReply(err).Code != 452 {
			t.Errorf("with a broken table: %v, want the daily quota", err)
		}
		if err := a.Close(); !errors.Is(err, usage.fault) {
			t.Errorf("close: %v", err)
		}
	})
}

// The sliding window never lets more than a limit and one bucket's rounding
// through in any hour, and gives all back in the end.
func TestSlidingWindow(t *testing.T) {
	var s counterState
	start := time.Unix(1_700_000_000, 0)
	type sent struct{ at time.Time }
	var log []sent
	for i := range 6 * 60 {
		now := start.Add(time.Duration(i) * 20 * time.Second)
		s.advance(now)
		if s.usage(now).MessagesHour < 30 {
			s.add(1, 1)
			log = append(log, sent{now})
		}
	}
	for _, l := range log {
		n := 0
		for _, m := range log {
			if d := m.at.Sub(l.at); d >= 0 && d < time.Hour-hourSlot {
				n++
			}
		}
		if n > 31 {
			t.Errorf("%d messages in 55 minutes from %s", n, l.at)
		}
	}
	later := start.Add(30 * 24 * time.Hour)
	s.advance(later)
	if u := s.usage(later); u != (Usage{}) {
		t.Errorf("a month later: %+v", u)
	}
	s.advance(start) // a clock set back
	s.add(1, 1)
	if u := s.usage(start); u.MessagesDay != 1 {
		t.Errorf("clock set back: %+v", u)
	}
}

func TestUsageMemoryIsBounded(t *testing.T) {
	table := newTable()
	u := newUsage(table)
	u.open.max = 2
	for _, key := range []string{"a", "b", "c", "a", "d", "a"} {
		must(t, u.charge(key, 1, func(Usage) error { return nil }))
	}
	if u.open.len() != 2 {
		t.Errorf("%d in memory", u.open.len())
	}
	must(t, u.charge("a", 0, func(got Usage) error {
		if got.MessagesDay != 3 {
			t.Errorf("a sent %d, want 3", got.MessagesDay)
		}
		return nil
	}))
	must(t, u.flush())
}

func TestSenders(t *testing.T) { // SUB-5, AUTH-15
	for _, c := range []struct {
		pattern string
		yes, no string
	}{
		{"anna@example.org", "anna@example.org Anna@EXAMPLE.org", "bob@example.org anna@sub.example.org xanna@example.org anna@example.orgx <> anna"},
		{"example.org", "a@example.org b@Example.Org a+b@example.org \"x y\"@example.org", "a@sub.example.org a@xexample.org <> @example.org"},
		{"@example.org", "a@example.org", "a@sub.example.org"},
		{"*@example.org", "a@example.org", "a@sub.example.org <>"},
		{"*.example.org", "a@b.example.org a@c.b.example.org", "a@example.org a@xexample.org a@.example.org <>"},
		{"*@*.example.org", "a@b.example.org", "a@example.org"},
		{"news-*@example.org", "news-1@example.org NEWS-@example.org", "news@example.org xnews-1@example.org news-1@b.example.org"},
		{"a*b*c@example.org", "abc@example.org axxbxxc@example.org abbcc@example.org", "ab@example.org acb@example.org abcd@example.org"},
		{"noreply@*", "noreply@a.example noreply@b", "noreply2@a.example <>"},
		{"*", "a@b.example", "<>"},
		{"<>", "<>", "a@b.example"},
		{"bücher.example", "a@bücher.example a@xn--bcher-kva.example a@BÜCHER.example", "a@bucher.example"},
	} {
		p, err := parseSender(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		for want, list := range map[bool]string{true: strings.ReplaceAll(c.yes, "\"x y\"", "\"x_y\""), false: c.no} {
			for _, address := range strings.Fields(list) {
				if address == "<>" {
					address = ""
				}
				if p.match(address) != want {
					t.Errorf("%s matches %q: %v", c.pattern, address, !want)
				}
			}
		}
	}
	for _, bad := range []string{"", "a b@c", "a@", "@", "*@*", "a@b*c", "a@*.*", "a@*.", "*.", "a@b@", "a\x00@b", strings.Repeat("x", 400), "<a@b>"} {
		if err := CheckSender(bad); err == nil {
			t.Errorf("took %q", bad)
		}
	}
}

func FuzzSender(f *testing.F) {
	for _, p := range []string{"anna@example.org", "*.example.org", "a*b*c@x", "*", "<>", "noreply@*", "bücher.example"} {
		f.Add(p, "anna@example.org")
	}
	f.Fuzz(func(t *testing.T, pattern, address string) {
		p, err := parseSender(pattern)
		if err != nil {
			return
		}
		if p.match("") != (pattern == "<>") {
			t.Errorf("%q and the null sender", pattern)
		}
		p.match(address)
	})
}

func TestHashStrings(t *testing.T) {
	s, err := HashPassword("s3cret")
	must(t, err)
	if !strings.HasPrefix(s.Password, "$argon2id$v=19$m=19456,t=2,p=1$") || !strings.HasPrefix(s.SCRAM, "SCRAM-SHA-256$15000:") {
		t.Errorf("%+v", s)
	}
	h, err := parsePHC(s.Password)
	must(t, err)
	if !h.matches("s3cret") || h.matches("S3cret") || h.String() != s.Password {
		t.Error("the hash does not read back")
	}
	must(t, s.check())
	// From the argon2 reference's command: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32
	known, err := parsePHC("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	must(t, err)
	if !known.matches("password") {
		t.Error("the reference's hash does not match")
	}
	for _, bad := range []string{
		"", "secret", "$2y$10$abc", "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=2$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=0,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=99999999,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=7,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=2,p=1,x=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=2,p=1$c2k$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFh",
	} {
		if _, err := parsePHC(bad); err == nil {
			t.Errorf("took %q", bad)
		}
	}
	for _, bad := range []string{"", "x", "SCRAM-SHA-256$4095:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="} {
		if _, err := parseSCRAM(bad); err == nil {
			t.Errorf("took %q", bad)
		}
	}
}

func FuzzHashStrings(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := parsePHC(s); err == nil {
			if again, err := parsePHC(h.String()); err != nil || again.String() != h.String() {
				t.Errorf("%q reads back as %q", s, h)
			}
		}
		if c, err := parseSCRAM(s); err == nil {
			if _, err := parseSCRAM(formatSCRAM(c)); err != nil {
				t.Errorf("%q does not read back", s)
			}
		}
	})
}
