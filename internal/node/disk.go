package node

import (
	"context"
	"fmt"
	"path/filepath"

	"paquebot/internal/event"
	"paquebot/internal/observe"
	"paquebot/internal/spool"
	"paquebot/internal/store"
)

// Disk is what outlives a reload: it is opened once, at start.
type Disk struct {
	Dir     string
	Spool   spool.Spool
	Tables  *store.DB // accounts, rules: synced
	Past    *store.DB // history, counters: not synced
	History *observe.History
}

// Folders of the data directory.
const (
	spoolDir  = "spool"
	tablesDir = "tables"
	pastDir   = "history"
	catchDir  = "caught"
)

// openDisk opens everything under dir. Events of the opening go to ev; the
// history cannot hear them, it is being opened itself.
func openDisk(w World, dir string, o spool.Options, h observe.HistoryConfig, ev event.Sink) (*Disk, error) {
	d := &Disk{Dir: dir}
	trouble := func(name string) func(error) {
		return func(err error) {
			ev.Emit(event.SpoolTroubled{Operation: name, Error: err.Error(), Stopped: true})
		}
	}
	o.FS, o.Dir, o.Random, o.Events = w.FS, filepath.Join(dir, spoolDir), w.Rand, ev
	journal, err := spool.Open(o)
	if err != nil {
		return nil, fmt.Errorf("cannot open the spool in %s: %w", o.Dir, err)
	}
	d.Spool = journal
	if d.Tables, err = store.Open(w.FS, filepath.Join(dir, tablesDir), store.Options{Trouble: trouble("tables")}); err != nil {
		d.Close()
		return nil, err
	}
	if d.Past, err = store.Open(w.FS, filepath.Join(dir, pastDir), store.Options{NoSync: true, Trouble: trouble("history")}); err != nil {
		d.Close()
		return nil, err
	}
	d.History = observe.NewHistory(d.Past, h)
	return d, nil
}

// Close closes all that is open, in the reverse order. The error is that of
// the first that could not be closed.
func (d *Disk) Close() error {
	var first error
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	if d.History != nil {
		d.History.Close()
	}
	if d.Past != nil {
		note(d.Past.Close())
	}
	if d.Tables != nil {
		note(d.Tables.Close())
	}
	if d.Spool != nil {
		note(d.Spool.Close())
	}
	return first
}

// ruleTable keeps the operator's rules (queue.RuleStore).
type ruleTable struct{ table *store.Table }

var rulesKey = []byte("rules")

// Load implements queue.RuleStore.
func (t ruleTable) Load(context.Context) ([]byte, error) {
	rules, _, err := t.table.Get(rulesKey)
	return rules, err
}

// Save implements queue.RuleStore.
func (t ruleTable) Save(_ context.Context, rules []byte) error { return t.table.Put(rulesKey, rules) }
