package accounts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"
)

// vector is a row of testdata/vectors.json, the RFCs' own examples.
type vector struct {
	Mechanism, Source, User, Password, Authzid, Token string
	InitialResponse                                   string `json:"initial_response_b64"`
	ClientFirst                                       string `json:"client_first"`
	ServerFirst                                       string `json:"server_first"`
	ClientFinal                                       string `json:"client_final"`
	ServerFinal                                       string `json:"server_final"`
	StoredKey                                         string `json:"stored_key_b64"`
	ServerKey                                         string `json:"server_key_b64"`
}

func vectors(t testing.TB, mechanism string) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all, some []vector
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if v.Mechanism == mechanism {
			some = append(some, v)
		}
	}
	if len(some) == 0 {
		t.Fatalf("no vector for %s", mechanism)
	}
	return some
}

func (v vector) initial(t testing.TB) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(v.InitialResponse)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectorsOfPlain(t *testing.T) { // RFC 4616 §4
	for _, v := range vectors(t, "PLAIN") {
		authzid, user, password, ok := parsePlain(v.initial(t))
		if !ok || authzid != v.Authzid || user != v.User || password != v.Password {
			t.Errorf("%s: %q %q %q %v", v.Source, authzid, user, password, ok)
		}
	}
}

func TestVectorsOfBearers(t *testing.T) { // RFC 7628 §4.1
	for mech, parse := range map[string]func([]byte) (string, string, bool){"OAUTHBEARER": parseOAuthBearer, "XOAUTH2": parseXOAuth2} {
		for _, v := range vectors(t, mech) {
			user, token, ok := parse(v.initial(t))
			if !ok || user != v.User || token != v.Token {
				t.Errorf("%s: %q %q %v", v.Source, user, token, ok)
			}
		}
	}
}

func TestVectorOfScram(t *testing.T) { // RFC 7677 §3
	v := vectors(t, "SCRAM-SHA-256")[0]
	salt, nonce := "W22ZaJ0SNY7soEsUEjb6gQ==", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	a := open(t, Config{Accounts: []Declared{{
		Name: v.User, SCRAM: fmt.Sprintf("SCRAM-SHA-256$4096:%s$%s:%s", salt, v.StoredKey, v.ServerKey),
	}}}, Needs{})
	x := newScram(identity{accounts: a, session: inTLS(home)}, false)
	x.nonce = func() string { return nonce }
	challenges, end := run(x, []byte(v.ClientFirst), []byte(v.ClientFinal), []byte{})
	if !slices.Equal(challenges, []string{v.ServerFirst, v.ServerFinal}) || end != "235 user" {
		t.Errorf("%q, then %s", challenges, end)
	}
	raw, err := base64.StdEncoding.DecodeString(salt)
	must(t, err)
	made, err := scramKeys(v.Password, raw, 4096)
	must(t, err)
	if got := base64.StdEncoding.EncodeToString(made.StoredKey); got != v.StoredKey {
		t.Errorf("stored key %s, want %s", got, v.StoredKey)
	}
	if got := base64.StdEncoding.EncodeToString(made.ServerKey); got != v.ServerKey {
		t.Errorf("server key %s, want %s", got, v.ServerKey)
	}
}

