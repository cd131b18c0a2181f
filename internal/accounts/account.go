package accounts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"
)

// Limits are what one account may submit. Zero means no limit.
type Limits struct {
	MessagesPerHour   int   `json:"messages_per_hour,omitempty"`
	MessagesPerDay    int   `json:"messages_per_day,omitempty"`
	RecipientsPerHour int   `json:"recipients_per_hour,omitempty"`
	RecipientsPerDay  int   `json:"recipients_per_day,omitempty"`
	Recipients        int   `json:"recipients,omitempty"` // of one message
	Size              int64 `json:"size,omitempty"`       // of one message, octets
}

// Token is a secret of its own for one application, shown once when made and
// revocable alone (AUTH-15).
type Token struct {
	Name     string         `json:"name"`
	Created  time.Time      `json:"created,omitzero"`
	Expires  time.Time      `json:"expires,omitzero"`   // zero: never
	Networks []netip.Prefix `json:"networks,omitempty"` // it works from these alone; none: from anywhere
}

// Profile is what may be shown of an account: everything but its secrets.
type Profile struct {
	Name        string         `json:"name"`
	Declared    bool           `json:"declared,omitempty"` // in the configuration, not in the table
	Shadowed    bool           `json:"shadowed,omitempty"` // an account of this name in the table is not in force
	Disabled    bool           `json:"disabled,omitempty"`
	DisabledWhy string         `json:"disabled_why,omitempty"`
	Senders     []string       `json:"senders"`            // patterns, see ParseSender
	Proxy       []string       `json:"proxy,omitempty"`    // accounts it may act as (PLAIN's authzid); "*" for any
	Networks    []netip.Prefix `json:"networks,omitempty"` // it may log in from these alone; none: from anywhere
	Limits      Limits         `json:"limits"`
	Tokens      []Token        `json:"tokens,omitempty"`
	Password    bool           `json:"password"` // it has one
	SCRAM       bool           `json:"scram"`    // it can log in with SCRAM
	Created     time.Time      `json:"created,omitzero"`
	Changed     time.Time      `json:"changed,omitzero"`
}

// Declared is an account given in the configuration.
type Declared struct {
	Name         string
	PasswordHash string // PHC format, argon2id; "" for none
	SCRAM        string // "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey"; "" for none
	Disabled     bool
	Senders      []string
	Proxy        []string
	Networks     []netip.Prefix
	Limits       Limits
	Tokens       []DeclaredToken
}

// DeclaredToken is a Token given in the configuration by its hash.
type DeclaredToken struct {
	Token
	Hash string // hexadecimal SHA-256 of the secret
}

// entry is an account with its secrets; never changed once shared.
type entry struct {
	Profile
	secret  Secret
	hashes  []tokenSecret // as Profile.Tokens
	senders []sender      // as Profile.Senders
	anyone  bool          // of `paquebot dev`: may send as anybody
}

// tokenSecret is what is kept of a token's secret.
type tokenSecret struct {
	Hash  string `json:"hash"` // hexadecimal SHA-256: the secret has 160 random bits, so nothing slower is needed
	SCRAM string `json:"scram,omitempty"`
}

// record is an entry as it lies in the table, in JSON.
type record struct {
	Version int // 1
	Profile
	Secret Secret
	Hashes []tokenSecret
}

const (
	recordVersion = 1
	nameMax       = 254 // the longest address, since names often are addresses
	tokensMax     = 64  // per account: each wrong token is compared with all
	patternsMax   = 1000
)

// canonical is the form under which names are compared: prepared and in lower
// case, since people type their address as a login in any case.
func canonical(name string) string {
	return strings.ToLower(prepared(name))
}

// prepared applies SASLprep (RFC 4013); what that forbids is returned as it is.
func prepared(s string) string {
	if isASCII(s) {
		return s
	}
	p, err := stringprep.SASLprep.Prepare(s)
	if err != nil {
		return s
	}
	return p
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

var errName = errors.New("a name has 1 to 254 printable characters, without spaces and \"/\"")

// checkName says why a name is no account's. "/" divides an account from its
// token in a login name.
func checkName(name string) error {
	if name == "" || len(name) > nameMax || !utf8.ValidString(name) || strings.Contains(name, "/") {
		return errName
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }) {
		return errName
	}
	return nil
}

// compile fills in what follows from the profile.
func (e *entry) compile() error {
	if err := checkName(e.Name); err != nil {
		return err
	}
	if len(e.Senders) > patternsMax {
		return fmt.Errorf("more than %d senders", patternsMax)
	}
	e.senders = make([]sender, 0, len(e.Senders))
	for _, s := range e.Senders {
		p, err := parseSender(s)
		if err != nil {
			return err
		}
		e.senders = append(e.senders, p)
	}
	if len(e.Tokens) > tokensMax || len(e.Tokens) != len(e.hashes) {
		return fmt.Errorf("more than %d tokens", tokensMax)
	}
	e.Password = e.secret.Password != ""
	e.SCRAM = e.secret.SCRAM != ""
	return nil
}

// defaultSenders are an account's when none are given: itself when it is an
// address, otherwise anything, written out so that lists show it.
func defaultSenders(name string) []string {
	if strings.Contains(name, "@") {
		return []string{name}
	}
	return []string{"*", "<>"}
}

func fromDeclared(d Declared) (*entry, error) {
	e := &entry{
		Profile: Profile{
			Name: d.Name, Declared: true, Disabled: d.Disabled,
			Senders: slices.Clone(d.Senders), Proxy: d.Proxy, Networks: d.Networks, Limits: d.Limits,
		},
		secret: Secret{Password: d.PasswordHash, SCRAM: d.SCRAM},
	}
	if d.Disabled {
		e.DisabledWhy = "configuration"
	}
	if len(e.Senders) == 0 {
		e.Senders = defaultSenders(d.Name)
	}
	for _, t := range d.Tokens {
		if raw, err := hex.DecodeString(t.Hash); err != nil || len(raw) != sha256.Size || checkName(t.Name) != nil {
			return nil, fmt.Errorf("account %q: token %q needs a name and the hexadecimal SHA-256 of its secret", d.Name, t.Name)
		}
		e.Tokens = append(e.Tokens, t.Token)
		e.hashes = append(e.hashes, tokenSecret{Hash: strings.ToLower(t.Hash)})
	}
	if err := e.secret.check(); err != nil {
		return nil, fmt.Errorf("account %q: %w", d.Name, err)
	}
	if err := e.compile(); err != nil {
		return nil, fmt.Errorf("account %q: %w", d.Name, err)
	}
	return e, nil
}

// allowed reports whether addr is in one of the networks; none allow all.
func allowed(networks []netip.Prefix, addr netip.Addr) bool {
	if len(networks) == 0 {
		return true
	}
	addr = addr.Unmap()
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// mayActAs reports the proxy right of RFC 4616 §2 (AUTH-5).
func (e *entry) mayActAs(other string) bool {
	return slices.ContainsFunc(e.Proxy, func(p string) bool { return p == "*" || canonical(p) == canonical(other) })
}
