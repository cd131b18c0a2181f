// Package dns asks the domain name system, on behalf of everything that needs
// an answer about mail: a caching stub resolver that never guesses.
//
// An answer has a Status, and the four are kept apart everywhere: the name has
// such records (OK), the name does not exist (NXDomain), the name exists
// without them (NoData), nobody could say (Temp). A failed look-up is never an
// empty answer (MX-9). Read answer.go, then resolver.go; exchange.go is the
// wire, cache.go what is remembered.
//
// It may not know SMTP, messages, routes or configuration files other than
// /etc/resolv.conf. Sockets come from the Dial function it is given.
//
// RFCs: 1034 and 1035 (DNS), 2308 (negative caching), 6840 §5.7 (the AD bit),
// 6891 (EDNS), 6698 §3 (TLSA), 7505 (null MX), 5890 (A-labels), 6761 (localhost, invalid).
//
// Invariants: everything is bounded (queries under way, octets remembered,
// aliases followed, time per query); names leave as A-labels (MX-14); Secure is
// true only if each step of an answer came with the AD bit from a resolver we
// trust to validate (DANE-1).
package dns
