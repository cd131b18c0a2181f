package smtpclient

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/xdg-go/scram"

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
	// Only restricts the mechanisms to try, in upper case; empty: any.
	Only []string
}

// mechanism is one way to log in.
type mechanism struct {
	name   string
	usable func(*Client) bool
	start  func(*Client, string) (exchange, error) // given the token, "" if none
}

// exchange answers the peer's challenges. The first answer, to nil, is the
// initial response.
type exchange func(challenge []byte) ([]byte, error)

// mechanisms are tried strongest first (AUTH-16). Of those that show the
// password, none is ever used without verified TLS.
func mechanisms() []mechanism {
	password := func(c *Client) bool { return c.opt.Login.Password != "" }
	token := func(c *Client) bool { return c.opt.Login.Token != nil }
	return []mechanism{
		{"SCRAM-SHA-256-PLUS", func(c *Client) bool { return password(c) && c.binding() != nil }, startScramPlus},
		{"SCRAM-SHA-256", password, startScram},
		{"OAUTHBEARER", token, startOAuthBearer},
		{"XOAUTH2", token, startXOAuth2},
		{"PLAIN", password, startPlain},
		{"LOGIN", password, startLogin},
	}
}

// login authenticates, if there is a credential: with one mechanism, once. A
// refusal is not answered with a weaker try, for that is how accounts get
// locked out (AUTH-16).
func (c *Client) login() *Answer {
	if c.opt.Login == nil {
		return nil
	}
	if c.tls == nil || c.tls.Verified == "none" {
		return ours(NoLogin, mail.StageAuth, credentialTrouble("Credentials go over verified TLS only")) // TLS-7, SH-4
	}
	offered := c.ext.Auth()
	for _, m := range mechanisms() {
		only := c.opt.Login.Only
		if slices.Contains(offered, m.name) && (len(only) == 0 || slices.Contains(only, m.name)) && m.usable(c) {
			return c.authenticate(m)
		}
	}
	return ours(NoLogin, mail.StageAuth, credentialTrouble("No AUTH mechanism in common with host").
		Because(fmt.Errorf("host offers %q", strings.Join(offered, " "))))
}

// credentialTrouble is 4.7.8: mail waits until the operator has seen to it
// (AUTH-17).
func credentialTrouble(text string) smtp.Reply {
	return smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 7, Detail: 8}, Text: text}
}

// challengesMax bounds an exchange; SCRAM needs two.
const challengesMax = 5

func (c *Client) authenticate(m mechanism) *Answer {
	token := ""
	if c.opt.Login.Token != nil {
		var err error
		if token, err = c.opt.Login.Token(c.ctx); err != nil {
			return ours(NoLogin, mail.StageAuth, credentialTrouble("No access token to be had").Because(err))
		}
	}
	next, err := m.start(c, token)
	if err != nil {
		return ours(NoLogin, mail.StageAuth, credentialTrouble("Credential does not fit the mechanism").Because(err))
	}
	first, err := next(nil)
	if err != nil {
		return ours(NoLogin, mail.StageAuth, credentialTrouble("Credential does not fit the mechanism").Because(err))
	}
	line := "AUTH " + m.name
	c.say(line + " <redacted>")
	if first != nil {
		line += " " + encodeResponse(first)
	}
	r, a := c.exchange(mail.StageAuth, c.opt.Timeouts.Auth, []byte(line+"\r\n"))
	for range challengesMax {
		if a != nil {
			return a
		}
		if r.Code/100 != 3 {
			break
		}
		r, a = c.respond(r, next)
	}
	if a != nil {
		return a
	}
	if r.Code/100 != 2 {
		return said(mail.StageAuth, r)
	}
	if err := finish(m.name, next); err != nil {
		return ours(NoLogin, mail.StageAuth, credentialTrouble("Host did not prove that it knows the password").Because(err))
	}
	c.loggedIn = true
	return nil
}

