package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Table is a name space of a DB: keys in byte order, each with a value. It is
// safe for concurrent use. Keys and values given are copied, never kept.
type Table struct {
	db     *DB
	prefix []byte // name and a NUL, which no name holds
	write  *pebble.WriteOptions
}

// Unsynced returns the same table with writes that do not wait for the disk,
// whatever the DB does: counters and the like.
func (t *Table) Unsynced() *Table {
	return &Table{db: t.db, prefix: t.prefix, write: pebble.NoSync}
}

// Get returns the value of key, the caller's to keep, and whether there is one.
func (t *Table) Get(key []byte) (value []byte, ok bool, err error) {
	if err := t.db.usable(); err != nil {
		return nil, false, err
	}
	v, closer, err := t.db.peb.Get(t.full(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("store: %w", err)
	}
	defer closer.Close()
	return bytes.Clone(v), true, nil
}

// Put sets the value of key.
func (t *Table) Put(key, value []byte) error {
	if err := t.db.usable(); err != nil {
		return err
	}
	return t.db.guard(func() error { return t.db.peb.Set(t.full(key), value, t.write) })
}

// Delete removes key; that there is none is no error.
func (t *Table) Delete(key []byte) error {
	if err := t.db.usable(); err != nil {
		return err
	}
	return t.db.guard(func() error { return t.db.peb.Delete(t.full(key), t.write) })
}

// DeleteRange removes all keys k with from <= k < to, at the cost of one
// write. A nil to means to the table's end.
func (t *Table) DeleteRange(from, to []byte) error {
	if err := t.db.usable(); err != nil {
		return err
	}
	low, high := t.span(from, to)
	return t.db.guard(func() error { return t.db.peb.DeleteRange(low, high, t.write) })
}

// Each yields the keys that begin with prefix and their values, in key order,
// until yield returns false. What is written meanwhile is not seen. The slices
// are valid only within that call of yield.
func (t *Table) Each(prefix []byte, yield func(key, value []byte) bool) error {
	return t.scan(t.full(prefix), successor(t.full(prefix)), false, yield)
}

// Range yields as Each does all keys k with from <= k < to; a nil to means to
// the table's end.
func (t *Table) Range(from, to []byte, yield func(key, value []byte) bool) error {
	low, high := t.span(from, to)
	return t.scan(low, high, false, yield)
}

// Backward yields what Range does, the last key first.
func (t *Table) Backward(from, to []byte, yield func(key, value []byte) bool) error {
	low, high := t.span(from, to)
	return t.scan(low, high, true, yield)
}

func (t *Table) scan(low, high []byte, backward bool, yield func(key, value []byte) bool) (err error) {
	if err := t.db.usable(); err != nil {
		return err
	}
	it, err := t.db.peb.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: high})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer func() {
		if e := it.Close(); e != nil && err == nil {
			err = fmt.Errorf("store: %w", e)
		}
	}()
	first, next := it.First, it.Next
	if backward {
		first, next = it.Last, it.Prev
	}
	for ok := first(); ok; ok = next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		if !yield(it.Key()[len(t.prefix):], value) {
			return nil
		}
	}
	return nil
}

func (t *Table) full(key []byte) []byte {
	return append(t.prefix[:len(t.prefix):len(t.prefix)], key...)
}

func (t *Table) span(from, to []byte) (low, high []byte) {
	if to == nil {
		return t.full(from), successor(t.prefix)
	}
	return t.full(from), t.full(to)
}

// successor returns the least key greater than all that begin with p; nil if
// there is none (which a table's prefix never meets, its name being ASCII).
func successor(p []byte) []byte {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != 0xff {
			s := bytes.Clone(p[:i+1])
			s[i]++
			return s
		}
	}
	return nil
}

// Batch collects writes to any tables of one DB, for Update.
type Batch struct{ peb *pebble.Batch }

// Put sets the value of key in t.
func (b *Batch) Put(t *Table, key, value []byte) error {
	return b.peb.Set(t.full(key), value, nil)
}

// Delete removes key from t.
func (b *Batch) Delete(t *Table, key []byte) error {
	return b.peb.Delete(t.full(key), nil)
}

// DeleteRange removes all keys k of t with from <= k < to; a nil to means to
// the table's end.
func (b *Batch) DeleteRange(t *Table, from, to []byte) error {
	low, high := t.span(from, to)
	return b.peb.DeleteRange(low, high, nil)
}

// Size is the batch's size so far, in octets.
func (b *Batch) Size() int { return b.peb.Len() }
