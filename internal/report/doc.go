// Package report writes delivery status notifications: what a sender is told
// about failed, delayed, delivered, relayed and expanded recipients.
//
// DSN is pure composition: facts in, octets out. Whether something is owed is
// decided in queue/settle.go; this package only says it well. Read dsn.go, then
// status.go.
//
// It may not know queues, spools, networks or configuration.
//
// RFCs: 3464 (delivery-status), 3461 (what NOTIFY and RET ask), 6522
// (multipart/report), 6533 (internationalised reports), 3463 (status codes),
// 3834 (Auto-Submitted), 8689 §5 (REQUIRETLS), 5321 §4.5.5 (null sender).
//
// Invariants: only CRLF ends a line (DSN-8); nothing a peer said can add a field
// or a part: control characters are replaced; the boundary is in no part.
package report
