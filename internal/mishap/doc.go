// Package mishap makes mail fail on purpose, so that programs can be tried
// against failures: by the recipient's address with no set-up ("user+550@"), or
// by rules at every stage of a session. It is a part of "paquebot dev" and of
// nothing else: a server does not build it.
//
// Read rule.go first (what a Rule may say), then address.go (the table of what
// addresses mean), then mishap.go (At: what happens here and now).
//
// It decides and keeps count. It may not know connections, queues or HTTP: the
// session carries a Fault out, the courier sends mail back, the console shows
// rules. Whoever asks passes Facts.
//
// RFCs: 5321 §4.2 (replies), 3463 and 5248 (enhanced codes), 4954 §6 (replies
// to AUTH), 3207 (STARTTLS), 1047 (the reply that is lost).
//
// Invariants: the same questions in the same order get the same answers, chance
// included, which comes from a Rule's seed alone; parallel tests that keep to
// mailboxes of their own do not meet each other's counts; rules, counts and
// waiting times are bounded.
package mishap
