// Package tlspolicy says what a peer must prove in TLS, where the domain name
// system or a policy of its owner demands more than an encrypted line.
//
// Read dane.go: it verifies a certificate chain against TLSA records. It is
// pure: who calls it has looked the records up and knows that they are secure
// (DANE-1), and gives the time.
//
// It may not know connections, look-ups, routes or configuration. It decides
// nothing of what follows from a failure.
//
// RFCs: 6698 (TLSA), 7671 (how DANE is done), 7672 (DANE for SMTP).
//
// Invariants: nothing panics on what a peer or a zone says; a chain is built
// only from what the peer sent and what the records hold, nothing is fetched
// (DANE-7); a record that is not understood proves nothing.
package tlspolicy
