package smtpclient

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"paquebot/internal/mail"
	"paquebot/internal/smtpclient/peertest"
)

// scramServer speaks just enough SMTP for one AUTH (RFC 5802, 7677, 9266).
func scramServer(conn net.Conn, cert *tls.Config, offer, password string) error {
	t := tls.Server(conn, cert)
	defer t.Close()
	if err := t.Handshake(); err != nil {
		return err
	}
	client, err := scram.SHA256.NewClient("user", password, "")
	if err != nil {
		return err
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
	if err != nil {
		return err
	}
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		return err
	}
	br := bufio.NewReader(t)
	fmt.Fprintf(t, "220 there\r\n")
	br.ReadString('\n')
	fmt.Fprintf(t, "250-there\r\n250 AUTH PLAIN %s\r\n", offer)
	line, _ := br.ReadString('\n')
	f := strings.Fields(line)
	if len(f) != 3 || f[0] != "AUTH" || f[1] != strings.Fields(offer)[0] {
		return fmt.Errorf("heard %q", line)
	}
	conv := server.NewConversation()
	if strings.HasSuffix(f[1], "-PLUS") {
		state := t.ConnectionState()
		bind := scram.NewTLSExporterBinding
		if state.Version == tls.VersionTLS12 {
			bind = func(*tls.ConnectionState) (scram.ChannelBinding, error) {
				// RFC 5929 §4, by hand: the hash of the certificate shown.
				sum := sha256.Sum256(cert.Certificates[0].Certificate[0])
				return scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: sum[:]}, nil
			}
		}
		binding, err := bind(&state)
		if err != nil {
			return err
		}
		conv = server.NewConversationWithChannelBinding(binding)
	}
	in := f[2]
	for {
		b, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(in))
		out, err := conv.Step(string(b))
		if err != nil {
			fmt.Fprintf(t, "535 5.7.8 no\r\n")
			br.ReadString('\n')
			fmt.Fprintf(t, "221 bye\r\n")
			return nil
		}
		fmt.Fprintf(t, "334 %s\r\n", base64.StdEncoding.EncodeToString([]byte(out)))
		if in, err = br.ReadString('\n'); err != nil {
			return err
		}
		if conv.Done() {
			break
		}
	}
	fmt.Fprintf(t, "235 2.7.0 ok\r\n")
	br.ReadString('\n')
	fmt.Fprintf(t, "221 bye\r\n")
	return nil
}

