// Command paquebot is the mail transfer system: `paquebot dev` catches mail on
// a laptop, `paquebot serve` is the server, and the other commands look at it,
// move its queue, and explain.
//
// Each subcommand is a type with a Run method in a file of its own name; read
// main.go first. Answers go to standard output, all else to standard error;
// errors are `paquebot: WHAT: WHY` with the remedy last (errors.go).
//
// It may not know how mail is handled: that is introduced in internal/node.
package main
