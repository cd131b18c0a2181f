package catch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paquebot/internal/mail"
)

func FuzzScanSegment(f *testing.F) {
	var b bytes.Buffer
	meta, _ := json.Marshal(record{Message: Message{ID: mail.ID{9: 1}, Seq: 1, Mailbox: "app"}})
	if err := writeRecord(&b, kindMessage, meta, strings.NewReader("hello"), 5); err != nil {
		f.Fatal(err)
	}
	meta, _ = json.Marshal(deletion{IDs: []mail.ID{{9: 1}}, Before: 2})
	if err := writeRecord(&b, kindDelete, meta, nil, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()-3])
	rotten := bytes.Clone(b.Bytes())
	rotten[recordHead] ^= 1
	f.Add(rotten)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var last int64
		sound, err := scan(bufio.NewReader(bytes.NewReader(raw)), func(_ byte, at place, meta []byte) {
			if at.offset < last || // more: a damaged one was stepped over
				int64(len(meta)) != at.metaSize || at.bodySize < 0 {
				t.Fatalf("%+v after %d", at, last)
			}
			last = at.offset + at.total()
		})
		if sound != last || sound > int64(len(raw)) || err != nil && err != errTorn && err != errDamaged || err == nil && sound != int64(len(raw)) {
			t.Fatal(sound, err)
		}
	})
}

// A disk that refuses leaves no half record behind: what comes later is found.
func TestFailedWriteLeavesNothing(t *testing.T) {
	s, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	short := strings.NewReader("cut")
	s.mu.Lock()
	_, err = s.appendRecord(kindMessage, record{}, short, 100)
	size := s.active.size
	s.mu.Unlock()
	if err == nil || size != 0 {
		t.Fatal(err, size)
	}
	st, err := os.Stat(filepath.Join(s.config.Dir, filepath.Base(s.active.path)))
	if err != nil || st.Size() != 0 {
		t.Error(st.Size(), err)
	}
}
