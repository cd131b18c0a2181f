package api

import (
	"encoding/json"
	"time"

	"paquebot/internal/accounts"
	"paquebot/internal/config"
	"paquebot/internal/mail"
)

// QueueSummary is where mail waits, and why. Figures count recipients.
type QueueSummary struct {
	Schema           string     `json:"schema"` // paquebot.queue.summary/1
	Time             time.Time  `json:"time"`
	Total            int64      `json:"total"`
	Ready            int64      `json:"ready"`      // due, not yet being tried
	Waiting          int64      `json:"waiting"`    // for a time
	Held             int64      `json:"held"`       // by an operator
	InAttempt        int64      `json:"in_attempt"` // being tried now
	OldestSeconds    float64    `json:"oldest_seconds"`
	LeavingPerMinute float64    `json:"leaving_per_minute"`
	WithoutNextEvent int64      `json:"without_next_event"` // promise P2: 0
	Sites            []SiteView `json:"sites"`
	Messages         int64      `json:"messages"`
	Rules            []Rule     `json:"rules"`
}

// SiteView is one receiving site. Sites are sorted by what waits, most first.
type SiteView struct {
	Site          string    `json:"site"`
	Ready         int64     `json:"ready"`
	InAttempt     int64     `json:"in_attempt"`
	Waiting       int64     `json:"waiting"`
	Held          int64     `json:"held"`
	OldestSeconds float64   `json:"oldest_seconds"`
	Next          time.Time `json:"next,omitzero"`          // next try
	Expires       time.Time `json:"expires_first,omitzero"` // when the first recipient is given up
	Reply         string    `json:"last_reply,omitempty"`   // of the site, or ours
	Why           string    `json:"why,omitempty"`          // in plain words
}

