package accounts

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/smtp"
)

// memTable is a Table in memory; fault makes it fail.
type memTable struct {
	mu    sync.Mutex
	rows  map[string][]byte
	fault error
	puts  int
}

func newTable() *memTable { return &memTable{rows: map[string][]byte{}} }

func (t *memTable) Get(k []byte) ([]byte, bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.rows[string(k)]
	return bytes.Clone(v), ok, t.fault
}

func (t *memTable) Put(k, v []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fault == nil {
		t.puts++
		t.rows[string(k)] = bytes.Clone(v)
	}
	return t.fault
}

func (t *memTable) Delete(k []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.rows, string(k))
	return t.fault
}

func (t *memTable) Each(prefix []byte, yield func(k, v []byte) bool) error {
	t.mu.Lock()
	rows := map[string][]byte{}
	var keys []string
	for k, v := range t.rows {
		if strings.HasPrefix(k, string(prefix)) {
			keys = append(keys, k)
			rows[k] = v
		}
	}
	t.mu.Unlock()
	slices.Sort(keys)
	for _, k := range keys {
		if !yield([]byte(k), rows[k]) {
			break
		}
	}
	return t.fault
}

var (
	quick = Cost{Memory: 8, Time: 1, Threads: 1} // tests count computations, they do not feel them
	home  = netip.MustParseAddr("192.0.2.44")
	there = netip.MustParseAddr("198.51.100.9")
)

