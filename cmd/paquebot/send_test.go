package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/provider"
	"paquebot/internal/smtpclient"
	"paquebot/test/imitate"
)

const (
	sendGridKey = "SG.aaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	sendGrid    = "smtp.sendgrid.net"
)

// grid is SendGrid's imitation on this machine.
type grid struct {
	*imitate.Server
	ports map[int]uint16 // the real ones, by those they stand for
	roots *x509.CertPool
}

func startGrid(t *testing.T) grid {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{sendGrid}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	x := grid{ports: map[int]uint16{}, roots: x509.NewCertPool()}
	x.roots.AddCert(cert)
	service := &imitate.SendGrid{Keys: []*imitate.SendGridKey{{Key: sendGridKey, Senders: []string{"example.org"}, Credits: -1}}}
	x.Server, err = imitate.Start(service, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, func(port int) (net.Listener, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			x.ports[port] = l.Addr().(*net.TCPAddr).AddrPort().Port()
		}
		return l, err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}

// target is what --via sendgrid makes, at the imitation's ports; 0 is a port
// where nobody listens.
func (x grid) target(t *testing.T, ports ...int) *sendTarget {
	t.Helper()
	p, _, err := provider.Find("sendgrid")
	if err != nil {
		t.Fatal(err)
	}
	to := &sendTarget{name: "sendgrid", provider: p, roots: x.roots, user: "apikey", password: sendGridKey,
		login: &smtpclient.Login{User: "apikey", Password: sendGridKey}}
	for _, n := range ports {
		e := endpoint{host: sendGrid, port: x.ports[n], mode: mail.Verify, addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
		if n == 0 {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			e.port = l.Addr().(*net.TCPAddr).AddrPort().Port()
			l.Close()
		}
		if port, ok := p.Port(uint16(n)); ok {
			e.mode = port.Mode
		}
		to.endpoints = append(to.endpoints, e)
	}
	return to
}

var (
	tookTime  = regexp.MustCompile(`(?m)^(.*?) +\+(?:<1|\d+) ms$`)
	messageID = regexp.MustCompile(`queued as \S+`)
	sizes     = regexp.MustCompile(`SIZE=\d+|\b\d+ octets\)?|redacted \d+ bytes`)
)

// steady replaces what differs from run to run.
func (x grid) steady(text string) string {
	for n, port := range x.ports {
		text = strings.ReplaceAll(text, strconv.Itoa(int(port)), strconv.Itoa(n))
	}
	text = messageID.ReplaceAllString(text, "queued as ID")
	text = tookTime.ReplaceAllStringFunc(text, func(l string) string {
		words := tookTime.FindStringSubmatch(l)[1]
		return words + strings.Repeat(" ", max(2, dialogueWidth-runes(words)-len("+41 ms"))) + "+41 ms"
	})
	return sizes.ReplaceAllStringFunc(text, func(s string) string { return regexp.MustCompile(`\d+`).ReplaceAllString(s, "412") })
}

// The screens of mock-up 10: what is shown, then what stands on standard error,
// and the exit code.
func TestSendScreens(t *testing.T) {
	x := startGrid(t)
	var all strings.Builder
	for _, s := range []struct {
		name string
		cmd  SendCmd
		to   *sendTarget
		json bool
	}{
		{name: "sent", cmd: SendCmd{From: "anna@example.org"}, to: x.target(t, 587)},
		{name: "TLS from the first byte, as a rehearsal", cmd: SendCmd{From: "anna@example.org", DryRun: true}, to: x.target(t, 465)},
		{name: "a sender nobody verified", cmd: SendCmd{From: "anna@example.net"}, to: x.target(t, 587)},
		{name: "a key that was revoked", cmd: SendCmd{From: "anna@example.org"}, to: func() *sendTarget {
			to := x.target(t, 587)
			to.password = strings.Replace(sendGridKey, "a", "c", 1)
			to.login.Password = to.password
			return to
		}()},
		{name: "nobody vouches for the certificate, so no other port is tried", cmd: SendCmd{From: "anna@example.org"}, to: func() *sendTarget {
			to := x.target(t, 587, 2525)
			to.roots = nil
			return to
		}()},
		{name: "only until TLS", cmd: SendCmd{From: "anna@example.org", QuitAfter: "tls"}, to: x.target(t, 2525)},
		{name: "only the greeting", cmd: SendCmd{From: "anna@example.org", QuitAfter: "greeting"}, to: x.target(t, 465)},
		{name: "for a machine", cmd: SendCmd{From: "anna@example.net"}, to: x.target(t, 587), json: true},
	} {
		s.cmd.To, s.cmd.Ehlo, s.cmd.Timeout = []string{"paul@example.net"}, "out1.example.org", 5*time.Second
		s.cmd.Subject, s.cmd.Body, s.cmd.TLS = "Hello", "It works.", "auto"
		out, errs, code := s.cmd.show(t, s.to, s.json)
		if strings.Contains(out+errs, sendGridKey[:20]) || strings.Contains(out+errs, s.to.password) {
			t.Errorf("%s: the key is shown:\n%s%s", s.name, out, errs)
		}
		if s.json {
			errs = ""
		}
		all.WriteString("# " + s.name + ": exit " + strconv.Itoa(code) + "\n\n" + x.steady(out) + x.steady(errs) + "\n")
	}
	golden(t, "testdata/send.txt", all.String())
}

// show runs deliver as Run does, once the target is known.
func (c *SendCmd) show(t *testing.T, to *sendTarget, asJSON bool) (out, errs string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	g := &Globals{Stdout: &o, Stderr: &e, Stdin: strings.NewReader(""), JSON: asJSON}
	body, err := c.message(g)
	if err != nil {
		t.Fatal(err)
	}
	code = report(&e, c.deliver(t.Context(), g, to, body))
	return o.String(), e.String(), code
}

// SH-3: what cannot be reached is passed over, and told; when nothing can, the
// doctor is named.
func TestSendPassesOverWhatCannotBeReached(t *testing.T) {
	x := startGrid(t)
	c := SendCmd{From: "anna@example.org", To: []string{"paul@example.net"}, Body: "x", TLS: "auto", Timeout: 5 * time.Second}
	out, errs, code := c.show(t, x.target(t, 0, 465), false)
	if code != exitYes || !strings.Contains(out, "connection refused") || !strings.Contains(out, "=== taken for 1 recipient") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	out, errs, code = c.show(t, x.target(t, 0, 0), true)
	var doc sendResult
	if err := json.Unmarshal([]byte(out), &doc); err != nil && out != "" {
		t.Error(err)
	}
	if code != exitNo || !strings.Contains(errs, "paquebot doctor sendgrid") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

// A filtered port stays silent: the next one is tried beside it after a head
// start, not after the whole timeout.
func TestSendDoesNotWaitForASilentPort(t *testing.T) {
	x := startGrid(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	to := x.target(t, 587, 465)
	to.endpoints[0].port = silent.Addr().(*net.TCPAddr).AddrPort().Port()
	c := SendCmd{From: "anna@example.org", To: []string{"paul@example.net"}, Body: "x", TLS: "auto", Timeout: time.Second}
	out, errs, code := c.show(t, to, false)
	if code != exitYes || !strings.Contains(out, "No answer in time") || len(x.Messages("")) != 1 {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

// SH-14: what cannot be a credential is refused before anything is tried.
func TestSendLooksAtTheCredentialFirst(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("my account's password\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, code := runMain("send", "--via", "sendgrid", "--password-file", key, "--from", "a@example.org", "--to", "b@example.org")
	if code != exitUnsure || !strings.Contains(errs, "cannot be the right credential") || strings.Contains(errs, "my account") {
		t.Errorf("exit %d\n%s", code, errs)
	}
	_, errs, code = runMain("send", "--via", "sendgrid", "--from", "a@example.org", "--to", "b@example.org")
	if code != exitUnsure || !strings.Contains(errs, "--password-file FILE") {
		t.Errorf("exit %d\n%s", code, errs)
	}
}

// A profile keeps where to and as whom, and no secret.
func TestSendProfiles(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("HOME", dir)
	pw := filepath.Join(dir, "pw")
	if err := os.WriteFile(pw, []byte("secret-word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := SendCmd{From: "anna@example.org", Server: "mail.example.org:587", TLS: "starttls", User: "anna", PasswordFile: pw, SaveProfile: "work"}
	g := &Globals{Stderr: &bytes.Buffer{}}
	if err := c.saveProfile(g); err != nil {
		t.Fatal(err)
	}
	file, err := profileFile("work")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	info, _ := os.Stat(file)
	if err != nil || strings.Contains(string(b), "secret-word") || info.Mode().Perm() != 0o600 {
		t.Errorf("%s %v %v", b, err, info.Mode())
	}
	again := SendCmd{Profile: "work", TLS: "auto"}
	if err := again.useProfile(); err != nil || again.Server != c.Server || again.From != c.From || again.User != "anna" || again.PasswordFile != pw || again.TLS != "starttls" {
		t.Errorf("%+v %v", again, err)
	}
	other := SendCmd{Profile: "work", TLS: "auto", Via: "sendgrid"}
	if err := other.useProfile(); err != nil || other.Server != "" || other.Via != "sendgrid" {
		t.Errorf("%+v %v", other, err)
	}
	for name, want := range map[string]string{"wrok": "there are: work", "../x": "no name"} {
		err := (&SendCmd{Profile: name}).useProfile()
		if f, _ := err.(*failure); f == nil || !strings.Contains(f.Error()+f.remedy, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Text, its HTML beside it, a copy, a blind copy, a header of one's own.
func TestSendComposes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(file, []byte("attached"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := SendCmd{From: "anna@example.org", To: []string{"b@example.org"}, Cc: []string{"c@example.org"}, Bcc: []string{"d@example.org", "b@example.org"},
		Subject: "not this", Body: "text", HTML: "<p>page", Attach: []string{file}, Header: []string{"Subject: grün", "X-Tag: 1"}}
	b, err := c.message(&Globals{})
	if err != nil {
		t.Fatal(err)
	}
	m := string(b)
	for _, want := range []string{"\r\nCc: c@example.org\r\n", "Subject: =?utf-8?q?gr=C3=BCn?=\r\n", "X-Tag: 1\r\n", "multipart/mixed", "multipart/alternative", "text/html", "filename=a.txt"} {
		if !strings.Contains(m, want) {
			t.Errorf("no %q in\n%s", want, m)
		}
	}
	if strings.Contains(m, "d@example.org") || strings.Contains(m, "not this") {
		t.Errorf("the blind copy, or a replaced subject, is named:\n%s", m)
	}
	if got := strings.Join(c.recipients(), " "); got != "b@example.org c@example.org d@example.org" {
		t.Error(got)
	}
}
