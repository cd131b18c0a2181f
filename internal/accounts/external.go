package accounts

import (
	"context"
	"crypto/x509"
	"errors"

	"paquebot/internal/smtp"
)

// Certificate lets clients log in with a certificate of a private authority
// (AUTH-11). A public one would let anybody in who can buy a certificate.
type Certificate struct {
	Roots *x509.CertPool
}

var (
	errNoCertificate = errors.New("EXTERNAL: no client certificate")
	errNoIdentity    = errors.New("EXTERNAL: no account for the certificate's names")
	errAuthzid       = errors.New("EXTERNAL: authzid is another account")
)

// external is RFC 4422 Appendix A. The identity is the first account named by
// an e-mail address of the certificate, or else by its common name.
type external struct{ identity }

func (x *external) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	if len(response) > nameMax {
		return nil, false, syntaxReply
	}
	e, err := x.identify()
	if err != nil {
		return nil, false, x.accounts.failed(ctx, x.claimed, x.session.Client, err)
	}
	if authzid := string(response); authzid != "" && canonical(authzid) != canonical(e.Name) {
		return nil, false, smtp.BadLogin.Because(errAuthzid)
	}
	if err := x.accounts.admit(ctx, e, e.Name, x.session.Client); err != nil {
		return nil, false, err
	}
	x.account = e.Name
	return nil, true, nil
}

func (x *external) identify() (*entry, error) {
	set := x.accounts.current.Load()
	chain := x.session.TLS.PeerCertificates
	if set.Certificate == nil || len(chain) == 0 {
		return nil, errNoCertificate
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	leaf := chain[0]
	names := append(append([]string{}, leaf.EmailAddresses...), leaf.Subject.CommonName)
	x.claimed = names[0]
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots:         set.Certificate.Roots,
		Intermediates: between,
		// A private CA vouches for whom it names; public ones stopped issuing the
		// clientAuth usage (CERT-3), so no usage is asked for.
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}); err != nil {
		return nil, err
	}
	for _, name := range names {
		if name == "" {
			continue
		}
		e, err := x.accounts.find(name)
		if err != nil {
			return nil, busyReply.Because(err)
		}
		if e != nil {
			return e, nil
		}
	}
	return nil, errNoIdentity
}