func open(t *testing.T, c Config, n Needs) *Accounts {
	t.Helper()
	if n.Accounts == nil {
		n.Accounts = newTable()
	}
	if c.Cost == (Cost{}) {
		c.Cost = quick
	}
	if c.Iterations == 0 {
		c.Iterations = iterationsMin
	}
	a, err := Open(c, n)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func addAccount(t *testing.T, a *Accounts, name, password string) {
	t.Helper()
	_, err := a.Add(New{Name: name, Password: password}, "test")
	must(t, err)
}

// inTLS stands for a connection for which no channel binding can be had.
func inTLS(from netip.Addr) AuthSession {
	return AuthSession{Client: from, TLS: &tls.ConnectionState{}, Hostname: "mx.example", Port: 587}
}

// run answers an exchange with the client's responses in turn and returns the
// challenges and how it ended: "235 account" or the reply.
func run(x Exchange, responses ...[]byte) (challenges []string, end string) {
	for _, r := range responses {
		challenge, done, err := x.Next(context.Background(), r)
		if err != nil {
			return challenges, smtp.AsReply(err).String()
		}
		if done {
			return challenges, "235 " + x.Account()
		}
		challenges = append(challenges, string(challenge))
	}
	return challenges, "more"
}

func login(t *testing.T, a *Accounts, from netip.Addr, user, password string) string {
	t.Helper()
	x, err := a.Begin("PLAIN", inTLS(from))
	must(t, err)
	_, end := run(x, []byte("\x00"+user+"\x00"+password))
	return end
}

const refused = "535 5.7.8 Authentication credentials invalid"

func TestPasswords(t *testing.T) { // AUTH-3, AUTH-14
	a := open(t, Config{}, Needs{})
	addAccount(t, a, "Anna@example.org", "s3cret")
	addAccount(t, a, "app", "pässword")
	for _, c := range []struct{ user, password, want string }{
		{"Anna@example.org", "s3cret", "235 Anna@example.org"},
		{"anna@EXAMPLE.org", "s3cret", "235 Anna@example.org"},
		{"anna@example.org", "S3cret", refused},
		{"anna@example.org", "s3cret ", refused},
		{"nobody@example.org", "s3cret", refused},
		{"app", "pässword", "235 app"},
		{"app", "pa\u0308ssword", "235 app"}, // AUTH-5: prepared second
		{"app", strings.Repeat("x", 4000), refused},
		{"app", "pqt_" + strings.Repeat("a", 32), refused},
		{"app", "", "501 5.5.2 Malformed authentication message"},
	} {
		if got := login(t, a, home, c.user, c.password); got != c.want {
			t.Errorf("%s/%.20s: %s, want %s", c.user, c.password, got, c.want)
		}
	}
}

// Neither the reply nor the work done tells whether a user exists (AUTH-14).
func TestUnknownUsersCostTheSame(t *testing.T) {
	a := open(t, Config{Accounts: []Declared{{Name: "tokens-only"}}}, Needs{})
	addAccount(t, a, "anna", "s3cret")
	for _, password := range []string{"wrong", "wröng", "wro\u0308ng", strings.Repeat("x", 5000), "pqt_" + strings.Repeat("a", 32)} {
		work := func(user string) (int64, string) {
			before := a.gate.computed.Load()
			reply := login(t, a, home, user, password)
			return a.gate.computed.Load() - before, reply
		}
		known, reply := work("anna")
		for _, user := range []string{"nobody", "tokens-only", "anna/laptop"} {
			if n, r := work(user); n != known || r != reply {
				t.Errorf("%s, %.10q: %d computations and %q; known user: %d and %q", user, password, n, r, known, reply)
			}
		}
	}
}

func TestVerifiedPasswordsAreRememberedUntilTheyChange(t *testing.T) {
	a := open(t, Config{}, Needs{})
	addAccount(t, a, "anna", "old")
	for range 5 {
		if got := login(t, a, home, "anna", "old"); got != "235 anna" {
			t.Fatal(got)
		}
	}
	if n := a.gate.computed.Load(); n != 1 {
		t.Errorf("%d computations for five logins, want 1", n)
	}
	_, err := a.Passwd("anna", "new", "test")
	must(t, err)
	if got := login(t, a, home, "anna", "old"); got != refused {
		t.Errorf("old password after the change: %s", got)
	}
	must(t, a.Disable("anna", "left", "test"))
	if got := login(t, a, home, "anna", "new"); got != "535 5.7.13 Account disabled" {
		t.Errorf("disabled, right password: %s", got)
	}
	if got := login(t, a, home, "anna", "old"); got != refused {
		t.Errorf("disabled, wrong password: %s", got)
	}
	must(t, a.Enable("anna", "test"))
	must(t, a.Remove("anna", "test"))
	if got := login(t, a, home, "anna", "new"); got != refused {
		t.Errorf("removed: %s", got)
	}
}

func TestTokens(t *testing.T) { // AUTH-15
	a := open(t, Config{}, Needs{})
	addAccount(t, a, "app", "s3cret")
	ci, err := a.AddToken("app", Token{Name: "ci"}, "test")
	must(t, err)
	office, err := a.AddToken("app", Token{Name: "office", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, "test")
	must(t, err)
	old, err := a.AddToken("app", Token{Name: "old", Expires: time.Now().Add(-time.Second)}, "test")
	must(t, err)
	if _, err := a.AddToken("app", Token{Name: "ci"}, "test"); !errors.Is(err, ErrExists) {
		t.Errorf("second token of one name: %v", err)
	}
	ok := "235 app"
	for _, c := range []struct {
		from         netip.Addr
		user, secret string
		want         string
	}{
		{home, "app", ci, ok}, {there, "app", ci, ok}, {home, "app/ci", ci, ok}, {home, "app/office", ci, refused},
		{home, "app", office, ok}, {there, "app", office, refused}, {home, "app", old, refused},
		{home, "nobody", ci, refused}, {home, "nobody/ci", ci, refused},
	} {
		if got := login(t, a, c.from, c.user, c.secret); got != c.want {
			t.Errorf("%s from %s: %s, want %s", c.user, c.from, got, c.want)
		}
	}
	if a.gate.computed.Load() != 0 {
		t.Error("a token cost an argon2 computation")
	}
	must(t, a.RemoveToken("app", "ci", "test"))
	if got := login(t, a, home, "app", ci); got != refused {
		t.Errorf("revoked token: %s", got)
	}
	p, err := a.Show("app")
	must(t, err)
	if len(p.Tokens) != 2 || p.Tokens[0].Name != "office" {
		t.Errorf("tokens left: %+v", p.Tokens)
	}
	for _, secret := range []string{ci, office, "s3cret"} {
		for k, v := range a.needs.Accounts.(*memTable).rows {
			if strings.Contains(string(v), secret) {
				t.Errorf("%s holds a secret in clear", k)
			}
		}
	}
}

func TestDeclaredAccountsWinAndSaySo(t *testing.T) {
	table := newTable()
	var events []event.Event
	needs := Needs{Accounts: table, Events: event.SinkFunc(func(e event.Event) { events = append(events, e) })}
	a := open(t, Config{}, needs)
	addAccount(t, a, "Anna", "of the table")
	secret, err := hashPassword("of the file", quick, iterationsMin)
	must(t, err)
	declared := Config{Accounts: []Declared{{Name: "anna", PasswordHash: secret.Password, SCRAM: secret.SCRAM, Senders: []string{"example.org"}}}}
	a = open(t, declared, needs)
	if got := login(t, a, home, "anna", "of the table"); got != refused {
		t.Errorf("the shadowed password: %s", got)
	}
	if got := login(t, a, home, "anna", "of the file"); got != "235 anna" {
		t.Errorf("the declared password: %s", got)
	}
	if got := a.Conflicts(); !slices.Equal(got, []string{"anna"}) {
		t.Errorf("conflicts %q", got)
	}
	if !slices.Contains(events, event.Event(event.AccountChanged{Account: "anna", Action: "shadowed", By: "configuration"})) {
		t.Errorf("nobody was told: %v", events)
	}
	if _, err := a.Passwd("anna", "x", "test"); !errors.Is(err, ErrDeclared) {
		t.Errorf("passwd of a declared account: %v", err)
	}
	all, err := a.List()
	must(t, err)
	if len(all) != 1 || !all[0].Declared || !all[0].Shadowed {
		t.Errorf("list %+v", all)
	}
	must(t, a.Remove("anna", "test")) // removes the one below
	if len(a.Conflicts()) != 0 {
		t.Error("still in conflict")
	}
	if err := a.Remove("anna", "test"); !errors.Is(err, ErrDeclared) {
		t.Errorf("removing the declared one: %v", err)
	}
	for _, bad := range []Config{
		{Accounts: []Declared{{Name: "a"}, {Name: "A"}}},
		{Accounts: []Declared{{Name: "a b"}}},
		{Accounts: []Declared{{Name: "a", PasswordHash: "plain"}}},
		{Accounts: []Declared{{Name: "a", Tokens: []DeclaredToken{{Token: Token{Name: "t"}, Hash: "secret"}}}}},
		{Accounts: []Declared{{Name: "a", Senders: []string{"a@*.b.*"}}}},
		{Iterations: 100},
		{OAuth: &OAuth{Issuer: "http://issuer.example", Audiences: []string{"x"}}},
		{OAuth: &OAuth{Issuer: "https://issuer.example"}},
	} {
		if err := a.Reload(bad); err == nil {
			t.Errorf("took %+v", bad)
		}
	}
	if got := login(t, a, home, "anna", "of the file"); got != "235 anna" {
		t.Errorf("after failed reloads: %s", got)
	}
}

func TestAddShowsAPasswordOnce(t *testing.T) {
	a := open(t, Config{}, Needs{})
	password, err := a.Add(New{Name: "anna@example.org"}, "test")
	must(t, err)
	if len(password) != generatedChars {
		t.Errorf("generated %q", password)
	}
	if got := login(t, a, home, "anna@example.org", password); got != "235 anna@example.org" {
		t.Error(got)
	}
	if _, err := a.Add(New{Name: "ANNA@example.org"}, "test"); !errors.Is(err, ErrExists) {
		t.Errorf("the same name again: %v", err)
	}
	p, err := a.Show("anna@example.org")
	must(t, err)
	if !slices.Equal(p.Senders, []string{"anna@example.org"}) || !p.Password || !p.SCRAM {
		t.Errorf("profile %+v", p)
	}
	for _, name := range []string{"", "a/b", "a b", "a\x00", strings.Repeat("x", 255), "\xff"} {
		if _, err := a.Add(New{Name: name}, "test"); err == nil {
			t.Errorf("took the name %q", name)
		}
	}
	for _, password := range []string{"a\nb", "a\x00", strings.Repeat("x", 1025), newToken()} {
		if _, err := a.Add(New{Name: "x", Password: password}, "test"); err == nil {
			t.Errorf("took the password %q", password)
		}
	}
}

func TestAnyPassword(t *testing.T) {
	a := open(t, Config{AnyPassword: true}, Needs{})
	for _, c := range []struct{ user, password, want string }{
		{"inbox-1", "x", "235 inbox-1"}, {"wrong", "x", refused}, {"x", "wrong", refused},
		{"my app/2", "x", "235 my app/2"}, {"a\nb", "x", syntaxReply.String()}, {strings.Repeat("x", 255), "x", syntaxReply.String()},
	} {
		if got := login(t, a, home, c.user, c.password); got != c.want {
			t.Errorf("%s/%s: %s, want %s", c.user, c.password, got, c.want)
		}
	}
	if got := a.Mechanisms(&tls.ConnectionState{}); !slices.Equal(got, []string{"PLAIN", "LOGIN"}) {
		t.Errorf("mechanisms %q", got)
	}
	if ok, err := a.MaySend("inbox-1", "who@ever.example"); !ok || err != nil {
		t.Error("may not send as anybody")
	}
	must(t, a.Allow("inbox-1", 10, 1000))
}

// What is set holds at once, for sessions that have begun too (AUTH-15).
func TestRightsChange(t *testing.T) {
	var events []string
	a := open(t, Config{}, Needs{Events: event.SinkFunc(func(e event.Event) { events = append(events, e.(event.AccountChanged).Action) })})
	addAccount(t, a, "anna@example.org", "x")
	may := func(address string) bool { ok, err := a.MaySend("anna@example.org", address); must(t, err); return ok }
	if !may("anna@example.org") || may("boss@example.org") || may("") {
		t.Error("defaults")
	}
	must(t, a.SetSenders("anna@example.org", []string{"*.example.org", "<>"}, "test"))
	if may("anna@example.org") || !may("x@sub.example.org") || !may("") {
		t.Error("after SetSenders")
	}
	if err := a.SetSenders("anna@example.org", []string{"a@b@"}, "test"); err == nil {
		t.Error("took a bad pattern")
	}
	must(t, a.SetNetworks("anna@example.org", []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, "test"))
	if here, away := login(t, a, home, "anna@example.org", "x"), login(t, a, there, "anna@example.org", "x"); here != "235 anna@example.org" || away != refused {
		t.Errorf("from home %s, from elsewhere %s", here, away)
	}
	must(t, a.SetLimits("anna@example.org", Limits{Size: 5}, "test"))
	if err := a.Allow("anna@example.org", 1, 6); smtp.AsReply(err).Code != 552 {
		t.Errorf("after SetLimits: %v", err)
	}
	addAccount(t, a, "bob", "x")
	must(t, a.SetProxy("bob", []string{"ANNA@example.org"}, "test"))
	if x, err := a.Begin("PLAIN", inTLS(home)); err != nil {
		t.Fatal(err)
	} else if _, end := run(x, []byte("anna@example.org\x00bob\x00x")); end != "235 anna@example.org" {
		t.Errorf("proxy: %s", end)
	}
	if err := a.SetProxy("nobody", nil, "test"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if got := strings.Join(events, ", "); got != "added, senders changed, networks changed, limits changed, added, proxy rights changed" {
		t.Error(got)
	}
}

func TestATableThatFailsIsNotTheUsersFault(t *testing.T) { // RC-36, AUTH-3: 454
	table := newTable()
	a := open(t, Config{FailuresPair: 1}, Needs{Accounts: table})
	table.fault = errors.New("disk on fire")
	for range 3 {
		if got := login(t, a, home, "anna", "x"); got != "454 4.7.0 Temporary authentication failure, try again later" {
			t.Error(got)
		}
	}
	if err := a.Allow("anna", 1, 1); !errors.Is(err, table.fault) {
		t.Errorf("Allow: %v", err)
	}
}
