package console

import (
	"paquebot/internal/catch"
	"paquebot/internal/mishap"
)

// Config says who may ask.
type Config struct {
	// Hosts are names that a browser may call this page by, beside localhost and
	// loopback addresses. "*" lets any name in and with it DNS rebinding: only
	// behind something that checks.
	Hosts []string
	// Version of the program, shown at the foot.
	Version string
}

// Needs is what the page shows.
type Needs struct {
	Store *catch.Store
	// Ready returns nil when the SMTP ports listen, else what is missing. Nil:
	// always ready.
	Ready func() error
	// Mishap is what goes wrong on purpose; nil where nothing does.
	Mishap *mishap.Mishap
	// CA is the certificate (PEM) that clients must trust, served at /ca.pem.
	CA []byte
	// Ports of this instance; a zero is left out of what is shown.
	Ports Ports
}

// Ports are where this instance listens.
type Ports struct {
	Submission  uint16 // as 587: STARTTLS, then AUTH
	Submissions uint16 // as 465: TLS from the first byte, then AUTH
	Alternative uint16 // as 2525: the same as Submission
	MX          uint16 // as 25: server to server, no AUTH
}

// Like returns the standard port whose twin a port is, 0 if it is none of ours.
func (p Ports) Like(port uint16) uint16 {
	switch port {
	case 0:
		return 0
	case p.Submission:
		return 587
	case p.Submissions:
		return 465
	case p.Alternative:
		return 2525
	case p.MX:
		return 25
	}
	return 0
}
