package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// folder holds a configuration and what it names.
type folder struct {
	t   *testing.T
	dir string
}

func newFolder(t *testing.T) folder { return folder{t, t.TempDir()} }

func (f folder) write(name, text string, mode os.FileMode) {
	f.t.Helper()
	file := filepath.Join(f.dir, name)
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		f.t.Fatal(err)
	}
}

// pair writes NAME.crt and NAME.key, made for a host.
func (f folder) pair(name, host string, until time.Time) {
	f.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		f.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(name+".crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), 0o600)
	f.write(name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), 0o600)
}

// load loads a configuration written into the folder, whose name reads DIR in
// what is said of it.
func (f folder) load(text string) (*Config, string) {
	f.t.Helper()
	f.write("paquebot.toml", "hostname = \"mx1.example.org\"\ndata_dir = \""+f.dir+"/data\"\n"+text, 0o600)
	c, problems := Load(filepath.Join(f.dir, "paquebot.toml"))
	if (c == nil) != Failed(problems) {
		f.t.Errorf("configuration %v with %v", c, problems)
	}
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&b, "%s line %d %s; %s\n", p.Severity, p.Line, p.Message, p.Remedy)
	}
	said := strings.ReplaceAll(b.String(), f.dir, "DIR")
	for _, day := range []time.Time{time.Now(), time.Now().Add(-time.Minute)} { // a certificate that just ended
		said = strings.ReplaceAll(said, "expired on "+day.Format(time.DateOnly), "expired on TODAY")
	}
	return c, said
}

// What only the machine knows: a table of texts and what is said of them.
func TestLookingAround(t *testing.T) {
	f := newFolder(t)
	in := time.Now().Add(24 * time.Hour)
	f.pair("good", "mx1.example.org", in)
	f.pair("other", "other.example.org", in)
	f.pair("old", "mx1.example.org", time.Now().Add(-time.Minute))
	f.write("password", "hunter22\n", 0o600)
	f.write("open", "hunter22\n", 0o644)
	f.write("empty", "\n", 0o600)
	f.write("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n", 0o600)
	f.write("people", "anna\n# nobody\nbo # he\n\n", 0o600)
	good := "tls.cert = \"good.crt\"\ntls.key = \"good.key\"\n"
	smart := good + "[[route]]\nvia = \"a\"\n[smarthost.a]\nhost = \"a.example\"\nusername = \"u\"\n"
	var b strings.Builder
	for _, text := range []string{
		good,
		"",
		"tls.cert = \"good.crt\"\ntls.key = \"other.key\"\n",
		"tls.cert = \"good.key\"\ntls.key = \"good.crt\"\n",
		"tls.cert = \"gone.crt\"\ntls.key = \"good.key\"\n",
		"tls.cert = \"password\"\ntls.key = \"good.key\"\n",
		"tls.cert = \"good.crt\"\ntls.key = \"locked.key\"\n",
		"tls.cert = \"old.crt\"\ntls.key = \"old.key\"\n",
		"tls.cert = \"other.crt\"\ntls.key = \"other.key\"\n",
		smart + "password = { file = \"password\" }\n",
		smart + "password = { file = \"open\" }\n",
		smart + "password = { file = \"empty\" }\n",
		smart + "password = { file = \"gone\" }\n",
		smart + "password = { env = \"PAQUEBOT_TEST_UNSET\" }\n",
		smart + "password = { file = \"password\" }\nca = \"password\"\n",
		smart + "password = { file = \"password\" }\nclient_cert = \"good.crt\"\nclient_key = \"other.key\"\n",
		good + "[[domain]]\nname = \"example.org\"\ndeliver = \"catch\"\nrecipients = { file = \"people\" }\naliases = { file = \"gone\" }\n",
		good + "[auth]\nclient_ca = \".\"\n",
	} {
		_, said := f.load(text)
		fmt.Fprintf(&b, "%s%s\n", text, said)
	}
	golden(t, "testdata/world.txt", b.String())
}

func TestDataDirMustBeWritable(t *testing.T) {
	f := newFolder(t) // root may write everywhere, so a file in the way is tried
	f.write("file", "", 0o600)
	f.write("paquebot.toml", "data_dir = \""+f.dir+"/file\"\n", 0o600)
	if c, problems := Load(filepath.Join(f.dir, "paquebot.toml")); c != nil || !strings.Contains(problems[0].Message, "is not a folder") {
		t.Error(Render(problems))
	}
}

