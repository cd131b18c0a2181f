package smtpclient

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/xdg-go/scram"

	"paquebot/internal/mail"
	"paquebot/internal/smtpclient/peertest"
)

// peer is an independent server (emersion/go-smtp with go-sasl) that offers
// some mechanisms.
type peer struct{ offer []string }

func (p peer) NewSession(*smtp.Conn) (smtp.Session, error) { return &peerSession{p}, nil }

type peerSession struct{ peer }

func (s *peerSession) AuthMechanisms() []string           { return s.offer }
func (*peerSession) Reset()                               {}
func (*peerSession) Logout() error                        { return nil }
func (*peerSession) Mail(string, *smtp.MailOptions) error { return nil }
func (*peerSession) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (*peerSession) Data(io.Reader) error                 { return nil }

var errRefused = errors.New("refused")

func (*peerSession) Auth(mech string) (sasl.Server, error) {
	switch mech {
	case sasl.Plain:
		return sasl.NewPlainServer(func(identity, user, pass string) error {
			if identity != "" || user != "user" || pass != "pass" {
				return errRefused
			}
			return nil
		}), nil
	case sasl.OAuthBearer:
		return sasl.NewOAuthBearerServer(func(o sasl.OAuthBearerOptions) *sasl.OAuthBearerError {
			if o.Username != "user@example.com" || o.Token != "pass" || o.Host != "there.example" || o.Port == 0 {
				return &sasl.OAuthBearerError{Status: "invalid_token", Schemes: "bearer", Scope: "mail"}
			}
			return nil
		}), nil
	case sasl.External:
		return sasl.NewExternalServer(func(identity string) error {
			if identity != "" && identity != "user" {
				return errRefused
			}
			return nil
		}), nil
	}
	return nil, smtp.ErrAuthUnsupported
}

// AUTH-5, AUTH-9, AUTH-11: what others wrote takes what we say.
func TestIndependentServers(t *testing.T) {
	token := func(s string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return s, nil }
	}
	for _, c := range []struct {
		offer string
		login Login
		want  string // "" for welcome, else in the refusal
	}{
		{"PLAIN", Login{User: "user", Password: "pass"}, ""},
		{"PLAIN", Login{User: "user", Password: "other"}, "refused"},
		{"OAUTHBEARER PLAIN", Login{User: "user@example.com", Token: token("pass")}, ""},
		{"OAUTHBEARER PLAIN", Login{User: "user@example.com", Token: token("other")}, "status invalid_token, it wants the scope mail"},
		{"OAUTHBEARER", Login{User: "user@example.com", Token: token(strings.Repeat("long", 300))}, "invalid_token"},
		{"EXTERNAL", Login{Certificate: true}, ""},
		{"EXTERNAL", Login{Certificate: true, User: "user"}, ""},
		{"EXTERNAL", Login{Certificate: true, User: "root"}, "refused"},
	} {
		cert, pool := peertest.Certificate("there.example")
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := smtp.NewServer(peer{strings.Fields(c.offer)})
		server.Domain, server.AllowInsecureAuth = "there.example", true
		go func() { _ = server.Serve(tls.NewListener(l, cert)) }()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		var said strings.Builder
		s, err := Open(context.Background(), conn, Options{Ehlo: "here", Security: mail.Implicit, Login: &c.login,
			TLS:        &tls.Config{ServerName: "there.example", RootCAs: pool, Certificates: cert.Certificates},
			Transcript: func(_ bool, line string) { said.WriteString(line + "\n") }})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.offer, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s with a wrong credential: %v, want %q", c.offer, err, c.want)
		}
		if text := said.String(); strings.Contains(text, "pass") || !strings.Contains(text, "<redacted ") && c.login.Password != "" {
			t.Errorf("the transcript shows a secret, or nothing:\n%s", text)
		}
		if s != nil {
			s.Quit()
		}
		_ = server.Close()
	}
}

