// Package api is the operator's window: HTTP with JSON over a unix socket in
// the data directory. The commands (`paquebot queue`, `trace`, `account`) speak
// it, and so may scripts: curl --unix-socket DATA_DIR/paquebot.sock
// http://paquebot/v1/queue/summary.
//
// Read needs.go (what it asks of the rooms), views.go (every document's shape:
// only ever added to), then server.go. client.go is the other end.
//
// It is plain net/http rather than huma: two dozen routes whose bodies are Go
// structs need one generic helper (route.go), while huma would bring its own
// registry, error format and content negotiation between the shape in views.go
// and what goes over the wire. The description of the API is generated from the
// same table of routes.
//
// It may not know sockets other than its own, the spool's files or SMTP.
// Nobody but root and the server's own user gets an answer: the socket is 0600
// and the peer's credentials are checked besides.
//
// Invariants: every document has a "schema"; durations and sizes carry their
// unit in the name; times are RFC 3339 in UTC; no answer holds a secret, but for
// the one that made it (a generated password or token, shown once).
package api
