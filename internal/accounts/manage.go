package accounts

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"paquebot/internal/event"
)

var (
	// ErrNotFound: there is no such account or token.
	ErrNotFound = errors.New("no such account or token")
	// ErrExists: the name is taken.
	ErrExists = errors.New("there is an account or token of this name already")
	// ErrDeclared: the account is in the configuration and changed there.
	ErrDeclared = errors.New("the account is declared in the configuration; change it there")
)

// New is an account to add.
type New struct {
	Name     string
	Password string   // "": one is made up and returned
	Senders  []string // patterns (see CheckSender); none: the name, when it is an address, else "*" and "<>"
	Proxy    []string
	Networks []netip.Prefix
	Limits   Limits
}

// Add makes an account in the table and returns the password it made up, if it
// did; it is shown this once. It is durable when Add returns. By is who did
// it, for the event.
func (a *Accounts) Add(n New, by string) (generated string, err error) {
	if err := checkName(n.Name); err != nil {
		return "", err
	}
	a.manage.Lock()
	defer a.manage.Unlock()
	old, err := a.find(n.Name)
	if err != nil {
		return "", err
	}
	if old != nil {
		return "", ErrExists
	}
	e := &entry{Profile: Profile{
		Name: n.Name, Senders: slices.Clone(n.Senders), Proxy: n.Proxy, Networks: n.Networks, Limits: n.Limits,
		Created: time.Now().UTC(),
	}}
	if len(e.Senders) == 0 {
		e.Senders = defaultSenders(n.Name)
	}
	if generated, err = a.setPassword(e, n.Password); err != nil {
		return "", err
	}
	return generated, a.put(e, "added", by)
}

// setPassword hashes a password, or one it makes up and returns. It takes a
// slot, as a login does.
func (a *Accounts) setPassword(e *entry, password string) (generated string, err error) {
	if password == "" {
		generated = randomText(generatedChars)
		password = generated
	}
	set := a.current.Load()
	a.gate.slots <- struct{}{}
	defer func() { <-a.gate.slots }()
	iterations := set.Iterations
	if set.NoSCRAM {
		iterations = 0
	}
	e.secret, err = hashPassword(password, set.Cost, iterations)
	return generated, err
}

// put compiles, writes and tells; the caller holds the lock.
func (a *Accounts) put(e *entry, action, by string) error {
	e.Changed = time.Now().UTC()
	if err := e.compile(); err != nil {
		return err
	}
	if err := a.save(e); err != nil {
		return err
	}
	a.needs.Events.Emit(event.AccountChanged{Account: e.Name, Action: action, By: by})
	return nil
}

// change applies f to a copy of an account of the table.
func (a *Accounts) change(name, action, by string, f func(*entry) error) error {
	a.manage.Lock()
	defer a.manage.Unlock()
	old, err := a.find(name)
	switch {
	case err != nil:
		return err
	case old == nil:
		return ErrNotFound
	case old.Declared:
		return ErrDeclared
	}
	e := *old
	e.Tokens, e.hashes = slices.Clone(old.Tokens), slices.Clone(old.hashes)
	if err := f(&e); err != nil {
		return err
	}
	return a.put(&e, action, by)
}

// Passwd sets a password, or makes one up when it is empty, and returns that.
// Sessions logged in already stay; the old password is not remembered.
func (a *Accounts) Passwd(name, password, by string) (generated string, err error) {
	err = a.change(name, "password changed", by, func(e *entry) error {
		generated, err = a.setPassword(e, password)
		return err
	})
	if err != nil {
		return "", err
	}
	return generated, nil
}

// Disable shuts an account: its logins are refused with 535 5.7.13, its
// sessions may send no further message.
func (a *Accounts) Disable(name, why, by string) error {
	return a.change(name, "disabled", by, func(e *entry) error {
		e.Disabled, e.DisabledWhy = true, why
		return nil
	})
}

// Enable undoes Disable.
func (a *Accounts) Enable(name, by string) error {
	return a.change(name, "enabled", by, func(e *entry) error {
		e.Disabled, e.DisabledWhy = false, ""
		return nil
	})
}

// SetLimits replaces an account's limits.
func (a *Accounts) SetLimits(name string, l Limits, by string) error {
	return a.change(name, "limits changed", by, func(e *entry) error { e.Limits = l; return nil })
}

// SetSenders replaces the patterns an account may send as; none forbid all.
func (a *Accounts) SetSenders(name string, patterns []string, by string) error {
	return a.change(name, "senders changed", by, func(e *entry) error {
		e.Senders = slices.Clone(patterns)
		return nil
	})
}

// SetNetworks replaces the networks an account may log in from; none: anywhere.
func (a *Accounts) SetNetworks(name string, networks []netip.Prefix, by string) error {
	return a.change(name, "networks changed", by, func(e *entry) error {
		e.Networks = slices.Clone(networks)
		return nil
	})
}

// SetProxy replaces the accounts an account may act as; "*" is any.
func (a *Accounts) SetProxy(name string, others []string, by string) error {
	return a.change(name, "proxy rights changed", by, func(e *entry) error {
		e.Proxy = slices.Clone(others)
		return nil
	})
}

