package mishap

import (
	"fmt"
	"time"

	"paquebot/internal/mail"
)

// Stage is where in a session something goes wrong.
type Stage string

// The stages, in the order in which a session meets them.
const (
	Connect  Stage = "connect"  // before a word is said; on 465 after the handshake
	TLS      Stage = "tls"      // the handshake, on 465 and after STARTTLS
	Greeting Stage = "greeting" // instead of 220
	Ehlo     Stage = "ehlo"
	Helo     Stage = "helo"
	StartTLS Stage = "starttls" // the command; the handshake is tls
	Auth     Stage = "auth"     // the answer to credentials
	Mail     Stage = "mail"
	Rcpt     Stage = "rcpt"
	Data     Stage = "data"     // the answer to DATA, or to the first BDAT
	Content  Stage = "content"  // while content comes
	Dot      Stage = "dot"      // the answer to the final dot, or to BDAT LAST
	Quit     Stage = "quit"     // instead of 221
	Delivery Stage = "delivery" // after the mail was accepted: what comes back
)

// Stages are all of them, in order.
func Stages() []Stage {
	return []Stage{Connect, TLS, Greeting, Ehlo, Helo, StartTLS, Auth, Mail, Rcpt, Data, Content, Dot, Quit, Delivery}
}

// Rule says what goes wrong, where and how often. Rules are asked in their
// order: delays add up, and the first one that ends the matter (a reply, drop,
// reset or stall) ends the asking.
type Rule struct {
	ID    string `json:"id"`             // letters, digits, ".", "_", "-"; given when empty
	Note  string `json:"note,omitempty"` // for people
	Stage Stage  `json:"stage"`
	Match Match  `json:"match,omitzero"` // the zero Match is everybody
	Do    Action `json:"do"`

	// When, among what matches. Counting begins when the rule comes into force.
	Skip        int       `json:"skip,omitempty"`        // let the first n pass
	Times       int       `json:"times,omitempty"`       // strike n times, then no more; 0: always
	Every       int       `json:"every,omitempty"`       // strike each nth only
	Probability float64   `json:"probability,omitempty"` // 0 to 1; 0 is not set: always
	Seed        uint64    `json:"seed,omitempty"`        // of chance: the same seed strikes the same ones
	Per         Per       `json:"per,omitempty"`         // whose count this is
	Expires     time.Time `json:"expires,omitzero"`      // the rule ends then; zero: never
}

// Per says whose count Skip, Times, Every and Probability go by.
type Per string

const (
	PerRule    Per = ""        // one count for all
	PerUser    Per = "user"    // one for each mailbox
	PerPair    Per = "pair"    // one for each mailbox, sender and recipient
	PerSession Per = "session" // one for each connection
	PerClient  Per = "client"  // one for each address of a client
)

// Match chooses whom a rule is for. What is not set matches all. Text is
// compared without regard to case; "*" stands for anything.
type Match struct {
	Port       string            `json:"port,omitempty"`       // "1587", its twin "587", or a role: "mx", "submission", "submissions"
	Client     string            `json:"client,omitempty"`     // an address or a network: "127.0.0.1", "10.0.0.0/8"
	User       string            `json:"user,omitempty"`       // the SMTP user name, which is the mailbox
	Helo       string            `json:"helo,omitempty"`       // the name in EHLO or HELO
	SNI        string            `json:"sni,omitempty"`        // at tls: the name the client asks for
	Sender     string            `json:"sender,omitempty"`     // of the envelope; "<>" is the null sender
	Recipient  string            `json:"recipient,omitempty"`  // at rcpt this one, later any of them
	Subject    string            `json:"subject,omitempty"`    // at dot and delivery
	Header     map[string]string `json:"header,omitempty"`     // at dot: fields by name
	Messages   int               `json:"messages,omitempty"`   // at least so many were accepted in this session before
	Recipients int               `json:"recipients,omitempty"` // at least so many were accepted for this message before
	Larger     int64             `json:"larger,omitempty"`     // at dot: more octets than this
}

// Action is what goes wrong. Delay, Throttle and Hide may stand beside another
// one; of the others there is one.
type Action struct {
	Reply string `json:"reply,omitempty"` // "452", "452 4.2.2" or "452 4.2.2 Mailbox full"; 400 to 599. 421 hangs up
	Close bool   `json:"close,omitempty"` // hang up after the reply
	Stall bool   `json:"stall,omitempty"` // never answer: until the client gives up, ten minutes at most
	Drop  bool   `json:"drop,omitempty"`  // close without a word
	Reset bool   `json:"reset,omitempty"` // close with a TCP reset

	Delay       Duration `json:"delay,omitempty"`        // wait before the answer, ten minutes at most
	Throttle    int      `json:"throttle,omitempty"`     // octets a second from here on, both ways
	ThrottleMax int      `json:"throttle_max,omitempty"` // with it the speed is chosen between the two for each session, by the seed
	Hide        []string `json:"hide,omitempty"`         // at ehlo: keywords that are not offered, and do not work: "STARTTLS", "AUTH", "CHUNKING" ...

	Certificate string `json:"certificate,omitempty"` // at tls: "expired", "wrong-name", "unknown-ca", "self-signed"
	TLSVersion  string `json:"tls_version,omitempty"` // at tls: this one alone: "1.0", "1.1", "1.2", "1.3"

	After    int64 `json:"after,omitempty"`    // at content: when so many octets have come; 0: at the first one
	Keep     bool  `json:"keep,omitempty"`     // at dot: the message is kept all the same, only the client does not know (RFC 1047)
	Complain bool  `json:"complain,omitempty"` // at delivery: a complaint comes back (ARF, RFC 5965); a reply is a bounce (RFC 3464)
}

// View is a Rule with what has become of it.
type View struct {
	Rule
	Seen   int64     `json:"seen"`             // matched
	Struck int64     `json:"struck"`           // and went wrong
	Last   time.Time `json:"last,omitzero"`    // when it struck last
	Spent  bool      `json:"spent,omitempty"`  // it will strike no more
	Reply  string    `json:"answers,omitzero"` // the whole reply, with what Do.Reply left open
}

// Bounds that are no matter of configuration.
const (
	RulesMax    = 1000             // rules in force
	countsMax   = 10_000           // counts kept for pairs, users, sessions, clients; the one unused longest goes
	DelayMax    = 10 * time.Minute // as long as the most patient client waits (RFC 5321 §4.5.3.2.6)
	textMax     = 200              // octets of a pattern, a note or a reply's text
	idMax       = 64               // octets of a rule's ID
	headersMax  = 10               // fields one rule may look at
	keywordsMax = 20               // keywords one rule may hide
	throttleMax = 1 << 30          // octets a second
)

// Facts are what is known at a stage.
type Facts struct {
	Stage      Stage
	Origin     mail.Origin
	User       string // at auth: who just logged in; else of Origin
	SNI        string
	Sender     string // "" is the null sender, or not known yet
	HasSender  bool
	Recipient  string   // at rcpt and delivery
	Recipients []string // accepted so far
	Subject    string
	Header     func(name string) []string // at dot; nil before
	Size       int64                      // octets of the message, at dot
	Messages   int                        // accepted in this session
	BDAT       bool                       // the content comes by BDAT
}

// Duration is a length of time that is written "5s" in JSON.
type Duration time.Duration

// MarshalText writes "5s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads "5s" or "500ms".
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a length of time; write \"5s\" or \"500ms\"", b)
	}
	*d = Duration(v)
	return nil
}
