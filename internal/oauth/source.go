package oauth

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"paquebot/internal/event"
)

// Needs is what a Source needs from others.
type Needs struct {
	Name   string       // of the smart host, for events
	HTTP   *http.Client // its transport is used; nil: the usual one
	Keeper *Keeper      // where refresh tokens survive; nil: in memory only
	Events event.Sink   // nil: nobody listens
}

// ErrNoLogin: there is nothing to ask with; somebody must log in first.
var ErrNoLogin = errors.New("nobody has logged in yet")

var errJustRenewed = errors.New("the token is fresh; the host refuses it all the same")

const (
	// earlyMax is how long before its end a token is renewed, so that it does not
	// end on the way; never more than a quarter of its life.
	earlyMax = 3 * time.Minute

	// pauseTransient and pausePermanent keep a fleet of deliveries from asking an
	// issuer that has just refused; a new login ends the pause.
	pauseTransient = 10 * time.Second
	pausePermanent = 5 * time.Minute

	// renewPause is how soon after a token was forced another one may be: a host
	// that refuses fresh tokens has another reason.
	renewPause = 30 * time.Second
)

// Source gives access tokens. It is safe for concurrent use.
type Source struct {
	issuer issuer
	needs  Needs

	mu      sync.Mutex
	now     token
	refresh string // in force; "" for client credentials
	stamp   string // of the kept file when refresh was read
	failed  error  // the last question's, nil if it was answered
	pause   time.Time
	renewed time.Time // when a token was last forced
	flight  *flight
}

// flight is a question under way, shared by all who wait for it.
type flight struct {
	done  chan struct{}
	token token
	err   error
}

// New makes a source; nothing is asked yet. The error says what is wrong with
// the configuration.
func New(c Config, n Needs) (*Source, error) {
	if _, err := c.Endpoint(c.RefreshToken != ""); err != nil {
		return nil, err
	}
	if n.Events == nil {
		n.Events = event.Discard
	}
	return &Source{issuer: newIssuer(c, n.HTTP), needs: n, stamp: "unread"}, nil
}

// Token returns a token that is good for a while. Many may wait for one
// question; the end of one's ctx ends only one's own waiting.
func (s *Source) Token(ctx context.Context) (string, error) { return s.get(ctx, "") }

// Renew returns another token than the one that was refused. It asks the issuer
// unless somebody else did already, and not at once again (AUTH-16).
func (s *Source) Renew(ctx context.Context, refused string) (string, error) {
	return s.get(ctx, refused)
}

func (s *Source) get(ctx context.Context, refused string) (string, error) {
	s.mu.Lock()
	s.reread()
	now := time.Now()
	good := s.now.access != "" && now.Before(s.now.expires)
	switch {
	case s.flight == nil && good && s.now.access == refused && now.Sub(s.renewed) < renewPause:
		s.mu.Unlock()
		return "", errJustRenewed
	case good && s.now.access != refused && (now.Before(early(s.now)) || now.Before(s.pause)):
		defer s.mu.Unlock()
		return s.now.access, nil
	case s.flight == nil && now.Before(s.pause):
		defer s.mu.Unlock()
		return "", s.failed
	case s.flight == nil:
		if refused != "" {
			s.renewed = now
		}
		s.flight = &flight{done: make(chan struct{})}
		go s.fly(s.flight, s.refresh, s.stamp)
	}
	f := s.flight
	s.mu.Unlock()
	select {
	case <-f.done:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if f.err == nil {
		return f.token.access, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.access != "" && s.now.access != refused && time.Now().Before(s.now.expires) {
		return s.now.access, nil // the old one is good for a little longer
	}
	return "", f.err
}

// early is when a token is to be renewed.
func early(t token) time.Time {
	return t.expires.Add(-min(earlyMax, t.expires.Sub(t.got)/4))
}

// reread looks whether somebody has logged in: a token of an earlier login is
// of no use then. s.mu is held.
func (s *Source) reread() {
	configured := s.issuer.config.RefreshToken
	if s.needs.Keeper == nil {
		if s.stamp == "unread" {
			s.refresh, s.stamp = configured, ""
		}
		return
	}
	stamp := s.needs.Keeper.stamp()
	if stamp == s.stamp {
		return
	}
	kept, ok, err := s.needs.Keeper.Load()
	if err != nil {
		s.failed = err
		s.needs.Events.Emit(event.TokenTroubled{Smarthost: s.needs.Name, Error: err.Error(), Permanent: true})
	}
	first := s.stamp == "unread"
	s.stamp = stamp
	refresh := configured
	if ok && kept.Seed == seed(configured) {
		refresh = kept.RefreshToken
	}
	if !first && refresh != s.refresh {
		s.now, s.failed, s.pause, s.renewed = token{}, nil, time.Time{}, time.Time{}
	}
	s.refresh = refresh
}

// fly asks the issuer. It is nobody's ctx that bounds it: all who wait share
// the answer.
func (s *Source) fly(f *flight, refresh, stamp string) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime+time.Second)
	defer cancel()
	began := time.Now()
	t, err := s.ask(ctx, refresh)
	var rotated error
	if err == nil && refresh != "" && t.refresh != "" && t.refresh != refresh {
		rotated = s.rotate(refresh, t)
	}
	s.mu.Lock()
	f.token, f.err = t, err
	s.flight = nil
	first := s.failed == nil
	switch {
	case s.refresh != refresh: // a new login came meanwhile; what was asked is stale
	case err == nil:
		s.now, s.failed, s.pause = t, nil, time.Time{}
		if rotated == nil && t.refresh != "" && refresh != "" {
			s.refresh = t.refresh
			if s.needs.Keeper != nil && t.refresh != refresh {
				s.stamp = s.needs.Keeper.stamp()
			}
		}
	default:
		s.failed, s.pause = err, time.Now().Add(pauseAfter(err))
	}
	s.mu.Unlock()
	defer close(f.done) // said before anybody acts on it
	s.tell(t, err, first, time.Since(began))
	if rotated != nil && !errors.Is(rotated, errOvertaken) {
		s.needs.Events.Emit(event.TokenTroubled{Smarthost: s.needs.Name, Error: "the new refresh token cannot be kept: " + rotated.Error(), Permanent: true})
	}
}

