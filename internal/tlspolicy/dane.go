package tlspolicy

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"paquebot/internal/dns"
)

// The usages that make sense in SMTP (RFC 7672 §3.1). 0 and 1 ask for public
// authorities on top, of which mail servers have no common set (§3.1.3).
const (
	usageTA = 2 // DANE-TA: the record names who issued the certificate
	usageEE = 3 // DANE-EE: the record names the server's certificate itself
)

const (
	selectCert = 0 // the whole certificate
	selectKey  = 1 // its SubjectPublicKeyInfo
)

const (
	matchExact  = 0
	matchSHA256 = 1
	matchSHA512 = 2
)

// The values of mail.TLS.Verified for what DANE proved.
const (
	DANEEE = "dane-ee"
	DANETA = "dane-ta"
)

// ErrDANE means that a peer did not prove what its TLSA records demand. Every
// error of DANE.Verify is one.
var ErrDANE = errors.New("certificate does not match the TLSA records (DANE)")

// DANE is what the TLSA records at one place demand of its certificate.
type DANE struct {
	Base    string     // TLSA base domain: what to send as SNI (DANE-8)
	Names   []string   // a certificate under DANE-TA must bear one of them
	Records []dns.TLSA // usable ones only, see Usable
}

// Usable returns the records that can prove anything to an SMTP client: known
// usage, selector and matching type, and data of their form (DANE-5). An empty
// result means that there is nothing to match; TLS is still demanded then
// (RFC 7672 §2.2; DANE-6).
func Usable(records []dns.TLSA) []dns.TLSA {
	return slices.DeleteFunc(slices.Clone(records), func(r dns.TLSA) bool { return !usable(r) })
}

func usable(r dns.TLSA) bool {
	if r.Usage != usageTA && r.Usage != usageEE || r.Selector > selectKey {
		return false
	}
	switch r.Matching {
	case matchSHA256:
		return len(r.Data) == sha256.Size
	case matchSHA512:
		return len(r.Data) == sha512.Size
	case matchExact:
		var err error
		if r.Selector == selectCert {
			_, err = x509.ParseCertificate(r.Data)
		} else {
			_, err = x509.ParsePKIXPublicKey(r.Data)
		}
		return err == nil
	}
	return false
}

// Verify checks the chain a peer sent, its own certificate first. It returns
// DANEEE or DANETA, or an error that is ErrDANE.
func (d *DANE) Verify(chain []*x509.Certificate, now time.Time) (string, error) {
	if len(chain) == 0 {
		return "", fmt.Errorf("%w: none was shown", ErrDANE)
	}
	// Whoever holds the key is the server, by the word of its zone: name, dates
	// and issuer say nothing more (RFC 7671 §5.1; DANE-7).
	if d.matches(usageEE, chain[0]) {
		return DANEEE, nil
	}
	anchors := d.anchors(chain)
	if len(anchors) == 0 {
		return "", fmt.Errorf("%w of %s", ErrDANE, d.Base)
	}
	if err := d.underAnchor(chain, anchors, now); err != nil {
		return "", fmt.Errorf("%w of %s: %w", ErrDANE, d.Base, err)
	}
	return DANETA, nil
}

// anchors are the issuers that the records name: those the peer sent, and those
// that a record holds whole (RFC 7671 §5.2).
func (d *DANE) anchors(chain []*x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range chain[1:] {
		if d.matches(usageTA, c) {
			out = append(out, c)
		}
	}
	for _, r := range d.Records {
		if r.Usage != usageTA || r.Selector != selectCert || r.Matching != matchExact {
			continue
		}
		if c, err := x509.ParseCertificate(r.Data); err == nil {
			out = append(out, c)
		}
	}
	return out
}

// underAnchor checks that one of the anchors vouches for the peer: signatures,
// dates, and the name, without which any customer of the same authority would
// do (TRAP-21).
func (d *DANE) underAnchor(chain, anchors []*x509.Certificate, now time.Time) error {
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, c := range anchors {
		o.Roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(o); err != nil {
		return err
	}
	err := errors.New("no name to check")
	for _, name := range d.Names {
		if err = chain[0].VerifyHostname(name); err == nil {
			return nil
		}
	}
	return err
}

func (d *DANE) matches(usage uint8, c *x509.Certificate) bool {
	return slices.ContainsFunc(d.Records, func(r dns.TLSA) bool { return r.Usage == usage && usable(r) && match(r, c) })
}

// match compares a certificate with the data of a usable record (RFC 6698 §2.1).
func match(r dns.TLSA, c *x509.Certificate) bool {
	what := c.Raw
	if r.Selector == selectKey {
		what = c.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case matchSHA256:
		sum := sha256.Sum256(what)
		what = sum[:]
	case matchSHA512:
		sum := sha512.Sum512(what)
		what = sum[:]
	}
	return bytes.Equal(r.Data, what)
}
