package accounts

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"paquebot/internal/smtp"
)

// ABU-1: so many sessions of an account at once, under whatever spelling, and
// not one more.
func TestSessionsOfAccount(t *testing.T) {
	for name, c := range map[string]struct{ limit, want int }{
		"default": {0, 20}, "less": {2, 2}, "unlimited": {-1, 1000},
	} {
		a := open(t, Config{Sessions: c.limit}, Needs{})
		var leave []func()
		for range c.want {
			l, err := a.Enter("anna")
			if err != nil {
				t.Fatalf("%s: %v after %d", name, err, len(leave))
			}
			leave = append(leave, l)
		}
		if c.limit < 0 {
			continue
		}
		_, err := a.Enter("Anna")
		var r smtp.Reply
		if !errors.As(err, &r) || !strings.HasPrefix(r.String(), "421 4.7.0 ") || !r.Close {
			t.Fatalf("%s: one more: %v", name, err)
		}
		var rule interface{ Rule() string }
		if !errors.As(r.Cause, &rule) || rule.Rule() != "connections:account" {
			t.Errorf("%s: rule of %v", name, r.Cause)
		}
		if _, err := a.Enter("bob"); err != nil {
			t.Errorf("%s: another account: %v", name, err)
		}
		leave[0]()
		leave[0]() // gives back one place, not two
		if _, err := a.Enter("anna"); err != nil {
			t.Errorf("%s: after one left: %v", name, err)
		}
		if _, err := a.Enter("anna"); err == nil {
			t.Errorf("%s: one place was given back twice", name)
		}
	}
}

// ABU-1: a reload changes the limit and ends nothing.
func TestSessionsReload(t *testing.T) {
	a := open(t, Config{Sessions: -1, Cost: quick}, Needs{})
	var leave []func()
	for range 3 {
		l, _ := a.Enter("anna")
		leave = append(leave, l)
	}
	if err := a.Reload(Config{Sessions: 2, Cost: quick}); err != nil {
		t.Fatal(err)
	}
	leave[0]()
	if _, err := a.Enter("anna"); err == nil {
		t.Error("a third one entered")
	}
	leave[1]()
	if _, err := a.Enter("anna"); err != nil {
		t.Error(err)
	}
}

// Nothing is kept of accounts that have no session.
func TestSessionsForget(t *testing.T) {
	a := open(t, Config{}, Needs{})
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for range 100 {
				if leave, err := a.Enter("anna"); err == nil {
					leave()
				}
			}
		})
	}
	all.Wait()
	if n := len(a.sessions.open); n != 0 {
		t.Errorf("%d accounts are kept", n)
	}
}
