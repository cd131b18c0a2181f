package smtpclient_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

// EXT-3: many recipients go in groups whose replies fit any socket buffer, the
// content with the last.
func TestManyRecipientsGoInGroups(t *testing.T) {
	const many = 250
	for _, chunking := range []bool{false, true} {
		var text strings.Builder
		for i := range many {
			fmt.Fprintf(&text, "to: r%d@there.example\n", i)
		}
		text.WriteString("S: 220 there.example\nC: EHLO here.example\nS: 250-there.example\n")
		if chunking {
			text.WriteString("S: 250-CHUNKING\n")
		}
		text.WriteString("S: 250 PIPELINING\n")
		for from := 0; from < many; from += 100 {
			to := min(from+100, many)
			if from == 0 {
				text.WriteString("C: MAIL FROM:<a@here.example>\n")
			}
			for i := from; i < to; i++ {
				fmt.Fprintf(&text, "C: RCPT TO:<r%d@there.example>\n", i)
			}
			last := to == many
			if last && !chunking {
				text.WriteString("C: DATA\n")
			} else if last {
				text.WriteString("C: BDAT 18 LAST\nB: 18\n")
			}
			if from == 0 {
				text.WriteString("S: 250 ok\n")
			}
			for i := from; i < to; i++ {
				if i%2 == 0 {
					text.WriteString("S: 250 ok\n")
				} else {
					text.WriteString("S: 550 5.1.1 no such user\n")
				}
			}
		}
		if !chunking {
			text.WriteString("S: 354 go\nD:\n")
		}
		text.WriteString("S: 250 2.0.0 queued\nC: QUIT\nS: 221 bye\n")
		s := readScene(t, text.String())
		s.name = fmt.Sprint("chunking ", chunking)
		synctest.Test(t, s.play)
		for i, line := range s.got {
			want := "said dot 250 2.0.0 queued"
			if i%2 == 1 {
				want = "said rcpt 550"
			}
			if !strings.Contains(line, want) {
				t.Fatalf("%s: %s", s.name, line)
			}
		}
	}
}
