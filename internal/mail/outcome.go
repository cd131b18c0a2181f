package mail

import (
	"net/netip"
	"time"

	"paquebot/internal/smtp"
)

// Outcome is what one Attempt taught about one Recipient: a Reply, who gave
// it, at which stage, and how far it reaches.
type Outcome struct {
	Result Result
	Reply  smtp.Reply // the peer's, or ours with an enhanced code of §16.2
	Ours   bool       // the Reply was made here: no peer said it
	Host   string     // the next hop's name as looked up; "" if none was reached
	Addr   netip.AddrPort
	Source netip.Addr // of ours; zero when the system chose
	Stage  Stage
	Reach  Reach
	At     time.Time
	Took   time.Duration
	TLS    *TLS
	// Ambiguous: the connection was lost after the final dot and before its
	// reply, so the peer may have the message (RFC 1047, CLI-29).
	Ambiguous bool
	// NoDSN: the hop that took the message does not speak DSN, so a "relayed"
	// report is ours to send if success was to be notified (RFC 3461 §5.2.2).
	NoDSN bool
	// RemoteID is the message's ID at the provider that took it, as its reply
	// tells or as it writes it into the header; "" if it gives none.
	RemoteID string
	// Hint says in a sentence what a provider means by its reply and what to do,
	// or why the message took the way it took; "" if there is nothing to say.
	Hint string
}

// Result is how an attempt ended for a recipient.
type Result uint8

const (
	Untried  Result = iota // no attempt came to a verdict: nothing was learned
	Accepted               // the next hop said 2xx to the content
	Deferred               // temporary: try again
	Refused                // permanent
)

var resultNames = [...]string{"untried", "accepted", "deferred", "refused"}

func (r Result) String() string {
	if int(r) < len(resultNames) {
		return resultNames[r]
	}
	return "unknown"
}

// MarshalText makes a Result its name in JSON.
func (r Result) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Reach is how far a failure reaches (design §5.2).
type Reach uint8

const (
	ThisRecipient Reach = iota
	ThisMessage
	ThisHost // other hosts of the route may still take it
	ThisSite // the whole receiving operation: it is the site that backs off
)

var reachNames = [...]string{"recipient", "message", "host", "site"}

func (r Reach) String() string {
	if int(r) < len(reachNames) {
		return reachNames[r]
	}
	return "unknown"
}

// MarshalText makes a Reach its name in JSON.
func (r Reach) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Stage is where in a delivery something was said (standards §13.2).
type Stage string

const (
	StageRoute    Stage = "route" // DNS, policy: before any connection
	StageConnect  Stage = "connect"
	StageGreeting Stage = "greeting"
	StageEhlo     Stage = "ehlo"
	StageStartTLS Stage = "starttls"
	StageAuth     Stage = "auth"
	StageMail     Stage = "mail"
	StageRcpt     Stage = "rcpt"
	StageData     Stage = "data"    // the answer to DATA
	StageContent  Stage = "content" // while it was sent
	StageDot      Stage = "dot"     // the answer to the final dot or the last BDAT
)
