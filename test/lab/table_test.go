package lab

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// standard is every row of standards §24.2 to §24.4.
func standard() []string {
	var rows []string
	for _, span := range [][2]int{{10, 23}, {30, 49}, {60, 72}} {
		for n := span[0]; n <= span[1]; n++ {
			rows = append(rows, fmt.Sprintf("DIAG-%d", n))
		}
	}
	return rows
}

// cannotAppear are parts of rows that no laboratory on Linux can make, with the
// reason. The rows themselves appear in another form.
var cannotAppear = map[string]string{
	"DIAG-19 (Windows 10013)": "WSAEACCES is Windows' own; EACCES and EPERM of the same row appear here",
}

// ledger is which rows have appeared, of all experiments.
type ledger struct {
	mu    sync.Mutex
	rows  map[string][]string // by row, the experiments
	times map[string]time.Duration
}

var seen = ledger{rows: map[string][]string{}, times: map[string]time.Duration{}}

func (l *ledger) note(experiment string, took time.Duration, rows []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times[experiment] = took
	for _, r := range rows {
		id, _, _ := strings.Cut(r, " ")
		l.rows[id] = append(l.rows[id], experiment)
	}
}

// TestEveryRow makes each fault and holds that the doctor names it (DIAG-84).
func TestEveryRow(t *testing.T) {
	w := need(t)
	began := time.Now()
	all := experiments(w)
	t.Run("experiments", func(t *testing.T) {
		for n, e := range all {
			t.Run(e.name, func(t *testing.T) {
				t.Parallel()
				e.try(t, w, n)
			})
		}
		t.Run("own server", func(t *testing.T) {
			t.Parallel()
			ownServers(t)
		})
	})
	var missing []string
	covered := 0
	for _, r := range standard() {
		if len(seen.rows[r]) > 0 {
			covered++
		} else {
			missing = append(missing, r)
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(seen.times), func(a, b string) int { return int(seen.times[b] - seen.times[a]) })[:min(5, len(seen.times))] {
		t.Logf("took %4.1f s: %s", seen.times[name].Seconds(), name)
	}
	for part, why := range cannotAppear {
		t.Logf("cannot be made here: %s: %s", part, why)
	}
	t.Logf("rows covered %d / rows in the standard %d, by %d experiments in %.0f s", covered, len(standard()), len(all), time.Since(began).Seconds())
	nothingSent(t, w)
	if len(missing) > 0 {
		t.Errorf("rows that did not appear: %s", strings.Join(missing, ", "))
	}
}

// try makes the fault at a site of its own and asks the doctor.
func (e experiment) try(t *testing.T, w *world, n int) {
	args := slices.Clone(e.args)
	if e.host != nil {
		h, err := w.newHost(hostName(n))
		check(t, err)
		e.host(t, h)
		for i := range args {
			args[i] = strings.Replace(args[i], "HOST", h.name, 1)
		}
	}
	s := newSite(t, e.name)
	if e.set != nil {
		e.set(t, s)
	}
	d := s.doctor(t, args...)
	wrong := d.wants(e.rows...)
	for _, r := range e.not {
		if c, ok := d.rows()[r]; ok {
			wrong = append(wrong, fmt.Sprintf("%s (%s) is a false alarm", r, c))
		}
	}
	if d.code != e.exit {
		wrong = append(wrong, fmt.Sprintf("exit code %d, want %d", d.code, e.exit))
	}
	if len(wrong) > 0 {
		t.Errorf("doctor %s: %s\nnamed: %v\n%s%s", strings.Join(args, " "), strings.Join(wrong, "; "), d.rows(), d.stdout, d.stderr)
		return
	}
	seen.note(e.name, d.took, e.rows)
}

// nothingSent holds, over all experiments, that the doctor sends no mail to
// others, and no password unless told to (DIAG-1).
func nothingSent(t *testing.T, w *world) {
	tried := 0
	for _, name := range w.heard.names() {
		if said := w.heard.by(name, "MAIL", "RCPT", "DATA", "BDAT"); len(said) > 0 {
			t.Errorf("%s heard %q", name, said)
		}
		if said := w.heard.by(name, "AUTH"); len(said) > 0 && name != "smtp.sendgrid.net" {
			t.Errorf("%s heard %q unasked", name, said)
		}
		tried += len(w.heard.by(name, "EHLO"))
	}
	if tried == 0 && len(seen.rows) > 0 {
		t.Error("nobody heard anything: the test is broken")
	}
	t.Logf("%d EHLOs were heard, and no MAIL, RCPT or DATA", tried)
}
