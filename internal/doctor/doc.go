// Package doctor answers which port to use from here, and why (standards §24):
// it looks at every endpoint of a target over both address families at once,
// takes the comparisons that tell a fault of the network from one of the host,
// judges, and recommends one port.
//
// Facts first, then judge: gather.go gathers Facts with probe.Look, judge.go is a
// pure function from Facts to a Report, whose specification is the table
// testdata/rows.txt (DIAG-10 to DIAG-82). Read target.go, facts.go and
// report.go for the words, then judge.go.
//
// It may not know terminals, flags or configuration files. It sends no mail,
// and authenticates only where it was given a credential (DIAG-1).
//
// RFCs: 8314 (465 and 587), 6409 (submission), 5068 §4.1 (who may block what),
// 6186 (SRV records of a mail domain), 9525 and 7817 (names in certificates).
//
// Invariants: no credential is sent before the certificate was verified; every
// run ends within its budget; one connection per host, port and family at a
// time, repeats at least a second apart.
package doctor
