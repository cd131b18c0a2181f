package config

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lookAround checks what only this machine knows, and fetches the secrets. Names
// in the file are relative to the file.
func (c *Config) lookAround(r *report) {
	c.nameItself(r)
	c.checkDataDir(r)
	c.TLS.Cert, c.TLS.Key = c.file(c.TLS.Cert), c.file(c.TLS.Key)
	c.checkCertificate(r)
	c.Auth.ClientCA = c.file(c.Auth.ClientCA)
	checkAuthorities(r, "auth.client_ca", c.Auth.ClientCA)
	for i := range c.Domains {
		d := &c.Domains[i]
		d.Recipients.File, d.Aliases.File = c.file(d.Recipients.File), c.file(d.Aliases.File)
		checkReadable(r, fmt.Sprintf("domain[%d].recipients", i), d.Recipients.File)
		checkReadable(r, fmt.Sprintf("domain[%d].aliases", i), d.Aliases.File)
	}
	c.equipAll(r)
}

// nameItself fills in the host name where the file gives none.
func (c *Config) nameItself(r *report) {
	if c.Hostname != "" {
		return
	}
	name, err := os.Hostname()
	if err != nil || !isDomain(name) {
		name = "localhost"
	}
	c.Hostname = name
	if !strings.Contains(name, ".") {
		r.warn("hostname", `servers refuse mail from a name without a domain; add hostname = "mx1.example.org"`,
			"no hostname is given, and this machine calls itself %q", name)
	}
}

// file makes a name of the file relative to it.
func (c *Config) file(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(c.File), name)
}

// checkDataDir: the folder, or the nearest one above it that exists, must be
// writable for whoever asks.
func (c *Config) checkDataDir(r *report) {
	dir := c.DataDir
	for {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			r.fault("data_dir", "data_dir: %q is not a folder", dir)
			return
		}
		if err == nil || !errors.Is(err, fs.ErrNotExist) || dir == "/" || dir == "." {
			break
		}
		dir = filepath.Dir(dir)
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		r.faultDo("data_dir", "as root: install -d -o paquebot -m 700 "+c.DataDir+"; or run this as the server's user",
			"data_dir %q cannot be written by this user: %s", c.DataDir, reason(err))
	}
}

// checkCertificate says which of the two files is wrong, and whether they fit.
func (c *Config) checkCertificate(r *report) {
	if c.TLS.Cert == "" || c.TLS.Key == "" {
		if c.TLS.Cert == "" && c.TLS.Key == "" {
			r.warn("tls", `add [tls] with cert and key; programs that submit mail refuse a self-signed certificate`, "no certificate is given; a self-signed one will be used")
		}
		return
	}
	chain, okCert := checkReadable(r, "tls.cert", c.TLS.Cert)
	key, okKey := checkReadable(r, "tls.key", c.TLS.Key)
	if !okCert || !okKey {
		return
	}
	warnOpenFile(r, "tls.key", c.TLS.Key)
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		c.explainPair(r, chain, key, err)
		return
	}
	leaf := pair.Leaf
	if time.Now().After(leaf.NotAfter) {
		r.warn("tls.cert", "renew it; it is read again when the file changes", "the certificate expired on %s", leaf.NotAfter.Format(time.DateOnly))
	}
	if leaf.VerifyHostname(c.Hostname) != nil {
		r.warn("tls.cert", "clients that connect by this name will refuse it", "the certificate is for %s, not for %q", strings.Join(leaf.DNSNames, ", "), c.Hostname)
	}
}

// explainPair finds out why a certificate and a key do not fit, and looks for a
// key beside it that does.
func (c *Config) explainPair(r *report, chain, key []byte, err error) {
	switch {
	case strings.Contains(err.Error(), "does not match"):
		remedy := "name the key that was made together with the certificate"
		if other := fittingKey(chain, filepath.Dir(c.TLS.Key)); other != "" {
			remedy = fmt.Sprintf("Probably: key = %q (same folder, fits)", other)
		}
		r.faultDo("tls.key", remedy, "certificate %q and key %q do not belong together", filepath.Base(c.TLS.Cert), filepath.Base(c.TLS.Key))
	case strings.Contains(string(chain), "PRIVATE KEY"):
		r.faultDo("tls.cert", "cert and key may be exchanged", "%q holds a key, not a certificate", c.TLS.Cert)
	case strings.Contains(err.Error(), "find certificate") || strings.Contains(err.Error(), "certificate input"):
		r.faultDo("tls.cert", "it must be PEM, beginning with -----BEGIN CERTIFICATE-----", "%q holds no certificate", c.TLS.Cert)
	case strings.Contains(string(key), "ENCRYPTED"):
		r.faultDo("tls.key", "a server cannot type a pass phrase; remove it with: openssl pkey -in KEY -out NEW", "%q is locked with a pass phrase", c.TLS.Key)
	default:
		r.faultDo("tls.key", "it must be PEM, beginning with -----BEGIN PRIVATE KEY-----", "%q holds no usable key", c.TLS.Key)
	}
}

