// Package catch keeps mail instead of delivering it, for people to look at:
// the store behind "paquebot dev" and behind routes that deliver to "catch".
//
// It holds the caught messages with their envelopes (apart from their headers),
// the SMTP dialogue that brought each, and the sessions that failed with what
// their owner should change. It fills from two sides: the courier calls Catch,
// and the event stream reaches Emit.
//
// Read store.go first, then segment.go for what is on disk.
//
// It may not know HTTP, SMTP connections or how mail is routed. It is not part
// of the spool: a message is caught once it has been delivered here.
//
// RFCs: none of its own; the bytes are RFC 5322 as they came.
//
// Invariants: memory and disk are bounded by Config, the oldest message goes
// first; a body comes out as it went in; catching the same message again (the
// queue may try twice) adds recipients, never a second message; Emit never
// waits for the disk.
package catch
