package smtpclient

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Login is a credential for AUTH.
type Login struct {
	User     string
	Password string
	// Token gives an OAuth 2 access token; nil: there are none. It may do
	// network work and is called once per session, after TLS.
	Token func(context.Context) (string, error)
	// Renew gives another token in place of one that the peer refused. It is
	// asked once per session (AUTH-16); nil: a refusal stands.
	Renew func(ctx context.Context, refused string) (string, error)
	// Certificate: our TLS certificate may be all there is to show (EXTERNAL).
	Certificate bool
	// Optional: a peer without a mechanism in common is used without AUTH, as
	// one is that knows us by our certificate alone.
	Optional bool
	// Only names the mechanisms to use, in upper case, the first that the peer
	// offers; empty: any, the strongest first.
	Only []string
}

// mechanism is one way to log in.
type mechanism struct {
	name   string
	usable func(*Client) bool
	start  func(*Client, string) (exchange, error) // given the token, "" if none
}

// exchange answers the peer's challenges. The first answer, to nil, is the
// initial response; nil if there is none.
type exchange func(challenge []byte) ([]byte, error)

// mechanisms are tried strongest first (AUTH-16). All show, or stake, the
// credential: none is ever used without verified TLS. CRAM-MD5 stands last: it
// is for servers that offer nothing else (AUTH-12).
func mechanisms() []mechanism {
	password := func(c *Client) bool { return c.opt.Login.Password != "" }
	token := func(c *Client) bool { return c.opt.Login.Token != nil }
	return []mechanism{
		{"SCRAM-SHA-256-PLUS", func(c *Client) bool { return password(c) && c.binding() != nil }, startScramPlus},
		{"SCRAM-SHA-256", password, startScram},
		{"OAUTHBEARER", token, startOAuthBearer},
		{"XOAUTH2", token, startXOAuth2},
		{"EXTERNAL", (*Client).certified, startExternal},
		{"PLAIN", password, startPlain},
		{"LOGIN", password, startLogin},
		{"CRAM-MD5", password, startCramMD5},
	}
}

// Mechanisms names those that are known here, the strongest first.
func Mechanisms() (names []string) {
	for _, m := range mechanisms() {
		names = append(names, m.name)
	}
	return names
}

// login authenticates, if there is a credential: with one mechanism, once. A
// refusal is not answered with a weaker try, for that is how accounts get
// locked out (AUTH-16).
func (c *Client) login() *Answer {
	l := c.opt.Login
	if l == nil {
		return nil
	}
	if c.tls == nil || c.tls.Verified == "none" {
		return ours(NoLogin, mail.StageAuth, credentialTrouble("Credentials go over verified TLS only")) // TLS-7, SH-4
	}
	for _, m := range c.inCommon() {
		a := c.authenticate(m)
		if a != nil && a.Kind == Said && a.Reply.Code == 504 && !c.broken {
			continue // offered, but not known after all: nothing was judged yet (AUTH-3)
		}
		c.loggedIn = a == nil
		return a
	}
	if l.Optional {
		return nil
	}
	return ours(NoLogin, mail.StageAuth, credentialTrouble("No AUTH mechanism in common with host").
		Because(fmt.Errorf("host offers %q", strings.Join(c.ext.Auth(), " "))))
}

// inCommon lists the mechanisms that the peer offers and we can use, in the
// order to try.
func (c *Client) inCommon() (out []mechanism) {
	all, only := mechanisms(), c.opt.Login.Only
	if len(only) > 0 {
		wanted := all[:0:0]
		for _, name := range only {
			if i := slices.IndexFunc(all, func(m mechanism) bool { return m.name == name }); i >= 0 {
				wanted = append(wanted, all[i])
			}
		}
		all = wanted
	}
	offered := c.ext.Auth()
	for _, m := range all {
		if slices.Contains(offered, m.name) && m.usable(c) {
			out = append(out, m)
		}
	}
	return out
}

// credentialTrouble is 4.7.8: mail waits until the operator has seen to it
// (AUTH-17).
func credentialTrouble(text string) smtp.Reply {
	return smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 7, Detail: 8}, Text: text}
}

// authenticate runs one mechanism. A token that is refused may have ended
// before its time: it is renewed once, and tried once more (AUTH-16).
func (c *Client) authenticate(m mechanism) *Answer {
	l := c.opt.Login
	token := ""
	if l.Token != nil {
		var err error
		if token, err = l.Token(c.ctx); err != nil {
			return ours(NoLogin, mail.StageAuth, credentialTrouble("No access token to be had").Because(err))
		}
	}
	a := c.converse(m, token)
	if a == nil || a.Kind != Said || a.Reply.Code != 535 || token == "" || l.Renew == nil || c.broken {
		return a
	}
	fresh, err := l.Renew(c.ctx, token)
	if err != nil || fresh == token {
		a.Reply.Cause = errors.Join(a.Reply.Cause, err)
		return a
	}
	return c.converse(m, fresh)
}

// challengesMax bounds an exchange; SCRAM needs two.
const challengesMax = 5

// commandLineMax is the longest command line with its CRLF (RFC 5321
// §4.5.3.1.4). An initial response that does not fit waits for an empty
// challenge instead (RFC 4954 §4).
const commandLineMax = 512