func TestPlainAndLoginMessages(t *testing.T) {
	a := open(t, Config{}, Needs{})
	addAccount(t, a, "anna", "s3cret")
	addAccount(t, a, "bob", "other")
	_, err := a.Add(New{Name: "helpdesk", Password: "h", Proxy: []string{"anna"}}, "test")
	must(t, err)
	const syntax = "501 5.5.2 Malformed authentication message"
	b := func(s string) []byte { return []byte(s) }
	for _, c := range []struct {
		name, mech string
		responses  [][]byte
		challenges string
		end        string
	}{
		{"initial response", "plain", [][]byte{b("\x00anna\x00s3cret")}, "", "235 anna"},
		{"none: an empty challenge (AUTH-4)", "PLAIN", [][]byte{nil, b("\x00anna\x00s3cret")}, "[]", "235 anna"},
		{"empty initial response", "PLAIN", [][]byte{{}}, "", syntax},
		{"authzid is oneself (AUTH-5)", "PLAIN", [][]byte{b("Anna\x00anna\x00s3cret")}, "", "235 anna"},
		{"authzid without right", "PLAIN", [][]byte{b("bob\x00anna\x00s3cret")}, "", refused},
		{"authzid with right", "PLAIN", [][]byte{b("anna\x00helpdesk\x00h")}, "", "235 anna"},
		{"authzid with another's right", "PLAIN", [][]byte{b("bob\x00helpdesk\x00h")}, "", refused},
		{"authzid that is nobody", "PLAIN", [][]byte{b("nobody\x00helpdesk\x00h")}, "", refused},
		{"two parts", "PLAIN", [][]byte{b("anna\x00s3cret")}, "", syntax},
		{"four parts", "PLAIN", [][]byte{b("\x00anna\x00s3cret\x00")}, "", syntax},
		{"no user", "PLAIN", [][]byte{b("\x00\x00s3cret")}, "", syntax},
		{"not UTF-8", "PLAIN", [][]byte{b("\x00anna\x00\xff")}, "", syntax},
		{"huge", "PLAIN", [][]byte{b("\x00anna\x00" + strings.Repeat("x", responseMax))}, "", syntax},
		{"LOGIN asks twice (AUTH-6)", "LOGIN", [][]byte{nil, b("anna"), b("s3cret")}, "[Username: Password:]", "235 anna"},
		{"LOGIN with the user at once", "LOGIN", [][]byte{b("anna"), b("s3cret")}, "[Password:]", "235 anna"},
		{"LOGIN, wrong", "LOGIN", [][]byte{b("anna"), b("x")}, "[Password:]", refused},
		{"LOGIN, empty password", "LOGIN", [][]byte{b("anna"), {}}, "[Password:]", refused},
		{"LOGIN, no user", "LOGIN", [][]byte{nil, {}}, "[Username:]", syntax},
		{"LOGIN, a NUL", "LOGIN", [][]byte{nil, b("an\x00na")}, "[Username:]", syntax},
	} {
		x, err := a.Begin(c.mech, inTLS(home))
		must(t, err)
		challenges, end := run(x, c.responses...)
		if want := strings.Trim(c.challenges, "[]"); strings.Join(challenges, " ") != want || end != c.end {
			t.Errorf("%s: %q, then %s; want %q, then %s", c.name, challenges, end, want, c.end)
		}
	}
}

// handshake returns the two ends' states of a real handshake.
func handshake(t *testing.T, version uint16, clientCert *tls.Certificate, leaf tls.Certificate) (server, client tls.ConnectionState) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	s := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: version, MaxVersion: version, ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true})
	cc := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
	if clientCert != nil {
		cc.Certificates = []tls.Certificate{*clientCert}
	}
	c := tls.Client(b, cc)
	done := make(chan error, 1)
	go func() { done <- c.Handshake() }()
	must(t, s.Handshake())
	must(t, <-done)
	return s.ConnectionState(), c.ConnectionState()
}

