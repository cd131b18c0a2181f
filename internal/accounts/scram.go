package accounts

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"strings"

	"github.com/xdg-go/scram"

	"paquebot/internal/smtp"
)

var (
	errProof     = errors.New("SCRAM: wrong password")
	errDowngrade = errors.New("SCRAM: the client did not see -PLUS, which was offered: somebody may have removed it")
	errBinding   = errors.New("SCRAM: channel binding type not supported, or not asked for")
)

// scramExchange is SCRAM-SHA-256 and its -PLUS (RFC 5802, 7677), on xdg-go/scram,
// which does the messages and the arithmetic. Ours are the lookup (with fakes
// for unknown users), the choice of the channel binding, and the back-off.
type scramExchange struct {
	identity
	plus  bool
	nonce func() string // nil: the library's; tests set the RFC's
	conv  *scram.ServerConversation
	found *entry // nil for an unknown user
	why   error  // why there is no entry, or an account's token cannot be used
	fault error  // the table could not be read
	proof bool
}

func newScram(who identity, plus bool) *scramExchange {
	return &scramExchange{identity: who, plus: plus}
}

func (x *scramExchange) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	switch {
	case x.proof:
		// The client has checked our signature and says so with an empty
		// response: SMTP has no place for data beside 235.
		return nil, x.account != "", nil
	case response == nil:
		return []byte{}, false, nil
	case len(response) > responseMax:
		return nil, false, syntaxReply
	case x.conv == nil:
		return x.first(ctx, string(response))
	}
	return x.final(ctx, string(response))
}

func (x *scramExchange) first(ctx context.Context, message string) ([]byte, bool, error) {
	flag, _, _ := strings.Cut(message, ",")
	bound := strings.HasPrefix(flag, "p=")
	if bound != x.plus {
		// RFC 5802 §6: "p" belongs to the -PLUS name and to no other.
		return nil, false, smtp.BadLogin.Because(errBinding)
	}
	binding, ok := x.accounts.binding(x.session.TLS, strings.TrimPrefix(flag, "p="))
	if bound && !ok {
		return nil, false, smtp.BadLogin.Because(errBinding)
	}
	if flag == "y" && x.accounts.offers(x.session.TLS, mechScramPlus) {
		return nil, false, x.accounts.failed(ctx, "", x.session.Client, errDowngrade) // AUTH-8
	}
	server, err := scram.SHA256.NewServer(x.lookup)
	if err != nil {
		return nil, false, busyReply.Because(err)
	}
	if x.nonce != nil {
		server.WithNonceGenerator(x.nonce)
	}
	if bound {
		x.conv = server.NewConversationWithChannelBindingRequired(binding)
	} else {
		x.conv = server.NewConversation()
	}
	challenge, err := x.conv.Step(message)
	x.claimed = x.conv.Username()
	if x.fault != nil {
		return nil, false, busyReply.Because(x.fault)
	}
	if err != nil {
		return nil, false, syntaxReply.Because(err)
	}
	if err := x.accounts.blocked(x.claimed, x.session.Client); err != nil {
		return nil, false, err
	}
	return []byte(challenge), false, nil
}

func (x *scramExchange) final(ctx context.Context, message string) ([]byte, bool, error) {
	challenge, err := x.conv.Step(message)
	switch {
	case err != nil && x.found == nil:
		return nil, false, x.accounts.failed(ctx, x.claimed, x.session.Client, x.why)
	case err != nil:
		return nil, false, x.accounts.failed(ctx, x.claimed, x.session.Client, errors.Join(errProof, err))
	case x.why != nil:
		return nil, false, x.accounts.failed(ctx, x.claimed, x.session.Client, x.why)
	}
	if err := x.accounts.admit(ctx, x.found, x.claimed, x.session.Client); err != nil {
		return nil, false, err
	}
	if err := x.finish(ctx, x.found, x.conv.AuthzID()); err != nil {
		return nil, false, err
	}
	x.proof = true
	return []byte(challenge), false, nil
}

