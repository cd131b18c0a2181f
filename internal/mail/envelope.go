package mail

import (
	"net/netip"
	"strings"
	"time"
)

// Envelope is what SMTP says about a message, apart from its bytes.
type Envelope struct {
	ID         ID
	Arrived    time.Time
	From       string // reverse path, "" is the null sender <>
	Recipients []Recipient
	Params     Params
	Origin     Origin
	Size       int64  // octets of the stored message, header and body
	Subject    string // decoded, cut at 200 bytes; for people only
	MessageID  string // of the header, without angle brackets; for people only
}

// Params are the ESMTP parameters of MAIL that outlive the session.
type Params struct {
	EnvelopeID string     // ENVID, decoded (RFC 3461 §4.4); "" if not given
	Return     ReturnWhat // RET
	Body       BodyType   // BODY
	UTF8       bool       // SMTPUTF8 was asked for (RFC 6531)
	RequireTLS bool       // REQUIRETLS (RFC 8689)
	TLSNotReq  bool       // header "TLS-Required: No" (RFC 8689 §5)
	By         *DeliverBy // BY= (RFC 2852); nil if not given
	ReleaseAt  time.Time  // HOLDFOR or HOLDUNTIL (RFC 4865); zero: at once
	Priority   int        // MT-PRIORITY -9..9 (RFC 6710)
	Auth       string     // AUTH= of a trusted peer (RFC 4954 §5); "" otherwise
}

// DeliverBy is the BY parameter with its time made absolute at arrival.
type DeliverBy struct {
	Deadline time.Time
	Return   bool // mode R: fail when late; else mode N: tell and go on
	Trace    bool // flag T
}

// ReturnWhat is how much of a message a failure report carries (RFC 3461 §4.3).
type ReturnWhat string

const (
	ReturnDefault ReturnWhat = ""
	ReturnFull    ReturnWhat = "FULL"
	ReturnHeaders ReturnWhat = "HDRS"
)

// BodyType is the BODY parameter (RFC 6152, RFC 3030).
type BodyType string

const (
	BodyDefault BodyType = ""
	Body7Bit    BodyType = "7BIT"
	Body8Bit    BodyType = "8BITMIME"
	BodyBinary  BodyType = "BINARYMIME"
)

// Role is the job of the port a message came through (design §1).
type Role string

const (
	RoleMX          Role = "mx"          // port 25: server to server
	RoleSubmission  Role = "submission"  // 587, 2525: STARTTLS, then AUTH
	RoleSubmissions Role = "submissions" // 465: TLS from the first byte, then AUTH
	RoleLocal       Role = "local"       // made here: a report, the API, sendmail
)

// IsSubmission reports whether senders authenticate on this port.
func (r Role) IsSubmission() bool { return r == RoleSubmission || r == RoleSubmissions }

// Origin is who brought a message, from where, and how.
type Origin struct {
	Session  string         // names the SMTP session in events
	Role     Role           // of the listener
	Listener string         // its address as configured, ":587"
	Client   netip.AddrPort // the peer, after PROXY or XCLIENT
	Local    netip.AddrPort
	Helo     string // argument of EHLO or HELO as given
	ESMTP    bool   // EHLO was used
	Name     string // reverse name of the client that resolves back; "" if none
	TLS      *TLS   // nil in clear
	Account  string // authenticated principal, "" if none
	Method   string // SASL mechanism
	Trusted  bool   // by the listener's list of networks: may relay without AUTH
}

// TLS is what a handshake settled (TLS-13).
type TLS struct {
	Version  string // "TLS 1.3"
	Cipher   string // "TLS_AES_128_GCM_SHA256"
	Group    string // "X25519MLKEM768"
	SNI      string
	Verified string // "", "none", "pkix", "dane-ee", "dane-ta"
	Resumed  bool
}

// With returns the protocol of a Received field (RFC 3848, RFC 6531 §4.3; RCV-4).
func (o Origin) With(utf8 bool) string {
	s := "SMTP"
	switch {
	case utf8:
		s = "UTF8SMTP"
	case o.ESMTP || o.TLS != nil || o.Account != "":
		s = "ESMTP"
	}
	if o.TLS != nil {
		s += "S"
	}
	if o.Account != "" {
		s += "A"
	}
	return s
}

// Recipient is one address to serve, and how that stands.
type Recipient struct {
	Address  string // byte-exact as given in RCPT, without angle brackets
	Original string // ORCPT "type;address" with the address decoded; "" if not given
	Notify   Notify
	Alias    string // the address this one was expanded from, "" if none
	Standing
}

// Notify is the NOTIFY parameter (RFC 3461 §4.1). Zero means it was not given.
type Notify uint8

const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Has reports whether the parameter was given with the word asked for.
func (n Notify) Has(what Notify) bool { return n&what != 0 }

// String returns the parameter's value, "SUCCESS,FAILURE", "" if not given.
func (n Notify) String() string {
	var words []string
	for _, w := range []struct {
		bit  Notify
		name string
	}{{NotifyNever, "NEVER"}, {NotifySuccess, "SUCCESS"}, {NotifyFailure, "FAILURE"}, {NotifyDelay, "DELAY"}} {
		if n.Has(w.bit) {
			words = append(words, w.name)
		}
	}
	return strings.Join(words, ",")
}

// State is where a recipient is in its life. Being tried under a lease is not
// a state on disk: after a crash it is Waiting again.
type State uint8

const (
	Waiting   State = iota // for its Due time; ready when that has come
	Held                   // by an operator, until released or HeldUntil
	Delivered              // a next hop took responsibility
	Failed                 // for good; the sender is or will be told
	Expanded               // replaced by the recipients an alias stands for
	Deleted                // by an operator, without telling the sender
)

var stateNames = [...]string{"waiting", "held", "delivered", "failed", "expanded", "deleted"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// MarshalText makes a State its name in JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Final reports that nothing more will be tried.
func (s State) Final() bool { return s >= Delivered }

// Standing is the part of a Recipient that changes. The spool records it whole
// each time, so that recording twice is harmless (P2).
type Standing struct {
	State    State
	Due      time.Time // Waiting: next try. Held: when the hold ends, zero for never
	Tries    uint32
	Site     string  // what it waits for, as far as is known: a site's or domain's name
	Last     Outcome // of the newest try; zero before the first
	Noticed  bool    // a delay notice was sent
	Reported bool    // the report this end of life asked for is in the spool, or none was owed
}

// Update is one recipient's new Standing, to be written down.
type Update struct {
	Message   ID
	Recipient int // index in Envelope.Recipients
	Standing  Standing
}

// Domain returns the domain of an address, in lower case; "" if it has none.
// Quoted local parts may hold an "@", so the last one counts.
func Domain(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return ""
	}
	return strings.ToLower(address[at+1:])
}

// Local returns the part before the last "@", byte-exact.
func Local(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	return address[:at]
}

// Tenant names whose mail it is, for fairness between senders: the account,
// else the sender's domain, else "<>".
func (e *Envelope) Tenant() string {
	if e.Origin.Account != "" {
		return e.Origin.Account
	}
	if d := Domain(e.From); d != "" {
		return d
	}
	return "<>"
}
