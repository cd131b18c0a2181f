package accounts

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"

	"paquebot/internal/event"
)

// Table is where accounts are kept; store.Table is one. Keys are in byte
// order, and slices given to yield are valid only within that call.
type Table interface {
	Get(key []byte) (value []byte, ok bool, err error)
	Put(key, value []byte) error // durable when it returns nil
	Delete(key []byte) error
	Each(prefix []byte, yield func(key, value []byte) bool) error
}

// Needs are what accounts need of others; node gives them.
type Needs struct {
	Accounts Table // durable
	Usage    Table // counters: may be unsynced; nil keeps them in memory alone
	Events   event.Sink
	// HTTP talks to the OAuth issuer. Nil: a plain client; each call has its
	// own deadline in any case.
	HTTP *http.Client
	// Leaf returns the certificate this server showed in the handshake, for the
	// channel binding tls-server-end-point (RFC 5929 §4). Nil: that type is not
	// offered; tls-exporter needs nothing.
	Leaf func(*tls.ConnectionState) *x509.Certificate
}
