package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// Server answers operators.
type Server struct {
	needs Needs
	http  *http.Server
}

// Times bound how long one peer may keep a connection.
const (
	headTime    = 10 * time.Second
	requestTime = time.Minute // a bulk action over millions of messages takes some
	idleTime    = 2 * time.Minute
)

// New makes a server; Serve starts it.
func New(n Needs) *Server {
	s := &Server{needs: n}
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headTime,
		ReadTimeout:       requestTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    64 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if p, ok := c.(*peerConn); ok {
				return context.WithValue(ctx, peerKey{}, p.peer)
			}
			return ctx
		},
	}
	return s
}

// Serve answers on l until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown lets the answers under way finish until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close() // what did not finish is cut
	}
	return err
}

// route is one row of the API.
type route struct {
	pattern string
	handler http.HandlerFunc
	help    string
}

// routes is the API.
func (s *Server) routes() []route {
	return []route{
		{"GET /v1/status", respond(s.status), "How the server does."},
		{"POST /v1/reload", respond(s.reload), "Read the configuration again."},
		{"GET /v1/spool", respond(s.spoolStat), "What the spool holds."},
		{"GET /v1/queue/summary", respond(s.queueSummary), "Where mail waits, and why."},
		{"GET /v1/queue/messages", respond(s.queueList), "Live messages; site, domain, sender, account, state, older_than_seconds, after, limit."},
		{"GET /v1/queue/messages/{id}", respond(s.queueShow), "One live message."},
		{"GET /v1/queue/messages/{id}/raw", s.queueRaw, "Its bytes, message/rfc822."},
		{"POST /v1/queue/actions", accept(s.queueAct), "Hold, release, retry, bounce or delete; dry_run counts only."},
		{"GET /v1/queue/rules", respond(s.queueRules), "Rules in force."},
		{"DELETE /v1/queue/rules/{id}", respond(s.queueEndRule), "End a rule."},
		{"GET /v1/messages/{id}/trace", respond(s.trace), "The life of one message."},
		{"GET /v1/accounts", respond(s.accountList), "All accounts."},
		{"POST /v1/accounts", accept(s.accountAdd), "Add one."},
		{"GET /v1/accounts/{name}", respond(s.accountShow), "One account."},
		{"DELETE /v1/accounts/{name}", respond(s.accountRemove), "Remove it."},
		{"POST /v1/accounts/{name}/password", accept(s.accountPasswd), "Set its password."},
		{"POST /v1/accounts/{name}/disable", accept(s.accountDisable), "Refuse its credentials."},
		{"POST /v1/accounts/{name}/enable", respond(s.accountEnable), "Undo that."},
		{"PUT /v1/accounts/{name}/senders", accept(s.accountSenders), "Replace the addresses it may send as."},
		{"POST /v1/accounts/{name}/tokens", accept(s.tokenAdd), "Make a token."},
		{"DELETE /v1/accounts/{name}/tokens/{token}", respond(s.tokenRemove), "Revoke a token."},
	}
}

// Handler is the API, for a unix socket or a test.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.HandleFunc(r.pattern, r.handler)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeFault(w, fault(http.StatusNotFound, "see docs/reference/api.md", "there is no %s %s", r.Method, r.URL.Path))
	})
	return http.MaxBytesHandler(mux, bodyMax)
}

// absent answers for a need that was not given.
func absent(what string) error {
	return fault(http.StatusNotImplemented, "", "this server has no %s", what)
}

func (s *Server) status(ctx context.Context, _ request) (Status, error) {
	if s.needs.Status == nil {
		return Status{}, absent("status")
	}
	st := s.needs.Status(ctx)
	st.Schema, st.Listeners = "paquebot.status/1", orEmpty(st.Listeners)
	return st, nil
}

func (s *Server) reload(ctx context.Context, _ request) (ReloadResult, error) {
	if s.needs.Reload == nil {
		return ReloadResult{}, absent("configuration to read again")
	}
	r := s.needs.Reload(ctx)
	r.Schema, r.Problems = "paquebot.reload/1", orEmpty(r.Problems)
	return r, nil
}

func (s *Server) spoolStat(context.Context, request) (SpoolStat, error) {
	if s.needs.Spool == nil {
		return SpoolStat{}, absent("spool")
	}
	st := s.needs.Spool.Stat()
	st.Schema = "paquebot.spool/1"
	return st, nil
}
