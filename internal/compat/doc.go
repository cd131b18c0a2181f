// Package compat answers as Mailpit (API v1) and as MailHog (API v1 and v2) do,
// so that clients and suites written for them read the mail that "paquebot dev"
// caught without a changed line. The two share one path, GET /api/v1/messages:
// there Mailpit's answer is the usual one and Config.MailHog asks for the other.
//
// Read compat.go first (the routes are one table), then letter.go for how a
// message is seen and search.go for the search language. What is MailHog's is
// in the files that begin with hog.
//
// It may not know SMTP, queues or disks. It reads catch.Store, and changes it by
// deleting, marking, tagging and by /api/v1/send. Nothing is fetched from
// anywhere but by link-check, which a person or a test asks for, and which never
// reaches an internal address (reach.go).
//
// RFCs: 5322 and 2045-2049 through package message; 6455 (WebSocket); 2369 and
// 8058 (List-Unsubscribe).
//
// Invariants: the stored octets are never touched, what these interfaces add
// (Bcc of hidden recipients, Return-Path) is added to answers alone; no answer
// holds a password; a WebSocket opens to pages of this host only (CVE-2026-22689
// was another catcher's); every answer, search, stream, image and request body
// is bounded.
package compat
