package accounts

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"paquebot/internal/smtp"
)

// Why a login failed, for the log alone; the peer hears the same of all.
var (
	errNoAccount  = errors.New("no such account")
	errPassword   = errors.New("wrong password")
	errToken      = errors.New("no such token")
	errTokenOld   = errors.New("token expired")
	errNetwork    = errors.New("not from this network")
	errNoPassword = errors.New("account has no password")
	errProxy      = errors.New("no right to act as another account")
	errDisabled   = errors.New("account disabled")
	errBusy       = errors.New("too many password checks at once")
)

// The replies of AUTH-3 that are ours alone.
var (
	disabledReply = smtp.Reply{Code: 535, Enhanced: smtp.Enhanced{Class: 5, Subject: 7, Detail: 13}, Text: "Account disabled"}
	busyReply     = smtp.Reply{Code: 454, Enhanced: smtp.Enhanced{Class: 4, Subject: 7}, Text: "Temporary authentication failure, try again later"}
	blockedReply  = smtp.Reply{Code: 421, Enhanced: smtp.Enhanced{Class: 4, Subject: 7}, Text: "Too many failed logins, try again later", Close: true} // ABU-7
	unknownReply  = smtp.Reply{Code: 504, Enhanced: smtp.Enhanced{Class: 5, Subject: 5, Detail: 4}, Text: "Authentication mechanism not recognised"}
	clearReply    = smtp.Reply{Code: 538, Enhanced: smtp.Enhanced{Class: 5, Subject: 7, Detail: 11}, Text: "Encryption required for authentication"}
	syntaxReply   = smtp.Reply{Code: 501, Enhanced: smtp.Enhanced{Class: 5, Subject: 5, Detail: 2}, Text: "Malformed authentication message"}
)

// login judges a user name and password from PLAIN or LOGIN. The order matters:
// what is said before the password was proved says nothing about the user.
func (a *Accounts) login(ctx context.Context, from netip.Addr, user, password string) (*entry, error) {
	set := a.current.Load()
	if set.AnyPassword {
		return anybody(user, password)
	}
	if err := a.blocked(user, from); err != nil {
		return nil, err
	}
	e, why := a.prove(ctx, set, from, user, password)
	if why != nil {
		return nil, a.failed(ctx, user, from, why)
	}
	return e, a.admit(ctx, e, user, from)
}

// Login checks a user name and password as PLAIN does, for the doors that are
// not SMTP, and returns the account. The error is a Reply.
func (a *Accounts) Login(ctx context.Context, from netip.Addr, user, password string) (account string, err error) {
	e, err := a.login(ctx, from, user, password)
	if err != nil {
		return "", err
	}
	return e.Name, nil
}

// anybody is the account of a developer's laptop (Config.AnyPassword).
func anybody(user, password string) (*entry, error) {
	if user == "wrong" || password == "wrong" {
		return nil, smtp.BadLogin.Because(errPassword)
	}
	if user == "" || len(user) > nameMax || strings.ContainsFunc(user, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return nil, syntaxReply // the name becomes a mailbox's and is shown
	}
	return someone(user), nil
}

func someone(user string) *entry {
	return &entry{Profile: Profile{Name: user, Senders: []string{"*", "<>"}}, anyone: true}
}

// admit is the last step of every mechanism: who is proved may still be
// disabled or in the wrong place.
func (a *Accounts) admit(ctx context.Context, e *entry, user string, from netip.Addr) error {
	if !allowed(e.Networks, from) {
		return a.failed(ctx, user, from, errNetwork)
	}
	if e.Disabled {
		return disabledReply.Because(errDisabled) // AUTH-3; the password was right, so this tells its owner alone
	}
	a.backoff.succeeded(canonical(user), from)
	return nil
}

// failed counts a failure, waits, and returns what to say. An error that is a
// Reply passes as it is: a fault of ours is not the user's failure.
func (a *Accounts) failed(ctx context.Context, user string, from netip.Addr, why error) error {
	var r smtp.Reply
	if errors.As(why, &r) {
		return r
	}
	set := a.current.Load()
	n := a.backoff.failed(canonical(user), from)
	tarpit(ctx, set.Tarpit, n)
	return smtp.BadLogin.Because(why)
}

func (a *Accounts) blocked(user string, from netip.Addr) error {
	if why := a.backoff.blocked(canonical(user), from, a.current.Load().Config); why != nil {
		return blockedReply.Because(why)
	}
	return nil
}

