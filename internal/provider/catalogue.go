package provider

import "paquebot/internal/mail"

// Provider is one service that takes outgoing mail (standards PROV).
type Provider struct {
	Name    string   // "sendgrid": what configuration and doctor call it
	Title   string   // "Twilio SendGrid"
	Aliases []string // other spellings people use
	Regions []Region // the first is the default; at least one
	Ports   []Port   // in the order of the catalogue's page
	Auth    Auth
	Limits  Limits
	Headers Headers
	Replies []ReplyHint // known refusals and what to do, first match wins
	Notes   []string    // sentences for people
	Docs    string      // address of the provider's own page
	Source  string      // where this entry was read
	Checked string      // date, 2006-01-02
	// Confidence is "verified" (the provider's own page), "reported" (another
	// page) or "unconfirmed" (general knowledge; the doctor says so).
	Confidence string
}

// Region is one place of a provider, with its host name.
type Region struct {
	Name string // "eu-west-1"; "" where there is but one
	Host string
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
}

// Limits are what a provider is known to accept; 0 means unknown.
type Limits struct {
	MessageBytes          int64
	Recipients            int
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
	// MessageIDDomain what stands right of the @.
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
}
