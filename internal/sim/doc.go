// Package sim is the world the tests live in: a network in memory, and a
// seeded world of senders and receiving sites in which days pass in seconds.
//
// It is for tests only; no program links it. net.go is the network: listeners,
// connections with buffers, deadlines, half-close and latency, and faults per
// destination. All waiting is done on sync.Cond, channels and timers, which
// testing/synctest counts as durably blocked, so that virtual time runs. Read
// net.go first, then world_test.go.
//
// It may not know any room: rooms meet it as net.Conn, net.Listener and a dial
// function.
//
// Invariants: nothing here starts a goroutine that outlives the call; nothing
// touches a real socket; the same seed gives the same world.
package sim
