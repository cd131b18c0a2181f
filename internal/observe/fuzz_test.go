package observe

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Whatever a peer says: one line in the log, valid JSON in the history, no
// control character anywhere.
func FuzzFacts(f *testing.F) {
	f.Add("anna@example.org", "450 Greylisted")
	f.Add("\r\nmsg=forged\x1b[2J", "\u2028\xff\x00\"\\")
	f.Add(strings.Repeat("é", 600), strings.Repeat("@", 300))
	f.Fuzz(func(t *testing.T, a, b string) {
		e := event.AuthFailed{Origin: mail.Origin{Helo: a, Name: b}, User: a, Reason: b, Reply: smtp.Reply{Code: 535, Text: a, Cause: errors.New(b)}}
		for _, facts := range []*Facts{{}, {Detail: true}, {Private: true}} {
			attrs := facts.Of(e, nil)
			for _, at := range attrs {
				s := at.Value.String()
				if strings.ContainsFunc(s, isUnsafe) || !utf8.ValidString(s) {
					t.Errorf("%s=%q", at.Key, s)
				}
			}
			value := appendEntry(nil, e.Name(), attrs)
			var doc map[string]any
			if err := json.Unmarshal(value[len(e.Name())+1:], &doc); err != nil || len(doc) != len(attrs) {
				t.Errorf("%v: %s", err, value)
			}
			var key [22]byte
			if got, ok := decodeEntry(key[:], value); !ok || got.Type != e.Name() {
				t.Errorf("%q", value)
			}
		}
		decodeEntry([]byte(a), []byte(b))
		json := appendValue(nil, slog.AnyValue([]string{a, b}))
		if strings.ContainsAny(string(json), "\n\r") {
			t.Errorf("%q", json)
		}
	})
}
