package api

import (
	"context"
	"iter"
	"time"

	"paquebot/internal/accounts"
	"paquebot/internal/mail"
	"paquebot/internal/observe"
)

// Needs is what the window shows; node gives it. A nil need answers 501.
type Needs struct {
	Queue    Queue
	Accounts Accounts
	History  History
	Spool    Spool
	Status   func(context.Context) Status
	// Reload reads the configuration again. It returns what is wrong with it, and
	// whether the new settings are in force.
	Reload func(context.Context) ReloadResult
}

type (
	// Queue is the part of the queue that operators see and move.
	Queue interface {
		Summary(ctx context.Context) (QueueSummary, error)
		// List yields live messages with those recipients that the filter matches,
		// in the order of their IDs, those after `after` only.
		List(ctx context.Context, f Filter, after mail.ID) iter.Seq2[Envelope, error]
		// Act does what is asked, or with DryRun counts what it would touch.
		Act(ctx context.Context, a Action) (ActionResult, error)
		Rules(ctx context.Context) ([]Rule, error)
		// EndRule ends a rule before its time; ErrNotFound.
		EndRule(ctx context.Context, id, by string) error
	}

	// Spool gives a live message's envelope; mail.ErrNotFound when there is none.
	Spool interface {
		Envelope(ctx context.Context, id mail.ID) (*mail.Envelope, error)
		Open(ctx context.Context, id mail.ID) (*mail.Envelope, mail.Body, error)
		Stat() SpoolStat
	}

	// History gives a message's life.
	History interface {
		Of(id mail.ID) ([]observe.Entry, error)
		// Find returns the message with a Message-ID or an ID at a provider.
		Find(name string) (id mail.ID, ok bool, err error)
	}

	// Accounts is *accounts.Accounts.
	Accounts interface {
		Add(n accounts.New, by string) (generated string, err error)
		Passwd(name, password, by string) (generated string, err error)
		Disable(name, why, by string) error
		Enable(name, by string) error
		Remove(name, by string) error
		SetSenders(name string, patterns []string, by string) error
		SetLimits(name string, l accounts.Limits, by string) error
		AddToken(name string, t accounts.Token, by string) (secret string, err error)
		RemoveToken(name, token, by string) error
		Show(name string) (accounts.Profile, error)
		List() ([]accounts.Profile, error)
	}
)

// Filter selects recipients; what is given must all match. The empty Filter
// selects everything, which actions refuse unless All says that it is meant.
type Filter struct {
	ID               mail.ID `json:"id,omitzero"`
	Site             string  `json:"site,omitempty"`
	Domain           string  `json:"domain,omitempty"` // of the recipient
	Sender           string  `json:"sender,omitempty"` // an address, "@domain", or "<>"
	Account          string  `json:"account,omitempty"`
	State            string  `json:"state,omitempty"` // ready, waiting, held, in_attempt; "": all
	OlderThanSeconds float64 `json:"older_than_seconds,omitempty"`
	All              bool    `json:"all,omitempty"`
}

// Empty reports that nothing narrows the filter.
func (f Filter) Empty() bool {
	return f.ID.IsZero() && f.Site == "" && f.Domain == "" && f.Sender == "" && f.Account == "" && f.State == "" && f.OlderThanSeconds == 0
}

// Actions there are.
const (
	Hold    = "hold"
	Release = "release"
	Retry   = "retry"
	Bounce  = "bounce"
	Delete  = "delete"
)

// Action is what an operator wants done. Hold by a filter is a rule: it holds
// what comes later too, until Seconds have passed, or for Always until the rule
// is ended; bounce and delete become rules only when one of the two is said.
type Action struct {
	Action  string  `json:"action"`
	Filter  Filter  `json:"filter"`
	Seconds float64 `json:"seconds,omitempty"` // how long the rule is in force
	Always  bool    `json:"always,omitempty"`  // a rule without end
	Reason  string  `json:"reason,omitempty"`
	DryRun  bool    `json:"dry_run,omitempty"`
	By      string  `json:"-"` // who, from the socket's credentials
}

// Until is when the rule ends, zero for never.
func (a Action) Until(now time.Time) time.Time {
	if a.Seconds <= 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(a.Seconds * float64(time.Second)))
}
