// Package node introduces the rooms to each other: it builds a server from its
// configuration, starts it, reloads it, drains it and stops it.
//
// Read node.go first (New, downwards: mail flows the same way), then reload.go.
// build.go turns the configuration into each room's own; adapt.go makes one
// room's answer fit another one's need; world.go is what a process gets from
// outside; disk.go is what outlives a reload.
//
// It decides nothing about mail.
//
// Invariants: rooms meet here and nowhere else; a reload either puts the whole
// new configuration in force or none of it, and drops no session.
package node
