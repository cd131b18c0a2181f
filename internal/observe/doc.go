// Package observe reads events and lets people see them: log lines, metrics,
// the history behind `paquebot trace`, health and systemd's notifications.
//
// Rooms say each thing once, as an event; all readers here are made of the same
// facts (facts.go), so a log line, a counter and a trace cannot disagree
// (design §5.6). Read facts.go, then log.go, metrics.go and history.go.
//
// It may not know the rooms that emit; it knows only events, and of the rooms
// only store, where the history is kept. It decides nothing.
//
// Invariants: Emit never blocks and never fails: what a slow disk or terminal
// cannot take is dropped and counted (paquebot_events_dropped_total); no value
// of a peer can begin a new log line or carry a control character; no label of
// a metric holds an address, an ID or free text, and each has a bound.
package observe
