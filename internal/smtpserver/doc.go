// Package smtpserver is the session: what a server says on each of the four
// ports, from greeting to QUIT.
//
// Read session.go first (Run: one verb at a time), then verbs.go (which verb
// is answered how in which state), then data.go (where 250 is said).
//
// One Server serves one listener, so it has one role. It gets connections from
// package listen with TLS of the first byte, PROXY address and limits settled.
// Whether mail may enter is decided by Needs.Policy, who somebody is by
// Needs.Accounts, and what is durable by Needs.Store; this package knows the
// protocol and nothing of DNS, disks, queues or configuration files.
//
// RFCs: 5321 (SMTP), 6409 (submission), 8314 (TLS for submission), 3207
// (STARTTLS), 4954 (AUTH), 2920 (PIPELINING), 3030 (CHUNKING), 1870 (SIZE),
// 2034 (enhanced status codes), 3461 (DSN), 6531 (SMTPUTF8), 9422 (LIMITS),
// 4865, 2852, 6710, 8689.
//
// Invariants: 250 to the end of data is said after Draft.Commit returned nil
// and nowhere else (SRV-31); AUTH is offered and taken only inside TLS unless
// Config.ClearAuth says otherwise (EH-3); octets that came before a TLS
// handshake are never read after it (P587-3); a refused BDAT is consumed
// (CM-1); a reply waits for others only while more input is already there.
package smtpserver
