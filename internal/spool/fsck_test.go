package spool

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/mail"
)

// filled is a stopped spool with five messages in every state there is.
func filled(t *testing.T) (Options, *model) {
	t.Helper()
	o := smallOptions
	o.FS, o.HotMessages = vfs.NewMem(), -1 // all of it in the index
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	m := &model{messages: map[mail.ID]*modelled{}}
	for n := range 5 {
		if err := m.put(j, n, 2, strings.Repeat("body\r\n", 100*n)); err != nil {
			t.Fatal(err)
		}
	}
	err = m.record(j, testWaits(0, 0, 3), testWaits(1, 0, 4), testWaits(1, 1, 4), testState(2, 0, mail.Held, false), testState(3, 0, mail.Failed, false))
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return o, m
}

func TestCheckFindsNothingInASoundSpool(t *testing.T) {
	o, _ := filled(t)
	for range 2 { // it changes nothing
		r, err := Check(context.Background(), o, nil)
		if err != nil || len(r.Problems) > 0 || r.Messages != 5 || r.Segments == 0 || r.Records < 6 {
			t.Errorf("got %+v, error %v", r, err)
		}
	}
}

func TestCheckComparesIndexAndJournal(t *testing.T) {
	for _, c := range []struct {
		name   string
		break_ func(x *index)
		want   string
	}{
		{"a message missing", func(x *index) { x.db.Delete(messageKey(testID(1)), pebble.NoSync) }, "not in the index"},
		{"a message too many", func(x *index) {
			v, _ := x.get(messageKey(testID(1)))
			x.db.Set(messageKey(testID(900)), v, pebble.NoSync)
		}, "not in the journal"},
		{"a place missing", func(x *index) {
			s := testWaits(1, 0, 4).Standing
			x.db.Delete(standingKey("example.com", 0, testID(1), 0, &s), pebble.NoSync)
		}, "the index lacks"},
		{"a place too many", func(x *index) {
			s := testWaits(1, 0, 99).Standing
			x.db.Set(standingKey("example.com", 0, testID(1), 0, &s), nil, pebble.NoSync)
		}, "nobody has"},
		{"another standing", func(x *index) {
			c, _ := x.message(testID(1))
			c.env.Recipients[0].Tries++
			x.db.Set(messageKey(testID(1)), c.encode(), pebble.NoSync)
		}, "otherwise"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, m := filled(t)
			x, err := openIndex(o.FS, "/spool/index", 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			c.break_(x)
			if err := x.db.Flush(); err != nil {
				t.Fatal(err)
			}
			x.db.Close()
			r, err := Check(context.Background(), o, nil)
			if err != nil || len(r.Problems) == 0 || !strings.Contains(r.Problems[0].What, c.want) {
				t.Errorf("got %+v, error %v", r, err)
			}
			if err := Reindex(o); err != nil {
				t.Fatal(err)
			}
			if r, err := Check(context.Background(), o, nil); err != nil || len(r.Problems) > 0 {
				t.Errorf("after reindexing: %+v, error %v", r, err)
			}
			j, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			if err := check(j, m.clone(), m.clone()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDamagedIndexIsMadeAnew(t *testing.T) {
	for _, c := range []string{"removed", "garbage", "distrusted", "version"} {
		t.Run(c, func(t *testing.T) {
			o, m := filled(t)
			switch c {
			case "removed":
				_ = o.FS.RemoveAll("/spool/index")
			case "garbage":
				names, _ := o.FS.List("/spool/index")
				for _, n := range names {
					f, _ := o.FS.OpenReadWrite("/spool/index/"+n, vfs.WriteCategoryUnspecified)
					_, _ = f.WriteAt(bytes.Repeat([]byte{0xaa}, 2000), 0)
					_ = f.Close()
				}
			case "distrusted":
				f, _ := o.FS.Create("/spool/"+distrustTag, vfs.WriteCategoryUnspecified)
				_ = f.Close()
			case "version":
				x, err := openIndex(o.FS, "/spool/index", 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				_ = x.db.Set([]byte{keyMeta}, []byte{99}, pebble.NoSync)
				_ = x.db.Flush()
				_ = x.db.Close()
			}
			j, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			if err := check(j, m.clone(), m.clone()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestExport(t *testing.T) {
	o, m := filled(t)
	dir := filepath.Join(t.TempDir(), "out")
	n, err := Export(context.Background(), o, dir)
	if err != nil || n != 5 {
		t.Fatalf("%d written, error %v", n, err)
	}
	for id, x := range m.messages {
		b, err := os.ReadFile(filepath.Join(dir, id.String()+".eml"))
		if err != nil || string(b) != x.content {
			t.Errorf("%v.eml: %d octets, want %d, error %v", id, len(b), len(x.content), err)
		}
		text, err := os.ReadFile(filepath.Join(dir, id.String()+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var env struct {
			ID         string
			From       string
			Recipients []struct{ Address, State string }
		}
		if err := json.Unmarshal(text, &env); err != nil || env.ID != id.String() || env.From != "sender@example.com" || len(env.Recipients) != 2 {
			t.Errorf("%v.json: %+v, error %v", id, env, err)
		}
	}
}
