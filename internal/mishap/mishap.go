package mishap

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/smtp"
)

// Config says what the room is given. The zero value works, without
// certificates that are wrong in a way only their authority can make.
type Config struct {
	// CA signs the certificates that are wrong; nil: they are signed by nobody.
	CA    *x509.Certificate
	CAKey crypto.Signer
	// Names of this server, for certificates.
	Names []string
	// Twins are the standard ports that ours stand for: 1587 is 587's.
	Twins map[uint16]uint16
	// Random makes keys. Nil: the system's.
	Random io.Reader
	// Events hears of each mishap. Nil: nobody.
	Events event.Sink
}

// Mishap keeps rules and decides what goes wrong. It is safe for concurrent use.
type Mishap struct {
	conf  Config
	book  book
	certs certs

	active [len(stageIndex)]atomic.Bool // whether some rule is for this stage: most sessions ask in vain

	mu     sync.Mutex
	rules  []*kept
	byAddr *counts // of addresses that count: "+defer-2"
	nextID int
}

// kept is a rule in force.
type kept struct {
	Rule
	reply  smtp.Reply
	counts *counts // by keyOf; the one for all under ""
	total  count
}

var stageIndex = [...]Stage{Connect, TLS, Greeting, Ehlo, Helo, StartTLS, Auth, Mail, Rcpt, Data, Content, Dot, Quit, Delivery}

// New returns a room without rules. Addresses work at once.
func New(c Config) *Mishap {
	if c.Events == nil {
		c.Events = event.Discard
	}
	return &Mishap{conf: c, book: newBook(), byAddr: newCounts(), nextID: 1}
}

// ErrNotFound is a rule that is not there; ErrTooMany says that RulesMax are.
var (
	ErrNotFound = errors.New("no such rule")
	ErrTooMany  = fmt.Errorf("there are %d rules already, which is the most", RulesMax)
)

// Rules returns the rules in force in their order, with what became of them.
func (m *Mishap) Rules() []View {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]View, 0, len(m.rules))
	for _, k := range m.rules {
		out = append(out, k.view(time.Now()))
	}
	return out
}

// Rule returns one of them.
func (m *Mishap) Rule(id string) (View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.rules {
		if k.ID == id {
			return k.view(time.Now()), nil
		}
	}
	return View{}, ErrNotFound
}

func (k *kept) view(now time.Time) View {
	v := View{Rule: k.Rule, Seen: k.total.seen, Struck: k.total.struck, Last: k.total.last}
	v.Spent = !k.Expires.IsZero() && !k.Expires.After(now) || k.Per == PerRule && k.Times > 0 && k.total.struck >= int64(k.Times)
	if k.Do.Reply != "" {
		v.Reply = k.reply.String()
	}
	return v
}

// Replace puts these rules in force instead of all others, or none of them: the
// error is a *KeyError or ErrTooMany. Counts begin anew.
func (m *Mishap) Replace(list []Rule) error { return m.ReplaceFor("", list) }

// ReplaceFor is Replace for the rules of one mailbox (Match.User); those of
// others stay. The new ones are made rules of this mailbox. "" is all of them.
func (m *Mishap) ReplaceFor(user string, list []Rule) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var stay []*kept
	for _, k := range m.rules {
		if user != "" && !strings.EqualFold(k.Match.User, user) {
			stay = append(stay, k)
		}
	}
	return m.add(stay, user, list)
}

// Add appends rules, all of them or none; the error is a *KeyError or
// ErrTooMany. A rule whose ID is there already takes that one's place in the
// list, its counts begin anew. It returns them with their IDs. user makes them
// rules of one mailbox; "" leaves them as they are.
func (m *Mishap) Add(user string, list ...Rule) ([]View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from := m.nextID
	if err := m.add(m.rules, user, list); err != nil {
		m.nextID = from
		return nil, err
	}
	var added []View
	for i := range list {
		at := slices.IndexFunc(m.rules, func(k *kept) bool { return k.ID == list[i].ID })
		added = append(added, m.rules[at].view(time.Now()))
	}
	return added, nil
}

