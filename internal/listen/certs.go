package listen

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"time"

	"paquebot/internal/event"
)

// Certs are the certificates the listeners show. Those from files are read
// again when the files change, without a restart; a pair that does not work is
// reported and the old one stays.
type Certs struct {
	events event.Sink

	mu      sync.Mutex
	pairs   []*pair
	checked time.Time
}

// pair is a certificate and where it came from.
type pair struct {
	certFile, keyFile string // "" for one made here
	stamp             [2]fileStamp
	cert              *tls.Certificate
}

type fileStamp struct {
	modified time.Time
	size     int64
}

// recheck is how often the files are looked at, at most: a stat for each file,
// during a handshake.
const recheck = 2 * time.Second

// Files is a certificate chain and its key, both PEM.
type Files struct{ Cert, Key string }

// LoadCerts reads pairs of files. The first one is shown to clients that name
// no other (TLS-5). The error says which file, and why.
func LoadCerts(files []Files, events event.Sink) (*Certs, error) {
	c := &Certs{events: events}
	for _, f := range files {
		p := &pair{certFile: f.Cert, keyFile: f.Key}
		if err := p.load(); err != nil {
			return nil, err
		}
		c.pairs = append(c.pairs, p)
		events.Emit(p.loaded())
	}
	if len(c.pairs) == 0 {
		return nil, errors.New("no certificate")
	}
	return c, nil
}

// OwnCerts shows one certificate that was made here.
func OwnCerts(cert *tls.Certificate, events event.Sink) *Certs {
	p := &pair{cert: cert}
	events.Emit(p.loaded())
	return &Certs{events: events, pairs: []*pair{p}}
}

func (p *pair) loaded() event.CertificateLoaded {
	e := event.CertificateLoaded{File: p.certFile, SelfSigned: p.certFile == ""}
	if leaf := p.cert.Leaf; leaf != nil {
		e.Names, e.NotAfter = leaf.DNSNames, leaf.NotAfter
	}
	return e
}

func (p *pair) load() error {
	stamp, err := p.stamps()
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", p.certFile, p.keyFile, err)
	}
	p.cert, p.stamp = &cert, stamp
	return nil
}

func (p *pair) stamps() (s [2]fileStamp, err error) {
	for i, name := range []string{p.certFile, p.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return s, fmt.Errorf("certificate or key file: %w; see [tls] in the configuration", err)
		}
		s[i] = fileStamp{info.ModTime(), info.Size()}
	}
	return s, nil
}

// refresh reads files again that changed.
func (c *Certs) refresh(now time.Time) {
	if now.Sub(c.checked) < recheck {
		return
	}
	c.checked = now
	for _, p := range c.pairs {
		if p.certFile == "" {
			continue
		}
		stamp, err := p.stamps()
		if err == nil && stamp == p.stamp {
			continue
		}
		fresh := &pair{certFile: p.certFile, keyFile: p.keyFile}
		if err == nil {
			err = fresh.load()
		}
		if err != nil {
			// Between two renames the pair does not fit for a moment; it is
			// said once for each state of the files.
			if stamp != p.stamp {
				c.events.Emit(event.CertificateTroubled{File: p.certFile, Error: err.Error() + "; the old one stays in use"})
				p.stamp = stamp
			}
			continue
		}
		*p = *fresh
		c.events.Emit(p.loaded())
	}
}

// For returns the certificate for a server name, else the first one.
func (c *Certs) For(name string) *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh(time.Now())
	if name != "" && len(c.pairs) > 1 {
		for _, p := range c.pairs {
			if p.cert.Leaf != nil && p.cert.Leaf.VerifyHostname(name) == nil {
				return p.cert
			}
		}
	}
	return c.pairs[0].cert
}

// Leaf returns the certificate that was shown in a handshake, for the channel
// binding tls-server-end-point.
func (c *Certs) Leaf(state *tls.ConnectionState) *x509.Certificate {
	return c.For(state.ServerName).Leaf
}

// Config is the TLS of a server here (TLS-1, TLS-2, TLS-12, P465-5): 1.2 and
// up, forward secrecy with AEAD, no tickets, and no protocol of another kind
// by ALPN. clientCerts asks for a certificate, for AUTH EXTERNAL.
func (c *Certs) Config(clientCerts bool) *tls.Config {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are all good
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305,
		},
		NextProtos:             []string{"smtp"},
		SessionTicketsDisabled: true,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.For(hello.ServerName), nil
		},
	}
	if clientCerts {
		cfg.ClientAuth = tls.RequestClientCert // verified by accounts, against its own CA
	}
	return cfg
}

// Authority is a CA of our own: for `paquebot dev`, and for a server without a
// certificate.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	rand io.Reader
	PEM  []byte // its certificate, for clients to trust
}

// ownLife is how long certificates made here are good. They are made anew at
// each start.
const ownLife = 90 * 24 * time.Hour

// NewAuthority makes a CA with a fresh key.
func NewAuthority(name string, random io.Reader) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, err
	}
	template, err := template(name, random)
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(random, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key, rand: random, PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// Signer is the CA's certificate and key, for certificates that Issue does not
// make.
func (a *Authority) Signer() (*x509.Certificate, crypto.Signer) { return a.cert, a.key }

// Issue makes a certificate for host names and addresses.
func (a *Authority) Issue(names ...string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), a.rand)
	if err != nil {
		return nil, err
	}
	t, err := template(names[0], a.rand)
	if err != nil {
		return nil, err
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(a.rand, t, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func template(name string, random io.Reader) (*x509.Certificate, error) {
	serial, err := rand.Int(random, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name, Organization: []string{"Paquebot"}},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(ownLife),
	}, nil
}