// Rule is an operator's rule in force.
type Rule struct {
	ID     string    `json:"id"`
	Action string    `json:"action"`
	Match  string    `json:"match"` // in words
	Until  time.Time `json:"until,omitzero"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// RuleList is the rules in force.
type RuleList struct {
	Schema string `json:"schema"` // paquebot.queue.rules/1
	Rules  []Rule `json:"rules"`
}

// ActionResult is what an action did, or with dry_run would do.
type ActionResult struct {
	Schema     string    `json:"schema"` // paquebot.queue.action/1
	Action     string    `json:"action"`
	DryRun     bool      `json:"dry_run"`
	Messages   int64     `json:"messages"`
	Recipients int64     `json:"recipients"`
	InAttempt  int64     `json:"in_attempt"`     // left alone: being tried at this moment
	Rule       string    `json:"rule,omitempty"` // in force from now on
	RulesEnded int64     `json:"rules_ended,omitempty"`
	Until      time.Time `json:"until,omitzero"`
}

// MessageList is a page of live messages.
type MessageList struct {
	Schema   string     `json:"schema"` // paquebot.queue.list/1
	Messages []Envelope `json:"messages"`
	Next     string     `json:"next,omitempty"` // give it as after= for the next page
}

// Message is one live message.
type Message struct {
	Schema string `json:"schema"` // paquebot.queue.message/1
	Envelope
}

// Envelope is a message without its bytes.
type Envelope struct {
	ID         mail.ID     `json:"id"`
	Arrived    time.Time   `json:"arrived"`
	Sender     string      `json:"sender"` // "" is the null sender
	Recipients []Recipient `json:"recipients"`
	Size       int64       `json:"size_bytes"`
	Subject    string      `json:"subject,omitempty"`
	MessageID  string      `json:"message_id,omitempty"`
	Origin     Origin      `json:"origin"`
	Live       bool        `json:"live"` // still in the queue
}

// Origin is who brought it.
type Origin struct {
	Role    string `json:"role,omitempty"`
	Port    string `json:"listener,omitempty"`
	Client  string `json:"client,omitempty"`
	Name    string `json:"name,omitempty"`
	Helo    string `json:"helo,omitempty"`
	TLS     string `json:"tls,omitempty"`
	Account string `json:"account,omitempty"`
	Method  string `json:"method,omitempty"`
	Session string `json:"session,omitempty"`
}

// Recipient is one address and how it stands.
type Recipient struct {
	Address string    `json:"address"`
	Alias   string    `json:"alias,omitempty"`
	State   string    `json:"state"` // waiting, ready, in_attempt, held, delivered, failed, expanded, deleted
	Due     time.Time `json:"due,omitzero"`
	Tries   uint32    `json:"tries"`
	Site    string    `json:"site,omitempty"`
	Reply   string    `json:"last_reply,omitempty"`
	Host    string    `json:"last_host,omitempty"`
	Stage   string    `json:"last_stage,omitempty"`
	LastTry time.Time `json:"last_try,omitzero"`
	Why     string    `json:"why,omitempty"`
}

// Trace is the life of one message.
type Trace struct {
	Schema   string    `json:"schema"` // paquebot.trace/1
	ID       mail.ID   `json:"id"`
	Envelope *Envelope `json:"envelope"`
	Events   []Event   `json:"events"`
}

// Event is one thing that happened to it.
type Event struct {
	Time  time.Time       `json:"time"`
	Type  string          `json:"type"`  // "delivery.tried"
	Facts json.RawMessage `json:"facts"` // an object; its keys are in docs/reference/events.md
}

// Account is an account without its secrets.
type Account struct {
	Schema string `json:"schema,omitempty"` // paquebot.account/1
	accounts.Profile
}

// AccountList is all of them.
type AccountList struct {
	Schema   string    `json:"schema"` // paquebot.accounts/1
	Accounts []Account `json:"accounts"`
}

// NewAccount asks for an account.
type NewAccount struct {
	Name     string          `json:"name"`
	Password string          `json:"password,omitempty"` // "": one is made up
	Senders  []string        `json:"senders,omitempty"`
	Limits   accounts.Limits `json:"limits,omitzero"`
}

// NewPassword asks for another password.
type NewPassword struct {
	Password string `json:"password,omitempty"` // "": one is made up
}

// NewToken asks for a token.
type NewToken struct {
	Name    string    `json:"name"`
	Expires time.Time `json:"expires,omitzero"`
}

// Disabling says why.
type Disabling struct {
	Why string `json:"why,omitempty"`
}

// Made is the answer to what made a secret: it is shown this once.
type Made struct {
	Schema  string `json:"schema"` // paquebot.account.made/1
	Account string `json:"account"`
	Token   string `json:"token,omitempty"`  // its name
	Secret  string `json:"secret,omitempty"` // "": the caller gave it
	Login   string `json:"login"`            // the user name to log in with
}

// Done is the answer to what has nothing to say.
type Done struct {
	Schema string `json:"schema"` // paquebot.done/1
	Done   string `json:"done"`   // in words
}

// Status is the server's.
type Status struct {
	Schema     string     `json:"schema"` // paquebot.status/1
	Version    string     `json:"version"`
	Hostname   string     `json:"hostname"`
	PID        int        `json:"pid"`
	Started    time.Time  `json:"started"`
	Ready      bool       `json:"ready"`
	Config     string     `json:"config_file,omitempty"`
	Listeners  []Listener `json:"listeners"`
	SpoolStat  SpoolStat  `json:"spool"`
	ReloadedAt time.Time  `json:"reloaded,omitzero"`
}

// Listener is a port.
type Listener struct {
	Address  string `json:"address"` // as bound
	Role     string `json:"role"`
	Sessions int64  `json:"sessions"`
}

// SpoolStat is what the spool holds.
type SpoolStat struct {
	Schema     string           `json:"schema,omitempty"` // paquebot.spool/1
	Messages   int64            `json:"messages"`
	Recipients int64            `json:"recipients"`
	Bytes      int64            `json:"size_bytes"`
	States     map[string]int64 `json:"states,omitempty"`
	Segments   int64            `json:"segments"`
	Stopped    string           `json:"stopped,omitempty"` // why nothing is accepted
}

// ReloadResult is what came of reading the configuration again.
type ReloadResult struct {
	Schema   string           `json:"schema"` // paquebot.reload/1
	InForce  bool             `json:"in_force"`
	Problems []config.Problem `json:"problems"`
	Changes  []config.Change  `json:"changes,omitempty"`
}

// View makes an envelope's view.
func View(e *mail.Envelope) Envelope {
	v := Envelope{
		ID: e.ID, Arrived: e.Arrived.UTC(), Sender: e.From, Size: e.Size, Subject: e.Subject, MessageID: e.MessageID, Live: true,
		Recipients: make([]Recipient, 0, len(e.Recipients)),
		Origin: Origin{
			Role: string(e.Origin.Role), Port: e.Origin.Listener, Name: e.Origin.Name, Helo: e.Origin.Helo,
			Account: e.Origin.Account, Method: e.Origin.Method, Session: e.Origin.Session,
		},
	}
	if e.Origin.Client.IsValid() {
		v.Origin.Client = e.Origin.Client.String()
	}
	if e.Origin.TLS != nil {
		v.Origin.TLS = e.Origin.TLS.Version
	}
	for _, r := range e.Recipients {
		v.Recipients = append(v.Recipients, recipientView(r))
	}
	return v
}

func recipientView(r mail.Recipient) Recipient {
	v := Recipient{Address: r.Address, Alias: r.Alias, State: r.State.String(), Tries: r.Tries, Site: r.Site, Host: r.Last.Host, Stage: string(r.Last.Stage)}
	if !r.State.Final() && !r.Due.IsZero() {
		v.Due = r.Due.UTC()
	}
	if r.Last.Reply.Code != 0 {
		v.Reply = r.Last.Reply.String()
		v.Why = Plain(r.Last)
	}
	if !r.Last.At.IsZero() {
		v.LastTry = r.Last.At.UTC()
	}
	return v
}
