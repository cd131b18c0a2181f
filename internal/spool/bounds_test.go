package spool

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/mail"
)

// P6: what is over is forgotten, however much mail passes and however little of
// it waits. One message that stays is no excuse for long.
func TestPassedMailIsForgotten(t *testing.T) {
	j, err := Open(Options{FS: vfs.NewMem(), Dir: "/spool", HotMessages: 100, manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	m := &model{messages: map[mail.ID]*modelled{}}
	most := 0
	for n := 1; n <= 400; n++ {
		if err := m.put(j, n, 1, "body"); err != nil {
			t.Fatal(err)
		}
		if err := m.finish(j, n); err != nil {
			t.Fatal(err)
		}
		err := j.do(func(*applier) { most = max(most, len(j.withData.refs), len(j.order.refs)) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if most > 200 {
		t.Errorf("%d messages are remembered of those that are over", most)
	}
}