// A secret is read, can be revealed, and is in nothing that is printed.
func TestSecretsAreNotPrinted(t *testing.T) {
	f := newFolder(t)
	f.write("password", "hunter22\n", 0o600)
	t.Setenv("PAQUEBOT_TEST_SECRET", "tr0ub4dor")
	c, said := f.load("[[route]]\nvia = \"a\"\n[[route]]\nvia = \"b\"\n[smarthost.a]\nhost = \"a.example\"\nusername = \"u\"\npassword = { file = \"password\" }\n[smarthost.b]\nhost = \"b.example\"\nusername = \"u\"\noauth2 = { token_url = \"https://x.example/t\", client_id = \"x\", client_secret = { env = \"PAQUEBOT_TEST_SECRET\" } }\n")
	if c == nil {
		t.Fatal(said)
	}
	if c.Smarthosts["a"].Password.Reveal() != "hunter22" || c.Smarthosts["b"].OAuth2.ClientSecret.Reveal() != "tr0ub4dor" {
		t.Error("a secret was not read")
	}
	var b strings.Builder
	s := c.Smarthosts["a"]
	fmt.Fprintf(&b, "%v %+v %#v %s %q %x %d", s, s, s, s.Password, s.Password, s.Password, s.Password)
	fmt.Fprintf(&b, "%v %+v %#v", *c, c, c.Smarthosts["b"].OAuth2)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "secret", s.Password, "host", s, "config", c)
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(text)
	b.WriteString(Show(c))
	for _, no := range []string{"hunter22", "tr0ub4dor", fmt.Sprintf("%x", "hunter22")} {
		if strings.Contains(b.String(), no) {
			t.Errorf("%s is printed", no)
		}
	}
}

func TestAFileThatIsNone(t *testing.T) {
	for _, name := range []string{"/nowhere/paquebot.toml", t.TempDir()} {
		if c, problems := Load(name); c != nil || !Failed(problems) {
			t.Errorf("%s was read", name)
		}
	}
	if c, problems := Parse("x", "hostname = \"\xff\""); c != nil || !strings.Contains(problems[0].Message, "UTF-8") {
		t.Error(problems)
	}
}

// DataDir is found even when the rest is wrong, so that tools work.
func TestDataDirOfAWrongFile(t *testing.T) {
	f := newFolder(t)
	f.write("paquebot.toml", "data_dir = \"/srv/x\"\nnonsense = 1\n[[listener]]\naddress = \"x\"\n", 0o600)
	if dir, _ := DataDir(filepath.Join(f.dir, "paquebot.toml")); dir != "/srv/x" {
		t.Errorf("%q", dir)
	}
	if dir, _ := DataDir(""); dir != "/var/lib/paquebot" {
		t.Errorf("%q", dir)
	}
}

func TestListsInFiles(t *testing.T) {
	f := newFolder(t)
	f.write("people", "anna\n# nobody\nbo # he\n\n", 0o600)
	f.write("aliases", "postmaster: anna@example.org, bo@example.org\npostmaster: c@example.org\n", 0o600)
	f.write("bad", "postmaster\n", 0o600)
	lines, err := Lines(filepath.Join(f.dir, "people"))
	if err != nil || fmt.Sprint(lines) != "[anna bo]" {
		t.Error(lines, err)
	}
	aliases, err := ReadAliases(filepath.Join(f.dir, "aliases"))
	if err != nil || len(aliases["postmaster"]) != 3 {
		t.Error(aliases, err)
	}
	for _, name := range []string{"bad", "gone"} {
		if _, err := ReadAliases(filepath.Join(f.dir, name)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"address", "role", "trusted", "max_connections"}
	for in, want := range map[string]string{"adress": "address", "rloe": "role", "max_connection": "max_connections", "zzz": "", "": "", "trusted_networks": "", strings.Repeat("a", 1000): ""} {
		if got := Nearest(in, words); got != want {
			t.Errorf("%.20q: %q, want %q", in, got, want)
		}
	}
}
