package deliver

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"paquebot/internal/mail"
)

// tlsConfig is the TLS a hop gets. Names come from the route, never from DNS
// unless it is secure (TLS-6, DANE-8); an opportunistic hop may show any certificate (RFC 7435; TLS-8).
func (d *Deliverer) tlsConfig(hop mail.Hop, how manner, cred Credential) *tls.Config {
	if how.security == mail.Clear {
		return nil
	}
	c := &tls.Config{
		ServerName:   hop.Name, // TLS-4; not sent if it is an address
		MinVersion:   tls.VersionTLS12,
		CipherSuites: suites(),
		RootCAs:      d.conf.Roots,
		Certificates: cred.Certificates,
	}
	if cred.Roots != nil {
		c.RootCAs = cred.Roots
	}
	if how.security == mail.Verify || how.security == mail.Implicit {
		if cred.Roots == nil && len(cred.Certificates) == 0 {
			c.ClientSessionCache = d.trusting // a session made under other roots proves nothing here
		}
	} else {
		c.InsecureSkipVerify = true
		c.ClientSessionCache = d.doubting
	}
	if how.dane != nil {
		c.ServerName = how.dane.Base // DANE-8
		c.ClientSessionCache = nil   // records may change; each session proves itself anew
	}
	if how.classic {
		c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}
		c.ClientSessionCache = nil // a ticket makes the ClientHello large again
	}
	return c
}

// suites are those of TLS 1.2 with forward secrecy and authenticated
// encryption (TLS-2); TLS 1.3 has no others.
func suites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// silence reports that nobody answered, which says nothing of whether anybody
// heard. A connection that we closed ourselves had a path that was dead.
func silence(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ETIMEDOUT)
}

// passing reports trouble that may be chance: silence, a reset, a connection
// that ended.
func passing(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
