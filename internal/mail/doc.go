// Package mail holds the nouns: what moves through the house, and how it stands.
//
// Down moves an Envelope and its Body by reference; up moves an Outcome per
// recipient. Route, Site, Source and Attempt are the words the rooms between
// the queue and the wire share. Read envelope.go, then outcome.go.
//
// It may not know sockets, disks, DNS or configuration. It decides nothing;
// deciding is done in policy/judge.go ("may this enter?") and queue/settle.go
// ("what now?").
//
// Invariant: addresses are kept byte-exact as they came (SRV-29); only domains
// are compared without case.
package mail
