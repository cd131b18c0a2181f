package doctor

import (
	"crypto/x509"
	"fmt"
	"time"
)

const (
	// Renewal happens at 30 days or before; less than a fortnight left means
	// that it does not (CERT).
	renewalLate = 14 * 24 * time.Hour
	day         = 24 * time.Hour
)

// checkCertificates: each names this host, is in force, and leads to an
// authority that clients know.
func (h Host) checkCertificates(now time.Time) []Check {
	var out []Check
	for _, c := range h.Certificates {
		out = append(out, Check{Name: "certificate"})
		check := &out[len(out)-1]
		check.Word, check.Text = h.judgeCertificate(c, now)
	}
	if len(h.Certificates) == 0 && len(h.Listeners) > 0 {
		out = append(out, Check{"certificate", Fail, "none configured: submission ports cannot be used without"})
	}
	return out
}

func (h Host) judgeCertificate(c HostCertificate, now time.Time) (Word, string) {
	if c.Err != nil || len(c.Chain) == 0 {
		return Fail, fmt.Sprintf("%s cannot be used: %v", c.File, c.Err)
	}
	leaf := c.Chain[0]
	left := leaf.NotAfter.Sub(now)
	until := leaf.NotAfter.UTC().Format("2006-01-02")
	switch {
	case leaf.VerifyHostname(h.Hostname) != nil:
		return Fail, fmt.Sprintf("%s is for %s, not for %s", c.File, names(leaf), h.Hostname)
	case left <= 0:
		return Fail, fmt.Sprintf("%s expired on %s", c.File, until)
	case now.Before(leaf.NotBefore):
		return Fail, fmt.Sprintf("%s is not valid before %s: is this machine's clock right?", c.File, leaf.NotBefore.UTC().Format("2006-01-02"))
	}
	between := x509.NewCertPool()
	for _, x := range c.Chain[1:] {
		between.AddCert(x)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: h.Roots, Intermediates: between, CurrentTime: now})
	switch {
	case err != nil && leaf.Issuer.String() == leaf.Subject.String():
		return Warn, fmt.Sprintf("%s is self-signed: enough for mail from servers, refused by every client that submits", c.File)
	case err != nil:
		return Warn, fmt.Sprintf("%s: clients will not trust it: %v", c.File, err)
	case left < renewalLate:
		return Warn, fmt.Sprintf("%s ends in %d days, on %s: renewal seems not to work", c.File, int(left/day), until)
	}
	return Good, fmt.Sprintf("%s, %d days left", names(leaf), int(left/day))
}

// names is what a certificate is for, the first of them and how many more.
func names(c *x509.Certificate) string {
	switch n := len(c.DNSNames); {
	case n == 0:
		return "no host name"
	case n == 1:
		return c.DNSNames[0]
	default:
		return fmt.Sprintf("%s and %d more", c.DNSNames[0], n-1)
	}
}