func (s *Source) ask(ctx context.Context, refresh string) (token, error) {
	switch {
	case refresh != "":
		return s.issuer.byRefresh(ctx, refresh)
	case s.issuer.config.ClientSecret != "":
		return s.issuer.byClient(ctx)
	}
	return token{}, ErrNoLogin
}

// rotate writes down a refresh token that replaces another, before anybody may
// use what came with it: the old one may be void by now.
func (s *Source) rotate(old string, t token) error {
	if s.needs.Keeper == nil {
		return nil
	}
	return s.needs.Keeper.Rotate(old, Kept{RefreshToken: t.refresh, Obtained: t.got.UTC(), Seed: seed(s.issuer.config.RefreshToken), By: "rotation"})
}

func pauseAfter(err error) time.Duration {
	if permanent(err) {
		return pausePermanent
	}
	return pauseTransient
}

func permanent(err error) bool {
	var e *Error
	return errors.Is(err, ErrNoLogin) || errors.As(err, &e) && e.Permanent()
}

func (s *Source) tell(t token, err error, first bool, took time.Duration) {
	if err == nil {
		s.needs.Events.Emit(event.TokenGot{Smarthost: s.needs.Name, Issuer: s.issuer.config.Issuer(), Expires: t.expires, TookSeconds: took.Seconds()})
		return
	}
	s.needs.Events.Emit(event.TokenTroubled{Smarthost: s.needs.Name, Issuer: s.issuer.config.Issuer(), Error: err.Error(), Permanent: permanent(err) && first})
}

// Status is how a source stands, without secrets.
type Status struct {
	Issuer    string    `json:"issuer"`
	Grant     string    `json:"grant"` // "refresh token", "client credentials", "none"
	Expires   time.Time `json:"expires,omitzero"`
	Error     string    `json:"error,omitempty"`
	Remedy    string    `json:"remedy,omitempty"`
	KeptSince time.Time `json:"logged_in,omitzero"` // when the kept refresh token came
}

// Status asks nobody.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reread()
	st := Status{Issuer: s.issuer.config.Issuer(), Grant: "none", Expires: s.now.expires}
	switch {
	case s.refresh != "":
		st.Grant = "refresh token"
	case s.issuer.config.ClientSecret != "":
		st.Grant = "client credentials"
	}
	if s.needs.Keeper != nil {
		if kept, ok, _ := s.needs.Keeper.Load(); ok && kept.RefreshToken == s.refresh {
			st.KeptSince = kept.Obtained
		}
	}
	err := s.failed
	if err == nil && st.Grant == "none" {
		err = ErrNoLogin
	}
	if err != nil {
		st.Error = err.Error()
		var e *Error
		if errors.As(err, &e) {
			st.Remedy = e.Remedy()
		}
	}
	return st
}
