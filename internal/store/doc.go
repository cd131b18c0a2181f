// Package store keeps small durable tables: accounts, quotas, suppression,
// history. It is Pebble with a few rules on top.
//
// Read store.go, then table.go. A DB is one directory; a Table is a name space
// in it, whose keys no other table can see. Keys and values are bytes; what
// they mean is the owner's business.
//
// It may not know accounts, messages or what any table is for. Message bodies
// never come here: they belong to the spool's journal (design §6.1).
//
// Invariants: a write has survived a power cut when its call returned nil,
// unless the DB was opened with NoSync or the table is Unsynced; then it
// survives a crash of the process once a later synced write or Close returned.
// After the first failed write the DB is stopped and says so in every answer
// (fail-stop: a failed fsync is never retried, its pages may be gone).
package store
