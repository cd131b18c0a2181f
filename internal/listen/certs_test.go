package listen

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"paquebot/internal/event"
)

// writePair makes a certificate for a name and writes it as two files.
func writePair(t *testing.T, certFile, keyFile, name string) {
	t.Helper()
	ca, err := NewAuthority("test", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(name)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func names(c *Certs, sni string) string { return strings.Join(c.For(sni).Leaf.DNSNames, ",") }

func TestCertificateIsReadAgainWhenItChanges(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, certFile, keyFile, "old.example")
	h := newHeard()
	c, err := LoadCerts([]Files{{certFile, keyFile}}, h)
	if err != nil {
		t.Fatal(err)
	}
	wait[event.CertificateLoaded](t, h)
	later := func() { c.mu.Lock(); c.checked = time.Time{}; c.mu.Unlock() } // as if recheck had passed

	writePair(t, certFile, keyFile, "new.example.org")
	later()
	if got := names(c, ""); got != "new.example.org" {
		t.Errorf("%s is shown", got)
	}
	if e := wait[event.CertificateLoaded](t, h); e.Names[0] != "new.example.org" || e.SelfSigned {
		t.Errorf("%+v", e)
	}

	// A pair that does not work leaves the old one in use, and is said once.
	if err := os.WriteFile(keyFile, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		later()
		if got := names(c, ""); got != "new.example.org" {
			t.Errorf("%s is shown", got)
		}
	}
	troubles := 0
	h.mu.Lock()
	for _, e := range h.all {
		if _, ok := e.(event.CertificateTroubled); ok {
			troubles++
		}
	}
	h.mu.Unlock()
	if troubles != 1 {
		t.Errorf("said %d times", troubles)
	}
}

func TestCertificateIsChosenByName(t *testing.T) {
	dir := t.TempDir()
	var files []Files
	for _, n := range []string{"mx.example.org", "*.example.net"} {
		f := Files{filepath.Join(dir, n+".cert"), filepath.Join(dir, n+".key")}
		writePair(t, f.Cert, f.Key, n)
		files = append(files, f)
	}
	c, err := LoadCerts(files, newHeard())
	if err != nil {
		t.Fatal(err)
	}
	for sni, want := range map[string]string{
		"mx.example.org": "mx.example.org", "a.example.net": "*.example.net",
		"": "mx.example.org", "unknown.example": "mx.example.org", // TLS-5: odd names get the first
	} {
		if got := names(c, sni); got != want {
			t.Errorf("%q: %s, want %s", sni, got, want)
		}
	}
}

func TestCertificateErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	a, b := Files{filepath.Join(dir, "a.cert"), filepath.Join(dir, "a.key")}, Files{filepath.Join(dir, "b.cert"), filepath.Join(dir, "b.key")}
	writePair(t, a.Cert, a.Key, "a.example")
	writePair(t, b.Cert, b.Key, "b.example")
	for _, c := range []struct {
		files Files
		want  string
	}{
		{Files{"/nowhere/cert.pem", a.Key}, "/nowhere/cert.pem"},
		{Files{a.Cert, b.Key}, "b.key"},
	} {
		if _, err := LoadCerts([]Files{c.files}, newHeard()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.files, err)
		}
	}
}
