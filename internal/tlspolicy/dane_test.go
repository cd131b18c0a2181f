package tlspolicy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"paquebot/internal/dns"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// issued is a certificate with its key.
type issued struct {
	*x509.Certificate
	key crypto.Signer
}

// issue makes a certificate for a day around noon, moved by late; by nil: self-signed.
func issue(t testing.TB, by *issued, name string, ca bool, late time.Duration) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: noon.Add(late - 12*time.Hour), NotAfter: noon.Add(late + 12*time.Hour),
		IsCA: ca, BasicConstraintsValid: true,
	}
	if ca {
		c.KeyUsage = x509.KeyUsageCertSign
	} else {
		c.DNSNames = []string{name}
	}
	parent, signer := c, crypto.Signer(key)
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &issued{c, key}
}

// of is the record that names a certificate.
func of(usage, selector, matching uint8, c *issued) dns.TLSA {
	data := c.Raw
	if selector == 1 {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return dns.TLSA{Usage: usage, Selector: selector, Matching: matching, Data: data}
}

func list[T any](v ...T) []T { return v }

// DANE-5, DANE-7; RFC 7671 §5.1 and §5.2.
func TestVerify(t *testing.T) {
	const day = 24 * time.Hour
	root := issue(t, nil, "root", true, 0)
	mid := issue(t, root, "intermediate", true, 0)
	leaf := issue(t, mid, "relay.example", false, 0)
	self := issue(t, nil, "elsewhere.example", false, 0)
	old := issue(t, mid, "relay.example", false, -3*day)
	oldRoot := issue(t, nil, "old root", true, -3*day)
	underOld := issue(t, oldRoot, "relay.example", false, 0)
	neighbour := issue(t, mid, "neighbour.example", false, 0)
	stranger := issue(t, nil, "root", true, 0)
	forged := issue(t, stranger, "relay.example", false, 0)
	under := issue(t, leaf, "relay.example", false, 0) // by one who may not issue

	for _, c := range []struct {
		name    string
		records []dns.TLSA
		chain   []*issued
		want    string // or a piece of the error
	}{
		{"EE, key, SHA-256 (3 1 1)", list(of(3, 1, 1, leaf)), list(leaf, mid), DANEEE},
		{"EE, certificate, SHA-512", list(of(3, 0, 2, leaf)), list(leaf, mid), DANEEE},
		{"EE, key, whole", list(of(3, 1, 0, leaf)), list(leaf), DANEEE},
		{"EE, certificate, whole", list(of(3, 0, 0, leaf)), list(leaf), DANEEE},
		{"EE: another name does not matter", list(of(3, 1, 1, self)), list(self), DANEEE},
		{"EE: nor does expiry", list(of(3, 1, 1, old)), list(old), DANEEE},
		{"EE: the key of the issuer is not the server's", list(of(3, 1, 1, mid)), list(leaf, mid, root), "does not match"},
		{"EE: another key", list(of(3, 1, 1, self)), list(leaf, mid, root), "does not match"},
		{"EE: one of several, as in a roll of keys", list(of(3, 1, 1, self), of(3, 1, 1, leaf)), list(leaf), DANEEE},
		{"TA: the root, sent", list(of(2, 0, 1, root)), list(leaf, mid, root), DANETA},
		{"TA: the intermediate, without a root", list(of(2, 1, 2, mid)), list(leaf, mid), DANETA},
		{"TA: in any order", list(of(2, 1, 1, root)), list(leaf, root, mid), DANETA},
		{"TA: the root, not sent: nothing is fetched", list(of(2, 0, 1, root)), list(leaf, mid), "does not match"},
		{"TA: the root, held whole by the record", list(of(2, 0, 0, root)), list(leaf, mid), DANETA},
		{"TA: the name is checked (TRAP-21)", list(of(2, 1, 1, mid)), list(neighbour, mid), "not relay.example"},
		{"TA: dates are checked", list(of(2, 1, 1, mid)), list(old, mid), "expired"},
		{"TA: dates of the anchor too", list(of(2, 1, 1, oldRoot)), list(underOld, oldRoot), "expired"},
		{"TA: the anchor is shown but did not sign", list(of(2, 1, 1, root)), list(forged, root), "does not match"},
		{"TA: an end entity may not issue", list(of(2, 1, 1, mid)), list(under, leaf, mid), "unknown authority"},
		{"TA does not name the server itself", list(of(2, 1, 1, self)), list(self), "does not match"},
		{"EE holds where TA does not", list(of(2, 1, 1, stranger), of(3, 1, 1, leaf)), list(leaf, mid), DANEEE},
		{"TA holds where EE does not", list(of(3, 1, 1, self), of(2, 1, 1, root)), list(leaf, mid, root), DANETA},
		{"usages 0 and 1 prove nothing (RFC 7672 §3.1.3)", list(of(0, 0, 1, root), of(1, 1, 1, leaf)), list(leaf, mid, root), "does not match"},
		{"an unknown matching type proves nothing", list(dns.TLSA{Usage: 3, Matching: 9, Data: leaf.Raw}), list(leaf), "does not match"},
		{"no certificate", list(of(3, 1, 1, leaf)), nil, "none was shown"},
		{"no record", nil, list(leaf, mid, root), "does not match"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var chain []*x509.Certificate
			for _, i := range c.chain {
				chain = append(chain, i.Certificate)
			}
			d := &DANE{Base: "relay.example", Names: []string{"relay.example"}, Records: c.records}
			got, err := d.Verify(chain, noon)
			switch {
			case err == nil && got != c.want:
				t.Errorf("got %q", got)
			case err != nil && (got != "" || !errors.Is(err, ErrDANE) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// RFC 7672 §3.2.3: behind an alias either name will do; without one none does.
func TestNamesUnderAnAnchor(t *testing.T) {
	root := issue(t, nil, "root", true, 0)
	leaf := issue(t, root, "relay.example", false, 0)
	chain := []*x509.Certificate{leaf.Certificate, root.Certificate}
	for _, c := range []struct {
		names string
		good  bool
	}{{"relay.example", true}, {"pool.example relay.example", true}, {"pool.example", false}, {"", false}} {
		d := &DANE{Names: strings.Fields(c.names), Records: list(of(2, 0, 1, root))}
		if got, err := d.Verify(chain, noon); (err == nil) != c.good || (got == DANETA) != c.good {
			t.Errorf("%q: %q, %v", c.names, got, err)
		}
	}
}

// DANE-5: what is unknown or malformed is unusable, the rest stays.
func TestUsable(t *testing.T) {
	c := issue(t, nil, "relay.example", false, 0)
	sum := make([]byte, 32)
	good := of(3, 1, 1, c)
	for _, row := range []struct {
		name string
		r    dns.TLSA
		want bool
	}{
		{"3 1 1", good, true},
		{"2 0 2", of(2, 0, 2, c), true},
		{"3 0 0", of(3, 0, 0, c), true},
		{"3 1 0", of(3, 1, 0, c), true},
		{"PKIX-TA", of(0, 0, 1, c), false},
		{"PKIX-EE", of(1, 1, 1, c), false},
		{"private usage", dns.TLSA{Usage: 255, Selector: 1, Matching: 1, Data: sum}, false},
		{"unknown selector", dns.TLSA{Usage: 3, Selector: 2, Matching: 1, Data: sum}, false},
		{"unknown matching type", dns.TLSA{Usage: 3, Selector: 1, Matching: 3, Data: sum}, false},
		{"SHA-256 too short", dns.TLSA{Usage: 3, Selector: 1, Matching: 1, Data: sum[1:]}, false},
		{"SHA-512 with the length of SHA-256", dns.TLSA{Usage: 3, Selector: 1, Matching: 2, Data: sum}, false},
		{"no data", dns.TLSA{Usage: 3, Selector: 1, Matching: 1}, false},
		{"no certificate", dns.TLSA{Usage: 2, Selector: 0, Matching: 0, Data: []byte("x")}, false},
		{"a key where a certificate is named", dns.TLSA{Usage: 3, Selector: 0, Matching: 0, Data: c.RawSubjectPublicKeyInfo}, false},
		{"octets after the certificate", dns.TLSA{Usage: 3, Selector: 0, Matching: 0, Data: append(c.Raw[:len(c.Raw):len(c.Raw)], 0)}, false},
	} {
		given := list(row.r, good)
		want := 1
		if row.want {
			want = 2
		}
		if got := Usable(given); len(got) != want || string(got[len(got)-1].Data) != string(good.Data) {
			t.Errorf("%s: %d usable with a good one, want %d", row.name, len(got), want)
		}
		if string(given[0].Data) != string(row.r.Data) || given[1].Usage != 3 {
			t.Errorf("%s: the records given, which are shared, were changed", row.name)
		}
	}
}

// FuzzRecord: no record proves anything but the one that names the chain, and
// nothing panics.
func FuzzRecord(f *testing.F) {
	root := issue(f, nil, "root", true, 0)
	leaf := issue(f, root, "relay.example", false, 0)
	chain := []*x509.Certificate{leaf.Certificate, root.Certificate}
	f.Fuzz(func(t *testing.T, usage, selector, matching uint8, data []byte) {
		r := dns.TLSA{Usage: usage, Selector: selector, Matching: matching, Data: data}
		d := &DANE{Base: "relay.example", Names: []string{"relay.example"}, Records: list(r)}
		got, err := d.Verify(chain, noon)
		if err == nil {
			c := leaf
			if got == DANETA {
				c = root
			}
			if len(Usable(d.Records)) != 1 || string(of(usage, selector, matching, c).Data) != string(data) {
				t.Fatalf("%+v proved %s", r, got)
			}
		} else if !errors.Is(err, ErrDANE) {
			t.Fatal(err)
		}
	})
}
