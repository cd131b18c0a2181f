package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// diagnosis is what the doctor said, as its JSON has it (DIAG-83).
type diagnosis struct {
	Schema  string   `json:"schema"`
	Reports []report `json:"reports"`

	code   int
	took   time.Duration
	stdout string
	stderr string
}

type report struct {
	Target   string `json:"target"`
	Findings []struct {
		ID         string `json:"id"`
		Confidence string `json:"confidence"`
		Text       string `json:"text"`
	} `json:"findings"`
	Checks []struct {
		Name string `json:"name"`
		Word string `json:"word"`
		Text string `json:"text"`
	} `json:"checks"`
	Observations []struct {
		Host string `json:"host"`
		Port uint16 `json:"port"`
	} `json:"observations"`
	VerdictID   string `json:"verdict_id"`
	Confidence  string `json:"confidence"`
	Recommended *struct {
		Host string `json:"host"`
		Port uint16 `json:"port"`
		Mode string `json:"mode"`
	} `json:"recommended"`
	InsecureOnly bool `json:"insecure_only"`
}

// doctor runs the real binary at the client of a site.
func (s *site) doctor(t *testing.T, args ...string) diagnosis {
	t.Helper()
	if out, _, code, err := s.run(t.Context(), s.w.bin, "doctor", "--help"); err != nil || code != 0 {
		t.Fatalf("this binary has no doctor: exit %d, %v\n%s", code, err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
	defer cancel()
	line := append([]string{s.w.bin, "doctor"}, args...)
	line = append(line, "--json")
	began := time.Now()
	out, errs, code, err := s.run(ctx, line...)
	d := diagnosis{code: code, took: time.Since(began), stdout: string(out), stderr: string(errs)}
	if err != nil {
		t.Fatalf("doctor %s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatalf("doctor %s: exit %d, no JSON: %v\n%s\n%s", strings.Join(args, " "), code, err, out, errs)
	}
	if os.Getenv("LAB_SHOW") != "" {
		s.show(t, args)
	}
	return d
}

// show writes what a person would see into the run's folder.
func (s *site) show(t *testing.T, args []string) {
	out, _, _, _ := s.run(t.Context(), append([]string{s.w.bin, "doctor"}, args...)...)
	name := filepath.Join(os.Getenv("LAB_SHOW"), strings.NewReplacer(" ", "-", ",", "", "/", "-", "'", "").Replace(s.name)+".txt")
	_ = os.WriteFile(name, append([]byte("$ paquebot doctor "+strings.Join(args, " ")+"\n"), out...), 0o644)
}

// confidences in rising order.
var confidences = []string{"", "unknown", "likely", "proven"}

// rows returns every row that was named, the verdict's among them, with the
// highest confidence it was named with.
func (d diagnosis) rows() map[string]string {
	rows := map[string]string{}
	note := func(id, confidence string) {
		if id != "" && slices.Index(confidences, confidence) > slices.Index(confidences, rows[id]) {
			rows[id] = confidence
		}
	}
	for _, r := range d.Reports {
		for _, f := range r.Findings {
			note(f.ID, f.Confidence)
		}
		note(r.VerdictID, r.Confidence)
	}
	return rows
}

// wants compares what was named with what must be, "DIAG-34 likely": at least
// that sure.
func (d diagnosis) wants(rows ...string) []string {
	var wrong []string
	got := d.rows()
	for _, want := range rows {
		id, confidence, _ := strings.Cut(want, " ")
		switch has, ok := got[id]; {
		case !ok:
			wrong = append(wrong, id+" was not named")
		case slices.Index(confidences, has) < slices.Index(confidences, confidence):
			wrong = append(wrong, fmt.Sprintf("%s is only %s, want %s", id, has, confidence))
		}
	}
	return wrong
}

// check returns the word of the first check of that name; "" if there is none.
func (d diagnosis) check(name string) string {
	for _, r := range d.Reports {
		for _, c := range r.Checks {
			if c.Name == name {
				return c.Word
			}
		}
	}
	return ""
}

// endpoints lists what was looked at, sorted.
func (d diagnosis) endpoints() []string {
	var out []string
	for _, r := range d.Reports {
		for _, o := range r.Observations {
			if at := fmt.Sprintf("%s:%d", o.Host, o.Port); !slices.Contains(out, at) {
				out = append(out, at)
			}
		}
	}
	slices.Sort(out)
	return out
}
