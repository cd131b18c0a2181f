package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// authority issues certificates. The laboratory has two: one the client
// trusts, and one of a virus scanner, which it does not.
type authority struct {
	file string // its own certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	mu     sync.Mutex
	issued map[string]*tls.Certificate
}

func newAuthority(file string, subject pkix.Name) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a := &authority{file: file, key: key, issued: map[string]*tls.Certificate{}}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: subject,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return a, write(map[string]string{file: pemText("CERTIFICATE", der)})
}

// issue makes a certificate for a name, valid until the time given; the same
// one when asked again.
func (a *authority) issue(name string, until time.Time) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := name + until.Format(" 2006-01-02")
	if c := a.issued[id]; c != nil {
		return c, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-90 * 24 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	a.issued[id] = &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}
	return a.issued[id], nil
}

// good is the end of a certificate that is valid.
func good() time.Time { return time.Now().Add(60 * 24 * time.Hour) }

// config is a server's TLS with certificates of this authority: for name, or
// for whatever the client asks if name is "".
func (a *authority) config(name string, until time.Time) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS10,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if name == "" {
				return a.issue(hello.ServerName, until)
			}
			return a.issue(name, until)
		},
	}
}

// files writes a certificate and its key for programs that read files.
func (a *authority) files(dir, name string) (certFile, keyFile string, err error) {
	c, err := a.issue(name, good())
	if err != nil {
		return "", "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	err = write(map[string]string{
		certFile: pemText("CERTIFICATE", c.Certificate[0]) + pemText("CERTIFICATE", c.Certificate[1]),
		keyFile:  pemText("PRIVATE KEY", der),
	})
	if err != nil {
		return "", "", err
	}
	return certFile, keyFile, os.Chmod(keyFile, 0o600)
}

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// write makes files with all folders above them.
func write(files map[string]string) error {
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
