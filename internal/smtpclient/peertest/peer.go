package peertest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strconv"
	"strings"
	"time"
)

// Run plays a script on a connection and closes it. Lines:
//
//	S: text     say a line
//	R: "text"   say octets, a Go string, no line end added
//	C: text     hear exactly this line; a final * stands for any rest
//	D:          hear content to CRLF "." CRLF
//	B: n        hear n octets
//	T:          take a TLS handshake with the certificate given
//	T: fail     take the ClientHello and hang up
//	T: refused  take a handshake that the client breaks off
//	~: 6m       let time pass
//	X: close    hang up at once
//	X: reset    hang up with a RST, where the connection can
//	X: hang     say nothing more until the client hangs up
//	# text      nothing
func Run(conn net.Conn, script string, cert *tls.Config) error {
	p := &peer{conn: conn, br: bufio.NewReader(conn), cert: cert}
	defer func() { p.conn.Close() }()
	for n, line := range strings.Split(script, "\n") {
		kind, text, _ := strings.Cut(line, ":")
		text = strings.TrimPrefix(strings.TrimRight(text, "\r"), " ")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		end, err := p.step(strings.TrimSpace(kind), text)
		if err != nil {
			return fmt.Errorf("script line %d, %q: %w", n+1, line, err)
		}
		if end {
			return nil
		}
	}
	return nil
}

type peer struct {
	conn net.Conn
	br   *bufio.Reader
	cert *tls.Config
}

func (p *peer) step(kind, text string) (end bool, err error) {
	switch kind {
	case "S":
		_, err = io.WriteString(p.conn, text+"\r\n")
	case "R":
		var raw string
		if raw, err = strconv.Unquote(text); err == nil {
			_, err = io.WriteString(p.conn, raw)
		}
	case "C":
		err = p.hear(text)
	case "D":
		err = p.content()
	case "B":
		var n int64
		if n, err = strconv.ParseInt(text, 10, 64); err == nil {
			_, err = io.CopyN(io.Discard, p.br, n)
		}
	case "T":
		err = p.handshake(text)
	case "~":
		var d time.Duration
		if d, err = time.ParseDuration(text); err == nil {
			time.Sleep(d)
		}
	case "X":
		return true, p.leave(text)
	default:
		err = errors.New("no such kind of line")
	}
	return false, err
}

func (p *peer) hear(want string) error {
	line, err := p.br.ReadString('\n')
	if err != nil {
		return fmt.Errorf("heard %q, then %w", line, err)
	}
	got, ok := strings.CutSuffix(line, "\r\n")
	prefix, any := strings.CutSuffix(want, "*")
	if !ok || !(got == want || any && strings.HasPrefix(got, prefix)) {
		return fmt.Errorf("heard %q", line)
	}
	return nil
}

func (p *peer) content() error {
	for {
		line, err := p.br.ReadString('\n')
		if err != nil {
			return err
		}
		if line == ".\r\n" {
			return nil
		}
	}
}

func (p *peer) handshake(how string) error {
	if how == "fail" {
		_, err := p.br.ReadByte()
		p.conn.Close()
		return err
	}
	if p.br.Buffered() > 0 {
		rest, _ := p.br.Peek(p.br.Buffered())
		p.conn = &prefixed{p.conn, io.MultiReader(strings.NewReader(string(rest)), p.conn)}
	}
	t := tls.Server(p.conn, p.cert)
	err := t.Handshake()
	if how == "refused" {
		// In TLS 1.3 the server is done before the client has judged it.
		if err == nil {
			_, err = t.Read(make([]byte, 1))
		}
		if err == nil {
			return errors.New("the client was content")
		}
		return nil
	}
	if err != nil {
		return err
	}
	p.conn, p.br = t, bufio.NewReader(t)
	return nil
}

// prefixed gives back what was read too early.
type prefixed struct {
	net.Conn
	r io.Reader
}

func (p *prefixed) Read(b []byte) (int, error) { return p.r.Read(b) }

func (p *peer) leave(how string) error {
	switch how {
	case "close":
	case "reset":
		if r, ok := p.conn.(interface{ Reset() }); ok {
			r.Reset()
		}
	case "hang":
		io.Copy(io.Discard, p.br)
	default:
		return errors.New("no such way to leave")
	}
	return nil
}

// Certificate makes a server's TLS setting for the names given, and the pool
// that trusts it. Under testing/synctest call it inside the bubble, for it is
// valid an hour around now.
func Certificate(names ...string) (*tls.Config, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}}, pool
}
