package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"paquebot/internal/config"
)

// A log that is read by a machine holds nothing else.
func TestProblemsAreLogLinesWhereTheLogIsJSON(t *testing.T) {
	problems := []config.Problem{{Severity: config.Warn, Key: "tls", Message: "no certificate", Remedy: "add one"}, {Severity: config.Warn, Message: "x"}}
	c := config.Default()
	var b bytes.Buffer
	tellProblems(&b, c, problems)
	if !strings.HasPrefix(b.String(), "warn ") {
		t.Error(b.String())
	}
	b.Reset()
	c.Log.Format = "json"
	tellProblems(&b, c, problems)
	if strings.Count(b.String(), "\n") != 2 {
		t.Error(b.String())
	}
	for l := range strings.Lines(b.String()) {
		if !json.Valid([]byte(l)) {
			t.Error(l)
		}
	}
}
