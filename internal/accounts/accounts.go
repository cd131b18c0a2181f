package accounts

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"paquebot/internal/event"
)

// Config of the accounts. The zero value is usable: no declared accounts,
// passwords and SCRAM, no OAuth, no client certificates.
type Config struct {
	Accounts []Declared

	// AnyPassword accepts any user and password inside TLS, for `paquebot dev`;
	// the user's name is the account's. User "wrong" and password "wrong" are
	// refused, so that failing logins can be tried. SCRAM, which must know the
	// password, is not offered then.
	AnyPassword bool

	// Mechanisms to offer, where they can be used at all; nil: all.
	Mechanisms []string
	// ClearText offers PLAIN and LOGIN without TLS too. For development only.
	ClearText bool

	NoSCRAM    bool // keep no SCRAM keys and offer no SCRAM
	Iterations int  // of SCRAM keys made here; 0: 15000 (AUTH-7)
	Cost       Cost // of password hashes made here; zero: DefaultCost
	// Slots is how many argon2 computations may run at once; 0: one per core.
	Slots int
	// Wait is how long a login waits for a slot before 454; 0: 5 s.
	Wait time.Duration
	// Remember is how long a verified password is not computed again; 0: 5
	// min, negative: never remembered.
	Remember time.Duration

	// FailuresPair, FailuresAddress and FailuresUser are how many failed logins
	// an hour a user may have from one address (/64 for IPv6), an address over
	// all users, and a user over all addresses (from which addresses that
	// logged in as that user lately stay exempt). 0: 20, 100, 200 (ABU-7).
	FailuresPair, FailuresAddress, FailuresUser int
	// Tarpit delays the answer to an address's first failure as a user; each
	// further one doubles that, up to five times (AUTH-14). 0: none, since the
	// session slows failures down as well, but forgets when it ends.
	Tarpit time.Duration

	// Sessions is how many sessions an account may have at once (ABU-1). 0: 20,
	// negative: unlimited.
	Sessions int

	Limits Limits // of accounts that have none of their own, field by field

	OAuth       *OAuth       // OAUTHBEARER and XOAUTH2; nil: not offered
	Certificate *Certificate // EXTERNAL; nil: not offered
}

func (c Config) withDefaults() Config {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	wait := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	def(&c.Iterations, iterationsDefault)
	def(&c.Slots, runtime.GOMAXPROCS(0))
	def(&c.FailuresPair, 20)
	def(&c.FailuresAddress, 100)
	def(&c.FailuresUser, 200)
	def(&c.Sessions, sessionsDefault)
	wait(&c.Wait, 5*time.Second)
	wait(&c.Remember, 5*time.Minute)
	if c.Cost == (Cost{}) {
		c.Cost = DefaultCost
	}
	return c
}

// settings are what a reload replaces as one.
type settings struct {
	Config
	declared map[string]*entry // by canonical name
	shadowed map[string]bool   // of them, those that the table has too
	dummy    phc               // what unknown users' passwords are compared with
	scram    bool              // every account with a password can do SCRAM
	oauth    *oauthServer      // nil if not configured
}

// Accounts is the directory of who may submit. It is safe for concurrent use.
type Accounts struct {
	needs   Needs
	current atomic.Pointer[settings]
	manage  sync.Mutex // held by one change at a time

	cacheMu sync.Mutex
	cache   *lru[string, *entry] // of the table, by canonical name

	verified *verified
	backoff  *backoff
	gate     *gate
	usage    *usage
	sessions sessions
	fakeKey  []byte // for the fake salts of unknown users: kept in the table
}

const (
	// entriesMax are the accounts decoded in memory, about 1 KiB each.
	entriesMax = 4096

	accountPrefix = "account/"
	keyPrefix     = "key/"
)

// Open reads the settings and the table. An account that the configuration
// and the table both have is no error: the declared one is in force, Conflicts
// tells, and an event says so.
func Open(c Config, n Needs) (*Accounts, error) {
	if n.Events == nil {
		n.Events = event.Discard
	}
	if n.HTTP == nil {
		n.HTTP = &http.Client{}
	}
	c = c.withDefaults()
	a := &Accounts{
		needs:    n,
		cache:    newLRU[string, *entry](entriesMax),
		verified: newVerified(),
		backoff:  newBackoff(),
		gate:     newGate(c.Slots),
		usage:    newUsage(n.Usage),
	}
	var err error
	if a.fakeKey, err = a.loadKey("fake-salt"); err != nil {
		return nil, err
	}
	return a, a.Reload(c)
}

// Reload puts other settings in force, or none of them when it fails. Sessions
// that are logged in stay so. The number of slots stays as opened.
func (a *Accounts) Reload(c Config) error {
	c = c.withDefaults()
	s := &settings{Config: c, declared: map[string]*entry{}, shadowed: map[string]bool{}}
	s.dummy = phc{Cost: c.Cost, salt: randomBytes(saltBytes), hash: randomBytes(hashBytes)}
	for _, d := range c.Accounts {
		e, err := fromDeclared(d)
		if err != nil {
			return err
		}
		key := canonical(d.Name)
		if s.declared[key] != nil {
			return fmt.Errorf("account %q is declared twice", d.Name)
		}
		s.declared[key] = e
	}
	if err := s.check(); err != nil {
		return err
	}
	if c.OAuth != nil {
		s.oauth = newOAuthServer(*c.OAuth, a.needs.HTTP)
	}
	a.manage.Lock()
	defer a.manage.Unlock()
	if err := a.findShadowed(s); err != nil {
		return err
	}
	a.current.Store(s)
	return nil
}

