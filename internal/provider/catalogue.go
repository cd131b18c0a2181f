package provider

import "paquebot/internal/mail"

// Provider is one service that takes outgoing mail (standards PROV).
type Provider struct {
	ID      string   // the row of the standards' list it comes from: "PROV-3"
	Name    string   // "sendgrid": what configuration and doctor call it
	Title   string   // "Twilio SendGrid"
	Aliases []string // other spellings people use
	Regions []Region // the first is the default; none only where OwnHost
	// OwnHost says that the host is the operator's own or the tenant's: it must
	// be configured, the catalogue cannot know it.
	OwnHost bool
	// Patterns are host names with {region} or {any} in place of one label, for
	// places that Regions does not list ("email-smtp.{region}.amazonaws.com").
	Patterns []string
	// MX are the host names, with everything below them, under which the same
	// operator receives mail: Replies explains their refusals too (RC-71).
	MX      []string
	Ports   []Port // in the order of the catalogue's page
	Auth    Auth
	Limits  Limits
	Headers Headers
	Replies []ReplyHint // known refusals and what to do, first match wins
	Notes   []string    // sentences for people
	Docs    string      // address of the provider's own page
	Source  string      // where this entry was read
	Checked string      // date, 2006-01-02
	// Confidence is Verified, Reported or Unconfirmed.
	Confidence string
}

// How sure the catalogue is of an entry.
const (
	Verified    = "verified"    // the provider's own page was read
	Reported    = "reported"    // another page says so
	Unconfirmed = "unconfirmed" // general knowledge; a probe decides, and people are told
)

// Region is one place of a provider, with its host name.
type Region struct {
	Name string // "eu-west-1"; "" where there is but one
	Host string
	// MessageIDDomain overrides that of Headers here.
	MessageIDDomain string
	// Confidence is the provider's unless this place was read elsewhere.
	Confidence string
}

// Port is one port of a provider. Modes are properties of the port (SH-2).
type Port struct {
	Number uint16
	Mode   mail.Security // mail.Verify (STARTTLS) or mail.Implicit
}

// Auth says how a provider authenticates its clients.
type Auth struct {
	Mechanisms []string // SASL names, as offered; nil: unknown
	OAuth2     bool     // tokens are the only, or the recommended, way
	User       string   // a fixed user name ("apikey"), "" if the account's own
	UserShape  string   // regular expression a user name fits, "" for any
	PassShape  string   // regular expression a password fits, "" for any
	Hint       string   // what user and password are here, for people
	None       bool     // no AUTH: by source address or certificate
	// Optional says that AUTH depends on how the other side is set up: an
	// allowed source address does as well.
	Optional bool
	// SameIf is a regular expression: a user name that fits it must be given as
	// the password as well (Postmark's server token).
	SameIf string
	Wrong  []Mistake // credentials people take for the right ones, first match wins
}

// Mistake is a credential of another kind that people enter.
type Mistake struct {
	User string // regular expression over the user name, "" for any
	Pass string // regular expression over the password, "" for any
	Says string // what it is and what to give instead; ends a sentence
}

// Limits are what a provider is known to accept; 0 means unknown.
type Limits struct {
	MessageBytes          int64
	Recipients            int // of one message
	Connections           int // at the same time
	MessagesPerConnection int
	MessagesPerMinute     int
	MessagesPerDay        int
	IdleSeconds           int
}

// Headers are the private header fields of a provider (SH-12).
type Headers struct {
	Private     []string // names; a trailing "*" stands for the rest ("X-SES-*")
	Idempotency string   // field that makes a repeated message harmless, "" if none
	// RewritesMessageID says that the provider gives each message an ID of its
	// own; MessageIDReply is the regular expression that finds it in the reply
	// after the final dot, its first group being the new ID's left part, and
	// MessageIDDomain what stands right of the @, {region} being the region's
	// name. Ask Provider.MessageID.
	RewritesMessageID bool
	MessageIDReply    string
	MessageIDDomain   string
	// ForeignDKIM is false where a signature of another domain is refused.
	ForeignDKIM bool
}

// ReplyHint explains a provider's own reply (RC-70..73).
type ReplyHint struct {
	Code  int    // 0: any
	Text  string // regular expression over enhanced code and text, "" for any
	Class string // hard, soft, throttle, policy, auth, reputation, config
	Means string // one sentence
	Do    string // what to do
	// Example is a reply as the provider gives it: code, enhanced code, text.
	Example string
	// Confidence is the provider's unless this reply was read elsewhere.
	Confidence string
}