// certificate makes one for a subject, signed by parent or by itself.
func certificate(t *testing.T, template x509.Certificate, parent *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	issuer, by := &template, any(key)
	if parent != nil {
		issuer, by = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, issuer, &key.PublicKey, by)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// scramLogin plays a client of xdg-go/scram, an implementation of its own on
// that side, and returns how it ended.
func scramLogin(t *testing.T, a *Accounts, s AuthSession, mech, user, password string, conv func(*scram.Client) *scram.ClientConversation) string {
	t.Helper()
	x, err := a.Begin(mech, s)
	if err != nil {
		return err.Error()
	}
	client, err := scram.SHA256.NewClient(user, password, "")
	must(t, err)
	cc := conv(client)
	said := ""
	for range 4 {
		answer, err := cc.Step(said)
		if err != nil {
			return "client: " + err.Error()
		}
		challenges, end := run(x, []byte(answer))
		if end != "more" {
			return end
		}
		said = challenges[0]
	}
	return "no end"
}

func plainConv(c *scram.Client) *scram.ClientConversation { return c.NewConversation() }

func TestScram(t *testing.T) { // AUTH-7, AUTH-8
	leaf := certificate(t, x509.Certificate{Subject: pkix.Name{CommonName: "mx.example"}}, nil)
	a := open(t, Config{}, Needs{Leaf: func(*tls.ConnectionState) *x509.Certificate { return leaf.Leaf }})
	addAccount(t, a, "Anna", "s3cret")
	addAccount(t, a, "ursula", "pässword")
	token, err := a.AddToken("Anna", Token{Name: "phone"}, "test")
	must(t, err)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server, client := handshake(t, version, nil, leaf)
		s := AuthSession{Client: home, TLS: &server}
		if got := a.Mechanisms(&server); !slices.Equal(got, []string{"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}) {
			t.Errorf("mechanisms %q", got)
		}
		exporter, err := scram.NewTLSExporterBinding(&client)
		must(t, err)
		endPoint, err := scram.NewTLSServerEndpointBinding(&client)
		must(t, err)
		bound := func(b scram.ChannelBinding) func(*scram.Client) *scram.ClientConversation {
			return func(c *scram.Client) *scram.ClientConversation { return c.NewConversationWithChannelBinding(b) }
		}
		elsewhere := exporter
		elsewhere.Data = make([]byte, 32)
		for _, c := range []struct {
			name, mech, user, password string
			conv                       func(*scram.Client) *scram.ClientConversation
			want                       string
		}{
			{"plain", mechScram, "anna", "s3cret", plainConv, "235 Anna"},
			{"prepared", mechScram, "ursula", "pa\u0308ssword", plainConv, "235 ursula"},
			{"wrong", mechScram, "anna", "wrong", plainConv, refused},
			{"unknown", mechScram, "nobody", "s3cret", plainConv, refused},
			{"token", mechScram, "anna/phone", token, plainConv, "235 Anna"},
			{"token of nobody", mechScram, "nobody/phone", token, plainConv, refused},
			{"exporter", mechScramPlus, "anna", "s3cret", bound(exporter), "235 Anna"},
			{"end point", mechScramPlus, "anna", "s3cret", bound(endPoint), "235 Anna"},
			{"exporter, wrong", mechScramPlus, "anna", "wrong", bound(exporter), refused},
			{"another connection", mechScramPlus, "anna", "s3cret", bound(elsewhere), refused},
			{"bound, without -PLUS", mechScram, "anna", "s3cret", bound(exporter), refused},
			{"not bound, with -PLUS", mechScramPlus, "anna", "s3cret", plainConv, refused},
			{"tls-unique", mechScramPlus, "anna", "s3cret", bound(scram.NewTLSUniqueBinding([]byte("x"))), refused},
			{"somebody removed -PLUS", mechScram, "anna", "s3cret", (*scram.Client).NewConversationAdvertisingChannelBinding, refused},
		} {
			if got := scramLogin(t, a, s, c.mech, c.user, c.password, c.conv); got != c.want {
				t.Errorf("%s, %s: %s, want %s", tls.VersionName(version), c.name, got, c.want)
			}
		}
	}
	must(t, a.Disable("anna", "", "test"))
	server, _ := handshake(t, tls.VersionTLS13, nil, leaf)
	if got := scramLogin(t, a, AuthSession{Client: home, TLS: &server}, mechScram, "anna", "s3cret", plainConv); got != "535 5.7.13 Account disabled" {
		t.Errorf("disabled: %s", got)
	}
	if a.gate.computed.Load() != 0 {
		t.Error("SCRAM cost argon2 computations")
	}
}

// An unknown user's salt is the same each time, also after a restart, and
// looks like any (AUTH-7).
func TestScramSaltsOfUnknownUsers(t *testing.T) {
	table := newTable()
	first := func(a *Accounts, user string) []string {
		x, err := a.Begin(mechScram, inTLS(home))
		must(t, err)
		challenges, _ := run(x, []byte("n,,n="+user+",r=abc"))
		return strings.Split(challenges[0], ",")[1:] // without the nonce
	}
	a := open(t, Config{}, Needs{Accounts: table})
	addAccount(t, a, "anna", "s3cret")
	known, unknown := first(a, "anna"), first(a, "nobody")
	a = open(t, Config{}, Needs{Accounts: table})
	if again := first(a, "NoBody"); !slices.Equal(again, unknown) {
		t.Errorf("%q after a restart, %q before", again, unknown)
	}
	if slices.Equal(unknown, first(a, "nobody2")) {
		t.Error("two unknown users have one salt")
	}
	if len(unknown[0]) != len(known[0]) || unknown[1] != known[1] {
		t.Errorf("unknown %q, known %q", unknown, known)
	}
}

func TestScramIsHiddenWhenSomebodyCannot(t *testing.T) {
	secret, err := hashPassword("x", quick, 0)
	must(t, err)
	a := open(t, Config{Accounts: []Declared{{Name: "old", PasswordHash: secret.Password}}}, Needs{})
	if got := a.Mechanisms(&tls.ConnectionState{}); !slices.Equal(got, []string{"PLAIN", "LOGIN"}) {
		t.Errorf("mechanisms %q", got)
	}
}

func TestWhatIsOfferedWhere(t *testing.T) { // AUTH-1, AUTH-3, EH-3
	a := open(t, Config{}, Needs{})
	if got := a.Mechanisms(nil); got != nil {
		t.Errorf("in clear: %q", got)
	}
	for mech, want := range map[string]string{
		"PLAIN": "538 5.7.11 Encryption required for authentication", "CRAM-MD5": "504 5.5.4 Authentication mechanism not recognised",
	} {
		if _, err := a.Begin(mech, AuthSession{Client: home}); err == nil || err.Error() != want {
			t.Errorf("%s in clear: %v, want %s", mech, err, want)
		}
	}
	for _, mech := range []string{"CRAM-MD5", "SCRAM-SHA-1", "OAUTHBEARER", "EXTERNAL", "SCRAM-SHA-256-PLUS", ""} {
		if _, err := a.Begin(mech, inTLS(home)); err == nil || err.Error() != unknownReply.Error() {
			t.Errorf("%s, not offered: %v", mech, err)
		}
	}
	a = open(t, Config{Mechanisms: []string{"login", "SCRAM-SHA-256"}, ClearText: true}, Needs{})
	if got := fmt.Sprint(a.Mechanisms(nil), a.Mechanisms(&tls.ConnectionState{})); got != "[LOGIN] [LOGIN SCRAM-SHA-256]" {
		t.Errorf("configured: %s", got)
	}
	if err := a.Reload(Config{Mechanisms: []string{"CRAM-MD5"}}); err == nil {
		t.Error("took CRAM-MD5 (AUTH-12)")
	}
}

func TestExternal(t *testing.T) { // AUTH-11
	ca := certificate(t, x509.Certificate{Subject: pkix.Name{CommonName: "our CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	other := certificate(t, x509.Certificate{Subject: pkix.Name{CommonName: "a public CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	leaf := certificate(t, x509.Certificate{Subject: pkix.Name{CommonName: "mx.example"}}, nil)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	a := open(t, Config{Certificate: &Certificate{Roots: roots}}, Needs{})
	addAccount(t, a, "anna@example.org", "s3cret")
	addAccount(t, a, "web1", "s3cret")
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for _, c := range []struct {
		name      string
		cert      x509.Certificate
		by        *tls.Certificate
		responses [][]byte
		want      string
	}{
		{"SAN e-mail", x509.Certificate{EmailAddresses: []string{"x@y", "Anna@example.org"}, ExtKeyUsage: client}, &ca, [][]byte{{}}, "235 anna@example.org"},
		{"common name", x509.Certificate{Subject: pkix.Name{CommonName: "web1"}, ExtKeyUsage: client}, &ca, [][]byte{nil, {}}, "235 web1"},
		{"authzid equal", x509.Certificate{Subject: pkix.Name{CommonName: "web1"}, ExtKeyUsage: client}, &ca, [][]byte{[]byte("WEB1")}, "235 web1"},
		{"authzid of another", x509.Certificate{Subject: pkix.Name{CommonName: "web1"}, ExtKeyUsage: client}, &ca, [][]byte{[]byte("anna@example.org")}, refused},
		{"nobody's", x509.Certificate{Subject: pkix.Name{CommonName: "web2"}, ExtKeyUsage: client}, &ca, [][]byte{{}}, refused},
		{"another authority", x509.Certificate{Subject: pkix.Name{CommonName: "web1"}, ExtKeyUsage: client}, &other, [][]byte{{}}, refused},
		{"CERT-3: of a private CA, without the clientAuth usage", x509.Certificate{Subject: pkix.Name{CommonName: "web1"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, &ca, [][]byte{{}}, "235 web1"},
	} {
		cert := certificate(t, c.cert, c.by)
		server, _ := handshake(t, tls.VersionTLS13, &cert, leaf)
		x, err := a.Begin("EXTERNAL", AuthSession{Client: home, TLS: &server})
		must(t, err)
		if _, got := run(x, c.responses...); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	server, _ := handshake(t, tls.VersionTLS13, nil, leaf)
	if a.offers(&server, mechExternal) {
		t.Error("offered without a certificate")
	}
}

func FuzzPlain(f *testing.F) {
	for _, v := range vectors(f, "PLAIN") {
		f.Add(v.initial(f))
	}
	f.Add([]byte("\x00a\x00b\x00c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		authzid, user, password, ok := parsePlain(b)
		if ok && authzid+"\x00"+user+"\x00"+password != string(b) {
			t.Errorf("%q is not %q", []string{authzid, user, password}, b)
		}
	})
}

func FuzzBearer(f *testing.F) {
	for _, mech := range []string{"OAUTHBEARER", "XOAUTH2"} {
		for _, v := range vectors(f, mech) {
			f.Add(v.initial(f))
		}
	}
	f.Add([]byte("n,a=x=2Cy=3D,\x01auth=Bearer a\x01\x01"))
	f.Add([]byte("y,,\x01auth=bearer  a=\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (string, string, bool){parseOAuthBearer, parseXOAuth2} {
			user, token, ok := parse(b)
			if ok && (token == "" || strings.ContainsAny(token, " \x01\x00\r\n") || strings.ContainsRune(user, 1)) {
				t.Errorf("%q gave user %q, token %q", b, user, token)
			}
		}
	})
}

// Whatever a client says, SCRAM ends without success unless it knew the password.
func FuzzScram(f *testing.F) {
	f.Add("n,,n=user,r=abc", "c=biws,r=abc,p=AAAA")
	f.Add("p=tls-exporter,,n=user,r=abc", "")
	f.Add("y,a=x,n=u=2Cser,r=abc,m=1", "c=,r=,p=")
	a, err := Open(Config{Cost: quick, Accounts: []Declared{{Name: "user", SCRAM: "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="}}}, Needs{Accounts: newTable()})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, first, final string) {
		for _, plus := range []bool{false, true} {
			x := newScram(identity{accounts: a, session: inTLS(home)}, plus)
			if _, end := run(x, []byte(first), []byte(final), []byte{}); strings.HasPrefix(end, "235") {
				t.Errorf("%q, %q: %s", first, final, end)
			}
		}
	})
}
