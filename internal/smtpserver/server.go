package smtpserver

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Server serves the connections of one listener.
type Server struct {
	cfg   Config
	needs Needs

	buffers  sync.Pool // of *bigBuffer, for input and for decoded content
	contents sync.Pool // of *content

	mu       sync.Mutex
	sessions map[*Session]struct{}
	done     sync.WaitGroup
	draining chan struct{} // closed by Shutdown
}

// New returns a Server. Limits and times of cfg that are not set are those of
// Defaults; those the standard sets a floor to are raised to it.
func New(cfg Config, needs Needs) *Server {
	cfg.settle()
	return &Server{
		cfg: cfg, needs: needs,
		buffers:  sync.Pool{New: func() any { return new(bigBuffer) }},
		contents: sync.Pool{New: func() any { return new(content) }},
		sessions: map[*Session]struct{}{},
		draining: make(chan struct{}),
	}
}

// Serve runs a session on conn and closes it. o carries Client, Local and, for
// networks the listener trusts, Trusted; state is that of the handshake when
// TLS came first, else nil. It returns when the session is over.
func (srv *Server) Serve(ctx context.Context, conn net.Conn, o mail.Origin, state *tls.ConnectionState) {
	s := srv.newSession(conn, o, state)
	if !srv.add(s) {
		defer conn.Close()
		s.say(smtp.ShutDown, "connect")
		s.flush()
		return
	}
	defer srv.remove(s)
	defer conn.Close()
	defer s.end()
	s.Run(ctx)
}

func (srv *Server) newSession(conn net.Conn, o mail.Origin, state *tls.ConnectionState) *Session {
	o.Role, o.Listener = srv.cfg.Role, srv.cfg.Listener
	s := &Session{srv: srv, cfg: &srv.cfg, conn: conn, began: time.Now(), tls: state}
	if o.Session == "" {
		o.Session = srv.needs.IDs.Next(s.began).String()
	}
	if state != nil {
		o.TLS = tlsFacts(state)
	}
	s.origin, s.peer = o, o
	s.out = s.outSmall[:0]
	s.in.pool, s.in.read = &srv.buffers, s.receive
	s.dialogue.keep = srv.cfg.KeepDialogue
	return s
}

func (srv *Server) add(s *Session) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.isDraining() {
		return false
	}
	srv.sessions[s] = struct{}{}
	srv.done.Add(1)
	return true
}

func (srv *Server) remove(s *Session) {
	srv.mu.Lock()
	delete(srv.sessions, s)
	srv.mu.Unlock()
	srv.done.Done()
}

func (srv *Server) isDraining() bool {
	select {
	case <-srv.draining:
		return true
	default:
		return false
	}
}

// Sessions counts those that are open.
func (srv *Server) Sessions() int {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return len(srv.sessions)
}

// Shutdown tells idle sessions 421 4.3.2 and lets those in a transaction
// finish it. When ctx ends before they have, their connections are closed and
// the error is that of ctx; a message whose end of data has come is stored all
// the same. It may be called more than once.
func (srv *Server) Shutdown(ctx context.Context) error {
	srv.mu.Lock()
	if !srv.isDraining() {
		close(srv.draining)
	}
	for s := range srv.sessions {
		s.interrupt()
	}
	open := len(srv.sessions)
	srv.mu.Unlock()
	if open == 0 {
		return nil
	}
	over := make(chan struct{})
	go func() {
		srv.done.Wait()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
	}
	srv.mu.Lock()
	for s := range srv.sessions {
		s.abort()
	}
	srv.mu.Unlock()
	<-over
	return ctx.Err()
}

// end tells that a session is over, and gives back what it held.
func (s *Session) end() {
	fault := ""
	if p := recover(); p != nil { // our fault must not end other people's sessions
		s.why, fault = "fault", faultOf(p)
	}
	s.leave()
	s.tx.reset()
	s.in.drop()
	s.in.shrink()
	s.srv.needs.Events.Emit(event.SessionEnded{
		Origin: s.origin, Reason: s.why, Messages: s.accepted, Refusals: s.refusals,
		TookSeconds: time.Since(s.began).Seconds(), BytesIn: s.in.total, BytesOut: s.sent,
		Advice: s.advice, Fault: fault, Dialogue: s.dialogue.lines,
	})
}