// Remove deletes an account, its tokens and its counters. It also deletes one
// that a declared account shadows, which otherwise nothing could reach.
func (a *Accounts) Remove(name, by string) error {
	a.manage.Lock()
	defer a.manage.Unlock()
	key := canonical(name)
	value, ok, err := a.needs.Accounts.Get([]byte(accountPrefix + key))
	if err != nil {
		return err
	}
	set := a.current.Load()
	if !ok {
		if set.declared[key] != nil {
			return ErrDeclared
		}
		return ErrNotFound
	}
	if e, err := decode(value); err == nil {
		name = e.Name
	}
	if err := a.drop(key); err != nil {
		return err
	}
	a.unshadow(set, key)
	a.usage.forget(key)
	a.needs.Events.Emit(event.AccountChanged{Account: name, Action: "removed", By: by})
	return nil
}

func (a *Accounts) drop(key string) error {
	a.cacheMu.Lock()
	defer a.cacheMu.Unlock()
	a.cache.remove(key)
	return a.needs.Accounts.Delete([]byte(accountPrefix + key))
}

// unshadow puts settings in force in which the declared account is alone.
func (a *Accounts) unshadow(set *settings, key string) {
	if !set.shadowed[key] {
		return
	}
	copied := *set
	copied.shadowed, copied.declared = maps.Clone(set.shadowed), maps.Clone(set.declared)
	e := *set.declared[key]
	e.Shadowed = false
	copied.declared[key] = &e
	delete(copied.shadowed, key)
	a.current.Store(&copied)
}

// AddToken gives an account a token of that name and returns its secret, which
// is shown this once. Expires and Networks of t are used, Created is set.
func (a *Accounts) AddToken(name string, t Token, by string) (secret string, err error) {
	if err := checkName(t.Name); err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	secret = newToken()
	kept := tokenSecret{Hash: hashToken(secret)}
	if set := a.current.Load(); !set.NoSCRAM {
		// As many rounds as anybody's: fewer would do for a random secret, but
		// would tell that there is a token of this name.
		keys, err := scramKeys(secret, randomBytes(saltBytes), set.Iterations)
		if err != nil {
			return "", err
		}
		kept.SCRAM = formatSCRAM(keys)
	}
	err = a.change(name, "token added: "+t.Name, by, func(e *entry) error {
		if slices.ContainsFunc(e.Tokens, func(o Token) bool { return o.Name == t.Name }) {
			return ErrExists
		}
		t.Created = time.Now().UTC()
		e.Tokens, e.hashes = append(e.Tokens, t), append(e.hashes, kept)
		return nil
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// RemoveToken revokes a token at once.
func (a *Accounts) RemoveToken(name, token, by string) error {
	return a.change(name, "token removed: "+token, by, func(e *entry) error {
		i := slices.IndexFunc(e.Tokens, func(t Token) bool { return t.Name == token })
		if i < 0 {
			return ErrNotFound
		}
		e.Tokens, e.hashes = slices.Delete(e.Tokens, i, i+1), slices.Delete(e.hashes, i, i+1)
		return nil
	})
}

// Show returns an account without its secrets.
func (a *Accounts) Show(name string) (Profile, error) {
	e, err := a.find(name)
	if err != nil {
		return Profile{}, err
	}
	if e == nil {
		return Profile{}, ErrNotFound
	}
	return e.Profile, nil
}

// List returns all accounts, by name: the declared and those of the table that
// no declared one shadows.
func (a *Accounts) List() ([]Profile, error) {
	set := a.current.Load()
	var all []Profile
	for _, e := range set.declared {
		all = append(all, e.Profile)
	}
	var damaged error
	err := a.needs.Accounts.Each([]byte(accountPrefix), func(key, value []byte) bool {
		if set.declared[string(key[len(accountPrefix):])] != nil {
			return true
		}
		e, err := decode(value)
		if err != nil {
			damaged = errors.Join(damaged, fmt.Errorf("%s: %w", key, err))
			return true
		}
		all = append(all, e.Profile)
		return true
	})
	slices.SortFunc(all, func(x, y Profile) int { return strings.Compare(canonical(x.Name), canonical(y.Name)) })
	return all, errors.Join(err, damaged)
}

// MaySend reports whether an account may use address in MAIL FROM or as an
// author (SUB-5); "" asks for the null sender (PC-16). An error means that the
// table cannot be read, which must not refuse mail for good.
func (a *Accounts) MaySend(account, address string) (bool, error) {
	e, err := a.principal(account)
	return e != nil && e.maySend(address), err
}

// SendersOf are the patterns an account may send as, for explanations.
func (a *Accounts) SendersOf(account string) []string {
	e, err := a.principal(account)
	if err != nil || e == nil {
		return nil
	}
	return slices.Clone(e.Senders)
}

// Stat is how busy the door is.
type Stat struct {
	Hashes    int64 // argon2 computations so far
	Waiting   int64 // logins waiting for a slot now
	Verified  int   // credentials remembered
	Addresses int   // addresses with failed logins
}

// Stat measures.
func (a *Accounts) Stat() Stat {
	s := Stat{Hashes: a.gate.computed.Load(), Waiting: a.gate.waiting.Load()}
	a.verified.mu.Lock()
	s.Verified = a.verified.seen.len()
	a.verified.mu.Unlock()
	a.backoff.mu.Lock()
	s.Addresses = a.backoff.addrs.len()
	a.backoff.mu.Unlock()
	return s
}