// The worked examples of the RFCs (shared with package accounts).
func TestWorkedExamples(t *testing.T) {
	text, err := os.ReadFile("../accounts/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Mechanism, Source, User, Password, Token, Authzid string
		Challenge, Response                               string
		Initial                                           string `json:"initial_response_b64"`
		ClientFirst                                       string `json:"client_first"`
		ServerFirst                                       string `json:"server_first"`
		ClientFinal                                       string `json:"client_final"`
		ServerFinal                                       string `json:"server_final"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	covered := 0
	for _, v := range list {
		c := &Client{opt: Options{Login: &Login{User: v.User, Password: v.Password}, TLS: &tls.Config{ServerName: "server.example.com"}}, conn: at143{}}
		first := func(x exchange, err error) string {
			if err != nil {
				t.Fatal(err)
			}
			b, err := x(nil)
			if err != nil {
				t.Fatal(err)
			}
			return base64.StdEncoding.EncodeToString(b)
		}
		got, want := "", v.Initial
		switch {
		case v.Mechanism == "PLAIN" && v.Authzid == "":
			got = first(startPlain(c, ""))
		case v.Mechanism == "OAUTHBEARER":
			got = first(startOAuthBearer(c, v.Token))
		case v.Mechanism == "XOAUTH2":
			got = first(startXOAuth2(c, v.Token))
		case v.Mechanism == "CRAM-MD5":
			x, _ := startCramMD5(c, "")
			first(x, nil)
			b, err := x([]byte(v.Challenge))
			if err != nil {
				t.Error(err)
			}
			got, want = string(b), v.Response
		case v.Mechanism == "SCRAM-SHA-256":
			client, err := scram.SHA256.NewClient(v.User, v.Password, "")
			if err != nil {
				t.Fatal(err)
			}
			_, nonce, _ := strings.Cut(v.ClientFirst, "r=")
			x := scramExchange(client.WithNonceGenerator(func() string { return nonce }).NewConversation())
			for i, step := range []struct{ heard, say string }{{"", v.ClientFirst}, {v.ServerFirst, v.ClientFinal}, {v.ServerFinal, ""}} {
				b, err := x([]byte(step.heard))
				if err != nil || string(b) != step.say {
					t.Errorf("%s step %d: %q, %v; want %q", v.Source, i, b, err, step.say)
				}
			}
			if err := finish(v.Mechanism, x); err != nil {
				t.Error(err)
			}
		default:
			continue // SCRAM-SHA-1 and authorization identities are not ours (AUTH-12)
		}
		if covered++; got != want {
			t.Errorf("%s, %s: %q, want %q", v.Mechanism, v.Source, got, want)
		}
	}
	if covered < 5 {
		t.Errorf("only %d examples", covered)
	}
}

// at143 is a connection to the port of RFC 7628's example.
type at143 struct{ net.Conn }

func (at143) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 143} }

// RFC 5802 §6: a list without -PLUS, where the host has it, was changed on the
// way; the host must be able to see that we would have bound.
func TestScramTellsOfTheListItSaw(t *testing.T) {
	cert, pool := peertest.Certificate("there.example")
	for offer, want := range map[string]string{"SCRAM-SHA-256": "y,,", "SCRAM-SHA-256-PLUS SCRAM-SHA-256": "p=tls-exporter,,"} {
		client, server := loopback(t)
		first := make(chan string, 1)
		go func() {
			s := tls.Server(server, cert)
			defer s.Close()
			r := heardFirst(s, offer)
			first <- r
		}()
		_, _ = Open(context.Background(), client, Options{Ehlo: "here", Security: mail.Implicit, Login: &Login{User: "user", Password: "pass"},
			TLS: &tls.Config{ServerName: "there.example", RootCAs: pool}})
		if got := <-first; !strings.HasPrefix(got, want) {
			t.Errorf("%s: client first %q, want %q", offer, got, want)
		}
	}
}

// heardFirst greets, offers, and returns what AUTH brought.
func heardFirst(s net.Conn, offer string) string {
	br := bufio.NewReader(s)
	fmt.Fprintf(s, "220 there\r\n")
	_, _ = br.ReadString('\n')
	fmt.Fprintf(s, "250-there\r\n250 AUTH %s\r\n", offer)
	line, _ := br.ReadString('\n')
	fmt.Fprintf(s, "535 5.7.8 no\r\n")
	_, _ = br.ReadString('\n')
	f := strings.Fields(line)
	b, _ := base64.StdEncoding.DecodeString(f[len(f)-1])
	return string(b)
}
