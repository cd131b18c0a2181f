// Package deliver makes one attempt: it carries a message to the hops of its
// route, in order, until one has answered for each recipient, and reports an
// Outcome per recipient.
//
// Read attempt.go, then reach.go, where it is decided what a failure means and
// what else to try now: a pure function whose specification is
// testdata/reach.txt. pool.go keeps sessions for the next message, tls.go says
// which TLS a hop gets; maildir.go, webhook.go and catch.go are the transports
// without SMTP.
//
// Smart hosts have a way of their own: smarthost.go, race.go (which endpoint
// carries the mail, and that one not to be trusted ends the race), dane.go (by
// what an endpoint proves who it is), endpoints.go
// (what is remembered of them), adapt.go (the header on the way to whom),
// explain.go (what a provider's reply means), pulse.go (a path that died).
//
// It may not know the queue, its schedule or what becomes of a recipient later,
// nor how routes are found. It decides nothing by a reply's text (CLI-32).
//
// RFCs: 5321 §5.1 and §4.2, 7504, 2033, 3207, 7435, 7672 §2.2.3; Maildir has none.
//
// Invariants: the demanded security is never lowered, and a failed certificate
// is never answered by another port (P4, SH-3); only the winner of a race sees
// the credential; after the whole content was
// sent to a peer that did not answer, nobody else gets it in this attempt
// (CLI-29); Deliver returns within the attempt's deadline; every session that
// can hear it is ended with QUIT (CLI-35, TRAP-30).
package deliver
