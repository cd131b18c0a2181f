package deliver

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpclient"
	"paquebot/internal/tlspolicy"
)

// proof is how an endpoint of a smart host must prove who it is.
type proof struct {
	dane *tlspolicy.DANE    // nil: by a public authority (PKIX), as the route demands
	fail *smtpclient.Answer // it cannot be known now: the endpoint is not to be used
}

// proofs looks up what each endpoint must show, all at once: a race is no place
// to wait for names.
func (t *attempt) proofs(ctx context.Context, hops []mail.Hop) []proof {
	out := make([]proof, len(hops))
	var wg sync.WaitGroup
	for i, h := range hops {
		wg.Go(func() { out[i] = t.proof(ctx, h) })
	}
	wg.Wait()
	return out
}

// proof follows RFC 7672 §2.2.3: of a smart host, who is not found by MX, the
// name is the configured one, and the recipient's domain has no say (SH-7). A
// root that the operator named for this smart host goes before the DNS (POL-1);
// hosts found by its MX are proved by PKIX.
func (t *attempt) proof(ctx context.Context, h mail.Hop) proof {
	s := t.security(h)
	if s != mail.Verify && s != mail.Implicit || len(h.Addrs) > 0 || h.Port == 0 || t.credential().Roots != nil {
		return proof{}
	}
	host := t.d.needs.Names.Addrs(ctx, h.Name)
	if host.Status != dns.OK || !host.Secure {
		return proof{} // DANE-2: servers of unsigned zones may choke on the question
	}
	bases := []string{host.Name}
	if host.Aliased {
		bases = append(bases, h.Name) // DANE-3: where the alias leads, then the alias
	}
	for _, base := range bases {
		a := t.d.needs.Names.TLSA(ctx, h.Port, base)
		switch {
		case a.Status == dns.Temp: // DANE-4: that is not "none"
			return proof{fail: noTLSA(h.Port, base, a.Cause)}
		case a.Status == dns.OK && a.Secure:
			usable := tlspolicy.Usable(a.Records)
			if len(usable) == 0 {
				return proof{} // DANE-6: TLS, which the route demands anyway, and its PKIX
			}
			return proof{dane: &tlspolicy.DANE{Base: base, Names: slices.Compact([]string{base, h.Name}), Records: usable}}
		}
	}
	return proof{}
}

func noTLSA(port uint16, base string, cause error) *smtpclient.Answer {
	return &smtpclient.Answer{Kind: smtpclient.Lost, Stage: mail.StageRoute,
		Reply: smtp.DNSTrouble.WithText("TLSA records at %s cannot be looked up", tlsaName(port, base)).Because(cause)}
}

func tlsaName(port uint16, base string) string { return fmt.Sprintf("_%d._tcp.%s", port, base) }

// judge gives the session its judge of certificates; nil: PKIX.
func (h manner) judge() func([]*x509.Certificate) (string, error) {
	if h.dane == nil {
		return nil
	}
	return func(chain []*x509.Certificate) (string, error) { return h.dane.Verify(chain, time.Now()) }
}
