package observe

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"paquebot/internal/event"
)

// LogConfig says how lines look.
type LogConfig struct {
	JSON    bool
	Level   event.Level // the least to be written
	Private bool        // see Facts.Private
}

// Log writes events as lines: a Sink. They look as log/slog writes them (text or
// JSON) and are written here, because slog's handlers cost three times as much
// for an event, and each accepted message is said about five times (design §9).
//
// Lines are written out by one goroutine, so a stopped terminal or a full pipe
// delays nobody; what does not fit meanwhile is dropped, counted, and said once
// there is room.
type Log struct {
	facts   Facts
	level   event.Level
	json    bool
	lines   chan *line
	dropped atomic.Int64
	total   atomic.Int64
	closing sync.RWMutex
	closed  bool
	done    chan struct{}
	pool    sync.Pool // *line
}

// line is an event being written.
type line struct {
	attrs []slog.Attr
	text  []byte
}

// linesMax bounds the lines in wait for the writer, some megabytes at most.
const linesMax = 8192

// NewLog starts writing to w, which it alone uses until Close.
func NewLog(w io.Writer, c LogConfig) *Log {
	l := &Log{facts: Facts{Private: c.Private}, level: c.Level, json: c.JSON, lines: make(chan *line, linesMax), done: make(chan struct{})}
	l.pool.New = func() any { return new(line) }
	go l.write(w)
	return l
}

var levelNames = [...]string{event.Debug: "debug", event.Info: "info", event.Warn: "warn", event.Alarm: "alarm"}

// ParseLevel reads "debug", "info", "warn" or "alarm".
func ParseLevel(s string) (event.Level, error) {
	for i, name := range levelNames {
		if strings.EqualFold(s, name) {
			return event.Level(i), nil
		}
	}
	return event.Info, fmt.Errorf("%q is not a level (debug, info, warn, alarm)", s)
}

// Emit implements event.Sink.
func (l *Log) Emit(e event.Event) {
	if e.Level() < l.level {
		return
	}
	out := l.pool.Get().(*line)
	out.attrs = append(out.attrs[:0],
		slog.String("time", ""), // its text is made in place, by appendTime
		slog.String("level", levelNames[min(max(e.Level(), event.Debug), event.Alarm)]),
		slog.String("msg", e.Name()))
	out.attrs = l.facts.Of(e, out.attrs)
	if l.json {
		out.text = appendJSONLine(out.text[:0], time.Now(), out.attrs)
	} else {
		out.text = appendTextLine(out.text[:0], time.Now(), out.attrs)
	}
	clear(out.attrs)
	l.hand(out)
}

// hand gives a line to the writer, or drops it.
func (l *Log) hand(out *line) {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return
	}
	select {
	case l.lines <- out:
	default:
		l.dropped.Add(1)
		l.total.Add(1)
		l.pool.Put(out)
	}
}

const stampFormat = "2006-01-02T15:04:05.000Z"

func appendJSONLine(b []byte, now time.Time, attrs []slog.Attr) []byte {
	b = append(b, `{"time":"`...)
	b = append(now.UTC().AppendFormat(b, stampFormat), '"')
	for _, a := range attrs[1:] {
		b = append(b, ',')
		b = append(appendString(b, a.Key), ':')
		b = appendValue(b, a.Value)
	}
	return append(b, "}\n"...)
}

func appendTextLine(b []byte, now time.Time, attrs []slog.Attr) []byte {
	b = now.UTC().AppendFormat(append(b, "time="...), stampFormat)
	for _, a := range attrs[1:] {
		b = append(b, ' ')
		b = append(append(b, a.Key...), '=')
		b = appendPlain(b, a.Value)
	}
	return append(b, '\n')
}

// appendPlain writes a value for text lines: in quotes when it would be taken
// for more than one value.
func appendPlain(b []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindString:
		if s := v.String(); mustQuote(s) {
			return strconv.AppendQuote(b, s)
		}
		return append(b, v.String()...)
	case slog.KindTime:
		return v.Time().UTC().AppendFormat(b, stampFormat)
	}
	return appendValue(b, v)
}

func mustQuote(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c == '"' || c == '=' || c >= 0x7f {
			return true
		}
	}
	return s == ""
}

// Dropped is how many lines were lost since the start.
func (l *Log) Dropped() int64 { return l.total.Load() }

// batchMax bounds what one write system call carries.
const batchMax = 64 << 10

func (l *Log) write(w io.Writer) {
	defer close(l.done)
	var buf []byte
	take := func(out *line) {
		buf = append(buf, out.text...)
		l.pool.Put(out)
	}
	for out := range l.lines {
		buf = buf[:0]
		take(out)
		for more := true; more && len(buf) < batchMax; {
			select {
			case out, ok := <-l.lines:
				if more = ok; ok {
					take(out)
				}
			default:
				more = false
			}
		}
		if n := l.dropped.Swap(0); n > 0 {
			buf = l.loss(buf, n)
		}
		_, _ = w.Write(buf) // there is nowhere to say that the log is broken
	}
}

// loss appends the line that tells of lost ones.
func (l *Log) loss(b []byte, n int64) []byte {
	attrs := []slog.Attr{slog.String("time", ""), slog.String("level", "warn"), slog.String("msg", "log.dropped"), slog.Int64("lines", n)}
	if l.json {
		return appendJSONLine(b, time.Now(), attrs)
	}
	return appendTextLine(b, time.Now(), attrs)
}

// Close writes what waits and stops. Events after it are ignored.
func (l *Log) Close() {
	l.closing.Lock()
	if !l.closed {
		l.closed = true
		close(l.lines)
	}
	l.closing.Unlock()
	<-l.done
}
