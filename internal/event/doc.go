// Package event says what happened, once. Every event type of the program is in
// event.go; rooms emit them, and log lines, metrics, traces, the console's live
// view and webhooks are their readers, so these can never disagree.
//
// Names are "room.verb"; durations and sizes carry their unit in the field's
// name; every event about a message has its ID; no secret and no message
// content is ever in an event (the dialogue of a session is redacted first).
//
// It may not know who reads. A Sink must not block: readers that may be slow
// keep a bounded buffer and count what they drop.
package event
