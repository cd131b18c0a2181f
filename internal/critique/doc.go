// Package critique says what production would say of a message before it is
// sent there: what mailbox providers ask for and would miss, what RFC 5322
// forbids, what would be too big for whom, and which parts of its HTML which
// mail programs do not show.
//
// It is pure: it reads a message and data that is part of the program, fetches
// nothing and asks nobody. What cannot be known from the message alone (whether
// a relay will sign it, whether a key is published) it says as a condition.
//
// Read critique.go first: the list of rules is the whole of what is judged.
// html.go holds HTML and CSS against caniemail.json.gz, the data of
// caniemail.com (MIT licence, see caniemail.LICENSE; "last_update_date" in it
// is its date).
//
// It may not know where mail is kept, or configuration.
//
// RFCs: 5322, 5321 (line length), 2369 and 8058 (unsubscribe), 7489 and its
// successor (alignment), 2045 (transfer encodings), 3986 (links).
//
// Invariants: any message gives an answer, in bounded time and memory; a
// finding says what is wrong, who says so, and what to do.
package critique
