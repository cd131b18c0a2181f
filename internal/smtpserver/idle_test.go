package smtpserver

import (
	"bufio"
	"net"
	"os"
	"runtime"
	"testing"

	"paquebot/internal/event"
	"paquebot/internal/mail"
)

// BenchmarkIdle tells what a connection costs that waits for its next command:
// stacks and heap, the client's end not counted as far as it can be told apart.
// The budget is 8 KiB resident (design §9).
func BenchmarkIdle(b *testing.B) {
	if os.Getenv("IDLE") == "" {
		b.Skip("set IDLE=1: opens a thousand connections")
	}
	const sessions = 1000
	cfg := Defaults(mail.RoleMX)
	cfg.Hostname = "mx.example"
	srv := New(cfg, Needs{Policy: &yes{}, Store: &yesStore{}, IDs: newIDs(b), Events: event.Discard})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go srv.Serve(b.Context(), conn, mail.Origin{}, nil)
		}
	}()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	conns := make([]net.Conn, 0, sessions)
	buf := bufio.NewReader(nil)
	for range sessions {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		conns = append(conns, conn)
		buf.Reset(conn)
		conn.Write([]byte("EHLO a.example\r\n"))
		for range 10 {
			buf.ReadString('\n')
		}
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.StackInuse-before.StackInuse)/sessions, "stack-B/conn")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/sessions, "heap-B/conn")
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.StackInuse-before.StackInuse)/sessions, "stack-B/conn-gc")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/sessions, "heap-B/conn-gc")
	for _, c := range conns {
		c.Close()
	}
}
