// Package shaping decides how parallel and how fast a receiving site is served.
//
// A Shaper gives permits: one per attempt. It knows limits by site (limits.go:
// sensible ones built in, an operator's before them), keeps them exactly
// (meter.go), counts daily quotas (quota.go), and learns from sites that say "slow down" (adapt.go: halve, then
// recover step by step; SH-11). Read shaper.go first.
//
// It may not know queues, routes, sockets or the spool. Whether a site is left
// alone altogether is the queue's (queue/site.go): it stops scheduling, not
// shaping. The shaper never blocks and starts no goroutine.
//
// Standards: SH-11, Q-8, Q-12, CLI-41, CLI-32 (text refines throttling, never
// the protocol).
//
// Invariants: at no time more permits of a site are out than its connections;
// in no window of its length a site gets more messages than its rate says.
package shaping