// loopback returns the ends of a connection with buffers, which TLS wants when
// both ends say goodbye at once.
func loopback(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// AUTH-7, AUTH-8, AUTH-16: the strongest that is offered, bound to the channel
// where it can be, and no password on the wire.
func TestScram(t *testing.T) {
	for _, c := range []struct {
		offer, password string
		version         uint16
		good            bool
	}{
		{"SCRAM-SHA-256", "pass", tls.VersionTLS13, true},
		{"SCRAM-SHA-256-PLUS SCRAM-SHA-256", "pass", tls.VersionTLS13, true},
		{"SCRAM-SHA-256-PLUS SCRAM-SHA-256", "pass", tls.VersionTLS12, true},
		{"SCRAM-SHA-256", "other", tls.VersionTLS13, false},
		{"SCRAM-SHA-256-PLUS SCRAM-SHA-256", "other", tls.VersionTLS13, false},
		{"SCRAM-SHA-256-PLUS SCRAM-SHA-256", "other", tls.VersionTLS12, false},
	} {
		cert, pool := peertest.Certificate("there.example")
		cert.MaxVersion = c.version
		client, server := loopback(t)
		done := make(chan error, 1)
		go func() { done <- scramServer(server, cert, c.offer, c.password) }()
		s, err := Open(context.Background(), client, Options{Ehlo: "here", Security: mail.Implicit,
			TLS: &tls.Config{ServerName: "there.example", RootCAs: pool}, Login: &Login{User: "user", Password: "pass"},
			Transcript: func(_ bool, line string) {
				if strings.Contains(line, "pass") || strings.Contains(line, base64.StdEncoding.EncodeToString([]byte("n,,"))[:4]) {
					t.Errorf("the transcript shows %q", line)
				}
			}})
		var a Answer
		switch {
		case c.good && err != nil:
			t.Errorf("%s: %v", c.offer, err)
		case !c.good && !(errors.As(err, &a) && a.Stage == mail.StageAuth && a.Reply.Code == 535):
			t.Errorf("%s with the wrong password: %v", c.offer, err)
		}
		if s != nil {
			s.Quit()
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A token that cannot be had is no reason to show a password instead.
func TestNoTokenNoLogin(t *testing.T) {
	cert, pool := peertest.Certificate("there.example")
	client, server := loopback(t)
	done := make(chan error, 1)
	go func() {
		done <- peertest.Run(server, "T:\nS: 220 x\nC: EHLO here\nS: 250-x\nS: 250 AUTH XOAUTH2 PLAIN\nC: QUIT\nS: 221 bye", cert)
	}()
	_, err := Open(context.Background(), client, Options{Ehlo: "here", Security: mail.Implicit,
		TLS:   &tls.Config{ServerName: "there.example", RootCAs: pool},
		Login: &Login{User: "user", Token: func(context.Context) (string, error) { return "", errors.New("refused") }}})
	var a Answer
	if !errors.As(err, &a) || a.Kind != NoLogin {
		t.Errorf("got %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// SH-13: what goes over the wire is no secret in pieces, so a peer that repeats
// a whole response shows it; nor may a welcome repeat one.
func TestResponseRepeatedByPeer(t *testing.T) {
	const token = "ya29.a0AfH6SMBx-secret"
	for _, mech := range []string{"XOAUTH2", "OAUTHBEARER", "PLAIN"} {
		for _, code := range []string{"235 2.7.0 hello", "535 5.7.8 no"} {
			cert, pool := peertest.Certificate("there.example")
			ours, theirs := net.Pipe()
			go func() {
				s := tls.Server(theirs, cert)
				defer s.Close()
				br := bufio.NewReader(s)
				fmt.Fprint(s, "220 there\r\n")
				_, _ = br.ReadString('\n')
				fmt.Fprintf(s, "250-there\r\n250 AUTH %s\r\n", mech)
				line, _ := br.ReadString('\n')
				fmt.Fprintf(s, "%s %s\r\n", code, strings.TrimSpace(line))
				_, _ = br.ReadString('\n')
			}()
			login := &Login{User: "anna", Password: token}
			if mech != "PLAIN" {
				login = &Login{User: "anna", Token: func(context.Context) (string, error) { return token, nil }}
			}
			var said strings.Builder
			conf := &tls.Config{ServerName: "there.example", RootCAs: pool}
			conn := tls.Client(ours, conf)
			c := &Client{opt: Options{Ehlo: "here", TLS: conf, Timeouts: Timeouts{}.orDefaults(), Login: login,
				Transcript: func(_ bool, line string) { said.WriteString(line + "\n") }}, conn: conn, br: bufio.NewReader(conn)}
			if a := errors.Join(conn.Handshake(), answerError(c.greet()), answerError(c.hello())); a != nil {
				t.Fatal(a)
			}
			c.tls = describe(conn.ConnectionState(), c.opt)
			said.WriteString(fmt.Sprintln(answerError(c.login()), c.last))
			ours.Close()
			for word := range strings.FieldsSeq(said.String()) {
				plain, _ := base64.StdEncoding.DecodeString(word)
				if strings.Contains(word, token) || strings.Contains(string(plain), token) {
					t.Errorf("%s, %q: the secret is shown:\n%s", mech, code, said.String())
				}
			}
		}
	}
}

func answerError(a *Answer) error {
	if a == nil {
		return nil
	}
	return *a
}
