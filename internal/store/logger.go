package store

import (
	"fmt"
	"time"
)

// deleteRangeFlushDelay is how long a deleted range may keep its space.
const deleteRangeFlushDelay = 10 * time.Second

// logger keeps Pebble quiet: its troubles go to Options.Trouble, the rest nowhere.
type logger struct{ db *DB }

func (logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	l.db.trouble(fmt.Errorf("store: "+format, args...))
}

// Fatalf must not return. In a writer's goroutine the panic ends in guard; in
// one of Pebble's own (a manifest that cannot be written) it ends the process,
// which is the fail-stop Pebble itself has by default.
func (l logger) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}