// keyFilesMax bounds the search for a fitting key.
const keyFilesMax = 50

func fittingKey(chain []byte, dir string) string {
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, name := range names[:min(len(names), keyFilesMax)] {
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() || info.Size() > 64<<10 {
			continue
		}
		key, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(key), "PRIVATE KEY") {
			continue
		}
		if _, err := tls.X509KeyPair(chain, key); err == nil {
			return name
		}
	}
	return ""
}

// equipAll makes every smart host ready for use.
func (c *Config) equipAll(r *report) {
	for _, name := range keysIn(c.Smarthosts) {
		s := c.Smarthosts[name]
		c.equip(r, "smarthost."+name, &s)
		c.Smarthosts[name] = s
	}
}

// equip fetches a smart host's secrets and checks its files.
func (c *Config) equip(r *report, path string, s *Smarthost) {
	c.fetch(r, path+".password", &s.Password)
	if s.OAuth2 != nil {
		c.fetch(r, path+".oauth2.client_secret", &s.OAuth2.ClientSecret)
		c.fetch(r, path+".oauth2.refresh_token", &s.OAuth2.RefreshToken)
		s.OAuth2.CA = c.file(s.OAuth2.CA)
		checkAuthorities(r, path+".oauth2.ca", s.OAuth2.CA)
	}
	s.checkShape(r, path)
	s.CA, s.ClientCert, s.ClientKey = c.file(s.CA), c.file(s.ClientCert), c.file(s.ClientKey)
	checkAuthorities(r, path+".ca", s.CA)
	if s.ClientCert != "" && s.ClientKey != "" {
		if _, err := tls.LoadX509KeyPair(s.ClientCert, s.ClientKey); err != nil {
			r.faultDo(path+".client_cert", "both must be PEM files, made together", "client certificate: %s", reason(err))
		}
	}
}

// fetch reads a secret from where it is kept.
func (c *Config) fetch(r *report, path string, s *Secret) {
	switch {
	case s.Env != "":
		if s.value = os.Getenv(s.Env); s.value == "" {
			r.faultDo(path, "set it in the service's environment", "the environment variable %s is not set", s.Env)
		}
	case s.File != "":
		s.File = c.file(s.File)
		text, ok := checkReadable(r, path, s.File)
		if !ok {
			return
		}
		warnOpenFile(r, path, s.File)
		if s.value = strings.TrimRight(string(text), "\r\n"); s.value == "" {
			r.faultDo(path, "write the secret into it", "%q is empty", s.File)
		}
	}
}

// checkReadable reads a file that must be there; "" is none.
func checkReadable(r *report, path, name string) ([]byte, bool) {
	if name == "" {
		return nil, false
	}
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		r.faultDo(path, "name the file itself", "%s: %q is not a file", keyName(path), name)
		return nil, false
	}
	var text []byte
	if err == nil {
		text, err = readBounded(name)
	}
	if err != nil {
		remedy := ""
		if errors.Is(err, fs.ErrPermission) {
			remedy = "this user may not read it; run this as the server's user, or change its owner"
		}
		if errors.Is(err, fs.ErrNotExist) {
			remedy = "correct the path, or put the file there"
		}
		r.faultDo(path, remedy, "%s: cannot read %q: %s", keyName(path), name, reason(err))
		return nil, false
	}
	return text, true
}

// warnOpenFile: a secret that everybody on the machine can read.
func warnOpenFile(r *report, path, name string) {
	if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o004 != 0 {
		r.warn(path, "chmod 600 "+name, "everybody on this machine can read %q", name)
	}
}

func checkAuthorities(r *report, path, name string) {
	text, ok := checkReadable(r, path, name)
	if ok && !x509.NewCertPool().AppendCertsFromPEM(text) {
		r.faultDo(path, "it must be PEM, beginning with -----BEGIN CERTIFICATE-----", "%q holds no certificate", name)
	}
}

// Lines reads a recipients or aliases file: lines without comments ("#") and
// without empty ones.
func Lines(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	s := bufio.NewScanner(f)
	for s.Scan() {
		l, _, _ := strings.Cut(s.Text(), "#")
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	return out, s.Err()
}

// ReadAliases reads an aliases file: lines "name: target, target".
func ReadAliases(name string) (map[string][]string, error) {
	lines, err := Lines(name)
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, l := range lines {
		from, to, ok := strings.Cut(l, ":")
		if !ok {
			return nil, fmt.Errorf("%s: %q is not \"name: target\"", name, l)
		}
		for t := range strings.SplitSeq(to, ",") {
			t = strings.TrimSpace(t)
			if !isAddress(t) {
				return nil, fmt.Errorf("%s: alias %q leads to %q, which is not an address", name, from, t)
			}
			out[strings.TrimSpace(from)] = append(out[strings.TrimSpace(from)], t)
		}
	}
	return out, nil
}
