package observe

import (
	"io"
	"testing"
	"time"

	"paquebot/internal/event"
)

// Each accepted message is said about five times; the readers together must
// stay far below the 25 µs of a core that a message may cost (design §9).
func BenchmarkReaders(b *testing.B) {
	accepted := event.MessageAccepted{Envelope: envelope, TookSeconds: .003}
	tried := event.DeliveryTried{ID: id, Recipient: "paul@corp.example", Number: 1, Site: "corp.example", Outcome: greylisted}
	for name, e := range map[string]event.Event{"accepted": accepted, "tried": tried} {
		b.Run("facts/"+name, func(b *testing.B) {
			var f Facts
			b.ReportAllocs()
			for b.Loop() {
				f.Of(e, nil)
			}
		})
		b.Run("log/"+name, func(b *testing.B) {
			l := NewLog(io.Discard, LogConfig{})
			defer l.Close()
			b.ReportAllocs()
			for b.Loop() {
				l.Emit(e)
			}
		})
		b.Run("metrics/"+name, func(b *testing.B) {
			m := NewMetrics("")
			b.ReportAllocs()
			for b.Loop() {
				m.Emit(e)
			}
		})
		b.Run("history/"+name, func(b *testing.B) {
			h := &History{facts: Facts{Detail: true}, records: make(chan record, 1), config: HistoryConfig{Retention: time.Hour}}
			b.ReportAllocs()
			for b.Loop() {
				h.Emit(e)
			}
		})
	}
}
