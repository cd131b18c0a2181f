// Package message is RFC 5322 as bytes: messages are scanned, never rebuilt.
//
// It finds header fields and their limits, makes trace fields (received.go),
// repairs what a submission may repair (prepare.go, standards §8), counts
// hops, reads address lists, dates and encoded words, and reads MIME for
// people (mime.go, never on the way in).
//
// It may not know sockets, disks, DNS or accounts. Read header.go first, then
// prepare.go.
//
// RFCs: 5322 (format), 2045-2049 (MIME), 2047 (encoded words), 2231
// (parameters), 2183 (Content-Disposition), 2392 (Content-ID), 6409 §8
// (repair), 8601 (Authentication-Results), 3848 (transmission types), 8314
// §4.3 (the tls clause), 6532 (UTF-8 in headers).
//
// Invariants: octets that were not asked to change come out as they went in;
// SplitHeader and Parse never panic and cost time and memory in proportion to
// their input, within the limits named in header.go and mime.go.
package message
