// Package console is the web page of "paquebot dev" and its JSON interface:
// the caught mail, the dialogue that brought it, the sessions that failed.
//
// Read console.go first (the routes are one table), then guard.go for who may
// ask and frame.go for how a hostile mail is shown.
//
// It may not know SMTP, queues or disks. It reads catch.Store and changes
// nothing but by deleting from it. It fetches nothing from anywhere.
//
// Invariants: only Host names that are known are answered (DNS rebinding); a
// request that changes something comes from our own page or from no page; a
// mail's HTML is only ever served under a policy that runs no script, sends no
// form and, unless a person asked, loads nothing remote; every answer, search
// and stream is bounded.
package console
