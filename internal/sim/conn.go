package sim

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// bufferMax is how many octets one direction holds before Write waits: the
// send and receive buffers of a common TCP connection together.
const bufferMax = 64 << 10

// Conn is one end of a connection in memory. It implements net.Conn and the
// half-close of *net.TCPConn.
type Conn struct {
	local, remote net.Addr
	in, out       *stream
	once          sync.Once
	closed        func() // tells the network, once per end
}

func (n *Network) pair(client, server net.Addr, latency time.Duration) (*Conn, *Conn) {
	up, down := newStream(latency), newStream(latency)
	n.mu.Lock()
	n.open++
	n.mu.Unlock()
	ends := 2
	closed := func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if ends--; ends == 0 {
			n.open--
		}
	}
	return &Conn{local: client, remote: server, in: down, out: up, closed: closed},
		&Conn{local: server, remote: client, in: up, out: down, closed: closed}
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

func (c *Conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// Close ends both directions. The peer reads what was sent before, then EOF;
// its writes fail.
func (c *Conn) Close() error {
	c.once.Do(func() {
		c.out.finish()
		c.in.abandon()
		c.out.close()
		c.closed()
	})
	return nil
}

// CloseWrite says EOF to the peer; reading goes on.
func (c *Conn) CloseWrite() error {
	c.out.finish()
	return nil
}

// CloseRead refuses what the peer still sends.
func (c *Conn) CloseRead() error {
	c.in.abandon()
	return nil
}

// Reset breaks the connection as a RST does: both ends read and write
// ECONNRESET, unread octets are lost.
func (c *Conn) Reset() {
	c.in.reset()
	c.out.reset()
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.readBy.set(c.in, t)
	c.out.writeBy.set(c.out, t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.readBy.set(c.in, t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.writeBy.set(c.out, t)
	return nil
}

// stream is one direction: a bounded queue of segments, each with the time at
// which it arrives.
type stream struct {
	mu        sync.Mutex
	changed   *sync.Cond
	segments  []segment
	size      int
	latency   time.Duration
	finished  bool      // the writer said EOF
	eofAt     time.Time // when the reader may see that
	abandoned bool      // the reader closed: writes fail
	closed    bool      // the writer closed its own end: its writes fail
	broken    bool      // reset
	readBy    deadline
	writeBy   deadline
}

type segment struct {
	at   time.Time
	data []byte
}

func newStream(latency time.Duration) *stream {
	s := &stream{latency: latency}
	s.changed = sync.NewCond(&s.mu)
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.abandoned:
			return 0, net.ErrClosed
		case s.broken:
			return 0, os.NewSyscallError("read", syscall.ECONNRESET)
		case s.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case s.ready():
			return s.take(p), nil
		case len(s.segments) == 0 && s.finished && !time.Now().Before(s.eofAt):
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) ready() bool {
	return len(s.segments) > 0 && !time.Now().Before(s.segments[0].at)
}

func (s *stream) take(p []byte) int {
	n := 0
	for n < len(p) && s.ready() {
		k := copy(p[n:], s.segments[0].data)
		n += k
		if k == len(s.segments[0].data) {
			s.segments = s.segments[1:]
		} else {
			s.segments[0].data = s.segments[0].data[k:]
		}
	}
	s.size -= n
	s.changed.Broadcast()
	return n
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for {
		switch {
		case s.closed:
			return n, net.ErrClosed
		case s.broken:
			return n, os.NewSyscallError("write", syscall.ECONNRESET)
		case s.finished || s.abandoned:
			return n, os.NewSyscallError("write", syscall.EPIPE)
		case s.writeBy.passed():
			return n, os.ErrDeadlineExceeded
		}
		if room := min(bufferMax-s.size, len(p)-n); room > 0 {
			s.put(p[n : n+room])
			n += room
		}
		if n == len(p) {
			return n, nil
		}
		s.changed.Wait()
	}
}

func (s *stream) put(p []byte) {
	s.segments = append(s.segments, segment{time.Now().Add(s.latency), append([]byte(nil), p...)})
	s.size += len(p)
	s.wakeAfterLatency()
}

func (s *stream) wakeAfterLatency() {
	if s.latency > 0 {
		time.AfterFunc(s.latency, s.wake)
	}
	s.changed.Broadcast()
}

func (s *stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Broadcast()
}

func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.finished {
		s.finished, s.eofAt = true, time.Now().Add(s.latency)
		s.wakeAfterLatency()
	}
}

func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.writeBy.stop()
	s.changed.Broadcast()
}

func (s *stream) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned, s.segments, s.size = true, nil, 0
	s.readBy.stop()
	s.changed.Broadcast()
}

func (s *stream) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken, s.segments, s.size = true, nil, 0
	s.changed.Broadcast()
}

// deadline wakes the stream when its time has come. The stream's lock guards it.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(s *stream, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.stop()
	d.at = at
	if !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), s.wake)
	}
	s.changed.Broadcast()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }
