package spool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// Report is what Check found.
type Report struct {
	Segments int
	Records  int64
	Octets   int64 // of the journal
	Torn     int64 // octets of an unacknowledged tail
	Messages int64 // unfinished
	Problems []Problem
}

// Problem is something that is not as it must be.
type Problem struct {
	Where string
	What  string
	// Repaired says what mends it, "" if nothing brings it back.
	Repair string
}

// problemsMax bounds a report: a broken disk repeats itself.
const problemsMax = 1000

func (r *Report) problem(where, what, repair string) {
	if len(r.Problems) < problemsMax {
		r.Problems = append(r.Problems, Problem{where, what, repair})
	}
}

const (
	repairReindex = "paquebot spool reindex"
	checkIndexDir = "index-check"
)

// Check reads all of a stopped spool: every record of the journal, every
// message's content, and whether the index says what the journal does. It
// changes nothing that counts. ErrLocked: the server is running. progress, if
// not nil, is told now and then which share of the work is done.
func Check(ctx context.Context, o Options, progress func(done float64)) (*Report, error) {
	if progress == nil {
		progress = func(float64) {}
	}
	r := new(Report)
	j, err := prepare(o)
	if err != nil {
		return nil, err
	}
	defer func() { _ = j.shut() }() // nothing was written
	if err := j.listSegments(); err != nil {
		if !errors.Is(err, ErrDamaged) {
			return nil, err
		}
		r.problem("journal", err.Error(), "")
		return r, nil
	}
	if err := r.readAll(ctx, j, progress); err != nil {
		return nil, err
	}
	return r, r.compare(ctx, j)
}

// readAll reads every record.
func (r *Report) readAll(ctx context.Context, j *Journal, progress func(float64)) error {
	ns := j.numbers()
	r.Segments = len(ns)
	for i, n := range ns {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := j.measure(ns, i); err != nil {
			return err
		}
		if err := r.readSegment(j, j.segments[n], i == len(ns)-1); err != nil {
			return err
		}
		progress(float64(i+1) / float64(len(ns)) / 2)
	}
	return nil
}

func (r *Report) readSegment(j *Journal, s *segment, last bool) error {
	f, err := j.fs.Open(j.fs.PathJoin(j.dir, segmentName(s.number)))
	if err != nil {
		return err
	}
	defer f.Close()
	sc := newScanner(f, s.header, 0)
	known := !last && j.endKnown(s)
	if known {
		sc.limit = s.end
	}
	for {
		rec, ok, err := sc.next()
		if err != nil {
			r.problem(segmentName(s.number), err.Error(), "")
			return nil
		}
		if ok {
			r.Records++
			r.Octets += rec.size()
			if _, err := parseOp(&rec); err != nil {
				r.problem(rec.pos.String(), err.Error(), "")
			}
			continue
		}
		if known && sc.off >= s.end {
			return nil
		}
		beyond, found, err := sc.beyond()
		switch {
		case err != nil:
			r.problem(segmentName(s.number), err.Error(), "")
			return nil
		case !found && !known:
			r.Torn += max(s.end-sc.off, 0)
			return nil
		case !found:
			r.problem(at(s.number, sc.off).String(), "records up to the segment's end cannot be read", "")
			return nil
		}
		r.problem(at(s.number, sc.off).String(), fmt.Sprintf("%d octets cannot be read", beyond-sc.off), "")
		sc.off, sc.whole = beyond, true
	}
}

// compare builds an index from the journal beside the one there is, and reads
// each message that it knows.
func (r *Report) compare(ctx context.Context, j *Journal) error {
	dir := j.fs.PathJoin(j.opt.Dir, checkIndexDir)
	if err := j.fs.RemoveAll(dir); err != nil {
		return err
	}
	defer func() { _ = j.fs.RemoveAll(dir) }() // the next Check removes it as well
	j.opt.Salvage, j.opt.Events = true, event.Discard
	j.opt.HotMessages = -1 // everything goes to the index, so that two can be compared
	var old *index
	if j.trusted() {
		if err := j.replayAll(new(event.SpoolRecovered)); err != nil {
			r.problem("index", err.Error(), repairReindex)
		} else {
			old = j.idx
		}
	} else if !j.indexUnwritten() {
		r.problem("index", "it cannot be used", repairReindex)
	}
	if old != nil {
		defer old.db.Close()
	}
	x, err := openIndex(j.fs, dir, j.opt.IndexCache)
	if err != nil {
		return err
	}
	j.idx = x // closed by shut
	j.forget()
	if err := j.replayAll(new(event.SpoolRecovered)); err != nil {
		return err
	}
	if old != nil {
		if err := r.differences(old, x); err != nil {
			return err
		}
	}
	return r.readMessages(ctx, j)
}

