package accounts

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"
)

// AuthSession is what a mechanism may know of the session.
type AuthSession struct {
	Client   netip.Addr
	TLS      *tls.ConnectionState // nil in clear
	Hostname string               // ours, as greeted
	Port     uint16               // ours
}

// Exchange is one AUTH command being answered. It is used by one goroutine.
type Exchange interface {
	// Next takes the client's decoded response and returns the next challenge,
	// or that all is done, or an error to reply, after which it is over. The
	// first call has nil when the client sent no initial response; an empty
	// slice that is not nil is an empty initial response ("=", AUTH-4).
	Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error)
	// Account is who logged in, once done; "" before.
	Account() string
	// Claimed is whom the client said to be, for the log; "" if unknown.
	Claimed() string
}

// The mechanisms, by their registered names.
const (
	mechPlain       = "PLAIN"
	mechLogin       = "LOGIN"
	mechScram       = "SCRAM-SHA-256"
	mechScramPlus   = "SCRAM-SHA-256-PLUS"
	mechOAuthBearer = "OAUTHBEARER"
	mechXOAuth2     = "XOAUTH2"
	mechExternal    = "EXTERNAL"
)

// responseMax bounds a decoded response: RFC 4954 §4 asks for lines of 12288
// octets, which decode to this.
const responseMax = 12288 / 4 * 3

func allMechanisms() []string {
	return []string{mechPlain, mechLogin, mechScram, mechScramPlus, mechOAuthBearer, mechXOAuth2, mechExternal}
}

// Mechanisms are what to advertise on this connection, in order; none in clear
// (AUTH-1). Standards §3.8 has the order.
func (a *Accounts) Mechanisms(state *tls.ConnectionState) []string {
	set := a.current.Load()
	list := a.usable(set, state)
	if set.Mechanisms == nil {
		return list
	}
	return slices.DeleteFunc(list, func(m string) bool {
		return !slices.ContainsFunc(set.Mechanisms, func(w string) bool { return strings.EqualFold(w, m) })
	})
}

// offers reports whether a mechanism is advertised on this connection.
func (a *Accounts) offers(state *tls.ConnectionState, mech string) bool {
	return slices.Contains(a.Mechanisms(state), mech)
}

func (a *Accounts) usable(set *settings, state *tls.ConnectionState) []string {
	if state == nil {
		if set.ClearText {
			return []string{mechPlain, mechLogin}
		}
		return nil
	}
	list := []string{mechPlain, mechLogin}
	if set.scram {
		list = append(list, mechScram)
		if a.canBind(state) {
			list = append(list, mechScramPlus)
		}
	}
	if set.oauth != nil {
		list = append(list, mechOAuthBearer, mechXOAuth2)
	}
	if set.Certificate != nil && len(state.PeerCertificates) > 0 {
		list = append(list, mechExternal)
	}
	return list
}

// Begin starts an exchange. The error is a Reply: 538 in clear, 504 for a
// mechanism that Mechanisms does not list (AUTH-3).
func (a *Accounts) Begin(mech string, s AuthSession) (Exchange, error) {
	mech = strings.ToUpper(mech)
	switch {
	case a.offers(s.TLS, mech):
	case s.TLS == nil && slices.Contains(allMechanisms(), mech):
		return nil, clearReply
	default:
		return nil, unknownReply
	}
	who := identity{accounts: a, session: s}
	switch mech {
	case mechPlain:
		return &plain{identity: who}, nil
	case mechLogin:
		return &loginExchange{identity: who}, nil
	case mechScram, mechScramPlus:
		return newScram(who, mech == mechScramPlus), nil
	case mechOAuthBearer, mechXOAuth2:
		return &bearer{identity: who, google: mech == mechXOAuth2}, nil
	default:
		return &external{identity: who}, nil
	}
}

// identity is what all exchanges have.
type identity struct {
	accounts *Accounts
	session  AuthSession
	claimed  string
	account  string
}

func (i *identity) Account() string { return i.account }
func (i *identity) Claimed() string { return i.claimed }

// finish grants the account, as another one when authzid names one and the
// account has the right (AUTH-5).
func (i *identity) finish(ctx context.Context, e *entry, authzid string) error {
	if authzid == "" || canonical(authzid) == canonical(e.Name) {
		i.account = e.Name
		return nil
	}
	other, err := i.accounts.find(authzid)
	if err != nil {
		return busyReply.Because(err)
	}
	if !e.mayActAs(authzid) || other == nil || other.Disabled {
		return i.accounts.failed(ctx, i.claimed, i.session.Client, errProxy)
	}
	i.account = other.Name
	return nil
}

// plain is RFC 4616: [authzid] NUL authcid NUL passwd.
type plain struct{ identity }

func (x *plain) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	authzid, user, password, ok := parsePlain(response)
	if !ok {
		return nil, false, syntaxReply
	}
	x.claimed = user
	e, err := x.accounts.login(ctx, x.session.Client, user, password)
	if err != nil {
		return nil, false, err
	}
	if err := x.finish(ctx, e, authzid); err != nil {
		return nil, false, err
	}
	return nil, true, nil
}

func parsePlain(b []byte) (authzid, user, password string, ok bool) {
	part := bytes.Split(b, []byte{0})
	if len(b) > responseMax || len(part) != 3 || len(part[1]) == 0 || len(part[2]) == 0 || !utf8.Valid(b) {
		return "", "", "", false
	}
	return string(part[0]), string(part[1]), string(part[2]), true
}

// loginExchange is LOGIN, which has no RFC: two questions in words that clients
// do not read but some insist on (AUTH-6).
type loginExchange struct {
	identity
	haveUser bool
}

func (x *loginExchange) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte("Username:"), false, nil
	}
	if !x.haveUser {
		if len(response) == 0 || len(response) > nameMax*2 || !utf8.Valid(response) || bytes.IndexByte(response, 0) >= 0 {
			return nil, false, syntaxReply
		}
		x.claimed, x.haveUser = string(response), true
		return []byte("Password:"), false, nil
	}
	if len(response) > responseMax || !utf8.Valid(response) || bytes.IndexByte(response, 0) >= 0 {
		return nil, false, syntaxReply
	}
	e, err := x.accounts.login(ctx, x.session.Client, x.claimed, string(response))
	if err != nil {
		return nil, false, err
	}
	x.account = e.Name
	return nil, true, nil
}