func (s *settings) check() error {
	if s.Iterations < iterationsMin || s.Iterations > iterationsMax {
		return fmt.Errorf("SCRAM iterations must be %d to %d", iterationsMin, iterationsMax)
	}
	if s.Cost.Memory > costMemoryMax || s.Cost.Time > costTimeMax || s.Cost.Time == 0 || s.Cost.Threads == 0 || s.Cost.Memory < 8*uint32(s.Cost.Threads) {
		return errors.New("the cost of password hashes is out of bounds")
	}
	// A client takes the strongest mechanism offered and stops when it fails.
	// SCRAM is therefore offered only when nobody's password is known to
	// argon2id alone.
	s.scram = !s.NoSCRAM && !s.AnyPassword
	for _, m := range s.Mechanisms {
		if !slices.Contains(allMechanisms(), strings.ToUpper(m)) {
			return fmt.Errorf("%q is no SASL mechanism of ours (%s)", m, strings.Join(allMechanisms(), ", "))
		}
	}
	for _, e := range s.declared {
		if e.Password && !e.SCRAM {
			s.scram = false
		}
	}
	if s.OAuth != nil {
		if err := s.OAuth.check(); err != nil {
			return err
		}
	}
	return nil
}

func (a *Accounts) findShadowed(s *settings) error {
	for key, e := range s.declared {
		_, ok, err := a.needs.Accounts.Get([]byte(accountPrefix + key))
		if err != nil {
			return err
		}
		if ok {
			copied := *e
			copied.Shadowed = true
			s.declared[key], s.shadowed[key] = &copied, true
			a.needs.Events.Emit(event.AccountChanged{Account: e.Name, Action: "shadowed", By: "configuration"})
		}
	}
	return nil
}

// Conflicts are the names that the configuration and the table both have, in
// order.
func (a *Accounts) Conflicts() []string {
	var names []string
	s := a.current.Load()
	for key := range s.shadowed {
		names = append(names, s.declared[key].Name)
	}
	slices.Sort(names)
	return names
}

// Close writes the counters down. The Accounts answer no more after it.
func (a *Accounts) Close() error { return a.usage.flush() }

// find returns the account of that name; nil if there is none. An error means
// that the table cannot be read.
func (a *Accounts) find(name string) (*entry, error) {
	if len(name) > nameMax {
		return nil, nil // nobody has such a name: no need to prepare and look up what a stranger sent
	}
	key := canonical(name)
	s := a.current.Load()
	if e := s.declared[key]; e != nil {
		return e, nil
	}
	if e, ok := a.cached(key); ok {
		return e, nil
	}
	return a.load(key)
}

func (a *Accounts) cached(key string) (*entry, bool) {
	a.cacheMu.Lock()
	defer a.cacheMu.Unlock()
	return a.cache.get(key)
}

// load reads an account from the table into the cache. The lock is held
// across, so that a change made meanwhile cannot be overtaken by what was
// read before it.
func (a *Accounts) load(key string) (*entry, error) {
	a.cacheMu.Lock()
	defer a.cacheMu.Unlock()
	value, ok, err := a.needs.Accounts.Get([]byte(accountPrefix + key))
	if err != nil || !ok {
		return nil, err
	}
	e, err := decode(value)
	if err != nil {
		return nil, err
	}
	a.cache.put(key, e)
	return e, nil
}

// save writes an account and returns when it is durable.
func (a *Accounts) save(e *entry) error {
	value, err := json.Marshal(record{Version: recordVersion, Profile: e.Profile, Secret: e.secret, Hashes: e.hashes})
	if err != nil {
		return err
	}
	key := canonical(e.Name)
	a.cacheMu.Lock()
	defer a.cacheMu.Unlock()
	if err := a.needs.Accounts.Put([]byte(accountPrefix+key), value); err != nil {
		return err
	}
	a.cache.put(key, e)
	return nil
}

func decode(value []byte) (*entry, error) {
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, fmt.Errorf("accounts: damaged record: %w", err)
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("accounts: record of version %d, this program knows %d", r.Version, recordVersion)
	}
	e := &entry{Profile: r.Profile, secret: r.Secret, hashes: r.Hashes}
	if err := e.compile(); err != nil {
		return nil, fmt.Errorf("accounts: damaged record: %w", err)
	}
	return e, nil
}

// loadKey returns a random key that is made once and kept. Should two start at
// once, the later one's stays; nothing depends on more.
func (a *Accounts) loadKey(name string) ([]byte, error) {
	value, ok, err := a.needs.Accounts.Get([]byte(keyPrefix + name))
	if err != nil {
		return nil, err
	}
	if ok && len(value) == sha256.Size {
		return value, nil
	}
	value = randomBytes(sha256.Size)
	return value, a.needs.Accounts.Put([]byte(keyPrefix+name), value)
}

func hmacSum(key []byte, parts ...string) []byte {
	mac := hmac.New(sha256.New, key)
	for _, p := range parts {
		mac.Write([]byte(p))
	}
	return mac.Sum(nil)
}
