// Package probe looks at one endpoint of a mail server, one connection, and
// writes down what was seen: TCP, first bytes, greeting, EHLO before and after
// TLS, the handshake and the chain, AUTH, limits, and how long each took
// (standards §24.1). It judges nothing: observations go to the doctor, and to
// deliver, which asks whether a better port is back.
//
// It sends no MAIL and authenticates only when told to (DIAG-1). It may not
// know the catalogue, configuration or verdicts.
//
// Read probe.go first, then observation.go; testdata holds, for each case, what
// a peer does and what must be seen of it.
//
// RFCs: 5321 (dialogue), 3207 (STARTTLS), 8314 (TLS from the first byte), 9846
// (TLS), 9525 (names in certificates).
//
// Invariants: every read and write has a deadline, everything kept of a peer
// has a bound; a credential is said under verified TLS only; what a peer offered
// before TLS is forgotten after it (TLS-9).
package probe
