// Package probe looks at one endpoint of a mail server, one connection, and
// writes down what was seen: name lookup, TCP, first bytes, greeting, EHLO
// before and after TLS, the handshake and the chain, AUTH, limits, and how long
// each took (standards §24.1). It judges nothing: observations go to the
// doctor, and to deliver, which asks whether a better port is back.
//
// It sends no MAIL, and authenticates only when told to (DIAG-1). It may not
// know the catalogue, configuration or verdicts.
//
// Read probe.go first.
package probe
