package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// smtpSink starts Postfix's smtp-sink at a place of its own, with the options
// that make it misbehave. It dumps what it gets into dumps(place).
func smtpSink(t *testing.T, options ...string) place {
	t.Helper()
	p := newPlace(t)
	smtpSinkAt(t, p, options...)
	return p
}

func smtpSinkAt(t *testing.T, p place, options ...string) {
	t.Helper()
	w := need(t)
	dir := dumps(w, p)
	check(t, os.MkdirAll(dir, 0o755))
	check(t, own(dir, "nobody"))
	args := append([]string{"smtp-sink", "-u", "nobody", "-v", "-h", "mx." + p.domain, "-d", dir + "/message."}, options...)
	check(t, w.spawn("sink-"+p.domain, w.there(context.Background(), append(args, p.addr+":25", "100")...)))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	check(t, answers(ctx, p.addr+":25"))
}

func dumps(w *world, p place) string { return filepath.Join(w.dir, "sink-"+p.domain) }

// dumped returns the messages a sink got that hold all the words, with
// smtp-sink's own header lines (X-Mail-Args, X-Rcpt-Args, X-Client-Proto) first.
func dumped(t *testing.T, p place, words ...string) []string {
	t.Helper()
	files, err := filepath.Glob(dumps(need(t), p) + "/*")
	check(t, err)
	var got []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		check(t, err)
		if s := strings.ReplaceAll(string(b), "\r\n", "\n"); containsAll(s, words) {
			got = append(got, s)
		}
	}
	return got
}