// add makes the list that is in force from now on. It fills in list's IDs.
func (m *Mishap) add(before []*kept, user string, list []Rule) error {
	all := slices.Clone(before)
	given := map[string]bool{}
	for i := range list {
		r := &list[i]
		if user != "" {
			r.Match.User = user
		}
		if err := check(r, time.Now()); err != nil {
			var key *KeyError
			if errors.As(err, &key) {
				key.Rule = i
			}
			return err
		}
		if r.ID == "" {
			r.ID = m.newID(all, list)
		}
		if given[r.ID] {
			return &KeyError{Rule: i, ID: r.ID, Key: "id", Why: "is given twice"}
		}
		given[r.ID] = true
		k := &kept{Rule: *r, counts: newCounts()}
		if r.Do.Reply != "" {
			k.reply, _ = replyOf(r.Do.Reply, r.Stage) // checked
		}
		if at := slices.IndexFunc(all, func(o *kept) bool { return o.ID == r.ID }); at >= 0 {
			all[at] = k
			continue
		}
		if all = append(all, k); len(all) > RulesMax {
			return ErrTooMany
		}
	}
	m.enforce(all)
	return nil
}

// newID is "r1", "r2" ...: the first that nobody has.
func (m *Mishap) newID(all []*kept, list []Rule) string {
	for {
		id := "r" + strconv.Itoa(m.nextID)
		m.nextID++
		if !slices.ContainsFunc(all, func(k *kept) bool { return k.ID == id }) &&
			!slices.ContainsFunc(list, func(r Rule) bool { return r.ID == id }) {
			return id
		}
	}
}

// enforce puts a list in force.
func (m *Mishap) enforce(all []*kept) {
	m.rules = all
	for i, s := range stageIndex {
		m.active[i].Store(slices.ContainsFunc(all, func(k *kept) bool { return k.Stage == s }))
	}
}

// Remove ends a rule.
func (m *Mishap) Remove(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := slices.IndexFunc(m.rules, func(k *kept) bool { return k.ID == id })
	if at < 0 {
		return ErrNotFound
	}
	m.enforce(slices.Delete(slices.Clone(m.rules), at, at+1))
	return nil
}

// Clear ends the rules of a mailbox, and forgets how often its addresses were
// deferred; "" is all of them. It returns how many rules there were.
func (m *Mishap) Clear(user string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if user == "" {
		n := len(m.rules)
		m.enforce(nil)
		m.byAddr = newCounts()
		return n
	}
	stay := slices.DeleteFunc(slices.Clone(m.rules), func(k *kept) bool { return strings.EqualFold(k.Match.User, user) })
	n := len(m.rules) - len(stay)
	m.enforce(stay)
	m.forgetUser(user)
	return n
}

func (m *Mishap) forgetUser(user string) {
	for _, c := range m.deferrals() {
		if c.User == user {
			m.byAddr.forget(strings.Join([]string{c.Word, c.User, c.Sender, c.Recipient}, separator))
		}
	}
}

// Deferral is how far an address that counts has come.
type Deferral struct {
	Word      string    `json:"word"` // "+defer-2"
	User      string    `json:"user,omitempty"`
	Sender    string    `json:"sender"`
	Recipient string    `json:"recipient"`
	Seen      int64     `json:"seen"`
	Struck    int64     `json:"struck"` // deferred so often
	Last      time.Time `json:"last,omitzero"`
}

// Deferrals returns at most limit counts of addresses, the newest first.
func (m *Mishap) Deferrals(limit int) []Deferral {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.deferrals()
	return all[:min(limit, len(all))]
}

func (m *Mishap) deferrals() []Deferral {
	out := []Deferral{}
	for e := m.byAddr.order.Front(); e != nil; e = e.Next() {
		c := e.Value.(*count)
		p := strings.Split(c.key, separator)
		if len(p) == 4 {
			out = append(out, Deferral{Word: p[0], User: p[1], Sender: p[2], Recipient: p[3], Seen: c.seen, Struck: c.struck, Last: c.last})
		}
	}
	return out
}