// converse is one AUTH command to its end.
func (c *Client) converse(m mechanism, token string) *Answer {
	misfit := func(err error) *Answer {
		return ours(NoLogin, mail.StageAuth, credentialTrouble("Credential does not fit the mechanism").Because(err))
	}
	next, err := m.start(c, token)
	if err != nil {
		return misfit(err)
	}
	first, err := next(nil)
	if err != nil {
		return misfit(err)
	}
	c.loggingIn, c.secrets = true, c.staked(token)
	defer func() { c.loggingIn, c.secrets = false, nil }()

	line, late := "AUTH "+m.name, []byte(nil)
	switch initial := encodeResponse(first); {
	case first == nil:
		c.say(line)
	case len(line)+1+len(initial)+2 > commandLineMax:
		late = first
		c.say(line)
	default:
		c.say(line + " " + redacted(initial))
		c.stake(initial)
		line += " " + initial
	}
	r, a := c.exchange(mail.StageAuth, c.opt.Timeouts.Auth, []byte(line+"\r\n"))
	if a == nil && r.Code/100 == 3 && late != nil {
		r, a = c.respond(late)
	}
	heard, round := error(nil), 0
	for a == nil && r.Code/100 == 3 && round < challengesMax {
		var failed error
		r, a, failed = c.challenged(r, next)
		heard = errors.Join(heard, failed)
		round++
	}
	switch {
	case a != nil:
		return a
	case r.Code/100 != 2:
		a = said(mail.StageAuth, r)
		a.Reply.Text, a.Reply.Cause = c.scrub(r.Text), heard
		return a
	}
	if err := finish(m.name, next); err != nil {
		return ours(NoLogin, mail.StageAuth, credentialTrouble("Host did not prove that it knows the password").Because(err))
	}
	return nil
}

// challenged answers one 334; "*" cancels when there is no answer (RFC 4954
// §4). failed is what the peer said within a challenge of why it refuses.
func (c *Client) challenged(r smtp.Reply, next exchange) (_ smtp.Reply, a *Answer, failed error) {
	challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Text))
	response := []byte(nil)
	if err == nil {
		response, err = next(challenge)
	}
	var refusal refused
	if errors.As(err, &refusal) {
		failed, response, err = errors.New(c.scrub(refusal.why)), refusal.answer, nil
	}
	if err == nil {
		r, a = c.respond(response)
		return r, a, failed
	}
	c.say("*")
	r, a = c.exchange(mail.StageAuth, c.opt.Timeouts.Auth, []byte("*\r\n"))
	if a == nil {
		a = ours(NoLogin, mail.StageAuth, credentialTrouble("Authentication broken off").Because(err))
	}
	return r, a, nil
}

func (c *Client) respond(response []byte) (smtp.Reply, *Answer) {
	line := base64.StdEncoding.EncodeToString(response)
	c.say(redacted(line))
	c.stake(line)
	return c.exchange(mail.StageAuth, c.opt.Timeouts.Auth, []byte(line+"\r\n"))
}

// encodeResponse writes an initial response: "=" is the empty one (AUTH-4).
func encodeResponse(b []byte) string {
	if len(b) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(b)
}

// redacted stands for octets that nobody may read (SH-13).
func redacted(s string) string { return fmt.Sprintf("<redacted %d bytes>", len(s)) }

// secretMin is the shortest secret that is looked for in what a peer says; less
// would make gaps in innocent words.
const secretMin = 4

// staked are the secrets of an exchange, as a careless or evil peer could
// repeat them.
func (c *Client) staked(token string) (out []string) {
	for _, s := range []string{c.opt.Login.Password, token} {
		if len(s) >= secretMin {
			// The longest first: one may end with another.
			out = append(out, base64.StdEncoding.EncodeToString([]byte("\x00"+c.opt.Login.User+"\x00"+s)),
				base64.StdEncoding.EncodeToString([]byte(s)), s)
		}
	}
	return out
}

// stake adds a response as it goes over the wire: XOAUTH2 and OAUTHBEARER have
// the token in the middle of theirs, where no part of it can be found again. It
// goes first, for it is the longest.
func (c *Client) stake(response string) {
	if len(response) >= secretMin {
		c.secrets = slices.Insert(c.secrets, 0, response)
	}
}

// discreet takes out of a reply what must not be shown: secrets that a peer
// repeats, and challenges, which let passwords be guessed at leisure (SH-13).
func (c *Client) discreet(r smtp.Reply) smtp.Reply {
	if c.loggingIn && r.Code == 334 && r.Text != "" {
		return r.WithText("%s", redacted(r.Text))
	}
	r.Text = c.scrub(r.Text)
	return r
}

// scrub takes secrets out of what a peer says.
func (c *Client) scrub(text string) string {
	for _, s := range c.secrets {
		text = strings.ReplaceAll(text, s, redacted(s))
	}
	return text
}

// errDone is what an exchange says when it has nothing more to answer.
var errDone = errors.New("challenge too many")

// refused is a challenge that says why the credential is refused; the answer
// only ends the exchange.
type refused struct {
	why    string
	answer []byte
}

func (r refused) Error() string { return r.why }

// answers gives prepared responses in turn.
func answers(list ...[]byte) exchange {
	i := -1
	return func([]byte) ([]byte, error) {
		if i++; i >= len(list) {
			return nil, errDone
		}
		return list[i], nil
	}
}

// certified: a certificate is shown, and is what we are known by.
func (c *Client) certified() bool {
	l := c.opt.Login
	alone := l.Password == "" && l.Token == nil
	return l.Certificate && c.opt.TLS != nil && len(c.opt.TLS.Certificates) > 0 && (alone || slices.Contains(l.Only, "EXTERNAL"))
}

// startExternal leaves it to our certificate who we are; a user name asks to
// act as that one (AUTH-11, RFC 4422 App. A).
func startExternal(c *Client, _ string) (exchange, error) {
	return answers([]byte(c.opt.Login.User)), nil
}
