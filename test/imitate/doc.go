// Package imitate holds test servers that answer as large providers document
// it: Amazon SES, Mailgun, SendGrid, PowerMTA and Microsoft 365, each on the
// ports it publishes, with its greeting, EHLO, sign-in, quotas, throttles and
// refusals. They keep the mail they take, so that a test can count it.
//
// It knows SMTP from scratch (server.go): an imitation built on our own engine
// would share its mistakes. It imports nothing of the house.
//
// Read server.go first, then one provider. Each says where its words are from;
// what nobody documents says so.
//
// RFC 5321, 3207, 4954, 3030; XOAUTH2 as Microsoft and Google describe it.
//
// Invariant: an imitation never takes a password over a connection in clear
// without writing it down as an offence (Server.Offences).
package imitate
