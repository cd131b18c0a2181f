// Package listen opens the ports and hands each connection on with TLS of the
// first byte, PROXY address and limits settled.
//
// Read listener.go first (Serve), then certs.go. guard.go bounds how many come
// and how often, proxy.go believes a PROXY header from listed peers alone,
// bind.go says who holds a port and what to do about it.
//
// It may not know SMTP: a connection it must refuse is told by Needs.Refuse.
//
// RFCs: 8314 (TLS from the first byte), 9325 (TLS 1.2 and up), 7301 (ALPN);
// the PROXY protocol of HAProxy (INT-1).
//
// Invariants: no TLS below 1.2 and no session tickets (design §6.3); a peer
// that is not listed never sets its own address; every handshake and header
// has a deadline.
package listen
