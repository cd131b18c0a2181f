package accounts

import (
	"fmt"
	"sync"

	"paquebot/internal/smtp"
)

// sessionsDefault is how many sessions an account may have at once (ABU-1):
// more than mail clients and pooling libraries open, and few enough that one
// stolen password does not fill the server.
const sessionsDefault = 20

// sessions counts those that are logged in, by canonical name. It holds the
// accounts that have any, and so never more than there are connections.
type sessions struct {
	mu   sync.Mutex
	open map[string]int
}

// Enter counts a session that has proved to be account's, until leave, which
// may be called more than once, gives its place back. The error is a Reply, 421
// 4.7.0, when Config.Sessions are open already (ABU-1). A limit made smaller by
// Reload ends no session.
func (a *Accounts) Enter(account string) (leave func(), err error) {
	most, key := a.current.Load().Sessions, canonical(account)
	s := &a.sessions
	s.mu.Lock()
	defer s.mu.Unlock()
	if most > 0 && s.open[key] >= most {
		return nil, tooManySessions(most)
	}
	if s.open == nil {
		s.open = map[string]int{}
	}
	s.open[key]++
	return sync.OnceFunc(func() { s.leave(key) }), nil
}

func (s *sessions) leave(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[key]--; s.open[key] <= 0 {
		delete(s.open, key)
	}
}

func tooManySessions(most int) error {
	return smtp.Reply{Code: 421, Enhanced: smtp.Enhanced{Class: 4, Subject: 7}, Close: true,
		Text: fmt.Sprintf("Too many connections of this account at once (%d), try again later", most)}.Because(crowded(most))
}

// crowded names the limit for the log and for Rule.
type crowded int

func (c crowded) Error() string { return fmt.Sprintf("limit of the account: connections %d", int(c)) }

// Rule is what an event calls the limit (event.CommandRefused.Rule).
func (crowded) Rule() string { return "connections:account" }

// Advice is what would help.
func (crowded) Advice() string {
	return "let the account's programs reuse connections, or raise limits.connections_per_account"
}