// lookup never fails for want of an account: an unknown user gets keys that no
// password fits and a salt that stays the same (AUTH-7).
func (x *scramExchange) lookup(user string) (scram.StoredCredentials, error) {
	a := x.accounts
	verifier, e, why, err := a.scramVerifier(user, x.session.Client)
	if err != nil {
		x.fault = err
		return scram.StoredCredentials{}, err
	}
	x.found, x.why = e, why
	if verifier == "" {
		x.found = nil
		return a.fakeSCRAM(user), nil
	}
	c, err := parseSCRAM(verifier)
	if err != nil {
		x.fault = err
	}
	return c, err
}

// scramVerifier finds the verifier of an account, or of a token when user is
// "account/token". An empty one means that there is none, and why.
func (a *Accounts) scramVerifier(user string, from netip.Addr) (verifier string, e *entry, why, err error) {
	if e, err = a.find(user); err != nil {
		return "", nil, nil, err
	}
	if e != nil {
		if e.secret.SCRAM == "" {
			why = errNoPassword
		}
		return e.secret.SCRAM, e, why, nil
	}
	i := strings.LastIndexByte(user, '/')
	if i <= 0 {
		return "", nil, errNoAccount, nil
	}
	if e, err = a.find(user[:i]); e == nil {
		return "", nil, errNoAccount, err
	}
	for n, t := range e.Tokens {
		if t.Name == user[i+1:] {
			return e.hashes[n].SCRAM, e, t.usable(from), nil
		}
	}
	return "", nil, errToken, nil
}

func (a *Accounts) fakeSCRAM(user string) scram.StoredCredentials {
	name := canonical(user)
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{
			Salt:  string(hmacSum(a.fakeKey, "salt\x00", name)[:saltBytes]),
			Iters: a.current.Load().Iterations,
		},
		StoredKey: hmacSum(a.fakeKey, "stored\x00", name),
		ServerKey: hmacSum(a.fakeKey, "server\x00", name),
	}
}

// canBind reports that -PLUS can be had on this connection (AUTH-8).
func (a *Accounts) canBind(state *tls.ConnectionState) bool {
	_, exporter := a.binding(state, string(scram.ChannelBindingTLSExporter))
	_, endPoint := a.binding(state, string(scram.ChannelBindingTLSServerEndpoint))
	return exporter || endPoint
}

// binding returns the data of a channel binding type, if it can be had.
func (a *Accounts) binding(state *tls.ConnectionState, kind string) (b scram.ChannelBinding, ok bool) {
	if state == nil || !state.HandshakeComplete {
		return b, false
	}
	switch scram.ChannelBindingType(kind) {
	case scram.ChannelBindingTLSExporter:
		// RFC 9266 §4. On TLS 1.2 Go refuses without extended master secret,
		// as §4.2 of it demands.
		data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
		return scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: data}, err == nil
	case scram.ChannelBindingTLSServerEndpoint:
		if a.needs.Leaf == nil {
			return b, false
		}
		data := endPoint(a.needs.Leaf(state))
		return scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: data}, data != nil
	}
	return b, false
}

// endPoint is tls-server-end-point (RFC 5929 §4.1): the certificate hashed with
// its signature's hash, SHA-256 in place of anything weaker; nil where the
// signature has no single hash (Ed25519), for which the RFC defines nothing.
func endPoint(leaf *x509.Certificate) []byte {
	if leaf == nil {
		return nil
	}
	switch leaf.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		sum := sha512.Sum384(leaf.Raw)
		return sum[:]
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		sum := sha512.Sum512(leaf.Raw)
		return sum[:]
	case x509.PureEd25519, x509.UnknownSignatureAlgorithm:
		return nil
	}
	sum := sha256.Sum256(leaf.Raw)
	return sum[:]
}
