// Package queue is the one place where mail waits. It knows what is due, picks
// what may go now, hands it to the courier, judges what came of it and has that
// written down before anybody hears of it.
//
// Read in this order: queue.go (the life of an attempt on one screen),
// settle.go (what becomes of a recipient, a pure function with a table for a
// specification), tell.go (write down, then tell), accept.go (how mail enters),
// pick.go (who is next), line.go (windows over the spool's waiting index),
// site.go (a site that refuses backs off, not its messages), age.go (expiry,
// delay notices, deadlines), hold.go and rules.go (the operator's hand),
// watchdog.go (promise P2).
//
// It may not know sockets, DNS, files, configuration keys or how a message is
// delivered: those are needs.go. Whether a site is left alone for a while is
// decided here (site.go), because it stops scheduling as a whole; how fast and
// how parallel a healthy site is served is the shaper's.
//
// RFCs: 5321 §4.5.4 (retries), §6.1 (responsibility), 3461 (DSN: who is told),
// 2852 (DELIVERBY), 4865 (FUTURERELEASE), 6710 (MT-PRIORITY).
//
// Invariants:
//   - A recipient that waits is in the spool's waiting index, or it is fresh and
//     in memory; either way the queue knows when to look at it (P2).
//   - deliver, settle, Record, events, report, Finish: in this order (style §4.1).
//   - Nothing in memory grows with the number of waiting messages: lines have a
//     window of due entries, all else stays in the index (P6).
//   - A site's back-off is one record in memory; a restart costs one probe.
package queue
