package deliver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpclient"
	"paquebot/internal/tlspolicy"
)

// manner is how an address is approached.
type manner struct {
	security mail.Security
	classic  bool // a small ClientHello
	fresh    bool // not over a session of the pool
	quirk    quirk
	dane     *tlspolicy.DANE // proves who it is; nil: PKIX, where security asks for proof
}

// session takes a session from the pool or opens one.
func (t *attempt) session(ctx context.Context, hop mail.Hop, addr netip.AddrPort, how manner) (s *session, reused bool, fail *smtpclient.Answer) {
	k := t.key(hop, addr, how)
	if !how.fresh {
		if s := t.d.pool.take(k); s != nil {
			return s, true, nil
		}
	}
	start := time.Now()
	c, err := t.open(ctx, hop, addr, how)
	if err != nil {
		a := asAnswer(err)
		t.failed(hop, addr, a)
		return nil, false, &a
	}
	t.opened(hop, addr, c, time.Since(start))
	s = &session{client: c, key: k}
	if limit := t.d.needs.PerConnection; limit != nil {
		s.most = limit(t.a.Route.Site)
	}
	return s, false, nil
}

// key is the tuple within which sessions may be reused (CLI-40).
func (t *attempt) key(hop mail.Hop, addr netip.AddrPort, how manner) key {
	k := key{addr: addr, source: t.source.Addr, ehlo: t.ehlo(), name: hop.Name, security: how.security,
		account: t.a.Route.Account, lmtp: t.a.Route.Transport == mail.LMTP, plain: how.quirk, dane: how.dane != nil}
	if how.security == mail.Opportunistic {
		k.name = "" // nobody's identity was verified
		if hop.Port == 0 {
			k.name = hop.Name
		}
	}
	return k
}

func (t *attempt) open(ctx context.Context, hop mail.Hop, addr netip.AddrPort, how manner) (*smtpclient.Client, error) {
	conn, err := t.dial(ctx, hop, addr)
	if err != nil {
		return nil, err
	}
	return smtpclient.Open(ctx, conn, t.options(hop, how))
}

func (t *attempt) options(hop mail.Hop, how manner) smtpclient.Options {
	cred := t.credential()
	return smtpclient.Options{
		Ehlo:         t.ehlo(),
		LMTP:         t.a.Route.Transport == mail.LMTP,
		Security:     how.security,
		TLS:          t.d.tlsConfig(hop, how, cred),
		Judge:        how.judge(),
		Login:        cred.Login,
		Timeouts:     t.d.conf.Timeouts,
		NoPipelining: how.quirk.noPipelining,
		NoChunking:   how.quirk.noChunking,
	}
}

// asAnswer is why a session was not opened.
func asAnswer(err error) smtpclient.Answer {
	var a smtpclient.Answer
	if !errors.As(err, &a) {
		a = smtpclient.Answer{Kind: smtpclient.Lost, Stage: mail.StageConnect, Reply: smtp.NoHost.Because(err)} // CLI-20
	}
	return a
}

func (t *attempt) credential() Credential {
	if t.a.Route.Account == "" || t.d.needs.Credential == nil {
		return Credential{}
	}
	c, _ := t.d.needs.Credential(t.a.Route.Account)
	return c
}

// recheckEvery is how often a better endpoint is looked for, unless the operator
// says otherwise.
const recheckEvery = 5 * time.Minute

func (t *attempt) profile() Profile {
	var p Profile
	if t.a.Route.Account != "" && t.d.needs.Profile != nil {
		p = t.d.needs.Profile(t.a.Route.Account)
	}
	if p.Recheck <= 0 {
		p.Recheck = recheckEvery
	}
	return p
}

func (t *attempt) dial(ctx context.Context, hop mail.Hop, addr netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.d.conf.Connect)
	defer cancel()
	if hop.Port == 0 {
		return t.d.needs.Dial(ctx, "unix", hop.Name, netip.Addr{})
	}
	return t.d.needs.Dial(ctx, "tcp", addr.String(), t.source.Addr)
}
