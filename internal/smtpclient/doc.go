// Package smtpclient speaks SMTP and LMTP to the next hop over a connection it
// is given: greeting, EHLO, STARTTLS, AUTH, then any number of transactions.
//
// It says what happened, never what to do about it: an Answer per recipient
// has the stage, the peer's reply and the kind of trouble, and
// deliver/reach.go judges. Read client.go, then send.go; content.go decides in
// which form a message may go to this peer, data.go moves the octets.
//
// It may not know DNS, routes, queues, retries or other hosts.
//
// RFCs: 5321 §4.5.3.2 (timeouts), 3207 (STARTTLS), 4954, 4616, 5802, 7677,
// 2195, 4422, 5929, 7628, 9266 (AUTH), 2920 (PIPELINING), 3030 (CHUNKING, BINARYMIME), 1870
// (SIZE), 6152 (8BITMIME), 6531 (SMTPUTF8), 3461 (DSN), 2852 (DELIVERBY), 6710
// (MT-PRIORITY), 8689 (REQUIRETLS), 9422 (LIMITS), 2033 (LMTP).
//
// Invariants: every read and every write has its own deadline (§13.1, TRAP-7);
// what was learnt before a TLS handshake is forgotten after it (TLS-9); the
// demanded security is never lowered (P4); a reply is read to its last line
// (CLI-34); no bare CR or LF leaves unless the content is BINARYMIME (P5).
package smtpclient