// respond answers one 334; "*" cancels when there is no answer (RFC 4954 §4).
func (c *Client) respond(r smtp.Reply, next exchange) (smtp.Reply, *Answer) {
	challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Text))
	response := []byte(nil)
	if err == nil {
		response, err = next(challenge)
	}
	line := "*"
	if err == nil {
		line = base64.StdEncoding.EncodeToString(response)
	}
	c.say("<redacted>")
	r, a := c.exchange(mail.StageAuth, c.opt.Timeouts.Auth, []byte(line+"\r\n"))
	if err != nil && a == nil {
		a = ours(NoLogin, mail.StageAuth, credentialTrouble("Authentication broken off").Because(err))
	}
	return r, a
}

// encodeResponse writes an initial response: "=" is the empty one (AUTH-4).
func encodeResponse(b []byte) string {
	if len(b) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(b)
}

// errDone is what an exchange says when it has nothing more to answer.
var errDone = errors.New("challenge too many")

func startPlain(c *Client, _ string) (exchange, error) {
	l := c.opt.Login
	if strings.ContainsRune(l.User+l.Password, 0) {
		return nil, errors.New("NUL in credential")
	}
	return answers([]byte("\x00" + l.User + "\x00" + l.Password)), nil
}

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

// startLogin has no initial response: some servers take one for the user name,
// others do not (AUTH-6).
func startLogin(c *Client, _ string) (exchange, error) {
	return answers(nil, []byte(c.opt.Login.User), []byte(c.opt.Login.Password)), nil
}

// startOAuthBearer is RFC 7628 §3.1; a lone ^A ends a failed exchange (AUTH-9).
func startOAuthBearer(c *Client, token string) (exchange, error) {
	host, port, _ := net.SplitHostPort(c.conn.RemoteAddr().String())
	if c.opt.TLS.ServerName != "" {
		host = c.opt.TLS.ServerName
	}
	user := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(c.opt.Login.User)
	return answers([]byte("n,a="+user+",\x01host="+host+"\x01port="+port+"\x01auth=Bearer "+token+"\x01\x01"), []byte{1}), nil
}

// startXOAuth2: an empty line ends a failed exchange (AUTH-10).
func startXOAuth2(c *Client, token string) (exchange, error) {
	return answers([]byte("user="+c.opt.Login.User+"\x01auth=Bearer "+token+"\x01\x01"), []byte{}), nil
}

func startScram(c *Client, _ string) (exchange, error) {
	client, err := scram.SHA256.NewClient(c.opt.Login.User, c.opt.Login.Password, "")
	if err != nil {
		return nil, err
	}
	return scramExchange(client.NewConversation()), nil
}

// startScramPlus binds the exchange to this TLS connection (AUTH-8, RFC 9266).
func startScramPlus(c *Client, _ string) (exchange, error) {
	client, err := scram.SHA256.NewClient(c.opt.Login.User, c.opt.Login.Password, "")
	if err != nil {
		return nil, err
	}
	b := c.binding()
	if b == nil {
		return nil, errors.New("no channel to bind to")
	}
	return scramExchange(client.NewConversationWithChannelBinding(*b)), nil
}

// binding is the tls-exporter of this connection; nil below TLS 1.3, where it
// would need more than is known here (AUTH-8).
func (c *Client) binding() *scram.ChannelBinding {
	t, ok := c.conn.(*tls.Conn)
	if !ok {
		return nil
	}
	state := t.ConnectionState()
	if state.Version < tls.VersionTLS13 {
		return nil
	}
	b, err := scram.NewTLSExporterBinding(&state)
	if err != nil {
		return nil
	}
	return &b
}

func scramExchange(conv *scram.ClientConversation) exchange {
	return func(challenge []byte) ([]byte, error) {
		if conv.Done() && challenge == nil {
			if !conv.Valid() {
				return nil, errors.New("server signature missing or wrong")
			}
			return nil, nil
		}
		s, err := conv.Step(string(challenge))
		return []byte(s), err
	}
}

// finish checks, where a mechanism can, that the peer proved itself as well.
func finish(name string, next exchange) error {
	if !strings.HasPrefix(name, "SCRAM-") {
		return nil
	}
	_, err := next(nil)
	return err
}
