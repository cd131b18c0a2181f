// Package accounts knows who may submit mail: names, passwords, application
// tokens, allowed senders, limits; and the SASL mechanisms by which a client
// proves who it is.
//
// Read accounts.go, then check.go (the one place where a password is judged),
// then sasl.go. Accounts come from two sources that are merged: the
// configuration (declared) and a durable table that commands change. A declared
// account wins over one of the same name in the table, and says so.
//
// It may not know SMTP sessions, listeners, messages or other rooms: the table,
// the HTTP client and the server's certificate come through needs.go.
//
// RFCs: 4422 (SASL, EXTERNAL), 4616 (PLAIN), 5802 and 7677 (SCRAM-SHA-256),
// 9266 and 5929 (channel bindings), 7628 (OAUTHBEARER), 7662 (introspection),
// 7519 and 9068 (JWT), 4954 (the replies), 9106 (argon2id). Standards §6, §22.
//
// Invariants: an unknown user, a wrong password and a revoked token get the
// same reply after the same number of hash computations (AUTH-14); at most
// Config.Slots argon2 computations run at once, whatever the flood; no secret
// is kept in clear, returned twice, or put into an error or event.
package accounts
