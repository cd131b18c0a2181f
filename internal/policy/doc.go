// Package policy decides whether mail may enter: which senders, which
// recipients, how much. It gathers facts first (facts.go), then judges them by
// pure functions whose specification is a table (judge.go); inbound.go and
// submission.go say which facts matter on which port.
//
// Read judge.go, then inbound.go. Aliases are opened here, at RCPT, so that a
// recipient that leads nowhere is refused and not bounced.
//
// It may not know sockets, SMTP sessions, the spool or the queue; DNS, accounts
// and the asking of a next hop come through needs.go.
//
// RFCs: 5321 §3.6, §3.9, §4.5.1 (relaying, aliases, postmaster), 6409
// (submission), 7505 (null MX), 3461 §5.2.7 (aliases and DSN), 2142 (abuse).
// Standards §3, §8, §10, §16.1, §22.
//
// Invariants: nobody relays through us but an account, a listed network or
// towards a domain we serve (REL-1); postmaster of what we serve is never
// refused (P25-3); a fault of DNS, table or next hop never refuses for good.
package policy
