// Package dnstest is a name server for tests: a few lines of zone file behind a
// Dial function, in memory, fit for testing/synctest.
//
// It may not know anything of this program, and only tests may import it.
// Read server.go. It can also be silent, lie, truncate or fail as told.
//
// Invariant: it never blocks longer than its peer keeps the connection.
package dnstest
