package mail

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"sync"
	"testing"
	"time"
)

func TestIDIsReadBackAsWritten(t *testing.T) {
	g, err := NewIDs(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 14, 2, 11, 345e6, time.UTC)
	id := g.Next(now)
	if got := id.Time(); !got.Equal(now) {
		t.Errorf("time of %s: %v, want %v", id, got, now)
	}
	for _, s := range []string{id.String(), string(bytes.ToLower([]byte(id.String())))} {
		if back, err := ParseID(s); err != nil || back != id {
			t.Errorf("ParseID(%q) = %v, %v", s, back, err)
		}
	}
	out, err := json.Marshal(id)
	if err != nil || string(out) != `"`+id.String()+`"` {
		t.Errorf("JSON %s, %v", out, err)
	}
	var back ID
	if err := json.Unmarshal(out, &back); err != nil || back != id {
		t.Errorf("from JSON %v, %v", back, err)
	}
}

func TestIDsAreDistinctAndOrderedEvenWhenTheClockGoesBack(t *testing.T) {
	g, err := NewIDs(bytes.NewReader(bytes.Repeat([]byte{0xff}, 8))) // the counter wraps at once
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var last ID
	for i := range 1000 {
		id := g.Next(start.Add(time.Duration(-i) * time.Second))
		if id.String() <= last.String() {
			t.Fatalf("%s after %s", id, last)
		}
		last = id
	}
}

func TestIDsAreDistinctAcrossGoroutines(t *testing.T) {
	g, _ := NewIDs(rand.Reader)
	now := time.Now()
	var mu sync.Mutex
	seen := map[ID]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				id := g.Next(now)
				mu.Lock()
				if seen[id] {
					t.Errorf("%s twice", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestParseIDRefuses(t *testing.T) {
	for _, s := range []string{"", "KARQ7M3XZ5V8", "0000000000000000 ", "000000000000000U", "000000000000000-", "../../../etc/pas"} {
		if id, err := ParseID(s); err == nil {
			t.Errorf("ParseID(%q) = %v", s, id)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("3W5A8B00ABCDEFGH")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			return
		}
		if back, err := ParseID(id.String()); err != nil || back != id {
			t.Errorf("%q became %s", s, id)
		}
	})
}
