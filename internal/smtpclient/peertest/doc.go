// Package peertest plays a mail server by script, for tests of clients: a few
// lines say what it says and what it wants to hear, down to when it hangs up.
//
// It may not know anything of the client; only tests may import it. Read
// peer.go, whose table of line kinds is the format.
//
// Invariant: a script that is not followed to its end is an error.
package peertest
