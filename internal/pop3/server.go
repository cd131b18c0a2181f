package pop3

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	sessionsMax = 50               // at once
	idleMax     = 10 * time.Minute // RFC 1939 §3: at least ten minutes
	writeMax    = time.Minute      // for a client to take what was sent
	messagesMax = 10_000           // of a mailbox, as many as the catcher keeps
)

// Server serves POP3. The zero Server is not usable.
type Server struct {
	needs Needs
	slots chan struct{}

	mu    sync.Mutex
	open  map[net.Conn]bool
	ended bool
	done  sync.WaitGroup
}

// New makes a server.
func New(n Needs) *Server {
	return &Server{needs: n, slots: make(chan struct{}, sessionsMax), open: map[net.Conn]bool{}}
}

// Serve answers until the listener is closed or ctx ends, then waits for the
// sessions to be cut off.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() {
		l.Close()
		s.hangUp()
	})
	defer stop()
	defer s.done.Wait()
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			s.hangUp()
			return nil
		case err != nil: // out of descriptors, or the peer left at once
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		select {
		case s.slots <- struct{}{}:
			s.done.Go(func() {
				defer func() { <-s.slots }()
				s.session(conn)
			})
		default:
			refuse(conn)
		}
	}
}

func refuse(conn net.Conn) {
	conn.SetDeadline(time.Now().Add(time.Second))
	conn.Write([]byte("-ERR [SYS/TEMP] too many sessions, come back later\r\n"))
	conn.Close()
}

func (s *Server) session(conn net.Conn) {
	defer conn.Close()
	if !s.enter(conn) {
		return
	}
	defer s.leave(conn)
	newSession(s.needs, conn).run()
}

func (s *Server) enter(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.open[conn] = true
	return true
}

func (s *Server) leave(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, conn)
}

// hangUp cuts off every session: nothing is deleted but at QUIT, so nothing is
// lost by it.
func (s *Server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for conn := range s.open {
		conn.Close()
	}
}