// tarpit waits base, 2*base, 4*base, at most 5*base after the n-th failure.
func tarpit(ctx context.Context, base time.Duration, n int) {
	if base <= 0 {
		return
	}
	delay := min(base<<min(n-1, 3), 5*base)
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// prove finds the account whose password or token this is. Exactly one path is
// taken for one form of password, whether the user exists or not.
func (a *Accounts) prove(ctx context.Context, set *settings, from netip.Addr, user, password string) (*entry, error) {
	e, err := a.find(user)
	if err != nil {
		return nil, busyReply.Because(err)
	}
	if isToken(password) {
		return a.proveToken(e, from, user, password)
	}
	hash, why := set.dummy, errNoAccount
	if e != nil {
		why = errNoPassword
		if e.Password {
			why = errPassword
			if hash, err = parsePHC(e.secret.Password); err != nil {
				return nil, busyReply.Because(err)
			}
		}
	}
	known := e != nil && e.Password
	if known && a.verified.has(e.secret.Password, password) {
		return e, nil
	}
	ok, err := a.compute(ctx, set, hash, password)
	if err != nil {
		return nil, err
	}
	if !ok || !known {
		return nil, why
	}
	a.verified.add(e.secret.Password, password, set.Remember)
	return e, nil
}

// compute compares the password as it came and then, if that differs, as
// SASLprep writes it (AUTH-5), in the slots of the gate. A password too long
// to be one costs the same as any.
func (a *Accounts) compute(ctx context.Context, set *settings, hash phc, password string) (bool, error) {
	if len(password) > passwordMax {
		password = password[:passwordMax]
		hash = set.dummy
	}
	leave, err := a.gate.enter(ctx, set.Wait)
	if err != nil {
		return false, busyReply.Because(err)
	}
	defer leave()
	a.gate.computed.Add(1)
	if hash.matches(password) {
		return true, nil
	}
	if p := prepared(password); p != password {
		a.gate.computed.Add(1)
		return hash.matches(p), nil
	}
	return false, nil
}

// proveToken compares with each of the account's tokens. The login name may be
// the account's or "account/token".
func (a *Accounts) proveToken(e *entry, from netip.Addr, user, secret string) (*entry, error) {
	only := ""
	if i := strings.LastIndexByte(user, '/'); e == nil && i > 0 {
		only = user[i+1:]
		var err error
		if e, err = a.find(user[:i]); err != nil {
			return nil, busyReply.Because(err)
		}
	}
	if e == nil {
		return nil, errNoAccount
	}
	sum, found := []byte(hashToken(secret)), -1
	for i, t := range e.hashes {
		if subtle.ConstantTimeCompare(sum, []byte(t.Hash)) == 1 && (only == "" || only == e.Tokens[i].Name) {
			found = i
		}
	}
	if found < 0 {
		return nil, errToken
	}
	return e, e.Tokens[found].usable(from)
}

func (t Token) usable(from netip.Addr) error {
	if !t.Expires.IsZero() && !time.Now().Before(t.Expires) {
		return errTokenOld
	}
	if !allowed(t.Networks, from) {
		return errNetwork
	}
	return nil
}

// gate bounds how many argon2 computations run at once: each takes Cost.Memory,
// so a flood of logins could otherwise take all there is.
type gate struct {
	slots    chan struct{}
	waiting  atomic.Int64
	computed atomic.Int64 // computations so far: what the timing tests count
}

// waitersMax bounds those who wait for a slot; with two slots of 25 ms they
// could not all be served within their patience anyway.
const waitersMax = 1024

func newGate(slots int) *gate { return &gate{slots: make(chan struct{}, slots)} }

func (g *gate) enter(ctx context.Context, patience time.Duration) (leave func(), err error) {
	leave = func() { <-g.slots }
	select {
	case g.slots <- struct{}{}:
		return leave, nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > waitersMax {
		return nil, errBusy
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case g.slots <- struct{}{}:
		return leave, nil
	case <-t.C:
		return nil, errBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// verified remembers for a while which passwords were right, so that a client
// that connects for each message does not cost 25 ms each time. It keeps
// keyed digests of (stored hash, password) under a key of this process alone:
// whoever changes the password changes the stored hash and so forgets it.
type verified struct {
	key  []byte
	mu   sync.Mutex
	seen *lru[[32]byte, time.Time] // until when
}

// verifiedMax bounds the memory at about 8 MiB.
const verifiedMax = 1 << 16

func newVerified() *verified {
	return &verified{key: randomBytes(32), seen: newLRU[[32]byte, time.Time](verifiedMax)}
}

func (v *verified) digest(hash, password string) [32]byte {
	return [32]byte(hmacSum(v.key, hash, "\x00", password))
}

func (v *verified) has(hash, password string) bool {
	d := v.digest(hash, password)
	v.mu.Lock()
	defer v.mu.Unlock()
	until, ok := v.seen.get(d)
	if ok && !time.Now().Before(until) {
		v.seen.remove(d)
		return false
	}
	return ok
}

func (v *verified) add(hash, password string, ttl time.Duration) {
	if ttl <= 0 {
		return
	}
	d := v.digest(hash, password)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen.put(d, time.Now().Add(ttl))
}
