// Package smtp is RFC 5321 as data: what both the server and the client must
// know of the protocol, and nothing about connections.
//
// Replies and enhanced status codes, addresses and paths, command lines and
// their ESMTP parameters, service extensions as one EHLO announces them, line
// and end-of-data rules. Read reply.go first: a refusal is a Reply wherever it
// is born and whoever must hear it.
//
// It may not know sockets, TLS, DNS, queues or configuration.
//
// RFCs: 5321 (SMTP), 2034 and 3463 and 5248 (enhanced status codes), 1870
// (SIZE), 6152 (8BITMIME), 2920 (PIPELINING), 3030 (CHUNKING, BINARYMIME),
// 3461 (DSN), 6531 (SMTPUTF8), 2852 (DELIVERBY), 4865 (FUTURERELEASE), 6710
// (MT-PRIORITY), 9422 (LIMITS), 4954 (AUTH), 3207 (STARTTLS).
//
// Invariants: only CRLF ends a line (SRV-1); nothing here allocates in
// proportion to what a peer sends beyond the limits named in limits.go.
package smtp
