// Package spool is the only memory: everything else is rebuilt from it.
//
// It keeps messages from the 250 that took responsibility for them until every
// recipient's end has been written down. Read spool.go for what it promises,
// then journal.go (what is on the disk), commit.go (one write, one fdatasync,
// then all the answers), index.go (what waits, in an order the queue can walk)
// and recover.go (what survives a power cut).
//
// It knows files, positions and states. It does not know SMTP sessions, DNS,
// sites, schedules or why a recipient waits; it never decides that something
// should be tried, held or given up.
//
// RFCs: 5321 §4.2.5 and §6.1 (responsibility), 1047 (duplicates). Promises P1,
// P2, P3 and P6 of the design; SRV-31, SRV-32, Q-1 to of the
// standards.
//
// Invariants:
//
//   - The journal is the truth. The index is a cache of it and may be deleted
//     at any time while the server is stopped.
//   - Nil from Commit, Record or Finish means synced. What was answered with
//     ErrNotDurable or ErrFull never comes back to life.
//   - A sync that failed is never repeated: the pages may be gone although the
//     next sync would say yes. The spool stops and says so.
//   - Memory grows neither with what waits nor with how long it has waited;
//     restart reads the journal's tail only.
package spool
