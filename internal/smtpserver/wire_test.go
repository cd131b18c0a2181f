package smtpserver

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// wire is a connection in memory with buffers, so that a write does not wait
// for its read as net.Pipe's does. Package sim has a richer one, but it stands
// above this package.
func wire(client, server net.Addr) (*wireEnd, *wireEnd) {
	up, down := newFlow(), newFlow()
	return &wireEnd{in: down, out: up, local: client, remote: server}, &wireEnd{in: up, out: down, local: server, remote: client}
}

type wireEnd struct {
	in, out       *flow
	local, remote net.Addr
}

// flow is one direction.
type flow struct {
	mu      sync.Mutex
	changed *sync.Cond
	data    []byte
	eof     bool // the writer is done
	gone    bool // the reader is
	until   time.Time
	timer   *time.Timer
}

func newFlow() *flow {
	f := &flow{}
	f.changed = sync.NewCond(&f.mu)
	return f
}

func (w *wireEnd) Read(p []byte) (int, error) {
	f := w.in
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.gone:
			return 0, net.ErrClosed
		case !f.until.IsZero() && !time.Now().Before(f.until):
			return 0, os.ErrDeadlineExceeded
		case len(f.data) > 0:
			n := copy(p, f.data)
			f.data = f.data[n:]
			return n, nil
		case f.eof:
			return 0, io.EOF
		}
		f.changed.Wait()
	}
}

func (w *wireEnd) Write(p []byte) (int, error) {
	f := w.out
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone || f.eof {
		return 0, io.ErrClosedPipe
	}
	f.data = append(f.data, p...)
	f.changed.Broadcast()
	return len(p), nil
}

func (w *wireEnd) Close() error {
	w.CloseWrite()
	w.in.mu.Lock()
	defer w.in.mu.Unlock()
	w.in.gone = true
	w.in.changed.Broadcast()
	return nil
}

func (w *wireEnd) CloseWrite() error {
	w.out.mu.Lock()
	defer w.out.mu.Unlock()
	w.out.eof = true
	w.out.changed.Broadcast()
	return nil
}

func (w *wireEnd) SetReadDeadline(t time.Time) error {
	f := w.in
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until = t
	if f.timer != nil {
		f.timer.Stop()
	}
	if !t.IsZero() {
		f.timer = time.AfterFunc(time.Until(t), func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.changed.Broadcast()
		})
	}
	f.changed.Broadcast()
	return nil
}

func (w *wireEnd) SetWriteDeadline(time.Time) error { return nil } // writes never wait
func (w *wireEnd) SetDeadline(t time.Time) error    { return w.SetReadDeadline(t) }
func (w *wireEnd) LocalAddr() net.Addr              { return w.local }
func (w *wireEnd) RemoteAddr() net.Addr             { return w.remote }
