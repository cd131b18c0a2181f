// Package pop3 lets a mail program read caught mail: a POP3 server over a
// mailbox at a time, for people who want to see a message in the program its
// receiver will use.
//
// The user name is the mailbox, as it is for sending; "all" reads every one.
// Any password is taken but "wrong", for nothing here is secret: the server
// speaks to loopback unless told otherwise, and a client from elsewhere must use
// TLS before it may log in.
//
// Read server.go first, then session.go for the dialogue.
//
// It may not know how mail is kept or caught, nor SMTP.
//
// RFCs: 1939 (POP3), 2449 (CAPA, response codes), 2595 (STLS), 6856 (UTF8), 8314 (a clear
// port is for loopback alone).
//
// Invariants: a session sees the mailbox as it was when it logged in; messages
// go only at QUIT; lines, sessions and time are bounded; what a client sends is
// never believed to be shorter than its bound.
package pop3
