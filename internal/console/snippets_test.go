package console_test

import (
	"strconv"
	"strings"
	"testing"

	"paquebot/internal/console"
)

// Each port that listens has a block, with its own number and nobody else's.
func TestSnippets(t *testing.T) {
	const ca = "http://localhost:8025/ca.pem"
	got := console.Snippets(console.Ports{Submission: 40587, MX: 40025}, ca)
	if len(got) != 2 || got[0].Port != 40587 || got[1].Like != 25 {
		t.Fatalf("%+v", got)
	}
	for _, s := range console.Snippets(ports, ca) {
		if !strings.Contains(s.Text, itoa(s.Port)) || strings.HasSuffix(s.Text, "\n") || s.Tool == "" || s.What == "" {
			t.Errorf("%+v", s)
		}
		if s.Like != 25 && s.Tool != "swaks" && !strings.Contains(s.Text, ca) { // what checks certificates must be told whom to trust
			t.Errorf("port %d: no CA in %s", s.Port, s.Text)
		}
		for line := range strings.SplitSeq(s.Text, "\n") {
			if len(line) > 92 { // fits a terminal beside a margin
				t.Errorf("port %d: a line of %d characters: %s", s.Port, len(line), line)
			}
		}
	}
}

func itoa(n uint16) string { return strconv.Itoa(int(n)) }
