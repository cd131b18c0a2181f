package mishap

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"sync"
	"time"

	"paquebot/internal/mail"
)

// The ways in which a certificate can be wrong.
const (
	Expired    = "expired"     // it was good until yesterday
	WrongName  = "wrong-name"  // it is another host's
	UnknownCA  = "unknown-ca"  // its authority is one that nobody trusts
	SelfSigned = "self-signed" // it has none
)

// Certificates are all of them.
func Certificates() []string { return []string{Expired, WrongName, UnknownCA, SelfSigned} }

// wrongHost is whose certificate a WrongName is (RFC 6761: it exists nowhere).
const wrongHost = "other-host.invalid"

// versions reads a TLS version; 0 if it is none.
func versions(s string) uint16 {
	switch s {
	case "1.0":
		return tls.VersionTLS10
	case "1.1":
		return tls.VersionTLS11
	case "1.2":
		return tls.VersionTLS12
	case "1.3":
		return tls.VersionTLS13
	}
	return 0
}

// certs are made when they are first asked for.
type certs struct {
	mu   sync.Mutex
	made map[string]*tls.Certificate
}

func (m *Mishap) certificate(kind string) (*tls.Certificate, error) {
	m.certs.mu.Lock()
	defer m.certs.mu.Unlock()
	if c := m.certs.made[kind]; c != nil {
		return c, nil
	}
	c, err := m.make(kind)
	if err != nil {
		return nil, err
	}
	if m.certs.made == nil {
		m.certs.made = map[string]*tls.Certificate{}
	}
	m.certs.made[kind] = c
	return c, nil
}

func (m *Mishap) make(kind string) (*tls.Certificate, error) {
	random := m.conf.Random
	if random == nil {
		random = rand.Reader
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	leaf := template(now, "Paquebot, wrong on purpose: "+kind)
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	names := m.conf.Names
	signer, by := m.conf.CAKey, m.conf.CA
	switch kind {
	case Expired:
		leaf.NotBefore, leaf.NotAfter = now.Add(-48*time.Hour), now.Add(-24*time.Hour)
	case WrongName:
		names = []string{wrongHost}
	case UnknownCA:
		caKey, err := ecdsa.GenerateKey(elliptic.P256(), random)
		if err != nil {
			return nil, err
		}
		signer, by = caKey, template(now, "An authority nobody trusts")
	case SelfSigned:
		signer, by = nil, nil
	}
	if signer == nil || by == nil {
		signer, by = crypto.Signer(key), leaf
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(random, leaf, by, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	chain := [][]byte{der}
	if len(by.Raw) > 0 {
		chain = append(chain, by.Raw)
	}
	return &tls.Certificate{Certificate: chain, PrivateKey: key}, nil
}

func template(now time.Time, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * 365 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

// Handshake returns the settings of a handshake in which things may go wrong:
// base, which asks when the client has said hello. origin may be nil: then the
// connection tells who it is.
func (m *Mishap) Handshake(base *tls.Config, origin *mail.Origin) *tls.Config {
	if base == nil {
		return nil
	}
	c := base.Clone()
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		f := Facts{Stage: TLS, SNI: hello.ServerName}
		if origin != nil {
			f.Origin = *origin
		} else if hello.Conn != nil {
			f.Origin.Client, f.Origin.Local = addrOf(hello.Conn.RemoteAddr()), addrOf(hello.Conn.LocalAddr())
		}
		fault, struck := m.At(f)
		if !struck {
			return nil, nil
		}
		return m.spoil(base, hello, fault)
	}
	return c
}

var errOnPurpose = errors.New("the handshake was broken on purpose")

// spoil lets a handshake go wrong.
func (m *Mishap) spoil(base *tls.Config, hello *tls.ClientHelloInfo, fault Fault) (*tls.Config, error) {
	wait := fault.Delay
	if fault.Stall {
		wait = DelayMax // the handshake's own limit is shorter
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-hello.Context().Done():
			return nil, hello.Context().Err()
		}
	}
	switch {
	case fault.Drop || fault.Reset || fault.Stall:
		if tcp, ok := hello.Conn.(interface{ SetLinger(int) error }); ok && fault.Reset {
			_ = tcp.SetLinger(0)
		}
		_ = hello.Conn.Close()
		return nil, errOnPurpose
	case fault.Certificate != "":
		cert, err := m.certificate(fault.Certificate)
		if err != nil {
			return nil, err
		}
		c := base.Clone()
		c.GetCertificate, c.Certificates = nil, []tls.Certificate{*cert}
		return c, nil
	case fault.TLSVersion != "":
		return only(base, versions(fault.TLSVersion)), nil
	}
	return nil, nil
}

// only speaks one version of TLS; the old ones need suites that are not offered
// otherwise.
func only(base *tls.Config, version uint16) *tls.Config {
	c := base.Clone()
	c.MinVersion, c.MaxVersion = version, version
	if version < tls.VersionTLS12 {
		c.CipherSuites = []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
			tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
		}
	}
	return c
}