// indexUnwritten reports an index that is whole and holds nothing yet: a young
// spool was killed before the index was first written out. The next start reads
// the journal from its beginning, which is no trouble.
func (j *Journal) indexUnwritten() bool {
	if _, err := j.fs.Stat(j.fs.PathJoin(j.opt.Dir, distrustTag)); err == nil {
		return false
	}
	x, err := openIndex(j.fs, j.fs.PathJoin(j.opt.Dir, indexDir), j.opt.IndexCache)
	if err != nil {
		return false
	}
	defer x.db.Close()
	meta, err := x.get([]byte{keyMeta})
	return err == nil && meta == nil
}

// differences walks the two indexes side by side.
func (r *Report) differences(old, fresh *index) error {
	a, err := old.db.NewIter(&pebble.IterOptions{UpperBound: []byte{keyMessage + 1}, LowerBound: []byte{keyMessage}})
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := fresh.db.NewIter(&pebble.IterOptions{UpperBound: []byte{keyMessage + 1}, LowerBound: []byte{keyMessage}})
	if err != nil {
		return err
	}
	defer b.Close()
	okA, okB := a.First(), b.First()
	for okA || okB {
		c := 0
		switch {
		case !okA:
			c = 1
		case !okB:
			c = -1
		default:
			c = bytes.Compare(a.Key(), b.Key())
		}
		switch {
		case c < 0:
			r.problem(keyName(a.Key()), "in the index, not in the journal", repairReindex)
		case c > 0:
			r.problem(keyName(b.Key()), "in the journal, not in the index", repairReindex)
		case !sameMessage(a.Value(), b.Value()):
			r.problem(keyName(a.Key()), "the index has it otherwise than the journal", repairReindex)
		}
		if c <= 0 {
			okA = a.Next()
		}
		if c >= 0 {
			okB = b.Next()
		}
	}
	if err := errors.Join(a.Error(), b.Error()); err != nil {
		r.problem("index", err.Error(), repairReindex)
		return nil
	}
	return r.differentPlaces(old, fresh)
}

// differentPlaces compares the lines, the held and the loose.
func (r *Report) differentPlaces(old, fresh *index) error {
	for _, prefix := range []byte{keyWaiting, keyHeld, keyLoose} {
		for _, pair := range []struct {
			in, other *index
			what      string
		}{{old, fresh, "a place in the index that nobody has"}, {fresh, old, "a place that the index lacks"}} {
			err := pair.in.all([]byte{prefix}, func(key, _ []byte) error {
				_, c, err := pair.other.db.Get(key)
				if errors.Is(err, pebble.ErrNotFound) {
					r.problem(fmt.Sprintf("%c %q", prefix, key[1:]), pair.what, repairReindex)
					return nil
				}
				if err != nil {
					return err
				}
				return c.Close()
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func keyName(key []byte) string { return mail.ID(key[1:]).String() }

// sameMessage compares two values but for asOf.
func sameMessage(a, b []byte) bool {
	return len(a) >= 8 && len(b) >= 8 && bytes.Equal(a[8:], b[8:])
}

// readMessages reads the content of every unfinished message.
func (r *Report) readMessages(ctx context.Context, j *Journal) error {
	for env, err := range j.Each(ctx, mail.ID{}) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.problem("envelope", err.Error(), "")
			continue
		}
		r.Messages++
		body, err := j.Content(ctx, env.ID)
		if err == nil {
			_, err = io.Copy(io.Discard, mail.Reader(body))
			err = errors.Join(err, body.Close())
		}
		if err != nil {
			r.problem(env.ID.String(), "its content cannot be read: "+err.Error(), "")
		}
	}
	return nil
}

// Reindex makes a new index of a stopped spool's journal.
func Reindex(o Options) error {
	j, err := prepare(o)
	if err != nil {
		return err
	}
	err = j.listSegments()
	if err == nil {
		err = j.newIndex()
	}
	if err == nil {
		err = j.replayAll(new(event.SpoolRecovered))
	}
	if err == nil {
		err = j.idx.db.Flush()
	}
	return errors.Join(err, j.shut())
}

// Export writes every unfinished message of a stopped spool to dir: ID.eml as
// it was received and ID.json with its envelope. It goes on over messages that
// cannot be read, and returns how many were written with the errors of those
// that were not.
func Export(ctx context.Context, o Options, dir string) (written int, err error) {
	o.Salvage = true
	j, err := Open(o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	for env, e := range j.Each(ctx, mail.ID{}) {
		if ctx.Err() != nil {
			return written, errors.Join(err, ctx.Err())
		}
		if e == nil {
			e = j.export(ctx, env, filepath.Join(dir, env.ID.String()))
		}
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		written++
	}
	return written, err
}

func (j *Journal) export(ctx context.Context, env *mail.Envelope, name string) error {
	body, err := j.Content(ctx, env.ID)
	if err != nil {
		return fmt.Errorf("%v: %w", env.ID, err)
	}
	defer body.Close()
	text, err := json.MarshalIndent(env, "", "  ")
	if err != nil {
		return fmt.Errorf("%v: %w", env.ID, err)
	}
	if err := os.WriteFile(name+".json", append(text, '\n'), 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(name+".eml", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, mail.Reader(body))
	return errors.Join(err, f.Close())
}
