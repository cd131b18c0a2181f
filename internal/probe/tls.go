package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"time"

	"paquebot/internal/mail"
)

// handshake puts TLS on the connection. It reports whether to go on: a peer
// that proves nothing hears no more, but for an MX, to which any certificate is
// good.
func (l *look) handshake() bool {
	l.seen.Auth = nil // what was offered in clear is void (TLS-9)
	t := &TLS{SNI: l.sni(), Small: l.o.Small}
	l.seen.TLS = t
	before := l.raw.count
	from := time.Now()
	ctx, cancel := context.WithTimeout(l.ctx, l.o.Limits.Handshake)
	defer cancel()
	l.conn.SetDeadline(time.Time{})
	conn := tls.Client(l.raw, l.config(t))
	err := conn.HandshakeContext(ctx)
	t.Took = time.Since(from)
	l.seen.Implicit = l.seen.Ehlo == nil && len(t.Chain) > 0
	if err == nil {
		l.use(conn)
		l.under = true
		l.note("%s, %s, %s", t.Version, t.Group, verdict(t))
		return true
	}
	t.Err = err
	l.deaf = true
	switch {
	case t.Fault != nil:
		l.note("%s; certificate not trusted: %s", t.Version, t.Fault)
		return false
	case l.spokePlain(err):
		t.Plain = l.raw.first
		l.note("this is no TLS: %q", firstLine(t.Plain))
		return false
	}
	t.Alert, t.AlertBy = alert(err)
	if t.Alert == "" && !(l.seen.Silent && l.raw.count == before) {
		l.cut("handshake", err)
	} else if t.Alert != "" {
		l.note("TLS ended by %s: %s", t.AlertBy, t.Alert)
	}
	return false
}

func verdict(t *TLS) string {
	if t.Fault != nil {
		return "certificate not trusted: " + t.Fault.Error()
	}
	return "certificate verified for " + t.SNI
}

func (l *look) sni() string {
	if l.o.TLS != nil && l.o.TLS.ServerName != "" {
		return l.o.TLS.ServerName
	}
	return strings.TrimSuffix(l.e.Host, ".")
}

// config verifies by itself, so that both the chain and what is wrong with it
// are known, and breaks the handshake off unless the peer may be anybody.
func (l *look) config(t *TLS) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if l.o.TLS != nil {
		c = l.o.TLS.Clone()
		c.MinVersion = max(c.MinVersion, tls.VersionTLS12) // TLS-1
	}
	c.ServerName = t.SNI
	c.InsecureSkipVerify = true // VerifyConnection does it
	c.ClientSessionCache = nil
	if l.o.Small {
		c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256}
	}
	c.VerifyConnection = func(s tls.ConnectionState) error {
		t.Version, t.Suite, t.Chain = tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite), s.PeerCertificates
		if s.CurveID != 0 {
			t.Group = s.CurveID.String()
		}
		t.Trust, t.Name = verify(s.PeerCertificates, t.SNI, c.RootCAs)
		t.Fault = t.Trust
		if t.Fault == nil {
			t.Fault = t.Name
		}
		if l.e.Mode == mail.Opportunistic {
			return nil
		}
		return t.Fault
	}
	return c
}

// verify judges chain and name apart: a stranger's CA and a stranger's name are
// different stories (DIAG-37 to DIAG-39).
func verify(chain []*x509.Certificate, name string, roots *x509.CertPool) (trust, host error) {
	if len(chain) == 0 {
		return errors.New("no certificate"), nil
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, trust = chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return trust, chain[0].VerifyHostname(name)
}

// spokePlain: what came is no TLS record, as from a port that begins in clear
// (DIAG-31).
func (l *look) spokePlain(err error) bool {
	var header tls.RecordHeaderError
	return errors.As(err, &header) && len(l.raw.first) > 0 && !l.afterClear()
}

// afterClear: the first octets were said before TLS, by a STARTTLS port.
func (l *look) afterClear() bool { return l.seen.Ehlo != nil }

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimRight(line, "\r")
}

// alert names the alert that ended a handshake, and who sent it (RFC 9846 §6).
func alert(err error) (name, by string) {
	var op *net.OpError
	text := strings.TrimPrefix(err.Error(), "remote error: ")
	by = "us"
	if errors.As(err, &op) && op.Op == "remote error" {
		by = "peer"
	}
	text = strings.TrimPrefix(text, "tls: ")
	for _, a := range alerts {
		if strings.Contains(text, a.text) {
			return a.name, cmp.Or(a.by, by)
		}
	}
	if by == "peer" {
		return strings.ReplaceAll(text, " ", "_"), by
	}
	return "", ""
}

// alerts are those of which crypto/tls says more than their name.
var alerts = []struct{ text, name, by string }{
	{"protocol version not supported", "protocol_version", ""},
	{"unsupported protocol version", "protocol_version", "us"},
	{"selected unsupported", "protocol_version", "us"},
	{"unsupported versions", "protocol_version", "us"},
	{"handshake failure", "handshake_failure", ""},
	{"unrecognized name", "unrecognized_name", ""},
}
