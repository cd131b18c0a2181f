// Package route finds where a recipient is tried: the target of a domain that
// is ours, the first configured route that matches, or the MX of its domain.
//
// Read route.go, then mx.go, which is RFC 5321 §5.1 step by step; match.go and
// target.go read what the configuration says, verify.go asks a next hop whether
// it knows a recipient.
//
// exchangers.go is a smart host named by its MX, failover.go knows when another
// smart host stands in (SH-10).
//
// It may not know queues, messages' contents or how a hop is talked to (but for
// verify.go). It opens no connection for routing; names come from Needs.
//
// RFCs: 5321 §5 (address resolution), 7505 (null MX), 7504 §3, 5891.
//
// Invariants: a look-up that failed is never read as "no such record" (MX-9);
// an address learnt from DNS is not connected to when it is ours, local or
// private (MX-10); a route's security is never lowered (SH-4); every error is a
// smtp.Reply, 4xx to try again, 5xx for good.
package route
