package observe

import (
	"context"
	"fmt"
	"io"
	"log/slog"
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

// Log writes events as lines: a Sink. Lines are written by one goroutine, so a
// stopped terminal or a full pipe delays nobody; what does not fit meanwhile is
// dropped, counted, and said once there is room.
type Log struct {
	facts   Facts
	level   event.Level
	handler slog.Handler
	lines   chan []byte
	dropped atomic.Int64
	total   atomic.Int64
	closing sync.RWMutex
	closed  bool
	done    chan struct{}
	pool    sync.Pool // *[]slog.Attr
}

// linesMax bounds the lines in wait for the writer, some megabytes at most.
const linesMax = 8192

// NewLog starts writing to w, which it alone uses until Close.
func NewLog(w io.Writer, c LogConfig) *Log {
	l := &Log{facts: Facts{Private: c.Private}, level: c.Level, lines: make(chan []byte, linesMax), done: make(chan struct{})}
	o := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: plainLevel}
	if c.JSON {
		l.handler = slog.NewJSONHandler(lineWriter{l}, o)
	} else {
		l.handler = slog.NewTextHandler(lineWriter{l}, o)
	}
	l.pool.New = func() any { return new([]slog.Attr) }
	go l.write(w)
	return l
}

// plainLevel writes the house's level names and times in UTC to the millisecond.
func plainLevel(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.LevelKey:
		if level, ok := a.Value.Any().(slog.Level); ok {
			return slog.String("level", levelName(level))
		}
	case slog.TimeKey:
		if a.Value.Kind() == slog.KindTime {
			return slog.String("time", a.Value.Time().UTC().Format("2006-01-02T15:04:05.000Z"))
		}
	}
	return a
}

func levelName(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "alarm"
	case l >= slog.LevelWarn:
		return "warn"
	case l >= slog.LevelInfo:
		return "info"
	}
	return "debug"
}

var slogLevels = [...]slog.Level{event.Debug: slog.LevelDebug, event.Info: slog.LevelInfo, event.Warn: slog.LevelWarn, event.Alarm: slog.LevelError}

// ParseLevel reads "debug", "info", "warn" or "alarm".
func ParseLevel(s string) (event.Level, error) {
	for i, name := range []string{"debug", "info", "warn", "alarm"} {
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
	p := l.pool.Get().(*[]slog.Attr)
	attrs := l.facts.Of(e, (*p)[:0])
	r := slog.NewRecord(time.Now(), slogLevels[min(max(e.Level(), event.Debug), event.Alarm)], e.Name(), 0)
	r.AddAttrs(attrs...)
	_ = l.handler.Handle(context.Background(), r) // lineWriter cannot fail
	clear(attrs)
	*p = attrs
	l.pool.Put(p)
}

// lineWriter takes one line at each Write, from slog's handlers.
type lineWriter struct{ l *Log }

func (w lineWriter) Write(line []byte) (int, error) {
	w.l.closing.RLock()
	defer w.l.closing.RUnlock()
	if w.l.closed {
		return len(line), nil
	}
	select {
	case w.l.lines <- append([]byte(nil), line...):
	default:
		w.l.dropped.Add(1)
		w.l.total.Add(1)
	}
	return len(line), nil
}

// Dropped is how many lines were lost since the start.
func (l *Log) Dropped() int64 { return l.total.Load() }

// batchMax bounds what one write system call carries.
const batchMax = 64 << 10

func (l *Log) write(w io.Writer) {
	defer close(l.done)
	var buf []byte
	for line := range l.lines {
		buf = append(buf[:0], line...)
		for more := true; more && len(buf) < batchMax; {
			select {
			case line, ok := <-l.lines:
				buf, more = append(buf, line...), ok
			default:
				more = false
			}
		}
		if n := l.dropped.Swap(0); n > 0 {
			buf = fmt.Appendf(buf, "time=%s level=warn msg=log.dropped lines=%d\n", time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), n)
		}
		_, _ = w.Write(buf) // there is nowhere to say that the log is broken
	}
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
