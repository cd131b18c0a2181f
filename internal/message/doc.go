// Package message is RFC 5322 as bytes: messages are scanned, never rebuilt.
//
// It finds header fields and their limits, adds trace fields on top, repairs
// what a submission may repair (standards §8), counts hops, and reads MIME for
// people (never on the way in).
//
// It may not know sockets, disks, DNS or accounts. Read header.go first.
//
// RFCs: 5322 (format), 2045-2049 (MIME), 2047 (encoded words), 6409 §8
// (repair), 8601 (Authentication-Results), 3848 (transmission types).
//
// Invariant: octets that were not asked to change come out as they went in.
package message
